"""What the report page knows of a ledger, and what it says first."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from harvester.ledger.coverage import OpenWindow
from harvester.model import Batch, Window
from harvester.report import summary as verdict
from harvester.report.causes import KINDS, kind_of
from harvester.report.charts import DAYS as DAYS_OF_CURVES
from harvester.report.charts import days_for, figures
from harvester.report.overview import RECENT, Overview, runs_of
from harvester.report.page import newest
from harvester.report.summary import Figure
from harvester.report.texts import INTERFACE_TITLES, TEXTS, compact, moment, share
from harvester.sinks.memory import MemorySink
from harvester.wechat.interfaces import INTERFACES
from tests.report_data import FAILURES, NOW, YESTERDAY, KnownLedger, agency
from tests.support import A, B, at

USERS, FOLLOWERS = "getusersummary", "getusercumulate"
BEGIN = date(2026, 1, 1)
DAYS = (YESTERDAY - BEGIN).days + 1


def said(seen: Overview) -> tuple[str, str]:
    return verdict.badge(seen), verdict.headline(seen)[1]


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
    assert (seen.counts, seen.calls, seen.causes) == ((2 * DAYS, 0, 0, 0, 0, 0), 0, [])
    assert [account.state for account in seen.accounts] == ["here", "here"]


def test_a_provisional_day_is_there() -> None:
    seen = two("open", detail="its figures grow until 2026-12-24").seen()
    assert said(seen) == ("well", "Yesterday is complete for both accounts")
    assert verdict.clauses(seen)[-1].text[1].startswith("1 day can still change")


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
    ledger = two("late", detail="its last day has no row yet, and every day has one")
    seen = ledger.seen()
    assert said(seen) == ("waiting", "Yesterday is incomplete for 1 of 2 accounts")
    assert (seen.accounts[0].kind, seen.counts[1]) == ("late", 1)


def test_an_interface_that_never_came_is_late() -> None:
    ledger = two()
    ledger.harvested(B, USERS, BEGIN, YESTERDAY)
    ledger.asked_for(B, FOLLOWERS, BEGIN, YESTERDAY)
    ledger.asked_for("wx00000000000000cc", USERS, BEGIN, YESTERDAY)
    part, never, _ = ledger.seen().accounts
    assert (part.appid, part.late, part.expected, part.behind) == (B, 1, 2, DAYS)
    assert newest(part)[1][1] == f"1 of 2 interfaces, up to {DAYS} days late"
    assert (never.late, never.expected, never.behind) == (1, 1, None)
    assert newest(never)[1][1] == "1 of 1 interface, never came"


def test_fresh_is_not_complete() -> None:
    """An account that waits for quota for old days has its newest day."""
    ledger = two("final")
    ledger.asked_for(A, USERS, date(2025, 1, 1), YESTERDAY)
    ledger.put(A, USERS, date(2025, 1, 1), date(2025, 12, 31), "waiting", code=45009,
               due=at("2026-11-27", 0.02), detail="errcode 45009")  # fmt: skip
    seen = ledger.seen()
    assert said(seen) == ("waiting", "Yesterday is complete for both accounts")
    assert [account.state for account in seen.accounts] == ["here", "here"]
    assert verdict.clauses(seen)[0].text == (
        "1 个账号在等额度，今晚 24:00 恢复",
        "1 account waits for quota, until midnight in China",
    )


def test_nothing_for_days_is_a_thing_to_do() -> None:
    seen = two("final").seen(at("2026-12-01", 9))
    assert said(seen) == ("needed", "No new data for 5 days; the last is of Nov 25")
    (cause,) = [cause for cause in seen.causes if cause.mine]
    assert verdict.cause_title(cause, seen)[1] == "None of the last 5 days was asked for"
    assert [*cause.appids] == [A, B]
    assert verdict.clauses(seen)[0].text[1] == "None of the last 5 days was asked for"
    assert verdict.figures(seen)[2].unit[1] == "run it first"


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
    assert (sum(seen.counts), seen.calls) == (21, 0)


def test_recent_figures_are_never_missing_in_the_past() -> None:
    ledger = KnownLedger()
    ledger.harvested(A, "getweanalysisappiduserportrait", YESTERDAY, YESTERDAY)
    ledger.asked_for(A, "getweanalysisappiduserportrait", BEGIN, YESTERDAY)
    assert ledger.seen().counts == (1, 0, 0, 0, 0, 0)


def test_there_is_nothing_yet() -> None:
    assert said(KnownLedger().seen()) == ("", "Nothing was harvested yet")


def test_not_a_single_day_came() -> None:
    ledger = KnownLedger()
    for appid in (A, B):
        ledger.asked_for(appid, USERS, BEGIN, YESTERDAY)
        ledger.put(appid, USERS, BEGIN, YESTERDAY, "failed", code=61500, detail=FAILURES[3][1])
    seen = ledger.seen()
    assert said(seen) == ("needed", "Not one day was harvested")
    assert verdict.figures(seen)[2].unit[1] == "first see to the causes"
    assert (seen.calls, seen.blocked, seen.finished) == (0, 96, None)


# causes


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


# when


def waits(calls_today: int) -> Overview:
    ledger = two("final")
    ledger.asked_for(A, "getupstreammsghour", BEGIN, YESTERDAY)
    ledger.put(A, "getupstreammsghour", BEGIN, YESTERDAY, "waiting", due=NOW + 9, detail="quota")
    ledger.calls[A, "getupstreammsghour"] = calls_today
    return ledger.seen()


def test_the_date_of_completion_follows_from_the_calls_of_today() -> None:
    seen = waits(100)
    assert (DAYS, seen.calls, seen.finished) == (329, 329, date(2026, 11, 30))
    assert verdict.figures(seen)[2].unit == ("还有 4 天", "in 4 days")


def test_a_quota_that_is_not_known_gives_no_date() -> None:
    assert waits(0).finished is None
    assert verdict.figures(waits(0))[2].unit[1] == "the quota is not known"


def test_what_waits_for_no_quota_is_there_after_the_next_run() -> None:
    assert verdict.figures(two().seen())[2].value == ("下次运行", "Next run")


def missing(**how: Any) -> Figure:
    """Complete by, of 3,285 days that no run has asked for."""
    ledger = two("final")
    ledger.asked_for(A, "getupstreammsghour", date(2017, 11, 28), YESTERDAY)
    seen = ledger.seen(**how)
    assert seen.calls == 3285
    return verdict.figures(seen)[2]


def test_many_calls_are_not_made_by_the_next_run() -> None:
    assert missing().unit[1] == "in 3 days"  # at the 1,000 calls a day that most accounts have
    assert missing(daily_quota=500).unit[1] == "in 6 days"
    assert missing(daily_quota=5000).value[1] == "Next run"


def test_a_range_that_ended_long_ago_is_judged_by_its_end_while_runs_ask_for_it() -> None:
    ledger = two("final")
    assert said(ledger.seen(at("2026-12-12", 9)))[0] == "needed"
    ledger.calls[A, USERS] = 3
    seen = ledger.seen(at("2026-12-12", 9))
    assert said(seen) == ("well", "Nov 25 is complete for both accounts")
    assert (seen.silent, [cause.kind for cause in seen.causes]) == (0, [])


def test_a_day_without_a_run_is_late_although_the_day_before_had_one() -> None:
    ledger = two("final")
    ledger.calls[A, USERS] = 3
    assert said(ledger.seen(at("2026-11-27", 9)))[1].startswith("Yesterday is incomplete for")


# sums


def test_months_and_weeks_add_up() -> None:
    ledger, names = agency(40)
    seen = ledger.seen(names=names)
    for view in seen.interfaces:
        columns = zip(*view.months.values(), strict=True)
        assert tuple(map(sum, columns)) == view.counts
    assert tuple(map(sum, zip(*(one.counts for one in seen.accounts), strict=True))) == seen.counts
    last = [sum(week) for account in seen.accounts for week in account.weeks]
    assert max(last) == 7 * len(seen.interfaces)
    assert {account.name for account in seen.accounts} == {*names.values()}


def test_letters_as_runs() -> None:
    assert runs_of(b"fff..o") == "f3.2o1"


# figures


def sink_with(*windows: tuple[str, str, list[dict[str, object]]]) -> MemorySink:
    """A sink that holds a window of yesterday for each account, interface and its records."""
    sink = MemorySink()
    batches = [
        Batch(Window(appid, name, YESTERDAY, YESTERDAY), records, "2026-11-26T01:00:00Z")
        for appid, name, records in windows
    ]

    async def fill() -> None:
        await sink.open({})
        await sink.write(batches, {})

    asyncio.run(fill())
    return sink


def test_figures_are_those_that_are_stored() -> None:
    day = str(YESTERDAY)
    sink = sink_with(
        (A, USERS, [{"ref_date": day, "user_source": 0, "new_user": 3, "cancel_user": 1},
                    {"ref_date": day, "user_source": 1, "new_user": 4, "cancel_user": 0}]),
        (A, FOLLOWERS, [{"ref_date": day, "cumulate_user": 700}]),
        (B, "getbizsummary", [{"ref_date": day, "detail": {"read_user": 9}}]),
        (B, FOLLOWERS, [{"ref_date": day, "cumulate_user": "many"}]),
    )  # fmt: skip
    found = figures(sink, None, YESTERDAY, [USERS, FOLLOWERS, "getbizsummary"], [A, B])
    assert [found.latest(A, name) for name in ("gained", "lost", "followers")] == [7, 1, 700]
    assert found.of(A, "gained")[:-1] == [None] * (DAYS_OF_CURVES - 1)
    assert (found.latest(B, "readers"), found.latest(B, "followers")) == (9, None)
    assert found.weeks("gained")[-2:] == [None, 7]
    assert figures(sink, None, YESTERDAY, [USERS], [A]).latest(A, "followers") is None
    assert figures(sink, None, YESTERDAY, [USERS], [B]).latest(A, "gained") is None
    assert figures(sink, None, BEGIN, [USERS], [A]).latest(A, "gained") is None


def test_people_are_counted_by_source_over_the_last_year() -> None:
    def read(day: date, *sources: object) -> dict[str, object]:
        return {"ref_date": str(day), "detail": {"read_user": 9, "read_user_source": [*sources]}}

    def by(scene: object, people: object) -> dict[str, object]:
        return {"scene_desc": scene, "user_count": people}

    before = YESTERDAY - timedelta(days=DAYS_OF_CURVES)
    sink = sink_with(
        (A, "getbizsummary", [
            read(YESTERDAY, by("全部", 9), by("朋友圈", 5), by("聊天会话", 6)),
            read(YESTERDAY, by("搜一搜", None), 7),
            read(YESTERDAY, by("朋友圈", 1)),
            read(before, by("朋友圈", 100)),
            {"ref_date": str(YESTERDAY), "detail": {"read_user": 1}},
        ]),
        (A, USERS, [{"ref_date": str(YESTERDAY), "user_source": 30, "new_user": 4},
                    {"ref_date": str(YESTERDAY), "user_source": 17, "new_user": "many"}]),
    )  # fmt: skip
    found = figures(sink, None, YESTERDAY, [USERS, "getbizsummary"], [A], DAYS_OF_CURVES + 1)
    assert found.sources[A] == {"readers": {"朋友圈": 6, "聊天会话": 6}, "gained": {"30": 4}}
    assert found.of(A, "readers")[0] == 9  # the day before the last year has a place


def test_of_few_accounts_all_days_are_read() -> None:
    first = YESTERDAY - timedelta(days=3_999)
    assert days_for(1, first, YESTERDAY) == 4_000
    assert days_for(100, first, YESTERDAY) == 700
    assert days_for(1_000, first, YESTERDAY) == DAYS_OF_CURVES
    assert days_for(1, YESTERDAY, YESTERDAY) == DAYS_OF_CURVES


@pytest.mark.parametrize(
    ("value", "zh", "en"),
    [
        (None, "–", "–"),
        (9_999, "9,999", "9,999"),
        (316_971, "31.7万", "317k"),
        (-12_345, "-1.2万", "-12.3k"),
        (271_900_000, "2.7亿", "272M"),
        (1_234_000_000, "12.3亿", "1.2B"),
    ],
)
def test_large_numbers_in_a_few_signs(value: int | None, zh: str, en: str) -> None:
    assert compact(value) == (zh, en)


# words


def test_every_interface_has_a_short_name_in_both_languages() -> None:
    assert INTERFACE_TITLES.keys() == INTERFACES.keys()
    texts = [*INTERFACE_TITLES.values(), *TEXTS.values(), *(
        text for kind in KINDS.values() for text in (kind.short, kind.title, kind.advice)
    )]  # fmt: skip
    for zh, en in texts:
        assert zh.strip()
        assert en.strip()
        assert not [char for char in en if char > "\u2fff"], en


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 9, "0%"), (9, 9, "100%"), (1, 10**6, "0.1%"), (10**6 - 1, 10**6, "99.9%"), (0, 0, "–")],
)
def test_a_share_says_all_or_nothing_only_if_it_is(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_times_that_are_waited_for() -> None:
    assert moment(NOW - 1, NOW)[1] == "now"
    assert moment(NOW + 3600, NOW) == ("今天 17:30", "17:30 today")
    assert moment(at("2026-11-28", 9), NOW) == ("11月28日 09:00", "Nov 28, 09:00")
