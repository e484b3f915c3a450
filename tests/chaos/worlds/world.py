"""One world: created from its seed, with several runs, and checked after each.

Rule: everything follows from the seed, so that a failure can be replayed.

A world is a few accounts and a range of days, some faults, and runs that end by themselves, are
stopped, cancelled, or crash: then only the content of the disks is left.  Between runs time passes,
and accounts are added and removed.  The last run has no faults and must end complete.  If figures
come late there are runs without faults for weeks, until nothing is asked for any more.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from harvester.base.dates import DAY, Days, china, last_settled_day, quota_day
from harvester.config.settings import engine_options
from harvester.engine.limiter import Rate
from harvester.engine.options import Options
from harvester.engine.run import Engine
from harvester.engine.window_queue import RECHECK
from harvester.engine.writer import BOOK_EVERY
from harvester.errors import HarvestError
from harvester.events import Event, Notice, Report, Stalled
from harvester.ledger import FILE_NAME, Key, SqliteLedger
from harvester.ledger.coverage import STORED, Calendar
from harvester.model import RECHECK_INTERVAL, Batch, Endpoint, Window
from harvester.sinks.base import Sink, StoredWindow, name_in
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import Faults, MemorySink, Simulator, VirtualTimeLoop, run_virtual
from harvester.upkeep.rebuild import rebuild
from harvester.wechat.endpoint import grid
from harvester.wechat.interfaces import INTERFACES
from tests.chaos.worlds import promises
from tests.chaos.worlds.command import Life
from tests.chaos.worlds.lateness import LATE, LISTS, Lateness, Place
from tests.chaos.worlds.outside import ModelSink, Moods, MoodyLedger, MoodySink, Network
from tests.support import at, scope

STEADY = (
    INTERFACES["getarticlesummary"],
    INTERFACES["getusersummary"],
    INTERFACES["getupstreammsgdist"],
    INTERFACES["getupstreammsgweek"],
    INTERFACES["getinterfacesummary"],
)
GROWING = (
    INTERFACES["getarticletotaldetail"],
    INTERFACES["getarticleread"],
    INTERFACES["getbizsummary"],
)
PAGED = (INTERFACES["publisher_adpos_general"],)
MOST_TURNS = 2_000_000  # calls are recorded every second, also in a wait of days
IDLE = 2.0
"""Seconds that may pass while a window could be sent and nothing is under way."""
JUMP = 0.5
CUT_ANEW = 0.3
"""How often the length of an interface's windows changes between two runs."""

QUIET = Moods()
ONE_IN = 8
"""One world in so many has figures that come late, and answers that lack what earlier ones had."""
LIVES_ON = (1, 2, 3, 5, 8, 13, 21, 30, 31, 32, 33)
"""Days after its troubles on which such a world has a run; then more, until nothing is left."""


class CrashError(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Course:
    """How one run goes: its moods and options, and what ends it at which turn of the loop."""

    moods: Moods
    options: Options
    appids: tuple[str, ...]
    days: tuple[date, date]
    ending: str = ""
    turn: int = 0
    stormy: str | None = None
    clock_step: tuple[int, float] = (0, 0.0)
    last: bool = False


class WorldLoop(VirtualTimeLoop):
    """The loop of one run; tells of every jump in time, so that idleness is seen."""

    def __init__(self, start: float, order: Random, on_turn: Callable[[int], None]) -> None:
        self.on_jump: Callable[[float], None] = lambda seconds: None
        super().__init__(start, order=order, on_turn=on_turn)

    def _advance(self, seconds: float) -> None:
        if seconds > JUMP:
            self.on_jump(seconds)
        super()._advance(seconds)


class World:
    """``live`` gives what was broken; ``log`` is called with each thing that happens."""

    def __init__(self, seed: int, log: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self._draw = draw = Random(seed)
        self._log = log
        self._directory = Path(tempfile.mkdtemp(prefix="world-"))
        self._loop: WorldLoop | None = None
        some_day = f"2026-{draw.randint(1, 11):02}-{draw.randint(2, 28):02}"
        day = draw.choice((some_day, "2026-10-09"))  # the end of a week in which nobody posts
        hour = draw.choice((23.99, 23.9, 7.99, 7.9, 12.0, 0.01))  # mostly before midnight, or 08:00
        self._now = at(day, hour)
        choices = (STEADY[:1], STEADY[:1], STEADY, STEADY + GROWING, PAGED + GROWING)
        choice = draw.choice(choices)
        self._endpoints = tuple(draw.sample(choice, min(len(choice), draw.randint(1, 3))))
        self._simulator = Simulator(
            seed=seed,
            token_lifetime=draw.choice((7200.0, 7200.0, 700.0, 60.0)),
            daily_quota=draw.choice((None, None, 15, 60)),
            delay_until_hour=draw.choice((None, 9.5)),
            spans=draw.choice(({}, {}, {"getusersummary": 3, "getinterfacesummary": 7})),
            range_code=draw.choice((61501, 61500)),
            faults=Faults(neighbours=draw.choice((0.0, 0.0, 0.1))),
            wall=self._wall,
        )
        self._appids = tuple(f"wx{n:016x}" for n in range(draw.randint(1, 4)))
        self._begin = china(self._now).date() - timedelta(days=draw.randint(2, 25))
        self._kinds = draw.choice((("model",), ("jsonl",), ("jsonl",), ("model", "jsonl")))
        self._quota = draw.choice((None, None, 5, 15, 40))
        self._model = MemorySink("model")
        self._lateness = self._drawn_late()
        self._cuts = Random(f"cut {seed}")
        self._kept: defaultdict[str, set[Place]] = defaultdict(set)
        """What each sink had after the run before, of interfaces whose answers must not lack it."""
        self._forgetful = False  # the ledger may know fewer calls than were sent
        self._harmed = False  # a record was lost that WeChat is still to be asked for
        self._calls: Counter[tuple[str, date]] = Counter()
        """Those that the ledger must know."""
        self._sent: Counter[Key] = Counter()
        self.runs = self.crashes = self.rebuilt = 0
        # a new ledger cannot know which days of a longer window were empty
        single = all(each.span == 1 for each in self._endpoints)
        self._rebuilds = single and self._lateness is None

    def _drawn_late(self) -> Lateness | None:
        """When figures come, of a world in which some come late."""
        draw = Random(f"late {self.seed}")
        if draw.randrange(ONE_IN):
            return None
        self._endpoints = tuple(draw.sample(LATE, draw.choice((1, 1, 2))))
        self._appids = self._appids[:2]
        today = china(self._now).date()
        self._begin = today - timedelta(days=draw.randint(2, 16))
        born = self._begin + timedelta(days=draw.choice((0, 0, 1, 4, 9)))
        return Lateness(self.seed, min(born, today - timedelta(days=2)))

    # its life

    def live(self) -> list[str]:
        """Everything that was broken, each as a sentence; empty if all promises held."""
        random.seed(self.seed)  # the engine's own dice: how long a backoff takes
        try:
            for course in self._courses():
                if self.runs and self._lateness is None:
                    self._cut_anew()
                if self.runs and self._rebuilds and self._draw.random() < 0.2:
                    self._rebuild(harm=self._draw.random() < 0.5)
                broken = list(self._run(course))
                if broken:
                    return broken
                self._now += self._draw.choice((0.0, 0.0, 900.0, 20_000.0, 90_000.0))
            return []
        except HarvestError as exc:
            return [f"what is stored cannot be read after run {self.runs}: {exc}"]
        finally:
            shutil.rmtree(self._directory)

    def _courses(self) -> Iterator[Course]:
        draw = self._draw
        for _ in range(draw.randint(1, 4)):
            yield self._troubled()
        self._simulator.daily_quota = self._simulator.delay_until_hour = None
        self._now += RECHECK_INTERVAL  # so that what still grows is asked for again
        most = draw.randint(1, 16)
        if self._lateness is not None:
            yield from self._lives_on(most)
            return
        everybody = engine_options(rate="100/s", concurrency=most, wait=True)
        end = last_settled_day(self._now)
        yield Course(QUIET, everybody, self._appids, (self._begin, end), last=True)

    def _lives_on(self, most: int) -> Iterator[Course]:
        """Runs without faults until all that comes late has come, or is not asked for any more."""
        noon = at(f"{china(self._now).date()}", 12)
        grows = any(endpoint.name in LISTS for endpoint in self._endpoints)
        on = (*LIVES_ON, *((45, 60, 61, 62) if grows else (34, 35)))
        again = self._draw.choice((0, 2, 5, 13))
        days = self._begin, last_settled_day(noon + DAY)
        for number in on:
            self._now = noon + number * DAY
            options = engine_options(rate="100/s", concurrency=most, refresh=number == again)
            yield Course(QUIET, options, self._appids, days, last=number == on[-1])

    def _troubled(self) -> Course:
        draw = self._draw
        here = tuple(draw.sample(self._appids, draw.randint(1, len(self._appids))))
        yesterday = china(self._now).date() - timedelta(days=1)
        first = self._begin + timedelta(days=draw.choice((0, 0, 1, 5)))
        end = max(first, yesterday - timedelta(days=draw.choice((0, 0, 0, 1, 3))))
        options = engine_options(
            rate=draw.choice(("1/s", "5/s", "100/s", "30/min", "7/s")),
            concurrency=draw.choice((1, 2, 3, 8, 32)),
            attempts=draw.randint(2, 8),
            daily_quota=self._quota,
            wait=draw.random() < 0.4,
            refresh=draw.random() < 0.25,
            order=draw.choice(("newest", "newest", "oldest")),
            ask_quota=draw.random() < 0.1,
            burst=draw.choice((1, 1, 1, 4)),
        )
        ending = draw.choice(
            ("", "", "stop", "cancel", "cancel twice", "crash", "crash written", "crash settled")
        )
        steps = draw.random() < 0.1
        return Course(
            Moods.drawn(draw),
            options,
            here,
            (first, end),
            ending,
            int(10 ** draw.uniform(0.3, 3.5)),
            draw.choice(here) if draw.random() < 0.15 else None,
            (draw.randint(1, 800), draw.uniform(-7200, 7200)) if steps else (0, 0.0),
        )

    def _cut_anew(self) -> None:
        """From now on the windows of some interfaces have another length."""
        draw = self._cuts
        self._endpoints = tuple(
            replace(each, span=draw.randint(2, INTERFACES[each.name].span))
            if each.span > 1 and draw.random() < CUT_ANEW
            else each
            for each in self._endpoints
        )

    def _wall(self) -> float:
        return self._now if self._loop is None else self._loop.wall()

    def _say(self, text: str) -> None:
        if self._log is not None:
            moment = china(self._wall()).strftime("%m-%d %H:%M:%S.%f")[:-3]
            self._log(f"{moment} turn {self._loop.turns if self._loop else 0}: {text}")

    # its ledger is made anew

    def _rebuild(self, *, harm: bool) -> None:
        """Make a new ledger, in place of one that is lost or whole.

        harm: a record goes before that, where the other sink or the former ledger shows it.
        """
        path = self._directory / FILE_NAME
        # what is asked for again since a record is gone, only the former ledger shows
        lost = self._draw.random() < 0.5 and not self._harmed
        if not path.exists():
            return
        calendars, _ = run_virtual(lambda _: _read(path, ""))
        if not (calendars or self._model._batches):  # no run has made the sinks
            return
        if lost:
            for beside in ("", "-wal", "-shm"):
                path.with_name(path.name + beside).unlink(missing_ok=True)
        if harm and "model" in self._kinds and (not lost or len(self._kinds) > 1):
            self._harm(calendars)
        sinks = [self._model if isinstance(each, ModelSink) else each for each in self.sinks()]
        found = run_virtual(lambda _: rebuild(path, sinks, INTERFACES.get, self._now))
        self._say(f"rebuilt, {'lost' if lost else 'not lost'}: {found}")
        self.rebuilt += 1
        self._forgetful = True  # the calls of today are lost

    def _harm(self, calendars: Mapping[Key, Calendar]) -> None:
        """One record of the model is gone, of a window that the ledger and the other sink have."""
        full = [
            each
            for each in self._model._batches.values()
            if each.count > 1 and _has(calendars, each.window)
        ]
        if full:
            self._harmed = True
            each = self._draw.choice(full)
            left = Batch(each.window, each.records[1:], each.fetched_at, version=each.version)
            self._model._batches[each.window] = left
            self._say(f"a record of {each.window} is gone")

    # one run

    def _run(self, course: Course) -> Iterator[str]:
        self.runs += 1
        self._say(f"run {self.runs}: {course}")
        self._forgetful |= bool(course.clock_step[0])
        self._forgetful |= course.moods.ledger_fails > 0 or course.moods.sink_fails > 0
        living = Living(self, course)
        report = living.run()
        self._say(f"ended: {report.to_dict() if report else living.ending}")
        yield from living.broken
        yield from self._after(course, living, report)

    def _after(self, course: Course, living: Living, report: Report | None) -> Iterator[str]:
        traffic = living.network.traffic
        yield from promises.rate_kept(traffic, Rate.parse(course.options.rate))
        yield from promises.tokens_kept(traffic, living.loop.time(), self._simulator.token_lifetime)
        if traffic.most_in_flight > course.options.concurrency:
            yield f"{traffic.most_in_flight} in flight, {course.options.concurrency} allowed"
        yield from self._counted(course, living)
        if report is not None and report.state not in ("interrupted", "failed"):
            yield from promises.report_adds_up(report)
        right = ("complete",) if course.last else ("complete", "waiting")
        if course.moods is QUIET and (report is None or report.state not in right):
            yield f"the quiet run ended {report.to_dict() if report else living.ending}"
        yield from self._stored_after(course, report)

    def _stored_after(self, course: Course, report: Report | None) -> Iterator[str]:
        """What is promised of what is stored."""
        everywhere = []
        for name, calendars, stored in self._stored():
            everywhere.append(stored)
            grown = self._lateness is not None and course.moods is not QUIET
            for sentence in promises.ledger_is_true(calendars, stored, grown=grown):
                yield f"{name}: {sentence}"
            if course.last:
                windows = self._windows(course)
                yield from promises.all_covered(calendars, windows)
                if self._lateness is None:
                    yield from promises.as_wechat_has_it(stored, windows, self._truth)
            if self._lateness is not None:
                yield from self._late_kept(course, report, name, calendars, stored)
        if report is not None and report.state == "complete":
            yield from promises.sinks_agree(everywhere, self._windows(course))
        if self._lateness is not None and self._kept:
            self._lateness.stored = set.intersection(*self._kept.values())

    def _late_kept(
        self,
        course: Course,
        report: Report | None,
        name: str,
        calendars: dict[Key, Calendar],
        stored: dict[Key, list[StoredWindow]],
    ) -> Iterator[str]:
        """What is promised of a world whose figures come late, of a sink."""
        lateness = self._lateness
        assert lateness is not None
        there = promises.in_pieces((appid, each.records(), self._named(endpoint))
                                   for (appid, endpoint), found in stored.items()
                                   for each in found)  # fmt: skip
        for sentence in promises.nothing_gone(self._kept[name], there):
            yield f"{name}: {sentence}"
        self._kept[name] = promises.known(there, calendars, stored)
        if report is not None and report.state == "complete" and not course.clock_step[0]:
            yield from promises.none_is_young(self._wanted(course, lateness), there, self._now)
        if course.moods is QUIET:
            yield from promises.rows_are_final(there, calendars)
        if course.last:
            wanted = self._wanted(course, lateness)
            yield from promises.all_that_came(wanted, there, calendars, lateness)
            if report is not None and report.requests:
                yield f"{report.requests} requests were sent, and nothing was left to ask for"
            yield from promises.nothing_open(calendars)

    def _wanted(self, course: Course, lateness: Lateness) -> dict[Place, list[str]]:
        """What WeChat has of what was asked for, or will have."""
        there = promises.in_pieces((appid, self._truth((appid, each.name), *course.days), each)
                                   for appid in course.appids
                                   for each in self._endpoints)  # fmt: skip
        return {place: text for place, text in there.items() if lateness.exists(place)}

    def _named(self, name: str) -> Endpoint:
        return next(each for each in self._endpoints if each.name == name)

    def _counted(self, course: Course, living: Living) -> Iterator[str]:
        """What was sent, and what the ledger knows of it."""
        traffic = living.network.traffic
        if not self._forgetful:
            today = {key: self._calls[key] + len(calls) for key, calls in traffic.calls.items()}
            yield from promises.budget_kept(today, course.options.daily_quota)
            yield from promises.hour_kept(traffic)
        # a crash costs the calls of the last second
        until = living.loop.time() - (BOOK_EVERY + 0.1 if living.ending == "crashed" else 0.0)
        for key, calls in traffic.calls.items():
            self._calls[key] += sum(call.sent <= until for call in calls)
            self._sent[self._key(key[0])] += len(calls)
        if not self._forgetful and (self._directory / FILE_NAME).exists():
            day = quota_day(self._now)
            spent = run_virtual(lambda _: _spent(self._directory / FILE_NAME, day))
            must = Counter[Key]()
            for (name, on), number in self._calls.items():
                if on == day and "/cgi-bin/" not in name:
                    must[self._key(name)] = number
            yield from promises.calls_known(spent, must, self._sent)

    def _key(self, name: str) -> Key:
        """The account and the interface of what `Traffic` counts."""
        appid, path = name.split()
        names = {endpoint.path: endpoint.name for endpoint in self._endpoints}
        return appid, names.get(path, path)

    def _windows(self, course: Course) -> dict[tuple[str, str], list[Days]]:
        """What was asked for."""
        found = {}
        for endpoint in self._endpoints:
            begin, end = max(course.days[0], endpoint.first_day), course.days[1]
            windows = list(grid(endpoint, end).windows(begin, end))
            found.update({(appid, endpoint.name): windows for appid in course.appids})
        return found

    def _truth(self, key: tuple[str, str], begin: date, end: date) -> list[dict[str, Any]]:
        appid, name = key
        return self._simulator.truth_of(name, appid, begin, end)

    def _stored(
        self,
    ) -> Iterator[tuple[str, dict[Key, Calendar], dict[Key, list[StoredWindow]]]]:
        """Each sink: its name, what the ledger says, and what stands there."""
        path = self._directory / FILE_NAME
        if not path.exists():
            return
        for sink in self.sinks():
            name = name_in(sink, path)
            calendars, checkpoint = run_virtual(lambda _, name=name: _read(path, name))
            stored: defaultdict[Key, list[StoredWindow]] = defaultdict(list)
            scanned: Any = sink
            for endpoint in scanned.endpoints(checkpoint):
                for each in scanned.scan(endpoint, None, checkpoint):
                    records = each.records()
                    kept = each._replace(records=lambda records=records: records)
                    stored[each.window.appid, endpoint].append(kept)
            yield name, calendars, dict(stored)

    # what a run is made of

    def sinks(self) -> list[Sink]:
        """Fresh sinks over the disks of this world."""
        return [
            ModelSink(self._model)
            if kind == "model"
            else JsonLines(self._directory, journal_bytes=4096)
            for kind in self._kinds
        ]

    def engine(self, course: Course, living: Living) -> Engine:
        """The real engine, with this world outside it."""
        draw = Random(self._draw.random())
        ledger = MoodyLedger(self._directory / FILE_NAME, draw, course.moods, living.between)
        sinks = self.sinks()
        living.opened = [ledger, *sinks]
        return Engine(
            scope(*course.days, course.appids, self._endpoints),
            course.options,
            living.network,
            [MoodySink(sink, draw, course.moods) if draw.random() < 0.7 else sink
             for sink in sinks],
            ledger,
            on_event=living.observe,
            stop=living.stop,
            group=draw.choice((1, 2, 8, 512)),
            wall=self._wall,
        )  # fmt: skip

    def begin(self, course: Course, on_turn: Callable[[int], None]) -> tuple[WorldLoop, Network]:
        """The loop and the network of a run."""
        draw = Random(self._draw.random())
        self._loop = WorldLoop(self._now, Random(draw.random()), on_turn)
        network = Network(
            self._simulator, draw, course.moods, course.stormy, self._say, self._lateness
        )
        return self._loop, network

    def end(self) -> None:
        """The run is over; time stands still until the next."""
        self._now = self._wall()
        self._loop = None


class Living:
    """One run while it lives."""

    def __init__(self, world: World, course: Course) -> None:
        self.world = world
        self.course = course
        self.broken: list[str] = []
        self.ending = "by itself"
        self.opened: list[Any] = []
        self._crash_at = 0
        self._idle = 0.0  # seconds for which an account could have sent something
        self._clock_set = -math.inf  # the loop's time at which the wall clock was set
        self.stop = asyncio.Event()
        self.loop, self.network = world.begin(course, self._on_turn)
        self._engine: Engine | None = None
        self._main: asyncio.Task[Report] | None = None
        self.loop.on_jump = self._on_jump

    def run(self) -> Report | None:
        """Run to whatever end it has."""
        loop = self.loop
        asyncio.set_event_loop(None)
        loop.set_exception_handler(self._on_loop_error)
        self._main = loop.create_task(self._live())
        try:
            return loop.run_until_complete(self._main)
        except CrashError:
            self.ending = "crashed"
        except asyncio.CancelledError:
            self.ending = "cancelled"
        except HarvestError as exc:
            self.ending = f"{type(exc).__name__}: {exc}"
        except Exception:  # noqa: BLE001  (whatever it is, it should not have come out)
            self.broken.append(traceback.format_exc())
        finally:
            if self.ending == "crashed":  # not while the error is handled: it holds the tasks
                self._forget()
            else:
                self._look_around()
            loop.close()
            self.world.end()
        return None

    async def _live(self) -> Report:
        self._engine = engine = self.world.engine(self.course, self)
        async with engine:
            return await engine.run()

    def observe(self, event: Event) -> None:
        """An event of the engine."""
        if not isinstance(event, Stalled) and not (
            isinstance(event, Notice) and event.code == "Unreachable"
        ):
            self.network.traffic.last_turn = self.loop.turns
        self.world._say(str(event))

    def _on_turn(self, turn: int) -> None:
        course = self.course
        if turn - self.network.traffic.last_turn > MOST_TURNS:
            self.broken.append(f"it does not end: {self._engine!r}")
            raise CrashError
        if turn == course.clock_step[0]:
            self.loop.set_wall(self.loop.wall() + course.clock_step[1])
            self._clock_set = self.loop.time()
        if turn == self._crash_at:
            raise CrashError
        if course.ending in ("crash written", "crash settled"):
            return
        if turn == course.turn or (turn == course.turn + 3 and course.ending == "cancel twice"):
            self.world._say(course.ending)
            if course.ending == "crash":
                raise CrashError
            if course.ending == "stop":
                self.stop.set()
            elif course.ending and self._main is not None:
                self._main.cancel()

    async def between(self, what: str) -> None:
        """The sinks have written, or settled, and the ledger has not: some runs end there."""
        if self.course.ending == f"crash {what}" and self.loop.turns >= self.course.turn:
            self.world._say(self.course.ending)
            self._crash_at = self.loop.turns + 1
            while True:
                await asyncio.sleep(0)

    def _on_jump(self, seconds: float) -> None:
        """Time passes: then nothing may be possible that could be done now.

        That the wall clock was set is noticed only at the next check of the wait for a time of day.
        """
        able = "" if self.loop.time() - self._clock_set <= RECHECK else self._able()
        self._idle = self._idle + seconds if able else 0.0
        if self._idle > IDLE:
            self.broken.append(
                f"nothing is done for {self._idle:.1f} s, though {able} could: {self._engine!r}"
            )

    def _able(self) -> str:
        """An account that could send something now; empty if there is none."""
        engine, now = self._engine, self.loop.time()
        if engine is None or self.network.traffic.in_flight >= self.course.options.concurrency:
            return ""
        channel, network = engine._writer.channel, engine._worker._network
        scheduler = engine._worker.scheduler
        if scheduler._stopped or channel._putters or channel._items:
            return ""
        if scheduler._active >= scheduler._most:  # a reader that takes them one by one is behind
            return ""
        if network.lost_since is not None or network._turn.locked():
            return ""  # workers wait until somebody answers
        for account in engine._plan.accounts:
            if account.turn.open and account.next_at(now, self.loop.wall()) <= now:
                return repr(account)
        return ""

    def _forget(self) -> None:
        """Nothing of the process is left: no callback runs any more, its locks are gone."""
        self.world.crashes += 1
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        for each in self.opened:
            if isinstance(each, SqliteLedger):
                each._sound = False  # what closing stores is not stored
                each._close()
            elif isinstance(each, JsonLines):
                _let_go(each)
        try:
            self._main = self._engine = None
            self.loop.set_exception_handler(lambda *_: None)
            self._say_nothing_of_tasks()
            self.loop._ready.clear()  # type: ignore[attr-defined]
            self.loop._scheduled.clear()  # type: ignore[attr-defined]
            gc.collect()
        finally:
            sys.unraisablehook = hook

    def _say_nothing_of_tasks(self) -> None:
        """In a function of its own: a variable that held the last task would keep it."""
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def _look_around(self) -> None:
        """Nothing is left behind."""
        left = asyncio.all_tasks(self.loop)
        if left:
            self.broken.append(f"{len(left)} tasks are left: {left}")
            for task in left:
                task.cancel()
        for each in self.opened:
            if "open>" in repr(each) or getattr(each, "opened", False):
                self.broken.append(f"{each!r} is left open")
            if getattr(each, "_thread", None) is not None:
                self.broken.append(f"a thread of {each!r} is left")

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.broken.append(f"the loop complains: {context}")


def live(seed: int, log: Callable[[str], None] | None = None) -> Life:
    """Live one world."""
    world = World(seed, log)
    broken = world.live()
    happened = Counter(runs=world.runs, crashes=world.crashes, rebuilt=world.rebuilt)
    return Life(seed, happened, broken)


def _let_go(sink: JsonLines) -> None:
    """Close what a process has open when it dies."""
    sink._home.unlock()


async def _spent(path: Path, day: date) -> Counter[Key]:
    """The calls of a day, and of the one before: those just after midnight count as its."""
    async with SqliteLedger(path, readonly=True) as ledger:
        return Counter(await ledger.spent(day)) + Counter(
            await ledger.spent(day - timedelta(days=1))
        )


async def _read(path: Path, sink: str) -> tuple[dict[Key, Calendar], dict[str, str]]:
    async with SqliteLedger(path, readonly=True) as ledger:
        return await ledger.calendars(await ledger.accounts()), await ledger.checkpoint(sink)


def _has(calendars: Mapping[Key, Calendar], window: Window) -> bool:
    """Whether a ledger has a window as stored."""
    appid, name, *days = window
    calendar = calendars.get((appid, name), Calendar())
    return [*calendar.runs(*days, STORED)] == [tuple(days)]
