"""Figures that come late or still grow, through the real engine: stored, provisional, replaced."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.base.dates import Days, WindowKind, last_legal_day
from harvester.cli.commands import invoke
from harvester.engine.attempt import DEFERRALS
from harvester.events import LATE, NEVER, Report, Retrying
from harvester.ledger import FILE_NAME, SqliteLedger
from harvester.ledger.coverage import NEVER as NEVER_DELIVERED
from harvester.model import Endpoint
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import Simulator, VirtualTimeLoop, run_virtual
from harvester.transport import Transport
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import EMPTY_AGAIN
from tests.support import ROOT, A, Script, as_multiset, at, bare, calendars, run, scope, stored
from tests.support import days as all_days

DAY = "2026-03-11"
YESTERDAY = date(2026, 3, 10)
LAST_DAY = (YESTERDAY, YESTERDAY)
READ, GROWING = INTERFACES["getarticleread"], INTERFACES["getarticletotaldetail"]
USERS = INTERFACES["getusersummary"]


def run_at(
    moment: float,
    wechat: Simulator | Transport,
    endpoint: Endpoint,
    days: Days,
    folder: Path,
    **options: Any,
) -> Report:
    """One run into JSON lines at a Unix time."""
    asked, sink = scope(*days, endpoints=[endpoint]), JsonLines(folder)
    return run(wechat, asked, sink, folder / FILE_NAME, now=moment, **options)


def holds(folder: Path, name: str, truth: list[dict[str, Any]]) -> bool:
    rows = stored(folder, name)
    return as_multiset((A, "", bare(row)) for row in rows) == as_multiset(
        (A, "", row) for row in truth
    )


def verified(folder: Path) -> bool:
    return invoke(["verify", "--out", str(folder)]) == 0


def provisional(folder: Path) -> dict[Days, str]:
    return {
        window.days: window.detail
        for calendar in calendars(folder / FILE_NAME).values()
        for window in calendar.windows.values()
        if window.stored
    }


# inside the late window


@pytest.mark.thorough
@pytest.mark.parametrize(("endpoint", "late"), [(INTERFACES["getarticletotal"], 7), (GROWING, 30)])
def test_figures_that_grow_are_asked_for_each_day_until_they_are_final(
    endpoint: Endpoint, late: int, tmp_path: Path
) -> None:
    wechat = Simulator()
    days = (date(2026, 3, 1), date(2026, 3, 3))
    asked = []
    for number in range(late + 5):
        day = date(2026, 3, 4) + timedelta(days=number)
        report = run_at(at(str(day), 9), wechat, endpoint, days, tmp_path)
        assert report.state == "complete"
        asked.append(report.requests)
        truth = wechat.truth_of(endpoint.name, A, *days)
        assert holds(tmp_path, endpoint.name, truth)
        assert len(provisional(tmp_path)) == report.provisional
    assert asked[: late - 2] == [3] * (late - 2)  # the oldest one is whole on its 7th, 30th day
    assert asked[late - 2 :] == [2, 1, *[0] * 5]
    assert provisional(tmp_path) == {}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("name", [each.name for each in INTERFACES.values() if each.late_days])
def test_a_morning_costs_what_the_page_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    reference = importlib.import_module("reference")
    wechat, calls, begin = Simulator(), list[int](), date(2026, 1, 1)
    not_so_long = INTERFACES[name].late_days <= max(EMPTY_AGAIN)
    for number in range(60):
        day = date(2026, 4, 1) + timedelta(days=number)
        days = (begin, day - timedelta(days=1))
        report = run_at(at(str(day), 9), wechat, INTERFACES[name], days, tmp_path)
        assert report.state == "complete"
        eight = day - timedelta(days=1 + max(EMPTY_AGAIN))  # an empty day is asked for once more
        by_the_day = INTERFACES[name].cut is WindowKind.DAYS
        again = by_the_day and not_so_long and not wechat.truth_of(name, A, eight, eight)
        calls.append(report.requests - again)
    least, most = reference.calls_a_day(INTERFACES[name])
    assert (min(calls[1:]), max(calls[1:])) == (least, most)
    said = f"{most}" if least == most else f"{least}–{most}"
    for chinese in (False, True):
        lines = [
            line for line in reference.costs(chinese=chinese).splitlines() if f"`{name}`" in line
        ]
        assert [line.split(" | ")[-1] for line in lines] == ([f"{said} |"] if most > 2 else [])


def test_a_last_entry_that_is_late_in_silence_is_waited_for(tmp_path: Path) -> None:
    first, days = date(2026, 3, 1), (date(2026, 3, 1), date(2026, 3, 1))
    entries = [{"stat_date": str(day)} for day in all_days(first, first + timedelta(days=29))]
    short = True

    def answer(_: object) -> Any:
        row = {"ref_date": str(first), "msgid": "1_1"}
        return {"list": [{**row, "detail_list": entries[:-1] if short else entries}]}

    wechat = Script(answer)
    report = run_at(at("2026-03-31", 9), wechat, GROWING, days, tmp_path)
    assert (report.state, report.provisional) == ("waiting", 1)
    assert [*provisional(tmp_path).values()] == [
        "the entry of its last day is missing; it might be late"
    ]
    again = run_at(at("2026-03-31", 14), wechat, GROWING, days, tmp_path)
    assert (again.state, again.requests) == ("waiting", 1)
    assert again.until == pytest.approx(at("2026-03-31", 14.5), abs=2)
    short = False
    report = run_at(at("2026-03-31", 15.1), wechat, GROWING, days, tmp_path)
    assert (report.requests, report.changed, provisional(tmp_path)) == (1, 1, {})
    assert len(stored(tmp_path, GROWING.name)[0]["detail_list"]) == 30


def test_a_refresh_removes_no_record_and_no_entry_that_an_answer_before_had(tmp_path: Path) -> None:
    first = date(2026, 1, 1)
    days, forgets = (first, first), False

    def answer(_: object) -> Any:
        stats = [{"stat_date": str(day)} for day in all_days(first, first + timedelta(days=29))]
        rows = [
            {"ref_date": str(first), "msgid": msgid, "detail_list": stats[: 5 if forgets else 30]}
            for msgid in (("1_1",) if forgets else ("1_1", "2_1"))
        ]
        return {"list": rows}

    wechat = Script(answer)
    run_at(at(DAY, 9), wechat, GROWING, days, tmp_path)
    before = stored(tmp_path, GROWING.name)
    forgets = True
    report = run_at(at(DAY, 10), wechat, GROWING, days, tmp_path, refresh=True)
    assert (report.state, report.kept, report.changed) == ("complete", 25 + 1, 0)
    assert [*map(bare, stored(tmp_path, GROWING.name))] == [*map(bare, before)]


def test_only_windows_that_changed_count_as_changed(tmp_path: Path) -> None:
    wechat, days = Simulator(), (date(2026, 2, 20), YESTERDAY)
    run_at(at(DAY, 9), wechat, GROWING, days, tmp_path)
    report = run_at(at(DAY, 10), wechat, GROWING, days, tmp_path)
    assert report.requests == 1  # the last day, which was empty; the others were asked an hour ago
    report = run_at(at(DAY, 15.1), wechat, GROWING, days, tmp_path)
    assert (report.requests > 10, report.changed, report.records > 0) == (True, 0, True)
    before = {day: wechat.truth_of(GROWING.name, A, day, day) for day in all_days(*days)}
    report = run_at(at("2026-03-12", 9), wechat, GROWING, days, tmp_path)
    after = {day: wechat.truth_of(GROWING.name, A, day, day) for day in all_days(*days)}
    assert report.changed == sum(before[day] != after[day] for day in before) > 0


def test_what_stood_there_is_kept_if_asking_again_fails(tmp_path: Path) -> None:
    wechat, days = Simulator(), (date(2026, 3, 1), YESTERDAY)
    run_at(at(DAY, 9), wechat, GROWING, days, tmp_path)
    truth = wechat.truth_of(GROWING.name, A, *days)
    broken = Simulator(refuse={GROWING.name: 40035})
    report = run_at(at("2026-03-12", 9), broken, GROWING, days, tmp_path)
    assert (report.state, report.windows.failed) == ("partial", 10)
    assert holds(tmp_path, GROWING.name, truth)
    assert len(provisional(tmp_path)) == 10
    report = run_at(at("2026-03-12", 9.1), wechat, GROWING, days, tmp_path)
    assert (report.state, report.windows.done) == ("complete", 10)


# is_delay


@pytest.mark.parametrize("spelling", [True, "true", "True"])
def test_delayed_figures_are_stored_and_the_run_ends_as_waiting(
    spelling: object, tmp_path: Path
) -> None:
    day = str(YESTERDAY)
    late = {"list": [{"ref_date": day, "msgid": "1_1", "read_user": 1}], "is_delay": spelling}
    report = run_at(at(DAY, 9), Script(lambda _: late), READ, LAST_DAY, tmp_path)
    assert (report.state, report.windows.waiting, report.windows.done) == ("waiting", 1, 0)
    assert report.until == pytest.approx(at(DAY, 9.5), abs=1)
    assert (report.provisional, report.records, report.requests) == (1, 1, 1)
    assert len(stored(tmp_path, READ.name)) == 1
    (wait,) = report.waits
    assert (wait.appid, wait.endpoint, wait.windows) == (A, READ.name, 1)
    assert wait.reason == "WeChat reports that the figures are late"
    assert provisional(tmp_path) == {LAST_DAY: wait.reason}
    done = {**late, "is_delay": "false", "list": [{**late["list"][0], "msgid": "2_1"}]}  # type: ignore[index]
    report = run_at(at(DAY, 9.6), Script(lambda _: done), READ, LAST_DAY, tmp_path)
    assert (report.state, report.changed, report.requests) == ("complete", 1, 1)
    assert [row["msgid"] for row in stored(tmp_path, READ.name)] == ["2_1"]
    assert run_at(at(DAY, 9.7), Script(lambda _: done), READ, LAST_DAY, tmp_path).requests == 0


@pytest.mark.thorough
def test_under_wait_delayed_figures_are_asked_for_half_an_hour_later(tmp_path: Path) -> None:
    wechat, days = Simulator(delay_until_hour=9.75), (date(2026, 3, 1), YESTERDAY)
    told: list[Any] = []
    for name in ("getarticleread", "getbizsummary", "getarticletotaldetail"):
        endpoint = INTERFACES[name]
        report = run_at(
            at(DAY, 9), wechat, endpoint, days, tmp_path / name, wait=True, on_event=told.append
        )
        assert (report.state, report.windows.done) == ("complete", report.windows.planned)
        assert 3600 <= report.seconds < 3700  # at 9:30, and at 10:00
        truth = wechat.truth_of(name, A, *days)
        assert holds(tmp_path / name, name, truth)
    assert {event.delay for event in told if isinstance(event, Retrying)} == {1800.0}


def test_a_window_that_comes_again_within_a_run_counts_once(tmp_path: Path) -> None:
    wechat, days = Simulator(delay_until_hour=9.75), (YESTERDAY, YESTERDAY)
    report = run_at(at(DAY, 9), wechat, READ, days, tmp_path, wait=True)
    assert holds(tmp_path, READ.name, wechat.truth_of(READ.name, A, *days))
    assert (report.windows.done, report.changed, report.provisional) == (1, 0, 0)
    assert report.requests == 3


@pytest.mark.parametrize(
    "answer",
    [{"list": [], "is_delay": "true"}, {"errcode": 61503, "errmsg": "data not ready rid: 1-2"}],
    ids=["is_delay", "61503"],
)
def test_what_never_comes_is_asked_for_a_bounded_number_of_times(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    wechat = Script(lambda _: answer)
    report = run_at(at(DAY, 9), wechat, READ, LAST_DAY, tmp_path, wait=True)
    assert (report.state, report.windows.waiting) == ("waiting", 1)
    assert report.requests == len(wechat.asked) == DEFERRALS + 1
    assert report.seconds == pytest.approx(DEFERRALS * 1800, abs=30)
    without = run_at(at("2026-03-12", 9), wechat, READ, LAST_DAY, tmp_path)
    assert (without.state, without.requests) == ("waiting", 1)


# empty before noon


def empty_until(hour: float, rows: Callable[[date], list[dict[str, Any]]]) -> Script:
    """A WeChat that has nothing of yesterday until an hour of today."""

    def answer(body: dict[str, str]) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        now = loop.wall()
        days = all_days(*map(date.fromisoformat, (body["begin_date"], body["end_date"])))
        known = [day for day in days if day < last_legal_day(now) or now >= at(DAY, hour)]
        return {"list": [row for day in known for row in rows(day)]}

    return Script(answer)


def _followers(day: date) -> list[dict[str, Any]]:
    return [{"ref_date": str(day), "user_source": 0, "new_user": 3, "cancel_user": 1}]


@pytest.mark.parametrize("begin", [YESTERDAY, date(2026, 3, 2)])
def test_a_last_day_without_rows_is_asked_for_again(begin: date, tmp_path: Path) -> None:
    wechat, days = empty_until(10, _followers), (begin, YESTERDAY)
    report = run_at(at(DAY, 8.5), wechat, USERS, days, tmp_path)
    assert (report.state, report.provisional) == ("complete", 1)
    assert provisional(tmp_path) == {
        LAST_DAY: "a day of the window has no record yet; the record might be late"
    }
    report = run_at(at(DAY, 10.5), wechat, USERS, days, tmp_path)
    assert (report.state, report.requests, report.changed) == ("complete", 1, 1)
    rows = stored(tmp_path, "getusersummary")
    assert sorted(row["ref_date"] for row in rows) == list(map(str, all_days(*days)))
    assert run_at(at(DAY, 11), wechat, USERS, days, tmp_path).requests == 0


def morning(number: int, hour: float = 9.0) -> float:
    """So many days after YESTERDAY was due, in the morning."""
    return at(DAY, 24 * number + hour)


@pytest.mark.thorough
def test_a_day_that_is_empty_is_asked_for_again_on_five_days(tmp_path: Path) -> None:
    wechat, days = empty_until(9999, lambda day: []), LAST_DAY
    asked = []
    for number in range(12):
        report = run_at(morning(number), wechat, USERS, days, tmp_path)
        assert (report.state, report.changed, report.notes) == ("complete", 0, [])
        asked += [number] * report.requests
    assert asked == [0, 1, 2, 3, 5, 8]
    assert provisional(tmp_path) == {}


CUMULATED, NO_ROW = (
    INTERFACES["getusercumulate"],
    "a day has no row yet, but each day must have one",
)


def rows_without(*lacking: int) -> Script:
    """A WeChat that has no row of some days of a month."""

    def answer(body: dict[str, str]) -> Any:
        days = all_days(*map(date.fromisoformat, (body["begin_date"], body["end_date"])))
        rows = [{"ref_date": str(day), "cumulate_user": day.day} for day in days]
        return {
            "list": [row for row, day in zip(rows, days, strict=True) if day.day not in lacking]
        }

    return Script(answer)


@pytest.mark.thorough
def test_a_row_that_does_not_come_is_asked_for_until_day_thirty_and_is_then_never_delivered(
    tmp_path: Path,
) -> None:
    days, asked = (date(2026, 3, 2), YESTERDAY), []
    for number in range(40):
        report = run_at(morning(number), rows_without(10), CUMULATED, days, tmp_path)
        assert report.state == ("waiting" if number < 3 else "complete")
        assert report.late == (1 if 3 <= number < 30 else 0)
        asked += [number] * report.requests
        said = NEVER if number == 30 else LATE if 3 <= number < 30 else ""
        first = f"(the first: {A} getusercumulate 2026-03-10)"
        note = f"getusercumulate: 1 day of 1 account {said} {first}"
        assert report.notes == ([note] if said else [])
    assert asked[2:] == [1, 2, 3, 5, 8, 13, 21, 30]
    (calendar,) = calendars(tmp_path / FILE_NAME).values()
    assert calendar.count(bytes([NEVER_DELIVERED])) == 1


@pytest.mark.thorough
@pytest.mark.sampled
@pytest.mark.parametrize(
    "comes",
    [
        pytest.param(days, marks=[] if days % 8 == 0 else [pytest.mark.thorough])
        for days in range(40)
    ],
)
def test_a_row_that_comes_late_is_there_whenever_it_comes(comes: int, tmp_path: Path) -> None:
    days, least = (
        (date(2026, 3, 2), YESTERDAY),
        next((day for day in (0, 1, 2, 3, 5, 8, 13, 21, 30) if day >= comes), None),
    )
    for number in range(40):
        wechat = rows_without(*(() if number >= comes else (10,)))
        run_at(morning(number), wechat, CUMULATED, days, tmp_path)
    has = [row["ref_date"] for row in stored(tmp_path, CUMULATED.name)]
    assert len(has) == len({*has}) == 9 - (least is None)


def test_the_good_days_around_a_hole_are_final_and_an_answer_removes_none(tmp_path: Path) -> None:
    days = (date(2026, 3, 2), date(2026, 3, 8))
    report = run_at(at("2026-03-09", 9), rows_without(6, 8), CUMULATED, days, tmp_path)
    assert (report.state, report.windows.planned, report.windows.waiting) == ("waiting", 1, 1)
    holes = [(date(2026, 3, day),) * 2 for day in (6, 8)]
    assert provisional(tmp_path) == dict.fromkeys(holes, NO_ROW)
    forgetful = rows_without(*range(1, 32))
    report = run_at(at("2026-03-12", 9), forgetful, CUMULATED, days, tmp_path)
    assert (report.state, report.requests, report.late) == ("complete", 2, 2)
    assert len(stored(tmp_path, CUMULATED.name)) == 5
    report = run_at(at("2026-03-12", 10), forgetful, CUMULATED, days, tmp_path, refresh=True)
    assert (report.state, report.kept) == ("complete", 5)
    assert len(stored(tmp_path, CUMULATED.name)) == 5
    assert verified(tmp_path)


def test_a_late_last_day_stays_late_if_it_is_refreshed(tmp_path: Path) -> None:
    days, lacking = (date(2026, 3, 2), YESTERDAY), rows_without(10)
    for number in range(3):
        run_at(morning(number), lacking, CUMULATED, days, tmp_path)
    report = run_at(morning(4), lacking, CUMULATED, days, tmp_path, refresh=True)
    assert (report.state, report.late) == ("complete", 1)
    report = run_at(morning(5), rows_without(), CUMULATED, days, tmp_path)
    assert (report.requests, len(stored(tmp_path, CUMULATED.name))) == (1, 9)


def test_a_hole_that_is_met_later_is_asked_for_in_three_runs_on_three_days(tmp_path: Path) -> None:
    days, asked = (date(2025, 1, 6), date(2025, 1, 26)), []
    for number in range(8):
        report = run_at(morning(number), rows_without(8, 13, 14), CUMULATED, days, tmp_path)
        assert report.state == "complete"
        asked.append(report.requests)
        again = run_at(morning(number, 10), rows_without(8, 13, 14), CUMULATED, days, tmp_path)
        assert again.requests in (0, 1, 2)
        asked[-1] += again.requests
        assert report.late == again.late == (3, 3, 1, 0, 0, 0, 0, 0)[number]
    assert asked == [3 + 1, 2, 2, 1, 0, 0, 0, 0]


def test_before_the_first_row_only_the_window_next_to_it_is_asked_for_again(
    tmp_path: Path,
) -> None:
    begun = date(2024, 5, 15)

    def answer(body: dict[str, str]) -> Any:
        days = all_days(*map(date.fromisoformat, (body["begin_date"], body["end_date"])))
        return {
            "list": [{"ref_date": str(day), "cumulate_user": 1} for day in days if day >= begun]
        }

    days, wechat = (date(2024, 1, 1), date(2024, 12, 31)), Script(answer)
    report = run_at(morning(0), wechat, CUMULATED, days, tmp_path)
    assert (report.state, report.windows.done) == ("complete", report.windows.planned)
    asked = [
        run_at(morning(day), wechat, CUMULATED, days, tmp_path).requests for day in range(1, 9)
    ]
    assert asked == [1, 1, 1, 0, 0, 0, 0, 0]
    begun = date(2024, 1, 1)
    assert run_at(morning(9), wechat, CUMULATED, days, tmp_path).requests == 0


def test_an_account_that_never_has_a_row_is_asked_for_a_day_on_four_days(tmp_path: Path) -> None:
    asked = []
    for number in range(9):
        report = run_at(morning(number), rows_without(*range(32)), CUMULATED, LAST_DAY, tmp_path)
        assert report.state == ("waiting" if number < 3 else "complete")
        asked.append(report.requests)
    assert asked == [1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_a_week_that_ended_yesterday_is_not_empty_for_being_dated_by_its_monday(
    tmp_path: Path,
) -> None:
    days = (date(2026, 3, 2), date(2026, 3, 8))
    report = run_at(
        at("2026-03-09", 9), Simulator(), INTERFACES["getupstreammsgweek"], days, tmp_path
    )
    assert (report.state, report.windows.done, report.provisional) == ("complete", 1, 0)


# what status tells apart


def test_status_tells_every_state_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Of March 1 and 2 are missing, 3 failed, 4 is empty, 10 provisional; 11 waits.
    codes = {"2026-03-03": 40035, "2026-03-11": 61503}

    def answer(body: dict[str, str]) -> Any:
        day = body["begin_date"]
        if day in codes:
            return {"errcode": codes[day], "errmsg": "no rid: 1-2-3"}
        rows = [] if day == "2026-03-04" else [{"ref_date": day, "msgid": "1_1", "n": 1}]
        return {"list": rows, "is_delay": "true" if day == "2026-03-10" else False}

    endpoint, wechat = READ, Script(answer)
    stop = (date(2026, 3, 3), date(2026, 3, 11))
    run_at(at("2026-03-13", 13), wechat, endpoint, stop, tmp_path)

    async def ask_more(loop: VirtualTimeLoop) -> None:
        async with SqliteLedger(tmp_path / FILE_NAME) as ledger:
            await ledger.register([(A, endpoint.name, date(2026, 3, 1), date(2026, 3, 11))])

    run_virtual(ask_more)
    assert invoke(["status", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"{A} getarticleread, 2026-03-01 to 2026-03-11: 6 of 11 days harvested (6 final,"
        " 0 provisional; 1 of them empty), 1 waiting, 1 failed, 1 late, 2 missing; 6 records"
    )
    assert [line for line in lines if line.startswith("  2026-")] == [
        "  2026-03-01 to 2026-03-02 (2 days) missing",
        (
            "  2026-03-03 (1 day) failed: errcode 40035 (no): WeChat did not understand the request"
            " [rid: 1-2-3]"
        ),
        (
            "  2026-03-10 (1 day) late: WeChat reports that the figures are late; the next"
            " run at 2026-03-14 08:00 China time or later requests it again"
        ),
        (
            "  2026-03-11 (1 day) waiting until 2026-03-13 13:30 China time: errcode 61503 (no):"
            " the figures are not ready yet [rid: 1-2-3]"
        ),
    ]


def test_a_refresh_of_late_windows_leaves_each_record_once(tmp_path: Path) -> None:
    endpoint, wechat = INTERFACES["getbizsummary"], Simulator(delay_until_hour=11.0)
    begin = date(2026, 3, 5)
    run_at(at("2026-03-10", 13), wechat, endpoint, (begin, date(2026, 3, 9)), tmp_path)
    days = (begin, YESTERDAY)
    run_at(at(DAY, 9), wechat, endpoint, days, tmp_path)
    assert [*provisional(tmp_path)] == [(YESTERDAY, YESTERDAY)]
    run_at(at(DAY, 9.5), wechat, endpoint, days, tmp_path, refresh=True)
    report = run_at(at(DAY, 13), wechat, endpoint, days, tmp_path)
    assert report.state == "complete"
    assert holds(tmp_path, endpoint.name, wechat.truth_of(endpoint.name, A, *days))
    assert provisional(tmp_path) == {}


def test_the_empty_days_within_a_longer_window_are_known_by_the_rows_own_dates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = {"2026-02-10", "2026-02-12", "2026-02-17"}

    def answer(body: dict[str, str]) -> Any:
        days = all_days(*map(date.fromisoformat, (body["begin_date"], body["end_date"])))
        return {"list": [row for day in days if str(day) not in empty for row in _followers(day)]}

    endpoint, days = USERS, (date(2026, 2, 9), date(2026, 2, 22))
    report = run_at(at(DAY, 13), Script(answer), endpoint, days, tmp_path)
    assert (report.state, report.windows.done, report.windows.empty) == ("complete", 2, 0)
    assert invoke(["status", "--out", str(tmp_path)]) == 0
    said = "14 of 14 days harvested (14 final, 0 provisional; 3 of them empty); 11 records"
    assert said in capsys.readouterr().out
    empty.clear()
    run_at(at(DAY, 14), Script(answer), endpoint, days, tmp_path, refresh=True)
    assert invoke(["status", "--out", str(tmp_path)]) == 0
    assert "(14 final, 0 provisional; 0 of them empty); 14 records" in capsys.readouterr().out


# days that cannot be asked for any more


def test_a_day_on_which_nothing_ran_is_named_once_by_the_run_and_always_by_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portrait = INTERFACES["getweanalysisappiduserportrait"]
    wechat = Script(lambda body: {"ref_date": body["end_date"], "visit_uv": {"province": []}})

    def morning_of(day: int) -> Report:
        days = (date(2026, 3, 1), date(2026, 3, day - 1))
        return run_at(at(f"2026-03-{day:02}", 9), wechat, portrait, days, tmp_path)

    assert morning_of(2).notes == morning_of(3).notes == []
    (note,) = morning_of(6).notes
    assert note == (
        "getweanalysisappiduserportrait: 2 days from 2026-03-03 to 2026-03-04 can no"
        " longer be requested: the interface answers only for periods that end yesterday"
    )
    report = morning_of(7)
    assert (report.state, report.notes) == ("complete", [])
    assert invoke(["status", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 days harvested" in said
    assert "2 can no longer be requested" in said
    assert "2026-03-03 to 2026-03-04 (2 days) can no longer be requested" in said
    assert invoke(["status", "--missing", "2026-03-04", "--out", str(tmp_path)]) == 0
    assert "Not harvested in time" in capsys.readouterr().out
    assert ranges(tmp_path, capsys) == [("cannot_be_asked", "2026-03-03", "2026-03-04")]


def ranges(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, str]]:
    """The states of ranges that the JSON of the one interface of an account has."""
    assert invoke(["status", "--json", "--out", str(folder)]) == 0
    (stream,) = json.loads(capsys.readouterr().out)["streams"]
    return [(each["state"], each["begin_date"], each["end_date"]) for each in stream["ranges"]]


def test_the_json_names_the_days_that_are_late_and_those_that_never_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days, hole = (date(2026, 3, 2), YESTERDAY), "2026-03-10"
    for number in (0, 3, 5, 8, 30):
        run_at(morning(number), rows_without(10), CUMULATED, days, tmp_path)
        state = "late" if number < 30 else "never_delivered"
        assert ranges(tmp_path, capsys) == [(state, hole, hole)]
