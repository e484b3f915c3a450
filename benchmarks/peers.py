"""Peers side by side: the same work by what one would use in harvester's place.

    python -m benchmarks.peers [PEER ...] [--days N] [--rounds N] [--home DIR] [--json FILE]

Each peer runs in an environment of its own, made when it is first wanted below `--home`, and writes
the records of the same days of the same accounts, from the same server, as lines of JSON.  They
take turns in random order, a process a turn.  What a peer took counts if exactly the records of
each day of each account stand in what it wrote.

Rule: what a peer is, and what it leaves out, is data in `PEERS`; how it is driven is a file in
`peer/` that imports neither harvester nor these benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.server import serving
from benchmarks.throughput import ACCOUNTS, DAYS, IN_FLIGHT, NAME, SECRET, days, fetch_tokens
from benchmarks.turns import ROOT, LeftOutError, Peer, environment, turn

MOST_DAYS = 4_000
ROUNDS = 3
LINES = "orjson==3.13.0"
"""What writes the lines where a peer leaves that to its user: the same for all of them."""

_WECHATPY = ("wechatpy[cryptography]==1.8.18", "requests==2.34.2", "urllib3==2.8.0", LINES)

HARVESTER = Peer(
    "harvester",
    "with_harvester.py",
    "wechat-harvester",
    ("-c", str(ROOT / "requirements.lock"), "-e", str(ROOT)),
    "Nothing of it: paced (the rate is out of the way here), tried again, resumed, tokens shared,"
    " each record once.",
)
PEERS = (
    HARVESTER,
    Peer(
        "aiohttp-by-hand",
        "with_aiohttp.py",
        "aiohttp",
        ("aiohttp==3.14.5", LINES),
        "No pace, no retry, no resume, no tokens; a −1 ends it, and a crash loses what it held.",
    ),
    Peer(
        "httpx-aiometer",
        "with_httpx.py",
        "httpx",
        ("httpx==0.28.1", "httpcore==1.0.9", "anyio==4.16.0", "aiometer==1.0.0", LINES),
        "One pace for all accounts; no retry, no resume, no tokens; a −1 ends it, and a crash loses"
        " what it held.",
    ),
    Peer(
        "pycurl",
        "with_pycurl.py",
        "pycurl",
        ("pycurl==7.49.0", LINES),
        "No pace, no retry, no resume, no tokens; a −1 ends it, and a crash loses what it held.",
    ),
    Peer(
        "wechatpy",
        "with_wechatpy.py",
        "wechatpy",
        _WECHATPY,
        "No pace, no retry of −1 (it is raised), no resume; takes a new token for a refused one,"
        " under no lock; what to store, and how, is left to its user.",
        in_flight=1,
    ),
    Peer(
        "wechatpy-threads",
        "with_wechatpy.py",
        "wechatpy",
        _WECHATPY,
        "As wechatpy in one thread; here each thread has clients of its own.",
        in_flight=32,
    ),
    Peer(
        "scrapy",
        "with_scrapy.py",
        "scrapy",
        ("scrapy==2.19.0", "twisted==26.10.0"),
        "One pace for all accounts; tries HTTP errors again, but a −1 loses the day, with an error"
        " in the log and status 0; no tokens; resumes only what was stopped in order.",
    ),
    Peer(
        "dlt",
        "with_dlt.py",
        "dlt",
        ("dlt[filesystem]==1.31.0", "requests==2.34.2", "urllib3==2.8.0"),
        "No pace, no tokens; tries HTTP errors again, but a −1 passes for a day without records,"
        " with status 0; an extraction that was killed begins again with its first day.",
        written=f"records/*/{NAME}/*.jsonl",
    ),
    Peer(
        "airbyte-cdk",
        "with_airbyte.py",
        "airbyte-cdk",
        ("airbyte-cdk==7.39.1", "requests==2.34.2", "urllib3==2.8.0"),
        "No pace and no retry of −1 unless declared: it passes for a day without records, with"
        " status 0; no shared tokens; resumes from a state that a platform keeps, so records come"
        " at least once.",
    ),
)


@dataclass
class Taken:
    """What a peer's turns took."""

    peer: Peer
    version: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def add(self, told: dict[str, Any]) -> None:
        """Add a turn."""
        self.version = told["version"]
        for name in ("seconds", "cpu", "memory"):
            getattr(self, name).append(told[name])


@dataclass(frozen=True)
class Row:
    """A peer's medians, and how they compare with harvester's."""

    taken: Taken
    speed: float
    cpu: float
    memory: float
    speed_ratio: float = 1.0
    cpu_ratio: float = 1.0
    memory_ratio: float = 1.0

    @property
    def ahead(self) -> str:
        """Wherein it is better than harvester."""
        better = {
            "speed": self.speed_ratio > 1,
            "CPU": self.cpu_ratio < 1,
            "memory": self.memory_ratio < 1,
        }
        return ", ".join(name for name, holds in better.items() if holds)

    def __str__(self) -> str:
        peer = self.taken.peer
        return (
            f"{peer.name:<18} {self.taken.version:<8} {peer.in_flight:>9} {self.speed:>10.0f}"
            f" {self.cpu:>8.0f} {self.memory:>8.0f} {self.speed_ratio:>10.2f}"
            f" {self.cpu_ratio:>6.2f} {self.memory_ratio:>6.2f}  {self.ahead}"
        ).rstrip()


HEADER = (
    f"{'':<18} {'':<8} {'':>9} {'':>10} {'CPU':>8} {'peak':>8} {'÷ harvester:':>25}  is ahead of\n"
    f"{'peer':<18} {'version':<8} {'in flight':>9} {'requests/s':>10} {'µs/req.':>8} {'MB':>8}"
    f" {'requests/s':>10} {'CPU':>6} {'MB':>6}  harvester in"
)


def pythons(peers: Sequence[Peer], home: Path) -> Iterator[tuple[Peer, Path | LeftOutError]]:
    """The Python of each peer, or why there is none."""
    for peer in peers:
        try:
            yield peer, environment(peer, home)
        except LeftOutError as exc:
            yield peer, exc


class Measurement:
    """Turns of all peers for one job; who fails is left out from then on."""

    def __init__(self, job: dict[str, Any], *, here: bool = False) -> None:
        self._job = job
        self._here = here
        self._pythons: dict[str, Path] = {}
        self.taken: dict[str, Taken] = {}
        self.left_out: dict[str, str] = {}

    def enter(self, peer: Peer, python: Path) -> None:
        """Let a peer take part."""
        self.taken[peer.name] = Taken(peer)
        self._pythons[peer.name] = python

    def leave_out(self, name: str, reason: str) -> None:
        """Say that a peer takes no part, and why."""
        self.taken.pop(name, None)
        self.left_out[name] = reason
        print(f"left out: {name}: {reason}", flush=True)

    def round(self, draw: Random) -> None:
        """A turn for each, in random order."""
        for name in draw.sample(sorted(self.taken), len(self.taken)):
            taken = self.taken[name]
            try:
                taken.add(turn(taken.peer, self._pythons[name], self._job, here=self._here))
            except LeftOutError as exc:
                self.leave_out(name, str(exc))

    def rows(self) -> list[Row]:
        """The medians, the most requests a second first."""
        requests = len(self._job["tokens"]) * len(self._job["days"])
        medians = {
            name: Row(
                taken,
                speed=requests / statistics.median(taken.seconds),
                cpu=statistics.median(taken.cpu) / requests * 1e6,
                memory=statistics.median(taken.memory),
            )
            for name, taken in self.taken.items()
        }
        ours = medians.get(HARVESTER.name)
        if ours is None:
            raise LeftOutError("without harvester there is nothing to compare with")
        rows = [_compared(row, ours) for row in medians.values()]
        return sorted(rows, key=lambda row: -row.speed)


def _compared(row: Row, ours: Row) -> Row:
    return Row(
        row.taken, row.speed, row.cpu, row.memory,
        speed_ratio=row.speed / ours.speed,
        cpu_ratio=row.cpu / ours.cpu,
        memory_ratio=row.memory / ours.memory,
    )  # fmt: skip


@contextmanager
def _job(number_of_days: int) -> Iterator[dict[str, Any]]:
    """What is asked of each, and the server that answers."""
    with serving() as server:
        yield {
            "url": server.url,
            "endpoint": NAME,
            "secret": SECRET,
            "tokens": asyncio.run(fetch_tokens(server.url)),
            "days": [day.isoformat() for day in days(number_of_days)],
        }


def measure(
    peers: Sequence[Peer], *, number_of_days: int, rounds: int, home: Path | None
) -> Measurement:
    """Measure all peers, each in its environment below `home`; with None in this Python."""
    with _job(number_of_days) as job:
        measurement = Measurement(job, here=home is None)
        this = Path(sys.executable)
        entered = ((peer, this) for peer in peers) if home is None else pythons(peers, home)
        for peer, python in entered:
            if isinstance(python, LeftOutError):
                measurement.leave_out(peer.name, str(python))
            else:
                measurement.enter(peer, python)
        draw = Random(1)
        for _ in range(rounds):
            measurement.round(draw)
    return measurement


# the table


def _where() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def as_json(measurement: Measurement, rows: Sequence[Row]) -> str:
    """The table, and each turn."""
    listed = [{**asdict(row), "ahead": row.ahead} for row in rows]
    told = {"where": _where(), "peers": listed, "left_out": measurement.left_out}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _noise(rows: Sequence[Row]) -> str:
    """How far harvester's turns lie apart."""
    ours = next(row for row in rows if row.taken.peer.name == HARVESTER.name)
    clock = [
        ours.speed * statistics.median(ours.taken.seconds) / each for each in ours.taken.seconds
    ]
    used = [ours.cpu / statistics.median(ours.taken.cpu) * each for each in ours.taken.cpu]
    return (
        f"harvester's turns lie between {min(clock):.0f} and {max(clock):.0f} requests/s, and"
        f" between {min(used):.0f} and {max(used):.0f} µs; what differs by less is noise"
    )


def show(rows: Sequence[Row]) -> None:
    """Print the table, and what each peer leaves out."""
    print(HEADER)
    print("\n".join(str(row) for row in rows))
    print(f"\n{_noise(rows)}")
    print("\nWhat a backfill needs, and what each leaves out of it:")
    for row in rows:
        print(f"{row.taken.peer.name:<18} {row.taken.peer.lacks}")


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    known = [peer.name for peer in PEERS]
    parser.add_argument("peers", nargs="*", metavar="PEER", help="; ".join(known))
    parser.add_argument("--days", type=int, default=DAYS, help=f"of each of {ACCOUNTS} accounts")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="at most, of each peer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--home", type=Path, metavar="DIR", help="keep the environments there")
    where.add_argument("--here", action="store_true", help="in this Python, as far as it has them")
    found = parser.parse_args(given)
    if unknown := set(found.peers).difference(known):
        parser.error(f"there is no peer {min(unknown)!r}; these are: {'; '.join(known)}")
    if not 1 <= found.days <= MOST_DAYS or min(found.rounds, found.in_flight) < 1:
        parser.error(f"--days is 1 to {MOST_DAYS}, --rounds and --in-flight at least 1")
    return found


def _wanted(given: argparse.Namespace) -> list[Peer]:
    """The peers that were asked for, and harvester, with no more in flight than is allowed."""
    names = {HARVESTER.name, *given.peers} if given.peers else {peer.name for peer in PEERS}
    return [
        replace(peer, in_flight=min(peer.in_flight, given.in_flight))
        for peer in PEERS
        if peer.name in names
    ]


@contextmanager
def _home(given: argparse.Namespace) -> Iterator[Path | None]:
    """Where the environments lie; a folder that goes again unless one was named."""
    if given.here or given.home:
        yield given.home.resolve() if given.home else None
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if harvester itself could not be measured."""
    given = _arguments(arguments)
    started = time.monotonic()
    print(", ".join(f"{name} {value}" for name, value in _where().items()))
    with _home(given) as home:
        measurement = measure(
            _wanted(given), number_of_days=given.days, rounds=given.rounds, home=home
        )
    try:
        rows = measurement.rows()
    except LeftOutError as exc:
        print(exc)
        return 1
    print(f"{given.days * ACCOUNTS:,} requests a turn, {given.rounds} turns each, medians")
    show(rows)
    print(f"{time.monotonic() - started:.0f} s")
    if given.json:
        given.json.write_text(as_json(measurement, rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
