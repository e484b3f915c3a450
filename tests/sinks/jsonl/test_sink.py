"""JSON lines, plain and compressed: each committed window once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.base import files as durable
from harvester.errors import NoRecordsError, SinkError, UsageError
from harvester.model import Batch, Window
from harvester.sinks.jsonl.compression import compression_of
from harvester.sinks.jsonl.sink import JsonLines
from tests.sinks.feed import Died, dying
from tests.sinks.small_ledger import (
    ENDPOINT,
    SmallLedger,
    batch,
    documents,
    doubled,
    forget,
    query,
    seen,
    segments,
    three_runs,
    window,
)
from tests.support import ROOT

ALL = ("", "gzip", "zstd")
SUFFIXES = {"": "", "gzip": ".gz", "zstd": ".zst"}


def ledger_of(directory: Path, kind: str = "", **how: Any) -> SmallLedger:
    return SmallLedger(lambda: JsonLines(directory, kind, **how))


@pytest.fixture(params=ALL)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ledger(tmp_path: Path, kind: str) -> SmallLedger:
    return ledger_of(tmp_path, kind)


async def without_ledger(sink: JsonLines, *batches: Batch) -> None:
    await sink.open(None)
    await sink.write(batches, {})
    await sink.finish()
    await sink.close()


def drafts(directory: Path) -> list[Path]:
    return [*directory.rglob("*.draft"), *directory.rglob("*.new"), *directory.glob(".*.replaced")]


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# what stands there


async def test_writes_go_to_one_segment_that_every_tool_reads(
    tmp_path: Path, ledger: SmallLedger, kind: str
) -> None:
    await ledger.open()
    for day in range(1, 20):
        await ledger.commit(batch(day, day))
    await ledger.close()
    (segment,) = segments(tmp_path)
    assert segment.name == f"2024-01.jsonl{SUFFIXES[kind]}"
    assert seen(tmp_path) == ledger.scanned() == list(range(1, 20))
    found = query(f"SELECT n FROM read_json('{segment}', format='newline_delimited')")
    assert sorted(n for (n,) in found) == list(range(1, 20))
    tool = {"": "cat", "gzip": "gzip -dc", "zstd": "zstd -dc"}[kind].split()
    if shutil.which(tool[0]):
        told = await asyncio.to_thread(subprocess.check_output, [*tool, segment])
        assert [json.loads(line)["n"] for line in told.splitlines()] == list(range(1, 20))


async def test_a_window_is_in_the_file_of_its_month_or_of_its_year_if_that_is_over(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(*[batch(day, day) for day in range(1, 63)], batch(63, 63, days=40))
    await ledger.run(batch(0, 0), batch(3, 100, days=30, replaces=True))
    months = ["2023", "2024-01", "2024-02", "2024-03"]  # fetched in June 2024
    assert [path.name.partition(".")[0] for path in segments(tmp_path)] == months
    assert seen(tmp_path) == ledger.scanned() == [0, 1, 2, *range(33, 64), 100]


async def test_two_thousand_windows_make_a_file_a_month_and_empty_ones_none(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(batch(1), batch(2))
    assert not list(tmp_path.glob("*/*"))
    await ledger.open()
    for group in range(20):
        await ledger.commit(*[batch(100 * group + n, n) for n in range(1, 101)])
    await ledger.close()
    assert len(segments(tmp_path)) == 66
    assert len(seen(tmp_path)) == 2_000


async def test_what_looks_like_the_end_of_a_line_comes_back_as_it_was(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    titles = ['"q" \\ /', '","_appid":"wx2","_fetched_at":"x"}\n', '"_appid":']
    records = [{"n": n, "title": title} for n, title in enumerate(titles)]
    nested = {"n": 99, "o": {"_appid": "wx9", "_begin_date": "x"}, "l": [{"_appid": 1}]}
    await ledger.run(batch(1, *records, nested))
    assert [record.get("title") for record in documents(tmp_path)] == [*titles, None]
    assert ledger.scanned() == [*range(len(titles)), 99]


async def test_a_directory_is_continued_however_it_was_packed_before(tmp_path: Path) -> None:
    kinds = ["", "gzip", "gzip", "zstd", "", "gzip"]
    ledger = SmallLedger(lambda: JsonLines(tmp_path, kinds[0] if kinds else ""))
    for number in range(1, 7):
        await ledger.run(batch(20 * number, number), batch(20 * number + 1, 50 + number))
        del kinds[0]
    assert [path.name for path in segments(tmp_path)] == [
        "2024-01.jsonl", "2024-02.jsonl.gz", "2024-03.jsonl.gz", "2024-04.jsonl",
    ]  # fmt: skip
    await ledger.run(batch(21, 100, days=40, replaces=True))
    assert seen(tmp_path) == ledger.scanned() == [1, 4, 5, 6, 53, 54, 55, 56, 100]


def test_the_identity_does_not_depend_on_the_compression(tmp_path: Path) -> None:
    made = [JsonLines.from_spec(f"{tmp_path}{how}") for how in ("", "?compress=gzip")]
    assert made[0].identity == made[1].identity == f"jsonl:{tmp_path.resolve()}"
    assert made[0].path == tmp_path


# replacing


async def test_a_reader_never_sees_a_window_of_two_writes(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    steps: list[str] = []

    def watch(name: str, taken: bool) -> None:
        steps.append(name)
        if taken:
            assert not doubled(tmp_path), name

    durable.watch(watch)
    try:
        await three_runs(ledger)
    finally:
        durable.watch(None)
    assert "rename draft of lines" in steps
    assert seen(tmp_path) == ledger.numbers()


async def test_a_run_rewrites_a_file_once_however_many_groups_it_commits(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(*[batch(day, day) for day in range(1, 100)])
    steps: list[tuple[str, bool]] = []
    durable.watch(lambda *step: steps.append(step))
    try:
        await ledger.open()
        for turn in range(3):
            for day in range(62, 92):  # days of March
                await ledger.commit(batch(day, 1000 * turn + day, replaces=True))
        assert seen(tmp_path) == list(range(1, 100))  # until the run ends
        await ledger.close()
    finally:
        durable.watch(None)
    assert steps.count(("rename draft of lines", True)) == 2  # the new journal, and March
    expected = [*range(1, 62), *range(92, 100), *range(2062, 2092)]
    assert seen(tmp_path) == ledger.scanned() == expected


async def test_a_write_asks_that_large_journals_are_merged_before_the_next_one(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind, journal_bytes=500)
    await ledger.run(*[batch(day, day) for day in range(1, 10)])
    await ledger.open()
    written = await ledger.commit(*[batch(day, 10 * day, replaces=True) for day in range(1, 9)])
    assert written.full
    assert seen(tmp_path) == list(range(1, 10))
    written = await ledger.commit(batch(10, 10))  # and `finish` is called before
    assert not written.full
    assert seen(tmp_path) == ledger.scanned() == [9, 10, *range(10, 90, 10)]
    await ledger.close()


async def test_a_reader_never_sees_a_window_twice_that_moves_to_another_month(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    def move(stamp: str, one: int, other: int) -> tuple[Batch, Batch]:
        """Of one account the days come into the file of January, of the other of February."""
        made = {"stamp": f"2024-06-15T{stamp}:00:00Z", "replaces": stamp > "01"}
        windows = ((30, 5), (33, 1))
        return (
            batch(windows[one][0], 10 * int(stamp), days=windows[one][1], **made),
            batch(windows[other][0], int(stamp), days=windows[other][1], appid="wx2", **made),
        )

    def watch(name: str, taken: bool) -> None:
        days = [(each["_appid"], each["_fetched_at"][11:13]) for each in documents(tmp_path)]
        assert len({appid for appid, _ in days}) == len(days), name

    await ledger.run(*move("01", 0, 1))
    durable.watch(watch)
    try:
        await ledger.run(*move("02", 1, 0))
        await ledger.run(*move("03", 0, 1))
    finally:
        durable.watch(None)
    assert seen(tmp_path) == ledger.scanned() == [3, 30]


async def test_the_same_window_twice_in_a_second_and_an_empty_one_replace_what_was_there(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(batch(1, 1), batch(2, 2), batch(3, 3))
    await ledger.open()
    await ledger.commit(batch(1, 11, replaces=True))
    await ledger.commit(batch(1, 12, replaces=True), batch(2, replaces=True))
    assert ledger.scanned() == [3, 12]
    await ledger.commit(batch(3, 33, replaces=True), batch(3, replaces=True))
    assert ledger.scanned() == [12]
    await ledger.close()
    assert seen(tmp_path) == ledger.scanned() == [12]


# what is asked of the stored windows


async def test_windows_come_by_account_and_day_and_only_files_of_the_days_are_read(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    title = "".join(map(str, range(2000)))
    await ledger.run(
        *[
            batch(day, {"n": day, "title": title}, days=3, appid=appid)
            for appid in ("b", "a")
            for day in (70, 40, 1)
        ]
    )
    await ledger.open()
    await ledger.commit(batch(40, 400, days=3, appid="a", replaces=True))
    expected = [("a", 1), ("a", 400), ("a", 70), ("b", 1), ("b", 40), ("b", 70)]
    for sink, checkpoint in ((ledger.sink, None), (ledger.make(), ledger.checkpoint)):
        found = sink.scan(ENDPOINT, None, checkpoint)
        assert [(each.window.appid, each.records()[0]["n"]) for each in found] == expected
    january = segments(tmp_path)[0]
    whole = january.read_bytes()
    january.write_bytes(whole[:40] + b"\0" * 40 + whole[80:])  # nobody reads it
    days = window(42).begin, window(69).end
    for sink, checkpoint in ((ledger.sink, None), (ledger.make(), ledger.checkpoint)):
        found = sink.scan(ENDPOINT, None, checkpoint, days)
        assert [each.window.begin for each in found] == [window(40).begin] * 2
        assert not list(sink.scan(ENDPOINT, ["c"], checkpoint, days))
    january.write_bytes(whole)
    await ledger.sink.close()


async def test_a_stamp_is_another_one_after_any_change_and_the_same_without(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    def record(one: int, other: int) -> dict[str, Any]:
        return {"n": one, "title": f"{other}"}

    await ledger.run(batch(1, record(12, 21), record(21, 12)), batch(40, 40), batch(41, 41))
    stamps = [ledger.make().stamps(ENDPOINT)]
    assert {month: stamp.rows for month, stamp in stamps[0].items()} == {"2024-01": 2, "2024-02": 2}
    changes = [
        batch(1, record(21, 12), record(12, 21)),  # exchanged
        batch(1, record(12, 12), record(21, 21)),
        batch(1, record(12, 12), record(21, 21), stamp="2024-06-16T00:00:00Z"),
        batch(1, record(12, 12), record(21, 21), days=2, stamp="2024-06-16T00:00:00Z"),
        batch(1, record(12, 12)),
        batch(1),
    ]
    for change in changes:
        change.replaces = True
        await ledger.open()
        await ledger.commit(change)
        during = ledger.make().stamps(ENDPOINT, ledger.checkpoint)
        await ledger.close()
        stamps.append(ledger.make().stamps(ENDPOINT, ledger.checkpoint))
        assert during == stamps[-1] == ledger.make().stamps(ENDPOINT)  # merging changes nothing
        assert stamps[-1]["2024-02"] == stamps[0]["2024-02"]
    assert [stamp.get("2024-01") for stamp in stamps].count(None) == 1
    assert len({stamp.get("2024-01") for stamp in stamps}) == len(stamps)
    assert stamps[3]["2024-01"].latest == "2024-06-16T00:00:00Z"


# a write that was not committed, or was and not completed


async def test_what_was_not_committed_or_torn_is_cut_off(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.open()
    await ledger.commit(batch(1, 1))
    await ledger.sink.write([batch(2, 2), batch(2, 3, name="other")], {})  # and it is killed
    await ledger.sink.close()
    assert seen(tmp_path) == [1, 2, 3]
    assert ledger.scanned() == [1]
    await ledger.run()
    assert seen(tmp_path) == [1]
    assert [path.parent.name for path in segments(tmp_path)] == [ENDPOINT]
    (segment,) = segments(tmp_path)
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:9])
    await ledger.run(batch(2, 2))
    assert seen(tmp_path) == ledger.scanned() == [1, 2]


LONGER: dict[str, Callable[[bytes], bytes]] = {
    "a mark at its beginning": lambda kept: b"\xef\xbb\xbf" + kept,
    "line ends of another system": lambda kept: kept.replace(b"\n", b"\r\n") + b"\r\n",
    "blanks of a formatter": lambda kept: kept.replace(b":", b": ") + b" ",
}


@pytest.mark.parametrize("what", LONGER)
async def test_a_file_that_another_program_made_longer_is_refused_and_stays_as_it_is(
    tmp_path: Path, ledger: SmallLedger, what: str
) -> None:
    await ledger.run(*[batch(day, day) for day in range(1, 9)])
    await ledger.open()
    (segment,) = segments(tmp_path)
    kept = segment.read_bytes()
    longer = LONGER[what](kept)
    if longer.startswith(kept):  # a compressed file may lack such bytes
        longer = b"\n" + kept
    segment.write_bytes(longer)
    with pytest.raises(SinkError, match="differs from the ledger"):
        await ledger.commit(batch(9, 9))
    assert segment.read_bytes() == longer
    await ledger.sink.close()
    for _ in range(2):
        with pytest.raises(SinkError, match="differs from the ledger"):
            await ledger.open()
        await ledger.sink.close()
        assert segment.read_bytes() == longer
    segment.write_bytes(kept + kept[:7])  # a killed run, or one who has added something
    await ledger.run(batch(10, 10))
    assert seen(tmp_path) == ledger.scanned() == [*range(1, 9), 10]


async def test_an_extent_of_the_first_version_is_accepted_once(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(batch(1, 1))
    (segment,) = segments(tmp_path)
    (name,) = [name for name in ledger.checkpoint if name.startswith(ENDPOINT)]
    ledger.checkpoint[name] = ledger.checkpoint[name].rpartition(" ")[0]
    segment.write_bytes(segment.read_bytes() + b"torn")
    await ledger.run(batch(2, 2))
    assert seen(tmp_path) == ledger.scanned() == [1, 2]
    assert ledger.checkpoint[name].count(" ") == 2


async def test_a_file_that_the_ledger_does_not_know_is_named_when_it_is_removed(
    tmp_path: Path, ledger: SmallLedger, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.run(batch(1, 1))
    (segment,) = segments(tmp_path)
    copy = segment.with_name(segment.name.replace("2024-01", "2023-12"))
    shutil.copy(segment, copy)
    await ledger.run(batch(2, 2))
    assert not copy.exists()
    assert f"removing {copy}, which is not in the ledger" in caplog.text


async def test_what_a_write_has_made_that_fails_is_removed_and_not_named(
    tmp_path: Path,
    ledger: SmallLedger,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await ledger.open()
    pieces, calls = durable.write_pieces, []

    def written(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return pieces(*arguments)

    monkeypatch.setattr(durable, "write_pieces", written)
    with pytest.raises(SinkError, match="the disk is full"):
        await ledger.commit(batch(1, 1), batch(1, 1, name="other"))
    assert not segments(tmp_path)
    assert "is removed" not in caplog.text
    await ledger.sink.close()


@pytest.mark.parametrize("committed", [False, True])
async def test_a_kill_before_the_commit_leaves_the_old_window_and_one_after_it_brings_the_new_one(
    tmp_path: Path, ledger: SmallLedger, committed: bool
) -> None:
    await ledger.open()
    await ledger.commit(batch(1, 1), batch(2, 2))
    if committed:
        await ledger.commit(batch(1, 11, replaces=True))
        assert [each.records() for each in ledger.sink.scan(ENDPOINT)] == [[{"n": 11}], [{"n": 2}]]
    else:
        await ledger.sink.write([batch(1, 11, replaces=True)], {})
    forget(ledger.sink)  # before it could rename a file
    stands = [2, 11] if committed else [1, 2]
    assert ledger.scanned() == stands
    assert seen(tmp_path) == [1, 2]
    await ledger.run()
    assert seen(tmp_path) == ledger.scanned() == stands
    assert not drafts(tmp_path)
    await ledger.run(batch(3, 3))
    assert seen(tmp_path) == ledger.scanned() == sorted([*stands, 3])


async def test_a_commit_that_fails_before_the_sink_is_closed_doubles_nothing_later(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.open()
    await ledger.commit(batch(1, 1), batch(2, 2))
    await ledger.sink.write([batch(1, 11, days=3, replaces=True)], {})  # the commit fails
    await ledger.sink.close()
    await ledger.run(batch(3, 3))  # the ledger did not know that day 3 stands there
    assert seen(tmp_path) == ledger.scanned() == [1, 2, 3]
    await ledger.run(batch(1, 111, replaces=True), batch(2, 222, replaces=True))
    assert seen(tmp_path) == ledger.numbers() == ledger.scanned() == [3, 111, 222]


STEPS = {
    "before commit ledger", "after commit ledger", "before rename draft of lines",
    "after write draft of lines", "before fsync lines", "before rename state of lines",
    "after remove lines",
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind",
    [
        "",
        pytest.param("gzip", marks=pytest.mark.thorough),
        pytest.param("zstd", marks=pytest.mark.thorough),
    ],
)
async def test_whatever_step_it_dies_at_what_was_committed_is_there_once(
    tmp_path: Path, kind: str
) -> None:
    for number in range(1, 1000):
        directory = tmp_path / str(number)
        ledger = ledger_of(directory, kind, journal_bytes=600)
        died = False
        with dying(number) as moments:
            try:
                await three_runs(ledger)
            except Died:
                died = True
        if died:
            forget(ledger.sink)
        assert ledger.scanned() == ledger.numbers(), moments[-1]
        assert not doubled(directory), moments[-1]
        await ledger.run()
        assert seen(directory) == ledger.numbers() == ledger.scanned(), moments[-1]
        assert not drafts(directory)
        if died and number % 7 == 0:  # the same again from there
            await three_runs(ledger)
            assert seen(directory) == ledger.numbers() == ledger.scanned(), moments[-1]
        if not died:
            break
    assert number > 60
    assert {*moments} >= STEPS


# what the ledger says and the disk has not


async def test_what_is_gone_or_cut_is_reported_with_the_way_out(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(batch(1, 1), batch(2, 2))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-1])
    for problem in (
        r"is truncated to \d+ of its \d+ bytes, but the ledger",
        "is gone, but the",
    ):
        with pytest.raises(SinkError, match=rf"{problem}.*restore the right file.*rebuild --out"):
            await ledger.open()
        await ledger.sink.close()
        with pytest.raises(SinkError, match=problem):
            ledger.scanned()
        segment.unlink(missing_ok=True)
    shutil.rmtree(tmp_path)
    with pytest.raises(SinkError, match="is gone, but the ledger lists"):
        await ledger.open()
    await ledger.sink.close()


async def test_an_older_copy_is_never_called_harvested(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "here"
    ledger = ledger_of(place, kind)
    await ledger.run(batch(1, 1), batch(2, {"n": 2, "t": "x" * 90}))
    shutil.copytree(place, tmp_path / "older")
    await ledger.run(batch(1, 11, replaces=True), batch(3, 3))
    await ledger.run(batch(1, 12, replaces=True))
    shutil.rmtree(place)
    (tmp_path / "older").rename(place)
    with pytest.raises(SinkError, match="rebuild"):
        await ledger.open()
    await ledger.sink.close()


async def test_an_older_ledger_is_refused_before_anything_is_changed(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(batch(1, 1), batch(2, 2))
    older = dict(ledger.checkpoint)
    await ledger.run(batch(1, 11, replaces=True), batch(3, 3))
    newer, ledger.checkpoint = ledger.checkpoint, older
    for _ in range(2):
        with pytest.raises(SinkError, match=r"the ledger is older than .*rebuild --out"):
            await ledger.open()
        await ledger.sink.close()
    assert seen(tmp_path) == [2, 3, 11]
    ledger.checkpoint = newer
    await ledger.run(batch(4, 4))
    assert seen(tmp_path) == ledger.scanned() == [2, 3, 4, 11]


@pytest.mark.thorough
async def test_a_ledger_whose_runs_are_killed_again_and_again_is_never_called_older(
    tmp_path: Path, ledger: SmallLedger
) -> None:
    await ledger.run(batch(1, 1))
    died = 0
    for moment in range(1, 200):
        with dying(moment % 40):
            try:
                await ledger.run(batch(2, moment, replaces=True))
                await ledger.open()
                await ledger.sink.write([], {})  # whether it answers: no ledger learns of it
                await ledger.commit(batch(4, moment, replaces=True))
                await ledger.close()
            except Died:
                forget(ledger.sink)
                died += 1
    assert died > 50
    await ledger.run(batch(3, 3))
    assert seen(tmp_path) == ledger.scanned() == ledger.numbers()


# ledgers and directories that do not belong together


@pytest.mark.thorough
async def test_without_a_ledger_whole_lines_stay_and_what_overlaps_is_replaced(
    tmp_path: Path, kind: str
) -> None:
    sink = JsonLines(tmp_path, kind)
    await without_ledger(sink, batch(1, 1), batch(2, 2))
    whole = segments(tmp_path)[0].stat().st_size
    await without_ledger(JsonLines(tmp_path, kind), batch(3, 3))
    (segment,) = segments(tmp_path)
    both = segment.read_bytes()
    for cut in range(whole + 1, len(both)):
        segment.write_bytes(both[:cut])
        assert [each.window for each in sink.scan(ENDPOINT)] == [window(1), window(2)]
        await sink.open(None)
        await sink.close()
        assert segment.stat().st_size == cut  # nothing is changed before the first write
    await sink.open(None)
    await sink.write([batch(2, 22, days=2)], {})
    await sink.write([batch(3, 33), batch(4, 4)], {})
    await sink.finish()
    forget(sink)
    sink = JsonLines(tmp_path, kind)
    assert [each.records()[0]["n"] for each in sink.scan(ENDPOINT)] == [1, 33, 4]
    await without_ledger(sink, batch(5, 5))
    assert seen(tmp_path) == [1, 4, 5, 33]
    assert not drafts(tmp_path)


async def test_a_harvest_that_the_ledger_does_not_know_is_refused_and_can_be_taken_over(
    tmp_path: Path, kind: str
) -> None:
    old, new = ledger_of(tmp_path, kind), ledger_of(tmp_path, kind)
    await old.run(batch(1, 1), batch(2, 2))
    await old.run(batch(1, 11, replaces=True))
    before = list(documents(tmp_path))
    with pytest.raises(UsageError, match=r"is lost, harvester rebuild --out \S+ makes a new one"):
        await new.open()
    await new.sink.close()
    assert list(documents(tmp_path)) == before
    new.committed = {each.window: old.committed[each.window] for each in old.sink.scan(ENDPOINT)}
    await new.take_over()
    assert new.scanned() == [2, 11]
    await new.run(batch(2, 22, replaces=True), batch(3, 3))
    assert seen(tmp_path) == new.scanned() == [3, 11, 22]
    with pytest.raises(UsageError, match="is not in this ledger"):
        await old.open()
    await old.sink.close()
    assert seen(tmp_path) == [3, 11, 22]


async def test_taking_over_changes_nothing_and_the_first_run_cuts_torn_ends_and_drafts(
    tmp_path: Path, ledger: SmallLedger, kind: str
) -> None:
    await ledger.open()
    await ledger.commit(batch(1, 1), batch(2, 2))
    await ledger.commit(batch(1, 11, replaces=True))
    forget(ledger.sink)
    (segment,) = segments(tmp_path)
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:9])
    before = contents(tmp_path)
    new = ledger_of(tmp_path, kind)
    assert [each.records() for each in new.make().scan(ENDPOINT)] == [[{"n": 11}], [{"n": 2}]]
    await new.take_over()
    assert contents(tmp_path) == before
    former = dict(ledger.checkpoint)
    await ledger.run(batch(3, 3))
    assert seen(tmp_path) == ledger.scanned() == [2, 3, 11]
    with pytest.raises(SinkError, match="the ledger is older"):  # than what was stored meanwhile
        await new.open()
    await new.sink.close()
    new.committed = ledger.committed
    await new.take_over()
    await new.run()
    assert seen(tmp_path) == new.scanned() == [2, 3, 11]
    assert not drafts(tmp_path)
    for checkpoint in (former, dict(ledger.checkpoint)):
        ledger.checkpoint = checkpoint
        with pytest.raises(UsageError, match="is not in this ledger"):
            await ledger.open()
        await ledger.sink.close()


async def test_a_run_without_a_ledger_in_between_is_noticed(
    tmp_path: Path, ledger: SmallLedger, kind: str
) -> None:
    await ledger.run(batch(1, 1), batch(2, 2))
    await without_ledger(JsonLines(tmp_path, kind), batch(1, 11), batch(3, 3))
    with pytest.raises(UsageError, match="is not in this ledger"):
        await ledger.open()
    await ledger.sink.close()
    assert seen(tmp_path) == [2, 3, 11]


async def test_a_copy_without_hidden_files_is_recognised_and_continued_if_its_sizes_fit(
    tmp_path: Path, ledger: SmallLedger, kind: str
) -> None:
    await ledger.run(batch(1, 1), batch(2, 2))
    await ledger.run(batch(1, 11, replaces=True))
    for path in tmp_path.glob(".*"):
        path.unlink()
    new = ledger_of(tmp_path, kind)
    with pytest.raises(UsageError, match="is not in this ledger"):
        await new.open()
    await new.sink.close()
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole)
    with pytest.raises(SinkError, match=r"differs from the ledger: .*rebuild --out"):
        await ledger.open()
    await ledger.sink.close()
    with pytest.raises(SinkError, match=r"differs from the ledger: .*rebuild --out"):
        ledger.scanned()
    segment.write_bytes(whole)
    assert ledger.scanned() == [2, 11]
    await ledger.run(batch(3, 3))
    assert seen(tmp_path) == ledger.scanned() == [2, 3, 11]
    older = dict(ledger.checkpoint)
    await ledger.open()
    await ledger.commit(batch(2, 22, replaces=True))
    forget(ledger.sink)
    for path in tmp_path.glob(".*"):  # with the journal
        path.unlink()
    with pytest.raises(SinkError, match=r"replaced is gone, but .*rebuild --out"):
        await ledger.open()
    await ledger.sink.close()
    assert seen(tmp_path) == [2, 3, 11]
    ledger.checkpoint = older  # a ledger of that copy
    await ledger.run(batch(2, 23, replaces=True))
    assert seen(tmp_path) == ledger.scanned() == [3, 11, 23]


@pytest.mark.parametrize("content", [b"", b'{"format":3,"own', b"[1]", b'{"format":3,"owner":"a"}'])
async def test_a_damaged_state_is_refused_and_a_rebuilt_ledger_makes_it_anew(
    tmp_path: Path, content: bytes
) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, 1), batch(2, 2))
    (tmp_path / ".jsonl.state").write_bytes(content)
    told = r"\.jsonl\.state is damaged; harvester rebuild --out \S+ \(with --ledger"
    with pytest.raises(SinkError, match=told):
        await ledger.open()
    await ledger.sink.close()
    with pytest.raises(SinkError, match=told):
        ledger.scanned()
    before = contents(tmp_path)
    former = dict(ledger.checkpoint)
    await ledger.take_over()
    assert contents(tmp_path) == before
    await ledger.run(batch(3, 3), batch(1, 11))
    assert seen(tmp_path) == ledger.scanned() == [2, 3, 11]
    ledger.checkpoint = former
    with pytest.raises(UsageError, match="is not in this ledger"):
        await ledger.open()
    await ledger.sink.close()


async def test_after_a_failed_finish_nothing_is_written_and_the_next_run_completes_it(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(batch(1, 1), batch(2, 2))
    sink = await ledger.open()
    await ledger.commit(batch(1, 11, replaces=True))

    def fails(name: str, taken: bool) -> None:
        if name == "fsync draft of lines":
            raise OSError(5, "Input/output error")

    durable.watch(fails)
    try:
        with pytest.raises(SinkError, match="Input/output error; nothing that was committed"):
            await sink.finish()
    finally:
        durable.watch(None)
    with pytest.raises(SinkError, match="is no longer written"):
        await sink.write([batch(3, 3)], {})
    assert await sink.finish() == {}
    await sink.close()
    assert ledger.scanned() == [2, 11]
    await ledger.run(batch(3, 3))
    assert seen(tmp_path) == ledger.scanned() == [2, 3, 11]


Ledgers = list[tuple[dict[str, str], dict[Window, Batch]]]


@pytest.mark.thorough
@pytest.mark.timeout(900)
async def test_each_older_ledger_of_a_life_killed_at_every_step_is_refused_or_ends_exact(
    tmp_path: Path, kind: str
) -> None:
    place, ledger = tmp_path / "life", ledger_of(tmp_path / "life", kind, journal_bytes=600)
    ledgers: Ledgers = []
    deaths: list[tuple[str, int]] = []  # at which step, and how many ledgers there were by then

    def watch(name: str, taken: bool) -> None:
        known = dict(ledger.checkpoint), dict(ledger.committed)
        if not ledgers or ledgers[-1] != known:
            ledgers.append(known)
        shutil.copytree(place, tmp_path / str(len(deaths)))
        deaths.append((f"{'after' if taken else 'before'} {name}", len(ledgers)))

    place.mkdir()
    durable.watch(watch)
    try:
        await three_runs(ledger)
    finally:
        durable.watch(None)
    refused = accepted = 0
    for number, (moment, known) in enumerate(deaths):
        for age, older in enumerate(reversed(ledgers[:known])):
            here = tmp_path / "here"
            shutil.copytree(tmp_path / str(number), here)
            if await goes_on(ledger_of(here, kind, journal_bytes=600), older, ledger.committed):
                accepted += 1
            else:
                assert age, f"the newest ledger was refused: {moment}"
                refused += 1
            shutil.rmtree(here)
    assert refused > 3 * accepted > 300


async def goes_on(
    ledger: SmallLedger, known: tuple[dict[str, str], dict[Window, Batch]],
    truth: dict[Window, Batch],
) -> bool:  # fmt: skip
    """Whether a run with such a ledger is accepted; it fetches what that lacks of the truth."""
    place = ledger.make().path
    before = {**contents(place), place / ".jsonl.lock": b""}
    ledger.put_back(*known)
    missing = [one for window, one in truth.items() if ledger.committed.get(window) is not one]
    for one in missing:
        one.replaces = any(
            other[:2] == one.window[:2]
            and other.begin <= one.window.end
            and one.window.begin <= other.end
            for other in ledger.committed
        )
    try:
        await ledger.run(*missing)
    except (SinkError, UsageError):
        await ledger.sink.close()
        assert {**contents(place), place / ".jsonl.lock": b""} == before
        return False
    assert truth.items() <= ledger.committed.items()
    assert seen(place) == ledger.scanned() == ledger.numbers()
    assert not drafts(place)
    return True


async def test_a_directory_that_was_moved_is_continued(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path / "here", kind)
    await ledger.run(batch(1, 1))
    (tmp_path / "here").rename(tmp_path / "there")
    ledger.make = lambda: JsonLines(tmp_path / "there", kind)
    await ledger.run(batch(2, 2), batch(1, 11, replaces=True))
    assert seen(tmp_path / "there") == ledger.scanned() == [2, 11]


async def test_a_directory_of_another_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    note = {"format": 2, "commits": 3, "owner": "a", "folders": [ENDPOINT]}
    (tmp_path / ".jsonl.state").write_text(json.dumps(note))
    sink = JsonLines(tmp_path)
    refused = (
        "contains JSON lines of another version of harvester, which this version cannot continue"
    )
    for checkpoint in ({}, {"owner": "a", "commits": "3"}, None):
        with pytest.raises(UsageError, match=refused):
            await sink.open(checkpoint)
        await sink.close()
    with pytest.raises(UsageError, match=refused):
        list(sink.scan(ENDPOINT))


# other people's files


async def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    theirs = {
        tmp_path / ENDPOINT / "notes.jsonl": "{}\n",
        tmp_path / "reports" / "2024-01.jsonl": '{"torn": ',
        tmp_path / "reports" / ".2024-02.jsonl.tmp": "x",
        tmp_path / "2024-01.jsonl": "y",
    }
    for path, text in theirs.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    ledger = ledger_of(tmp_path)
    for day in (1, 2):
        await ledger.run(batch(day, day))
    sink = JsonLines(tmp_path)
    await without_ledger(sink, batch(3, 3))
    assert sink.endpoints() == [ENDPOINT]
    with pytest.raises(NoRecordsError, match="nothing contains no harvest"):
        JsonLines(tmp_path / "nothing").endpoints()
    assert {path: path.read_text() for path in theirs} == theirs


@pytest.mark.parametrize("name", ["2024-01.jsonl", "2024-02.jsonl", "2031-07.jsonl.gz"])
async def test_a_segment_of_somebody_else_is_refused_in_one_sentence(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / ENDPOINT / name
    path.parent.mkdir()
    path.write_text('{"hello": "world"}\n')
    ledger = ledger_of(tmp_path)
    await ledger.open()
    with pytest.raises(SinkError, match="this harvest did not write it; move it away"):
        await ledger.commit(batch(1, 1))
    await ledger.sink.close()
    await ledger.run()
    assert path.read_text() == '{"hello": "world"}\n'


async def test_nothing_is_written_through_a_symbolic_link(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    linked = tmp_path / "lock"
    linked.mkdir()
    (linked / ".jsonl.lock").symlink_to(theirs)
    sink = JsonLines(linked)
    with pytest.raises(UsageError, match="symbolic link instead of a lock file"):
        await sink.open({})
    await sink.close()
    ledger = ledger_of(tmp_path / "lines")
    await ledger.run(batch(1, 1))
    (segment,) = segments(tmp_path / "lines")
    draft = tmp_path / "lines" / ".jsonl.draft"
    draft.symlink_to(theirs)
    await ledger.open()
    draft.symlink_to(theirs)
    await ledger.commit(batch(1, 11, replaces=True))
    await ledger.close()
    assert seen(tmp_path / "lines") == [11]
    moved = tmp_path / "moved"
    segment.rename(moved)
    segment.symlink_to(moved)
    size = moved.stat().st_size
    await ledger.open()
    with pytest.raises(SinkError, match="could not be written"):
        await ledger.commit(batch(2, 2))
    await ledger.sink.close()
    assert moved.stat().st_size == size
    assert theirs.read_text() == "theirs"


async def test_nothing_that_a_record_says_names_a_file(tmp_path: Path) -> None:
    evil = {"_endpoint": "../../out", "_appid": "../out", "title": "../out", "../out": "../out"}
    await ledger_of(tmp_path / "here").run(batch(1, evil, {"ref_date": "../../../out"}))
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert not [path for path in tmp_path.rglob("*") if "out" in path.name]


async def test_a_line_that_is_no_record_of_ours_is_named(tmp_path: Path) -> None:
    await ledger_of(tmp_path).run(batch(1, 1))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes() + b'{"hello": "world"}\n')
    with pytest.raises(SinkError, match=r"2024-01\.jsonl: .*hello.* is not a record of harvester"):
        list(JsonLines(tmp_path).scan(ENDPOINT))
    segment.write_bytes(b'{"n":1,"_appid":"a","_begin_date":"never"}\n' * 2)
    with pytest.raises(SinkError, match="not a record of harvester"):
        list(JsonLines(tmp_path).scan(ENDPOINT))


# one process, full disks, specs


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    sink, other = await ledger.open(), ledger.make()
    with pytest.raises(UsageError, match="in use by another harvester"):
        await other.open({})
    await other.close()
    await sink.close()


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from harvester.errors import SinkError
from harvester.sinks.jsonl.sink import JsonLines
from tests.sinks.small_ledger import SmallLedger, batch, seen, segments

async def main():
    directory, compress, how = Path(sys.argv[1]), *sys.argv[2:]
    ledger = SmallLedger(lambda: JsonLines(directory, compress))
    await ledger.open()
    await ledger.commit(batch(0, 0), batch(1, 1, name="other"))
    size = segments(directory)[0].stat().st_size
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    large = {"n": 9, "title": "".join(map(str, range(3000)))}
    try:
        await ledger.commit(
            batch(2, 2), batch(0, large, replaces=how == "replace", name="other"), batch(3, 3)
        )
    except SinkError as exc:
        print(exc)
    assert segments(directory)[0].stat().st_size == size, "lines of a failed write were left"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await ledger.commit(batch(4, 4))  # the same sink goes on
    await ledger.sink.close()
    await ledger.run(batch(5, 5))
    assert seen(directory) == ledger.scanned() == [0, 1, 4, 5], seen(directory)

asyncio.run(main())
"""


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["append", "replace"])
@pytest.mark.parametrize("compress", ALL)
def test_a_full_disk_is_reported_and_nothing_is_lost(
    tmp_path: Path, compress: str, how: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, tmp_path, compress, how],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "the disk is full; nothing that was committed is lost" in ran.stdout


async def test_a_directory_that_cannot_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        sink = JsonLines(Path(folder) / "here")
        user = os.geteuid()
        if user == 0:  # who may write everywhere
            os.seteuid(65534)
        try:
            with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\)"):
                await sink.open({})
        finally:
            os.seteuid(user)
            Path(folder).chmod(0o755)
        await sink.close()


@pytest.mark.thorough
def test_many_small_members_are_read_in_a_time_that_grows_with_their_number_only(
    tmp_path: Path,
) -> None:
    for suffix in (".gz", ".zst"):
        packing = compression_of(f"x{suffix}")
        path = tmp_path / f"x.jsonl{suffix}"
        path.write_bytes(b"".join(packing.pack([b'{"n":%d}\n' % n]) for n in range(20_000)))
        with path.open("rb", buffering=0) as file:
            assert b"".join(packing.pieces(file, path.stat().st_size)).count(b"\n") == 20_000
            assert packing.whole(file) == path.stat().st_size
