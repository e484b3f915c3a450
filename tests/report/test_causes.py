"""The causes of what is missing."""

from __future__ import annotations

from datetime import date

import pytest

from harvester.ledger.coverage import OpenWindow
from harvester.report import summary as verdict
from harvester.report.causes import kind_of
from tests.report_data import FAILURES, YESTERDAY, KnownLedger

USERS, FOLLOWERS = "getusersummary", "getusercumulate"
BEGIN = date(2026, 1, 1)
DAYS = (YESTERDAY - BEGIN).days + 1


@pytest.mark.parametrize(
    ("code", "detail", "kind"),
    [
        (40125, "no access token: errcode 40125", "secret"),
        (40164, "no access token: errcode 40164 (invalid ip)", "ip"),
        (48001, "errcode 48001", "permission"),
        (47009, "errcode 47009", "retired"),
        (45040, "errcode 45040", "month"),
        (61500, "errcode 61500", "refused"),
        (-1, "errcode -1, after 5 attempts", "retry"),
        (None, "HTTP 502, after 5 attempts", "retry"),
        (None, "no access token: accounts.toml, account 2: there is no file s", "token"),
        (987654, "errcode 987654 (new)", "refused"),
    ],
)  # fmt: skip
def test_the_kind_of_a_failure(code: int | None, detail: str, kind: str) -> None:
    assert kind_of(OpenWindow(BEGIN, BEGIN, "failed", detail=detail, code=code)) == kind


@pytest.mark.parametrize(
    ("code", "detail", "kind"),
    [
        (45009, "errcode 45009", "quota"),
        (None, "the calls of this interface that today's quota allows are used up", "quota"),
        (45102, "errcode 45102", "blocked"),
        (61503, "errcode 61503", "late"),
    ],
)
def test_the_kind_of_a_wait(code: int | None, detail: str, kind: str) -> None:
    assert kind_of(OpenWindow(BEGIN, BEGIN, "waiting", detail=detail, code=code)) == kind


def test_an_interface_that_is_blocked_for_a_time_waits_for_no_quota() -> None:
    ledger = KnownLedger()
    ledger.asked_for("wx1", USERS, BEGIN, YESTERDAY)
    ledger.put("wx1", USERS, BEGIN, YESTERDAY, "waiting", code=45102, detail="errcode 45102")
    seen = ledger.seen()
    assert verdict.cause_title(seen.causes[0], seen)[1].startswith("Blocked by WeChat for a time")
    assert verdict.clauses(seen)[0].text[1] == (
        "WeChat has blocked interfaces of 1 account for a time; the next run tries again"
    )


def test_a_cause_is_one_thing_to_do_for_all_its_accounts() -> None:
    ledger = KnownLedger()
    for number in range(4):
        appid = f"wx{number}"
        for endpoint in (USERS, FOLLOWERS):
            ledger.asked_for(appid, endpoint, BEGIN, YESTERDAY)
            code, detail = FAILURES[number % 2]
            ledger.put(appid, endpoint, BEGIN, YESTERDAY, "failed", code=code,
                       detail=detail.format(appid), rid=f"r{number}")  # fmt: skip
    seen = ledger.seen()
    secret, address = seen.causes
    assert ([*secret.appids], sum(secret.days.values())) == (["wx0", "wx2"], 4 * DAYS)
    assert [*secret.messages.values()] == ["r0"]  # one sentence, without the appid
    assert (address.ip, [*address.appids]) == ("203.0.113.7", ["wx1", "wx3"])
    assert verdict.cause_title(address, seen) == (
        "本机 IP 203.0.113.7 不在白名单",
        "IP 203.0.113.7 is not on the white list",
    )
    assert verdict.figures(seen)[3].value[0] == "2"
    assert verdict.clauses(seen)[0].text[1] == "4 accounts need you: secret 2, IP list 2"
