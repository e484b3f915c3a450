"""What the report page shows first, by what a ledger knows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from harvester.report import summary as verdict
from harvester.report.days import Counts
from harvester.report.overview import RECENT, Overview
from harvester.report.page import in_both, newest
from harvester.report.summary import Figure
from tests.report_data import FAILURES, NOW, YESTERDAY, KnownLedger
from tests.support import A, B, at

USERS, FOLLOWERS = "getusersummary", "getusercumulate"
BEGIN = date(2026, 1, 1)
DAYS = (YESTERDAY - BEGIN).days + 1


def said(seen: Overview) -> tuple[str, str]:
    return verdict.badge(seen), verdict.headline(seen)


def two(state: str = "", **more: object) -> KnownLedger:
    """Two accounts; of the second one yesterday did not come."""
    ledger = KnownLedger()
    ledger.harvested(A, USERS, BEGIN, YESTERDAY)
    ledger.harvested(B, USERS, BEGIN, YESTERDAY - timedelta(days=1))
    ledger.asked_for(B, USERS, BEGIN, YESTERDAY)
    if state:
        ledger.put(B, USERS, YESTERDAY, YESTERDAY, state, **more)
    return ledger


# fresh


def test_all_is_there() -> None:
    ledger = two()
    ledger.put(B, USERS, YESTERDAY, YESTERDAY, "final")
    seen = ledger.seen()
    assert said(seen) == ("well", "Yesterday is complete for both accounts")
    assert (seen.counts, seen.calls, seen.causes) == (Counts(2 * DAYS), 0, [])
    assert [account.state for account in seen.accounts] == ["here", "here"]


def test_a_provisional_day_is_there() -> None:
    seen = two("open", detail="its figures grow until 2026-12-24").seen()
    assert said(seen) == ("well", "Yesterday is complete for both accounts")
    text = verdict.clauses(seen)[-1].text
    assert text.startswith("the figures of 1 interface-day can still change")


def test_before_eight_in_china_yesterday_is_not_expected() -> None:
    ledger = two("final")
    seen = ledger.seen(at("2026-11-27", 7.5))
    assert seen.day == YESTERDAY
    assert said(seen) == ("well", "Nov 25 is complete for both accounts")


def test_a_day_that_was_not_asked_for_is_missing_and_resolves_by_itself() -> None:
    seen = two().seen()
    assert said(seen) == ("waiting", "Yesterday is incomplete for 1 of 2 accounts")
    assert [(cause.kind, cause.days[USERS]) for cause in seen.causes] == [("missing", 1)]
    assert (seen.accounts[0].appid, seen.accounts[0].behind) == (B, 1)


def test_a_day_whose_row_is_late_is_not_there_yet() -> None:
    ledger = two("late", detail="a day has no row yet, but each day must have one")
    seen = ledger.seen()
    assert said(seen) == ("waiting", "Yesterday is incomplete for 1 of 2 accounts")
    assert (seen.accounts[0].kind, seen.counts.late) == ("late", 1)


def test_an_interface_that_never_came_is_late() -> None:
    ledger = two()
    ledger.harvested(B, USERS, BEGIN, YESTERDAY)
    ledger.asked_for(B, FOLLOWERS, BEGIN, YESTERDAY)
    ledger.asked_for("wx00000000000000cc", USERS, BEGIN, YESTERDAY)
    part, never, _ = ledger.seen().accounts
    assert (part.appid, part.late, part.expected, part.behind) == (B, 1, 2, DAYS)
    assert newest(part)[1] == f"1 of 2 interfaces, up to {DAYS} days late"
    assert (never.late, never.expected, never.behind) == (1, 1, None)
    assert newest(never)[1] == "1 of 1 interface never had data"


def test_fresh_is_not_complete() -> None:
    """An account that waits for quota for old days has its newest day."""
    ledger = two("final")
    ledger.asked_for(A, USERS, date(2025, 1, 1), YESTERDAY)
    ledger.put(A, USERS, date(2025, 1, 1), date(2025, 12, 31), "waiting", code=45009,
               due=at("2026-11-27", 0.02), detail="errcode 45009")  # fmt: skip
    seen = ledger.seen()
    assert said(seen) == ("waiting", "Yesterday is complete for both accounts")
    assert [account.state for account in seen.accounts] == ["here", "here"]
    assert in_both(verdict.clauses(seen)[0].text) == (
        "1 个账号在等限额，今晚 24:00 恢复",
        "1 account waits for quota, until midnight in China",
    )


def test_nothing_for_days_is_a_thing_to_do() -> None:
    seen = two("final").seen(at("2026-12-01", 9))
    assert said(seen) == ("needed", "No new data for 5 days; the last data is of Nov 25")
    (cause,) = [cause for cause in seen.causes if cause.mine]
    assert verdict.cause_title(cause, seen) == "None of the last 5 days was asked for"
    assert [*cause.appids] == [A, B]
    assert verdict.clauses(seen)[0].text == "None of the last 5 days was asked for"
    assert verdict.figures(seen)[2].unit == "run it first"


def test_what_nobody_asks_for_any_more_is_judged_by_its_own_last_day() -> None:
    later = at(str(YESTERDAY + RECENT + timedelta(days=3)), 9)
    seen = two("final").seen(later)
    assert (seen.archive, said(seen)) == (True, ("well", "Nov 25 is complete for both accounts"))


def test_an_account_that_is_left_out_for_long_is_not_late() -> None:
    ledger = two("final")
    ledger.asked_for("wx1", USERS, date(2020, 1, 1), date(2020, 12, 31))
    ledger.put("wx1", USERS, date(2020, 1, 1), date(2020, 12, 31), "failed", code=40001)
    seen = ledger.seen()
    assert [account.state for account in seen.accounts] == ["here", "here", "old"]
    assert said(seen) == ("well", "Yesterday is complete for both accounts")


def test_an_account_that_is_disabled_is_not_late() -> None:
    seen = two("failed", code=40001).seen(disabled=[B])
    assert [account.state for account in seen.accounts] == ["here", "old"]
    assert said(seen) == ("well", "Yesterday is complete")
    assert said(two().seen(disabled=[A, B])) == ("well", "Nothing is due now")


def test_weeks_are_fresh_with_the_last_whole_one() -> None:
    ledger = KnownLedger()
    ledger.harvested(A, "getupstreammsgweek", date(2026, 11, 2), date(2026, 11, 22))
    ledger.asked_for(A, "getupstreammsgweek", date(2026, 10, 30), YESTERDAY)
    seen = ledger.seen()
    assert said(seen) == ("well", "Yesterday is complete")
    assert (seen.counts.asked, seen.calls) == (21, 0)


def test_recent_figures_are_never_missing_in_the_past() -> None:
    ledger = KnownLedger()
    ledger.harvested(A, "getweanalysisappiduserportrait", YESTERDAY, YESTERDAY)
    ledger.asked_for(A, "getweanalysisappiduserportrait", BEGIN, YESTERDAY)
    seen = ledger.seen()
    assert seen.counts == Counts(1, gone=DAYS - 1)


def test_there_is_nothing_yet() -> None:
    assert said(KnownLedger().seen()) == ("", "Nothing was harvested yet")


def test_not_a_single_day_came() -> None:
    ledger = KnownLedger()
    for appid in (A, B):
        ledger.asked_for(appid, USERS, BEGIN, YESTERDAY)
        ledger.put(appid, USERS, BEGIN, YESTERDAY, "failed", code=61500, detail=FAILURES[3][1])
    seen = ledger.seen()
    assert said(seen) == ("needed", "No day was harvested yet")
    assert verdict.figures(seen)[2].unit == "first remove the causes"
    assert (seen.calls, seen.blocked, seen.finished) == (0, 96, None)


# when


def waits(calls_today: int) -> Overview:
    ledger = two("final")
    ledger.asked_for(A, "getupstreammsghour", BEGIN, YESTERDAY)
    ledger.put(A, "getupstreammsghour", BEGIN, YESTERDAY, "waiting", due=NOW + 9, kind="quota")
    ledger.calls[A, "getupstreammsghour"] = calls_today
    return ledger.seen()


def test_the_date_of_completion_follows_from_the_calls_of_today() -> None:
    seen = waits(100)
    assert (DAYS, seen.calls, seen.finished) == (329, 329, date(2026, 11, 30))
    assert in_both(verdict.figures(seen)[2].unit) == ("还有 4 天", "in 4 days")


def test_a_quota_that_is_not_known_gives_no_date() -> None:
    assert waits(0).finished is None
    assert verdict.figures(waits(0))[2].unit == "the quota is not known"


def test_what_waits_for_no_quota_is_there_after_the_next_run() -> None:
    assert in_both(verdict.figures(two().seen())[2].value) == ("下次运行", "Next run")


def missing(**how: Any) -> Figure:
    """Complete by, of 3,285 days that no run has asked for."""
    ledger = two("final")
    ledger.asked_for(A, "getupstreammsghour", date(2017, 11, 28), YESTERDAY)
    seen = ledger.seen(**how)
    assert seen.calls == 3285
    return verdict.figures(seen)[2]


def test_many_calls_are_not_made_by_the_next_run() -> None:
    assert missing().unit == "in 3 days"  # at the 1,000 calls per day that most accounts have
    assert missing(daily_quota=500).unit == "in 6 days"
    assert missing(daily_quota=5000).value == "Next run"


def test_a_range_that_ended_long_ago_is_judged_by_its_end_while_runs_ask_for_it() -> None:
    ledger = two("final")
    assert said(ledger.seen(at("2026-12-12", 9)))[0] == "needed"
    ledger.calls[A, USERS] = 3
    seen = ledger.seen(at("2026-12-12", 9))
    assert said(seen) == ("well", "Nov 25 is complete for both accounts")
    assert (seen.silent, [cause.kind for cause in seen.causes]) == (0, [])


def test_a_retired_interface_that_ended_a_week_ago_is_not_expected() -> None:
    ledger = two("final")
    ledger.harvested(A, "getuserread", BEGIN, YESTERDAY - timedelta(6))
    seen = ledger.seen()
    assert said(seen) == ("well", "Yesterday is complete for both accounts")
    assert all(not row.late for account in seen.accounts for row in account.rows)


def test_a_day_without_a_run_is_late_although_the_day_before_had_one() -> None:
    ledger = two("final")
    ledger.calls[A, USERS] = 3
    assert said(ledger.seen(at("2026-11-27", 9)))[1].startswith("Yesterday is incomplete for")
