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
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import date
from functools import cache
from pathlib import Path
from typing import NamedTuple

from harvester import datacube
from harvester.cli.inspect import show_verification
from harvester.datacube import INTERFACES
from harvester.endpoint import grid
from harvester.engine import Engine
from harvester.events import Report
from harvester.ledger import FILE_NAME, SqliteLedger, open_ledger
from harvester.model import Account
from harvester.plan import last_settled_day
from harvester.rebuild import rebuild
from harvester.scope import Scope
from harvester.settings import Options
from harvester.sinks.base import scan_of
from harvester.stores import open_store
from harvester.testing import FakeTransport, Simulator, VirtualTimeLoop
from tests.chaos.crash.sinks import SINKS, Record, Row
from tests.support import A, B, at

BEGIN = date(2026, 3, 2)
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


@cache
def _body(name: str, appid: str, begin: date, end: date, last: date) -> bytes:
    return _MAKER._make_body(name, appid, begin, end, last)


_MAKER = Simulator(seed=SEED)


def simulator(wall: Callable[[], float]) -> Simulator:
    """The WeChat that all of them ask."""
    wechat = Simulator(seed=SEED, spans={"getusersummary": 3}, delay_until_hour=9.5, wall=wall)
    wechat._body = wechat._other_body = _body  # made once for all processes
    wechat._desk._serial = time.monotonic_ns()  # no token is another one's of a process before
    return wechat


def live(name: str, directory: Path, number: int, *, ledger: bool = True) -> Report:
    """One day's run of the job, into the sink of that name."""
    row, day = SINKS[name], DAYS[number]
    loop = VirtualTimeLoop(day.wall)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_run(row, directory, day, loop.wall, ledger=ledger))


async def _run(
    row: Row, directory: Path, day: Day, wall: Callable[[], float], *, ledger: bool
) -> Report:
    end = min(last_settled_day(day.wall), date(2026, 3, 12))
    providers = {
        appid: datacube.provider_for(Account(appid, secret="practice")) for appid in (A, B)
    }
    store = open_store(f"file:{directory.parent / TOKENS}")
    engine = Engine(
        Scope(providers, ENDPOINTS, BEGIN, end, store=store),
        Options(rate=100_000, concurrency=4, refresh=day.refresh),
        FakeTransport(simulator(wall), latency=0.001),
        [row.make(directory)],
        SqliteLedger(directory / FILE_NAME) if ledger else None,
        group=8,
        wall=wall,
    )
    try:
        async with engine:
            return await engine.run()
    finally:
        await store.close()


def rebuild_ledger(name: str, directory: Path, number: int) -> None:
    """What the command ``rebuild`` does; a feed cannot be read, and sends everything again."""
    row, wall = SINKS[name], DAYS[number].wall
    if scan_of(row.make(directory)) is None:
        for path in directory.glob(f"{FILE_NAME}*"):
            path.unlink()
        return
    endpoints = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    made = rebuild(directory / FILE_NAME, [row.make(directory)], endpoints.get, wall)
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(wall)) as runner:
        runner.run(made)


def windows(number: int) -> Iterator[tuple[str, str, date, date]]:
    """Everything that stands in the sink after a day's run: appid, interface, days."""
    end = min(last_settled_day(DAYS[number].wall), date(2026, 3, 12))
    for appid in (A, B):
        for endpoint in ENDPOINTS:
            for begin, last in grid(endpoint, end).windows(BEGIN, end):
                yield appid, endpoint.name, begin, last


@cache
def truth_of(name: str) -> Counter[str]:
    """What must stand in the sink of that name at the end of all days."""
    wechat = simulator(lambda: DAYS[-1].wall)
    truth: Counter[str] = Counter()
    for appid, endpoint, begin, end in windows(len(DAYS) - 1):
        for record in wechat.truth_of(endpoint, appid, begin, end):
            truth[_text(appid, endpoint, SINKS[name].shape(record))] += 1
    return truth


def problems(name: str, directory: Path) -> list[str]:
    """What is not as WeChat has it, at the end of all days; nothing if all is well."""
    row, truth = SINKS[name], truth_of(name)
    found = Counter(
        _text(record["_appid"], record["_endpoint"], row.shape(record))
        for record in row.read(directory)
    )
    return [f"{word}: {text[:200]}" for word, left in
            (("lost", truth - found), ("doubled or foreign", found - truth))
            for text in left]  # fmt: skip


def _text(appid: str, endpoint: str, record: Record) -> str:
    return f"{appid} {endpoint} {json.dumps(record, sort_keys=True, default=str)}"


def not_as_the_ledger_says(directory: Path) -> list[str]:
    """What the command ``verify`` finds."""
    said = io.StringIO()
    with redirect_stdout(said):
        status = asyncio.run(
            show_verification(open_ledger(directory / FILE_NAME, readonly=True), [])
        )
    return [] if status == 0 else said.getvalue().splitlines()
