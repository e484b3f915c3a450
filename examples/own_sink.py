"""A sink of one's own: reads by account and day, in one CSV file.

    WX_APPID=wx… WX_SECRET=… python examples/own_sink.py reads.csv

It keeps the promise in the simplest way there is: a day that comes again replaces its former self,
and the file is written anew beside the old one and takes its name in one step.
"""

import asyncio
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import harvester


class ReadsByDay:
    """A `harvester.Sink`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], int] = {}

    @property
    def identity(self) -> str:
        return f"reads:{self._path.absolute()}"

    async def open(self, receipt: harvester.Receipt | None) -> harvester.Receipt:
        if self._path.exists():
            with self._path.open(newline="") as file:
                self._rows = {(row[0], row[1]): int(row[2]) for row in csv.reader(file)}
        return {"begun": "1"}

    async def write(self, batches: Sequence[harvester.Batch]) -> harvester.Written:
        for batch in batches:
            key = (batch.window.appid, batch.window.begin.isoformat())
            self._rows[key] = sum(r["int_page_read_count"] for r in batch.documents())
        beside = self._path.with_suffix(".tmp")
        with beside.open("w", newline="") as file:
            csv.writer(file).writerows([*key, reads] for key, reads in sorted(self._rows.items()))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        return harvester.Written({})

    async def settle(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def main(path: Path) -> None:
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["WX_SECRET"])
    report = await harvester.run(
        account,
        "getarticlesummary",
        "2024-01-01",
        "2024-03-31",
        sink=ReadsByDay(path),
        ledger=path.with_suffix(".ledger"),
        base_url=os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com"),
        rate=os.environ.get("WX_RATE", "300/min"),
    )
    print(report.state, report.windows.done, "days,", report.records, "records")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
