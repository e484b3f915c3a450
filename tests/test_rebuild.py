"""A ledger made anew from what is stored: nothing is lost, what cannot be known is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from harvester.coverage import DONE
from harvester.datacube import INTERFACES
from harvester.endpoint import Endpoint
from harvester.errors import SinkError, UsageError
from harvester.events import Report
from harvester.ledger import FILE_NAME, Ledger
from harvester.model import Batch, Window
from harvester.plan import rfc3339
from harvester.rebuild import Rebuilt, rebuild
from harvester.sinks.base import Found, Receipt, Sink, Stored, Written
from harvester.sinks.jsonl import JsonLines
from harvester.testing import Simulator, VirtualTimeLoop, run_virtual
from tests.support import A, B, at, engine_run, noon, scope
from tests.support import stored as stored_records

BEGIN, END = date(2026, 3, 2), date(2026, 3, 11)
ENDPOINTS = {
    endpoint.name: endpoint
    for endpoint in (
        INTERFACES["getusersummary"], INTERFACES["getarticletotaldetail"],
        INTERFACES["getarticleread"],
    )
}  # fmt: skip
NOW = noon("2026-03-12")


def harvested(directory: Path, now: float, begin: date = BEGIN, end: date = END) -> Report:
    async def main(loop: VirtualTimeLoop) -> Report:
        return await engine_run(
            loop,
            Simulator(wall=loop.wall),
            scope(begin, end, (A, B), list(ENDPOINTS.values())),
            JsonLines(directory),
            directory / FILE_NAME,
        )

    return run_virtual(main, now)


def rebuilt(
    directory: Path, sinks: Sequence[Sink] = (), now: float = NOW
) -> tuple[list[Rebuilt], Path | None]:
    async def main(loop: VirtualTimeLoop) -> tuple[list[Rebuilt], Path | None]:
        given = sinks or [JsonLines(directory)]
        endpoints: dict[str, Endpoint] = dict(ENDPOINTS)
        return await rebuild(directory / FILE_NAME, given, endpoints, now)

    return run_virtual(main, now)


def told(directory: Path, sink: str = "jsonl:.") -> tuple[set[tuple[str, str, date]], set[Window]]:
    """The days that are done, and the windows that are asked for again."""

    async def main(loop: VirtualTimeLoop) -> tuple[set[tuple[str, str, date]], set[Window]]:
        async with Ledger(directory / FILE_NAME, readonly=True) as ledger:
            done = {
                (*key, stretch.begin + timedelta(days=number))
                for key, stretches in (await ledger.stretches(sink)).items()
                for stretch in stretches
                if stretch.state == DONE
                for number in range(stretch.days)
                if not stretch.empty >> number & 1
            }
            young = await ledger.provisional(sink)
            return done, {Window(*key, *days) for key, each in young.items() for days in each}

    return run_virtual(main)


def test_the_coverage_is_what_it_was_but_for_days_without_a_record(tmp_path: Path) -> None:
    harvested(tmp_path, NOW)
    before, young = told(tmp_path)
    content = stored_records(tmp_path, "getuserread") + stored_records(tmp_path, "getarticleread")
    (tmp_path / FILE_NAME).write_bytes(b"no ledger at all")
    [found], former = rebuilt(tmp_path)
    after, again = told(tmp_path)
    assert after == before
    assert former is not None
    assert former.read_bytes() == b"no ledger at all"
    assert former.name.startswith(f"{FILE_NAME}.damaged-")
    assert found.accounts == 2
    assert found.again == len(again)
    assert found.records == sum(len(stored_records(tmp_path, name)) for name in ENDPOINTS)
    assert stored_records(tmp_path, "getarticleread") == content
    # What still grows is asked for again, of each interface what was written last, and what has
    # several days, since nothing tells whether its last one was late.
    with_records = {each for each in young if (each.appid, each.endpoint, each.begin) in before}
    assert with_records
    assert young & again == with_records
    assert len([each for each in again - young if each.begin == each.end]) <= len(ENDPOINTS)


def test_the_next_run_asks_only_for_what_cannot_be_known(tmp_path: Path) -> None:
    harvested(tmp_path, noon("2026-07-01"))
    before, _ = told(tmp_path)
    [found], _ = rebuilt(tmp_path, now=noon("2026-07-02"))
    assert found.again == len(ENDPOINTS)  # the last one of each, which may be a half
    report = harvested(tmp_path, noon("2026-07-02"))
    assert report.state == "complete"
    empty = report.windows.empty
    assert report.requests == found.again + empty
    assert told(tmp_path) == (before, set())
    assert harvested(tmp_path, noon("2026-07-03")).requests == 0


def test_a_window_that_was_written_by_half_is_harvested_again(tmp_path: Path) -> None:
    harvested(tmp_path, noon("2026-07-01"))
    whole = {name: len(stored_records(tmp_path, name)) for name in ENDPOINTS}
    for name in ENDPOINTS:
        path = tmp_path / name / "000001.jsonl"
        path.write_bytes(path.read_bytes()[:-40])
    rebuilt(tmp_path)
    assert harvested(tmp_path, noon("2026-07-02")).state == "complete"
    assert {name: len(stored_records(tmp_path, name)) for name in ENDPOINTS} == whole


def test_a_lost_ledger_is_made_anew_too(tmp_path: Path) -> None:
    harvested(tmp_path, NOW)
    before, _ = told(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    for beside in ("-wal", "-shm"):
        (tmp_path / f"{FILE_NAME}{beside}").unlink()
    assert rebuilt(tmp_path)[1] is None
    names = sorted(path.name for path in tmp_path.glob(f"{FILE_NAME}*"))
    assert names == [FILE_NAME, f"{FILE_NAME}.lock"]
    assert told(tmp_path)[0] == before


def test_former_ledgers_do_not_take_each_others_places(tmp_path: Path) -> None:
    harvested(tmp_path, NOW)
    places = {rebuilt(tmp_path)[1] for _ in range(3)}
    assert len(places) == 3
    assert all(place is not None and place.exists() for place in places)


def test_a_draft_that_a_killed_rebuilding_left_is_no_harm(tmp_path: Path) -> None:
    harvested(tmp_path, NOW)
    before, _ = told(tmp_path)
    for beside in ("", "-wal", "-shm"):
        (tmp_path / f"{FILE_NAME}.new{beside}").write_bytes(b"half of something")
    rebuilt(tmp_path)
    assert told(tmp_path)[0] == before
    assert not list(tmp_path.glob("*.new*"))


def test_while_a_run_is_under_way_nothing_is_made_anew(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        async with Ledger(tmp_path / FILE_NAME):
            with pytest.raises(UsageError, match="is in use by another harvester"):
                await rebuild(tmp_path / FILE_NAME, [JsonLines(tmp_path)], {}, NOW)
        assert list(tmp_path.glob("*damaged*")) == []

    run_virtual(main)


def test_what_cannot_be_read_back_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^database cannot be read back"):
        rebuilt(tmp_path, [Elsewhere()])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    harvested(tmp_path, NOW)
    before = (tmp_path / FILE_NAME).read_bytes()
    with (tmp_path / "getarticleread" / "000001.jsonl").open("ab") as file:
        file.write(b"somebody's own\n")
    with pytest.raises(SinkError, match="is not a record of harvester"):
        rebuilt(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


class Elsewhere:
    """A sink of which nothing can be read back."""

    identity = "database"

    async def open(self, receipt: Receipt | None) -> Receipt:
        return {}

    async def write(self, batches: Sequence[Batch]) -> Written:
        raise AssertionError("nothing is written")

    async def settle(self) -> None:
        raise AssertionError("nothing is written")

    async def close(self) -> None:
        pass


class Database(Elsewhere):
    """A sink that keeps no lines; what it says of its windows is given."""

    def __init__(self, windows: Sequence[Stored]) -> None:
        self._stored = windows

    def stored(self, receipt: Receipt) -> Sequence[Stored]:
        return self._stored


class Telling(Database):
    """One that knows when its windows were fetched."""

    def __init__(self, windows: Sequence[Found]) -> None:
        super().__init__(())
        self._found = windows

    async def adopt(self) -> tuple[Receipt, Sequence[Found]]:
        return {"place": "1"}, self._found


def day(number: int, endpoint: str = "getarticletotaldetail") -> Window:
    return Window(A, endpoint, BEGIN + timedelta(days=number), BEGIN + timedelta(days=number))


def test_a_sink_without_lines_tells_its_windows(tmp_path: Path) -> None:
    windows = [Stored(day(number), 2) for number in range(40)]
    [found], _ = rebuilt(
        tmp_path, [Database([*windows, Stored(day(0), 1), Stored(day(3), 1, False)])]
    )
    assert (found.windows, found.records) == (40, 82)
    done, again = told(tmp_path, "database")
    assert len(done) == 40
    # Nobody says when they were fetched: at the latest when the youngest could be.
    assert again == {day(3), *[day(number) for number in range(10, 40)]}


def test_what_was_final_when_it_was_fetched_is_not_asked_for_again(tmp_path: Path) -> None:
    late = rfc3339(at("2026-03-02", 12) + 30 * 86_400)
    windows = [
        Found(day(0), 1, fetched_at=late),
        Found(day(1), 1, fetched_at=late),
        Found(day(0, "getarticleread"), 1, fetched_at=rfc3339(at("2026-03-03", 9))),
        Found(day(9, "getarticleread"), 1, fetched_at=rfc3339(at("2026-03-12", 9))),
        Found(day(0, "somebodys"), 1, fetched_at=late),
    ]
    rebuilt(tmp_path, [Telling(windows)])
    done, again = told(tmp_path, "database")
    assert len(done) == 5
    assert again == {day(1)}


def test_nothing_stored_is_an_empty_ledger(tmp_path: Path) -> None:
    [found], _ = rebuilt(tmp_path)
    assert found[1:] == (0, 0, 0, 0)
    assert told(tmp_path) == (set(), set())
