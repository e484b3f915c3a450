"""JSON lines, plain and compressed: each committed window once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harvester import durable
from harvester.errors import SinkError, UsageError
from harvester.sinks.compression import compression_of
from harvester.sinks.lines import JsonLines
from tests.sinks.small_ledger import (
    ENDPOINT,
    Died,
    SmallLedger,
    batch,
    documents,
    doubled,
    dying,
    each,
    forget,
    query,
    seen,
    segments,
    three_runs,
    unpacked,
    window,
)

ALL = ("", "gzip", "zstd")
SUFFIXES = {"": "", "gzip": ".gz", "zstd": ".zst"}
ROOT = Path(__file__).parents[2]


def ledger_of(directory: Path, compress: str = "", **how: Any) -> SmallLedger:
    return SmallLedger(lambda: JsonLines(directory, compress, **how))


def run(arguments: Sequence[str | Path]) -> bytes:
    """What a command prints, which must succeed."""
    return subprocess.run(
        arguments, stdout=subprocess.PIPE, check=True, cwd=ROOT, timeout=60
    ).stdout


def drafts(directory: Path) -> list[Path]:
    return list(directory.rglob("*.tmp"))


# what stands there


@each(*ALL)
async def test_writes_go_to_one_segment_that_every_tool_reads(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.open()
    for day in range(1, 20):
        await ledger.commit(batch(day, day))
    await ledger.sink.close()
    (segment,) = segments(tmp_path)
    assert segment.name == f"000001.jsonl{SUFFIXES[kind]}"
    assert seen(tmp_path) == ledger.scanned() == list(range(1, 20))
    found = query(f"SELECT n FROM read_json('{segment}', format='newline_delimited')")
    assert sorted(n for (n,) in found) == list(range(1, 20))
    tool = {"": "cat", "gzip": "gzip -dc", "zstd": "zstd -dc"}[kind].split()
    if shutil.which(tool[0]):
        told = run([*tool, segment])
        assert [json.loads(line)["n"] for line in told.splitlines()] == list(range(1, 20))


@each(*ALL)
async def test_a_full_segment_is_followed_by_the_next(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind, segment_bytes=500 * (8 if kind else 1))
    for day in range(1, 21):
        await ledger.run(batch(day, day))
    names = [path.name for path in segments(tmp_path)]
    assert names == [f"{n:06}.jsonl{SUFFIXES[kind]}" for n in range(1, len(names) + 1)]
    assert 3 <= len(names) <= 10
    assert seen(tmp_path) == ledger.scanned() == list(range(1, 21))


@each(*ALL)
async def test_ten_thousand_windows_make_one_file_and_empty_ones_none(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(batch(1), batch(2))
    assert not list(tmp_path.glob("*/*"))
    await ledger.open()
    for group in range(100):
        await ledger.commit(*[batch(100 * group + n, n) for n in range(100)])
    await ledger.sink.close()
    assert len(segments(tmp_path)) == 1
    assert len(seen(tmp_path)) == 10_000


@each("gzip", "zstd")
async def test_small_members_are_packed_again_before_they_take_much_space(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.open()
    for day in range(1, 1201):
        await ledger.commit(batch(day, {"n": day, "title": "the same for ever" * 3}))
    await ledger.sink.close()
    (segment,) = segments(tmp_path)
    one_by_one = sum(
        len(compression_of(segment.name).pack([each.lines()])) for each in ledger.committed.values()
    )
    assert segment.stat().st_size < one_by_one / 2
    assert seen(tmp_path) == ledger.scanned() == list(range(1, 1201))
    assert not drafts(tmp_path)


@each(*ALL)
async def test_titles_of_every_kind_come_back_as_they_were(tmp_path: Path, kind: str) -> None:
    titles = ["", "😀👨‍👩‍👧", "nul \0 inside", "x" * 300, "line\nbreak\r\u2028", '"q" \\ /', "中文",
              '","_appid":"wx2","_fetched_at":"x"}\n', '"_appid":']  # fmt: skip
    ledger = ledger_of(tmp_path, kind)
    records = [{"n": n, "title": title} for n, title in enumerate(titles)]
    nested = {"n": 99, "o": {"_appid": "wx9", "_begin_date": "x"}, "l": [{"_appid": 1}]}
    await ledger.run(batch(1, *records, nested, {"n": 2**70}))
    assert [record["n"] for record in documents(tmp_path)] == [*range(len(titles)), 99, 2**70]
    assert [record.get("title") for record in documents(tmp_path)][: len(titles)] == titles
    assert ledger.scanned() == sorted([*range(len(titles)), 99, 2**70])


async def _scan_with_empty_records(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, {}, {"n": 1}, {}), batch(2, {"n": 2}, {}))
    stored = list(JsonLines(tmp_path).scan(ENDPOINT))
    assert [each.records() for each in stored] == [[{}, {"n": 1}, {}], [{"n": 2}, {}]]
    assert [each.tally for each in stored] == [each.tally for each in ledger.committed.values()]


def test_records_without_a_field_are_records(tmp_path: Path) -> None:
    asyncio.run(_scan_with_empty_records(tmp_path))


@each(*ALL)
async def test_a_scan_gives_the_windows_of_the_accounts_that_are_asked_for(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(
        batch(1, 1, 2), batch(1, 3, appid="wx2"), batch(2, appid="wx2"), batch(5, 5, name="other")
    )
    sink = JsonLines(tmp_path)
    assert sink.endpoints() == [ENDPOINT, "other"]
    found = list(sink.scan(ENDPOINT, {"wx2"}))
    assert [(each.window, each.records()) for each in found] == [
        (window(1, appid="wx2"), [{"n": 3}])
    ]
    assert [each.window for each in sink.scan("other")] == [window(5, endpoint="other")]
    assert not list(sink.scan("neither"))
    assert not JsonLines(tmp_path / "nothing").endpoints()


async def test_a_directory_is_continued_however_it_was_packed_before(tmp_path: Path) -> None:
    kinds = ["", "gzip", "gzip", "zstd", "", "gzip"]
    ledger = SmallLedger(lambda: JsonLines(tmp_path, kinds[0] if kinds else ""))
    for day in range(1, 7):
        await ledger.run(batch(day, day))
        del kinds[0]
    assert [path.name for path in segments(tmp_path)] == [
        "000001.jsonl", "000002.jsonl.gz", "000003.jsonl.zst", "000004.jsonl",
        "000005.jsonl.gz",
    ]  # fmt: skip
    await ledger.run(batch(2, 100, days=3, replaces=True))
    assert seen(tmp_path) == ledger.scanned() == [1, 5, 6, 100]


def test_the_identity_does_not_depend_on_the_compression(tmp_path: Path) -> None:
    made = [JsonLines.from_spec(f"{tmp_path}{how}") for how in ("", "?compress=gzip")]
    assert made[0].identity == made[1].identity == f"jsonl:{tmp_path.resolve()}"
    assert made[0].path == tmp_path


# replacing


@each(*ALL)
async def test_a_window_takes_the_place_of_all_that_overlap_it(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind, segment_bytes=8 * 500 if kind else 1200)
    await ledger.open()
    for day in range(1, 13):
        noise = random.Random(day).randbytes(100).hex()
        await ledger.commit(batch(day, {"n": day, "t": noise}, {"n": 100 + day}))
    assert len(segments(tmp_path)) > 2
    await ledger.commit(batch(3, 33, replaces=True), batch(4, replaces=True), batch(13, 13))
    await ledger.commit(batch(6, 1000, days=5, replaces=True))
    await ledger.commit(batch(8, 2000, days=4, replaces=True))  # overlaps in part, and a day more
    await ledger.commit(batch(1, 3000, appid="wx2"), batch(1, 4000, name="other"))
    await ledger.commit(batch(1, 3001, appid="wx2", replaces=True))
    await ledger.sink.close()
    assert seen(tmp_path) == ledger.numbers() == ledger.scanned()
    assert seen(tmp_path) == [1, 2, 5, 12, 13, 33, 101, 102, 105, 112, 2000, 3001, 4000]
    assert not drafts(tmp_path)
    await ledger.run()
    assert seen(tmp_path) == ledger.numbers()


@each(*ALL)
async def test_of_two_overlapping_windows_in_one_write_the_later_one_stays(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(
        batch(1, 1, days=3), batch(9, 9), batch(3, 3, days=2), batch(9, 99), batch(4, 4, appid="b")
    )
    assert seen(tmp_path) == [3, 4, 99]
    await ledger.run(batch(3, 33, days=2, replaces=True), batch(2, 2, days=2, replaces=True))
    assert seen(tmp_path) == ledger.scanned() == [2, 4, 99]
    await ledger.run(batch(6, 6), batch(7, 7))
    await ledger.run(batch(6, 66, days=2, replaces=True), batch(7, 77, days=2, replaces=True))
    assert seen(tmp_path) == ledger.scanned() == [2, 4, 77, 99]  # the earlier one removes, too


@each(*ALL)
async def test_a_reader_never_sees_a_window_of_two_writes(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
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
    assert "rename rewritten segment" in steps
    assert seen(tmp_path) == ledger.numbers()


# a write that was not committed, or was and not completed


@each(*ALL)
async def test_what_was_not_committed_or_torn_is_cut_off(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
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


@each(*ALL)
async def test_a_kill_between_write_and_commit_leaves_the_old_window(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.open()
    await ledger.commit(batch(1, 1), batch(2, 2))
    await ledger.sink.write([batch(1, 11, replaces=True)], {})
    forget(ledger.sink)
    assert seen(tmp_path) == ledger.scanned() == [1, 2]
    await ledger.run()
    assert seen(tmp_path) == ledger.scanned() == [1, 2]
    assert not drafts(tmp_path)


@each(*ALL)
async def test_a_kill_between_commit_and_rename_brings_the_new_window(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.open()
    await ledger.commit(batch(1, 1), batch(2, 2))
    await ledger.commit(batch(1, 11, replaces=True))
    assert list(ledger.sink.scan(ENDPOINT))[-1].records() == [{"n": 11}]
    forget(ledger.sink)
    assert ledger.scanned() == [2, 11]
    await ledger.run()
    assert seen(tmp_path) == ledger.scanned() == [2, 11]
    assert not drafts(tmp_path)
    await ledger.run(batch(3, 3))
    assert seen(tmp_path) == ledger.scanned() == [2, 3, 11]


@each(*ALL)
async def test_a_commit_that_fails_before_the_sink_is_closed_doubles_nothing_later(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.open()
    await ledger.commit(batch(1, 1), batch(2, 2))
    await ledger.sink.write([batch(1, 11, days=3, replaces=True)], {})  # the commit fails
    await ledger.sink.close()
    await ledger.run(batch(3, 3))  # the ledger does not know that day 3 stands there
    assert seen(tmp_path) == [3]
    await ledger.run(batch(1, 111, replaces=True), batch(2, 222, replaces=True))
    assert seen(tmp_path) == ledger.numbers() == ledger.scanned() == [3, 111, 222]


async def test_a_cancelled_write_waits_for_the_disk_and_counts_for_nothing(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(*[batch(day, day) for day in range(1, 2000)])
    sink = await ledger.open()
    task = asyncio.ensure_future(
        sink.write([batch(day, 0, replaces=True) for day in range(1, 2000)], {})
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sink.close()
    await ledger.run(batch(1, 1001, replaces=True))
    assert seen(tmp_path) == ledger.scanned() == sorted([*range(2, 2000), 1001])


@each("", *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ALL if kind))
async def test_whatever_step_it_dies_at_what_was_committed_is_there_once(
    tmp_path: Path, kind: str
) -> None:
    for number in range(1, 1000):
        directory = tmp_path / str(number)
        ledger = ledger_of(directory, kind, segment_bytes=8 * 300)
        died = False
        with dying(number) as moments:
            try:
                await three_runs(ledger)
            except Died:
                died = True
        if died:
            forget(ledger.sink)
            assert ledger.scanned() == ledger.numbers(), moments[-1]
        await ledger.run()
        assert seen(directory) == ledger.numbers() == ledger.scanned(), moments[-1]
        assert not drafts(directory)
        if died and number % 7 == 0:  # the same again from there
            await three_runs(ledger)
            assert seen(directory) == ledger.numbers() == ledger.scanned(), moments[-1]
        if not died:
            break
    assert number > 60
    assert {"before commit ledger", "after commit ledger", "before rename rewritten segment",
            "after write rewritten segment", "before fsync segment"} <= {*moments}  # fmt: skip


JOB = """
import asyncio, json, sys
from pathlib import Path
from harvester.sinks.lines import JsonLines
from tests.sinks.small_ledger import batch

async def main():
    directory, compress, path = sys.argv[1:]
    kept = Path(path)
    ledger = json.loads(kept.read_text()) if kept.exists() else {"checkpoint": {}, "done": 0}
    def store(checkpoint, done):
        ledger["checkpoint"].update(checkpoint)
        ledger["done"] = done
        kept.with_suffix(".new").write_text(json.dumps(ledger))
        kept.with_suffix(".new").replace(kept)
    sink = JsonLines(directory, compress, segment_bytes=8 * 2000)
    store(await sink.open(ledger["checkpoint"]), ledger["done"])
    print("open", flush=True)
    for turn in range(ledger["done"], 60):
        some = [batch(3 * turn + n, 3 * turn + n) for n in range(3)]
        again = [batch(3 * turn - 4, -turn, days=3, replaces=True)] if turn % 3 == 2 else []
        store((await sink.write(some + again, {})).checkpoint, turn + 1)
    await sink.close()

asyncio.run(main())
"""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ALL)
def test_killed_at_random_moments_it_loses_and_doubles_nothing(tmp_path: Path, kind: str) -> None:
    draw = random.Random(20261125)
    arguments: list[str | Path] = [
        sys.executable,
        "-c",
        JOB,
        tmp_path / "lines",
        kind,
        tmp_path / "kept.json",
    ]
    for _ in range(int(os.environ.get("HARVESTER_KILLS", "3"))):
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(draw.uniform(0.0, 0.06))
            process.send_signal(signal.SIGKILL)
    run(arguments)
    gone = {3 * turn - 4 + n for turn in range(2, 60, 3) for n in range(3)}
    expected = sorted({*range(180)} - gone) + [-turn for turn in range(2, 60, 3)]
    assert seen(tmp_path / "lines") == sorted(expected)
    assert not drafts(tmp_path)


# what the ledger says and the disk has not


@each(*ALL)
async def test_what_is_gone_or_cut_is_reported_with_the_way_out(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(batch(1, 1), batch(2, 2))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-1])
    for problem in (r"is cut to \d+ of its \d+ bytes, though the ledger", "is gone, though the"):
        with pytest.raises(SinkError, match=rf"{problem}.*put the right one back.*rebuild --out"):
            await ledger.open()
        await ledger.sink.close()
        with pytest.raises(SinkError, match=problem):
            ledger.scanned()
        segment.unlink(missing_ok=True)
    shutil.rmtree(tmp_path)
    with pytest.raises(SinkError, match="is gone, though the ledger says"):
        await ledger.open()
    await ledger.sink.close()


@each(*ALL)
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


@each(*ALL)
async def test_a_ledger_from_an_older_copy_cuts_what_it_does_not_know(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(batch(1, 1))
    older, committed = dict(ledger.checkpoint), dict(ledger.committed)
    await ledger.run(batch(2, 2))
    ledger.checkpoint, ledger.committed = older, committed
    await ledger.run(batch(3, 3))
    assert seen(tmp_path) == ledger.scanned() == [1, 3]


@each(*ALL)
async def test_a_ledger_that_is_older_than_a_rewritten_segment_doubles_nothing(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(batch(1, 1), batch(2, 2))
    older = dict(ledger.checkpoint)
    await ledger.run(batch(1, 11, replaces=True), batch(3, 3))
    ledger.checkpoint = older
    ledger.committed = {}
    await ledger.run(batch(3, 33), batch(1, 111, replaces=True))
    assert seen(tmp_path) == [2, 33, 111]


@each("gzip", "zstd")
async def test_a_damaged_segment_is_named_and_left_as_it_is(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.open()
    await ledger.commit(batch(1, 1))
    size = segments(tmp_path)[0].stat().st_size
    await ledger.commit(batch(2, 2))
    await ledger.sink.close()
    (segment,) = segments(tmp_path)
    damaged = bytearray(segment.read_bytes())
    damaged[size : size + 4] = b"\0\0\0\0"
    segment.write_bytes(damaged)
    with pytest.raises(SinkError, match=rf"{segment.name} is damaged near byte .*put it back"):
        list(JsonLines(tmp_path).scan(ENDPOINT))
    other = JsonLines(tmp_path, kind)
    with pytest.raises(SinkError, match="is damaged near byte"):
        await other.open(None)
    await other.close()
    assert segment.read_bytes() == damaged


# ledgers and directories that do not belong together


@each(*ALL)
async def test_without_a_ledger_whole_lines_stay_and_what_overlaps_is_replaced(
    tmp_path: Path, kind: str
) -> None:
    sink = JsonLines(tmp_path, kind)
    await sink.open(None)
    await sink.write([batch(1, 1), batch(2, 2)], {})
    await sink.close()
    whole = segments(tmp_path)[0].stat().st_size
    sink = JsonLines(tmp_path, kind)
    await sink.open(None)
    await sink.write([batch(3, 3)], {})
    await sink.close()
    (segment,) = segments(tmp_path)
    both = segment.read_bytes()
    for cut in range(whole + 1, len(both)):
        segment.write_bytes(both[:cut])
        assert [each.window for each in sink.scan(ENDPOINT)] == [window(1), window(2)]
        await sink.open(None)
        await sink.close()
        assert segment.stat().st_size == whole
    await sink.open(None)
    await sink.write([batch(2, 22, days=2)], {})
    assert seen(tmp_path) == [1, 22]  # at once: there is no commit to wait for
    await sink.write([batch(3, 33), batch(4, 4)], {})
    forget(sink)
    assert seen(tmp_path) == [1, 4, 33]
    assert not drafts(tmp_path)


@each(*ALL)
async def test_a_harvest_that_the_ledger_does_not_know_is_refused_and_can_be_taken_over(
    tmp_path: Path, kind: str
) -> None:
    old = ledger_of(tmp_path, kind)
    await old.run(batch(1, 1), batch(2, 2))
    await old.run(batch(1, 11, replaces=True))
    before = unpacked(segments(tmp_path)[0])
    new = ledger_of(tmp_path, kind)
    with pytest.raises(UsageError, match=r"is lost, harvester rebuild --out \S+ makes one"):
        await new.open()
    await new.sink.close()
    assert unpacked(segments(tmp_path)[0]) == before
    new.committed = {each.window: old.committed[each.window] for each in old.sink.scan(ENDPOINT)}
    new.sink = new.make()
    new.store(await new.sink.open(None))
    await new.sink.close()
    assert new.scanned() == [2, 11]
    await new.run(batch(2, 22, replaces=True), batch(3, 3))
    assert seen(tmp_path) == new.scanned() == [3, 11, 22]
    with pytest.raises(UsageError, match="does not know"):
        await old.open()
    await old.sink.close()
    assert seen(tmp_path) == [3, 11, 22]


@each(*ALL)
async def test_taking_over_cuts_torn_ends_and_keeps_no_draft(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.open()
    await ledger.commit(batch(1, 1), batch(2, 2))
    await ledger.commit(batch(1, 11, replaces=True))
    forget(ledger.sink)
    (segment,) = segments(tmp_path)
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:9])
    new = ledger_of(tmp_path, kind)
    new.sink = new.make()
    assert [each.records() for each in new.sink.scan(ENDPOINT)] == [[{"n": 1}], [{"n": 2}]]
    new.store(await new.sink.open(None))
    await new.sink.close()
    assert seen(tmp_path) == [1, 2]
    assert not drafts(tmp_path)


@each(*ALL)
async def test_a_run_without_a_ledger_in_between_is_noticed(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(batch(1, 1), batch(2, 2))
    sink = JsonLines(tmp_path, kind)
    await sink.open(None)
    await sink.write([batch(1, 11), batch(3, 3)], {})
    await sink.close()
    with pytest.raises(UsageError, match="does not know"):
        await ledger.open()
    await ledger.sink.close()
    assert seen(tmp_path) == [2, 3, 11]


@each(*ALL)
async def test_records_without_a_lock_file_are_recognised(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path, kind)
    await ledger.run(batch(1, 1))
    (tmp_path / ".jsonl.lock").unlink()
    new = ledger_of(tmp_path, kind)
    with pytest.raises(UsageError, match="does not know"):
        await new.open()
    await new.sink.close()
    (tmp_path / ".jsonl.lock").unlink()
    await ledger.run(batch(2, 2))  # whose checkpoint fits what stands there
    assert seen(tmp_path) == ledger.scanned() == [1, 2]


@each(*ALL)
async def test_a_directory_that_was_moved_is_continued(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path / "here", kind)
    await ledger.run(batch(1, 1))
    (tmp_path / "here").rename(tmp_path / "there")
    ledger.make = lambda: JsonLines(tmp_path / "there", kind)
    await ledger.run(batch(2, 2), batch(1, 11, replaces=True))
    assert seen(tmp_path / "there") == ledger.scanned() == [2, 11]


@each(*ALL)
async def test_a_read_only_copy_can_be_scanned(tmp_path: Path, kind: str) -> None:
    ledger = ledger_of(tmp_path / "here", kind)
    await ledger.run(batch(1, 1))
    for path in [*tmp_path.rglob("*")][::-1]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert ledger.scanned() == [1]
    assert [each.records() for each in JsonLines(tmp_path / "here").scan(ENDPOINT)] == [[{"n": 1}]]
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for path in tmp_path.rglob("*"):
        path.chmod(0o755)


# other people's files


async def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    theirs = {
        tmp_path / ENDPOINT / "notes.jsonl": "{}\n",
        tmp_path / "reports" / "000001.jsonl": '{"torn": ',
        tmp_path / "reports" / "000002.jsonl.3.tmp": "x",
        tmp_path / "000001.jsonl": "y",
    }
    for path, text in theirs.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    ledger = ledger_of(tmp_path)
    for day in (1, 2):
        await ledger.run(batch(day, day))
    sink = JsonLines(tmp_path)
    await sink.open(None)
    await sink.write([batch(3, 3)], {})
    await sink.close()
    assert sink.endpoints() == [ENDPOINT]
    assert {path: path.read_text() for path in theirs} == theirs


@pytest.mark.parametrize("name", ["000001.jsonl", "000002.jsonl", "000007.jsonl.gz"])
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
    with pytest.raises(UsageError, match="symbolic link in the place of a lock file"):
        await sink.open({})
    await sink.close()
    ledger = ledger_of(tmp_path / "lines")
    await ledger.run(batch(1, 1))
    (segment,) = segments(tmp_path / "lines")
    segment.with_name("000001.jsonl.1.tmp").symlink_to(theirs)
    await ledger.open()
    segment.with_name("000001.jsonl.1.tmp").symlink_to(theirs)
    await ledger.commit(batch(1, 11, replaces=True))
    await ledger.sink.close()
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


def test_nothing_that_a_record_says_names_a_file(tmp_path: Path) -> None:
    evil = {"_x": "../../out", "title": "../out", "../out": "../out", "n": 1}
    asyncio.run(ledger_of(tmp_path / "here").run(batch(1, evil)))
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert not [path for path in tmp_path.rglob("*") if "out" in path.name]


def test_a_line_that_is_no_record_of_ours_is_named(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    asyncio.run(ledger.run(batch(1, 1)))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes() + b'{"hello": "world"}\n')
    with pytest.raises(SinkError, match=r"000001\.jsonl: .*hello.* is not a record of harvester"):
        list(JsonLines(tmp_path).scan(ENDPOINT))
    segment.write_bytes(b'{"n":1,"_appid":"a","_begin_date":"never"}\n' * 2)
    with pytest.raises(SinkError, match="not a record of harvester"):
        list(JsonLines(tmp_path).scan(ENDPOINT))


# one process, full disks, specs


@each(*ALL)
async def test_a_second_writer_is_refused_and_closing_twice_is_closing_once(
    tmp_path: Path, kind: str
) -> None:
    ledger = ledger_of(tmp_path, kind)
    sink = await ledger.open()
    other = JsonLines(tmp_path)
    with pytest.raises(UsageError, match="in use by another harvester"):
        await other.open({})
    await other.close()
    await sink.close()
    await sink.close()
    await ledger.run(batch(1, 1))


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from harvester.errors import SinkError
from harvester.sinks.lines import JsonLines
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    sink = JsonLines(tmp_path / "here")
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\)"):
        await sink.open({})
    await sink.close()
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("spec", ["", "?compress=gzip", "x?"])
def test_a_spec_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="jsonl:DIR"):
        JsonLines.from_spec(spec)


@pytest.mark.parametrize("spec", ["x?y", "x?compress=lzma", "x?compress=", "x?compres=gzip"])
def test_an_option_that_is_none_is_refused_and_the_known_one_named(spec: str) -> None:
    with pytest.raises(UsageError, match="compress"):
        JsonLines.from_spec(spec)


def test_a_missing_package_is_reported_with_the_command_to_type(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['backports'] = sys.modules['compression'] = None\n"
        "from harvester.sinks.lines import JsonLines\n"
        "from harvester.errors import UsageError\n"
        f"try: JsonLines.from_spec({str(tmp_path)!r} + '?compress=zstd')\n"
        "except UsageError as exc: print(exc)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "pip install 'wechat-harvester[zstd]'" in told.stdout


def test_many_small_members_are_read_in_a_time_that_grows_with_their_number_only(
    tmp_path: Path,
) -> None:
    for suffix in (".gz", ".zst"):
        packing = compression_of(f"x{suffix}")
        path = tmp_path / f"x.jsonl{suffix}"
        path.write_bytes(b"".join(packing.pack([b'{"n":%d}\n' % n]) for n in range(20_000)))
        assert len(list(packing.lines(path, path.stat().st_size))) == 20_000
        assert packing.whole(path) == path.stat().st_size
