"""What the tests of sinks share: batches, and a ledger in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from harvester.codec import checksum, lines
from harvester.datacube import INTERFACES
from harvester.endpoint import Endpoint
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Receipt, Sink, Stored, Typed, Verifiable
from harvester.testing import run_virtual

STAMP = "2024-06-15T04:00:00Z"


def day(number: int) -> date:
    """A day of January 2024; days may run on."""
    return date(2023, 12, 31) + timedelta(days=number)


def batch(
    first: int,
    *records: dict[str, Any],
    days: int = 1,
    appid: str = "wx1",
    endpoint: str = "getarticlesummary",
    replaces: bool = False,
) -> Batch:
    """A batch of one window of January 2024."""
    window = Window(appid, endpoint, day(first), day(first + days - 1))
    encoded = lines(records, metadata(window, STAMP))
    return Batch(window, STAMP, len(records), b"".join(encoded), checksum(encoded), replaces)


class Ledgerish:
    """Keeps receipts as the ledger does, and opens the sink as the engine does."""

    def __init__(self, make: Callable[[], Any], endpoints: Sequence[Endpoint] = ()) -> None:
        self.make = make
        self.receipt: Receipt = {}
        self.endpoints = endpoints or (INTERFACES["getarticlesummary"],)

    async def open(self) -> Any:
        sink: Sink = self.make()
        if isinstance(sink, Typed):
            sink.describe(self.endpoints)
        try:
            self.store(await sink.open(dict(self.receipt)))
        except BaseException:
            await sink.close()
            raise
        return sink

    def store(self, receipt: Receipt) -> None:
        self.receipt.update(receipt)

    async def commit(self, sink: Sink, *batches: Batch) -> dict[Window, Tally]:
        written = await sink.write(batches)
        self.store(written.receipt)
        await sink.settle()
        return dict(written.replaced)

    def stored(self) -> dict[tuple[str, str], Stored]:
        """What verify sees, by account and first day."""
        sink = self.make()
        assert isinstance(sink, Verifiable)
        found = list(sink.stored(self.receipt))
        by_window = {(one.window.appid, str(one.window.begin)): one for one in found}
        assert len(by_window) == len(found)
        return by_window


def virtual(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    """Run an async test on the virtual loop."""

    def run(tmp_path: Path) -> None:
        async def main(_: object) -> None:
            await test(tmp_path)

        run_virtual(main)

    run.__name__ = test.__name__
    return run
