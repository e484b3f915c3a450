"""What a run shows while it runs, by a clock of the test's own."""

from __future__ import annotations

import io
import json
import re
import time
from datetime import date

import pytest
from rich.console import Console

from harvester import events
from harvester.cli import progress, terminal
from harvester.cli.progress import LONG, LOUD, TALL, Bar, Lines, display, message, within
from harvester.events import Event
from harvester.model import Window

FIRST, LAST = date(2024, 1, 1), date(2024, 1, 31)
Output = pytest.CaptureFixture[str]


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def deferred(number: int, reason: str = "quota", rid: str = "") -> Event:
    told = f"{reason} [rid: {rid}]" if rid else reason
    return events.Deferred(f"wx{number}", "e", FIRST, LAST, 31, 0.0, told)


def failed(number: int, reason: str) -> Event:
    return events.Failed(f"wx{number}", "e", FIRST, LAST, 1_234, f"wx{number}: {reason}")


def lines(capsys: Output) -> list[str]:
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def test_a_short_run_tells_no_reason_before_its_end(clock: Clock, capsys: Output) -> None:
    show = Lines()
    for event in (deferred(1), failed(2, "wrong"), events.AccountStopped("wx2", "wx2: wrong")):
        show(event)
    clock.now += LONG
    show(events.Ended(events.Report()))
    assert lines(capsys) == []


def test_each_note_is_a_line_and_of_very_many_the_rest_is_counted(
    clock: Clock, capsys: Output
) -> None:
    notes = tuple(f"interface {number} takes whole calendar months only" for number in range(37))
    Lines()(events.RunStarted(31, 0, 1, notes))
    shown = lines(capsys)
    assert shown == ["31 windows to harvest of 1 account", *notes[:LOUD], "and 17 more notes"]


def test_a_long_run_tells_each_reason_once(clock: Clock, capsys: Output) -> None:
    show = Lines()
    for number in range(500):
        show(deferred(number, rid=str(number)))
        show(failed(number, "wrong"))
        show(events.AccountStopped(f"wx{number}", f"wx{number}: wrong"))
    assert lines(capsys) == []
    clock.now += LONG
    show(events.Stalled(10.0, ()))
    show(deferred(501, rid="501"))
    days = "2024-01-01 to 2024-01-31"
    assert [line for line in lines(capsys) if "wx" in line] == [
        f"wx0 e: 31 windows {days} must wait until 1970-01-01 08:00 China time: quota [rid: 0]",
        f"wx0 e: 1,234 windows {days} failed: wrong",
    ]


def test_a_line_that_was_held_back_has_the_level_and_the_event_of_its_own(
    clock: Clock, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal._manner, "as_json", True)
    show = Lines()
    show(deferred(1))
    show(failed(2, "wrong"))
    clock.now += LONG
    show(events.Stalled(10.0, ("none",)))
    show(events.Notice("warning", "Unreachable", "", "", "no network"))
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["level"], line["event"]) for line in said if line["event"] != "Progress"]
    assert told == [
        ("info", "Deferred"),
        ("warning", "Failed"),
        ("warning", "Stalled"),
        ("warning", "Unreachable"),
    ]


def test_a_long_run_tells_a_bounded_number_of_reasons(clock: Clock, capsys: Output) -> None:
    show = Lines()
    clock.now += LONG
    show(deferred(0))
    for number in range(500):
        show(failed(number, f"reason {number}"))
    told = [line for line in lines(capsys) if line.startswith("wx")]
    assert len(told) == LOUD
    assert len([line for line in told if "reason" in line]) == LOUD - 1


def test_a_pause_of_a_thousand_accounts_is_told_once(clock: Clock, capsys: Output) -> None:
    show = Lines()
    for number in range(1_000):
        show(events.Paused(f"wx{number}", 28_800.0, f"quota [rid: {number}]", "e"))
    assert lines(capsys) == ["wx0 e pauses for 8 h 00 min: quota [rid: 0]"]


def test_what_is_waited_for_goes_on_ticking(clock: Clock, capsys: Output) -> None:
    show = Lines()
    show(events.RunStarted(31, 0, 1))
    show(events.Paused("wx1", 28_800.0, "quota [rid: 1]", "e"))
    lines(capsys)
    for minutes in (10, 20):
        clock.now = 1000.0 + 60 * minutes
        show(events.Claimed(("wx1",)))
        (state,) = [line for line in lines(capsys) if "of 31 windows" in line]
        assert f"wx1 e waits, {minutes} min of 8 h 00 min: quota" in state
        assert "rid" not in state


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (events.RunStarted(12_345, 1_000, 2_000),
         "11,345 windows to harvest of 2,000 accounts, 1,000 of 12,345 are done"),
        (events.Failed("wx1", "e", FIRST, LAST, 1_234, "wx1: no"),
         "wx1 e: 1,234 windows 2024-01-01 to 2024-01-31 failed: no"),
        (events.Deferred("wx1", "e", FIRST, FIRST, 1, 0.0, "late"),
         "wx1 e: 1 window 2024-01-01 must wait until 1970-01-01 08:00 China time: late"),
        (events.Notice("info", "Quota", "wx1", "e", "wx1 e: 0 of 1 calls are left today"),
         "wx1 e: 0 of 1 calls are left today"),
        (events.Stalled(40.0, ("wx1 waits: busy [rid: 1]", "wx2 waits")),
         "no progress for 40 s: wx1 waits: busy; wx2 waits"),
    ],
)  # fmt: skip
def test_numbers_have_separators_and_days_have_dates(event: Event, said: str) -> None:
    assert message(event) == said


def test_a_commit_tells_foreign_rows_each_and_gaps_once_an_interface(capsys: Output) -> None:
    show, window = Lines(), Window("wx1", "e", FIRST, LAST)
    for _ in range(LOUD):
        show(events.Committed((), 0, 0, foreign=((window, 1_000),) * 2, gaps=((window, 2),)))
    told = lines(capsys)
    assert (
        told[:2]
        == ["wx1 e 2024-01-01 to 2024-01-31: ignored 1,000 rows of days that were not requested"]
        * 2
    )
    assert told[2] == f"wx1 e 2024-01-01 to 2024-01-31: 2 days {events.LATE}"
    assert len(told) == LOUD + 1


def test_an_outage_is_told_as_it_begins_and_as_it_ends(capsys: Output) -> None:
    show = Lines()
    for code in ("Unreachable", "Unreachable", "Reachable", "Reachable", "Unreachable"):
        show(events.Notice("info", code, "", "", code))
    assert lines(capsys) == ["Unreachable", "Reachable", "Unreachable"]


@pytest.mark.parametrize(("accounts", "shown"), [(LOUD, 1), (LOUD + 1, 0)])
def test_of_many_accounts_no_tokens_are_told(accounts: int, shown: int, capsys: Output) -> None:
    show = Lines()
    show(events.RunStarted(1, 0, accounts))
    show(events.Notice("info", "TokenFetched", "wx1", "", "wx1: access token"))
    assert len(lines(capsys)) == 1 + shown


# on a terminal

REASON = "errcode 45009 (reach max api daily quota limit): the quota of this interface is used up"


def picture(bar: Bar) -> list[str]:
    """What a terminal of 80 columns shows below the lines that stay."""
    file = io.StringIO()
    console = Console(width=80, file=file, color_system=None)
    for each in bar.progress.get_renderables():
        console.print(each)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> Bar:
    monkeypatch.setattr(progress, "err", Console(width=80, file=io.StringIO()))
    return Bar()


def test_a_bar_has_separators_and_breaks_no_word_at_80_columns(clock: Clock, bar: Bar) -> None:
    windows = tuple(Window("wx1", "e", FIRST, FIRST) for _ in range(1_234))
    for event in (
        events.RunStarted(1_234_567, 0, 3),
        events.Committed(windows, 0, 12_345_678),
        failed(2, "wrong"),
        deferred(3),
        events.Paused("wx0123456789aabbcc", 28_800.0, REASON, "getinterfacesummaryhour"),
    ):
        bar(event)
    first, second, *why = picture(bar)
    assert "2,499/1,234,567 windows" in first
    assert second == "12,345,678 records, 0 tried again, 1,234 failed, 31 waiting"
    assert why == [
        "wx0123456789aabbcc getinterfacesummaryhour waits, 0.0 s of 8 h 00 min: errcode",
        "45009 (reach max api daily quota limit): the quota of this interface is used up",
    ]


def test_a_message_is_broken_between_words_and_bounded() -> None:
    assert within("aa bb-cc dd", 5).plain == "aa\nbb-cc\ndd"
    assert within("word " * 500, 80).plain.count("\n") == TALL - 1
    assert within("word " * 500, 80).plain.endswith(" …")


def test_quietly_nothing_is_shown(capsys: Output) -> None:
    with display(quiet=True) as shown:
        shown(events.RunStarted(1, 0, 1))
        shown(failed(1, "wrong"))
    assert capsys.readouterr() == ("", "")


def test_under_wait_a_bar_promises_no_time_while_somebody_waits(clock: Clock, bar: Bar) -> None:
    windows = tuple(Window("wx1", "e", FIRST, FIRST) for _ in range(10))
    bar(events.RunStarted(100, 0, 2))
    for _ in range(5):
        clock.now += 1.0
        bar(events.Committed(windows, 0, 10))
    assert re.search(r"50/100 windows [\d,]+/s \d\d:\d\d$", picture(bar)[0])
    bar(events.Paused("wx2", 28_800.0, "quota", "e"))
    assert re.search(r"50/100 windows [\d,]+/s$", picture(bar)[0])  # others go on, so does the rate
    clock.now += 2.0
    assert picture(bar)[0].endswith("50/100 windows")
    assert picture(bar)[2] == "wx2 e waits, 2.0 s of 8 h 00 min: quota"
    clock.now += 28_800.0
    bar(events.Committed(windows, 0, 10))
    assert re.search(r"60/100 windows [\d,]+/s \d*:?\d\d:\d\d$", picture(bar)[0])
