"""A WeChat to practise on, and the demonstration that uses it.

Rule: loopback only.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.table import Table

import harvester
from harvester.cli.screen import out, plain, tell
from harvester.cli.session import STATUS, conduct, summarize
from harvester.codec import parse
from harvester.errors import UsageError
from harvester.ledger import FILE_NAME
from harvester.sinks.jsonl import JsonLines
from harvester.testing import Faults, Simulator, serve

DEMO_ACCOUNTS = ("wx00000000000000a1", "wx00000000000000b2")
DEMO_START, DEMO_END = "2024-01-01", "2024-12-31"
DEMO_RATE = "50/s"
HOST = "127.0.0.1"


def simulate(port: int, values: dict[str, Any]) -> int:
    """Serve until a signal comes."""
    fault_names = Faults.__dataclass_fields__.keys()
    faults = Faults(**{name: value for name, value in values.items() if name in fault_names})
    limit, component = values["minute_limit"], values["component"]
    simulator = _simulator(
        seed=values["seed"],
        secret=values["secret"],
        latency=values["latency"],
        token_lifetime=values["token_lifetime"],
        daily_quota=values["daily_quota"],
        minute_limit=(limit, 60.0) if limit else None,
        retired=values["retired"],
        delay_until_hour=values["delay_until_hour"],
        component=(component, values["secret"]) if component else None,
        spans=dict(map(_span, values["spans"])),
        faults=faults,
    )
    return asyncio.run(_serve(simulator, port, component))


def _simulator(**settings: Any) -> Simulator:
    try:
        return Simulator(**settings)
    except ValueError as exc:
        raise UsageError(f"--span: {exc}") from None


def _span(given: str) -> tuple[str, int]:
    name, _, days = given.partition("=")
    if not (days.isascii() and days.isdecimal()):
        raise UsageError(f"--span takes NAME=DAYS, as getusersummary=3, not {given!r}")
    return name, int(days)


async def _serve(simulator: Simulator, port: int, component: str | None) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        async with serve(simulator, HOST, port) as server:
            tell(server.url)
            tell(
                f"every appid that begins with wx has the secret {plain(simulator.secret)!r}; try:"
            )
            tell(
                f"HARVESTER_SECRET={simulator.secret} {_command()} run getarticlesummary"
                f" --appid {DEMO_ACCOUNTS[0]} --start 2024-01-01 --end 2024-01-31"
                f" --base-url {server.url} --out practice"
            )
            if component:
                _tell_platform(simulator, component)
            await ended.wait()
    except OSError as exc:
        raise UsageError(f"port {port} of {HOST} cannot be used ({exc.strerror})") from None
    return 0


def _tell_platform(simulator: Simulator, component: str) -> None:
    tell(f"platform {plain(component)}: the same secret, ticket {simulator.ticket()}")
    for appid in DEMO_ACCOUNTS:
        tell(f"refresh token of {appid}: {simulator.refresh_token(appid)}")


def demo(directory: Path) -> int:
    """Harvest a year of two accounts and show what came."""
    _check_free(directory)
    tell(
        f"A simulated WeChat answers on {HOST}: getarticlesummary of two accounts,"
        f" {DEMO_START} to {DEMO_END},"
    )
    tell(f"one call a day, {DEMO_RATE} an account, and now and then the answer is -1, system busy.")
    report = conduct(lambda observe, stop: _demo(directory, observe, stop))
    tell(", ".join(summarize(report)))
    if report.state != "complete":
        return STATUS[report.state]
    _show_harvest(directory)
    tell()
    if not report.requests:
        tell(
            "It was all there already, so nothing was asked for: that is what resuming looks like."
        )
    tell("Next:")
    me = _command()
    steps = {
        f"{me} status --out {directory}": "what is harvested, month by month",
        f"{me} verify --out {directory}": "the records compared with the ledger",
        f"{me} plan getarticlesummary --start 2014-12-01 --end yesterday": "what a run takes",
        f"{me} simulate": "a WeChat to practise on",
        f"{me} run --help": "with an account of your own",
    }
    width = max(map(len, steps))
    for command, purpose in steps.items():
        tell(f"  {command:{width}}  {purpose}")
    return 0


def _check_free(directory: Path) -> None:
    """Raise `UsageError` if something else was harvested here."""
    path = directory / FILE_NAME
    if path.exists():
        others = asyncio.run(_accounts(path)) - {*DEMO_ACCOUNTS}
        if others:
            raise UsageError(f"{directory} holds a harvest of {min(others)}; give another --out")


async def _accounts(path: Path) -> set[str]:
    async with harvester.Ledger(path, readonly=True) as ledger:
        return {appid for appid, _ in await ledger.asked()}


def _command() -> str:
    """How the command can be typed here."""
    return "harvester" if shutil.which("harvester") else shlex.quote(sys.argv[0])


async def _demo(directory: Path, observe: Any, stop: asyncio.Event) -> harvester.Report:
    accounts = [harvester.Account(appid, secret="practice") for appid in DEMO_ACCOUNTS]
    async with serve(Simulator(latency=0.03, faults=Faults(busy=0.04)), HOST) as server:
        return await harvester.run(
            accounts,
            "getarticlesummary",
            DEMO_START,
            DEMO_END,
            sink=JsonLines(directory),
            base_url=server.url,
            rate=DEMO_RATE,
            on_event=observe,
            stop=stop,
        )


def _records(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.glob("getarticlesummary/*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                yield parse(line)


def _show_harvest(directory: Path) -> None:
    reads: Counter[str] = Counter()
    months: Counter[str] = Counter()
    titles: dict[str, str] = {}
    for record in _records(directory):
        key = record["_appid"] + record["msgid"]
        titles[key] = record["title"]
        reads[key] += record["int_page_read_count"]
        months[record["ref_date"][:7]] += record["int_page_read_count"]
    tell(f"The records lie in {directory}/getarticlesummary/*.jsonl, one JSON object a line.")
    tell()
    tell("The most read articles")
    for key, count in reads.most_common(5):
        tell(f"  {count:>9,}  {titles[key]}")
    tell()
    tell("Reads by month")
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    table.add_column(width=40)
    table.add_column(justify="right")
    top = max(months.values())
    for month, count in sorted(months.items()):
        table.add_row(f"  {month}", Bar(top, 0, count, width=40), f"{count:,}")
    out.print(table)
