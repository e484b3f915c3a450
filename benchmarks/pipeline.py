"""Measure the whole pipeline beside loops that an aiohttp user can write.

Three contenders ask one server for the same windows and write the same lines:

- harvester: `harvester.run` with ledger and JSON lines; the rate is out of the way;
- the tightest loop: `tightest`, at 64, 256 and 1,024 in flight;
- the loop by hand: `benchmarks.peer.with_aiohttp`, what one writes without measuring, at 64.

Neither loop paces, retries, has deadlines, or keeps its records when the process dies.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
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

ACCOUNTS, DAYS = 4, 1_000
WINDOWS = ACCOUNTS * DAYS
FIRST = date(2015, 1, 1)
ENDPOINT = "getarticlesummary"
SECRET = "practice"
ROUNDS = 9

GOALS = {64: 0.9, 256: 0.95, 1_024: 1.1}
"""Requests in flight, and the CPU of the tightest loop ÷ harvester's."""
REACHED = {64: 0.85, 256: 0.9, 1_024: 0.95}
"""What is reached today: raise a value when the pipeline has become faster."""
GOAL_BY_HAND = 1.35

MALLOC_THRESHOLD = 8 * 1024 * 1024

Driver = Callable[[dict[str, Any]], None]


def tokens(base_url: str, accounts: int = ACCOUNTS) -> dict[str, str]:
    """A token for each account."""
    granted = {}
    for number in range(1, accounts + 1):
        appid = f"wx{number:016x}"
        asked = {"grant_type": "client_credential", "appid": appid, "secret": SECRET}
        url, body = f"{base_url}/cgi-bin/stable_token", json.dumps(asked).encode()
        with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
            granted[appid] = json.load(answer)["access_token"]
    return granted


def job(base_url: str, days: int = DAYS) -> dict[str, Any]:
    """What every driver is asked to harvest."""
    return {
        "url": base_url,
        "endpoint": ENDPOINT,
        "secret": SECRET,
        "tokens": tokens(base_url),
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

    connector = aiohttp.TCPConnector(limit=0)
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
    """The medians of all drivers; they must have written the same number of bytes."""
    sizes: set[int] = set()
    contenders = {name: partial(turn, driver, job, sizes) for name, driver in drivers.items()}
    medians = take_turns(contenders, rounds)
    assert len(sizes) == 1, "the contenders did not write the same"
    return medians


def measure(*, full: bool = False) -> list[Figure]:
    """Measure the pipeline."""
    bytes(MALLOC_THRESHOLD)  # freed at once: glibc then keeps asyncio's read buffers mapped
    rounds = 3 * ROUNDS if full else ROUNDS
    figures: list[Figure] = []
    with serving() as server:
        asked = job(server.url)
        for in_flight, goal in GOALS.items():
            drivers: dict[str, Driver] = {"us": with_harvester.harvest, "tightest loop": tightest}
            if in_flight == min(GOALS):
                drivers["loop by hand"] = with_aiohttp.harvest
            spent = _beside({**asked, "in_flight": in_flight}, drivers, rounds)
            figures += _figures(in_flight, goal, spent)
    return figures


def _figures(in_flight: int, goal: float, spent: dict[str, Spent]) -> list[Figure]:
    ours = spent.pop("us")
    name = f"pipeline, {in_flight:,} in flight"
    figures = []
    for other, theirs in spent.items():
        goals = (goal, REACHED[in_flight]) if other == "tightest loop" else (GOAL_BY_HAND, None)
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
