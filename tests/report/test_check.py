"""What an account may do, as the events of a run show it."""

from __future__ import annotations

from datetime import date

import pytest

from harvester import events
from harvester.events import AccountStopped, Answer, Deferred, Event, Failed, Notice, Split
from harvester.report.check import Access, AccountAccess, by_kind, gravest, words
from harvester.report.page import in_both
from tests.support import A, B, at

E, OTHER = "getusersummary", "getusercumulate"
DAY, UNTIL = date(2026, 11, 25), at("2026-11-27", 0)
TOKEN = Notice(
    "info", "TokenFetched", A, "", f"{A}: got an access token that is valid for 2 h 00 min"
)
REFUSED = Notice("info", "TokenRefused", A, "", f"{A}: the access token was refused: errcode 40001")


def requested(code: int | None, name: str = E) -> Event:
    return events.Requested((Answer(A, name, code, 0.1),))


def failed(kind: str, error: str, code: int | None = None, name: str = E) -> Event:
    return Failed(A, name, DAY, DAY, 1, error, code, "r-1", kind=kind)


def waits(reason: str) -> Event:
    return Deferred(A, E, DAY, DAY, 1, UNTIL, reason)


def seen(*told: Event, names: tuple[str, ...] = (E,)) -> AccountAccess:
    access = Access()
    for event in told:
        access(event)
    [account] = access.accounts({A: names}, {A: "Teahouse"})
    return account


IP = "no access token: errcode 40164 (invalid ip 203.0.113.7, not in whitelist): add it [rid: r-1]"


@pytest.mark.parametrize(
    ("told", "state", "kind", "token", "allow_list"),
    [
        ([TOKEN, requested(0)], "usable", "", "ok", "ok"),
        ([TOKEN, requested(0), waits("used up")], "usable", "", "ok", "ok"),
        ([requested(61503), waits("not ready")], "usable", "", "ok", "ok"),
        ([requested(45009), waits("errcode 45009")], "waiting", "quota", "ok", "ok"),
        ([requested(45102), waits("errcode 45102")], "waiting", "blocked", "ok", "ok"),
        ([TOKEN, waits("used up")], "waiting", "quota", "ok", "ok"),
        ([waits("used up")], "waiting", "quota", "unknown", "unknown"),
        ([requested(48001), failed("permission", "errcode 48001", 48001)], "unusable",
         "permission", "ok", "ok"),
        ([failed("ip", f"{A}: {IP}", 40164)], "unusable", "ip", "none", "missing"),
        ([requested(61004), failed("ip", "errcode 61004", 61004)], "unusable", "ip", "ok",
         "missing"),
        ([AccountStopped(A, "no access token: x", 40125, kind="secret")], "unusable", "secret",
         "none", "unknown"),
        ([failed("token", "no access token: WX is not set")], "unusable", "token", "none",
         "unknown"),
        ([requested(-1), failed("retry", "errcode -1", -1)], "unknown", "retry", "ok", "ok"),
        ([requested(None), failed("retry", "HTTP 502, after 1 attempts")], "unknown", "retry",
         "unknown", "unknown"),
        ([TOKEN, failed("token", "no access token: WeChat refused the static token")], "unusable",
         "token", "none", "unknown"),
        ([TOKEN, requested(61501), Split(A, E, 2), waits("used up")], "usable", "", "ok", "ok"),
        ([requested(40001), waits("used up")], "unknown", "retry", "unknown", "unknown"),
        ([TOKEN, REFUSED, requested(40001)], "unusable", "token", "none", "unknown"),
        ([REFUSED, TOKEN, requested(40001)], "unknown", "retry", "unknown", "unknown"),
        ([], "unknown", "", "unknown", "unknown"),
    ],
)  # fmt: skip
def test_an_answer_shows_what_an_account_may_do(
    told: list[Event], state: str, kind: str, token: str, allow_list: str
) -> None:
    account = seen(*told)
    [interface] = account.interfaces
    assert (account.state, interface.kind) == (state, kind)
    assert (account.token, account.allow_list) == (token, allow_list)
    assert [cause.kind for cause in account.causes()] == ([kind] if kind else [])


def test_the_address_and_the_request_id_are_those_that_wechat_names() -> None:
    account = seen(failed("ip", f"{A}: {IP}", 40164))
    [cause] = account.causes()
    assert account.ip == cause.ip == "203.0.113.7"
    found = account.to_dict()
    assert found["to_do"] == [
        {
            "kind": "ip",
            "text": "IP 203.0.113.7 is not on the allow list",
            "advice": "Add it to the allow list of each account, in its console.",
        }
    ]
    [interface] = found["interfaces"]
    assert (interface["code"], interface["rid"]) == (40164, "r-1")
    assert not interface["error"].startswith(A)
    assert "rid" not in interface["error"]


def test_the_fewest_calls_that_are_left_count() -> None:
    quotas = [
        Notice("info", "Quota", A, name, "", (left, 1000)) for name, left in ((E, 990), (OTHER, 7))
    ]
    account = seen(*quotas, requested(0), requested(0, OTHER), names=(E, OTHER))
    assert (account.left, account.usable, account.state) == (7, 2, "usable")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "usable"),
        (["usable", "waiting"], "waiting"),
        (["unknown", "waiting"], "unknown"),
        (["unusable", "unknown", "usable"], "unusable"),
    ],
)
def test_the_gravest_state_counts(states: list[str], expected: str) -> None:
    assert gravest(states) == expected


def test_causes_of_accounts_are_together_the_most_urgent_first() -> None:
    access = Access()
    for appid in (A, B):
        access(Failed(appid, E, DAY, DAY, 1, "errcode 48001", kind="permission"))
        access(Failed(appid, OTHER, DAY, DAY, 1, "errcode 40125", kind="secret"))
    accounts = access.accounts({A: [E, OTHER], B: [E, OTHER]}, {})
    causes = by_kind([cause for each in accounts for cause in each.causes()])
    assert [(cause.kind, sorted(cause.appids)) for cause in causes] == [
        ("secret", [A, B]), ("permission", [A, B])
    ]  # fmt: skip
    assert in_both(words(causes[1])[0]) == (
        f"没有接口权限：{E}", f"No permission for the interface: {E}"
    )  # fmt: skip
