"""Scrapy: a spider with a request a day, and the feed export for JSON lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import JsonRequest
from scrapy.settings import Settings
from scrapy.utils.misc import load_object
from scrapy.utils.reactor import install_reactor

IMPORTED_LATER = (
    "EXTENSIONS",
    "DOWNLOADER_MIDDLEWARES",
    "DOWNLOAD_HANDLERS",
    "SPIDER_MIDDLEWARES",
    "FEED_STORAGES",
    "FEED_EXPORTERS",
)


class Days(scrapy.Spider):
    """Every day of every account."""

    name = "days"
    job: dict[str, Any]

    async def start(self) -> AsyncIterator[Any]:
        """A request a day and account."""
        url = f"{self.job['url']}/datacube/{self.job['endpoint']}?access_token="
        for appid, token in self.job["tokens"].items():
            for day in self.job["days"]:
                yield JsonRequest(
                    url + token,
                    data={"begin_date": day, "end_date": day},
                    cb_kwargs={"appid": appid, "day": day},
                )

    def parse(self, response: Any, appid: str, day: str) -> Iterator[dict[str, Any]]:
        """The records of a day."""
        beside = {
            "_appid": appid,
            "_endpoint": self.job["endpoint"],
            "_begin_date": day,
            "_end_date": day,
            "_fetched_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for record in response.json()["list"]:
            yield record | beside


def rehearse(_: dict[str, Any]) -> None:
    """Import what a crawl imports; no crawl can go before, as a reactor starts only once."""
    settings = Settings()
    install_reactor(settings["TWISTED_REACTOR"])
    for name in IMPORTED_LATER:
        for key, value in settings.getwithbase(name).items():
            load_object(value if isinstance(value, str) else key)
    load_object(settings["DOWNLOADER"])
    load_object(settings["SCHEDULER"])


def harvest(job: dict[str, Any]) -> None:
    """Harvest the days of all accounts."""
    process = CrawlerProcess(
        {
            "CONCURRENT_REQUESTS": job["in_flight"],
            "CONCURRENT_REQUESTS_PER_DOMAIN": job["in_flight"],
            "DOWNLOAD_DELAY": 0,  # a new project has a second
            "FEEDS": {str(Path(job["folder"]) / "records.jsonl"): {"format": "jsonlines"}},
            "FEED_EXPORT_ENCODING": "utf-8",
            "LOG_LEVEL": "WARNING",
            "TELNETCONSOLE_ENABLED": False,
        }
    )
    process.crawl(Days, job=job)
    process.start()
