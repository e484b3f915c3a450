"""How much of a bare aiohttp loop's speed is left, with ledger and JSON lines on.

Four contenders ask one server for the same windows and write the same lines, in one process, in
turns and in random order:

- harvester: `harvester.run`, 64 in flight, ledger and sink on, the rate out of the way;
- bare: 64 workers over one iterator that post, read, decode with orjson, add the same metadata and
  write the same lines, one write a response, with aiohttp's own settings;
- tuned: the same, as fast as aiohttp lets one write it: URLs made beforehand, no timeout, `await
  post` and `await read`, a large buffer.  Like the former it paces nothing, tries nothing again,
  has no deadline, and a crash loses what it has;
- by hand: what one writes without measuring.  gather over a semaphore, ``params=``, ``json=``,
  ``r.json()``, a write a record;
- own transport: the tuned loop, but sent as harvester sends: over the session's pool and parser,
  without the session.  It tells apart what the transport saves and what the engine costs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import orjson
from yarl import URL

import harvester
from benchmarks.figures import Figure, show, spread
from benchmarks.server import RECORDS, serving
from harvester.model import Request
from harvester.transport import HttpTransport

IN_FLIGHT = 64
ACCOUNTS = 4
DAYS = 1_000
REQUESTS = ACCOUNTS * DAYS
ROUNDS = 24
FIRST = date(2015, 1, 1)
NAME = "getarticlesummary"
SECRET = "practice"
GOAL, GATE = 0.80, 0.72
GOAL_TUNED, GATE_TUNED = 0.95, 0.85
GOAL_BY_HAND, GATE_BY_HAND = 1.35, 1.21

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
MALLOC_THRESHOLD = 8 * 1024 * 1024

Contender = Callable[[Path], Awaitable[None]]


def appids() -> list[str]:
    """The accounts that are harvested."""
    return [f"wx{number:016x}" for number in range(1, ACCOUNTS + 1)]


def days(number: int = DAYS) -> list[date]:
    """The days that are harvested of each."""
    return [FIRST + timedelta(days=n) for n in range(number)]


class Stamp:
    """The time of fetching, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._text


class Contenders:
    """All of them, for one server."""

    def __init__(
        self,
        base_url: str,
        tokens: dict[str, str],
        *,
        in_flight: int = IN_FLIGHT,
        number_of_days: int = DAYS,
    ) -> None:
        self._base_url = base_url
        self._tokens = tokens
        self._in_flight = in_flight
        self._days = days(number_of_days)
        path = f"{base_url}/datacube/{NAME}"
        self._urls = {
            appid: URL(f"{path}?access_token={tokens[appid]}", encoded=True) for appid in appids()
        }

    async def harvester(self, folder: Path) -> None:
        """The library, everything on."""
        report = await harvester.run(
            [harvester.Account(appid, SECRET) for appid in appids()],
            NAME,
            FIRST,
            self._days[-1],
            sink=f"jsonl:{folder}",
            base_url=self._base_url,
            rate=1e6,
            concurrency=self._in_flight,
        )
        assert report.state == "complete", report

    async def bare(self, folder: Path) -> None:
        """Post, read, decode, add the metadata, write; aiohttp as it comes."""
        shared = ((appid, day) for appid in appids() for day in self._days)
        url, stamp = f"{self._base_url}/datacube/{NAME}", Stamp()

        async def work(file: Any, session: aiohttp.ClientSession) -> None:
            for appid, date_asked in shared:
                day = date_asked.isoformat()
                body = orjson.dumps({"begin_date": day, "end_date": day})
                target = f"{url}?access_token={self._tokens[appid]}"
                async with session.post(target, data=body, headers=HEADERS) as response:
                    records = orjson.loads(await response.read())["list"]
                beside = {
                    "_appid": appid,
                    "_endpoint": NAME,
                    "_begin_date": day,
                    "_end_date": day,
                    "_fetched_at": stamp(),
                }
                file.write(b"".join([orjson.dumps(record | beside) + b"\n" for record in records]))

        with (folder / "lines.jsonl").open("wb") as file:
            async with aiohttp.ClientSession() as session:
                await asyncio.gather(*[work(file, session) for _ in range(self._in_flight)])

    async def tuned(self, folder: Path) -> None:
        """The fastest loop that aiohttp lets one write."""
        shared = ((url, appid, day) for appid, url in self._urls.items() for day in self._days)
        stamp = Stamp()
        timeout = aiohttp.ClientTimeout(total=None)
        append = orjson.OPT_APPEND_NEWLINE

        async def work(write: Callable[[bytes], int], session: aiohttp.ClientSession) -> None:
            for url, appid, date_asked in shared:
                day = date_asked.isoformat()
                body = f'{{"begin_date":"{day}","end_date":"{day}"}}'.encode()
                response = await session.post(url, data=body, headers=HEADERS, timeout=timeout)
                records = orjson.loads(await response.read())["list"]
                beside = {
                    "_appid": appid,
                    "_endpoint": NAME,
                    "_begin_date": day,
                    "_end_date": day,
                    "_fetched_at": stamp(),
                }
                lines = []
                for record in records:
                    record.update(beside)
                    lines.append(orjson.dumps(record, option=append))
                write(b"".join(lines))

        connector = aiohttp.TCPConnector(limit=0)
        with (folder / "lines.jsonl").open("wb", buffering=1 << 18) as file:
            async with aiohttp.ClientSession(connector=connector) as session:
                await asyncio.gather(*[work(file.write, session) for _ in range(self._in_flight)])

    async def own_transport(self, folder: Path) -> None:
        """The tuned loop over the library's own transport."""
        shared = ((appid, day) for appid in appids() for day in self._days)
        stamp, path = Stamp(), f"/datacube/{NAME}"
        queries = {appid: (("access_token", token),) for appid, token in self._tokens.items()}
        append = orjson.OPT_APPEND_NEWLINE

        async def work(write: Callable[[bytes], int], transport: HttpTransport) -> None:
            for appid, date_asked in shared:
                day = date_asked.isoformat()
                body = f'{{"begin_date":"{day}","end_date":"{day}"}}'.encode()
                response = await transport.send(Request("POST", path, queries[appid], body))
                beside = {
                    "_appid": appid,
                    "_endpoint": NAME,
                    "_begin_date": day,
                    "_end_date": day,
                    "_fetched_at": stamp(),
                }
                lines = []
                for record in orjson.loads(response.body)["list"]:
                    record.update(beside)
                    lines.append(orjson.dumps(record, option=append))
                write(b"".join(lines))

        with (folder / "lines.jsonl").open("wb", buffering=1 << 18) as file:
            async with HttpTransport(self._base_url) as transport:
                await asyncio.gather(*[work(file.write, transport) for _ in range(self._in_flight)])

    async def by_hand(self, folder: Path) -> None:
        """What one writes without measuring."""
        slots = asyncio.Semaphore(self._in_flight)
        url = f"{self._base_url}/datacube/{NAME}"

        async def fetch(file: Any, session: aiohttp.ClientSession, appid: str, day: date) -> None:
            query = {"access_token": self._tokens[appid]}
            asked = {"begin_date": day.isoformat(), "end_date": day.isoformat()}
            async with slots, session.post(url, params=query, json=asked) as response:
                answer = await response.json()
            fetched_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for record in answer["list"]:
                record |= {
                    "_appid": appid,
                    "_endpoint": NAME,
                    "_begin_date": day.isoformat(),
                    "_end_date": day.isoformat(),
                    "_fetched_at": fetched_at,
                }
                file.write(orjson.dumps(record) + b"\n")

        with (folder / "lines.jsonl").open("wb") as file:
            async with aiohttp.ClientSession() as session:
                await asyncio.gather(
                    *[fetch(file, session, appid, day) for appid in appids() for day in self._days]
                )


async def fetch_tokens(base_url: str) -> dict[str, str]:
    """A token for each account."""
    tokens = {}
    async with aiohttp.ClientSession() as session:
        for appid in appids():
            asked = {"grant_type": "client_credential", "appid": appid, "secret": SECRET}
            async with session.post(f"{base_url}/cgi-bin/stable_token", json=asked) as response:
                tokens[appid] = json.loads(await response.read())["access_token"]
    return tokens


def _written(folder: Path) -> Iterator[Path]:
    return folder.rglob("*.jsonl")


def check_lines(folder: Path, requests: int = REQUESTS) -> int:
    """How many bytes of lines stand there; all of them must."""
    data = b"".join([path.read_bytes() for path in _written(folder)])
    assert data.count(b"\n") == requests * RECORDS, "lines are missing"
    return len(data)


async def one_round(contender: Contender, requests: int = REQUESTS) -> tuple[float, float, int]:
    """One round: seconds, seconds of CPU (all threads), bytes written."""
    with tempfile.TemporaryDirectory() as name:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await contender(Path(name))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return wall, cpu, check_lines(Path(name), requests)


async def _rounds(base_url: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    contenders = Contenders(base_url, await fetch_tokens(base_url))
    entered: dict[str, Contender] = {
        "harvester": contenders.harvester,
        "bare": contenders.bare,
        "tuned": contenders.tuned,
        "by hand": contenders.by_hand,
        "own transport": contenders.own_transport,
    }
    bytes(MALLOC_THRESHOLD)  # cures asyncio's reads on glibc, for all of them
    sizes = {(await one_round(contender))[2] for contender in entered.values()}  # also warms up
    assert len(sizes) == 1, "the contenders did not write the same"
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in entered}
    draw = Random(1)
    for _ in range(rounds):
        for name in draw.sample(sorted(entered), len(entered)):
            wall, cpu, _ = await one_round(entered[name])
            taken[name].append((wall, cpu))
    return taken


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """The figures."""
    with serving() as server:
        taken = asyncio.run(_rounds(server.url, rounds))
    wall = {name: statistics.median(wall for wall, _ in pairs) for name, pairs in taken.items()}
    cpu = {name: statistics.median(cpu for _, cpu in pairs) for name, pairs in taken.items()}
    ours = taken["harvester"]
    paired = [theirs[1] / mine[1] for theirs, mine in zip(taken["bare"], ours, strict=True)]
    figures = [
        Figure("throughput: of the bare loop's, by CPU time", cpu["bare"] / cpu["harvester"],
               goal=GOAL, gate=GATE),
        Figure("throughput: of the bare loop's, by the clock", wall["bare"] / wall["harvester"],
               goal=GOAL, gate=GATE),
        Figure("throughput: of the tuned loop's, by CPU time", cpu["tuned"] / cpu["harvester"],
               goal=GOAL_TUNED, gate=GATE_TUNED),
        Figure("throughput: of the tuned loop's, by the clock", wall["tuned"] / wall["harvester"],
               goal=GOAL_TUNED, gate=GATE_TUNED),
        Figure("throughput: of the loop by hand, by CPU time", cpu["by hand"] / cpu["harvester"],
               goal=GOAL_BY_HAND, gate=GATE_BY_HAND),
        Figure("throughput: of the loop by hand, by the clock", wall["by hand"] / wall["harvester"],
               goal=GOAL_BY_HAND, gate=GATE_BY_HAND),
        Figure("throughput: of the tuned loop's with our transport, by CPU time",
               cpu["own transport"] / cpu["harvester"]),
        Figure("throughput: spread of the paired ratios, CPU time", spread(paired)),
    ]  # fmt: skip
    for name in taken:
        figures.append(
            Figure(f"throughput: {name}, CPU a request", cpu[name] / REQUESTS * 1e6, "µs")
        )
        figures.append(Figure(f"throughput: {name}, requests", REQUESTS / wall[name], "/s"))
    return figures


if __name__ == "__main__":
    show(measure())
