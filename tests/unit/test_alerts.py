"""What the service says, in both languages, and when: from overviews to messages."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest

from harvester.report import Overview
from harvester.service.alerts import (
    LONGEST,
    Change,
    alert,
    causes_of,
    change,
    digest,
    run_causes,
)
from tests.report_data import BEGIN, NOW, YESTERDAY, KnownLedger, agency

AT, STALE = time(8, 5), 26 * 3600.0
USERS, SHARE = "getusersummary", "getarticleshare"
ONE_DAY = timedelta(days=1)
SECRET = "no access token: errcode 40125 (invalid appsecret): the secret is wrong; correct it"


def seen(*late: str, code: int = 40125, detail: str = SECRET, behind: int = 1) -> Overview:
    """Three accounts, of which some lack the last days of an interface."""
    ledger = KnownLedger()
    for appid in ("wx1", "wx2", "wx3"):
        ledger.asked_for(appid, USERS, BEGIN, YESTERDAY)
        last = YESTERDAY - (behind * ONE_DAY if appid in late else 0 * ONE_DAY)
        ledger.put(appid, USERS, BEGIN, last, "final")
        if appid in late and code:
            ledger.put(appid, USERS, last + ONE_DAY, YESTERDAY, "failed", code=code, detail=detail)
    return ledger.seen(names={"wx1": "甲"})


def test_a_cause_is_raised_once_and_again_for_others_and_is_over_once() -> None:
    told: list[Change] = []
    known: dict[str, tuple[str, ...]] = {}
    for late in (("wx1",), ("wx1",), ("wx1", "wx2"), ("wx2",), ()):
        now = seen(*late)
        told.append(change(known, causes_of(now, AT, STALE), now))
        known = dict(told[-1].causes)
    assert [(dict(each.raised), dict(each.over)) for each in told] == [
        ({"secret": ("wx1",)}, {}),
        ({}, {}),
        ({"secret": ("wx2",)}, {}),
        ({}, {"secret": ("wx1",)}),
        ({}, {"secret": ("wx2",)}),
    ]
    assert known == {}


def test_another_cause_of_an_account_is_told_and_the_first_is_over_when_figures_are_there() -> None:
    now = seen("wx1", code=40164, detail="errcode 40164 (invalid ip 203.0.113.7)")
    changed = change({"secret": ("wx1",)}, causes_of(now, AT, STALE), now)
    assert changed.raised == {"ip 203.0.113.7": ("wx1",)}
    assert changed.over == {}
    changed = change(changed.causes, {}, seen())
    assert changed.over == {"ip 203.0.113.7": ("wx1",), "secret": ("wx1",)}


def test_nothing_is_said_of_an_account_that_is_gone() -> None:
    changed = change({"secret": ("wx9",)}, {}, seen())
    assert (changed.raised, changed.over, changed.causes) == ({}, {}, {})


def test_what_is_left_of_a_former_cause_is_none_once_the_newest_figures_are_there() -> None:
    ledger = KnownLedger()
    ledger.harvested("wx1", USERS, BEGIN, YESTERDAY)
    ledger.put("wx1", USERS, BEGIN, BEGIN + ONE_DAY, "failed", code=40125, detail=SECRET)
    assert causes_of(ledger.seen(), AT, STALE) == {}


@pytest.mark.parametrize(
    ("behind", "hours", "stale"),
    [(1, 26, True), (1, 40, False), (2, 40, True), (1, 25, True)],
)
def test_figures_are_stale_once_they_were_due_for_too_long(
    behind: int, hours: float, *, stale: bool
) -> None:
    """It is 16:30; yesterday's figures were due at 08:05."""
    found = causes_of(seen("wx1", code=0, behind=behind), AT, hours * 3600)
    assert found == ({"stale": ("wx1",)} if stale else {})


def test_a_week_that_is_not_due_yet_is_not_stale() -> None:
    ledger = KnownLedger()
    ledger.harvested("wx1", USERS, BEGIN, YESTERDAY - ONE_DAY)
    ledger.asked_for("wx1", USERS, BEGIN, YESTERDAY)
    ledger.harvested("wx1", "getupstreammsgweek", date(2026, 1, 5), date(2026, 11, 22))
    assert causes_of(ledger.seen(), AT, 40 * 3600) == {}
    assert causes_of(ledger.seen(NOW + 7 * 86_400), AT, 40 * 3600) == {"stale": ("wx1",)}


def test_runs_that_stop_are_a_cause_of_their_machine_whose_numbers_do_not_count() -> None:
    others = {"run b": ("disk full",), "secret": ("wx1",)}
    found = run_causes(others, "a", "no answer for 600 s")
    assert found == {"run a": ("no answer for 600 s",), "run b": ("disk full",)}
    assert run_causes(found, "a", "no answer for 700 s") == found
    assert run_causes(found, "a", None) == found
    assert run_causes(found, "a", "the disk is full")["run a"] == ("the disk is full",)
    assert run_causes(found, "a", "") == {"run b": ("disk full",)}


def test_a_message_about_runs_shows_no_password() -> None:
    raised = {"run a": ("postgresql://me:p4ss@host/db does not answer",)}
    said = alert(Change(raised, {}, raised), seen(), "en")
    assert said is not None
    assert said.title == "harvester: Runs end with an error"
    assert "p4ss" not in said.body


def test_a_refusal_comes_with_what_wechat_said() -> None:
    now = seen("wx1", code=99, detail="errcode 99 (strange): no such thing")
    said = alert(change({}, causes_of(now, AT, STALE), now), now, "en")
    assert said is not None
    assert (
        said.body == "● WeChat refused the request: 甲 (wx1).  errcode 99 (strange): no such thing"
    )


def test_the_alert_and_its_end_in_chinese() -> None:
    now = seen("wx1", "wx2")
    said = alert(change({}, causes_of(now, AT, STALE), now), now, "zh")
    assert said is not None
    assert said.title == "harvester: 需要处理：2 个账号"
    assert said.body.startswith("● AppSecret 不正确或已冻结：甲 (wx1)、wx2。在公众平台")
    said = alert(change({"secret": ("wx1", "wx2")}, {}, seen()), seen(), "zh")
    assert said == (
        "harvester: 已恢复：2 个账号",
        "○ 已恢复：AppSecret 不正确或已冻结，甲 (wx1)、wx2",
    )


def test_the_digest_in_both_languages() -> None:
    now, day = seen("wx1"), date(2026, 11, 26)
    english = digest(now, day, NOW + 1800, "en")
    assert english.title == "harvester: 2026-11-26: Yesterday is incomplete for 1 of 3 accounts"
    assert english.body.splitlines() == [
        "Here: 2 of 3 accounts",
        "● AppSecret is wrong or frozen: 甲 (wx1) (1 interface-day missing)",
        "Asks again by itself: 17:00 today",
        "Calls today: 0; what is left is not known",
        "History: 99.9% (1 of 987 interface-days missing)",
        "Complete by: — first see to the causes (then 1 call)",
    ]
    chinese = digest(seen(), day, 0.0, "zh")
    assert chinese.title == "harvester: 11月26日 3 个账号昨天的数据全部到齐"
    assert chinese.body.splitlines() == [
        "到齐：3 / 3 个账号",
        "今天调用 0 次，剩余额度未知",
        "历史完整度：100%（共 987 个接口日）",
        "预计补齐：已补齐（无剩余调用）",
    ]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_messages_about_many_accounts_fit_into_a_robots_message(lang: str) -> None:
    ledger, names = agency(1500)
    now = ledger.seen(names=names)
    changed = change({}, causes_of(now, AT, STALE), now)
    said = alert(changed, now, lang), digest(now, date(2026, 11, 26), 0.0, lang)
    for each in said:
        assert each is not None
        assert len(each.body.encode()) <= LONGEST
    many = {f"ip 203.0.113.{n}": ("wx1",) for n in range(99)}
    cut = alert(Change(many, {}, many), now, lang)
    assert cut is not None
    assert len(cut.body.encode()) <= LONGEST
    assert cut.body.splitlines()[-1].startswith("…")
