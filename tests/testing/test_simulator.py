"""WeChat as a function from request to reply."""

import json
import re
from typing import Any

import pytest

from harvester.base.dates import next_midnight
from harvester.model import Request, Response
from harvester.testing import TEXTS, Faults, Reply, articles
from harvester.tokens.official import ClassicToken, StableToken
from harvester.wechat.codes import AUTHORIZER_ERRORS, COMPONENT_ERRORS, ERRORS, TOKEN_ERRORS
from tests.support import noon
from tests.testing.support import DATA, DAY, PUBLISHER, START, Wechat, code, read

# data


def test_a_day_is_answered_with_its_articles() -> None:
    wechat = Wechat()
    assert wechat.ask(wechat.token()) == {"list": articles(1, "wx1", DAY)}
    assert wechat.truth("wx1", DAY) == articles(1, "wx1", DAY)


def test_what_was_served_is_counted_by_account_and_day() -> None:
    wechat = Wechat()
    for _ in range(2):
        wechat.ask(wechat.token())
    wechat.ask(wechat.token("wx2"))
    assert wechat.served == {("wx1", DAY): 2, ("wx2", DAY): 1}
    assert wechat.counts["data"] == 3


def test_an_unknown_path_is_not_found() -> None:
    wechat = Wechat()
    reply = wechat.handle("POST", "/cgi-bin/datacube/getarticlesummary", {}, b"{}")
    assert (reply.status, wechat.counts["404"]) == (404, 1)


def dates(begin: object, end: object = "2023-06-01") -> bytes:
    return json.dumps({"begin_date": begin, "end_date": end}).encode()


STABLE, QUOTA = "/cgi-bin/stable_token", "/cgi-bin/openapi/quota/get"
PLATFORM, STAT = "/cgi-bin/component/api_component_token", "/publisher/stat"


@pytest.mark.parametrize(
    ("method", "path", "token", "body", "expected"),
    [
        ("POST", "/cgi-bin/token", None, b"", 43001),
        ("GET", STABLE, None, b"", 43002),
        ("POST", STABLE, None, b"grant_type=x", 47001),
        ("GET", PLATFORM, None, b"{}", 43002),
        ("POST", PLATFORM, None, b"x", 47001),
        ("GET", QUOTA, "right", b"{}", 43002),
        ("POST", QUOTA, None, b"{}", 41001),
        ("POST", QUOTA, "right", b"[]", 47001),
        ("POST", STAT, "right", b"", 43001),
        ("GET", STAT, "wrong", b"", 40014),
        ("POST", DATA, None, dates("2023-06-01"), 41001),
        ("POST", DATA, "", dates("2023-06-01"), 41001),
        ("POST", DATA, "wrong", dates("2023-06-01"), 40014),
        *[("POST", DATA, "right", body, 47001) for body in (b"{", b"[]", b"\xff")],
        *[("POST", path, "right", b"", 44002) for path in (DATA, QUOTA, STABLE, PLATFORM)],
        *[
            ("POST", DATA, "right", dates(begin), 61500)
            for begin in ("2023-02-30", "20230601", "", None, 5)
        ],
        ("POST", DATA, "right", dates("2023-06-01", "2023-05-31"), 61501),
        ("POST", DATA, "right", dates("2030-01-01", "2030-01-01"), 61501),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    method: str, path: str, token: str | None, body: bytes, expected: int
) -> None:
    wechat = Wechat(component=("wxcomponent1", "practice"))
    query = {"action": "publisher_cps_general"}
    if token is not None:
        query["access_token"] = wechat.token() if token == "right" else token
    assert code(read(wechat.handle(method, path, query, body))) == expected


# quotas

ARTICLES, USERS, MORE = ("getarticlesummary", "wx1"), ("getusersummary", "wx1"), 45009
OTHER = ("getarticlesummary", "wx2")


@pytest.mark.parametrize(
    ("how", "calls"),
    [
        (
            {"daily_quota": 2},
            [(0.0, ARTICLES, None)] * 2
            + [(0.0, ARTICLES, MORE), (next_midnight(START) - START, ARTICLES, None)],
        ),
        (
            {"daily_quota": 1},
            [(0.0, ARTICLES, None), (0.0, OTHER, None), (0.0, USERS, None)]
            + [(0.0, each, MORE) for each in (ARTICLES, OTHER, USERS)],
        ),
        (
            {"daily_quota": {"getusersummary": 1}},
            [(0.0, USERS, None), (0.0, USERS, MORE)] + [(0.0, ARTICLES, None)] * 2,
        ),
        (
            {"minute_limit": (2, 60.0)},
            [
                (at, ARTICLES, None if at in (0.0, 30.0, 60.0, 90.0) else 45011)
                for at in (0.0, 30.0, 59.9, 60.0, 89.9, 90.0)
            ],
        ),
    ],
    ids=["anew at midnight", "of each account and interface", "of its own", "any sixty seconds"],
)
def test_calls_beyond_a_quota_are_refused(
    how: dict[str, Any], calls: list[tuple[float, tuple[str, str], int | None]]
) -> None:
    wechat, found = Wechat(**how), []
    for at, (name, appid), _ in calls:
        wechat.clock.now = START + at
        found.append((at, (name, appid), code(wechat.data(name, DAY, appid=appid))))
    assert found == calls


# tokens


def test_stable_token_hands_out_the_same_token_until_five_minutes_before_its_end() -> None:
    wechat = Wechat()
    found = []
    for at in (0.0, 3600.0, 6899.0, 6900.0):
        wechat.clock.now = START + at
        found.append(wechat.stable())
    assert [answer["expires_in"] for answer in found] == [7200, 3600, 301, 7200]
    assert len({answer["access_token"] for answer in found[:3]}) == 1
    assert found[3]["access_token"] != found[0]["access_token"]


def test_for_the_last_five_minutes_both_stable_tokens_serve() -> None:
    wechat = Wechat()
    old = wechat.token()
    wechat.clock.now = START + 6900.0
    new = wechat.token()
    codes = [code(wechat.ask(token)) for token in (old, new)]
    wechat.clock.now = START + 7200.0
    assert [*codes, *[code(wechat.ask(token)) for token in (old, new)]] == [None, None, 42001, None]


def test_a_classic_token_ends_its_former_one_five_minutes_later() -> None:
    wechat = Wechat()
    old, new = (wechat.classic()["access_token"] for _ in range(2))
    assert old != new
    codes = []
    for at in (299.0, 300.0):
        wechat.clock.now = START + at
        codes += [code(wechat.ask(old)), code(wechat.ask(new))]
    assert codes == [None, None, 42001, None]


def test_the_two_lines_of_tokens_do_not_end_each_other() -> None:
    wechat = Wechat(classic_grace=0.0)
    stable, classic = wechat.token(), wechat.classic()["access_token"]
    assert [code(wechat.ask(token)) for token in (stable, classic)] == [None, None]


def test_a_token_lives_as_long_as_it_is_told() -> None:
    wechat = Wechat(token_lifetime=5.0)
    answer = wechat.stable()
    wechat.clock.now += 5.0
    assert (answer["expires_in"], code(wechat.ask(answer["access_token"]))) == (5.0, 42001)


def test_a_token_is_as_long_as_wechat_says_that_one_may_be() -> None:
    token = Wechat().token()
    assert 100 < len(token) <= 512


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"grant_type": "authorization_code"}, 40002),
        ({"appid": ""}, 41002),
        ({"appid": "nobody"}, 40013),
        ({"secret": ""}, 41004),
        ({"secret": "wrong"}, 40125),
    ],
)
def test_wrong_credentials_get_no_token(changed: dict[str, str], refused: int) -> None:
    wechat = Wechat()
    assert (code(wechat.stable(**changed)), code(wechat.classic(**changed))) == (refused, refused)
    assert wechat.counts["tokens made"] == 0


def test_a_token_issued_without_a_call_is_the_one_that_the_next_call_gets() -> None:
    wechat = Wechat()
    value = wechat.issue_token("wx1")
    assert (wechat.counts["token"], code(wechat.ask(value))) == (0, None)
    assert wechat.token() == value


def test_revoked_tokens_are_void_and_a_new_one_serves() -> None:
    wechat = Wechat()
    old, others = wechat.token(), wechat.token("wx2")
    wechat.revoke("wx1")
    assert [code(wechat.ask(token)) for token in (old, others)] == [40001, None]
    assert code(wechat.ask(wechat.token())) is None


def test_a_forced_refresh_ends_the_former_stable_token_at_once() -> None:
    wechat = Wechat()
    old = wechat.token()
    new = wechat.stable(force_refresh=True)["access_token"]
    assert [code(wechat.ask(token)) for token in (old, new)] == [40001, None]
    assert wechat.token() == new


def test_forced_refreshes_lie_thirty_seconds_apart_else_the_former_token_is_given() -> None:
    wechat = Wechat()
    found = [wechat.token()]
    for at in (0.0, 29.9, 30.0):
        wechat.clock.now = START + at
        found.append(wechat.stable(force_refresh=True)["access_token"])
    assert len(set(found)) == 3
    assert found[1] == found[2]


def test_twenty_refreshes_can_be_forced_on_a_day_in_china() -> None:
    wechat = Wechat(token_lifetime=1e9)
    wechat.token()
    found = []
    for number in range(22):
        wechat.clock.now = START + 30.0 * number
        found.append(wechat.stable(force_refresh=True)["access_token"])
    wechat.clock.now = next_midnight(START)
    found.append(wechat.stable(force_refresh=True)["access_token"])
    assert found[19] == found[20] == found[21] != found[22]
    assert len(set(found)) == 21


@pytest.mark.parametrize("kind", [StableToken, ClassicToken])
async def test_the_token_providers_are_understood(kind: type[StableToken | ClassicToken]) -> None:
    wechat = Wechat()

    async def send(request: Request) -> Response:
        query, body = dict(request.query), request.body or b""
        return Response(*wechat.handle(request.method, request.path, query, body)[:2])

    token = await kind("wx1", "practice").fetch(send)
    assert (code(wechat.ask(token.value)), token.lifetime) == (None, 7200.0)


# faults


def test_the_first_requests_of_each_account_can_be_busy() -> None:
    wechat = Wechat(faults=Faults(first_busy=2))
    appids = ("wx1", "wx1", "wx1", "wx2")
    assert [code(wechat.ask(wechat.token(appid))) for appid in appids] == [-1, -1, None, -1]


def test_an_account_can_have_faults_of_its_own() -> None:
    wechat = Wechat(faults_of={"wx1": Faults(busy=1.0)})
    assert [code(wechat.ask(wechat.token(appid))) for appid in ("wx1", "wx2")] == [-1, None]


@pytest.mark.parametrize(
    ("faults", "status", "body", "fault"),
    [
        (Faults(http_500=1.0), 502, b"<html>bad gateway</html>", ""),
        (Faults(html=1.0), 200, b"<!DOCTYPE html><html><body>hello</body></html>", ""),
        (Faults(empty=1.0), 200, b"", ""),
        (Faults(reset=1.0), 200, b"", "reset"),
    ],
)
def test_a_fault_takes_the_datas_place(
    faults: Faults, status: int, body: bytes, fault: str
) -> None:
    wechat = Wechat(faults=faults)
    assert wechat.reply(wechat.token()) == Reply(status, body, 0.0, fault)
    assert (wechat.served, wechat.counts["faults"]) == ({}, 1)


def test_tokens_can_be_revoked_after_so_many_requests() -> None:
    wechat = Wechat(faults=Faults(revoke_every=3))
    assert [code(wechat.ask(wechat.token())) for _ in range(7)] == [
        None, None, 40001, None, None, 40001, None,
    ]  # fmt: skip
    assert wechat.counts["tokens made"] == 3


def test_a_raw_control_character_stands_in_the_first_title() -> None:
    wechat = Wechat(faults=Faults(control=1.0))
    body = wechat.reply(wechat.token()).body
    assert body.count(b'"title":"\x07') == 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_faults_come_as_often_as_their_share_says() -> None:
    wechat = Wechat(faults=Faults(busy=0.2, empty=0.1))
    token = wechat.token()
    bodies = [wechat.reply(token).body for _ in range(2000)]
    assert 340 < sum(b"errcode" in body for body in bodies) < 460
    assert 150 < bodies.count(b"") < 250


def test_without_faults_nothing_can_go_wrong() -> None:
    assert not Faults().any
    assert not Faults(slow_seconds=60.0).any
    assert Faults(busy=0.1).any
    assert Faults(first_busy=1).any


def test_every_reply_takes_its_latency() -> None:
    wechat = Wechat(latency=0.5, faults=Faults(slow=1.0, slow_seconds=9.0))
    token = wechat.token()
    assert wechat.reply(token).delay == 9.5
    assert wechat.handle("GET", "/", {}, b"").delay == 0.5


def test_a_cut_answer_and_a_slow_one_carry_the_data() -> None:
    whole = Wechat()
    body = whole.reply(whole.token()).body
    cut, slow = Wechat(faults=Faults(cut=1.0)), Wechat(faults=Faults(slow=1.0, slow_seconds=9.0))
    assert cut.reply(cut.token()) == Reply(200, body, 0.0, "cut")
    assert slow.reply(slow.token()) == Reply(200, body, 9.0, "")


# refusals on request, and their texts


CODES = sorted(set(TEXTS) - {0, 1701, 2009, 45010})


@pytest.mark.parametrize("errcode", CODES)
def test_any_code_can_be_had_on_a_data_call_with_its_text(errcode: int) -> None:
    wechat = Wechat(refuse={"getusersummary": errcode})
    answer = wechat.data("getusersummary", DAY)
    assert answer["errcode"] == errcode
    assert re.fullmatch(
        re.escape(TEXTS[errcode]) + " rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", answer["errmsg"]
    )
    assert wechat.counts[f"errcode {errcode}"] == 1


def test_every_code_that_the_package_knows_has_a_text() -> None:
    tables = (ERRORS, TOKEN_ERRORS, COMPONENT_ERRORS, AUTHORIZER_ERRORS)
    assert {0}.union(*tables) <= set(TEXTS)
    assert all(TEXTS.values())


@pytest.mark.parametrize(
    ("refuse", "expected"),
    [
        ({("wx1", "getusersummary"): 48001}, [48001, None, None, None]),
        ({"getusersummary": 48001}, [48001, None, 48001, None]),
        ({"wx1": 50002}, [50002, 50002, None, None]),
        (
            {("wx1", "getusersummary"): 61007, "getusersummary": 48001, "wx1": 50002},
            [61007, 50002, 48001, None],
        ),
    ],
)
def test_an_account_an_interface_or_both_can_be_refused(
    refuse: dict[Any, int], expected: list[int | None]
) -> None:
    wechat = Wechat(refuse=refuse)
    found = [
        code(wechat.data(name, DAY, appid=appid))
        for appid in ("wx1", "wx2")
        for name in ("getusersummary", "getusercumulate")
    ]
    assert found == expected


def test_the_publishers_own_codes_come_as_ret_and_others_as_errcode() -> None:
    name = PUBLISHER[0].name
    answer = Wechat(refuse={name: 45010}).data(name, DAY)
    assert answer == {"ret": 45010, "err_msg": "not supported action for your appid"}
    assert code(Wechat(refuse={name: 48001}).data(name, DAY)) == 48001


@pytest.mark.parametrize("errcode", [40164, 40243, 89503, -1])
def test_an_account_can_be_refused_a_token(errcode: int) -> None:
    wechat = Wechat(refuse_token={"wx1": errcode})
    assert (code(wechat.stable()), code(wechat.classic())) == (errcode, errcode)
    assert wechat.token("wx2")


def test_a_token_of_a_refused_account_is_not_asked_for_before_its_credentials() -> None:
    wechat = Wechat(refuse_token={"wx1": 40164})
    assert code(wechat.stable(secret="wrong")) == 40125


# request ids


def test_a_request_id_begins_with_its_time_in_hexadecimal_seconds() -> None:
    wechat = Wechat(refuse={"getusersummary": 48001})
    texts = [wechat.data("getusersummary", DAY)["errmsg"] for _ in range(3)]
    ids = {text.partition("rid: ")[2] for text in texts}
    assert {int(each.partition("-")[0], 16) for each in ids} == {int(START)}
    assert len(ids) == 3


# cloud hosting


def ask(wechat: Wechat, **query: str) -> dict[str, Any]:
    body = json.dumps({"begin_date": str(DAY), "end_date": str(DAY)}).encode()
    return read(wechat.handle("POST", "/datacube/getusersummary", query, body))


def test_in_cloud_hosting_a_call_without_a_token_is_the_accounts_own() -> None:
    wechat = Wechat(cloud_appid="wx1")
    assert ask(wechat)["list"] == wechat.truth_of("getusersummary", "wx1", DAY, DAY)
    assert wechat.served_of["getusersummary", "wx1", DAY, DAY] == 1
    assert code(ask(Wechat())) == 41001


def test_in_cloud_hosting_an_access_token_still_says_whose_call_it_is() -> None:
    wechat = Wechat(noon("2026-06-01"), cloud_appid="wx1")
    assert ask(wechat, access_token=wechat.token("wx2"))["list"] == wechat.truth_of(
        "getusersummary", "wx2", DAY, DAY
    )
    assert code(ask(wechat, access_token="wrong")) == 40014


def test_a_token_of_the_container_is_taken_if_it_is_the_right_one() -> None:
    wechat = Wechat(cloud_appid="wx1", cloud_token="container")
    assert "list" in ask(wechat, cloudbase_access_token="container")
    assert code(ask(wechat, cloudbase_access_token="other")) == 40014
    assert code(ask(Wechat(cloud_appid="wx1"), cloudbase_access_token="container")) == 40014


def test_a_token_of_a_container_without_an_account_is_an_error() -> None:
    with pytest.raises(ValueError, match="cloud_appid"):
        Wechat(cloud_token="container")
