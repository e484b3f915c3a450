"""A simulated WeChat, and the demonstration that uses it.

Rule: loopback only.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.table import Table

import harvester
from harvester.base.codec import parse
from harvester.cli.language import label
from harvester.cli.session import STATUS, conduct, summarize
from harvester.cli.terminal import notify, show_line, show_table
from harvester.config.place import Place
from harvester.errors import NoLedgerError, UsageError
from harvester.events import State
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import Faults, Simulator, serve
from harvester.texts import joined, say

DEMO_ACCOUNTS = ("wx00000000000000a1", "wx00000000000000b2")
DEMO_START, DEMO_END = "2024-01-01", "2024-12-31"
DEMO_RATE = "40/s"
DEMO_ENDPOINTS = ("getusersummary", "getusercumulate", "getupstreammsghour")
HOST = "127.0.0.1"


async def simulate(port: int) -> int:
    """Serve until a signal comes."""
    simulator = Simulator()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(serve(simulator, HOST, port))
        except OSError as exc:
            why = say(os.strerror(exc.errno or 0))
            raise UsageError(
                "port {} of {} cannot be used ({}); --port 0 chooses a free one", port, HOST, why
            ) from None
        show_line(server.url)
        show_line("every appid that begins with wx has the secret {!r}; try:", simulator.secret)
        show_line(
            "HARVESTER_SECRET={} {} run users --appid {} --start 2024-01-01 --end 2024-03-31"
            " --base-url {} --out practice",
            shlex.quote(simulator.secret),
            _command(),
            DEMO_ACCOUNTS[0],
            server.url,
        )
        await ended.wait()
    return 0


def demo(directory: Path) -> int:
    """Harvest a year of two accounts and show what came."""
    _check_free(directory)
    show_line(
        "A simulated WeChat answers on {}.  The followers and the messages of two accounts are"
        " requested from {} to {},",
        HOST,
        DEMO_START,
        DEMO_END,
    )
    show_line(
        "one call per week or day, {} per account; it sometimes answers -1, system busy.", DEMO_RATE
    )
    report, problem, _ = conduct(lambda observe, stop: _demo(directory, observe, stop))
    if problem:
        notify(problem, level="error")
    show_line(joined(", ", summarize(report)))
    if report.state != State.COMPLETE:
        return STATUS[report.state]
    _show_harvest(directory)
    show_line()
    if not report.requests:
        show_line(
            "Everything was stored already, so nothing was requested: this is how a run resumes."
        )
    show_line(label("Next:"))
    me = _command()
    steps = {
        f"{me} status --out {directory}": say("what is harvested, month by month"),
        f"{me} report --out {directory}": say("the same as a page: report.html"),
        f"{me} verify --out {directory}": say("the records compared with the ledger"),
        f"{me} plan users --start 2014-12-01 --end yesterday": say(
            "how many calls and how much time a run takes"
        ),
        f"{me} simulate": say("a simulated WeChat"),
        f"{me} init": say("with your own account"),
    }
    width = max(map(len, steps))
    for command, purpose in steps.items():
        show_line("  {}  {}", command.ljust(width), purpose)
    return 0


def _check_free(directory: Path) -> None:
    if others := asyncio.run(_accounts(Place(directory))) - {*DEMO_ACCOUNTS}:
        raise UsageError("{} contains a harvest of {}; give another --out", directory, min(others))


async def _accounts(place: Place) -> set[str]:
    try:
        async with place.ledger() as ledger:
            return {appid for appid, _ in await ledger.asked()}
    except NoLedgerError:
        return set()


def _command() -> str:
    """How the command can be typed here; uvx has put it on the path of this process alone."""
    if Path(sys.prefix).parent.name.startswith("archive-v"):
        return "uvx 'wechat-harvester[report]'"
    return "harvester" if shutil.which("harvester") else shlex.quote(sys.argv[0])


async def _demo(directory: Path, observe: Any, stop: asyncio.Event) -> harvester.Report:
    accounts = [harvester.Account(appid, secret="practice") for appid in DEMO_ACCOUNTS]
    async with serve(Simulator(latency=0.03, faults=Faults(busy=0.04)), HOST) as server:
        return await harvester.run(
            accounts,
            DEMO_ENDPOINTS,
            DEMO_START,
            DEMO_END,
            sink=JsonLines(directory),
            base_url=server.url,
            rate=DEMO_RATE,
            on_event=observe,
            stop=stop,
        )


def _records(directory: Path, endpoint: str) -> Iterator[dict[str, Any]]:
    for path in sorted((directory / endpoint).glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                yield parse(line)


def _show_harvest(directory: Path) -> None:
    came: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for record in _records(directory, DEMO_ENDPOINTS[0]):
        came[record["ref_date"][:7]] += record["new_user"]
        left[record["ref_date"][:7]] += record["cancel_user"]
    followers: Counter[str] = Counter()
    for record in _records(directory, DEMO_ENDPOINTS[1]):
        followers[record["ref_date"]] += record["cumulate_user"]
    ends = {day[:7]: followers[day] for day in sorted(followers)}
    messages: Counter[int] = Counter()
    for record in _records(directory, DEMO_ENDPOINTS[2]):
        messages[record["ref_hour"] // 100] += record["msg_count"]
    show_line("The records are in {}/<interface>/*.jsonl, one JSON object per line.", directory)
    show_line()
    show_line("Followers by month (getusersummary; at the end of the month: getusercumulate)")
    rows = [
        (
            month,
            came[month] - left[month],
            f"+{came[month]:,}",
            f"-{left[month]:,}",
            f"{ends[month]:,}",
        )
        for month in sorted(ends)
    ]
    _bars(("", "gained", "came", "left", "at its end"), rows)
    show_line()
    show_line("Messages from followers by hour of the day (getupstreammsghour)")
    _bars(("", "messages"), [(f"{hour:02}:00", messages[hour]) for hour in sorted(messages)])


def _bars(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A table whose second column is drawn as a bar, too."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column(titles[0])
    table.add_column(width=32)
    for title in titles[1:]:
        table.add_column(title, justify="right")
    top = max(row[1] for row in rows)
    for name, value, *more in rows:
        table.add_row(f"  {name}", Bar(top, 0, max(value, 0), width=32), f"{value:,}", *more)
    show_table(table)
