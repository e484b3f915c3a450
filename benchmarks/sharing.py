"""Measure what a ledger takes that several processes share, in PostgreSQL.

- 20,000 accounts: a claim of a lot, a renewal, a release, and the takeover of a dead worker's;
- the commit, beside the embedded ledger's: CPU of this process a window;
- two processes beside one, where answers take 50 ms and the concurrency is the limit;
- a process that is killed: how long until its accounts run again, and what is asked for twice.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import harvester
from benchmarks.figures import Figure, pace
from benchmarks.memory import LAST, accounts_of
from benchmarks.pipeline import ENDPOINT, SECRET
from benchmarks.server import serving
from benchmarks.servers import MissingError, postgresql
from harvester.engine.writer import GROUP
from harvester.ledger import PostgresLedger
from harvester.ledger.base import WorkerJob
from harvester.ledger.coverage import Outcome
from harvester.model import Tally, Window

ACCOUNTS, LOT, LEASE = 20_000, 100, 2.0
LATENCY = 0.05
COMMIT_WINDOWS = 30_000
GOAL_TWO, GOAL_COMMIT, GOAL_TAKEOVER = 1.85, {1: 2.0, 1_000: 10.0}, 5.0
FIRST, DAYS, FEWER = date(2023, 1, 1), 120, 60
"""The days of a job whose speed is measured, and of one whose process is killed."""


def measure(*, full: bool = False) -> list[Figure]:
    """Measure the shared ledger; nothing where there is no PostgreSQL."""
    try:
        with postgresql() as url:
            figures = asyncio.run(_leases(url))
            for accounts in GOAL_COMMIT:
                figures.append(asyncio.run(_commits(url, accounts)))
            figures += _processes(40 if full else 20)
    except MissingError as exc:
        print(f"sharing is not measured: {exc}")
        return []
    return figures


# leases


def _job() -> WorkerJob:
    return WorkerJob("benchmark", LEASE, time.time())


async def _timed(call: Callable[[], Awaitable[object]], times: int) -> float:
    """The median of so many calls, in ms."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


async def _leases(url: str) -> list[Figure]:
    name = f"sharing, {ACCOUNTS:,} accounts"
    where = f"{url}?schema=leases"
    async with PostgresLedger(where) as ours, PostgresLedger(where) as dead:
        for ledger, lease in ((dead, LEASE), (ours, 600.0)):
            await ledger.join(_job()._replace(lease=lease))
            await ledger.want(accounts_of(ACCOUNTS))
        claim = await _timed(lambda: dead.claim(LOT), ACCOUNTS // LOT // 2)
        renew = await _timed(lambda: dead.renew(0), 20)
        half = ACCOUNTS // 2
        await asyncio.sleep(LEASE + 0.1)  # it renews no more
        await ours.renew(0)
        began = time.perf_counter()
        taken = await ours.claim(half)
        takeover = (time.perf_counter() - began) * 1e3
        assert len(taken) == half
        appids = [lease.appid for lease in taken]
        lots = iter([appids[at : at + LOT] for at in range(0, half, LOT)])
        release = await _timed(lambda: ours.release(next(lots)), 50)
    return [
        Figure(f"{name}: a claim of {LOT}", claim, "ms"),
        Figure(f"{name}: a renewal, {half:,} held", renew, "ms"),
        Figure(f"{name}: the takeover of {half:,}", takeover, "ms"),
        Figure(f"{name}: a release of {LOT}", release, "ms"),
    ]


# commits


async def _commits(url: str, accounts: int) -> Figure:
    appids, taken = accounts_of(accounts), 0.0
    days = COMMIT_WINDOWS // accounts
    windows = [
        Window(appid, ENDPOINT, day, day)
        for day in (LAST - timedelta(days=n) for n in range(days))
        for appid in appids
    ]
    before = pace()
    async with PostgresLedger(f"{url}?schema=commits_{accounts}") as ledger:
        await ledger.join(_job()._replace(lease=600.0))
        await ledger.want(appids)
        await ledger.claim(accounts)
        for at in range(0, len(windows), GROUP):
            outcomes = [Outcome(each, "final", Tally(8, 7)) for each in windows[at : at + GROUP]]
            began = time.process_time()
            lost = await ledger.commit(outcomes, {"sink": {"commits": str(at)}})
            taken += time.process_time() - began
            assert not lost
        began = time.process_time()
        await ledger.release(appids)
        taken += time.process_time() - began
    return Figure(
        f"sharing, commit of {accounts:,} account(s), day by day: CPU a window",
        2 * taken / (before + pace()) / len(windows) * 1e6, "µs", GOAL_COMMIT[accounts],
        more_is_better=False,
    )  # fmt: skip


# processes


def _worker(url: str, base_url: str, accounts: int, days: int) -> None:
    """Harvest; a line a claim, and at the end what was done, from the first claim to which time."""
    claimed: list[float] = []
    stored: list[float] = []

    def note(event: object) -> None:
        if isinstance(event, harvester.events.Claimed):
            claimed.append(time.time())
            print(json.dumps([time.time(), *event.appids]), flush=True)
        elif isinstance(event, harvester.events.Committed):
            stored.append(time.time())

    report = asyncio.run(
        harvester.run(
            [harvester.Account(appid, SECRET) for appid in accounts_of(accounts)],
            ENDPOINT,
            FIRST,
            FIRST + timedelta(days=days - 1),
            sink=url,
            ledger=url,
            base_url=base_url,
            rate="1000000/s",
            concurrency=8,
            lease=LEASE,
            on_event=note,
        )
    )
    print(json.dumps({"done": report.windows.done, "began": claimed[0], "stored": stored[-1]}))


def _started(url: str, base_url: str, accounts: int, days: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.sharing", url, base_url, str(accounts), str(days)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _ended(worker: subprocess.Popen[str]) -> dict[str, Any]:
    *claims, last = worker.communicate(timeout=300)[0].splitlines()
    found: dict[str, Any] = json.loads(last)
    return {**found, "claims": [json.loads(line) for line in claims]}


def _speed(processes: int, accounts: int) -> float:
    """Windows a second of so many processes, of each from its first claim to the last commit."""
    with postgresql() as url, serving(latency=LATENCY) as server:
        workers = [_started(url, server.url, accounts, DAYS) for _ in range(processes)]
        found = [_ended(worker) for worker in workers]
    done = sum(each["done"] for each in found)
    assert done == accounts * DAYS, f"{done} windows of {accounts * DAYS}"
    ended = max(each["stored"] for each in found)
    speeds: list[float] = [each["done"] / (ended - each["began"]) for each in found]
    return sum(speeds)


def _killed(accounts: int) -> tuple[float, int]:
    """Seconds beyond the lease until the accounts of a killed process are claimed.

    And the windows that were asked for twice.
    """
    with postgresql() as url, serving(latency=LATENCY) as server:
        killed, other = [_started(url, server.url, accounts, FEWER) for _ in range(2)]
        time.sleep(3.0)
        killed.kill()
        at = time.time()
        lines = killed.communicate()[0].splitlines()
        found = _ended(other)
    held = {appid for line in lines for appid in json.loads(line)[1:]}
    taken = [moment for moment, *appids in found["claims"] if held & {*appids}]
    late = max(taken, default=at) - at - LEASE
    return late, server.counts["data"] - accounts * FEWER


def _processes(accounts: int) -> list[Figure]:
    one = max(_speed(1, accounts) for _ in range(2))  # a disturbed one would flatter the two
    # An account is not divided, so the processes end together, or one of them an account later: a
    # mean of both cases.
    two = statistics.mean([_speed(2, accounts) for _ in range(4)])
    # How long depends on which accounts the killed one held, and when others leave room: a median.
    with ThreadPoolExecutor() as threads:  # side by side: they mostly wait
        kills = [*threads.map(_killed, [accounts] * 3)]
    late, twice = map(statistics.median, zip(*kills, strict=True))
    name = "sharing, 50 ms an answer"
    return [
        Figure(f"{name}: windows a second of two processes ÷ one", two / one, "", GOAL_TWO),
        Figure(f"{name}: windows a second of one process", one),
        Figure(
            "sharing, a killed process: its accounts are claimed after the lease and",
            late, "s", GOAL_TAKEOVER, more_is_better=False,
        ),
        Figure("sharing, a killed process: windows asked for twice", twice),
    ]  # fmt: skip


if __name__ == "__main__":
    _worker(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
