"""Creates worker processes by forking, which takes milliseconds instead of a second.

A line of JSON on standard input is a worker to start; its process id is the answer.  A worker ends
with 0 if everything requested is harvested, with 3 if not, with 4 if it raised a `RunError`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any

import harvester
from harvester.datacube.interfaces import INTERFACES as ENDPOINTS
from harvester.errors import HarvestError
from harvester.ledger import postgresql
from harvester.sinks import mysql as _mysql  # noqa: F401  (imported before the fork)
from harvester.sinks import postgresql as _sink  # noqa: F401

with suppress(harvester.UsageError):  # only trials of it need it
    import harvester.sinks.iceberg


async def _harvest(job: dict[str, Any]) -> int:
    endpoint = replace(ENDPOINTS[job["endpoint"]], span=job["span"])
    report = await harvester.run(
        [harvester.Account(appid, secret="practice") for appid in job["appids"]],
        endpoint,
        date.fromisoformat(job["start"]),
        date.fromisoformat(job["end"]),
        sink=job["sink"],
        ledger=job["ledger"],
        base_url=job["base_url"],
        rate=job["rate"],
        daily_quota=job["daily_quota"],
        concurrency=job["concurrency"],
        lease=job["lease"],
    )
    return 0 if report.state == "complete" else 3


def _work(job: dict[str, Any]) -> int:
    try:
        return asyncio.run(_harvest(job))
    except HarvestError as exc:
        print(f"worker {os.getpid()}: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
        return 4


def main() -> None:
    assert postgresql.PostgresLedger
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            pid, status = os.waitpid(asked["wait"], os.WNOHANG)
            print(None if pid == 0 else os.waitstatus_to_exitcode(status), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            status = 5
            try:
                status = _work(asked)
            except BaseException:  # noqa: BLE001  (it is told; the parent must not go on here)
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
