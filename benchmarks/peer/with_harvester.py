"""harvester: ledger, sink, retries and pacing on, the rate out of the way."""

from __future__ import annotations

import asyncio
from typing import Any

import harvester


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts; it fetches its tokens itself."""
    report = asyncio.run(
        harvester.run(
            [harvester.Account(appid, job["secret"]) for appid in job["tokens"]],
            job["endpoint"],
            job["days"][0],
            job["days"][-1],
            sink=f"jsonl:{job['folder']}",
            base_url=job["url"],
            rate="1000000/s",
            concurrency=job["in_flight"],
            ca_file=job.get("ca_file"),
        )
    )
    if report.state != "complete":
        raise RuntimeError(str(report))
