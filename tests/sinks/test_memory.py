from __future__ import annotations

import asyncio
from datetime import date

import pytest

from harvester import plugins
from harvester.errors import SinkError
from harvester.sinks.memory import MemorySink
from tests.sinks.feed import JOB, ODD, WRITES, Died, Ledger, batch, dying, job, window


def numbers(sink: MemorySink) -> list[int]:
    return sorted(record["n"] for record in sink.records)


def written(sink: MemorySink, *batches: object) -> None:
    asyncio.run(sink.write(batches, {}))  # type: ignore[arg-type]


def test_a_spec_may_give_it_a_name() -> None:
    assert isinstance(plugins.sink("memory:"), MemorySink)
    assert plugins.sink("memory:a:b").identity == "memory:a:b"


def test_what_is_written_can_be_read_back() -> None:
    sink = MemorySink()
    written(sink, batch(1, ODD, {"n": 1}), batch(2), batch(3, 3))
    assert [record.get("n") for record in sink.records] == [None, 1, 3]
    assert sink.records[0] == {
        **ODD, "_appid": "wx1", "_endpoint": "e", "_begin_date": "2024-01-01",
        "_end_date": "2024-01-01", "_fetched_at": "2024-06-15T04:00:00Z",
    }  # fmt: skip
    assert [*sink.windows] == [window(1), window(2), window(3)]
    assert sink.windows[window(2)] == []
    assert sink.writes == [3]


@pytest.mark.parametrize(
    ("place", "left"),
    [
        (window(4), [1, 2, 3, 5, 6, 7, 8, 99]),
        (window(2, 3), [1, 5, 6, 7, 8, 99]),
        (window(7, 7), [1, 2, 3, 4, 5, 6, 99]),
        (window(-5, 60), [99]),
        (window(4, appid="wx2"), [1, 2, 3, 4, 5, 6, 7, 8, 99]),
        (window(4, endpoint="f"), [1, 2, 3, 4, 5, 6, 7, 8, 99]),
    ],
)
def test_a_window_replaces_the_days_that_it_covers(place: object, left: list[int]) -> None:
    sink = MemorySink()
    written(sink, *[batch(day, day) for day in range(1, 9)])
    written(sink, batch(place, 99))  # type: ignore[arg-type]
    assert numbers(sink) == left


@pytest.mark.parametrize("place", [window(3), window(1, 3), window(5, 9), window(3, 3), window(5)])
def test_a_window_replaces_longer_ones_that_it_overlaps_in_part(place: object) -> None:
    sink = MemorySink()
    written(sink, batch(window(3, 3), 1), batch(window(20, 3), 2))
    written(sink, batch(place, 99))  # type: ignore[arg-type]
    assert numbers(sink) == [2, 99]


def test_of_two_windows_of_one_write_that_overlap_the_later_one_stays() -> None:
    sink = MemorySink()
    written(sink, batch(window(1, 3), 1), batch(window(3, 3), 2), batch(window(9), 3))
    assert numbers(sink) == [2, 3]


def test_an_empty_window_removes_what_it_replaces() -> None:
    sink = MemorySink()
    written(sink, batch(1, 1), batch(2, 2))
    written(sink, batch(1))
    assert numbers(sink) == [2]
    assert sink.windows[window(1)] == []


def test_a_scan_gives_each_window_that_has_records() -> None:
    sink = MemorySink()
    batches = [batch(1, ODD, ODD), batch(2), batch(window(4, 3, "wx2"), 3), batch(9, 4)]
    written(sink, *batches, batch(window(1, endpoint="f"), 5))
    found = {one.window: one for one in sink.scan("e")}
    assert [*found] == [window(1), window(4, 3, "wx2"), window(9)]
    for one in batches:
        if one.records:
            stored = found[one.window]
            assert (stored.tally, stored.fetched_at) == (one.tally, one.fetched_at)
            assert stored.records() == one.records
    assert [one.window.appid for one in sink.scan("e", ["wx2"])] == ["wx2"]
    assert [*sink.scan("e", [])] == []
    assert sink.endpoints() == ["e", "f"]
    written(sink, batch(window(1, endpoint="f")))
    assert sink.endpoints() == ["e"]


def test_it_may_be_written_in_the_midst_of_a_scan() -> None:
    sink = MemorySink()
    written(sink, batch(1, 1), batch(2, 2))
    seen = []
    for one in sink.scan("e"):
        seen.append(one.window)
        written(sink, batch(1, 11))
    assert seen == [window(1), window(2)]


async def test_what_went_with_its_process_is_never_called_harvested() -> None:
    sink = MemorySink()
    assert await sink.open({}) == {}
    assert (await sink.write([], {"wx1": 1})).checkpoint == {}
    await MemorySink().open({})
    checkpoint = (await sink.write([batch(1, 1)], {})).checkpoint
    await sink.close()
    await sink.close()
    await sink.open(checkpoint)
    await sink.open(None)
    assert (sink.opened, sink.closed) == (3, 2)
    assert numbers(sink) == [1]
    with pytest.raises(SinkError, match="is gone with the process that held it"):
        await MemorySink().open(checkpoint)


def test_ten_thousand_windows_of_one_account_are_kept_in_their_time() -> None:
    sink = MemorySink()
    written(sink, *[batch(day, day) for day in range(1, 10_001)])
    written(sink, *[batch(day, -day) for day in range(1, 10_001)])
    assert numbers(sink) == list(range(-10_000, 0))
    assert max(one.begin for one in sink.windows) > date(2050, 1, 1)


@pytest.mark.parametrize("moment", range(1, 2 * WRITES + 1))
def test_a_job_that_dies_at_any_moment_ends_with_the_truth(moment: int) -> None:
    sink, ledger = MemorySink(), Ledger()
    with dying(moment), pytest.raises(Died):
        asyncio.run(job(lambda: sink, ledger))
    asyncio.run(job(lambda: sink, ledger))
    assert len(ledger.committed) == len(JOB)
    found = {
        (w.appid, w.endpoint, str(w.begin), str(w.end)): [record["n"] for record in records]
        for w, records in sink.windows.items()
    }
    assert found == ledger.truth()
