"""Measure the whole pipeline beside loops that an aiohttp user can write.

Three contenders ask one server for the same windows and write the same lines:

- harvester: `harvester.run` with ledger and JSON lines; the rate is out of the way;
- the tightest loop: `tightest`, at 64, 256 and 1,024 in flight, and over TLS at 64 and 256;
- the loop by hand: `benchmarks.peer.with_aiohttp`, what one writes without measuring, at 64.

Neither loop paces, retries, has deadlines, or keeps its records when the process dies.  Server and
client have a core each: otherwise they take the time of each other.  A long job less a short one is
what one more window takes; what each contender takes to start and to end is left out.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from operator import sub
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from benchmarks.figures import Figure, Spent, take_turns, timed
from benchmarks.peer import with_aiohttp, with_harvester
from benchmarks.server import RECORDS, serving

ACCOUNTS, DAYS, FEWER = 4, 3_000, 400
"""A turn on a shared machine is off by about a tenth: between jobs of similar length that would be
much of their difference."""
WINDOWS = ACCOUNTS * (DAYS - FEWER)
"""Windows of the long job less those of the short one."""
FIRST = date(2015, 1, 1)
ENDPOINT = "getarticlesummary"
SECRET = "practice"
ROUNDS = 5

GOALS = {False: {64: 1.0, 256: 1.15, 1_024: 1.3}, True: {64: 1.0, 256: 1.2}}
"""Whether over TLS, requests in flight, and the CPU of the tightest loop ÷ harvester's."""
REACHED: dict[bool, dict[int, float]] = {False: {1_024: 1.25}, True: {}}
"""What is reached today, where that may miss the goal."""
GOAL_BY_HAND = 1.35

MALLOC_THRESHOLD = 8 * 1024 * 1024

Driver = Callable[[dict[str, Any]], None]


def _tls(ca_file: str | Path | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=ca_file) if ca_file else None


def tokens(base_url: str, accounts: int = ACCOUNTS, ca_file: Path | None = None) -> dict[str, str]:
    """A token for each account."""
    granted, tls = {}, _tls(ca_file)
    for number in range(1, accounts + 1):
        appid = f"wx{number:016x}"
        asked = {"grant_type": "client_credential", "appid": appid, "secret": SECRET}
        url, body = f"{base_url}/cgi-bin/stable_token", json.dumps(asked).encode()
        asking = Request(url, body, {"Content-Type": "application/json"})
        with urlopen(asking, context=tls) as answer:
            granted[appid] = json.load(answer)["access_token"]
    return granted


def job(base_url: str, days: int = DAYS, ca_file: Path | None = None) -> dict[str, Any]:
    """What every driver is asked to harvest."""
    return {
        "url": base_url,
        "endpoint": ENDPOINT,
        "secret": SECRET,
        "ca_file": ca_file,
        "tokens": tokens(base_url, ca_file=ca_file),
        "days": [(FIRST + timedelta(days=n)).isoformat() for n in range(days)],
        "in_flight": 64,
    }


def tightest(job: dict[str, Any]) -> None:
    """Harvest with the tightest loop that an aiohttp user can write."""
    with (Path(job["folder"]) / "lines.jsonl").open("wb", buffering=1 << 18) as file:
        asyncio.run(_tightest(job, file.write))


@lru_cache(maxsize=1)
def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _tightest(job: dict[str, Any], write: Callable[[bytes], int]) -> None:
    target = f"{job['url']}/datacube/{job['endpoint']}?access_token="
    urls = {appid: URL(target + token, encoded=True) for appid, token in job["tokens"].items()}
    windows = ((urls[appid], appid, day) for appid in urls for day in job["days"])
    headers = CIMultiDict({"Content-Type": "application/json", "Accept": "application/json"})
    timeout = aiohttp.ClientTimeout(total=None)
    loads, dumps, endpoint = orjson.loads, orjson.dumps, job["endpoint"]

    async def work(session: aiohttp.ClientSession) -> None:
        for url, appid, day in windows:
            body = f'{{"begin_date":"{day}","end_date":"{day}"}}'.encode()
            response = await session.post(url, data=body, headers=headers)
            records = loads(await response.read())["list"]
            tail = (
                f',"_appid":"{appid}","_endpoint":"{endpoint}","_begin_date":"{day}",'
                f'"_end_date":"{day}","_fetched_at":"{_stamp(int(time.time()))}"}}\n'
            ).encode()
            write(b"".join([dumps(record)[:-1] + tail for record in records]))

    connector = aiohttp.TCPConnector(limit=0, ssl=_tls(job["ca_file"]) or True)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*[work(session) for _ in range(job["in_flight"])])


def turn(harvest: Driver, job: dict[str, Any], sizes: set[int]) -> Spent:
    """One turn; the size of what it wrote is added to ``sizes``."""
    with tempfile.TemporaryDirectory() as folder:
        spent = timed(lambda: harvest({**job, "folder": folder}))
        lines = b"".join([path.read_bytes() for path in Path(folder).rglob("*.jsonl")])
    assert lines.count(b"\n") == RECORDS * len(job["tokens"]) * len(job["days"]), "missing lines"
    sizes.add(len(lines))
    return spent


def _beside(job: dict[str, Any], drivers: dict[str, Driver], rounds: int) -> dict[str, Spent]:
    """What the long job takes more than the short one, by driver: medians.

    All drivers must have written the same number of bytes.
    """
    contenders: dict[tuple[str, int], Callable[[], Spent]] = {}
    sizes: dict[int, set[int]] = {DAYS: set(), FEWER: set()}
    for name, driver in drivers.items():
        for days, found in sizes.items():
            asked = {**job, "days": job["days"][:days]}
            contenders[name, days] = partial(turn, driver, asked, found)
    medians = take_turns(contenders, rounds)
    assert {len(found) for found in sizes.values()} == {1}, "they did not write the same"
    return {name: Spent(*map(sub, medians[name, DAYS], medians[name, FEWER])) for name in drivers}


def measure(*, full: bool = False) -> list[Figure]:
    """Measure the pipeline."""
    bytes(MALLOC_THRESHOLD)  # freed at once: glibc then keeps asyncio's read buffers mapped
    rounds = 3 * ROUNDS if full else ROUNDS
    figures: list[Figure] = []
    for tls, goals in GOALS.items():
        with serving(tls=tls, apart=True) as server:
            asked = job(server.url, ca_file=server.ca_file)
            for in_flight in goals:
                drivers: dict[str, Driver] = {
                    "us": with_harvester.harvest,
                    "tightest loop": tightest,
                }
                if in_flight == min(goals) and not tls:
                    drivers["loop by hand"] = with_aiohttp.harvest
                spent = _beside({**asked, "in_flight": in_flight}, drivers, rounds)
                figures += _figures(in_flight, spent, tls=tls)
    return figures


def _figures(in_flight: int, spent: dict[str, Spent], *, tls: bool) -> list[Figure]:
    ours = spent.pop("us")
    name = f"pipeline{' over TLS' if tls else ''}, {in_flight:,} in flight"
    bounds = GOALS[tls][in_flight], REACHED[tls].get(in_flight)
    figures = []
    for other, theirs in spent.items():
        goals = bounds if other == "tightest loop" else (GOAL_BY_HAND, None)
        figures += [
            Figure(f"{name}: CPU of the {other} ÷ harvester's", theirs.cpu / ours.cpu, "", *goals),
            Figure(f"{name}: seconds of the {other} ÷ harvester's", theirs.wall / ours.wall),
            Figure(f"{name}: CPU of the {other} a window", theirs.cpu / WINDOWS * 1e6, "µs"),
        ]
    return [
        *figures,
        Figure(f"{name}: CPU of harvester a window", ours.cpu / WINDOWS * 1e6, "µs"),
        Figure(f"{name}: windows a second of harvester", WINDOWS / ours.wall),
    ]
