"""JSON lines as gzip members and Zstandard frames: the promises of the plain ones, and more."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.codec import checksum, lines
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Receipt
from harvester.sinks.compression import compression_of
from harvester.sinks.jsonl import JsonLines
from harvester.testing import run_virtual

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STAMP = "2024-06-15T04:00:00Z"
SUFFIXES = {"gzip": ".gz", "zstd": ".zst"}
Test = Callable[[Path, str], Awaitable[None]]


def batch(day: int, *records: dict[str, Any], appid: str = "wx1", replaces: bool = False) -> Batch:
    """A batch of one day of January 2024 (days may run on)."""
    when = date(2023, 12, 31) + timedelta(days=day)
    window = Window(appid, "getarticlesummary", when, when)
    encoded = lines(records, metadata(window, STAMP))
    return Batch(window, STAMP, len(records), b"".join(encoded), checksum(encoded), replaces)


def longer(first: Batch, days: int) -> Batch:
    """The batch as one of so many days."""
    window = first.window
    return first._replace(window=window._replace(end=window.begin + timedelta(days=days - 1)))


def unpacked(path: Path) -> bytes:
    """What the standard reader of its kind makes of a file."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        with zstd.open(path) as file:
            return bytes(file.read())
    return path.read_bytes()


def seen(directory: Path) -> list[tuple[str, int]]:
    """What a reader sees: day and number of each record."""
    found = []
    for path in sorted(directory.glob("*/*.jsonl*")):
        for line in unpacked(path).splitlines():
            record = json.loads(line)
            found.append((record["_begin_date"][8:], record["n"]))
    return sorted(found)


class Ledgerish:
    """Keeps receipts as the ledger does."""

    def __init__(self, directory: Path, compress: str, **how: Any) -> None:
        self.directory = directory
        self.receipt: Receipt = {}
        self.how = {"compress": compress, **how}

    async def open(self) -> JsonLines:
        sink = JsonLines(self.directory, **self.how)
        self.receipt.update(await sink.open(dict(self.receipt)))
        return sink

    async def commit(self, sink: JsonLines, *batches: Batch) -> dict[Window, Tally]:
        written = await sink.write(batches)
        self.receipt.update(written.receipt)
        await sink.settle()
        return dict(written.replaced)

    async def end(self, sink: JsonLines) -> None:
        self.receipt.update((await sink.finish()).receipt)
        await sink.settle()
        await sink.close()

    def stored(self) -> list[int]:
        """What `verify` reads."""
        kept = {name: text for name, text in self.receipt.items() if text}
        return sorted(json.loads(line)["n"] for line in JsonLines(self.directory).read_lines(kept))


def each(test: Test) -> Callable[[Path, str], None]:
    """Run an async test on the virtual loop, once for each compression."""

    def run(tmp_path: Path, compress: str) -> None:
        async def main(_: object) -> None:
            await test(tmp_path, compress)

        run_virtual(main)

    run.__name__ = test.__name__
    return pytest.mark.parametrize("compress", ["gzip", "zstd"])(run)


@each
async def test_each_commit_is_a_member_that_every_tool_reads_on_from(
    tmp_path: Path, compress: str
) -> None:
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    for day in range(1, 20):
        await ledger.commit(sink, batch(day, {"n": day}))
    await sink.close()
    (segment,) = tmp_path.glob("*/*")
    assert segment.name == f"000001.jsonl{SUFFIXES[compress]}"
    assert seen(tmp_path) == [(f"{day:02}", day) for day in range(1, 20)]
    found = duckdb.sql(f"SELECT n FROM read_json('{segment}', format='newline_delimited')")
    assert sorted(n for (n,) in found.fetchall()) == list(range(1, 20))


@pytest.mark.parametrize(
    ("compress", "tool"), [("gzip", ["gzip", "-dc"]), ("zstd", ["zstd", "-dc"])]
)
def test_the_usual_programs_read_it_and_call_it_sound(
    tmp_path: Path, compress: str, tool: list[str]
) -> None:
    if shutil.which(tool[0]) is None:
        why = f"there is no {tool[0]} on this machine"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)

    async def main(_: object) -> None:
        ledger = Ledgerish(tmp_path, compress)
        sink = await ledger.open()
        for day in range(1, 9):
            await ledger.commit(sink, batch(day, {"n": day}))
        await sink.close()

    run_virtual(main)
    (segment,) = tmp_path.glob("*/*")
    told = subprocess.run([*tool, segment], capture_output=True, check=True).stdout
    assert [json.loads(line)["n"] for line in told.splitlines()] == list(range(1, 9))


@each
async def test_small_members_are_packed_anew_at_the_end_of_a_run(
    tmp_path: Path, compress: str
) -> None:
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    for day in range(1, 301):
        await ledger.commit(sink, batch(day, {"n": day, "title": "the same for ever"}))
    (segment,) = tmp_path.glob("*/*")
    loose = segment.stat().st_size
    await ledger.end(sink)
    assert segment.stat().st_size < loose / 4
    assert len(seen(tmp_path)) == 300
    assert ledger.stored() == list(range(1, 301))
    sink = await ledger.open()
    before = dict(ledger.receipt)
    await ledger.end(sink)  # nothing to do
    assert ledger.receipt == before
    sink = await ledger.open()
    await ledger.commit(sink, batch(301, {"n": 301}))
    await ledger.end(sink)
    assert ledger.stored() == list(range(1, 302))
    assert [path.name for path in tmp_path.glob("*/*")] == [segment.name]


@each
async def test_a_crash_while_packing_anew_changes_nothing(tmp_path: Path, compress: str) -> None:
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    for day in range(1, 9):
        await ledger.commit(sink, batch(day, {"n": day}))
    await sink.finish()  # and the process dies before the receipt is stored
    await sink.close()
    sink = await ledger.open()
    assert not list(tmp_path.glob("*/*.tmp"))
    assert ledger.stored() == list(range(1, 9))
    ledger.receipt.update((await sink.finish()).receipt)  # and dies after it, before it settles
    await sink.close()
    assert ledger.stored() == list(range(1, 9))
    sink = await ledger.open()
    await sink.close()
    assert [n for _, n in seen(tmp_path)] == list(range(1, 9))


@each
async def test_what_was_not_committed_or_torn_is_cut_off(tmp_path: Path, compress: str) -> None:
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}))
    await sink.write([batch(2, {"n": 2})])  # and the process dies
    await sink.close()
    sink = await ledger.open()
    assert seen(tmp_path) == [("01", 1)]
    await sink.close()
    (segment,) = tmp_path.glob("*/*")
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:9])
    sink = await ledger.open()
    await ledger.commit(sink, batch(2, {"n": 2}))
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("02", 2)]


@each
async def test_without_a_ledger_whole_members_are_kept_wherever_the_last_is_torn(
    tmp_path: Path, compress: str
) -> None:
    sink = JsonLines(tmp_path, compress=compress)
    await sink.open(None)
    await sink.write([batch(1, {"n": 1}), batch(2, {"n": 2})])
    await sink.settle()
    (segment,) = tmp_path.glob("*/*")
    whole = segment.stat().st_size
    await sink.write([batch(3, {"n": 3})])
    await sink.close()
    both = segment.read_bytes()
    for cut in range(whole + 1, len(both)):
        segment.write_bytes(both[:cut])
        sink = JsonLines(tmp_path, compress=compress)
        await sink.open(None)
        await sink.close()
        assert segment.stat().st_size == whole
    sink = JsonLines(tmp_path, compress=compress)
    await sink.open(None)
    await sink.write([batch(2, {"n": 22}), batch(3, {"n": 3})])
    await sink.settle()
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("02", 22), ("03", 3)]


@each
async def test_a_damaged_segment_is_named_and_left_as_it_is(tmp_path: Path, compress: str) -> None:
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}))
    size = next(tmp_path.glob("*/*")).stat().st_size
    await ledger.commit(sink, batch(2, {"n": 2}))
    await sink.close()
    (segment,) = tmp_path.glob("*/*")
    damaged = bytearray(segment.read_bytes())
    damaged[size : size + 4] = b"\0\0\0\0"
    segment.write_bytes(damaged)
    with pytest.raises(SinkError, match=rf"{segment.name} is damaged near byte .*put it back"):
        ledger.stored()
    other = JsonLines(tmp_path, compress=compress)
    with pytest.raises(SinkError, match="is damaged near byte"):
        await other.open(None)
    await other.close()
    assert segment.read_bytes() == damaged


@each
async def test_windows_are_replaced_by_themselves_and_by_longer_ones(
    tmp_path: Path, compress: str
) -> None:
    ledger = Ledgerish(tmp_path, compress, segment_bytes=8 * 600)  # an eighth of it each
    draw = random.Random(1)
    sink = await ledger.open()
    for day in range(1, 13):
        noise = draw.randbytes(100).hex()
        await ledger.commit(sink, batch(day, {"n": day, "t": noise}, {"n": 100 + day}))
    assert len(list(tmp_path.glob("*/*"))) > 2
    replaced = await ledger.commit(
        sink, batch(3, {"n": 33}, replaces=True), batch(4, replaces=True)
    )
    assert [tally.records for tally in replaced.values()] == [2, 2]
    await ledger.commit(sink, longer(batch(6, {"n": 1000}, replaces=True), 7))
    await ledger.commit(sink, batch(5, {"n": 55}, replaces=True))
    await ledger.end(sink)
    left = [1, 2, 33, 55, 101, 102, 1000]
    assert [n for _, n in sorted(seen(tmp_path), key=lambda each: each[1])] == left
    assert ledger.stored() == left
    assert not list(tmp_path.glob("*/*.tmp"))


@each
async def test_a_segment_that_is_full_is_followed_by_the_next(
    tmp_path: Path, compress: str
) -> None:
    ledger = Ledgerish(tmp_path, compress, segment_bytes=8 * 2000)
    for day in range(1, 201):
        sink = await ledger.open()
        await ledger.commit(sink, batch(day, {"n": day}))
        await sink.close()
    names = sorted(path.name for path in tmp_path.glob("*/*"))
    suffix = f".jsonl{SUFFIXES[compress]}"
    assert names == [f"{n:06}{suffix}" for n in range(1, len(names) + 1)]
    assert 2 <= len(names) <= 8
    assert ledger.stored() == list(range(1, 201))


async def _into(ledger: Ledgerish, compress: str, day: int) -> None:
    ledger.how["compress"] = compress
    sink = await ledger.open()
    await ledger.commit(sink, batch(day, {"n": day}))
    await ledger.end(sink)


def test_a_directory_is_read_and_continued_however_it_was_packed_before(tmp_path: Path) -> None:
    async def main(_: object) -> None:
        ledger = Ledgerish(tmp_path, "")
        for day, compress in enumerate(("", "gzip", "gzip", "zstd", "", "gzip"), 1):
            await _into(ledger, compress, day)
        names = [path.name for path in sorted(tmp_path.glob("*/*"))]
        assert names == [
            "000001.jsonl", "000002.jsonl.gz", "000003.jsonl.zst", "000004.jsonl",
            "000005.jsonl.gz",
        ]  # fmt: skip
        assert ledger.stored() == [1, 2, 3, 4, 5, 6]
        sink = await ledger.open()
        await ledger.commit(sink, longer(batch(2, {"n": 100}, replaces=True), 3))
        await ledger.end(sink)
        assert ledger.stored() == [1, 5, 6, 100]

    run_virtual(main)


def test_the_name_in_the_ledger_does_not_depend_on_the_compression(tmp_path: Path) -> None:
    made = [JsonLines.from_spec(f"{tmp_path}{how}") for how in ("", "?compress=gzip")]
    assert made[0].identity == made[1].identity


def test_a_missing_package_is_told_with_the_line_to_type(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['backports'] = sys.modules['compression'] = None\n"
        "import harvester\n"
        f"try: harvester.JsonLines.from_spec({str(tmp_path)!r} + '?compress=zstd')\n"
        "except harvester.UsageError as exc: print(exc)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pip install 'wechat-harvester[zstd]'" in told.stdout


@each
async def test_a_second_writer_is_refused_and_closing_twice_is_closing_once(
    tmp_path: Path, compress: str
) -> None:
    sink = await Ledgerish(tmp_path, compress).open()
    other = JsonLines(tmp_path)
    with pytest.raises(UsageError, match="in use by another harvester"):
        await other.open({})
    await other.close()
    await sink.close()
    await sink.close()


@each
async def test_titles_of_every_kind_come_back_as_they_were(tmp_path: Path, compress: str) -> None:
    titles = ["", "😀👨‍👩‍👧", "nul \0 inside", "x" * 300, "line\nbreak\r\u2028", '"q" \\ /', "中文"]
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, *[{"n": n, "t": t} for n, t in enumerate(titles)]))
    await ledger.end(sink)
    (segment,) = tmp_path.glob("*/*")
    assert [json.loads(line)["t"] for line in io.BytesIO(unpacked(segment))] == titles


@each
async def test_ten_thousand_windows_make_one_file_and_empty_ones_none(
    tmp_path: Path, compress: str
) -> None:
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1), batch(2))
    assert not list(tmp_path.glob("*/*"))
    for group in range(100):
        await ledger.commit(sink, *[batch(100 * group + n, {"n": n}) for n in range(100)])
    await ledger.end(sink)
    (segment,) = tmp_path.glob("*/*")
    assert segment.stat().st_size < 10_000 * 40
    assert len(seen(tmp_path)) == 10_000


@each
async def test_what_the_ledger_says_but_the_disk_has_not_is_never_called_harvested(
    tmp_path: Path, compress: str
) -> None:
    ledger = Ledgerish(tmp_path, compress)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}))
    await sink.close()
    shutil.rmtree(tmp_path / "getarticlesummary")
    with pytest.raises(SinkError, match="is gone, though the ledger says"):
        await sink.open(ledger.receipt)
    await sink.close()


def test_many_small_members_are_read_in_a_time_that_grows_with_their_number_only(
    tmp_path: Path,
) -> None:
    for compress, suffix in SUFFIXES.items():
        packing = compression_of(f"x{suffix}")
        path = tmp_path / f"{compress}.jsonl{suffix}"
        path.write_bytes(b"".join(packing.pack(b'{"n":%d}\n' % n) for n in range(20_000)))
        assert len(list(packing.lines(path, path.stat().st_size))) == 20_000
        assert packing.cut_torn_end(path) == path.stat().st_size
