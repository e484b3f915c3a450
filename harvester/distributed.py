"""Run a job on the workers of a Dask cluster, with one report for all of them.

Rule: Dask starts and restarts tasks; the shared ledger decides which task harvests what.

Each task is a complete run of the job in a worker, which claims accounts in the ledger like any
other process.  So if a task is lost or runs twice, no record is lost or stored twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from harvester.base.retry import check_count
from harvester.errors import HarvestError, RunError, UsageError, needs
from harvester.events import Report, Windows
from harvester.job import Job

if TYPE_CHECKING:
    from distributed import Client, Future

FORGOTTEN = 1.0
"""Seconds in which a client forgets tasks that are released."""
RESUBMISSIONS = 2
"""How often a task is submitted again after Dask has dropped it, which happens when several workers
were lost while they ran it."""


class Outcome(NamedTuple):
    """How a task ended.  report: what it did; error: why it ended early, None if it did not."""

    report: Report | None
    error: HarvestError | None


def run(client: Client, job: Job, *, workers: int) -> Report:
    """Run a job on a Dask cluster, and return one report; blocks until all tasks have ended.

    client: a `distributed.Client` that is not asynchronous.
    job: its ``ledger`` must be one that processes can share (``postgresql://…``).  Everything that
    the job refers to (the accounts file, environment variables, passwords) must exist on every
    worker.
    workers: the number of tasks to submit; each task is a process that harvests; at most the number
    of workers in the cluster.

    If a worker is lost, its task goes to another worker.  Otherwise a task that has begun is never
    moved.  If the client or the scheduler is lost, the workers can still finish.  The same call
    again joins the tasks that still run, and requests nothing that is already stored.

    Raises `UsageError` before anything is submitted, or if every task refuses the job.  Raises
    `RunError` (with a ``report``) if every task had to stop, or if the cluster was lost.  If only
    some tasks had to stop, the others did their work, and the report notes the reasons.
    """
    check_count("workers", workers)
    _check(client, job)
    tasks = _Tasks(client, job)
    try:
        outcomes = tasks.outcomes(workers)
    finally:
        tasks.release()
    whole = [each.report for each in outcomes if each.report is not None and each.error is None]
    parts = [each.report for each in outcomes if each.report is not None and each.error is not None]
    errors = [each.error for each in outcomes if each.error is not None]
    if not whole:
        error = errors[0]
        if isinstance(error, RunError) and parts:
            error.report = merged(parts)
        raise error
    report = merged([*parts, *whole])
    report.notes += dict.fromkeys(f"a worker ended early: {error}" for error in errors)
    return report


def _check(client: Any, job: Job) -> None:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(needs("a job on Dask needs a library", "dask")) from None
    if not isinstance(job, Job):
        raise UsageError("job: expected a harvester.Job, not a {}", type(job).__name__)
    if not str(job.options.get("ledger")).startswith("postgresql://"):
        raise UsageError(
            "several workers need a ledger that they share; make the job with"
            ' ledger="postgresql://host/database"'
        )
    if not isinstance(client, Client) or client.asynchronous:
        raise UsageError("client: expected a distributed.Client that is not asynchronous")


def _harvest(job: Job) -> Outcome:
    try:
        return Outcome(job.run_sync(), None)
    except HarvestError as exc:
        return Outcome(getattr(exc, "report", None), exc)


class _Tasks:
    def __init__(self, client: Client, job: Job) -> None:
        self._client, self._job = client, job
        self._name = f"harvester-{hashlib.sha256(repr(job).encode()).hexdigest()[:16]}"
        self._futures: dict[Future[Outcome], tuple[int, int]] = {}

    def outcomes(self, number: int) -> list[Outcome]:
        """Submit that number of tasks; return their outcomes in the order in which they ended."""
        from distributed import KilledWorker, as_completed

        outcomes = []
        running = as_completed([self._submit(each, 0) for each in range(number)])
        for future in running:
            try:
                outcomes.append(future.result())
            except (KilledWorker, CancelledError) as exc:
                task, lost = self._futures[future]
                if lost == RESUBMISSIONS or self._client.status != "running":
                    raise RunError(self._lost(exc)) from None
                running.add(self._submit(task, lost + 1))
        return outcomes

    def _submit(self, task: int, lost: int) -> Future[Outcome]:
        """Submit a task; its key is that of the same job, so that a second client shares it."""
        key = f"{self._name}-{task}-{lost}"
        future = self._client.submit(_harvest, self._job, key=key, pure=False)
        self._futures[future] = (task, lost)
        return future

    def _lost(self, error: BaseException) -> str:
        what = (
            "Dask gave up a task, whose workers were lost again and again"
            if self._client.status == "running"
            else "the scheduler of Dask was lost"
        )
        return (
            f"{what} ({type(error).__name__}); workers that are left may finish, and the same call"
            " again asks for nothing that is stored"
        )

    def release(self) -> None:
        """Let the cluster forget the tasks; one that has begun continues."""
        for future in self._futures:
            future.release()
        ends = time.monotonic() + FORGOTTEN
        keys = {future.key for future in self._futures}
        while not keys.isdisjoint(self._client.futures) and time.monotonic() < ends:
            time.sleep(0.001)  # the client does it in its loop; the next call has the same keys


def merged(reports: Sequence[Report]) -> Report:
    """One report of several workers of one job, given in the order in which they ended.

    What was done is added up.  What is planned, waiting and failed, and why, and the state, are
    those of the last report, which has the state of the ledger then; all else counts as skipped.
    """
    last = reports[-1]
    stored = last.windows.skipped + last.windows.done
    done = min(sum(each.windows.done for each in reports), stored)
    windows = Windows(
        planned=last.windows.planned,
        skipped=stored - done,
        done=done,
        empty=min(sum(each.windows.empty for each in reports), done),
        waiting=last.windows.waiting,
        failed=last.windows.failed,
    )
    return Report(
        state=last.state,
        windows=windows,
        records=sum(each.records for each in reports),
        requests=sum(each.requests for each in reports),
        retries=sum(each.retries for each in reports),
        token_fetches=sum(each.token_fetches for each in reports),
        seconds=max(each.seconds for each in reports),
        until=last.until,
        failures=last.failures,
        changed=sum(each.changed for each in reports),
        provisional=sum(each.provisional for each in reports),
        foreign=sum(each.foreign for each in reports),
        waits=last.waits,
        stopped={appid: why for each in reports for appid, why in each.stopped.items()},
        notes=list(dict.fromkeys(note for each in reports for note in each.notes)),
    )
