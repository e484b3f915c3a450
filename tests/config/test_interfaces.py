"""The interfaces that a user describes in TOML."""

import tomllib
from datetime import date
from typing import Any

import pytest

from harvester.base.dates import WindowKind
from harvester.config.interfaces import read_interfaces
from harvester.errors import UsageError
from harvester.model import Field, Token, Window
from harvester.wechat.codes import ERRORS
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.publisher import PUBLISHER_ERRORS, PublisherEndpoint

MINIMAL = """
[[interface]]
name = "mine"
path = "/datacube/mine"
first_day = 2020-01-01
"""
FULL = """
[[interface]]
name = "mine"
path = "/datacube/mine"
first_day = "2020-01-01"
span = 7
cut = "days"
dates = "YYYYMMDD"
group = "own"
settled_hour = 10
late_days = 3
daily = true
begin_key = "since"
end_key = "until"
body = { metric = "1:5", kinds = [1, 2], filter = { open = true } }
rows = "rows"
lifts = ["total"]
day_field = "day"
key = ["day", "kind"]
title = "what is mine"

[[interface.fields]]
name = "day"
type = "date"
meaning = "the day"

[[interface.fields]]
name = "parts"
type = "list"
fields = [{ name = "value", type = "int" }]
"""


def read(toml: str) -> list[JsonEndpoint]:
    return read_interfaces(tomllib.loads(toml)["interface"], "harvester.toml")


def test_an_interface_of_ones_own_needs_a_name_a_path_and_a_first_day() -> None:
    [made] = read(MINIMAL)
    assert made == JsonEndpoint("mine", "/datacube/mine", date(2020, 1, 1), errors=ERRORS)
    assert made.errors is ERRORS


def test_everything_of_an_interface_can_be_said() -> None:
    [made] = read(FULL)
    assert made == JsonEndpoint(
        "mine", "/datacube/mine", date(2020, 1, 1), span=7, cut=WindowKind.DAYS, dates="%Y%m%d",
        group="own", settled_hour=10, late_days=3, daily=True, begin_key="since", end_key="until",
        body={"metric": "1:5", "kinds": [1, 2], "filter": {"open": True}}, rows="rows",
        lifts=("total",), day_field="day", key=("day", "kind"), title="what is mine",
        errors=ERRORS, fields=(
            Field("day", "date", "the day"),
            Field("parts", "list", fields=(Field("value", "int"),)),
        ),
    )  # fmt: skip
    window = Window("wx1", "mine", date(2020, 1, 1), date(2020, 1, 7))
    assert made.request(window, Token("t")).body == (
        b'{"since":"20200101","until":"20200107","metric":"1:5","kinds":[1,2],'
        b'"filter":{"open":true}}'
    )


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ('dates = "YYYYMMDD"', b'{"ds":"20200107"}'),
        ("", b'{"ds":"2020-01-07"}'),
        ('body = { kind = 1 }\ndates = "unix"', b'{"ds":1578326400,"kind":1}'),
    ],
)
def test_a_request_of_one_day_has_one_key_that_is_sent_once(more: str, body: bytes) -> None:
    [made] = read(f'{MINIMAL}begin_key = "ds"\nend_key = "ds"\n{more}\n')
    window = Window("wx1", "mine", date(2020, 1, 7), date(2020, 1, 7))
    assert made.request(window, Token("t")).body == body


def test_a_week_that_is_asked_for_by_its_first_day_may_have_one_key() -> None:
    week = 'cut = "week"\nasks_first_day = true\nbegin_key = "ds"\nend_key = "ds"\n'
    [made] = read(MINIMAL + week)
    window = Window("wx1", "mine", date(2020, 1, 6), date(2020, 1, 12))
    assert made.request(window, Token("t")).body == b'{"ds":"2020-01-06"}'


@pytest.mark.parametrize("cut", list(WindowKind))
def test_a_cut_is_said_in_a_word(cut: WindowKind) -> None:
    [made] = read(f'{MINIMAL}cut = "{cut.value}"\n')
    assert made.cut is cut


def test_an_action_of_the_publisher_is_one_word_more() -> None:
    [made] = read(f"{MINIMAL}publisher = true\nspan = 90\n")
    assert made == PublisherEndpoint(
        "mine", "/datacube/mine", date(2020, 1, 1), span=90, errors=PUBLISHER_ERRORS
    )
    request = made.request(Window("wx1", "mine", date(2020, 1, 1), date(2020, 1, 7)), Token("t"))
    assert (request.method, dict(request.query)["action"]) == ("GET", "mine")
    [now] = read(f"{MINIMAL}publisher = true\ndated = false\n")
    assert "start_date" not in dict(
        now.request(Window("wx1", "mine", date(2020, 1, 1), date(2020, 1, 1)), Token("t")).query
    )


WRONG = [
    (MINIMAL + "spann = 7", "unknown key 'spann' (did you mean span?)"),
    (MINIMAL + "zzz = 7", "unknown key 'zzz'"),
    (MINIMAL + 'span = "7"', "span takes a whole number, not '7'"),
    (MINIMAL + "span = true", "span takes a whole number, not True"),
    (MINIMAL + "span = 1.5", "span takes a whole number, not 1.5"),
    (MINIMAL + "title = 1", "title takes a string, not 1"),
    (MINIMAL + 'lifts = "a"', "lifts takes a list, not 'a'"),
    (MINIMAL + "key = [1]", "key must be a list of strings, without 1"),
    (MINIMAL + 'cut = "weeks"', "cut 'weeks' is not one of days, week, month, recent"),
    (MINIMAL + 'dates = "YYYY"', "dates 'YYYY' is not one of YYYY-MM-DD, YYYYMMDD, unix"),
    (MINIMAL + 'begin_key = ""', "begin_key and end_key must be names that are not keys of body"),
    (
        MINIMAL + 'span = 7\nend_key = "begin_date"',
        "so a request names one day; this requires span",
    ),
    (MINIMAL + 'cut = "week"\nend_key = "begin_date"', "or asks_first_day"),
    (MINIMAL.replace("2020-01-01", "1999-12-31"), "first_day is 1999-12-31, but must be 2000-01"),
    (
        MINIMAL + "body = { end_date = 1 }",
        "begin_key and end_key must be names that are not keys of body",
    ),
    (MINIMAL + "body = { since = 2020-01-01 }", "body has a value that JSON cannot represent"),
    (MINIMAL + "body = { share = inf }", "body has a value that JSON cannot represent"),
    (MINIMAL + 'body = "a"', "body takes a table, not 'a'"),
    (
        MINIMAL + "publisher = true\nend_key = 'a'",
        "end_key cannot be combined with publisher = true",
    ),
    (MINIMAL + "publisher = true\nbody = { a = [1] }", "its values must be texts or whole numbers"),
    (
        MINIMAL + "publisher = true\nbody = { a = true }",
        "its values must be texts or whole numbers",
    ),
    (
        MINIMAL + "publisher = true\nbody = { page = 2 }",
        "its keys must not be any of access_token, end_date, page,",
    ),
    (MINIMAL + "span = 0", "interface mine: span must be at least 1"),
    (MINIMAL + "settled_hour = 24", "settled_hour 0 to 23"),
    (MINIMAL.replace('"mine"', '"a/b"'), "cannot be the name of a folder or table"),
    (MINIMAL.replace('"mine"', '""'), "has no name"),
    (MINIMAL.replace('name = "mine"', ""), "has no name"),
    (MINIMAL.replace('path = "/datacube/mine"', ""), "has no path"),
    (MINIMAL.replace("first_day = 2020-01-01", ""), "has no first_day"),
    (MINIMAL.replace("/datacube", "datacube"), "'datacube/mine' is not a path; it begins with /"),
    (MINIMAL.replace("/mine", "/mine?a=1"), "it begins with / and has no query"),
    (MINIMAL.replace("2020-01-01", "2020-01-01T00:00:00"), "first_day takes a date, not datetime"),
    (MINIMAL.replace("2020-01-01", '"20200101"'), "first_day '20200101' is not a day; write YYYY"),
    (MINIMAL.replace("2020-01-01", '"soon"'), "first_day 'soon' is not a day; write YYYY-MM-DD"),
    (MINIMAL.replace("2020-01-01", "2020"), "first_day takes a date, not 2020"),
    (MINIMAL.replace('"mine"', '"getusersummary"'), "there is an interface getusersummary already"),
    (MINIMAL.replace('"mine"', '"users"'), "users is the name of a group; take another"),
    (MINIMAL + 'group = "getusersummary"', "group 'getusersummary' is the name of an interface"),
    (MINIMAL + "dated = false", "dated requires publisher = true"),
    (MINIMAL + "fields = [1]", "interface 1, field 1 is not a table"),
    (MINIMAL + 'fields = [{ name = "a" }]', "interface 1, field 1 has no type"),
    (MINIMAL + 'fields = [{ name = "a", type = "text" }]', "field a: type 'text' is not one of da"),
    (
        MINIMAL + 'fields = [{ name = "a/b", type = "int" }]',
        "field 'a/b' cannot be the name of a col",
    ),
    (
        MINIMAL + 'fields = [{ name = "a", type = "list", item = "list" }]',
        "a: an item of a list cannot be a list",
    ),
    (MINIMAL + 'fields = [{ nam = "a" }]', "field 1: unknown key 'nam' (did you mean name?)"),
    (
        MINIMAL + 'fields = [{ name = "a", type = "list", fields = [{ name = "b" }] }]',
        "interface 1, field 1, field 1 has no type",
    ),
]


@pytest.mark.parametrize(("toml", "said"), WRONG)
def test_a_table_that_cannot_be_is_refused_in_a_sentence(toml: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(toml)
    message = str(caught.value)
    assert message.startswith("harvester.toml, interface 1")
    assert said in message
    assert "\n" not in message


def test_a_name_is_given_once() -> None:
    said = r"^harvester\.toml, interface 2: there is an interface mi"
    with pytest.raises(UsageError, match=said):
        read(MINIMAL + MINIMAL)


def test_a_group_is_no_interface_of_another_table() -> None:
    other = MINIMAL.replace('name = "mine"', 'name = "other"\ngroup = "mine"')
    with pytest.raises(UsageError, match="interface 1: mine is the name of a group"):
        read(MINIMAL + other)


@pytest.mark.parametrize("table", [1, "mine", None, ["mine"]])
def test_what_is_no_table_is_refused(table: Any) -> None:
    with pytest.raises(UsageError, match=r"^accounts\.toml, interface 1 is not a table$"):
        read_interfaces([table], "accounts.toml")
