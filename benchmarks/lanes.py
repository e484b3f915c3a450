"""What many accounts cost beside one: the same number of windows of 1,000 accounts, and of one.

`harvester.run` over sockets as in `throughput.py`, all tokens at hand: 12 days of each of a
thousand accounts, and 12,000 days of one, in turns.  Of many accounts no two windows of a commit
are neighbours, so each takes a row of the ledger, and each account has a lane to be set up.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import aiohttp
import orjson

import harvester
from benchmarks.figures import Figure, show
from benchmarks.inside import appids
from benchmarks.server import serving
from benchmarks.throughput import IN_FLIGHT, MALLOC_THRESHOLD, SECRET, Contender, one_round
from harvester.datacube import INTERFACES
from harvester.model import Account, Token

LANES, DAYS = 1_000, 12
WINDOWS = LANES * DAYS
LAST = date(2024, 12, 31)
ENDPOINT = replace(INTERFACES["getarticlesummary"], first_day=date(1900, 1, 1))
ROUNDS = 7
GOAL, GATE = 0.9, 0.75


async def _tokens(base_url: str) -> dict[str, str]:
    """A token for each account."""
    names, tokens = iter(appids(LANES)), {}

    async def fetch(session: aiohttp.ClientSession) -> None:
        for appid in names:
            asked = {"grant_type": "client_credential", "appid": appid, "secret": SECRET}
            async with session.post(f"{base_url}/cgi-bin/stable_token", json=asked) as response:
                tokens[appid] = str(orjson.loads(await response.read())["access_token"])

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*[fetch(session) for _ in range(IN_FLIGHT)])
    return tokens


def _contender(base_url: str, accounts: Sequence[Account]) -> Contender:
    first = LAST - timedelta(days=WINDOWS // len(accounts) - 1)

    async def run(folder: Path) -> None:
        report = await harvester.run(
            accounts,
            ENDPOINT,
            first,
            LAST,
            sink=f"jsonl:{folder}",
            base_url=base_url,
            rate=1e6,
            concurrency=IN_FLIGHT,
        )
        assert report.windows.done == WINDOWS, report

    return run


def _account(appid: str, token: str) -> Account:
    return Account(appid, token=lambda: Token(token))


async def _rounds(base_url: str) -> dict[str, list[tuple[float, float]]]:
    accounts = [_account(appid, token) for appid, token in (await _tokens(base_url)).items()]
    entered = {
        "many": _contender(base_url, accounts),
        "one": _contender(base_url, accounts[:1]),
    }
    bytes(MALLOC_THRESHOLD)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in entered}
    for number in range(ROUNDS + 1):
        for name in sorted(entered, reverse=number % 2 == 1):
            taken[name].append((await one_round(entered[name], WINDOWS))[:2])
    return taken


def measure() -> list[Figure]:
    """The figures."""
    with serving() as server:
        taken = asyncio.run(_rounds(server.url))
    wall = {name: statistics.median(wall for wall, _ in each[1:]) for name, each in taken.items()}
    cpu = {name: statistics.median(cpu for _, cpu in each[1:]) for name, each in taken.items()}
    name = f"lanes: {LANES:,} accounts, of the speed of one"
    return [
        Figure(f"{name}, by CPU time", cpu["one"] / cpu["many"], goal=GOAL, gate=GATE),
        Figure(f"{name}, by the clock", wall["one"] / wall["many"], goal=GOAL, gate=GATE),
        Figure("lanes: one account, CPU a window", cpu["one"] / WINDOWS * 1e6, "µs"),
        Figure(f"lanes: {LANES:,} accounts, CPU a window", cpu["many"] / WINDOWS * 1e6, "µs"),
    ]


if __name__ == "__main__":
    show(measure())
