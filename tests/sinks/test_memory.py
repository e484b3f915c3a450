"""What is particular to records in memory; what all sinks promise is in `test_suite`."""

from __future__ import annotations

import pytest

from harvester.config import plugins
from harvester.errors import SinkError
from harvester.sinks.memory import MemorySink
from tests.sinks.feed import ODD, batch, window


def test_a_spec_may_give_it_a_name() -> None:
    assert isinstance(plugins.sink("memory:"), MemorySink)
    assert plugins.sink("memory:a:b").identity == "memory:a:b"


async def test_documents_can_be_read_back_also_those_of_empty_windows() -> None:
    sink = MemorySink()
    await sink.write([batch(1, ODD, {"n": 1}), batch(2), batch(3, 3)], {})
    assert [record.get("n") for record in sink.records] == [None, 1, 3]
    assert sink.records[0] == {
        **ODD, "_appid": "wx1", "_endpoint": "e", "_begin_date": "2024-01-01",
        "_end_date": "2024-01-01", "_fetched_at": "2024-06-15T04:00:00Z",
    }  # fmt: skip
    assert [*sink.windows] == [window(1), window(2), window(3)]
    assert sink.windows[window(2)] == []
    assert sink.writes == [3]


async def test_it_may_be_written_in_the_midst_of_a_scan() -> None:
    sink = MemorySink()
    await sink.write([batch(1, 1), batch(2, 2)], {})
    seen = []
    for one in sink.scan("e"):
        seen.append(one.window)
        await sink.write([batch(1, 11)], {})
    assert seen == [window(1), window(2)]


async def test_what_went_with_its_process_is_never_called_harvested() -> None:
    sink = MemorySink()
    assert await sink.open({}) == {}
    assert (await sink.write([], {"wx1": 1})).checkpoint == {}
    await MemorySink().open({})
    checkpoint = (await sink.write([batch(1, 1)], {})).checkpoint
    await sink.close()
    await sink.open(checkpoint)
    await sink.open(None)
    assert (sink.opened, sink.closed) == (3, 1)
    assert [record["n"] for record in sink.records] == [1]
    with pytest.raises(SinkError, match="were lost when their process ended"):
        await MemorySink().open(checkpoint)
