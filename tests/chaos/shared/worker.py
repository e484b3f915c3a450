"""The worker processes.

One ends with 0 if everything requested is harvested, with 3 if not, with 1 if the ledger does not
know what the sink has of an account, with 4 if it raised an error.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from datetime import date
from typing import Any

import harvester
from harvester.errors import HarvestError
from harvester.ledger import postgresql as _ledger  # noqa: F401  (imported before the fork)
from harvester.sinks.sql import mysql as _mysql  # noqa: F401
from harvester.sinks.sql import postgresql as _sink  # noqa: F401
from harvester.wechat.interfaces import INTERFACES
from tests.chaos.forks import serve


async def _harvest(job: dict[str, Any]) -> int:
    span, appids, begin, end = (job.pop(name) for name in ("span", "appids", "begin", "end"))
    report = await harvester.run(
        [harvester.Account(appid, secret="practice") for appid in appids],
        replace(INTERFACES["getusersummary"], span=span),
        date.fromisoformat(begin),
        date.fromisoformat(end),
        **job,
    )
    return 0 if report.state == "complete" else 1 if report.stopped else 3


def _work(job: dict[str, Any]) -> int:
    try:
        return asyncio.run(_harvest(job))
    except HarvestError as exc:
        print(f"worker {os.getpid()}: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
        return 4


if __name__ == "__main__":
    serve(_work)
