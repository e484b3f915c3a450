"""The values that travel, and what they keep to themselves."""

import json
import weakref
from dataclasses import FrozenInstanceError
from datetime import date
from zlib import crc32

import pytest

from harvester.model import Account, Action, Batch, Request, Tally, Token, Verdict, Window, metadata

WINDOW = Window("wx1", "getarticlesummary", date(2020, 1, 1), date(2020, 1, 1))


def test_an_account_never_shows_its_secret() -> None:
    account = Account("wx1", "s3cret", token=lambda: "t0ken")
    assert repr(account) == "Account(appid='wx1')"


def test_an_account_asks_stable_token_unless_told_otherwise() -> None:
    assert Account("wx1").token == "stable"


def test_an_account_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Account("wx1").appid = "wx2"  # type: ignore[misc]


def test_a_token_shows_its_length_only() -> None:
    assert repr(Token("t0ken", 60.5)) == "<Token of 5 characters, 60.5 s>"


def test_a_token_lives_two_hours_unless_told_otherwise() -> None:
    assert Token("t").lifetime == 7200.0


def test_a_request_shows_neither_its_query_nor_its_body() -> None:
    request = Request("POST", "/x", (("access_token", "t0ken"),), b"s3cret")
    assert repr(request) == "<Request POST /x>"


def test_a_window_of_one_day_names_it_once() -> None:
    assert str(WINDOW) == "wx1 getarticlesummary 2020-01-01"


def test_a_window_of_more_days_names_the_first_and_the_last() -> None:
    window = WINDOW._replace(end=date(2020, 1, 7))
    assert str(window) == "wx1 getarticlesummary 2020-01-01 to 2020-01-07"


def test_a_verdict_is_of_an_answer_unless_it_says_otherwise() -> None:
    assert Verdict(Action.DONE) == Verdict(Action.DONE, "", None, "", [], True)


def test_metadata_names_account_interface_days_and_time() -> None:
    assert metadata(WINDOW._replace(end=date(2020, 1, 7)), "2020-02-01T00:00:00Z") == {
        "_appid": "wx1",
        "_endpoint": "getarticlesummary",
        "_begin_date": "2020-01-01",
        "_end_date": "2020-01-07",
        "_fetched_at": "2020-02-01T00:00:00Z",
    }


def test_documents_are_the_records_with_metadata() -> None:
    batch = Batch(WINDOW, [{"a": 1}], "now")
    assert batch.documents() == [{"a": 1, **metadata(WINDOW, "now")}]
    assert batch.records == [{"a": 1}]


def test_lines_are_the_records_with_metadata() -> None:
    batch = Batch(WINDOW, [{"a": 1}, {}], "now")
    assert [json.loads(line) for line in batch.lines().splitlines()] == batch.documents()
    assert batch.tally.records == 2
    assert batch.tally.checksum & 0xFFFFFFFF == crc32(b'{"a":1\n{')


@pytest.mark.parametrize("records", [[], [{"a": 1}, {}, {"b": {"c": "\u2028\n"}}]])
def test_a_packed_batch_is_the_same(records: list[dict[str, object]]) -> None:
    batch, packed = Batch(WINDOW, records, "now"), Batch(WINDOW, records, "now")
    packed.pack()
    assert packed.lines() == batch.lines()
    assert packed.count == batch.count == len(records)
    assert (packed.records, packed.tally) == (records, batch.tally)
    assert packed.documents() == batch.documents()


def test_a_packed_batch_does_not_hold_its_records() -> None:
    class Marked(dict[str, object]):
        """A dict that can be watched."""

    record = Marked(a=1)
    watched = weakref.ref(record)
    batch = Batch(WINDOW, [record], "now")
    batch.pack()
    del record
    assert watched() is None


def test_a_batch_replaces_nothing_unless_it_says_so() -> None:
    assert Batch(WINDOW, [], "now").replaces is False


def test_an_empty_tally_is_of_no_record() -> None:
    assert Tally() == (0, 0)
