"""wechatpy's own client for datacube, in as many threads as are to be in flight.

A client holds a `requests.Session`, which threads should not share: each thread has its own, the
session with the tokens is common.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from wechatpy import WeChatClient
from wechatpy.client.api import WeChatDataCube
from wechatpy.session.memorystorage import MemoryStorage


class _Harvest:
    """One harvest by any number of threads into one file."""

    def __init__(self, job: dict[str, Any], file: BinaryIO) -> None:
        self._job = job
        self._file = file
        self._own = threading.local()
        self._writing = threading.Lock()
        self._session = MemoryStorage()
        for appid, token in job["tokens"].items():
            self._session.set(f"{appid}_access_token", token)

    def _clients(self) -> dict[str, Any]:
        if not hasattr(self._own, "clients"):
            self._own.clients = {
                appid: WeChatClient(appid, self._job["secret"], session=self._session)
                for appid in self._job["tokens"]
            }
        clients: dict[str, Any] = self._own.clients
        return clients

    def fetch(self, window: tuple[str, str]) -> None:
        """Ask for a day and write its records."""
        appid, day = window
        records = self._clients()[appid].datacube.get_article_summary(day, day)
        beside = {
            "_appid": appid,
            "_endpoint": self._job["endpoint"],
            "_begin_date": day,
            "_end_date": day,
            "_fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        with self._writing:
            for record in records:
                self._file.write(orjson.dumps(record | beside) + b"\n")


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    WeChatDataCube.API_BASE_URL = f"{job['url']}/datacube/"
    windows = [(appid, day) for appid in job["tokens"] for day in job["days"]]
    with (
        (Path(job["folder"]) / "records.jsonl").open("wb") as file,
        ThreadPoolExecutor(job["in_flight"]) as threads,
    ):
        for _ in threads.map(_Harvest(job, file).fetch, windows):
            pass
