"""What a sink holds is read in groups."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from typing import TypeVar

import pytest

from harvester.errors import SinkError
from harvester.sinks import scan as stored
from harvester.sinks.base import Checkpoint, StoredWindow
from harvester.sinks.scan import endpoints_in, scanned, version_of
from harvester.testing import MemorySink
from harvester.wechat.interfaces import INTERFACES
from tests.builders import Feed, filled
from tests.builders import counted as batch
from tests.support import A

SUMMARY = INTERFACES["getarticlesummary"]
USERS = INTERFACES["getusersummary"]
STAMP = "2024-02-10T04:00:00Z"
T = TypeVar("T")


async def test_what_is_stored_comes_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "AT_ONCE", 2)
    sink = await filled(*[batch(f"2024-01-0{n}") for n in range(1, 6)])
    assert ([len(group) async for group in scanned(sink, SUMMARY.name)]) == [2, 2, 1]


@pytest.mark.parametrize("wanted", [True, False])
async def test_records_are_read_only_if_they_are_wanted(wanted: bool) -> None:
    sink = await filled(batch("2024-01-01", records=2))
    groups = [group async for group in scanned(sink, SUMMARY.name, records=wanted)]
    [(found, records)] = [each for group in groups for each in group]
    assert found.tally.records == 2
    assert [record["n"] for record in records] == ([0, 1] if wanted else [])


class Watched(MemorySink):
    """It notes in which thread it is read, and with what."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.asked: list[object] = []

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        self.threads.append(threading.current_thread().name)
        self.asked.append(checkpoint)
        return ["two", "one"]

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[StoredWindow]:
        self.asked.append((endpoint, appids, checkpoint))
        for found in super().scan(endpoint, appids):
            self.threads.append(threading.current_thread().name)
            yield found


async def test_a_sink_is_read_on_a_thread_of_its_own_that_ends() -> None:
    sink = Watched()
    await sink.write([batch("2024-01-01"), batch("2024-01-02")], {})
    async for _ in scanned(sink, SUMMARY.name, [A], checkpoint={"a": "b"}):
        break
    assert await endpoints_in(sink, {"c": "d"}) == ["one", "two"]
    assert len(sink.threads) == 3
    assert all(name.startswith("harvester-scan") for name in sink.threads)
    assert sink.asked == [(SUMMARY.name, [A], {"a": "b"}), {"c": "d"}]
    assert not [one for one in threading.enumerate() if one.name.startswith("harvester-scan")]


async def test_a_sink_that_cannot_be_scanned_is_not_read() -> None:
    with pytest.raises(AssertionError, match="feed: cannot be scanned"):
        _ = [group async for group in scanned(Feed("feed:"), SUMMARY.name)]


async def test_an_error_of_a_scan_comes_out() -> None:
    class Damaged(MemorySink):
        def scan(self, *_: object) -> Iterator[StoredWindow]:  # type: ignore[override]
            yield next(super().scan(SUMMARY.name))
            raise SinkError("a segment is gone")

    sink = Damaged()
    await sink.write([batch("2024-01-01")], {})
    with pytest.raises(SinkError, match="a segment is gone"):
        _ = [group async for group in scanned(sink, SUMMARY.name)]


async def test_a_scan_that_gives_no_windows_is_an_error_of_the_sink() -> None:
    class Without(MemorySink):
        def scan(self, *_: object) -> Iterator[StoredWindow]:  # type: ignore[override]
            return None  # type: ignore[return-value]

    with pytest.raises(SinkError, match="NoneType"):
        _ = [group async for group in scanned(Without(), SUMMARY.name)]


@pytest.mark.parametrize(
    ("stamp", "version"),
    [
        ("2024-02-10T04:00:00Z", 1707537600000),
        ("2024-02-10T12:00:00.250+08:00", 1707537600250),
        ("", 0),
        ("soon", 0),
    ],
)
def test_the_version_of_a_window_is_the_time_at_which_it_was_fetched(
    stamp: str, version: int
) -> None:
    assert version_of(stamp) == version
