"""Several workers of a shared ledger in virtual time, and what happens to them.

Workers are cut off from ledger and sink, frozen for longer than their lease, killed and started
again; their wall clocks step; the database is restarted; a connection to the sink hangs; the sink
fails over to a copy without its last commit while one of the ledger is held up; and the figures
change all the while.

The ledger and the sink are in memory and follow the rules of `harvester.base.fencing`; each call of
them takes a moment before it has an effect and a moment after it, and may be lost at either.

``python -m tests.chaos.workers --worlds 500``; ``--planted`` hunts faults.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, Self
from unittest.mock import patch

from harvester.base import fencing
from harvester.base.dates import Days, rfc3339
from harvester.base.outage import PATIENCE, Away
from harvester.config.settings import engine_options
from harvester.engine import claims as sharing
from harvester.engine.run import Engine
from harvester.errors import HarvestError, LedgerError, SinkError, UsageError
from harvester.events import Report
from harvester.ledger.base import Exhausted, Key, Lease, Renewal, Spent, WorkerJob, WorkerState
from harvester.ledger.coverage import DONE, Calendar, Outcome
from harvester.ledger.leases import CLOCKS
from harvester.model import Batch, Request, Response, Tally, Window
from harvester.sinks.base import Checkpoint, Fence, Sink, StoredWindow, Written
from harvester.testing import FakeTransport, MemorySink, Simulator, VirtualTimeLoop, run_virtual
from harvester.testing.ledger_bench import Model
from tests.chaos import seeds
from tests.chaos.model import claimable
from tests.chaos.seeds import Life
from tests.support import days, noon, scope

NOW = noon("2024-06-10")
LEASE = 3.0
STEP = 1
"""By so much a claim raises the epoch."""
BEGIN, END = date(2024, 1, 1), date(2024, 2, 29)
APPIDS = [f"wx{number:016x}" for number in range(6)]
NAME = "getarticlesummary"
FAILED_OVER = "another history"
"""What the error says of a worker, or a ledger, that notices a sink that failed over."""
OTHER = WorkerJob("another", math.inf, NOW - 30 * 3600.0, False)
"""The job of a worker that joined long ago and lives on."""
DUE_AGAIN = Outcome(
    Window("", NAME, BEGIN, BEGIN),
    "open",
    due=NOW - 3600.0,
    detail="it may be late",
    fetched_at=rfc3339(NOW - 48 * 3600.0),
)
"""A window that came due since then, and must be requested again."""


@dataclass
class Account:
    """An account in the ledger; freed: when its last holder let go."""

    holder: int | None = None
    epoch: int = 1
    freed: float | None = None

    def free(self, now: float | None) -> None:
        self.holder, self.freed = None, now


class Store:
    """What the workers share: the ledger's content, and the accounts.

    wanted: the accounts that a worker still has to claim, and whether it has given one back.
    finals: how often a window became final; a window that is opened again does so once more.
    """

    def __init__(self) -> None:
        self.model = Model()
        self.accounts: defaultdict[str, Account] = defaultdict(Account)
        self.workers: dict[int, tuple[WorkerJob, float]] = {}
        self.wanted: defaultdict[int, dict[str, bool]] = defaultdict(dict)
        self.marks: dict[Key, Days] = {}
        self.number = 0
        self.lock = asyncio.Lock()
        self.alone_since = 0.0
        self.wrong: list[str] = []
        self.finals: Counter[tuple[str, date]] = Counter()

    def known(self) -> dict[str, int]:
        return {appid: account.epoch for appid, account in self.accounts.items()}

    def alive(self, now: float) -> list[int]:
        return [number for number, (_, until) in self.workers.items() if until >= now]

    def mark(self, job: WorkerJob, now: float) -> None:
        """Mark days to be harvested again; holders lose the accounts."""
        for appid, name, begin, end in job.marks:
            first, last = self.marks.get((appid, name), (begin, end))
            self.marks[appid, name] = min(first, begin), max(last, end)
            if self.accounts[appid].holder is not None:
                self.accounts[appid].free(now)
                self.accounts[appid].epoch += 1
            for number in self.alive(now):
                if self.workers[number][0].name == job.name:
                    self.wanted[number].setdefault(appid, False)

    def left_to_others(self, appid: str, worker: int, now: float) -> bool:
        """Whether a worker has given an account back that another one has not."""
        others = (self.wanted[number] for number in self.alive(now))
        return self.wanted[worker][appid] and any(each.get(appid) is False for each in others)


class Line:
    """One worker's way to everything outside of it.

    cut: nothing arrives, or no answer comes back; dead: nor ever will; hangs: the sink answers
    nothing, and its connection stays.  running: cleared while the
    process is frozen.
    wall: its wall clock, ahead of the true one by so many seconds.
    held: seconds for which its next commit of the ledger is held up; wrote: is called when the sink
    has a commit of it.
    """

    def __init__(self, loop: VirtualTimeLoop, draw: Random) -> None:
        self.cut = self.dead = self.hangs = False
        self.held = 0.0
        self.wrote: Callable[[], None] = lambda: None
        self.running = asyncio.Event()
        self.running.set()
        self.ahead = 0.0
        self._loop = loop
        self._draw = draw

    def wall(self) -> float:
        return self._loop.wall() + self.ahead

    async def answered(self) -> None:
        """Return when the sink answers."""
        await self.pass_()
        while self.hangs:
            await asyncio.sleep(0.5)

    async def pass_(self, *moments: float) -> None:
        """Take one of these moments, and stop where the process is frozen or cut off."""
        await self.running.wait()
        await asyncio.sleep(
            self._draw.choice(moments) if moments else self._draw.uniform(0.001, 0.05)
        )
        await self.running.wait()
        if self.cut:
            raise Away("the server does not answer")


class Ledger:
    """One worker's way to the store."""

    path: Path | None = None

    def __init__(self, store: Store, loop: VirtualTimeLoop, line: Line) -> None:
        self.store = store
        self._line = line
        self._loop = loop
        self.worker = 0
        self._lease = 0.0
        self.epochs: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @asynccontextmanager
    async def alone(self, limit: float = math.inf) -> AsyncIterator[None]:
        begun = self._loop.time()
        while self.store.lock.locked():
            waited = self._loop.time() - max(begun, self.store.alone_since)
            if waited >= PATIENCE:
                self.store.wrong.append("one worker has kept the others from opening the ledger")
                raise LedgerError(self.store.wrong[-1])
            await asyncio.sleep(0.5)
        async with self.store.lock, asyncio.timeout(None if limit == math.inf else limit):
            self.store.alone_since = self._loop.time()
            yield

    # workers

    def _until(self, number: int | None) -> float | None:
        if number is None:
            return None
        return self.store.workers[number][1] if number in self.store.workers else 0.0

    async def _answer(self) -> None:
        """Return when the server answers; calls that may be repeated wait for that."""
        await self._line.running.wait()
        while self._line.cut:
            if self._line.dead:
                raise LedgerError("the process is gone")
            await asyncio.sleep(0.5)

    async def join(self, job: WorkerJob) -> float:
        await self._answer()
        now = self._loop.wall()
        if abs(job.wall - now) > CLOCKS:
            raise UsageError("this machine's clock is wrong")
        self.store.number += 1
        self.worker, self._lease = self.store.number, job.lease
        of_job = [self.store.workers[each][0] for each in self.store.alive(self._loop.time())]
        self.store.workers[self.worker] = (job, self._loop.time() + job.lease)
        if job.marks and not any(each.refresh and each.name == job.name for each in of_job):
            self.store.mark(job, self._loop.time())
        return now

    async def workers(self) -> list[WorkerState]:
        await self._answer()
        return [
            WorkerState(f"{number}", job.wall, until, 0, 0, until > self._loop.time(), job.name)
            for number, (job, until) in self.store.workers.items()
        ]

    async def want(self, appids: Sequence[str], refused: Collection[str] = ()) -> None:
        await self._answer()
        for appid in appids:
            self.store.wanted[self.worker].setdefault(appid, appid in refused)

    async def claim(self, limit: int) -> list[Lease]:
        await self._line.pass_()
        now, (job, until) = self._loop.time(), self.store.workers[self.worker]
        if claimable(until, now):
            return []
        self.store.workers[self.worker] = (job, now + self._lease)
        found = []
        for appid in sorted(self.store.wanted[self.worker]):
            account = self.store.accounts[appid]
            held_until = self._until(account.holder)
            if self.store.left_to_others(appid, self.worker, now):
                continue
            if len(found) < limit and claimable(held_until, now):
                since = account.freed if account.holder is None else held_until
                account.holder, account.freed = self.worker, None
                account.epoch += STEP
                del self.store.wanted[self.worker][appid]
                idle = float("inf") if since is None else now - since
                found.append(Lease(appid, account.epoch, idle))
        await self._line.pass_()
        self.epochs.update({lease.appid: lease.epoch for lease in found})
        return found

    async def renew(self, windows: int) -> Renewal | None:
        held = dict(self.epochs)
        await self._line.pass_()
        job, until = self.store.workers[self.worker]
        if claimable(until, self._loop.time()):
            return None
        self.store.workers[self.worker] = (job, self._loop.time() + self._lease)
        lost = {appid: held[appid] for appid in fencing.lost(held, self.store.known())}
        now = self._loop.wall()
        await self._line.pass_()
        self._lose(lost, held)
        return Renewal(lost, now)

    def _lose(self, appids: Iterable[str], held: Mapping[str, int]) -> None:
        for appid in appids:
            if self.epochs.get(appid) == held[appid]:
                del self.epochs[appid]

    async def release(self, appids: Collection[str]) -> None:
        await self._line.pass_()
        job, _ = self.store.workers[self.worker]
        for appid in appids:
            account = self.store.accounts[appid]
            if account.holder == self.worker:
                account.free(self._loop.time())
            for number, (other, _) in self.store.workers.items():
                if other.name == job.name:
                    self.store.wanted[number].pop(appid, None)
            self.epochs.pop(appid, None)

    async def give_back(self, appids: Collection[str]) -> None:
        await self._answer()
        for appid in appids:
            account = self.store.accounts[appid]
            if account.holder == self.worker:
                account.free(self._loop.time())
                account.epoch += 1
            self.store.wanted[self.worker].setdefault(appid, True)
            self.epochs.pop(appid, None)

    async def unfinished(self) -> int:
        return len(self.store.wanted[self.worker])

    async def leave(self) -> None:
        self.epochs.clear()
        await self._answer()
        for account in self.store.accounts.values():
            if account.holder == self.worker:
                account.free(self._loop.time())
                account.epoch += 1
        self.store.workers.pop(self.worker, None)

    # of a run

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
        epochs: Mapping[str, int] | None = None,
    ) -> Collection[str]:
        outcomes, spent = list(outcomes), list(spent)
        if not (outcomes or spent or epochs):
            self._compare(checkpoints)
            self.store.model.commit([], checkpoints, [])
            return ()
        held = {**{each.appid: self.epochs.get(each.appid, 0) for each in spent}, **(epochs or {})}
        held_up, self._line.held = self._line.held, 0.0
        await asyncio.sleep(held_up)
        await self._line.pass_()
        self._compare(checkpoints)
        gone = fencing.lost(held, self.store.known())
        kept = [each for each in outcomes if each.window.appid not in gone]
        for each in kept:
            if each.state == "final":
                self.store.finals[each.window.appid, each.window.begin] += 1
        self.store.model.commit(kept, checkpoints, spent)
        await self._line.pass_()
        self._lose(gone, held)
        return gone

    def _compare(self, checkpoints: Mapping[str, Mapping[str, str]]) -> None:
        """Refuse a commit of the sink that the ledger knows by another mark."""
        for sink, entries in checkpoints.items():
            if fencing.contradicted(entries, self.store.model.checkpoints[sink]):
                raise LedgerError(f"{sink} has {FAILED_OVER} than the ledger")

    async def reopen(self, key: Key, days: Days | None, *change: Any) -> None:
        await self._line.pass_()
        if not fencing.lost({key[0]: self.epochs.get(key[0], 0)}, self.store.known()):
            calendar = self.store.model.calendar(key)
            before = {*_days(calendar)}
            calendar.reopen(days, *change)
            for day in before - {*_days(calendar)}:
                del self.store.finals[key[0], day]
            self.store.marks.pop(key, None)
        await self._line.pass_()

    async def refreshes(self, appids: Sequence[str]) -> dict[Key, Days]:
        await self._answer()
        return {key: days for key, days in self.store.marks.items() if key[0] in appids}

    async def register(self, ranges: Iterable[Any]) -> None:
        self.store.model.register(ranges)

    async def checkpoint(self, sink: str) -> dict[str, str]:
        return dict(self.store.model.checkpoints[sink])

    async def list_sinks(self, sinks: Mapping[str, str]) -> None:
        self.store.model.sinks.update(sinks)

    async def accounts(self) -> list[str]:
        return self.store.model.accounts

    async def sinks(self) -> dict[str, str]:
        return dict(self.store.model.sinks)

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        await self._answer()
        found = {}
        for key, calendar in self.store.model.calendars.items():
            if key[0] in appids:
                years = {year: bytearray(row) for year, row in calendar.years.items()}
                found[key] = Calendar(years, dict(calendar.windows), dict(calendar.sums))
        return found

    async def spent(self, day: date, appids: Sequence[str] | None = None) -> dict[Key, int]:
        return self.store.model.spent(day)

    async def exhausted(
        self, now: float, appids: Sequence[str] | None = None
    ) -> dict[Key, Exhausted]:
        return {}


def _days(calendar: Calendar) -> Iterator[date]:
    """The final days."""
    for first, last in calendar.runs(BEGIN, END, DONE):
        yield from days(first, last)


class Database:
    """A sink's database, which refuses what a later epoch has written."""

    def __init__(self, draw: Random) -> None:
        self.sink = MemorySink("memory:shared")
        self.epochs: dict[str, int] = {}
        self.marks: list[str] = []  # of its commits, the latest first
        self._draw = draw
        self._before = self._state()

    def _state(self) -> tuple[Any, ...]:
        sink = self.sink
        return {**sink._batches}, {**sink._by_day}, {**self.epochs}, [*self.marks]

    def fail_over(self) -> None:
        """Go back to the state before the last commit."""
        self.sink._batches, self.sink._by_day, self.epochs, self.marks = self._before
        self._before = self._state()

    @property
    def latest(self) -> tuple[int, str]:
        """The number and the mark of the last commit."""
        return len(self.marks), self.marks[0] if self.marks else ""

    def compare(self, number: int, mark: str) -> None:
        """Refuse who knows a commit that it has not made."""
        if not fencing.is_in_history(number, mark, len(self.marks), self.marks):
            raise SinkError(f"the database has {FAILED_OVER}")

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Collection[str]:
        self._before = self._state()
        self.marks.insert(0, new_mark(self._draw))
        refused = fencing.refused(fence, self.epochs)
        self.epochs.update(fencing.raised(fence, self.epochs))
        kept = [each for each in batches if each.window.appid not in refused]
        await self.sink.write(kept, {})
        return refused


def new_mark(draw: Random) -> str:
    return f"{draw.getrandbits(32):08x}"


class FencedSink(Sink):
    """One worker's way to the database; its writes come late."""

    fenced = True
    identity = "memory:shared"
    moments = (0.01, 0.5, 9.0)

    def __init__(self, database: Database, line: Line) -> None:
        self._database = database
        self._line = line
        self._latest = 0, ""

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        return self._database.sink.endpoints()

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[StoredWindow]:
        return self._database.sink.scan(endpoint, appids)

    async def reach(self) -> None:
        await self._line.answered()

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        await self._line.answered()
        self._database.compare(*fencing.latest_commit(checkpoint or {}))
        self._latest = self._database.latest
        return self._entries()

    def _entries(self) -> dict[str, str]:
        return fencing.commit_entries(len(self._database.marks), self._database.marks)

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        await self._line.answered()
        await self._line.pass_(*self.moments)
        self._database.compare(*self._latest)
        refused = await self._database.write(batches, fence)
        self._latest, entries = self._database.latest, self._entries()
        self._line.wrote()
        await self._line.pass_(*self.moments)
        return Written(entries, refused)

    async def close(self) -> None:
        return None


class Transport(FakeTransport):
    """A transport that stands still while its process is frozen.

    refused: an account for which this machine gets no token, empty if there is none.
    """

    line: Line
    refused = ""

    async def send(self, request: Request, *rest: Any) -> Response:
        await self.line.running.wait()
        if self.refused and "token" in request.path and self.refused.encode() in request.body:
            return Response(200, b'{"errcode": 40164, "errmsg": "invalid ip"}')
        response = await super().send(request, *rest)
        await self.line.running.wait()
        return response


class Changing(Simulator):
    """Figures that are others in each answer."""

    changes = 0

    def truth(self, appid: str, day: date) -> list[dict[str, Any]]:
        self._body.cache_clear()  # it keeps answers
        self.changes += 1
        rows = super().truth(appid, day)
        return [
            {**row, "int_page_read_user": row["int_page_read_user"] + self.changes} for row in rows
        ]


Task = asyncio.Task[Report]


EVENTS = (
    "kill", "kill", "freeze", "freeze", "cut", "cut", "restart", "hang", "clock step", "", "",
)  # fmt: skip


class World:
    """Some workers, and what happens to them; all of it is drawn from the seed."""

    def __init__(
        self, loop: VirtualTimeLoop, seed: int, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.draw = Random(seed)
        self.store = Store()
        self.database = Database(Random(f"marks {seed}"))
        self.kind = Random(f"kind {seed}").choice(("", "", "failover", "due again"))
        self.refused = APPIDS[0] if self.kind == "due again" else ""
        self.happened: Counter[str] = Counter()
        self._loop = loop
        self._say = say
        self._simulator = Changing(wall=loop.wall)
        self._lines: dict[Task, Line] = {}
        if self.kind == "due again":
            self._add_due_again()

    def _add_due_again(self) -> None:
        """A worker of another job that joined long ago, and windows that came due since."""
        self.store.workers[-1] = (OTHER, math.inf)
        for day in days(BEGIN, END):
            window = Window(self.refused, NAME, day, day)
            calendar = self.store.model.calendar((self.refused, NAME))
            calendar.apply(DUE_AGAIN._replace(window=window))

    def _not_requested(self, begin: date, appids: Sequence[str]) -> bool:
        """Whether a window that was due is as it was."""
        return any(
            window.begin >= begin and window.fetched_at == DUE_AGAIN.fetched_at
            for appid in appids
            for window in self.store.model.calendar((appid, NAME)).windows.values()
        )

    def start(self, *, whole: bool = False) -> Task:
        """Start a worker; whole: it is asked for all that anybody is asked for."""
        begin, appids = BEGIN, APPIDS
        if not whole and self.draw.random() < 0.3:
            begin = BEGIN + timedelta(days=self.draw.randrange(50))
            appids = self.draw.sample(APPIDS, self.draw.randrange(1, len(APPIDS)))
        line = Line(self._loop, self.draw)
        refresh = not whole and self.draw.random() < 0.2
        refused = self.draw.choice(APPIDS) if not whole and self.draw.random() < 0.2 else ""
        refused = refused if whole else self.refused or refused
        task = asyncio.ensure_future(self._run(line, begin, appids, refused, refresh=refresh))
        self._lines[task] = line
        self._note("start", f"{len(appids)} accounts from {begin}{' --refresh' * refresh}")
        return task

    async def _run(
        self, line: Line, begin: date, appids: Sequence[str], refused: str, *, refresh: bool
    ) -> Report:
        transport = Transport(self._simulator, latency=0.2)
        transport.line, transport.refused = line, refused
        engine = Engine(
            scope(begin, END, appids),
            engine_options(rate="10/s", concurrency=12, lease=LEASE, refresh=refresh),
            transport,
            [FencedSink(self.database, line)],
            Ledger(self.store, self._loop, line),
            wall=line.wall,
        )
        async with engine:
            report = await engine.run()
        if report.state == "complete" and self._not_requested(begin, appids):
            self.store.wrong.append("complete, but windows that were due were not requested")
        return report

    async def live(self) -> list[str]:
        """Disturb workers until they are done, let one finish the rest; gives what is wrong."""
        running = [self.start() for _ in range(3)]
        ends = self._loop.time() + 300
        while running and self._loop.time() < ends:
            await asyncio.sleep(self.draw.uniform(0.5, 4.0))
            running = [task for task in running if not task.done()]
            if running:
                running = await self._disturb(self.draw.choice(running), running)
        self._heal(running)
        with suppress(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.gather(*running, return_exceptions=True)
        try:
            async with asyncio.timeout(3600):
                report = await self.start(whole=True)
        except TimeoutError:
            return ["the last run does not end"]
        except HarvestError as exc:
            if not _has_failed_over(exc):
                return [f"the last run ended with {exc!r}"]
        errors = [_error_of(task) for task in self._lines]
        if any([_has_failed_over(error) for error in errors]):
            return self.store.wrong  # somebody was told
        wrong = [*self.store.wrong]
        wrong += [] if report.state == "complete" else [f"the last run ended {report.state}"]
        wrong += [repr(error) for error in errors if _is_wrong(error)]
        stored, wanted = len(self.database.sink.windows), len(APPIDS) * ((END - BEGIN).days + 1)
        if self.store.marks:
            wrong.append("days that are to be harvested again are not")
        if stored != wanted:
            wrong.append(f"{stored} windows are stored, not {wanted}")
        return wrong + self._compared()

    def _compared(self) -> list[str]:
        """What in the sink is not as the ledger says."""
        wrong = []
        for (appid, name), calendar in self.store.model.calendars.items():
            sums: defaultdict[int, Tally] = defaultdict(Tally)
            for window, batch in self.database.sink._batches.items():
                days = (window.begin, window.end)
                if window[:2] == (appid, name) and [*calendar.runs(*days, DONE)] == [days]:
                    sums[window.begin.year] = sums[window.begin.year].plus(batch.tally)
            wrong += [
                f"{appid} {year}: {sums[year]} is stored, {tally} was fetched"
                for year, tally in calendar.sums.items()
                if tally != sums[year]
            ]
        return wrong + [
            f"{key} became final {n} times" for key, n in self.store.finals.items() if n > 1
        ]

    # what happens

    def _note(self, what: str, more: str = "") -> None:
        self.happened[what] += 1
        self._say(f"{self._loop.time():8.2f} {what} {more}".rstrip())

    def _heal(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._lines[task].cut = self._lines[task].dead
            self._lines[task].running.set()

    def _fail_over_behind(self, line: Line) -> None:
        """After a worker's next commit of the sink, before that of the ledger."""

        def wrote() -> None:
            line.wrote = lambda: None
            self._say(f"{self._loop.time():8.2f} the sink loses the last commit")
            self.database.fail_over()
            line.held = self.draw.uniform(0.1, 2 * LEASE)

        line.wrote = wrote

    def _happens(self, what: str, line: Line, lines: Sequence[Line]) -> None:
        """What begins with it, to a worker or to all."""
        if what == "failover":
            self._fail_over_behind(line)
        if what == "freeze":
            line.running.clear()
        if what == "hang":  # longer than others wait, shorter than a call is given
            line.hangs = True
            self._loop.call_later(self.draw.uniform(70.0, 140.0), setattr, line, "hangs", False)
        if what in ("cut", "restart"):
            for each in lines if what == "restart" else [line]:
                each.cut = True

    async def _disturb(self, task: Task, running: list[Task]) -> list[Task]:
        """Something happens to a worker, or to all; gives those that run then."""
        what, line = self.draw.choice(EVENTS), self._lines[task]
        if self.kind == "failover" and not self.happened["failover"]:
            what = "failover"
        if what == "clock step":
            line.ahead = self.draw.choice((-3600.0, -30.0, 0.0, 30.0, 3600.0))
            self._note(what, f"to {line.ahead:+.0f} s")
        elif what:
            self._note(what)
        if what == "kill":
            line.cut = line.dead = True  # a process that is killed says nothing more
            line.running.set()
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
            return [*(each for each in running if each is not task), self.start()]
        self._happens(what, line, [self._lines[each] for each in running])
        if what in ("freeze", "cut"):
            self._loop.call_later(self.draw.uniform(1.0, 5 * LEASE), self._heal, [task])
        if what == "restart":
            self._loop.call_later(self.draw.uniform(0.5, 2 * LEASE), self._heal, running)
        return running


def _error_of(task: Task) -> BaseException | None:
    """What a worker ended with."""
    return task.exception() if task.done() and not task.cancelled() else None


def _has_failed_over(error: BaseException | None) -> bool:
    """Whether a worker ended since it noticed that the sink has failed over."""
    return FAILED_OVER in str(error)


def _is_wrong(error: BaseException | None) -> bool:
    """Whether what ended a worker is no outage and no wrong clock."""
    hung = isinstance(error, SinkError) and "has not answered for" in str(error)
    return error is not None and not hung and not isinstance(error, LedgerError | UsageError)


def live(seed: int, say: Callable[[str], None] = lambda line: None) -> Life:
    """Live through one world."""

    async def main(loop: VirtualTimeLoop) -> Life:
        world = World(loop, seed, say)
        with patch.object(sharing, "boot_time", loop.time):
            return Life(seed, world.happened, await world.live())

    return run_virtual(main, NOW)


if __name__ == "__main__":
    sys.exit(seeds.main("tests.chaos.workers", live, worlds=200, within=200))
