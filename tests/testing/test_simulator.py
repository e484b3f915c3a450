"""WeChat as a function from request to reply."""

import asyncio
import json
from datetime import date, timedelta

import pytest

from harvester.datacube import StableToken
from harvester.datacube.tokens import ClassicToken
from harvester.model import Request, Response
from harvester.plan import next_midnight, settles_at
from harvester.testing import Faults, Reply, articles
from tests.testing.support import DATA, DAY, GRANT, START, Wechat, code, read

# data


def test_a_day_is_answered_with_its_articles() -> None:
    wechat = Wechat()
    assert wechat.ask(wechat.token()) == {"list": articles(1, "wx1", DAY)}
    assert wechat.truth("wx1", DAY) == articles(1, "wx1", DAY)


def test_the_same_day_is_answered_alike_by_any_simulator_of_the_same_seed() -> None:
    bodies = [wechat.reply(wechat.token()).body for wechat in (Wechat(seed=7), Wechat(seed=7))]
    assert bodies[0] == bodies[1]


def test_what_was_served_is_counted_by_account_and_day() -> None:
    wechat = Wechat()
    for _ in range(2):
        wechat.ask(wechat.token())
    wechat.ask(wechat.token("wx2"))
    assert wechat.served == {("wx1", DAY): 2, ("wx2", DAY): 1}
    assert wechat.counts["data"] == 3


def test_before_the_first_day_there_is_nothing() -> None:
    wechat = Wechat()
    assert wechat.ask(wechat.token(), date(2014, 11, 30)) == {"list": []}


def test_an_unknown_path_is_not_found() -> None:
    wechat = Wechat()
    reply = wechat.handle("POST", "/cgi-bin/datacube/getarticlesummary", {}, b"{}")
    assert (reply.status, wechat.counts["404"]) == (404, 1)


def test_data_is_given_to_a_post_only() -> None:
    wechat = Wechat()
    query = {"access_token": wechat.token()}
    assert code(read(wechat.handle("GET", DATA, query, b""))) == 43002


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_a_format_error(body: bytes) -> None:
    wechat = Wechat()
    query = {"access_token": wechat.token()}
    assert code(read(wechat.handle("POST", DATA, query, body))) == 47001


@pytest.mark.parametrize("begin", ["2023-02-30", "20230601", "", None, 5])
def test_what_is_no_day_is_a_date_format_error(begin: object) -> None:
    wechat = Wechat()
    body = json.dumps({"begin_date": begin, "end_date": "2023-06-01"}).encode()
    query = {"access_token": wechat.token()}
    assert code(read(wechat.handle("POST", DATA, query, body))) == 61500


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (DAY, DAY + timedelta(days=1)),
        (DAY, DAY - timedelta(days=1)),
        (date(2023, 11, 15), date(2023, 11, 15)),
        (date(2030, 1, 1), date(2030, 1, 1)),
    ],
)
def test_more_than_a_day_or_a_day_after_yesterday_is_a_range_error(begin: date, end: date) -> None:
    wechat = Wechat()
    assert code(wechat.ask(wechat.token(), begin, end)) == 61501


def test_yesterday_is_ready_from_eight_in_china() -> None:
    wechat = Wechat()
    yesterday = date(2023, 11, 14)
    token = wechat.token()
    codes = []
    for at in (settles_at(yesterday) - 1, settles_at(yesterday)):
        wechat.clock.now = at
        codes.append(code(wechat.ask(token, yesterday)))
    assert codes == [61503, None]


def test_a_retired_interface_is_offline() -> None:
    wechat = Wechat(retired=True)
    answer = wechat.ask(wechat.token())
    assert (answer["errcode"], answer["errmsg"][:43]) == (
        47009,
        "this api is offline, please use the new api",
    )


def test_every_refusal_has_a_request_id_of_its_own() -> None:
    wechat = Wechat(retired=True)
    texts = {wechat.ask(wechat.token())["errmsg"] for _ in range(5)}
    assert len(texts) == 5
    assert all(" rid: " in text for text in texts)


# quotas


def test_a_daily_quota_begins_anew_at_midnight_in_china() -> None:
    wechat = Wechat(daily_quota=2)
    codes = [code(wechat.ask(wechat.token())) for _ in range(3)]
    wechat.clock.now = next_midnight(START)
    codes.append(code(wechat.ask(wechat.token())))
    assert codes == [None, None, 45009, None]


def test_a_daily_quota_is_of_each_account() -> None:
    wechat = Wechat(daily_quota=1)
    appids = ("wx1", "wx2", "wx1")
    assert [code(wechat.ask(wechat.token(appid))) for appid in appids] == [None, None, 45009]


def test_a_daily_quota_is_of_each_interface() -> None:
    wechat = Wechat(daily_quota=1)
    names = ("getarticlesummary", "getusersummary", "getarticlesummary", "getusersummary")
    assert [code(wechat.data(name, DAY)) for name in names] == [None, None, 45009, 45009]


def test_an_interface_can_have_a_daily_quota_of_its_own() -> None:
    wechat = Wechat(daily_quota={"getusersummary": 1})
    names = ("getusersummary", "getusersummary", "getarticlesummary", "getarticlesummary")
    assert [code(wechat.data(name, DAY)) for name in names] == [None, 45009, None, None]


def test_the_minute_limit_counts_any_sixty_seconds() -> None:
    wechat = Wechat(minute_limit=(2, 60.0))
    token, codes = wechat.token(), []
    for at in (0.0, 30.0, 59.9, 60.0, 89.9, 90.0):
        wechat.clock.now = START + at
        codes.append(code(wechat.ask(token)))
    assert codes == [None, None, 45011, None, 45011, None]


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


def test_stable_token_wants_a_post_with_an_object() -> None:
    wechat = Wechat()
    path = "/cgi-bin/stable_token"
    assert code(read(wechat.handle("GET", path, GRANT, b""))) == 43002
    assert code(read(wechat.handle("POST", path, {}, b"grant_type=x"))) == 47001


def test_without_a_token_or_with_a_wrong_one_there_is_no_data() -> None:
    wechat = Wechat()
    assert [code(wechat.ask(token)) for token in ("", "wrong")] == [41001, 40014]


def test_a_token_issued_without_a_call_is_the_one_that_the_next_call_gets() -> None:
    wechat = Wechat()
    value = wechat.issue_token("wx1")
    assert (wechat.counts["token"], code(wechat.ask(value))) == (0, None)
    assert wechat.token() == value


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


def test_revoked_tokens_are_void_and_a_new_one_serves() -> None:
    wechat = Wechat()
    old, others = wechat.token(), wechat.token("wx2")
    wechat.revoke("wx1")
    assert [code(wechat.ask(token)) for token in (old, others, wechat.token())] == [
        40001,
        None,
        None,
    ]


def test_a_token_is_as_long_as_wechat_says_that_one_may_be() -> None:
    token = Wechat().token()
    assert 100 < len(token) <= 512


@pytest.mark.parametrize("kind", [StableToken, ClassicToken])
def test_it_understands_the_token_providers_of_the_package(
    kind: type[StableToken] | type[ClassicToken],
) -> None:
    wechat = Wechat()

    async def send(request: Request) -> Response:
        query, body = dict(request.query), request.body or b""
        return Response(*wechat.handle(request.method, request.path, query, body)[:2])

    token = asyncio.run(kind("wx1", "practice").fetch(send))
    assert (code(wechat.ask(token.value)), token.lifetime) == (None, 7200.0)


# faults


def test_without_faults_nothing_can_go_wrong() -> None:
    assert not Faults().any
    assert not Faults(slow_seconds=60.0).any
    assert Faults(busy=0.1).any
    assert Faults(first_busy=1).any


def test_the_first_requests_of_each_account_can_be_busy() -> None:
    wechat = Wechat(faults=Faults(first_busy=2))
    appids = ("wx1", "wx1", "wx1", "wx2")
    assert [code(wechat.ask(wechat.token(appid))) for appid in appids] == [-1, -1, None, -1]


@pytest.mark.parametrize(
    ("faults", "status", "body", "fault"),
    [
        (Faults(http_500=1.0), 502, b"<html>bad gateway</html>", ""),
        (Faults(html=1.0), 200, b"<!DOCTYPE html><html><body>hello</body></html>", ""),
        (Faults(empty=1.0), 200, b"", ""),
        (Faults(reset=1.0), 200, b"", "reset"),
    ],
)
def test_a_fault_takes_the_place_of_the_data(
    faults: Faults, status: int, body: bytes, fault: str
) -> None:
    wechat = Wechat(faults=faults)
    assert wechat.reply(wechat.token()) == Reply(status, body, 0.0, fault)
    assert (wechat.served, wechat.counts["faults"]) == ({}, 1)


def test_a_cut_answer_and_a_slow_one_carry_the_data() -> None:
    whole = Wechat()
    body = whole.reply(whole.token()).body
    cut, slow = Wechat(faults=Faults(cut=1.0)), Wechat(faults=Faults(slow=1.0, slow_seconds=9.0))
    assert cut.reply(cut.token()) == Reply(200, body, 0.0, "cut")
    assert slow.reply(slow.token()) == Reply(200, body, 9.0, "")


def test_a_raw_control_character_stands_in_the_first_title() -> None:
    wechat = Wechat(faults=Faults(control=1.0))
    body = wechat.reply(wechat.token()).body
    assert body.count(b'"title":"\x07') == 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_tokens_can_be_revoked_after_so_many_requests() -> None:
    wechat = Wechat(faults=Faults(revoke_every=3))
    assert [code(wechat.ask(wechat.token())) for _ in range(7)] == [
        None, None, 40001, None, None, 40001, None,
    ]  # fmt: skip
    assert wechat.counts["tokens made"] == 3


def test_faults_come_as_often_as_their_share_says() -> None:
    wechat = Wechat(faults=Faults(busy=0.2, empty=0.1))
    token = wechat.token()
    bodies = [wechat.reply(token).body for _ in range(2000)]
    assert 340 < sum(b"errcode" in body for body in bodies) < 460
    assert 150 < bodies.count(b"") < 250


def test_an_account_can_have_faults_of_its_own() -> None:
    wechat = Wechat(faults_of={"wx1": Faults(busy=1.0)})
    assert [code(wechat.ask(wechat.token(appid))) for appid in ("wx1", "wx2")] == [-1, None]


def test_every_reply_takes_its_latency() -> None:
    wechat = Wechat(latency=0.5, faults=Faults(slow=1.0, slow_seconds=9.0))
    token = wechat.token()
    assert wechat.reply(token).delay == 9.5
    assert wechat.handle("GET", "/", {}, b"").delay == 0.5
