"""The work of the processes that are killed: runs of three days, and one long after.

Rule: the same each time, so that the n-th step of a run is always the same one.

Two accounts, four interfaces: one whose windows WeChat finds too long, one whose figures grow for a
month, one whose figures come late, one of weeks.  The first day's run stores windows that are
provisional; the next day's replaces them; the third day's replaces everything.  The last run comes
when all figures are final.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import NamedTuple

from harvester.base.dates import last_settled_day
from harvester.cli.verify import show_verification
from harvester.config.place import Place
from harvester.config.settings import engine_options
from harvester.engine.run import Engine
from harvester.events import Report
from harvester.ledger import FILE_NAME, SqliteLedger
from harvester.sinks.base import Sink
from harvester.testing import FakeTransport, Simulator, VirtualTimeLoop
from harvester.tokens.stores import open_store
from harvester.upkeep.rebuild import rebuild
from harvester.wechat.endpoint import grid
from harvester.wechat.interfaces import INTERFACES
from tests.chaos.crash.sinks import SINKS, text
from tests.support import A, B, at, scope

BEGIN, END = date(2026, 3, 2), date(2026, 3, 12)
ENDPOINTS = (
    INTERFACES["getusersummary"],
    INTERFACES["getarticletotaldetail"],
    INTERFACES["getarticleread"],
    INTERFACES["getupstreammsgweek"],
)
TOKENS = "tokens.json"
SEED = 5


class Day(NamedTuple):
    """One run: when it begins, whether it harvests everything anew."""

    wall: float
    refresh: bool = False


DAYS = (
    Day(at("2026-03-12", 9.0)),
    Day(at("2026-03-13", 12.0)),
    Day(at("2026-03-14", 12.0), refresh=True),
    Day(at("2026-05-04", 12.0)),
)


_BODY = cache(Simulator(seed=SEED)._make_body)


def simulator(wall: Callable[[], float]) -> Simulator:
    """The WeChat that all of them ask."""
    wechat = Simulator(seed=SEED, spans={"getusersummary": 3}, delay_until_hour=9.5, wall=wall)
    wechat._body = wechat._other_body = _BODY  # made once for all processes
    wechat._desk._serial = time.monotonic_ns()  # no token is another one's of a process before
    return wechat


def live(name: str, directory: Path, number: int, *, ledger: bool = True) -> Report:
    """One day's run of the job, into the sink of that name."""
    loop = VirtualTimeLoop(DAYS[number].wall)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_run(SINKS[name].make(directory), directory, DAYS[number], ledger))


async def _run(sink: Sink, directory: Path, day: Day, ledger: bool) -> Report:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    asked = scope(BEGIN, min(last_settled_day(day.wall), END), (A, B), ENDPOINTS)
    store = open_store(f"file:{directory.parent / TOKENS}")
    if not ledger:  # which would make it
        directory.mkdir(exist_ok=True)
    engine = Engine(
        replace(asked, store=store),
        engine_options(rate="100000/s", concurrency=4, refresh=day.refresh),
        FakeTransport(simulator(loop.wall), latency=0.001),
        [sink],
        SqliteLedger(directory / FILE_NAME) if ledger else None,
        group=8,
        wall=loop.wall,
    )
    try:
        async with engine:
            return await engine.run()
    finally:
        await store.close()


def rebuild_ledger(name: str, directory: Path, number: int) -> None:
    """What the command ``rebuild`` does; a feed cannot be read, and sends everything again."""
    row, wall = SINKS[name], DAYS[number].wall
    if row.make(directory).scan is None:
        for path in directory.glob(f"{FILE_NAME}*"):
            path.unlink()
        return
    endpoints = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    made = rebuild(directory / FILE_NAME, [row.make(directory)], endpoints.get, wall)
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(wall)) as runner:
        runner.run(made)


def windows() -> Iterator[tuple[str, str, date, date]]:
    """Everything that stands in the sink at the end of all days: appid, interface, days."""
    for appid in (A, B):
        for endpoint in ENDPOINTS:
            for begin, last in grid(endpoint, END).windows(BEGIN, END):
                yield appid, endpoint.name, begin, last


@cache
def truth_of(name: str) -> Counter[str]:
    """What must stand in the sink of that name at the end of all days."""
    wechat = simulator(lambda: DAYS[-1].wall)
    return Counter(
        text(name, appid, endpoint, record)
        for appid, endpoint, begin, end in windows()
        for record in wechat.truth_of(endpoint, appid, begin, end)
    )


def not_as_the_ledger_says(directory: Path) -> list[str]:
    """What the command ``verify`` finds."""
    said = io.StringIO()
    with redirect_stdout(said):
        status = asyncio.run(show_verification(Place(directory)))
    return [] if status == 0 else said.getvalue().splitlines()
