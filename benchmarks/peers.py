"""Measure the same harvest with what one would use in harvester's place.

Each peer runs in an environment of its own with the versions of the table below, a process a turn,
in random order.  A turn counts if exactly the records of each day of each account were written.  A
peer that cannot be installed, fails, or writes something else is left out, with the reason.

    python -m benchmarks peers --home DIR   # keeps the environments there
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson

from benchmarks.figures import Figure
from benchmarks.pipeline import job as job_of
from benchmarks.server import RECORDS, serving

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
DAYS = 1_000
SECONDS = 120.0
"""A turn that takes longer is stopped."""
LINES = "orjson==3.13.0"
WRITTEN = "**/*.jsonl"


class Peer(NamedTuple):
    """A peer: the package whose version counts, what pip installs, and where its records lie."""

    distribution: str
    driver: str
    requirements: tuple[str, ...]
    in_flight: int = 64
    written: str = WRITTEN


HARVESTER = "harvester"
PEERS = {
    HARVESTER: Peer(
        "wechat-harvester",
        "with_harvester",
        ("-c", str(ROOT / "requirements.lock.txt"), "-e", str(ROOT)),
    ),
    "pycurl": Peer("pycurl", "with_pycurl", ("pycurl==7.49.0", LINES)),
    "aiohttp by hand": Peer("aiohttp", "with_aiohttp", ("aiohttp==3.14.5", LINES)),
    "wechatpy, 32 threads": Peer(
        "wechatpy",
        "with_wechatpy",
        ("wechatpy[cryptography]==1.8.18", "requests==2.34.2", "urllib3==2.8.0", LINES),
        32,
    ),
    "dlt": Peer(
        "dlt",
        "with_dlt",
        ("dlt[filesystem]==1.31.0", "requests==2.34.2", "urllib3==2.8.0"),
        written="records/*/getarticlesummary/*.jsonl",
    ),
}


class LeftOutError(Exception):
    """A peer cannot be installed, fails, or writes something else."""


def _run(command: Sequence[str], **options: Any) -> str:
    """Run a command and return what it printed."""
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, capture_output=True, text=True, check=False, **options
        )
    except subprocess.TimeoutExpired:
        raise LeftOutError(f"took longer than {SECONDS:.0f} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise LeftOutError(f"status {done.returncode}: {lines[-1]}")
    return done.stdout


def environment(peer: Peer, home: Path) -> str:
    """The Python of the peer's environment, made if it is missing or unfinished."""
    folder = home / peer.distribution
    python, finished = str(folder / "bin" / "python"), folder / "finished"
    wanted = "\n".join(peer.requirements)
    if not finished.exists() or finished.read_text(encoding="utf-8") != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([python, "-m", "pip", "install", "-q", *peer.requirements])
        finished.write_text(wanted, encoding="utf-8")
    return python


def check(folder: Path, job: dict[str, Any], written: str = WRITTEN) -> None:
    """Raise `LeftOutError` unless the records of each day of each account were written once."""
    wanted = {(appid, day): RECORDS for appid in job["tokens"] for day in job["days"]}
    found: Counter[tuple[str, str]] = Counter()
    for path in folder.glob(written):
        for line in path.read_bytes().splitlines():
            record = orjson.loads(line)  # dlt names the account after its parent
            found[record.get("_appid") or record["_windows_appid"], record["ref_date"]] += 1
    if found != wanted:
        raise LeftOutError(f"wrote {found.total():,} records, not each of {sum(wanted.values()):,}")


def turn(peer: Peer, python: str, job: dict[str, Any]) -> dict[str, Any]:
    """One turn of a peer: what it took, once what it wrote was checked."""
    command = [python, "-m", "benchmarks.peer.turn", peer.driver, peer.distribution]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        asked = json.dumps({**job, "folder": folder, "in_flight": peer.in_flight})
        printed = _run(command, input=asked, env=env, cwd=folder, timeout=SECONDS)
        check(Path(folder) / "harvest", job, peer.written)
    taken: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return taken


def compare(
    pythons: dict[str, str], job: dict[str, Any], rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """The turns of each peer; who fails once is left out from then on."""
    pythons, random = dict(pythons), Random(1)
    turns: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(rounds):
        for name in random.sample(sorted(pythons), len(pythons)):
            try:
                turns[name].append(turn(PEERS[name], pythons[name], job))
            except LeftOutError as exc:
                del pythons[name]
                turns.pop(name, None)
                print(f"left out: {name}: {exc}", flush=True)
    return turns


def figures_of(turns: dict[str, list[dict[str, Any]]], windows: int) -> list[Figure]:
    """The medians of each peer, and those of speed and CPU ÷ harvester's."""
    medians = {
        name: {
            key: statistics.median(each[key] for each in taken) for key in ("wall", "cpu", "memory")
        }
        for name, taken in turns.items()
    }
    if HARVESTER not in medians:
        raise LeftOutError("harvester itself was not measured")
    ours = medians[HARVESTER]
    figures = []
    for name, taken in sorted(medians.items(), key=lambda item: item[1]["cpu"]):
        name = f"peers, {name} {turns[name][0]['version']}"
        figures += [
            Figure(f"{name}: windows a second ÷ harvester's", ours["wall"] / taken["wall"]),
            Figure(f"{name}: CPU a window", taken["cpu"] / windows * 1e6, "µs"),
            Figure(f"{name}: peak of memory", taken["memory"], "MB"),
        ]
    return figures


def measure(*, full: bool = False, home: Path | None = None) -> list[Figure]:
    """Measure all peers; their environments are kept in ``home``."""
    with ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pythons = {}
        for name, peer in PEERS.items():
            try:
                pythons[name] = environment(peer, folder.resolve())
            except LeftOutError as exc:
                print(f"left out: {name}: {exc}", flush=True)
        job = job_of(stack.enter_context(serving()).url, DAYS)
        windows = len(job["tokens"]) * len(job["days"])
        try:
            return figures_of(compare(pythons, job, 3 * ROUNDS if full else ROUNDS), windows)
        except LeftOutError as exc:
            print(f"not measured: peers: {exc}", flush=True)
            return []
