"""Measure a daily run that replaces the last weeks of a sink of JSON lines.

The windows of all accounts and interfaces are stored first, the newest day first, as a run does it.
Then a run fetches those of the last days again.  Beside it the same windows are written into an
empty directory, which is the least that they can take.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figure
from harvester.config import plugins
from harvester.engine.writer import GROUP
from harvester.model import Batch, Window

LAST = date(2024, 6, 14)
PROVISIONAL = 30
SPECS = {"jsonl": "jsonl:{}", "gzip": "jsonl:{}?compress=gzip", "zstd": "jsonl:{}?compress=zstd"}
RATIO = 6.0
"""CPU of the daily run ÷ that of writing its windows into an empty directory."""


class Size(NamedTuple):
    """How much is stored."""

    accounts: int
    interfaces: int
    days: int


SMALL, FULL = Size(20, 4, 365), Size(200, 10, 900)


class Cost(NamedTuple):
    """Seconds by the clock and of CPU, and bytes given to the system to be written."""

    wall: float = 0.0
    cpu: float = 0.0
    written: int = 0

    def plus(self, before: Cost) -> Cost:
        """With what was taken since that moment."""
        now = _now()
        return Cost(
            self.wall + now.wall - before.wall,
            self.cpu + now.cpu - before.cpu,
            self.written + now.written - before.written,
        )


def _now() -> Cost:
    """What this process has taken so far."""
    io = Path("/proc/self/io")  # of Linux
    found = dict(line.split(": ") for line in io.read_text().splitlines()) if io.exists() else {}
    return Cost(time.perf_counter(), time.process_time(), int(found.get("wchar", 0)))


def _windows(size: Size, days: int, figure: int, *, replaces: bool) -> Iterator[Batch]:
    """The windows of the last days, newest first; figure: makes them differ from others."""
    names = [plugins.endpoint(name) for name in sorted(plugins.endpoint_names())[: size.interfaces]]
    for number in range(days):
        day = LAST - timedelta(days=number)
        for account in range(size.accounts):
            for endpoint in names:
                record = {
                    "ref_date": str(day), "user_source": number % 7, "new_user": figure + account,
                    "cancel_user": number, "title": f"{number * 2654435761 % 2**32:x}{account:x}",
                }  # fmt: skip
                batch = Batch(
                    Window(f"wx{account:016x}", endpoint.name, day, day),
                    [record],
                    f"2024-06-15T04:{figure:02}:00Z",
                    endpoint=endpoint,
                    replaces=replaces,
                )
                batch.pack()
                yield batch


class _Harvest:
    """A directory, and the checkpoint that a ledger would hold."""

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self._checkpoint: dict[str, str] = {}

    async def run(self, windows: Iterable[Batch]) -> Cost:
        """What the sink takes in one run; the windows are made beside it."""
        before = _now()
        sink = plugins.sink(self._spec)
        self._checkpoint |= await sink.open(dict(self._checkpoint))
        spent = Cost().plus(before)
        windows = iter(windows)
        while group := [*islice(windows, GROUP)]:
            before = _now()
            self._checkpoint |= (await sink.write(group, {})).checkpoint
            spent = spent.plus(before)
        before = _now()
        self._checkpoint |= await sink.finish()
        await sink.close()
        return spent.plus(before)


async def _daily(spec: str, size: Size) -> tuple[Cost, Cost, Cost]:
    """What the first run takes, the daily one, and the same windows into an empty directory."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        harvest = _Harvest(spec.format(one))
        first = await harvest.run(_windows(size, size.days, 0, replaces=False))
        daily = await harvest.run(_windows(size, PROVISIONAL, 1, replaces=True))
        again = _windows(size, PROVISIONAL, 1, replaces=False)
        return first, daily, await _Harvest(spec.format(other)).run(again)


def measure(*, full: bool = False) -> list[Figure]:
    """Measure the sinks of JSON lines that can be had here."""
    figures: list[Figure] = []
    for name, spec in SPECS.items():
        first, daily, least = asyncio.run(_daily(spec, FULL if full else SMALL))
        what = f"replaced, {name}:"
        figures += [
            Figure(f"{what} CPU of a daily run ÷ of its windows into nothing",
                   daily.cpu / least.cpu, "", RATIO, more_is_better=False, tolerance=0.3),
            Figure(f"{what} CPU of the daily run", daily.cpu, "s"),
            Figure(f"{what} the daily run by the clock", daily.wall, "s"),
            Figure(f"{what} bytes that the daily run writes", daily.written / 1e6, "MB"),
            Figure(f"{what} CPU of the first run", first.cpu, "s"),
            Figure(f"{what} the first run by the clock", first.wall, "s"),
        ]  # fmt: skip
    return figures
