"""Faults that the simulated runs must find: each is planted in a copy of the package.

Rule: a fault is a piece of the current code and its replacement; one that no longer matches the
code is an error, not a pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import harvester

ROOT = Path(__file__).resolve().parents[3]


class Planted(NamedTuple):
    """world: the number of one that finds the fault; it is tried before the others."""

    name: str
    file: str
    code: str
    fault: str
    world: int = 0


FAULTS = (
    Planted(
        "the ledger commits before the sink writes",
        "engine/writer.py",
        "        checkpoints, refused = await self._write([part.batch for part in parts]",
        "        if self.ledger is not None:\n"
        "            outcomes = [*left, *[part.outcome for part in parts]]\n"
        "            await self.ledger.commit(outcomes, {}, self._calls())\n"
        "            left = parts = []\n"
        "        checkpoints, refused = await self._write([part.batch for part in parts]",
    ),
    Planted(
        "requests that already have a grant ignore a pause",
        "engine/limiter.py",
        "            self._paused_until <= now\n            and (len",
        "            (self._paused_until <= now or len(departures) > 0)\n            and (len",
    ),
    Planted(
        "the gate is disabled: only the bucket sets the pace",
        "engine/limiter.py",
        "departures[0][0] <= now - self._gap)",
        "True)",
    ),
    Planted(
        "a refused token is dropped without comparing it with the current one",
        "tokens/shared.py",
        "        if late:\n            return False\n",
        "",
        world=247,
    ),
    Planted(
        "a window that waits for a retry occupies its slot",
        "engine/worker.py",
        "                self._again(account, queue, decision)\n",
        "                await asyncio.sleep(decision.delay)\n"
        "                queue.again(decision.attempt, _now())\n",
        world=4,
    ),
    Planted(
        "a worker that takes an item wakes no other worker for the next one",
        "engine/scheduler.py",
        "                if self._ready:\n                    self._wake_worker()\n"
        "                elif ",
        "                if ",
    ),
    Planted(
        "the timer is not set when the last account that is ready is full",
        "engine/scheduler.py",
        "                elif self._timed.first < self._timed.at:\n"
        "                    self._arm()\n",
        "",
        world=69,
    ),
    Planted(
        "the timer of the accounts is not set again after it fired",
        "engine/scheduler.py",
        "        else:\n            self._arm()\n",
        "",
    ),
    Planted(
        "emptying a full channel wakes no waiting task",
        "engine/channel.py",
        "            if not room.done():\n                room.set_result(None)\n",
        "            if room.done():\n                room.set_result(None)\n",
    ),
    Planted(
        "a cancelled caller does not wait for the disk",
        "base/threads.py",
        "                    cancelled = exc\n",
        "                    raise\n",
        world=17,
    ),
    Planted(
        "a failed window stays in flight forever",
        "engine/worker.py",
        "        queue.settled()\n        if queue.trying:",
        "        if decision.action is not Action.FAIL_WINDOW:\n            queue.settled()\n"
        "        if queue.trying:",
    ),
    Planted(
        "a waiting window is reported as done",
        "engine/worker.py",
        'state = "failed" if until is None else "waiting"',
        'state = "failed" if until is None else "final"',
    ),
    Planted(
        "a file that a crash left without a checkpoint is kept",
        "sinks/jsonl/sink.py",
        "            if name not in self._extents and self._home.is_ours(name):\n",
        "            if False:\n",
        world=14,
    ),
    Planted(
        "the checkpoint of a write is not stored",
        "engine/writer.py",
        "                checkpoints[name] = written.checkpoint\n",
        "                checkpoints[name] = {}\n",
    ),
    Planted(
        "a replaced window is not removed",
        "sinks/jsonl/merge.py",
        "            for found in filter(stays, source.windows() if source else ()):\n",
        "            for found in source.windows() if source else ():\n",
    ),
    Planted(
        "the ledger learns nothing of what a merge has rewritten",
        "sinks/jsonl/sink.py",
        "_NUMBER: str(state.number), **self._report()}\n",
        "_NUMBER: str(state.number)}\n",
    ),
    Planted(
        "a merge of which the ledger does not know is not recognised",
        "sinks/jsonl/sink.py",
        "(known.number + 1, total):\n            return True\n",
        "(known.number + 1, total):\n            return False\n",
        world=4,
    ),
    Planted(
        "a sink is finished while the ledger lacks a write",
        "engine/writer.py",
        "        if not self._unsettled:\n",
        "        if True:\n",
        world=75,
    ),
    Planted(
        "a sum counts an open window",
        "ledger/coverage.py",
        "            self._fill(begin, end, OPEN)\n            self.windows[begin]",
        "            self._fill(begin, end, OPEN)\n"
        "            known = self.sums.get(begin.year, Tally())\n"
        "            self.sums[begin.year] = None if known is None else known.plus(outcome.tally)\n"
        "            self.windows[begin]",
    ),
    Planted(
        "the tally of an open window is that of the previous run",
        "ledger/coverage.py",
        "            self._clear(begin, end)\n"
        "            self._fill(begin, end, OPEN)\n"
        "            self.windows[begin] =",
        "            former = self.windows.get(begin)\n"
        "            self._clear(begin, end)\n"
        "            self._fill(begin, end, OPEN)\n"
        "            if former and former.stored:\n"
        "                outcome = outcome._replace(tally=former.tally)\n"
        "            self.windows[begin] =",
    ),
    Planted(
        "an open window is kept beside one that overlaps it",
        "ledger/coverage.py",
        "if each.begin <= end and begin <= each.end\n",
        "if each.begin == begin and each.end == end\n",
    ),
    Planted(
        "a failure marks the days of an open window as failed",
        "ledger/coverage.py",
        "bytes([MISSING, WAITING, FAILED])",
        "bytes([MISSING, WAITING, FAILED, OPEN])",
        world=4,
    ),
    Planted(
        "a refreshed window is counted twice",
        "engine/refresh.py",
        "found[year] = kept if exact or not kept.records else None",
        "found[year] = known",
        world=4,
    ),
    Planted(
        "a window whose figures can still change is not requested again",
        "engine/planner.py",
        "        if early or not wall < window.due <= wall + _longest_hold(window):\n",
        "        if early or not window.due:\n",
    ),
    Planted(
        "an open window is also requested as missing days",
        "engine/planner.py",
        "calendar.runs(begin, end, STORED)",
        "calendar.runs(begin, end, STORED[:2])",
    ),
    Planted(
        "the journal is merged twice",
        "ledger/sqlite_tables.py",
        '    tables.run("DELETE FROM journal")\n',
        '    tables.run("DELETE FROM journal WHERE number > 1")\n',
    ),
    Planted(
        "a retry is not counted against the budget",
        "engine/window_queue.py",
        "            budget.spend()\n",
        "            if not attempt.failures:\n                budget.spend()\n",
    ),
    Planted(
        "calls are recorded with the next commit only",
        "engine/writer.py",
        "            self.sent.clear()\n            await self.book()\n",
        "            self.sent.clear()\n",
        world=16,
    ),
    Planted(
        "a call whose connection was never opened is counted",
        "engine/attempt.py",
        "                queue.unsent()\n",
        "                pass\n",
    ),
    Planted(
        "a used-up quota gets one call after the other",
        "engine/worker.py",
        "            self._pause(queue, self._wall() + QUOTA_AGAIN, decision.reason)\n",
        "            pass\n",
        world=72,
    ),
    Planted(
        "a token leaves without the rate of its account",
        "engine/attempt.py",
        "        await limiter.acquire()\n",
        "",
    ),
    Planted(
        "a request that failed in an outage is lost",
        "engine/worker.py",
        "        if not reason:\n            queue.again(attempt, _now())\n",
        "        if not reason:\n            pass\n",
    ),
    Planted(
        "a lost network is probed once",
        "engine/network.py",
        "            if self.lost_since is not None and not self._stopped.is_set():\n"
        "                await self._probe()\n",
        "",
        world=55,
    ),
    Planted(
        "the days of a window that was too long are lost but the first",
        "engine/window_queue.py",
        "        self._first += reversed(others)\n",
        "",
    ),
    Planted(
        "the day begins at midnight in Greenwich",
        "base/dates.py",
        "DAY, _AHEAD = 86_400.0, 28_800.0\n",
        "DAY, _AHEAD = 86_400.0, 0.0\n",
        world=4,
    ),
    Planted(
        "a window that returns to a stopped interface is lost",
        "engine/worker.py",
        "in the meantime\n"
        "                await self._leave(queue, [attempt.days], queue.stopped)\n",
        "in the meantime\n                pass\n",
        world=15,
    ),
    Planted(
        "the ledger is left open when the run is cancelled",
        "engine/run.py",
        "                await self._stack.__aexit__(kind, exc, trace)\n",
        "                if kind is not asyncio.CancelledError:\n"
        "                    await self._stack.__aexit__(kind, exc, trace)\n",
    ),
    Planted(
        "the empty days of merged windows overlap",
        "ledger/encoding.py",
        "                    bits |= int(empty, 16) << (first - begin)\n",
        "                    bits |= int(empty, 16)\n",
        world=39,
    ),
    Planted(
        "a day without a row is not asked for again if it is old",
        "engine/planner.py",
        "    if delivery(endpoint) is not Delivery.DAILY or not calendar.years:\n",
        "    if calendar is not None:\n",
        world=138,
    ),
    Planted(
        "an answer replaces what an earlier one had",
        "engine/attempt.py",
        "        if not _lacks(endpoint, attempt, records):\n",
        "        if endpoint is not None:\n",
        world=39,
    ),
    Planted(
        "what is late is asked for once",
        "engine/parts.py",
        "        if due is None:\n            empty = part.empty or",
        "        if due is None or self._tries:\n            empty = part.empty or",
    ),
    Planted(
        "the window before the first row is asked for in every run",
        "engine/planner.py",
        "        expected = not window.fetched_at or bool(window.tries)\n",
        "        expected = bool(window.tries)\n",
        world=84,
    ),
    Planted(
        "the good days around one without a row are late with it",
        "engine/parts.py",
        "    if not apart or apart == all_days(window):\n"
        "        return [answer.part(days, records, empty)]\n",
        "    if apart and endpoint.name == 'getusercumulate':\n"
        "        whole = Part(days, records, empty=empty)\n"
        "        return [answer._without_rows(whole, behind_a_row=True)]\n"
        "    if not apart or apart == all_days(window):\n"
        "        return [answer.part(days, records, empty)]\n",
        world=54,
    ),
    Planted(
        "a run is complete without yesterday's row",
        "engine/parts.py",
        "        waits = self._waits(part.days)\n",
        "        waits = False\n",
        world=50,
    ),
    Planted(
        "an empty day that may have figures later is final at once",
        "engine/parts.py",
        "            due = self._next(EMPTY_AGAIN, due_at(endpoint, days[1]), AT_LEAST)\n",
        "            due = None\n",
        world=14,
    ),
)


def faulty(fault: Planted, package: Path) -> tuple[Path, str]:
    """The file in which the fault is, and its text with it; `LookupError` if it does not fit."""
    path = package / fault.file
    code = path.read_text(encoding="utf-8")
    if code.count(fault.code) != 1:
        raise LookupError(f"{fault.name}: {fault.file} has it {code.count(fault.code)} times")
    text = code.replace(fault.code, fault.fault)
    compile(text, fault.file, "exec")
    return path, text


@contextmanager
def copied() -> Iterator[Path]:
    """A directory with a copy of package and tests, compiled."""
    with tempfile.TemporaryDirectory() as made:
        package = Path(harvester.__file__).parent  # the one that is tested, installed or not
        for source in (package, ROOT / "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, Path(made, source.name), ignore=ignored)
        compiled = [sys.executable, "-m", "compileall", "-q", "-j", "0", "harvester", "tests/chaos"]
        subprocess.run(compiled, cwd=made, env=_environment(made), check=True)
        yield Path(made)


def hunt(fault: Planted, copy: Path, worlds: int) -> str:
    """The seed of the world that found it; empty if none did."""
    path, text = faulty(fault, copy / "harvester")
    sound = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    try:
        found = _found(copy, fault.world, 1) if fault.world else ""
        return found or _found(copy, 0, worlds)
    finally:
        path.write_text(sound, encoding="utf-8")


def _found(copy: Path, first: int, worlds: int) -> str:
    numbers = f"--first {first} --worlds {worlds} --jobs 1 --most 1"
    found = subprocess.run(
        [sys.executable, "-m", "tests.chaos.worlds", *numbers.split()],
        cwd=copy,
        env={**_environment(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    line = found.stdout.partition("python -m tests.chaos.worlds --seed ")[2]
    if found.returncode and not line:
        raise RuntimeError(f"the worlds ended with an error:\n{found.stderr}")
    return line.partition(" ")[0]


def _environment(directory: Path | str) -> dict[str, str]:
    """That of a process which runs the copy, with the bytecode that is in it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}
    return {**kept, "PYTHONPATH": str(directory)}
