"""The checks of `check_sink`, one for each promise of `harvester.sinks.base`.

Rule: a check's first line is the promise that it tries; whatever is tried is promised there.

A process that dies is played by a sink that is closed in the midst of it; what a kill does to files
is to be tried by kills.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from harvester.codec import add_checksums, checksum
from harvester.errors import SinkError, UsageError
from harvester.model import Batch
from harvester.sinks.base import Finishing, Readable, Verifiable
from harvester.testing.bench import Bench, batch, record

WINDOWS = 10_000
GROUP = 512

Check = Callable[[Bench], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def _check(run: Check) -> Check:
    """Add a check under the name of its function."""
    CHECKS[getattr(run, "__name__", "")] = run
    return run


# what is written

ONE_ODD: tuple[dict[str, Any], ...] = (
    {"ref_date": [1]}, {"ref_date": {"a": 1}}, {"number": True}, {"number": 2**63},
    {"share": 2**53 + 1}, {"title": ["x"]}, {"parts": [{"day": [1]}]}, {"ids": [2**63]},
)  # fmt: skip


@_check
async def write(bench: Bench) -> None:
    """What was written stands there as it came, metadata included."""
    first = [batch(0, 1, 2), batch(1, 3), batch(0, 4, appid="wx0000000000000002")]
    second = [batch(0, 5, endpoint="checked_too"), batch(2, 6)]
    sink = await bench.open()
    await bench.commit(sink, *first)
    await bench.expect(*first)
    await bench.commit(sink, *second)
    await sink.close()
    await bench.expect(*first, *second)


@_check
async def unknown(bench: Bench) -> None:
    """A field that is not known, and a value of another type, are kept as they came."""
    odd: list[dict[str, Any]] = [
        {"number": 1, "new": {"deep": [1, {"x": None, "y": "z"}]}, "Title": "another case"},
        {"number": "2", "title": 2, "share": "0.5", "open": 1, "detail": [], "parts": {}},
        {"number": 2**63 - 1, "share": 3, "ref_date": "20240231", "ids": [1, "2"]},
        {"number": 2**70, "share": -1.5e300, "ref_date": 20240131, "ids": 3},
        {"number": -(2**63), "detail": {"a": 1, "b": "x", "c": 2}, "parts": [{"day": "x"}]},
        {"number": 1.5, "open": "no"},
        {"number": [1], "ref_date": [1], "title": {"a": 1}, "share": [], "open": {}, "detail": "x"},
        {"number": {"a": 1}, "ref_date": {"a": [1]}, "parts": "x", "ids": [None, "1", 2.5]},
    ]
    await bench.all(batch(0, *odd))
    await bench.expect(batch(0, *odd))
    await bench.all(batch(1, {"newer": 1}, 7))
    one_by_one = [batch(2 + n, {**record(n), **each}) for n, each in enumerate(ONE_ODD)]
    for each in one_by_one:
        await bench.all(each)
    await bench.expect(batch(0, *odd), batch(1, {"newer": 1}, 7), *one_by_one)


TITLES = (
    "", " ", "😀👨‍👩‍👧", "nul \0 inside", "\0", "x" * 300, "题" * 300,
    "line\nbreak\r\n\u2028\x85\x7f",
    '"double" \'single\' \\ / \\N \\.', "tab\tand\x01control", "=1+1", "NULL", "null", "{}",
    "%s ? $1", "\ufeffbom", "\uffff", "𐍈",
)  # fmt: skip


@_check
async def texts(bench: Bench) -> None:
    """A text of any kind comes back as it was."""
    nested = [{"number": 100, "detail": {"b": one}, "parts": [one], one: one} for one in TITLES[:6]]
    plain = [{"number": n, "title": title} for n, title in enumerate(TITLES)]
    await bench.all(batch(0, *plain), batch(1, *nested))
    await bench.expect(batch(0, *plain), batch(1, *nested))


@_check
async def empty(bench: Bench) -> None:
    """A window without a record leaves nothing."""
    await bench.all(batch(0), batch(1))
    await bench.expect()
    await bench.all(batch(1, replaces=True), batch(2, 1))
    await bench.expect(batch(2, 1))


@_check
async def many(bench: Bench) -> None:
    """Ten thousand windows in groups stand there, each once."""
    sink = await bench.open()
    batches: list[Batch] = []
    for first in range(0, WINDOWS, GROUP):
        group = [batch(n, n) for n in range(first, min(first + GROUP, WINDOWS))]
        await bench.commit(sink, *group)
        batches += group
    await sink.close()
    await bench.expect(*batches)
    again = [batch(n, -n, replaces=True) for n in range(100, 100 + GROUP)]
    await bench.all(*again)
    await bench.expect(*batches[:100], *again, *batches[100 + GROUP :])


# what is replaced


@_check
async def replace(bench: Bench) -> None:
    """A batch that replaces takes the place of its window's records, and of no others."""
    old = [batch(n, n, 100 + n) for n in range(5)]
    other = batch(2, 9, appid="wx0000000000000002")
    namesake = batch(2, 8, endpoint="checked_too")
    await bench.all(*old, other, namesake)
    new = batch(2, 200, replaces=True)
    sink = await bench.open()
    written = await bench.commit(sink, new, batch(7, 7))
    bench.expect_replaced(sink, written, old[2])
    rest = [*old[:2], *old[3:], other, namesake, batch(7, 7)]
    await bench.expect(new, *rest)
    newer = batch(2, 201, 202, replaces=True)
    bench.expect_replaced(sink, await bench.commit(sink, newer), new)
    await sink.close()
    await bench.expect(newer, *rest)


@_check
async def replaced_by_empty(bench: Bench) -> None:
    """A batch without records that replaces leaves nothing of its window."""
    await bench.all(batch(0, 1), batch(1, 2))
    await bench.all(batch(0, replaces=True))
    await bench.expect(batch(1, 2))
    await bench.all(batch(0, 3, replaces=True))
    await bench.expect(batch(0, 3), batch(1, 2))


@_check
async def longer(bench: Bench) -> None:
    """A batch that replaces takes the place of the shorter windows that lie in its own."""
    days = [batch(n, n) for n in range(10)]
    await bench.all(*days, batch(3, 33, appid="wx0000000000000002"))
    week = batch(2, 100, 101, days=7, replaces=True)
    sink = await bench.open()
    written = await bench.commit(sink, week)
    await sink.close()
    bench.expect_replaced(sink, written, *days[2:9])
    rest = [*days[:2], days[9], batch(3, 33, appid="wx0000000000000002")]
    await bench.expect(week, *rest)
    again = batch(2, 102, days=7, replaces=True)
    await bench.all(again)
    await bench.expect(again, *rest)


@_check
async def shorter(bench: Bench) -> None:
    """A batch takes nothing from a longer window that its own lies in; it may be refused."""
    week = batch(0, 1, 2, days=7)
    await bench.all(week)
    beside = [batch(3, 3, replaces=True), batch(6, 4, days=7, replaces=True)]
    sink = await bench.open()
    try:
        await bench.commit(sink, *beside)
    except SinkError:
        beside = []
    finally:
        await sink.close()
    await bench.expect(week, *beside)


# what ends in the midst


@_check
async def crash_before_receipt(bench: Bench) -> None:
    """A process that dies before the receipt is stored loses and doubles nothing."""
    await bench.all(batch(0, 1))
    for _ in range(3):
        sink = await bench.open()
        await sink.write([batch(1, 2), batch(2, 3, 4)])
        await sink.close()
    await bench.all(batch(1, 2), batch(5, 5))
    await bench.all(batch(2, 3, 4))
    await bench.expect(batch(0, 1), batch(1, 2), batch(2, 3, 4), batch(5, 5))


@_check
async def crash_in_replacement(bench: Bench) -> None:
    """A replacement whose receipt was not stored leaves the old records or the new, not both."""
    old, new = batch(0, 1, 2), batch(0, 3, replaces=True)
    await bench.all(old, batch(1, 4))
    for _ in range(2):
        sink = await bench.open()
        await sink.write([new, batch(2, 5)])
        await sink.close()
    sink = await bench.open()
    await bench.expect_one_of(
        (old, batch(1, 4)), (new, batch(1, 4)), (new, batch(1, 4), batch(2, 5))
    )
    bench.expect_replaced(sink, await bench.commit(sink, new, batch(2, 5)), old)
    await sink.close()
    await bench.expect(new, batch(1, 4), batch(2, 5))


@_check
async def crash_before_settle(bench: Bench) -> None:
    """What was stored in the ledger stands there, though the sink was not told of it."""
    await bench.all(batch(0, 1), batch(1, 2))
    sink = await bench.open()
    written = await sink.write([batch(0, 3, replaces=True), batch(2, 4)])
    bench.store(written.receipt)
    await sink.close()
    sink = await bench.open()
    await sink.close()
    await bench.expect(batch(0, 3), batch(1, 2), batch(2, 4))
    await bench.all(batch(0, 5, replaces=True))
    await bench.expect(batch(0, 5), batch(1, 2), batch(2, 4))


@_check
async def crash_at_open(bench: Bench) -> None:
    """A process that dies before the receipt of `open` is stored loses and doubles nothing."""
    for number in (1, 2):
        sink = bench.make()
        await sink.open(dict(bench.receipt))
        await sink.close()
        await bench.all(batch(number, number))
    await bench.expect(batch(1, 1), batch(2, 2))


@_check
async def cancelled(bench: Bench) -> None:
    """A write that is cancelled loses and doubles nothing."""
    written = [batch(0, 1)]
    await bench.all(*written)
    for turns in range(8):
        group = [batch(10 * turns + n, 10 * turns + n) for n in range(1, 9)]
        sink = await bench.open()
        task = asyncio.ensure_future(sink.write(group))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await sink.close()
        await bench.all(*group)
        written += group
    await bench.expect(*written)


# who else writes, and how it ends


@_check
async def no_receipt(bench: Bench) -> None:
    """What stands there before a ledger knows of it is neither lost nor doubled."""
    await bench.all(batch(0, 1), batch(1, 2), batch(2, 3))
    sink = await bench.open(ledger=False)
    await sink.write([batch(1, 22)])
    await sink.settle()
    await sink.close()
    await bench.expect(batch(0, 1), batch(1, 22), batch(2, 3))
    bench.receipt = {}
    await bench.all(batch(2, 33), batch(3, 4))
    await bench.all(batch(0, 11))
    await bench.expect(batch(0, 11), batch(1, 22), batch(2, 33), batch(3, 4))


@_check
async def two_writers(bench: Bench) -> None:
    """A second writer is refused with `UsageError` or `SinkError`, or both are right."""
    first = await bench.open()
    await bench.commit(first, batch(0, 1))
    second = bench.make()
    try:
        await second.open({})
    except (UsageError, SinkError):
        both = False
    else:
        both = True
        await second.write([batch(0, 11, replaces=True), batch(1, 2)])
        await second.settle()
    await second.close()
    await bench.commit(first, batch(2, 3))
    await first.close()
    kept = [batch(0, 11), batch(1, 2)] if both else [batch(0, 1)]
    await bench.expect(*kept, batch(2, 3))
    await bench.all(batch(3, 4))
    await bench.expect(*kept, batch(2, 3), batch(3, 4))


@_check
async def closing(bench: Bench) -> None:
    """A sink may be closed twice, and without having been open."""
    await bench.make().close()
    sink = await bench.open()
    await bench.commit(sink, batch(0, 1))
    await sink.close()
    await sink.close()
    await bench.expect(batch(0, 1))


@_check
async def finish(bench: Bench) -> None:
    """To finish changes no record, whether or not its receipt is stored."""
    written = [batch(n, n) for n in range(20)]
    for stored in (False, True, True):
        sink = await bench.open()
        await bench.commit(sink, *[one._replace(replaces=True) for one in written])
        if isinstance(sink, Finishing):
            done = await sink.finish()
            if stored:
                bench.store(done.receipt)
                await sink.settle()
        await sink.close()
        sink = await bench.open()
        await sink.close()
        await bench.expect(*written)


@_check
async def verified(bench: Bench) -> None:
    """What a sink says that it holds, to those that verify, is what its ledger has stored."""
    await bench.all(batch(0, 1, 2), batch(1, 3), batch(2))
    await bench.all(batch(1, 4, 5, replaces=True))
    sink = await bench.open()
    await sink.write([batch(3, 6)])
    await sink.close()
    reader = bench.make()
    wanted = {batch(0).window: 2, batch(1).window: 2}
    if isinstance(reader, Readable):
        count = total = 0
        for line in reader.read_lines(bench.receipt):
            count += 1
            total = add_checksums(total, checksum([line]))
        wanted_total = add_checksums(batch(0, 1, 2).checksum, batch(1, 4, 5).checksum)
        if (count, total) != (4, wanted_total):
            raise bench.broken(f"read_lines gives {count} lines, or others than were written")
    elif isinstance(reader, Verifiable):
        found: dict[object, int] = {}
        for window, records, intact in reader.stored(bench.receipt):
            found[window] = found.get(window, 0) + records
            if not intact:
                raise bench.broken(f"stored says that {window} is damaged")
        if {window: number for window, number in found.items() if number} != wanted:
            raise bench.broken(f"stored speaks of {sorted(map(str, found))}")


@_check
async def identity(bench: Bench) -> None:
    """A sink has the same identity in every process, and shows itself."""
    one, other = bench.make(), bench.make()
    if not one.identity or one.identity != other.identity or not repr(one):
        raise bench.broken(f"{one.identity!r} and {other.identity!r}")


@_check
async def removed(bench: Bench) -> None:
    """A target that was deleted between two runs is told by `SinkError` or `UsageError`."""
    await bench.all(batch(0, 1), batch(1, 2))
    await bench.remove()
    try:
        sink = await bench.open()
    except (SinkError, UsageError):
        return
    await sink.close()
    raise bench.broken("`open` says nothing, and the ledger calls it harvested")
