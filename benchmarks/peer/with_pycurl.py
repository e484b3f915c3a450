"""libcurl's multi interface: easy handles that each ask for window after window."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pycurl

from benchmarks.peer.lines import lines, windows


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    url = f"{job['url']}/datacube/{job['endpoint']}?access_token="
    todo, multi = iter(windows(job)), pycurl.CurlMulti()
    running: dict[Any, tuple[str, str, BytesIO]] = {}

    def ask(curl: Any) -> None:
        for appid, day in todo:
            curl.setopt(pycurl.URL, url + job["tokens"][appid])
            curl.setopt(pycurl.POSTFIELDS, f'{{"begin_date":"{day}","end_date":"{day}"}}')
            running[curl] = (appid, day, body := BytesIO())
            curl.setopt(pycurl.WRITEDATA, body)
            multi.add_handle(curl)
            break

    with (Path(job["folder"]) / "records.jsonl").open("wb") as file:
        for _ in range(job["in_flight"]):
            ask(pycurl.Curl())
        while running:
            multi.perform()
            for curl in multi.info_read()[1]:
                multi.remove_handle(curl)
                appid, day, body = running.pop(curl)
                file.writelines(lines(job, appid, day, orjson.loads(body.getvalue())["list"]))
                ask(curl)
            multi.select(1.0)
