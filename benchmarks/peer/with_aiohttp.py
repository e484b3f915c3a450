"""A loop over aiohttp, as one writes it by hand: gather over a semaphore, a write a record."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import orjson


async def _run(job: dict[str, Any], file: BinaryIO) -> None:
    url = f"{job['url']}/datacube/{job['endpoint']}"
    slots = asyncio.Semaphore(job["in_flight"])

    async def fetch(session: aiohttp.ClientSession, appid: str, day: str) -> None:
        query = {"access_token": job["tokens"][appid]}
        asked = {"begin_date": day, "end_date": day}
        async with slots, session.post(url, params=query, json=asked) as response:
            answer = await response.json()
        beside = {
            "_appid": appid,
            "_endpoint": job["endpoint"],
            "_begin_date": day,
            "_end_date": day,
            "_fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        file.writelines(orjson.dumps(record | beside) + b"\n" for record in answer["list"])

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(
            *[fetch(session, appid, day) for appid in job["tokens"] for day in job["days"]]
        )


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    with (Path(job["folder"]) / "records.jsonl").open("wb") as file:
        asyncio.run(_run(job, file))
