"""A sink of your own in twenty-five lines: each window is a row of one table.

    WX_APPID=wx… HARVESTER_SECRET=… python examples/own_sink.py windows.db

Any database with transactions can be a sink in this way; SQLite is the example.  A window replaces
all windows that overlap it, in one transaction, so nothing is lost or doubled if the process dies.
`check_sink` of `harvester.testing` tests that, and every other guarantee of a sink.
"""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import harvester


class Windows(harvester.Sink):
    """A table of windows."""

    path: Path
    is_file = True  # so that a run keeps its ledger beside it, not within

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def identity(self) -> str:
        return f"windows:{self.path.absolute()}"

    async def open(self, checkpoint: harvester.Checkpoint | None) -> harvester.Checkpoint:
        if checkpoint and not self.path.exists():
            raise harvester.SinkError(f"{self.path} is gone, though it was harvested; put it back")
        self._database = sqlite3.connect(self.path, timeout=30)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS windows (appid, endpoint, begin_date, end_date, lines,"
            " PRIMARY KEY (appid, endpoint, begin_date))"
        )
        return {"begun": "1"}

    async def write(
        self, batches: Sequence[harvester.Batch], fence: harvester.Fence
    ) -> harvester.Written:
        with self._database:  # a transaction
            for batch in batches:
                window = [str(part) for part in batch.window]  # appid, endpoint, begin, end
                self._database.execute(
                    "DELETE FROM windows WHERE appid = ?1 AND endpoint = ?2"
                    " AND begin_date <= ?4 AND end_date >= ?3", window,
                )  # fmt: skip
                self._database.execute(
                    "INSERT INTO windows VALUES (?, ?, ?, ?, ?)", [*window, batch.lines()]
                )
        return harvester.Written()

    async def close(self) -> None:
        if hasattr(self, "_database"):
            self._database.close()


async def main(path: Path) -> None:
    account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["HARVESTER_SECRET"])
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
