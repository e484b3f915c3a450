"""The daily service: a loop over the same run that ``harvester run`` makes.

Rule: decides nothing that a run decides.  The ledger is open for writing only while a run goes on.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import cast

import anyio

from harvester import events
from harvester.base.dates import ONE_DAY, china
from harvester.base.files import make_directory
from harvester.base.lock import FileLock
from harvester.base.secrets import Secret, read_reference
from harvester.base.threads import in_thread
from harvester.config import plugins
from harvester.config.accounts import list_accounts
from harvester.config.files import COMMAND_OPTIONS, SERVICE, read_config, read_environment
from harvester.config.interfaces import choose_interfaces, read_interfaces
from harvester.config.service import ServiceOptions, read_service
from harvester.engine.options import Round
from harvester.errors import ExportError, NoLedgerError, RunError, UsageError
from harvester.events import Event, Failure, Report, Wait, causes
from harvester.job import Job
from harvester.ledger import Ledger
from harvester.model import Account, Endpoint, many
from harvester.reading import source_of
from harvester.report import Overview
from harvester.report.days import Reader, StatusFilter
from harvester.report.overview import overview_of
from harvester.report.week import Week, week_before
from harvester.service import alerts, schedule
from harvester.service.mail import Mail, Message
from harvester.service.sender import (
    PING,
    Deliver,
    Sender,
    check_ping,
    check_url,
    deliver,
    describe,
)
from harvester.service.state import OF_RUNS, State, StateRow
from harvester.service.week import message, read_week
from harvester.texts import joined, of_system, say

TICK = 60.0
"""The most seconds until a clock that was set is noticed."""
LOOKED_AFTER = 1800.0
"""The most seconds between two looks into the ledger while nothing is to be harvested."""
LEDGER_AGAIN = 30.0
"""Seconds until a ledger that could not be opened is tried again."""
FAILURES = 3
"""Runs in a row that were stopped before a person is told: an outage mostly passes."""
TOLD_AFTER = 900.0
"""Seconds of other trouble before a person is told."""
KEPT = 30 * 86_400.0
"""Seconds for which a message is kept whose target is in no configuration any more."""
NAMED = 5
"""Reasons of failures that the log names after a run."""


@dataclass(frozen=True, repr=False)
class Setup:
    """What a configuration says, with the accounts and secrets that it refers to.

    own: interfaces that the configuration describes.  targets: the URLs of alerts and of the ping
    by their references.  token: of the pages, None if they are open.
    """

    job: Job
    options: ServiceOptions
    accounts: tuple[Account, ...]
    lang: str
    names: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    own: tuple[Endpoint, ...] = ()
    endpoints: frozenset[str] = frozenset()
    targets: Mapping[str, Secret] = field(default_factory=dict)
    token: Secret | None = None
    where: alerts.Where = alerts.NOWHERE

    def __repr__(self) -> str:
        return f"<Setup of {len(self.accounts)} accounts>"

    @classmethod
    def load(cls, path: Path, lang: str = "en") -> Setup:
        """Read a configuration and all that it refers to; raises `UsageError`."""
        options = read_service(read_config(path).get(SERVICE, {}), str(path))
        job = Job.load(path, environ=os.environ)
        given = read_environment(os.environ, COMMAND_OPTIONS)
        names = joined(", ", [f"HARVESTER_{name.upper()}" for name in given])
        _check_job(job, say("{} with {}", path, names) if given else str(path))
        listed = [] if job.accounts is None else list_accounts(Path(job.accounts))
        accounts = job.read_accounts()
        own = tuple(read_interfaces([*job.interfaces], str(path)))
        chosen = choose_interfaces(job.endpoints, own)
        folder = path.absolute().parent
        targets = {each: _read("alerts", each, folder, path) for each in options.alerts}
        for reference, url in targets.items():
            check_url(reference, url)
        if options.ping:
            targets[options.ping] = _read("ping", options.ping, folder, path)
            check_ping(options.ping, targets[options.ping])
        return cls(
            job,
            options,
            (accounts,) if isinstance(accounts, Account) else tuple(accounts),
            options.lang or lang,
            {each.appid: each.name for each in listed if each.name},
            {each.appid: each.group for each in listed if each.group},
            own,
            frozenset(each.name for each in plugins.interfaces_of(chosen)),
            targets,
            _read("token", options.token, folder, path) if options.token else None,
            alerts.Where(options.url, str(path), job.accounts is not None),
        )

    async def look(self, now: float) -> Overview:
        """What the ledger knows of what is harvested; raises `UsageError`, `LedgerError`."""
        async with self.job.open_ledger(readonly=True) as ledger:
            return await self.look_into(ledger, now)

    async def look_into(self, ledger: Ledger, now: float) -> Overview:
        mine = dict.fromkeys([each.appid for each in self.accounts], True)
        wanted = StatusFilter(endpoints=self.endpoints, listed=mine)
        reader = Reader(ledger, now, self.own, wanted)
        quota = cast("int | None", self.job.options.get("daily_quota"))
        seen = await overview_of(reader, names=self.names, daily_quota=quota)
        seen.where = ledger.place
        return seen


def _read(name: str, reference: str, folder: Path, path: Path) -> Secret:
    try:
        return read_reference(reference, folder, name)
    except UsageError as exc:
        raise UsageError("{}: [serve] {}: {}", path, name, exc) from None


def _check_job(job: Job, where: str) -> None:
    """Raise `UsageError` for a run that a daily service cannot repeat."""
    if not job.end.startswith("yesterday"):
        raise UsageError(
            '{}: end = {!r}: the service harvests one more day every day; write "yesterday"',
            where,
            job.end,
        )
    for name, why in (
        ("wait", say("the service runs again automatically")),
        ("refresh", say("each run would harvest everything again")),
    ):
        if job.options.get(name):
            raise UsageError("{}: the service cannot use {}: {}", where, name, why)
    if any(spec == "-" for spec in job.sink):
        raise UsageError('{}: the service cannot use sink = "-": nothing reads its output', where)


class Service:
    """The daily service.

    load: reads the configuration; called at the start and by `reload`; raises `UsageError`.
    setup, state, seen: what is in use, what was done, and what the ledger had after the last run;
    they are replaced, never changed.  changed: called when what was done has changed.  trouble: why
    nothing goes on at the moment; stopped: why the last run ended with an error.
    """

    def __init__(
        self,
        load: Callable[[], Setup],
        *,
        log: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
        observe: Callable[[Event], None] | None = None,
        deliver: Deliver = deliver,
    ) -> None:
        self._load, self.log, self._clock, self._observe = load, log, clock, observe
        self.warn = warn or log
        self.setup = load()
        self.seen: Overview | None = None
        self.trouble = self.stopped = ""
        self.changed: Callable[[], None] = lambda: None
        self._looked = math.nan  # when the ledger was looked into, NaN if it is another one
        self._claim: FileLock | None = None
        self._stopping, self._woken = asyncio.Event(), asyncio.Event()
        self._run: Round | None = None
        self._harvesting = False  # until what a run has done is stored, too
        self._scope: anyio.CancelScope | None = None
        self._failures, self._retry_at, self._reloaded = 0, 0.0, 0.0
        self._since = math.nan  # when the trouble began, NaN if there is none
        self._told = alerts.Problem()  # without the ledger
        self._rests: dict[str, float] = {}  # accounts that are not asked before a Unix time
        self._rests_of: date | None = None  # the harvest of which they rest
        self._row = StateRow(lambda: self.setup.job.open_ledger(readonly=True))
        self.sender = Sender(self._row, lambda: self.setup.targets, deliver, self.warn, clock)

    def __repr__(self) -> str:
        return f"<Service {self.setup!r}, {'running' if self.running else 'waiting'}>"

    @property
    def state(self) -> State:
        return self._row.state

    @property
    def running(self) -> bool:
        return self._run is not None

    @property
    def troubles(self) -> list[str]:
        """All that is wrong with this process; accounts that need a person are alerted."""
        found = [self.trouble] if self.trouble else []
        if problem := self.stopped:
            found.append(say("the last run ended with an error: {}", problem))
        return [*found, *self.sender.undelivered.values()]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only service of an embedded ledger; raises `UsageError` if another one serves it.

        The claim ends with the process, however that ends.
        """
        self._claim = _claimed(_served_file(self.setup))
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def stop(self) -> None:
        """End in order: requests in flight are finished and committed."""
        self._stopping.set()
        self._interrupt()
        if self._scope is not None and not self._harvesting:
            self._scope.cancel()  # a server may not answer for long

    def reload(self) -> None:
        """Read the configuration again; one that cannot be used changes nothing, and is named."""
        try:
            setup = self._load()
            if _served_file(setup) != _served_file(self.setup):
                claim = _claimed(_served_file(setup))
                self._release()
                self._claim = claim
        except Exception as exc:  # noqa: BLE001  (a signal's handler; a disk may raise anything)
            self.warn(say("not reloaded; the former configuration stays in use: {}", describe(exc)))
            return
        if setup.options.listen != self.setup.options.listen:
            self.log(say("reloaded; the new value of listen takes effect at the next start"))
        self.setup = setup
        self.log(say("reloaded: {}", many(len(setup.accounts), "account")))
        self._failures, self._retry_at, self._reloaded = 0, 0.0, self._clock()
        self.sender.undelivered.clear()  # the targets may be others
        self._looked = math.nan  # it may be another ledger
        self._interrupt()

    def _interrupt(self) -> None:
        self._woken.set()
        if self._run is not None:
            self._run.set()

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.sender.run)
            while not self._stopping.is_set():
                self._woken.clear()
                try:
                    with anyio.CancelScope() as self._scope:
                        await self._step()
                    self.trouble, self._since = "", math.nan
                    if not self.stopped:
                        self._tell(alerts.Problem())
                except Exception as exc:  # noqa: BLE001  (mostly a database that is away)
                    if (text := describe(exc)) != self.trouble:
                        self.warn(text)
                    self.trouble = text
                    now = self._clock()
                    self._since = now if math.isnan(self._since) else min(self._since, now)
                    if self._failures >= FAILURES or now >= self._since + TOLD_AFTER:
                        self._tell(alerts.Problem(type(exc).__name__, text))
                    self._looked = math.nan
                    await self._sleep(LEDGER_AGAIN)
            group.cancel_scope.cancel()

    def _tell(self, problem: alerts.Problem) -> None:
        """Tell a person of a problem of this machine without its ledger; none: that it is over."""
        if bool(problem) == bool(self._told):
            return
        setup, now = self.setup, self._clock()
        changed = alerts.of_machine(socket.gethostname(), problem, self._told)
        seen = self.seen or Overview(now, china(now).date())
        said, self._told = alerts.message_of(changed, seen, setup.lang, setup.where), problem
        self.sender.tell(_messages("alert", f"{now:.0f}", said, setup, now))

    async def _step(self) -> None:
        """Make a run if one is due; else wait for it, but not for long."""
        if math.isnan(self._looked):
            await self._begin()
        now = self._clock()
        if self.next_run(now) <= now:
            self._harvesting = True
            try:
                await self._harvest()
            finally:
                self._harvesting = False
            return
        if not self._looked <= now < self._looked + LOOKED_AFTER:  # nor was the clock set back
            await self._conclude(None)  # time alone makes figures stale
        while not self._woken.is_set() and (now := self._clock()) < self._looked + LOOKED_AFTER:
            if (start := self.next_run(now)) <= now or now < self._looked:
                return
            await self._sleep(min(start - now, TICK, self._looked + LOOKED_AFTER - now))

    async def _begin(self) -> None:
        """Read the state; a ledger that no run has made yet is made."""
        try:
            async with self._row.opened() as ledger:
                await self._row.update(ledger, _same)
        except NoLedgerError:
            async with self.setup.job.open_ledger() as ledger:
                await self._row.update(ledger, _same)
        self._looked = -math.inf
        if self.seen is None:  # the service has just started
            now = self._clock()
            if any(alert.kind != OF_RUNS for alert in self.state.alerts):  # somebody may have acted
                self._reloaded = now
            begins = china(self.next_run(now))
            self.log(say("next harvest: {:%Y-%m-%d %H:%M} in China", begins))

    def next_run(self, now: float) -> float:
        """The Unix time of the next run; now, or before it, if that is due."""
        at, state = self.setup.options.at, self.state
        if self._reloaded:
            state = replace(state, until=self._reloaded)
        retry = self._retry_at if self._retry_at <= now + schedule.RETRY_AT_MOST else 0.0
        return max(schedule.next_run(state, now, at), retry)  # else the clock was set back

    async def _sleep(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._woken.wait()

    async def _harvest(self) -> None:
        setup, now = self.setup, self._clock()
        due = schedule.due_day(now, setup.options.at)
        if self._reloaded or self._rests_of != due:
            self._rests, self._rests_of = {}, due
        self._rests = {appid: until for appid, until in self._rests.items() if until > now}
        accounts = [each for each in setup.accounts if each.appid not in self._rests]
        if not accounts:  # a person must act before anything can be harvested
            await self._conclude(due, self._rested(0.0))
            return
        self.log(say("harvest of {} begins: {}", due, many(len(accounts), "account")))
        at, self._reloaded = setup.options.at, 0.0
        quiet = math.inf if self.state.day == due else schedule.QUIET
        seconds = schedule.latest_end(now, at) - now
        self._run = Round(seconds, quiet, schedule.again_after(now, at))
        try:
            report, problem, failures = await self._run_job(setup, accounts, self._run)
        finally:
            self._run = None
        lines = _summary(due, report, problem)
        is_fine = report is not None and not report.windows.failed
        (self.log if is_fine else self.warn)(lines[0])
        for line in lines[1:]:
            self.warn(line)
        stopped = report is None or report.state == events.State.INTERRUPTED
        if self._reloaded or (stopped and self._stopping.is_set()):
            return  # it was not the harvest of the day, or not of what is now asked for
        try:
            await self._settle(due, report, problem)
        finally:
            if self.seen is not None:  # of the accounts that this run has asked, however it ended
                asked, made = {each.appid for each in failures}, self.seen.made
                again = made + schedule.again_after(made, at)
                self._rests |= dict.fromkeys(alerts.tried(self.seen) & asked, again)
                self._rests |= dict.fromkeys(alerts.barred(self.seen) & asked, math.inf)

    def _rested(self, until: float) -> float:
        """From when the next run can get more, of the accounts that rest too; 0 if it cannot."""
        times = [until, *self._rests.values()]
        return min([each for each in times if 0 < each < math.inf], default=0.0)

    async def _run_job(
        self, setup: Setup, accounts: list[Account], stop: Round
    ) -> tuple[Report | None, alerts.Problem, list[Failure | Wait]]:
        """The report of a run that was not stopped by an error, what went wrong, what failed."""
        problem, report, made = alerts.Problem(), None, None
        try:
            report = await setup.job.run(accounts=accounts, on_event=self._observe, stop=stop)
        except Exception as exc:  # noqa: BLE001  (it is tried again, whatever it is)
            problem = alerts.Problem(type(exc).__name__, describe(exc))
            made = cast("Report | None", exc.report) if isinstance(exc, RunError) else None
            report = made if isinstance(exc, ExportError) else None
        made = report or made
        return report, problem, [*made.failures, *made.waits] if made is not None else []

    async def _settle(self, due: date, report: Report | None, problem: alerts.Problem) -> None:
        self._failures = self._failures + 1 if problem else 0
        self.stopped = problem.text
        ended = self._clock()
        self._retry_at = ended + schedule.retry_after(self._failures) if problem else 0.0
        reported = problem if not problem or self._failures >= FAILURES else None
        if self._told and problem:
            reported = None  # a person knows
        if report is None:
            await self._conclude(None, 0.0, reported)
            return
        until = 0.0 if report.until is None else max(report.until, ended + schedule.PAUSE)
        until = self._rested(until)
        if problem:
            until = min(until or self._retry_at, self._retry_at)
        await self._conclude(due, until, reported)

    async def _conclude(
        self, due: date | None, until: float = 0.0, reported: alerts.Problem | None = None
    ) -> None:
        """Compare the ledger with what was said before; store and post the difference.

        due: the day whose harvest was made, None if none was.  until: from when the next run can
        get more, 0 if it cannot.  reported: why runs end with an error on this machine, None if
        that is not known.  All of it is of one setup: after a reload another run follows at once,
        and that one is concluded.
        """
        setup = self.setup
        week = None if due is None else await self._week(setup, due)
        async with self._row.opened() as ledger:

            async def change(before: State) -> State:
                now = self._clock()
                seen = await setup.look_into(ledger, now)
                if self.setup is not setup:
                    return before
                self.seen, self._looked = seen, now
                return _next(before, seen, setup, due, until, reported, week)

            if await self._row.update(ledger, change):
                self.changed()

    async def _week(self, setup: Setup, due: date) -> Week | None:
        last = self.state.day or due - ONE_DAY
        days = week_before(due - ONE_DAY)
        if days == week_before(last - ONE_DAY) or not setup.options.alerts:
            return None
        appids = [account.appid for account in setup.accounts]
        try:
            ledger = setup.job.open_ledger(readonly=True)
            source = await source_of(ledger, setup.job.open_sinks())
            return await in_thread("harvester-week", read_week, source, days, appids)
        except Exception as exc:  # noqa: BLE001  (the digest of the day is sent all the same)
            self.warn(say("the figures of the week cannot be read: {}", describe(exc)))
            return None


async def _same(state: State) -> State:
    return state


def _served_file(setup: Setup) -> Path | None:
    """The file of an embedded ledger; None of a ledger that several services share."""
    path = setup.job.open_ledger().path
    return None if path is None else path.resolve()


def _claimed(file: Path | None) -> FileLock | None:
    if file is None:
        return None
    note = file.with_name(f"{file.name}.serve")
    try:
        make_directory(note.parent, "directory of the ledger")
        claim = FileLock.attempt(note, 0o666)
        if claim is not None:
            claim.note(f"{os.getpid()} on {socket.gethostname()}".encode())
            return claim
        process = note.read_text(errors="replace")
    except OSError as exc:
        raise UsageError("{} cannot be used ({})", note, of_system(exc)) from None
    raise UsageError(
        "the ledger {} is already served by process {}; end that process, or serve another ledger",
        file,
        process,
    )


def _next(
    before: State,
    seen: Overview,
    setup: Setup,
    due: date | None,
    until: float,
    reported: alerts.Problem | None,
    week: Week | None,
) -> State:
    at, stale_after = setup.options.at, setup.options.stale_after
    now = {**alerts.alerts_of(seen, at, stale_after)}
    if due is None:  # between two runs a cause is not over, and only time adds one
        added = {alert: now[alert] for alert in alerts.OF_TIME if alert in now}
        now = {alert: whom for alert, whom in before.alerts.items() if alert.kind != OF_RUNS}
        for alert, whom in added.items():
            now[alert] = tuple(sorted({*now.get(alert, ()), *whom}))
    now |= alerts.of_runs(before.alerts, socket.gethostname(), reported)
    changed = alerts.change(before.alerts, now, seen)
    after = replace(before, alerts=changed.alerts)
    said = [("alert", alerts.message_of(changed, seen, setup.lang, setup.where))]
    if due is None:
        return _posted(after, setup, said, seen.made)
    if any(cause.kind == "retry" for cause in seen.causes):
        until = min(until or math.inf, seen.made + schedule.again_after(seen.made, at))
    after = replace(after, day=due, ended=seen.made, until=until)
    if before.day != due:
        again = schedule.next_run(after, seen.made, at) if until else 0.0
        said.append(("digest", alerts.digest(seen, due, again, setup.lang, setup.where)))
        if week is not None:
            week.conclude(seen, setup.groups)
            said.append(("week", message(week, setup.names, setup.lang, setup.where)))
    if seen.fresh and before.pinged != due:
        said.append((PING, alerts.Notification("", "")))
        after = replace(after, pinged=due)
    return _posted(after, setup, said, seen.made)


def _posted(
    after: State, setup: Setup, said: Sequence[tuple[str, alerts.Notification | None]], now: float
) -> State:
    mail = [
        message
        for kind, each in said
        for message in _messages(kind, str(after.number + 1), each, setup, now)
    ]
    kept = [each for each in after.mail if each.posted > now - KEPT]
    return replace(after, mail=(*kept, *mail))


def _messages(
    kind: str, number: str, said: alerts.Notification | None, setup: Setup, now: float
) -> Mail:
    ping = (setup.options.ping,) if setup.options.ping else ()
    targets = ping if kind == PING else setup.options.alerts
    if said is None:
        return ()
    key, (title, body, level) = f"{kind} {number}", said
    return tuple([Message(key, each, title, body, now, level=level) for each in targets])


def _summary(due: date, report: Report | None, problem: alerts.Problem) -> list[str]:
    if report is None:
        return [say("harvest of {} stopped: {}", due, problem.text)]
    windows = report.windows
    state = "paused" if report.state == events.State.INTERRUPTED else report.state
    parts = [say("harvest of {} {}: {}", due, say(state), many(windows.done, "window"))]
    for count, counted in ((windows.waiting, "{:,} waiting"), (windows.failed, "{:,} failed")):
        if count:
            parts.append(say(counted, count))
    parts += [many(report.records, "record"), many(report.requests, "request")]
    lines = [joined(", ", parts)]
    found = causes(report.failures)
    lines += [say("{} failed: {}", cause, cause.error) for cause in found[:NAMED]]
    if len(found) > NAMED:
        lines.append(say("and {:,} more; harvester status lists them", len(found) - NAMED))
    return [*lines, *([problem.text] if problem else [])]
