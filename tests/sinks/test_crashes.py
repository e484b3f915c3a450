"""A sink in a directory that dies before or after any durable step: each of them, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harvester import durable
from harvester.model import Batch, Window
from harvester.plugins import endpoint
from harvester.reading import StoredRecords
from harvester.sinks.base import Receipt, Wanted
from harvester.sinks.jsonl import JsonLines
from harvester.sinks.parquet import Parquet
from harvester.sinks.segments import Whole
from harvester.testing import run_virtual
from tests.sinks.ledgerish import ENDPOINT, Ledgerish, batch

pytestmark = pytest.mark.thorough


class Dead(BaseException):
    """The process has died."""


def jsonl(compress: str) -> Callable[[Path], Any]:
    return lambda directory: JsonLines(directory, compress=compress, segment_bytes=8 * 400)


def parquet(directory: Path) -> Parquet:
    sink = Parquet(directory, file_bytes=4000, log_bytes=1500)
    sink.describe([endpoint(ENDPOINT)])
    return sink


SINKS = {
    "plain": jsonl(""), "gzip": jsonl("gzip"), "zstd": jsonl("zstd"), "parquet": parquet,
}  # fmt: skip


@contextmanager
def dying_at(number: int) -> Iterator[list[str]]:
    """Die at the so-many-th moment before or after a step; gives the moments that were reached."""
    reached: list[str] = []

    def watch(name: str, taken: bool) -> None:
        reached.append(name)
        if len(reached) > number:
            raise Dead(name)

    durable.watch(watch)
    try:
        yield reached
    finally:
        durable.watch(None)


class Truth(Ledgerish):
    """Knows what counts: what was written when its receipt was stored."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__(make)
        self.records: dict[Window, list[int]] = {}

    async def commit(self, sink: Any, *batches: Batch) -> Any:
        written = await sink.write(batches)
        self.store(written.receipt)
        gone = Whole([each.window for each in batches if each.replaces])
        self.records = {w: n for w, n in self.records.items() if gone.around(w) is None}
        self.records.update(
            {
                each.window: [record["user_source"] for record in each.documents()]
                for each in batches
            }
        )
        await sink.settle()


async def runs(truth: Truth) -> None:
    """Three runs: days, some of them anew, and longer ones over them."""
    sink = await truth.open()
    for first in (1, 5, 9):
        some = [batch(day, {"user_source": day}) for day in range(first, first + 4)]
        await truth.commit(sink, *some, batch(first - 20, {"user_source": first, "new": "x"}))
    await truth.end(sink)
    sink = await truth.open()
    anew = {"user_source": 66}
    await truth.commit(sink, batch(6, anew, replaces=True), batch(7, replaces=True))
    await truth.commit(sink, batch(13, {"user_source": 13}), batch(6, anew, anew, replaces=True))
    await truth.end(sink)
    sink = await truth.open()
    await truth.commit(sink, batch(-18, {"user_source": 100}, days=22, replaces=True))
    await truth.commit(sink, batch(14, {"user_source": 14}))
    await truth.end(sink)


def read(make: Callable[[Path], Any], directory: Path, receipt: Receipt | None) -> list[int]:
    wanted = Wanted()
    found = StoredRecords(make(directory), endpoint(ENDPOINT), wanted, receipt).read_all()
    return sorted(found["user_source"].to_pylist())


@pytest.mark.parametrize("kind", SINKS)
def test_whatever_step_it_dies_at_what_was_committed_is_there_once(
    tmp_path: Path, kind: str
) -> None:
    make = SINKS[kind]

    async def died_at(number: int, directory: Path) -> bool:
        sinks: list[Any] = []

        def made() -> Any:
            sinks.append(make(directory))
            return sinks[-1]

        truth = Truth(made)
        died = False
        with dying_at(number):
            try:
                await runs(truth)
            except Dead:
                died = True
        await sinks[-1].close()
        expected = sorted(n for held in truth.records.values() for n in held)
        assert read(make, directory, truth.receipt) == expected
        await truth.run()  # the next run, which has nothing to do
        assert read(make, directory, truth.receipt) == expected
        assert read(make, directory, None) == expected
        assert not list(directory.rglob("*.tmp"))
        return died

    async def main(_: object) -> None:
        for number in count():
            if not await died_at(number, tmp_path / str(number)):
                assert number > 40
                break

    run_virtual(main)
