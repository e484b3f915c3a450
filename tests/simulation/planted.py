"""Faults that the worlds must find: each is planted in a copy of the package, and hunted there.

Rule: a fault is a piece of the code as it stands and what it is exchanged for; one that no longer
fits the code is an error, not a pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import harvester

ROOT = Path(__file__).resolve().parents[2]


class Planted(NamedTuple):
    """A fault.  within: so many worlds at the most until one is broken."""

    name: str
    file: str
    code: str
    fault: str
    within: int = 400


PLANTED = (
    Planted(
        "the ledger commits before the sink writes",
        "committer.py",
        "            written = await _of(name, sink.write(batches)) if batches else Written({})\n",
        "            if self.ledger is not None:\n"
        "                await self.ledger.commit(\n"
        "                    [Entry(name, others, {}, {}, harvested=bare)], self._spent()\n"
        "                )\n"
        "            written = await _of(name, sink.write(batches)) if batches else Written({})\n",
    ),
    Planted(
        "a pause is forgotten by those who hold a grant already",
        "limiter.py",
        "            self._paused_until <= now\n            and len",
        "            (self._paused_until <= now or len(departures) > 0)\n            and len",
    ),
    Planted(
        "the gate is open: only the bucket paces",
        "limiter.py",
        "            and len(departures) < self.rate.requests\n",
        "",
    ),
    Planted(
        "a refused token is dropped without a look at the current one",
        "auth.py",
        "        if late:\n            return False\n",
        "",
    ),
    Planted(
        "a window that is tried again holds its slot meanwhile",
        "engine.py",
        "        track.again(attempt, _now() + again.delay)\n",
        "        await anyio.sleep(again.delay)\n        track.again(attempt, _now())\n",
    ),
    Planted(
        "whoever takes a job wakes nobody for the next",
        "board.py",
        "                    elif self._ready:\n                        self._wake_worker()\n",
        "",
    ),
    Planted(
        "the timer of the lanes is not set again after it rang",
        "board.py",
        "        else:\n            self._arm(self._running())\n",
        "",
    ),
    Planted(
        "a full channel that was emptied wakes nobody",
        "channel.py",
        "            if not room.done():\n                room.set_result(None)\n",
        "            if room.done():\n                room.set_result(None)\n",
    ),
    Planted(
        "a cancelled caller does not wait for the disk",
        "thread.py",
        "                    cancelled = exc\n",
        "                    raise\n",
    ),
    Planted(
        "what failed is in flight for ever",
        "engine.py",
        "        finally:\n            track.in_flight -= 1\n",
        "        else:\n            track.in_flight -= 1\n",
    ),
    Planted(
        "what waits is called done",
        "engine.py",
        "state, detail = coverage.WAITING,",
        "state, detail = coverage.DONE,",
    ),
    Planted(
        "what a crash left beyond the receipt stays",
        "sinks/store.py",
        '                    durable.truncate(file.fileno(), mark.size, "segment")\n',
        '                    durable.sync(file.fileno(), "segment")\n',
    ),
    Planted(
        "a replaced window stays beside its successor",
        "sinks/jsonl.py",
        "                if window is not None:\n                    dropped += 1\n",
        "                if window is not None and len(windows) > 1:\n"
        "                    dropped += 1\n",
    ),
    Planted(
        "the figures of what was replaced are counted twice",
        "ledger/commits.py",
        "        if former is not None and rows.counted(database, entry.sink, window):\n",
        "        if former is None and rows.counted(database, entry.sink, window):\n",
    ),
    Planted(
        "the sink is not told that its receipt is stored",
        "committer.py",
        "        for name, sink in self.sinks:\n            await _of(name, sink.settle())\n",
        "",
    ),
    Planted(
        "a call that is tried again costs no budget",
        "lane.py",
        "        if budget.limited:\n            budget.spend()\n",
        "        if budget.limited and not attempt.failures:\n            budget.spend()\n",
    ),
    Planted(
        "calls are not kept for the next run",
        "ledger/commits.py",
        "SET calls = calls + excluded.calls",
        "SET calls = excluded.calls",
    ),
    Planted(
        "calls are sent that were not booked",
        "engine.py",
        "                Spent(track.appid, track.endpoint.name, quota_day(wall), lot)\n",
        "                Spent(track.appid, track.endpoint.name, quota_day(wall), 0)\n",
    ),
    Planted(
        "the day begins at midnight in Greenwich",
        "plan.py",
        "    return datetime.combine(china(now).date() + ONE_DAY, time(0), CHINA).timestamp()\n",
        "    return (now // 86400 + 1) * 86400\n",
    ),
    Planted(
        "a window that comes back to an interface that is over is lost",
        "engine.py",
        "in the meantime\n"
        "            await self._leave(track, [_days(again.attempt)], track.fate)\n",
        "in the meantime\n",
    ),
    Planted(
        "the ledger is left open when the run is cancelled",
        "engine.py",
        "            await self._stack.__aexit__(kind, exc, trace)\n",
        "            if kind is not asyncio.CancelledError:\n"
        "                await self._stack.__aexit__(kind, exc, trace)\n",
    ),
    Planted(
        "two empty days in a row are one",
        "coverage.py",
        "                empty |= stretch.empty << (stretch.begin - begin).days\n",
        "                empty |= stretch.empty\n",
    ),
)


def plant(fault: Planted, directory: Path) -> None:
    """A copy of package and tests with the fault in it; `LookupError` if it does not fit."""
    package = Path(harvester.__file__).parent  # the one that is tested, installed or not
    for source in (package, ROOT / "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, directory / source.name, ignore=ignored)
    path = directory / "harvester" / fault.file
    code = path.read_text(encoding="utf-8")
    if code.count(fault.code) != 1:
        raise LookupError(f"{fault.name}: {fault.file} has it {code.count(fault.code)} times")
    path.write_text(code.replace(fault.code, fault.fault), encoding="utf-8")


def hunt(fault: Planted, jobs: int) -> str:
    """The line that tells which world found it; empty if none did."""
    with tempfile.TemporaryDirectory() as made:
        plant(fault, Path(made))
        command = [sys.executable, "-m", "tests.simulation", "--worlds", str(fault.within)]
        found = subprocess.run(
            [*command, "--jobs", str(jobs), "--most", "1"],
            cwd=made,
            env={**os.environ, "PYTHONPATH": made},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in found.stdout.splitlines() if "--seed" in line]
        return lines[0] if lines and found.returncode == 1 else ""
