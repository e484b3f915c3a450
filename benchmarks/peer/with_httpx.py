"""httpx, with aiometer to say how many requests are in flight."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import aiometer
import httpx
import orjson


async def _run(job: dict[str, Any], file: BinaryIO) -> None:
    url = f"{job['url']}/datacube/{job['endpoint']}"
    limits = httpx.Limits(
        max_connections=job["in_flight"], max_keepalive_connections=job["in_flight"]
    )

    async def fetch(client: httpx.AsyncClient, window: tuple[str, str]) -> None:
        appid, day = window
        query = {"access_token": job["tokens"][appid]}
        response = await client.post(url, params=query, json={"begin_date": day, "end_date": day})
        beside = {
            "_appid": appid,
            "_endpoint": job["endpoint"],
            "_begin_date": day,
            "_end_date": day,
            "_fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        file.writelines(orjson.dumps(record | beside) + b"\n" for record in response.json()["list"])

    async with httpx.AsyncClient(limits=limits) as client:
        windows = [(appid, day) for appid in job["tokens"] for day in job["days"]]
        await aiometer.run_on_each(partial(fetch, client), windows, max_at_once=job["in_flight"])


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    with (Path(job["folder"]) / "records.jsonl").open("wb") as file:
        asyncio.run(_run(job, file))
