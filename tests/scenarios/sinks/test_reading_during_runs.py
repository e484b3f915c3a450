"""What is read while a run replaces it is right, and what is read later is what is stored then."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

import harvester
from harvester.config import plugins
from harvester.ledger import SqliteLedger
from harvester.model import Batch, Window
from tests.scenarios.command import asked, succeeded
from tests.scenarios.days import DaysOnly, each_once
from tests.support import A

NAME = "getusersummary"
DAYS = [date(2024, 6, 1) + timedelta(days=number) for number in range(20)]


def replacing(place: Path, spec: str, ready: threading.Event, ended: threading.Event) -> None:
    """Store twenty days, then replace some of them again and again, as a run does."""

    def batches(days: Sequence[date], turn: int) -> list[Batch]:
        stamp = f"2024-07-01T00:{turn // 60 % 60:02}:{turn % 60:02}Z"
        return [
            Batch(
                Window(A, NAME, day, day), [{"ref_date": str(day), "new_user": turn}], stamp,
                replaces=turn > 0,
            )
            for day in days
        ]  # fmt: skip

    async def main() -> None:
        sink = plugins.sink(spec)
        name = spec.replace(f"{place}", ".")
        async with SqliteLedger(place / "ledger.sqlite") as ledger:
            await ledger.commit([], {name: await sink.open(await ledger.checkpoint(name))})
            turn = 0
            while not ended.is_set():
                written = await sink.write(batches(DAYS[turn % 5 :: 5] if turn else DAYS, turn), {})
                await ledger.commit([], {name: written.checkpoint})
                turn += 1
                ready.set()
            await sink.close()

    asyncio.run(main())


@pytest.mark.thorough
@pytest.mark.parametrize("sink", ["jsonl:{}", "jsonl:{}?compress=zstd"])
def test_each_record_is_read_once_while_a_run_replaces_what_is_read(
    sink: str, tmp_path: Path
) -> None:
    ready, ended = threading.Event(), threading.Event()
    spec = sink.format(tmp_path)
    run = threading.Thread(target=replacing, args=(tmp_path, spec, ready, ended))
    run.start()
    try:
        assert ready.wait(10)
        held = harvester.read(spec, NAME)
        turns = set[int]()
        for _ in range(100):
            for stored in (held, harvester.read(tmp_path, NAME)):
                table = stored.read_all()
                assert sorted(map(str, table["ref_date"].to_pylist())) == [*map(str, DAYS)]
                turns.update(table["new_user"].to_pylist())
        assert len(turns) > 10
    finally:
        ended.set()
        run.join()


@pytest.mark.thorough
def test_what_is_held_shows_the_next_run(server: DaysOnly, tmp_path: Path) -> None:
    def run(end: date) -> None:
        succeeded(*asked(server.url, NAME, DAYS[0], end, "--out", tmp_path))

    def found() -> Counter[str]:
        return Counter(map(str, held.read_all()["ref_date"].to_pylist()))

    run(DAYS[4])
    held = harvester.read(tmp_path, NAME)
    assert found() == found() == each_once(DAYS[0], DAYS[4])
    run(DAYS[9])
    assert found() == each_once(DAYS[0], DAYS[9])
