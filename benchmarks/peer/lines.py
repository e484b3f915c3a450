"""What the drivers share: the windows of a job, and records as lines of JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson


def windows(job: dict[str, Any]) -> list[tuple[str, str]]:
    """Account and day of each request."""
    return [(appid, day) for appid in job["tokens"] for day in job["days"]]


def lines(job: dict[str, Any], appid: str, day: str, records: list[dict[str, Any]]) -> list[bytes]:
    """Each record with its metadata as a line."""
    metadata = {
        "_appid": appid,
        "_endpoint": job["endpoint"],
        "_begin_date": day,
        "_end_date": day,
        "_fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return [orjson.dumps(record | metadata) + b"\n" for record in records]
