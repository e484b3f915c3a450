from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.codec import checksum, lines
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Receipt
from harvester.sinks.jsonl import JsonLines
from harvester.testing import run_virtual

STAMP = "2024-06-15T04:00:00Z"


def batch(day: int, *records: dict[str, Any], appid: str = "wx1", replaces: bool = False) -> Batch:
    """A batch of one day of January 2024 (days may run on)."""
    when = date(2023, 12, 31) + timedelta(days=day)
    window = Window(appid, "getarticlesummary", when, when)
    encoded = lines(records, metadata(window, STAMP))
    body = b"".join(encoded)
    return Batch(window, STAMP, len(records), body, checksum(encoded), replaces)


class Ledgerish:
    """Keeps receipts as the ledger does."""

    def __init__(self, directory: Path, **how: Any) -> None:
        self.directory = directory
        self.receipt: Receipt = {}
        self.how = how

    async def open(self) -> JsonLines:
        sink = JsonLines(self.directory, **self.how)
        self.store(await sink.open(dict(self.receipt)))
        return sink

    def store(self, receipt: Receipt) -> None:
        self.receipt.update(receipt)

    async def commit(self, sink: JsonLines, *batches: Batch) -> dict[Window, Tally]:
        written = await sink.write(batches)
        self.store(written.receipt)
        await sink.settle()
        return dict(written.replaced)


def seen(directory: Path) -> list[tuple[str, int]]:
    """What a reader of ``*.jsonl`` sees: day and number of each record."""
    found = []
    for path in sorted(directory.glob("*/*.jsonl")):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            found.append((record["_begin_date"][8:], record["n"]))
    return sorted(found)


def virtual(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    """Run an async test on the virtual loop."""

    def run(tmp_path: Path) -> None:
        async def main(_: object) -> None:
            await test(tmp_path)

        run_virtual(main)

    run.__name__ = test.__name__
    return run


@virtual
async def test_batches_are_appended_to_one_segment(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    for day in range(1, 20):
        await ledger.commit(sink, batch(day, {"n": day}))
    await sink.close()
    assert len(list(tmp_path.glob("*/*.jsonl"))) == 1
    assert seen(tmp_path) == [(f"{day:02}", day) for day in range(1, 20)]


@virtual
async def test_what_was_not_committed_is_cut_off_by_the_next_start(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}))
    await sink.write([batch(2, {"n": 2})])  # and the process dies
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("02", 2)]
    sink = await ledger.open()
    assert seen(tmp_path) == [("01", 1)]
    await ledger.commit(sink, batch(2, {"n": 2}))
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("02", 2)]


@virtual
async def test_a_torn_tail_is_cut_off_by_the_next_start(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}))
    await sink.close()
    (segment,) = tmp_path.glob("*/*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"n":2,"_app')
    sink = await ledger.open()
    await sink.close()
    assert seen(tmp_path) == [("01", 1)]


@virtual
async def test_a_segment_that_was_never_committed_is_removed(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await sink.write([batch(1, {"n": 1})])
    await sink.close()
    sink = await ledger.open()
    await sink.close()
    assert not list(tmp_path.glob("*/*.jsonl"))


@virtual
async def test_a_segment_that_is_full_is_followed_by_the_next(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path, segment_bytes=500)
    for day in range(1, 21):
        sink = await ledger.open()
        await ledger.commit(sink, batch(day, {"n": day}))
        await sink.close()
    names = sorted(path.name for path in tmp_path.glob("*/*.jsonl"))
    assert names == [f"{n:06}.jsonl" for n in range(1, len(names) + 1)]
    assert 5 <= len(names) <= 10
    assert len(seen(tmp_path)) == 20


@virtual
async def test_a_window_that_is_written_again_replaces_its_former_self(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path, segment_bytes=300)
    sink = await ledger.open()
    for day in range(1, 7):
        await ledger.commit(sink, batch(day, {"n": day}, {"n": 100 + day}))
    former = batch(3, {"n": 3}, {"n": 103})
    replaced = await ledger.commit(
        sink, batch(3, {"n": 33}, replaces=True), batch(5, replaces=True), batch(9, {"n": 9})
    )
    assert replaced[former.window] == Tally(2, former.checksum)
    assert len(replaced) == 2
    await sink.close()
    expected = [("01", 1), ("01", 101), ("02", 2), ("02", 102), ("03", 33), ("04", 4),
                ("04", 104), ("06", 6), ("06", 106), ("09", 9)]  # fmt: skip
    assert seen(tmp_path) == expected
    assert not list(tmp_path.glob("*/*.tmp"))
    sink = await ledger.open()
    await sink.close()
    assert seen(tmp_path) == expected
    stored = [json.loads(line)["n"] for line in sink.read_lines(ledger.receipt)]
    assert sorted(stored) == sorted(n for _, n in expected)


@virtual
async def test_only_the_account_that_was_asked_for_is_replaced(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}), batch(1, {"n": 2}, appid="wx2"))
    await ledger.commit(sink, batch(1, {"n": 3}, appid="wx2", replaces=True))
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("01", 3)]


@virtual
async def test_a_crash_before_the_receipt_is_stored_leaves_the_old_window(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}), batch(2, {"n": 2}))
    await sink.write([batch(1, {"n": 11}, replaces=True)])  # and the process dies
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("02", 2)]
    sink = await ledger.open()
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("02", 2)]
    assert not list(tmp_path.glob("*/*.tmp"))


@virtual
async def test_a_crash_after_the_receipt_is_stored_brings_the_new_window(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}), batch(2, {"n": 2}))
    written = await sink.write([batch(1, {"n": 11}, replaces=True)])
    ledger.store(written.receipt)  # and the process dies before it settles
    await sink.close()
    reader = JsonLines(tmp_path)
    assert sorted(json.loads(line)["n"] for line in reader.read_lines(ledger.receipt)) == [2, 11]
    sink = await ledger.open()
    assert seen(tmp_path) == [("01", 11), ("02", 2)]
    await ledger.commit(sink, batch(3, {"n": 3}))
    await sink.close()
    assert seen(tmp_path) == [("01", 11), ("02", 2), ("03", 3)]


@virtual
async def test_what_the_ledger_says_but_the_disk_has_not_is_never_called_harvested(
    tmp_path: Path,
) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}), batch(2, {"n": 2}))
    await sink.close()
    (segment,) = tmp_path.glob("*/*.jsonl")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-1])
    with pytest.raises(SinkError, match=r"is cut to \d+ of its \d+ bytes"):
        await sink.open(ledger.receipt)
    await sink.close()
    segment.unlink()
    with pytest.raises(SinkError, match="is gone, though the ledger says"):
        await sink.open(ledger.receipt)
    await sink.close()


@virtual
async def test_without_a_ledger_whole_lines_are_kept_and_windows_replace_themselves(
    tmp_path: Path,
) -> None:
    sink = JsonLines(tmp_path)
    await sink.open(None)
    await sink.write([batch(1, {"n": 1}), batch(2, {"n": 2})])
    await sink.settle()
    await sink.close()
    (segment,) = tmp_path.glob("*/*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"n":3,"_app')
    sink = JsonLines(tmp_path)
    await sink.open(None)
    await sink.write([batch(2, {"n": 22}), batch(3, {"n": 3})])
    await sink.settle()
    await sink.close()
    assert seen(tmp_path) == [("01", 1), ("02", 22), ("03", 3)]


@virtual
async def test_a_new_ledger_over_old_data_doubles_nothing_in_later_runs_either(
    tmp_path: Path,
) -> None:
    old = Ledgerish(tmp_path)
    sink = await old.open()
    await old.commit(sink, batch(1, {"n": 1}), batch(2, {"n": 2}))
    await sink.close()
    new = Ledgerish(tmp_path)
    sink = await new.open()
    await new.commit(sink, batch(1, {"n": 11}))
    await sink.close()
    sink = await new.open()
    await new.commit(sink, batch(2, {"n": 22}))
    await sink.close()
    assert seen(tmp_path) == [("01", 11), ("02", 22)]


@virtual
async def test_empty_windows_make_no_file(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1), batch(2))
    await sink.close()
    assert not list(tmp_path.glob("*/*"))


@virtual
async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    sink = await Ledgerish(tmp_path).open()
    other = JsonLines(tmp_path)
    with pytest.raises(UsageError, match="in use by another harvester"):
        await other.open({})
    await other.close()
    await sink.close()
    sink = await Ledgerish(tmp_path).open()
    await sink.close()


@virtual
async def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    sink = await Ledgerish(tmp_path).open()
    await sink.close()
    await sink.close()


@virtual
async def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "getarticlesummary"
    folder.mkdir()
    (folder / "notes.jsonl").write_text("{}\n")
    ledger = Ledgerish(tmp_path)
    for day in (1, 2):
        sink = await ledger.open()
        await ledger.commit(sink, batch(day, {"n": day}))
        await sink.close()
    assert (folder / "notes.jsonl").read_text() == "{}\n"


@virtual
async def test_a_segment_of_somebody_else_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "getarticlesummary"
    folder.mkdir()
    (folder / "000001.jsonl").write_text('{"hello": "world"}\n')
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    with pytest.raises(SinkError, match="this harvest did not write it; move it away"):
        await ledger.commit(sink, batch(1, {"n": 1}))
    await sink.close()
    assert (folder / "000001.jsonl").read_text() == '{"hello": "world"}\n'


@virtual
async def test_files_in_other_folders_are_never_touched(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "202401.jsonl").write_text('{"torn": ')
    ledger = Ledgerish(tmp_path)
    for day in (1, 2):
        sink = await ledger.open()
        await ledger.commit(sink, batch(day, {"n": day}))
        await sink.close()
        (folder / "202402.jsonl").write_text("x")
    assert (folder / "202401.jsonl").read_text() == '{"torn": '
    assert (folder / "202402.jsonl").read_text() == "x"


@virtual
async def test_two_ledgers_in_turn_destroy_nothing_of_each_other(tmp_path: Path) -> None:
    one, two = Ledgerish(tmp_path), Ledgerish(tmp_path)
    for day, ledger in ((1, one), (2, two), (3, one), (4, two)):
        sink = await ledger.open()
        await ledger.commit(sink, batch(day, {"n": day}))
        await sink.write([batch(day, {"n": 10 + day}, replaces=True)])  # and the process dies
        await sink.close()
    sink = await one.open()
    await sink.close()
    days = [day for day, _ in seen(tmp_path)]
    assert sorted(set(days)) == ["01", "02", "03", "04"]
    assert len(days) == 4


@virtual
async def test_a_run_without_a_ledger_in_between_destroys_nothing(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}), batch(2, {"n": 2}))
    await sink.close()
    sink = JsonLines(tmp_path)
    await sink.open(None)
    await sink.write([batch(1, {"n": 11, "longer": "x" * 50}), batch(3, {"n": 3})])
    await sink.settle()
    await sink.close()
    sink = await ledger.open()
    await ledger.commit(sink, batch(4, {"n": 4}))
    await sink.close()
    assert seen(tmp_path) == [("01", 11), ("02", 2), ("03", 3), ("04", 4)]


@virtual
async def test_a_longer_window_replaces_the_shorter_ones_within_it(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, *[batch(day, {"n": day}) for day in range(1, 10)])
    first = batch(1, {"n": 100}, replaces=True)
    week = first._replace(window=first.window._replace(end=first.window.begin + timedelta(days=6)))
    replaced = await ledger.commit(sink, week)
    await sink.close()
    assert replaced[week.window].records == 7
    assert sorted(n for _, n in seen(tmp_path)) == [8, 9, 100]


@virtual
async def test_titles_of_every_kind_come_back_as_they_were(tmp_path: Path) -> None:
    titles = [
        "",
        "😀👨‍👩‍👧",
        "nul \0 inside",
        "x" * 300,
        "line\nbreak\r\u2028",
        '"quoted" \\ /',
        "中文",
    ]
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, *[{"n": n, "t": t} for n, t in enumerate(titles)]))
    await sink.close()
    (segment,) = tmp_path.glob("*/*.jsonl")
    stored = segment.read_bytes().split(b"\n")
    assert [json.loads(line)["t"] for line in stored[:-1]] == titles


@virtual
async def test_ten_thousand_windows_make_one_file(tmp_path: Path) -> None:
    ledger = Ledgerish(tmp_path)
    sink = await ledger.open()
    for group in range(100):
        await ledger.commit(sink, *[batch(100 * group + n, {"n": n}) for n in range(100)])
    await sink.close()
    assert len(list(tmp_path.glob("*/*"))) == 1
    assert len(seen(tmp_path)) == 10_000


@pytest.mark.parametrize("spec", ["", "?compress=gzip", "x?"])
def test_a_spec_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="jsonl:DIR"):
        JsonLines.from_spec(spec)


@pytest.mark.parametrize("spec", ["x?y", "x?compress=lzma", "x?compress=", "x?compres=gzip"])
def test_an_option_that_is_none_is_refused_and_the_known_one_told(spec: str) -> None:
    with pytest.raises(UsageError, match="compress"):
        JsonLines.from_spec(spec)
