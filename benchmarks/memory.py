"""Measure what millions of windows and thousands of accounts take, in memory and in time.

- growth: one process harvests ten accounts over sockets and observes itself at each commit;
- 1,000 accounts ÷ 1: the same number of windows, in turns;
- `plan` and `status` of a ledger in which every other day is missing, and `plan` of 2,000 accounts
  and 11 years, each in a process of its own;
- the ledger's commit of one account, and of 1,000 accounts with a day each.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import harvester
from benchmarks.figures import (
    Figure,
    Spent,
    in_new_process,
    pace,
    peak_memory,
    take_turns,
    timed,
)
from benchmarks.pipeline import ENDPOINT, MALLOC_THRESHOLD, SECRET, tokens
from benchmarks.server import serving
from harvester import events
from harvester.engine.writer import GROUP
from harvester.ledger import Outcome, SqliteLedger
from harvester.model import Tally, Window
from harvester.wechat.interfaces import INTERFACES

FIRST, LAST = date(2015, 1, 1), date(2025, 12, 31)
INTERFACE = replace(INTERFACES["getarticlesummary"], first_day=date(2000, 1, 1))
"""getarticlesummary as if it had older figures, so that few accounts have windows enough."""
MOST_DAYS = 8_000
"""Of an account."""

MANY = 1_000
ROUNDS, COMMIT_ROUNDS = 5, 5
COMMIT_WINDOWS = 100_000

LOOKS = 40
GOAL_COST, GOAL_GROWTH = 1.05, 5.0
GOAL_MANY = 0.9
GOAL_COMMIT = {1: 0.8, MANY: 4.0}
"""Accounts, and CPU µs a window."""
GOAL_SECONDS, GOAL_MEMORY = 1.0, 100.0
"""Of `plan` and `status` with a million windows."""
REACHED = {
    "plan": {100_000: (0.8, 100.0), 1_000_000: (1.0, 100.0)},
    "status": {100_000: (0.8, 100.0), 1_000_000: (1.0, 100.0)},
}
"""What a command reaches today by the number of windows: lower it when less is taken."""
REACHED_ALL = {200: 0.8, 2_000: 1.0}
"""The same of the plan of all interfaces, by the number of accounts."""


def accounts_of(number: int) -> list[str]:
    """So many appids."""
    return [f"wx{n:016x}" for n in range(1, number + 1)]


# growth


class Look(NamedTuple):
    """A process at one moment: windows done, seconds of CPU, MB held."""

    done: int
    cpu: float
    memory: float


def _memory_now() -> float:
    """MB that this process holds; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def looks_of(base_url: str, windows: int) -> list[Look]:
    """Harvest so many windows of ten accounts, and look at this process on the way."""
    looks = [Look(0, time.process_time(), _memory_now())]
    done = 0

    def observe(event: events.Event) -> None:
        nonlocal done
        if isinstance(event, events.Committed):
            done += len(event.windows)
            if done >= looks[-1].done + windows // LOOKS:
                looks.append(Look(done, time.process_time(), _memory_now()))

    accounts = max(10, windows // MOST_DAYS)
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(
            harvester.run(
                [harvester.Account(appid, SECRET) for appid in accounts_of(accounts)],
                INTERFACE,
                LAST - timedelta(days=windows // accounts - 1),
                LAST,
                sink=f"jsonl:{folder}",
                base_url=base_url,
                rate="1000000/s",
                on_event=observe,
            )
        )
    assert report.windows.done == windows, report
    return looks[1:]


def _growth(base_url: str, windows: int) -> list[Figure]:
    looks = in_new_process(looks_of, base_url, windows)
    costs = [(b.cpu - a.cpu) / (b.done - a.done) for a, b in pairwise(looks)]
    fifth = len(costs) // 5
    ratio = statistics.median(costs[-fifth:]) / statistics.median(costs[:fifth])
    early = max(look.memory for look in looks[: fifth + 1])
    growth = max(look.memory for look in looks) - early
    name = f"memory, {windows:,} windows"
    return [
        Figure(f"{name}: growth after the first fifth", growth, "MB", GOAL_GROWTH,
               more_is_better=False),
        Figure(f"{name}: CPU of the last fifth ÷ the first", ratio, "", GOAL_COST,
               more_is_better=False),
        Figure(f"{name}: at the end", looks[-1].memory, "MB"),
    ]  # fmt: skip


# many accounts beside one


def _token(value: str) -> Callable[[], str]:
    return lambda: value


def _harvest(base_url: str, granted: dict[str, str], windows: int) -> Spent:
    accounts = [harvester.Account(each, token=_token(granted[each])) for each in granted]
    begin = LAST - timedelta(days=windows // len(accounts) - 1)

    async def run(folder: str) -> None:
        report = await harvester.run(
            accounts,
            INTERFACE,
            begin,
            LAST,
            sink=f"jsonl:{folder}",
            base_url=base_url,
            rate="1000000/s",
        )
        assert report.windows.done == windows, report

    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: asyncio.run(run(folder)))


def _many_accounts(base_url: str, rounds: int) -> list[Figure]:
    granted, windows = tokens(base_url, MANY), 8 * MANY
    one = dict(islice(granted.items(), 1))
    bytes(MALLOC_THRESHOLD)
    spent = take_turns(
        {
            "one": partial(_harvest, base_url, one, windows),
            "many": partial(_harvest, base_url, granted, windows),
        },
        rounds,
    )
    ratio = spent["one"].cpu / spent["many"].cpu
    name = "memory, 1,000 accounts"
    return [
        Figure(f"{name}: CPU of one account ÷ theirs", ratio, "", GOAL_MANY),
        Figure(f"{name}: CPU a window", spent["many"].cpu / windows * 1e6, "µs"),
    ]


# the ledger


def commit(path: Path, sink: str, groups: Iterable[Sequence[Window]]) -> float:
    """Commit groups of harvested windows to a ledger; returns the CPU seconds of the commits.

    This function is all that the benchmarks know of the ledger's protocol.
    """
    taken = 0.0

    async def run() -> None:
        nonlocal taken
        async with SqliteLedger(path) as ledger:
            for number, group in enumerate(groups):
                outcomes = [Outcome(window, "final", Tally(8, 7)) for window in group]
                started = time.process_time()
                await ledger.commit(outcomes, {sink: {"e/000001.jsonl": f"{number} 0"}})
                taken += time.process_time() - started

    asyncio.run(run())
    return taken


def _groups(accounts: int, days: int, step: int = 1) -> Iterator[list[Window]]:
    """Windows of a day each, all accounts of a day after the other."""
    appids = accounts_of(accounts)
    windows = (
        Window(appid, ENDPOINT, day, day)
        for day in (LAST - timedelta(days=step * n) for n in range(days))
        for appid in appids
    )
    while group := list(islice(windows, GROUP)):
        yield group


def commit_cost(accounts: int) -> float:
    """CPU µs a window of the commits of so many accounts, at the pace of the goals' machine."""
    taken = []
    for _ in range(COMMIT_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            groups = _groups(accounts, COMMIT_WINDOWS // accounts)
            before = pace()
            spent = commit(Path(folder) / "ledger.sqlite", "sink", groups)
            taken.append(2 * spent / (before + pace()))
    return statistics.median(taken) / COMMIT_WINDOWS * 1e6


def _commits() -> list[Figure]:
    figures = []
    for accounts, goal in GOAL_COMMIT.items():
        cost = in_new_process(commit_cost, accounts)
        name = f"memory, commit of {accounts:,} account(s), day by day: CPU a window"
        figures.append(Figure(name, cost, "µs", goal, more_is_better=False))
    return figures


# plan and status


def run_command(arguments: Sequence[str]) -> tuple[float, float]:
    """Run a command of harvester in this process: seconds of CPU, and the peak of memory."""
    from harvester.cli import main

    os.environ["HARVESTER_SECRET"] = SECRET
    started, status = time.process_time(), None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main(arguments)
    except SystemExit as exc:
        status = exc.code
    assert status == 0, f"{arguments[0]} ended with status {status}"
    return time.process_time() - started, peak_memory()


def _accounts_file(folder: Path, number: int) -> str:
    lines = [f"{appid},env:HARVESTER_SECRET" for appid in accounts_of(number)]
    path = folder / "accounts.csv"
    path.write_text("\n".join(["appid,secret", *lines]) + "\n", encoding="utf-8")
    return str(path)


async def _ask(folder: Path, accounts: int) -> None:
    """Let a ledger know what was asked for: by a run that is stopped before its first request."""
    stop = asyncio.Event()
    stop.set()
    await harvester.run(
        [harvester.Account(appid, SECRET) for appid in accounts_of(accounts)],
        ENDPOINT, FIRST, LAST, sink=f"jsonl:{folder}", stop=stop,
    )  # fmt: skip


def _fragmented(windows: int) -> list[Figure]:
    """`plan` and `status` of a ledger in which every other day of eleven years is missing."""
    days = 2_000
    accounts = windows // days
    years = ("--start", str(FIRST), "--end", str(LAST))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        asyncio.run(_ask(folder, accounts))
        commit(folder / "ledger.sqlite", "jsonl:.", _groups(accounts, days, step=2))
        listed = _accounts_file(folder, accounts)
        commands = {
            "plan": ("plan", ENDPOINT, "--accounts", listed, *years, "--out", made),
            "status": ("status", "--out", made),
        }
        taken = {name: in_new_process(run_command, each) for name, each in commands.items()}
    figures = []
    for name, (seconds, peak) in taken.items():
        what = f"memory, {name}, {windows:,} windows, every other day missing"
        most_seconds, most_memory = REACHED[name][windows]
        figures += [
            Figure(f"{what}: CPU", seconds, "s", GOAL_SECONDS, most_seconds, more_is_better=False),
            Figure(f"{what}: peak", peak, "MB", GOAL_MEMORY, most_memory, more_is_better=False),
        ]
    return figures


def _plan_all(accounts: int) -> Figure:
    """`plan` of all interfaces for so many accounts and eleven years, nothing of it stored."""
    with tempfile.TemporaryDirectory() as made:
        listed = _accounts_file(Path(made), accounts)
        years = ("--start", str(FIRST), "--end", str(LAST))
        command = ("plan", "all", "--accounts", listed, *years, "--out", made)
        seconds, _ = in_new_process(run_command, command)
    name = f"memory, plan, {accounts:,} accounts, all interfaces, 11 years: CPU"
    return Figure(name, seconds, "s", GOAL_SECONDS, REACHED_ALL[accounts], more_is_better=False)


def measure(*, full: bool = False) -> list[Figure]:
    """Measure memory and scale: a tenth of a million windows, or in full a million."""
    windows = 1_000_000 if full else 100_000
    with serving() as server:
        figures = _growth(server.url, windows // 2)
        figures += _many_accounts(server.url, 3 * ROUNDS if full else ROUNDS)
    return [*figures, *_commits(), *_fragmented(windows), _plan_all(2_000 if full else 200)]
