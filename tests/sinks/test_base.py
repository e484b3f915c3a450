"""What a sink has by default: everything but its identity, `open`, `write` and `close`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.config import plugins
from harvester.ledger import SqliteLedger
from harvester.model import Batch, Window
from harvester.sinks.base import Stamp, is_outside, name_in, spec_of
from harvester.testing import MemorySink, check_sink
from tests.builders import harvested
from tests.sinks.small_ledger import ENDPOINT, batch

DAYS = ("2024-01-01", "2024-01-05")


class Plain(harvester.Sink):
    """A sink that has nothing but what a sink needs."""

    identity = "plain:"

    def __init__(self) -> None:
        self.stored: dict[Window, list[dict[str, Any]]] = {}

    async def open(self, checkpoint: harvester.Checkpoint | None) -> harvester.Checkpoint:
        return {"begun": "1"}

    async def write(self, batches: Sequence[Batch], fence: harvester.Fence) -> harvester.Written:
        for each in batches:
            self.stored[each.window] = each.documents()
        return harvester.Written()

    async def close(self) -> None:
        pass


def run(sink: Any, **how: Any) -> harvester.Report:
    return harvested(sink, endpoints="getarticlesummary", days=DAYS, rate="500/s", **how)


def test_a_class_with_a_name_and_three_methods_is_a_sink_without_a_ledger() -> None:
    sink = Plain()
    report = run(sink)
    assert (report.state, len(sink.stored)) == ("complete", 5)
    assert sum(map(len, sink.stored.values())) == report.records > 0
    assert any("no ledger was kept for plain:" in note for note in report.notes)


def test_a_ledger_lists_it_and_does_not_ask_again_for_what_it_has(tmp_path: Path) -> None:
    ledger, sink = tmp_path / "ledger.sqlite", Plain()
    assert run(sink, ledger=ledger).windows.done == 5
    assert run(sink, ledger=ledger).windows.skipped == 5

    async def listed() -> list[str]:
        async with SqliteLedger(ledger) as kept:
            return [*await kept.sinks()]

    assert asyncio.run(listed()) == ["plain:"]


def test_a_ledger_names_a_local_sink_by_its_place_relative_to_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "deep" / "home").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "home")
    for place, name, outside in (
        ("deep/home", "jsonl:.?x=1", False),
        ("deep/home/lines", "jsonl:lines?x=1", False),
        ("deep/..lines", "jsonl:../..lines?x=1", True),
        ("deep/home/..lines", "jsonl:..lines?x=1", False),
        ("rows", "jsonl:../../rows?x=1", True),
    ):
        sink = Plain()
        sink.path = tmp_path / place
        sink.identity = f"jsonl:{sink.path}?x=1"
        for folder in ("deep/home", "link"):
            ledger = tmp_path / folder / "ledger.sqlite"
            assert name_in(sink, ledger) == name
            spec = spec_of(name, ledger)
            found = Path(spec.removeprefix("jsonl:").removesuffix("?x=1"))
            assert (found.resolve(), is_outside(name)) == (sink.path, outside)
            moved = spec_of(name, Path("/there/deep/home/ledger.sqlite"))
            assert moved == f"jsonl:/there/{place}?x=1"


def test_what_it_lacks_it_does_not_promise() -> None:
    with pytest.raises(harvester.UsageError, match="plain: cannot be written by several processes"):
        run(Plain(), ledger="postgresql://host/db")
    given = Plain()
    with pytest.raises(harvester.UsageError, match="plain: cannot be read back"):
        harvester.read(given, "getarticlesummary")
    assert given.stamps(ENDPOINT) == {}


def test_a_class_that_lacks_a_method_makes_no_sink() -> None:
    class Half(harvester.Sink):
        identity = "half:"

        async def write(self, *_: Any) -> harvester.Written:
            return harvester.Written()

    with pytest.raises(TypeError, match=r"abstract methods '?close'?, '?open"):
        Half()


def test_a_path_that_is_text_is_refused() -> None:
    sink: Any = Plain()
    sink.path = "there"
    with pytest.raises(harvester.UsageError, match=r"the path of Plain is not a pathlib\.Path$"):
        run(sink)


async def test_check_sink_takes_it_with_what_reads_its_records() -> None:
    made: dict[str, Any] = {}

    def read(name: str) -> list[dict[str, Any]]:
        return [record for records in made[name].stored.values() for record in records]

    await check_sink(lambda name: made.setdefault(name, Plain()), read, only="write")
    with pytest.raises(ValueError, match="this sink has no scan: check_sink needs read="):
        await check_sink(lambda name: made[name], only="write")


# stamps

LATER = "2024-06-16T04:00:00Z"
CHANGES = {
    "a record has another value": [batch(2, 22, replaces=True)],
    "a record came": [batch(2, 2, 3, replaces=True)],
    "a record went": [batch(2, replaces=True)],
    "two days changed places": [batch(1, 2, replaces=True), batch(2, 1, replaces=True)],
    "a day came": [batch(9, 9)],
    "the same was fetched later": [batch(2, 2, replaces=True, stamp=LATER)],
    "one window covers two": [batch(1, 1, 2, days=2, replaces=True)],
}


def of_memory(directory: Path) -> Any:
    return MemorySink()


def of_lines(directory: Path) -> Any:
    return plugins.sink(f"jsonl:{directory}")


@pytest.mark.parametrize("changed", CHANGES)
@pytest.mark.parametrize("make", [of_memory, of_lines])
def test_a_write_that_changes_a_month_changes_the_stamp_of_that_month_alone(
    make: Callable[[Path], Any], changed: str, tmp_path: Path
) -> None:
    async def stamps() -> tuple[dict[str, Stamp], dict[str, Stamp]]:
        sink = make(tmp_path)
        await sink.open(None)
        await sink.write([batch(1, 1), batch(2, 2), batch(40, 4), batch(70, 7, name="other")], {})
        before = sink.stamps(ENDPOINT)
        assert sink.stamps(ENDPOINT) == before
        await sink.write([batch(70, 77, name="other", replaces=True)], {})
        assert sink.stamps(ENDPOINT) == before
        await sink.write(CHANGES[changed], {})
        after = sink.stamps(ENDPOINT)
        await sink.close()
        return before, after

    before, after = asyncio.run(stamps())
    assert before["2024-01"].rows == 2
    assert after["2024-01"] != before["2024-01"]
    assert after.keys() == before.keys() == {"2024-01", "2024-02"}
    assert after["2024-02"] == before["2024-02"]


def test_a_month_without_records_has_no_stamp() -> None:
    sink = MemorySink()
    asyncio.run(sink.write([batch(1, 1), batch(40, 4)], {}))
    asyncio.run(sink.write([batch(1, replaces=True)], {}))
    assert sink.stamps(ENDPOINT).keys() == {"2024-02"}
    assert sink.stamps("other") == {}


def test_a_sink_that_can_be_scanned_has_stamps_too() -> None:
    memory, sink = MemorySink(), Plain()
    asyncio.run(memory.write([batch(1, 1), batch(40, 4)], {}))
    sink.scan = memory.scan  # type: ignore[attr-defined]
    assert sink.stamps(ENDPOINT) == memory.stamps(ENDPOINT) != {}
