"""wechatpy's own client for datacube, in as many threads as are in flight."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from wechatpy import WeChatClient
from wechatpy.client.api import WeChatDataCube
from wechatpy.session.memorystorage import MemoryStorage

from benchmarks.peer.lines import lines, windows


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts; each thread has clients of its own, as sessions need."""
    WeChatDataCube.API_BASE_URL = f"{job['url']}/datacube/"
    own, writing, tokens = threading.local(), threading.Lock(), MemoryStorage()
    for appid, token in job["tokens"].items():
        tokens.set(f"{appid}_access_token", token)

    def client(appid: str) -> Any:
        name = f"client_{appid}"
        if not hasattr(own, name):
            setattr(own, name, WeChatClient(appid, job["secret"], session=tokens))
        return getattr(own, name)

    with (
        (Path(job["folder"]) / "records.jsonl").open("wb") as file,
        ThreadPoolExecutor(job["in_flight"]) as threads,
    ):

        def fetch(window: tuple[str, str]) -> None:
            records = client(window[0]).datacube.get_article_summary(window[1], window[1])
            with writing:
                file.writelines(lines(job, *window, records))

        list(threads.map(fetch, windows(job)))
