"""What can be observed, and the tally that becomes the Report."""

import dataclasses
import json
import pickle
from dataclasses import replace
from datetime import date, timedelta
from typing import get_args

import pytest

from harvester import events
from harvester.base.codec import encode
from harvester.events import (
    Bookkeeper,
    Code,
    Committed,
    Deferred,
    Event,
    Failed,
    Failure,
    Level,
    Paused,
    Report,
    RunStarted,
    State,
    Wait,
    Windows,
)
from harvester.model import Window
from tests.support import ROOT

FIRST = date(2020, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def window(number: int) -> Window:
    return Window("wx1", "e", day(number), day(number))


def failed(begin: int, end: int, error: str = "bad", appid: str = "wx1") -> Failed:
    return Failed(appid, "e", day(begin), day(end), end - begin + 1, error)


def told(*events: Event) -> Bookkeeper:
    books = Bookkeeper()
    for event in events:
        books(event)
    return books


@pytest.mark.parametrize("kind", get_args(Event))
def test_no_event_can_be_changed(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", get_args(Event))
def test_no_event_has_room_for_a_token_or_a_record(kind: type) -> None:
    names = {field.name for field in dataclasses.fields(kind)}
    assert names.isdisjoint({"token", "secret", "value", "lines", "batch"})


def test_a_run_of_which_nothing_is_told_is_complete() -> None:
    assert told().state(1) == told().state(0) == "complete"


def test_a_report_without_anything_to_wait_for_has_no_time() -> None:
    assert Report().to_dict()["until"] is None


def test_what_is_planned_and_committed_is_counted_in_windows() -> None:
    books = told(
        RunStarted(10, 3, 1), Committed((window(0), window(1)), 1, 7), Committed((window(2),), 0, 5)
    )
    assert books.report.windows == Windows(planned=10, skipped=3, done=3, empty=1)
    assert books.report.records == 12


def test_a_window_tried_again_is_a_retry_and_a_token_is_none() -> None:
    books = told(
        events.Retrying("wx1", window(0), 1, 2.0, "busy"),
        events.Retrying("wx1", None, 1, 2.0, "busy"),
    )
    assert books.report.retries == 1


def test_deferred_windows_wait_until_the_earliest_time() -> None:
    books = told(
        Deferred("wx1", "e", day(0), day(1), 2, 500.0, "quota"),
        Deferred("wx1", "e", day(2), day(2), 1, 400.0, "not ready"),
        Deferred("wx2", "e", day(2), day(2), 1, 600.0, "quota"),
    )
    assert (books.report.windows.waiting, books.report.until) == (4, 400.0)
    assert books.state(2) == "waiting"


def test_failed_windows_make_the_run_partial_even_if_others_wait() -> None:
    books = told(failed(0, 0), Deferred("wx1", "e", day(1), day(1), 1, 400.0, "quota"))
    assert books.state(1) == "partial"


def test_a_run_whose_accounts_all_stopped_has_failed() -> None:
    books = told(failed(0, 0), events.AccountStopped("wx1", "x"), events.AccountStopped("wx2", "x"))
    assert (books.state(2), books.state(3)) == ("failed", "partial")


def test_a_run_that_failed_without_a_failure_says_how_many_windows_are_left() -> None:
    books = told()
    books.recount([], 3)
    assert books.conclude(2) == "failed"
    assert books.report.notes == ["3 windows were not harvested: run the same command again"]
    books = told(failed(0, 0), events.AccountStopped("wx1", "x"))
    assert (books.conclude(1), books.report.notes) == ("failed", [])


def test_neighbouring_days_that_failed_alike_are_one_line() -> None:
    books = told(failed(5, 6), failed(7, 7), failed(4, 4))
    assert books.failures() == [Failure("wx1", "e", day(4), day(7), "bad", windows=4)]
    assert books.report.windows.failed == 4


def test_days_that_failed_for_another_reason_or_elsewhere_are_told_apart() -> None:
    books = told(failed(0, 0), failed(1, 1, "worse"), failed(1, 1, appid="wx2"), failed(3, 3))
    assert len(books.failures()) == 4


def test_two_accounts_that_fail_by_turns_are_two_lines() -> None:
    books = told(*[failed(n, n, appid=appid) for n in range(50) for appid in ("wx1", "wx2")])
    assert books.failures() == [
        Failure("wx1", "e", day(0), day(49), "bad", windows=50),
        Failure("wx2", "e", day(0), day(49), "bad", windows=50),
    ]


@pytest.mark.parametrize(
    "event",
    [
        events.Notice(
            "info",
            "TokenFetched",
            "wx1",
            "",
            "wx1: got an access token that is valid for 2 h 00 min",
        ),
        Paused("wx1", 20.0, "slower"),
        events.Stalled(10.0, ()),
        events.Claimed(("wx1",)),
    ],
)
def test_other_events_leave_the_report_alone(event: Event) -> None:
    assert told(event).report == Report()


def test_a_warning_is_a_note_of_the_report_once() -> None:
    warnings = [events.Notice("warning", "QuotaUnknown", who, "e", "why") for who in ("wx1", "wx2")]
    assert told(*warnings).report.notes == ["why"]


def test_the_documentation_names_each_code_once() -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    table = page.partition("| code | when |\n| --- | --- |\n")[2].partition("\n\n")[0]
    assert [line.split("`")[1] for line in table.splitlines()] == list(Code)


def test_codes_levels_and_states_are_their_texts_to_a_program() -> None:
    report = Report()
    assert report.state == "complete"
    assert f"{report.state} {Code.QUOTA} {Level.INFO}" == "complete Quota info"
    assert json.loads(json.dumps(report.to_dict())) == json.loads(encode(report.to_dict()))
    assert b'"state":"complete"' in encode(report.to_dict())
    assert pickle.loads(pickle.dumps(report)).state is State.COMPLETE


def test_rows_of_other_days_and_days_without_a_row_are_parts_of_a_commit() -> None:
    books = told(
        Committed((window(0),), 0, 7, foreign=((window(0), 2), (window(1), 3))),
        Committed((window(1),), 0, 7, gaps=((window(1), 1),)),
        Committed((window(2),), 0, 7, gaps=((window(2)._replace(appid="wx2"), 1),)),
        Committed((window(3),), 0, 7, never=((window(3), 1),), kept=2),
        events.late(Window("wx1", "e", day(4), day(6))),
    )
    report = books.report
    assert (report.foreign, report.late, report.kept) == (5, 5, 2)
    assert report.notes == [
        f"e: 5 days of 2 accounts {events.LATE} (the first: wx1 e {day(1)})",
        f"e: 1 day of 1 account {events.NEVER} (the first: wx1 e {day(3)})",
    ]


def test_what_is_late_in_a_shared_ledger_is_counted_once() -> None:
    never = Committed((window(3),), 0, 7, never=((window(3), 1),))
    books = told(RunStarted(2, 0, 1), Committed((), 0, 0, gaps=((window(1), 1),)), never)
    books.recount([events.late(window(5)), events.late(window(6))], 0)
    assert books.report.late == 2
    assert [note.partition(" of ")[0] for note in books.report.notes] == ["e: 1 day", "e: 2 days"]


def test_a_report_reads_as_json() -> None:
    error = "errcode 1 [rid: 1-2]"
    books = told(RunStarted(2, 0, 1), replace(failed(0, 1, error), code=1, rid="1-2"))
    books.report.state, books.report.seconds, books.report.until = "partial", 1.23456, 0.0
    books.report.failures = books.failures()
    assert books.report.to_dict() == {
        "state": "partial",
        "windows": {"planned": 2, "skipped": 0, "done": 0, "empty": 0, "waiting": 0, "failed": 2},
        "records": 0, "requests": 0, "retries": 0, "token_fetches": 0, "seconds": 1.235,
        "until": "1970-01-01T00:00:00Z", "changed": 0, "provisional": 0, "late": 0, "kept": 0,
        "foreign": 0, "waits": [], "stopped": {}, "notes": [],
        "failures": [{
            "appid": "wx1", "endpoint": "e", "begin_date": "2020-01-01", "end_date": "2020-01-02",
            "error": "errcode 1 [rid: 1-2]", "code": 1, "rid": "1-2", "windows": 2,
            "new": None,
        }],
    }  # fmt: skip


def test_who_waits_for_what_is_told_by_account_and_interface() -> None:
    books = told(
        Paused("wx1", 20.0, "slower [rid: 1]"),
        Paused("wx1", 30.0, "slower [rid: 2]"),
        Paused("wx1", 600.0, "quota", "e"),
        Deferred("wx2", "e", day(0), day(1), 2, 700.0, "quota [rid: 3]"),
        Deferred("wx2", "e", day(3), day(3), 1, 650.0, "quota [rid: 4]"),
    )
    assert [wait.to_dict() for wait in books.waits()] == [
        {"appid": "wx1", "endpoint": "e", "reason": "quota", "seconds": 600.0, "windows": 0,
         "until": None, "begin_date": None, "end_date": None},
        {"appid": "wx1", "endpoint": "", "reason": "slower", "seconds": 50.0, "windows": 0,
         "until": None, "begin_date": None, "end_date": None},
        {"appid": "wx2", "endpoint": "e", "reason": "quota", "seconds": 0.0, "windows": 3,
         "until": "1970-01-01T00:10:50Z", "begin_date": "2020-01-01", "end_date": "2020-01-04"},
    ]  # fmt: skip


# the report as a notebook shows it


def test_a_report_is_a_table_in_html() -> None:
    html = Report(windows=Windows(1_234, 0, 1_234), records=56_789)._repr_html_()
    assert html.startswith("<div><b>harvester: complete</b><table>")
    assert ">1,234</td>" in html
    assert ">56,789</td>" in html
    assert "<ul>" not in html


def test_all_that_came_from_outside_is_escaped_in_html() -> None:
    evil = "<script>alert('1')</script>&\"'"
    report = Report(
        state=evil,
        failures=[Failure("wx<1>", "e<2>", FIRST, FIRST, evil)],
        waits=[Wait("wx<3>", evil, windows=1, until=0.0, begin=FIRST, end=FIRST)],
        notes=[evil],
        until=0.0,
    )
    html = report._repr_html_()
    assert html.count("&lt;script&gt;") == 4
    assert "<script" not in html
    assert "<1>" not in html
    assert "<3>" not in html
    assert "goes on from" in html


def test_of_many_causes_the_first_are_shown() -> None:
    failures = [Failure("wx1", "e", FIRST, FIRST, f"reason {n}") for n in range(500)]
    html = Report(state="partial", failures=failures)._repr_html_()
    assert html.count("<li>") == 21
    assert "<li>and 480 more</li>" in html


def test_the_accounts_that_another_worker_stopped_follow_from_the_kinds_of_their_failures() -> None:
    books = told(RunStarted(4, 0, 2))
    left = [
        replace(failed(0, 0, "wx1: a sentence"), kind="refused"),
        replace(failed(1, 1, "another sentence"), appid="wx2", kind="secret"),
    ]
    books.recount(left, 0)
    assert books.report.stopped == {"wx2": "another sentence"}
