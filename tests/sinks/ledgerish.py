"""What the tests of sinks in directories have in common: batches, and a keeper of receipts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from harvester.codec import checksum, lines
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Receipt

STAMP = "2024-06-15T04:00:00Z"
ENDPOINT = "getarticlesummary"
TITLES = [
    "", "😀👨‍👩‍👧", "nul \0 inside", "x" * 300, "文" * 300, "line\nbreak\r\u2028", '"q" \\ /',
    "中文",
]  # fmt: skip


def batch(
    day: int,
    *records: dict[str, Any],
    appid: str = "wx1",
    replaces: bool = False,
    endpoint: str = ENDPOINT,
    days: int = 1,
) -> Batch:
    """A batch of the window that begins on a day of January 2024 (days may run on)."""
    when = date(2023, 12, 31) + timedelta(days=day)
    window = Window(appid, endpoint, when, when + timedelta(days=days - 1))
    encoded = lines(records, metadata(window, STAMP))
    return Batch(window, STAMP, len(records), b"".join(encoded), checksum(encoded), replaces)


class Ledgerish:
    """Keeps receipts as the ledger does."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.receipt: Receipt = {}
        self.drift: list[str] = []

    async def open(self) -> Any:
        sink = self.make()
        self.store(await sink.open(dict(self.receipt)))
        return sink

    def store(self, receipt: Receipt) -> None:
        self.receipt.update(receipt)
        self.receipt = {key: value for key, value in self.receipt.items() if value}

    async def commit(self, sink: Any, *batches: Batch) -> dict[Window, Tally]:
        written = await sink.write(batches)
        self.store(written.receipt)
        self.drift += written.drift
        await sink.settle()
        return dict(written.replaced)

    async def end(self, sink: Any) -> None:
        """As a run that comes to its end."""
        written = await sink.finish()
        self.store(written.receipt)
        self.drift += written.drift
        await sink.settle()
        await sink.close()

    async def run(self, *batches: Batch) -> dict[Window, Tally]:
        """A whole run of one commit."""
        sink = await self.open()
        replaced = await self.commit(sink, *batches)
        await self.end(sink)
        return replaced


def names(directory: Path) -> list[str]:
    """The files in a directory, notes aside."""
    return sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )
