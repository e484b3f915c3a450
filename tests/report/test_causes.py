"""The causes of what is missing."""

from __future__ import annotations

from datetime import date

import pytest

from harvester.ledger.coverage import OpenWindow
from harvester.report import summary as verdict
from harvester.report.causes import KINDS, kind_of
from harvester.report.page import in_both
from harvester.wechat.codes import _OF_KIND, ERRORS, KIND_OF
from tests.report_data import FAILURES, YESTERDAY, KnownLedger

USERS, FOLLOWERS = "getusersummary", "getusercumulate"
BEGIN = date(2026, 1, 1)
DAYS = (YESTERDAY - BEGIN).days + 1


KEPT = ("strange refusal", "strange refusal, after too many attempts", "no access token: quota")
"""Texts that say nothing of the kind."""


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (40125, "secret"), (40013, "appid"), (40164, "ip"), (48001, "permission"),
        (61023, "authorisation"), (48004, "frozen"), (47009, "retired"), (45040, "month"),
        (61500, "refused"), (40199, "refused"), (-1, "retry"), (None, "retry"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("detail", KEPT)
def test_the_kind_of_a_failure_that_was_stored_without_one(
    code: int | None, kind: str, detail: str
) -> None:
    assert kind_of(OpenWindow(BEGIN, BEGIN, "failed", detail=detail, code=code)) == kind


@pytest.mark.parametrize(
    ("code", "kind"), [(45009, "quota"), (45102, "blocked"), (61503, "late"), (None, "late")]
)
@pytest.mark.parametrize("detail", KEPT)
def test_the_kind_of_a_wait_that_was_stored_without_one(
    code: int | None, kind: str, detail: str
) -> None:
    assert kind_of(OpenWindow(BEGIN, BEGIN, "waiting", detail=detail, code=code)) == kind


@pytest.mark.parametrize("state", ["waiting", "failed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_is_stored_is_the_kind(kind: str, state: str) -> None:
    for code in (None, 45009, 40125):
        window = OpenWindow(BEGIN, BEGIN, state, detail=KEPT[1], code=code, kind=kind)
        assert kind_of(window) == kind
        assert kind_of(window._replace(state="late")) == "late"


def test_each_code_has_one_kind_and_that_kind_is_known() -> None:
    assert set(KIND_OF.values()) <= KINDS.keys()
    assert sum(map(len, _OF_KIND.values())) == len(KIND_OF)
    assert set(KIND_OF) <= ERRORS.keys()


def test_an_interface_that_is_blocked_for_a_time_waits_for_no_quota() -> None:
    ledger = KnownLedger()
    ledger.asked_for("wx1", USERS, BEGIN, YESTERDAY)
    ledger.put("wx1", USERS, BEGIN, YESTERDAY, "waiting", code=45102, detail="errcode 45102")
    seen = ledger.seen()
    assert verdict.cause_title(seen.causes[0], seen).startswith("Blocked by WeChat for a time")
    assert verdict.clauses(seen)[0].text == (
        "WeChat has temporarily blocked interfaces of 1 account; the next run tries again"
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
    assert in_both(verdict.cause_title(address, seen)) == (
        "本机 IP 203.0.113.7 不在白名单",
        "IP 203.0.113.7 is not on the allow list",
    )
    assert verdict.figures(seen)[3].value == "2"
    assert verdict.clauses(seen)[0].text == "4 accounts need action: secret 2, IP list 2"
