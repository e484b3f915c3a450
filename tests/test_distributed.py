"""One report of several workers, and what cannot be run on a cluster."""

from __future__ import annotations

import pickle
import sys
from datetime import date
from typing import Any

import pytest

from harvester import Job, Report, RunError, UsageError, distributed
from harvester.distributed import merged
from harvester.events import Failure, Wait, Windows
from tests.machine import library

ASKED = {"endpoints": "users", "start": "2024-01-01", "end": "2024-01-31", "appid": "wxa"}
SHARED = "postgresql://host/ledger"


def report(state: str = "complete", **more: Any) -> Report:
    names = [name for name in Windows.__slots__ if name in more]
    windows = Windows(**{name: more.pop(name) for name in names})
    return Report(state=state, windows=windows, **more)


def failure(begin: int, end: int, error: str = "e", appid: str = "wxa") -> Failure:
    return Failure(appid, "getusersummary", date(2024, 1, begin), date(2024, 1, end), error)


# merged reports


def test_what_was_done_is_added_up_and_the_rest_of_the_windows_was_skipped() -> None:
    first = report(
        planned=100, skipped=30, done=20, waiting=50,
        records=200, requests=25, retries=5, token_fetches=2, seconds=9.0, empty=3, changed=1,
        provisional=4, foreign=6,
    )  # fmt: skip
    last = report(
        planned=100, skipped=60, done=40,
        records=400, requests=40, token_fetches=1, seconds=7.5, empty=5, provisional=1,
    )  # fmt: skip
    both = merged([first, last])
    assert both.windows == Windows(planned=100, skipped=40, done=60, empty=8)
    assert (both.records, both.requests, both.retries, both.token_fetches) == (600, 65, 5, 3)
    assert (both.changed, both.provisional, both.foreign, both.seconds) == (1, 5, 6, 9.0)
    assert both.state == "complete"


def test_one_report_stays_as_it_is() -> None:
    alone = report(
        "partial", planned=9, skipped=1, done=4, waiting=2, failed=2, until=5.0,
        failures=[failure(1, 2)], waits=[Wait("wxa", "quota", 1.5, "getusersummary", 2, 5.0)],
        stopped={"wxb": "secret"}, notes=["n"],
    )  # fmt: skip
    assert merged([alone]) == alone


def test_waiting_failed_state_and_until_are_those_of_the_last_report() -> None:
    first = report("partial", planned=10, done=4, waiting=5, failed=1, until=3.0)
    last = report("waiting", planned=12, skipped=4, done=6, waiting=2, until=7.0)
    both = merged([first, last])
    assert both.windows == Windows(planned=12, skipped=0, done=10, waiting=2)
    assert (both.state, both.until) == ("waiting", 7.0)


def test_of_an_interrupted_worker_what_is_left_stays_uncounted() -> None:
    last = report("interrupted", planned=10, skipped=3, done=1)
    assert merged([report(planned=10, done=2), last]).windows == Windows(10, skipped=1, done=3)


def test_windows_that_two_workers_count_as_done_are_counted_once() -> None:
    both = merged([report(planned=5, done=4, empty=4), report(planned=5, skipped=1, done=4)])
    assert both.windows == Windows(planned=5, skipped=0, done=5, empty=4)


def test_what_failed_and_what_waits_are_those_of_the_last_report() -> None:
    first = report("partial", failed=1, failures=[failure(1, 2)], waits=[Wait("wxb", "45011", 9.0)])
    last = report("partial", failed=1, failures=[failure(1, 1)], waits=[Wait("wxa", "quota", 1.0)])
    both = merged([first, last])
    assert (both.failures, both.waits) == (last.failures, last.waits)


def test_notes_and_stopped_accounts_are_united() -> None:
    first = report(notes=["a", "b"], stopped={"wxa": "secret"})
    last = report(notes=["b", "c"], stopped={"wxa": "secret", "wxb": "ip"})
    both = merged([first, last])
    assert both.notes == ["a", "b", "c"]
    assert both.stopped == {"wxa": "secret", "wxb": "ip"}


def test_a_report_travels_between_processes() -> None:
    whole = report("partial", failed=1, failures=[failure(1, 1)], waits=[Wait("wxa", "quota")])
    assert pickle.loads(pickle.dumps(whole)) == whole
    error = RunError("the disk is full")
    error.report = whole
    assert pickle.loads(pickle.dumps(error)).report == whole


# what is refused


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'wechat-harvester\[dask\]', or pipx inject"):
        distributed.run(None, Job(**ASKED, ledger=SHARED), workers=2)  # type: ignore[arg-type]


def test_workers_are_a_whole_number() -> None:
    with pytest.raises(UsageError, match="workers"):
        distributed.run(None, Job(**ASKED, ledger=SHARED), workers=0)  # type: ignore[arg-type]


@pytest.mark.thorough
@pytest.mark.parametrize("ledger", [{}, {"ledger": "sqlite:l.db"}, {"ledger": None}])
def test_a_ledger_that_is_not_shared_is_refused(ledger: dict[str, Any]) -> None:
    library("distributed")
    with pytest.raises(UsageError, match="several workers need a ledger that they share"):
        distributed.run(None, Job(**ASKED, **ledger), workers=2)  # type: ignore[arg-type]


@pytest.mark.thorough
def test_another_client_or_job_is_refused() -> None:
    library("distributed")
    with pytest.raises(UsageError, match=r"^client: expected a distributed\.Client"):
        distributed.run("tcp://host:8786", Job(**ASKED, ledger=SHARED), workers=2)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^job: expected a harvester\.Job, not a dict"):
        distributed.run(None, ASKED, workers=2)  # type: ignore[arg-type]
