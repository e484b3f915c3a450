"""pycurl's multi interface: what libcurl does in C, with as little Python about it as there can be.

Each of the easy handles is set up once and asks for day after day; what it asks for is the one
thing that changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pycurl

HEADERS = ["Content-Type: application/json", "Accept: application/json"]


class _Slot:
    """An easy handle, and the window that it asks for."""

    def __init__(self) -> None:
        self.curl = pycurl.Curl()
        self.curl.setopt(pycurl.HTTPHEADER, HEADERS)
        self.window = ("", "")
        self.body = BytesIO()

    def ask(self, url: str, window: tuple[str, str]) -> None:
        """Set up the next request."""
        self.window, self.body = window, BytesIO()
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(
            pycurl.POSTFIELDS, f'{{"begin_date":"{window[1]}","end_date":"{window[1]}"}}'
        )
        self.curl.setopt(pycurl.WRITEDATA, self.body)


class _Harvest:
    """One harvest through one multi handle."""

    def __init__(self, job: dict[str, Any], file: BinaryIO) -> None:
        self._job = job
        self._file = file
        self._multi = pycurl.CurlMulti()
        path = f"{job['url']}/datacube/{job['endpoint']}?access_token="
        self._urls = {appid: path + token for appid, token in job["tokens"].items()}
        self._windows: Iterator[tuple[str, str]] = (
            (appid, day) for appid in job["tokens"] for day in job["days"]
        )
        self._slots: dict[Any, _Slot] = {}

    def run(self) -> None:
        """Go on until no request is under way."""
        for _ in range(self._job["in_flight"]):
            slot = _Slot()
            self._slots[slot.curl] = slot
            self._next(slot)
        while self._slots:
            self._multi.perform()
            if not self._collect():
                self._multi.select(1.0)
        self._multi.close()

    def _next(self, slot: _Slot) -> None:
        window = next(self._windows, None)
        if window is None:
            del self._slots[slot.curl]
            slot.curl.close()
            return
        slot.ask(self._urls[window[0]], window)
        self._multi.add_handle(slot.curl)

    def _collect(self) -> int:
        """Write what has come and ask for the next; how many those are."""
        waiting, collected = 1, 0
        while waiting:
            waiting, done, failed = self._multi.info_read()
            if failed:
                raise RuntimeError(failed[0][2])
            for curl in done:
                self._multi.remove_handle(curl)
                slot = self._slots[curl]
                self._write(slot)
                self._next(slot)
            collected += len(done)
        return collected

    def _write(self, slot: _Slot) -> None:
        appid, day = slot.window
        beside = {
            "_appid": appid,
            "_endpoint": self._job["endpoint"],
            "_begin_date": day,
            "_end_date": day,
            "_fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        records = orjson.loads(slot.body.getvalue())["list"]
        self._file.write(b"".join([orjson.dumps(record | beside) + b"\n" for record in records]))


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    with (Path(job["folder"]) / "records.jsonl").open("wb") as file:
        _Harvest(job, file).run()
