"""A sink of one's own, in thirty lines: each window a row of one table.

    WX_APPID=wx… WX_SECRET=… python examples/own_sink.py windows.db

Whatever has transactions can be a sink in this way; SQLite stands here for the database of yours.
A window that comes again takes the place of its former self and of shorter ones that lie in it, in
one transaction, so nothing is lost or doubled, whenever the process dies.  `check_sink` of
`harvester.testing` tries that, and all else that a sink promises.
"""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import harvester


class Windows:
    """A `harvester.Sink`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = f"windows:{path.absolute()}"

    async def open(self, receipt: harvester.Receipt | None) -> harvester.Receipt:
        if receipt and not self.path.exists():
            raise harvester.SinkError(f"{self.path} is gone, though it was harvested; put it back")
        self._database = sqlite3.connect(self.path, timeout=30)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS windows (endpoint TEXT, appid TEXT, begin_date TEXT,"
            " end_date TEXT, lines BLOB, PRIMARY KEY (endpoint, appid, begin_date, end_date))"
        )
        return {"begun": "1"}

    async def write(self, batches: Sequence[harvester.Batch]) -> harvester.Written:
        with self._database:  # a transaction
            for batch in batches:
                appid, endpoint, begin, end = batch.window
                key = (endpoint, appid, begin.isoformat(), end.isoformat())
                self._database.execute(
                    "DELETE FROM windows WHERE endpoint = ? AND appid = ?"
                    " AND begin_date >= ? AND end_date <= ?", key,
                )  # fmt: skip
                self._database.execute("INSERT INTO windows VALUES (?, ?, ?, ?, ?)",
                                       (*key, batch.body))  # fmt: skip
        return harvester.Written({})

    async def settle(self) -> None:
        pass

    async def close(self) -> None:
        if hasattr(self, "_database"):
            self._database.close()


async def main(path: Path) -> None:
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["WX_SECRET"])
    report = await harvester.run(
        account,
        "getusersummary",
        "2024-01-01",
        "2024-03-31",
        sink=Windows(path),
        ledger=path.with_suffix(".ledger"),
        base_url=os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com"),
        rate=os.environ.get("WX_RATE", "300/min"),
    )
    print(report.state, report.windows.done, "windows,", report.records, "records")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
