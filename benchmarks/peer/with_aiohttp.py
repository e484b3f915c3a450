"""A loop over aiohttp, as one writes it by hand: gather over a semaphore, a write a record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp

from benchmarks.peer.lines import lines, windows


async def _run(job: dict[str, Any], file: BinaryIO) -> None:
    url = f"{job['url']}/datacube/{job['endpoint']}"
    slots = asyncio.Semaphore(job["in_flight"])

    async def fetch(session: aiohttp.ClientSession, appid: str, day: str) -> None:
        query = {"access_token": job["tokens"][appid]}
        asked = {"begin_date": day, "end_date": day}
        async with slots, session.post(url, params=query, json=asked) as response:
            answer = await response.json()
        file.writelines(lines(job, appid, day, answer["list"]))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*[fetch(session, appid, day) for appid, day in windows(job)])


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    with (Path(job["folder"]) / "records.jsonl").open("wb") as file:
        asyncio.run(_run(job, file))
