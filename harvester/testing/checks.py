"""The checks of `check_sink`, one for each guarantee of `harvester.sinks.base`.

Rule: a check's first line is the guarantee that it tests; only documented guarantees are tested.

A sink that is never closed simulates a killed process; one that holds a lock is closed in the
middle. The effect of kills on files needs tests with real kills.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from harvester.errors import SinkError, UsageError
from harvester.model import Batch
from harvester.testing.sink_bench import ONE, OTHER, UNKNOWN, Bench, after, batch, record

WINDOWS = 3_000
GROUP = 512

Check = Callable[[Bench], Awaitable[None]]
CHECKS: dict[str, Check] = {}
SCANNED: set[str] = set()
"""The checks only for sinks with ``scan``."""
FENCED: set[str] = set()
"""The checks only for sinks with a fence."""


def _check(run: Check) -> Check:
    """Add a check under the name of its function."""
    CHECKS[getattr(run, "__name__", "")] = run
    return run


def _check_of(kind: set[str]) -> Callable[[Check], Check]:
    """The same for a check that does not apply to every sink."""

    def add(run: Check) -> Check:
        kind.add(getattr(run, "__name__", ""))
        return _check(run)

    return add


# what is written


@_check
async def write(bench: Bench) -> None:
    """Records are stored unchanged, for all accounts and interfaces of a write."""
    sink = await bench.open()
    await bench.commit(sink, batch(0, 1, 2), batch(1, 3), batch(0, 4, appid=OTHER))
    await bench.expect(sink)
    await bench.commit(
        sink,
        batch(0, 5, endpoint="checked_too"),
        batch(2, 6),
        batch(0, 7, appid=OTHER, endpoint="checked_too"),
        batch(40, 8, appid=OTHER, days=30),
    )
    await bench.expect(sink)
    await bench.end(sink)
    await bench.expect()


@_check
async def unknown_interface(bench: Bench) -> None:
    """Records of an unknown interface are stored, too."""
    one, other = {"a": 1, "b": [1, {"c": None}]}, {"A": "x", "d": {}, "e": 2**70 + 1}
    await bench.run(batch(0, one, other, {}, endpoint=UNKNOWN), batch(0, 1))
    await bench.expect()
    await bench.run(batch(0, other, days=2, endpoint=UNKNOWN))
    await bench.expect()


ONE_ODD: tuple[dict[str, Any], ...] = (
    {"ref_date": [1]}, {"ref_date": {"a": 1}}, {"number": True}, {"number": 2**63},
    {"number": 2**64 - 1}, {"number": 2**64 + 1}, {"share": 2**53 + 1}, {"title": ["x"]},
    {"parts": [{"day": [1]}]}, {"ids": [2**63 + 1]},
)  # fmt: skip
ODD: tuple[dict[str, Any], ...] = (
    {},
    {"number": 1, "new": {"deep": [1, {"x": None, "y": "z"}]}, "Title": "x", "TITLE": [1]},
    {"number": "2", "title": 2, "share": "0.5", "open": 1, "detail": [], "parts": {}},
    {"number": 2**63 - 1, "share": 3, "ref_date": "20240231", "ids": [1, "2"]},
    {"number": 2**70 + 1, "share": -1.5e300, "ref_date": 20240131, "ids": 3},
    {"number": -(2**63), "detail": {"a": 1, "b": "x", "c": 2}, "parts": [{"day": "x"}]},
    {"number": 1.5, "open": "no"},
    {"number": [1], "ref_date": [1], "title": {"a": 1}, "share": [], "open": {}, "detail": "x"},
    {"number": {"a": 1}, "ref_date": {"a": [1]}, "parts": "x", "ids": [None, "1", 2.5]},
    {"number": 7, "_extra": {"number": 8}, "_checksum": 9, "": 0, "a b\"'`;.": "x"},
    {"begin_date": "2024-01-02", "appid": "x", "_windows": 1, "order": 2, "select": 3},
)


@_check
async def odd_values(bench: Bench) -> None:
    """Unknown fields, and values of another type than their field, are kept unchanged."""
    await bench.run(batch(0, *ODD))
    await bench.expect()
    await bench.run(batch(1, {"newer": 1}, 7))
    for number, each in enumerate(ONE_ODD):
        await bench.run(batch(2 + number, {**record(number), **each}))
    await bench.expect()


TITLES = (
    "", " ", "😀👨‍👩‍👧", "nul \0 inside", "\0", "x" * 300, "题" * 300,
    "line\nbreak\r\n\u2028\x85\x7f",
    '"double" \'single\' \\ / \\N \\.', "tab\tand\x01control", "=1+1", "NULL", "null", "{}",
    "%s ? $1", "\ufeffbom", "\uffff", "𐍈", '","_appid":"wx"}',
)  # fmt: skip


@_check
async def texts(bench: Bench) -> None:
    """Any text is read back unchanged."""
    nested = [{"number": 100, "detail": {"b": one}, "parts": [one], one: one} for one in TITLES[:6]]
    plain = [{"number": n, "title": title} for n, title in enumerate(TITLES)]
    await bench.run(batch(0, *plain), batch(1, *nested))
    await bench.expect()


@_check
async def equal_records(bench: Bench) -> None:
    """Equal records, in one window or in several, are all stored."""
    await bench.run(batch(0, 1, 1, 2), batch(1, 1, 1), batch(2, {}, {}))
    await bench.expect()


@_check
async def empty(bench: Bench) -> None:
    """A window without records stores nothing, and removes the windows that it overlaps."""
    await bench.run(batch(0), batch(1))
    await bench.expect()
    await bench.run(batch(0, 1), batch(1, 2), batch(2, 3))
    await bench.run(batch(0))
    await bench.expect()
    await bench.run(batch(0, days=2), batch(0, 4, appid=OTHER))
    await bench.expect()
    await bench.run(batch(0, 5), batch(8, 6), batch(8), batch(9), batch(9, 7))
    await bench.expect()


@_check
async def many(bench: Bench) -> None:
    """Thousands of windows that are written in groups are each stored once."""
    sink = await bench.open()
    for first in range(0, WINDOWS, GROUP):
        written = [batch(n, n) for n in range(first, min(first + GROUP, WINDOWS))]
        bench.held = {}  # else each of them is held against all others
        await bench.commit(sink, *written)
    await bench.end(sink)
    bench.held = {each.window: each for n in range(WINDOWS) for each in [batch(n, n)]}
    await bench.expect()
    again = [batch(n, -n) for n in range(100, 100 + GROUP)]
    await bench.run(*again)
    await bench.expect()


# what is replaced


@_check
async def repeat(bench: Bench) -> None:
    """A repeated window replaces its own records, and no others."""
    await bench.run(
        *[batch(n, n, 100 + n) for n in range(5)],
        batch(2, 9, appid=OTHER),
        batch(2, 8, endpoint="checked_too"),
    )
    sink = await bench.open()
    await bench.commit(sink, batch(2, 200), batch(7, 7))
    await bench.expect(sink)
    await bench.commit(sink, batch(2, 201, 202))
    await bench.commit(sink, batch(2, 201, 202))
    await bench.end(sink)
    await bench.expect()


@_check
async def longer(bench: Bench) -> None:
    """A window replaces all shorter windows within it."""
    await bench.run(*[batch(n, n) for n in range(10)], batch(3, 33, appid=OTHER))
    await bench.run(batch(2, 100, 101, days=7))
    await bench.expect()
    await bench.run(batch(2, 102, days=7))
    await bench.expect()


@_check
async def shorter(bench: Bench) -> None:
    """A window replaces a longer window that contains it, with all days of the longer one."""
    weeks = [batch(7 * n, n, 10 + n, days=7) for n in range(4)]
    await bench.run(*weeks, batch(7, 9, days=7, appid=OTHER))
    await bench.run(batch(10, 3))
    await bench.expect()
    await bench.run(batch(14, 4), batch(16, 5), batch(20, 6, days=2))
    await bench.expect()


@_check
async def shifted(bench: Bench) -> None:
    """A window replaces windows that it overlaps at their beginning or end."""
    await bench.run(*[batch(7 * n, n, days=7) for n in range(6)], batch(100, 1, days=400))
    await bench.run(batch(10, 50, days=7))  # the end of one and the begin of the next
    await bench.expect()
    await bench.run(batch(27, 51, days=2), batch(499, 52, days=3))  # by one day each
    await bench.expect()


@_check
async def in_one_write(bench: Bench) -> None:
    """If batches of one write overlap, the later one is stored."""
    await bench.run(
        batch(0, 1), batch(0, 2), batch(0, 3, appid=OTHER), batch(5, 4, days=7),
        batch(8, 5), batch(20, 6), batch(19, 7, days=3), batch(30, 8, days=3), batch(32, 9, days=3),
    )  # fmt: skip
    await bench.expect()
    await bench.run(batch(32, 11), batch(31, 12, days=4), batch(33, 13))
    await bench.expect()


@_check
async def any_order(bench: Bench) -> None:
    """After any series of writes, crashes and restarts, the sink has what the ledger has."""
    for seed in range(3):
        await _any_order(bench, Random(seed))


async def _any_order(bench: Bench, draw: Random) -> None:
    sink = await bench.open()
    for number in range(30):
        group = [_any_window(draw, 100 * number + n) for n in range(draw.randint(1, 6))]
        if draw.random() < 0.2:
            await bench.write(sink, *group)
            bench.crash(sink)
            sink = await bench.open()
        elif draw.random() < 0.2:
            await bench.end(sink)
            sink = await bench.open()
        await bench.commit(sink, *group)
    await bench.expect(sink)
    await bench.end(sink)
    await bench.expect()


def _any_window(draw: Random, number: int) -> Batch:
    records = [1000 * number + n for n in range(draw.choice((0, 1, 1, 2, 5)))]
    return batch(
        draw.randint(0, 40),
        *records,
        days=draw.choice((1, 1, 1, 2, 3, 7, 30)),
        appid=draw.choice((ONE, OTHER)),
        endpoint=draw.choice(("checked", "checked", "checked_too", UNKNOWN)),
    )


@_check
async def removed(bench: Bench) -> None:
    """Empty windows replace those of an account and interface, and no others.

    Also if the process is killed in between, and if one empty window has all of the days.
    """
    others = [batch(n, n, appid=OTHER) for n in range(3)]
    others += [batch(n, n, endpoint="checked_too") for n in range(0, 400, 40)]
    mine = [(n, 1) for n in range(0, 70, 5)] + [(200, 30)]
    each = [batch(first, days=days) for first, days in mine]
    for empty in (each, [batch(0, days=500)]):
        await bench.run(*others, *[batch(first, first, days=days) for first, days in mine])
        sink = await bench.open()
        await bench.write(sink, *empty)
        bench.crash(sink)
        sink = await bench.open()
        await bench.commit(sink, *empty)
        await bench.end(sink)
        await bench.expect()


# windows that end in the middle

LIFE: tuple[Callable[[], Sequence[Batch]], ...] = (
    lambda: [batch(0, 1), batch(1, 2, 3), batch(0, 4, endpoint="checked_too")],
    lambda: [batch(2, 5), batch(0, 6, appid=OTHER, days=7)],
    lambda: [batch(1, 7), batch(3, 8), batch(4, 9, 10)],
    lambda: [batch(2), batch(0, endpoint="checked_too"), batch(5)],
    lambda: [batch(0, 11, days=7), batch(5, 12, appid=OTHER, days=4)],
    lambda: [batch(3, 13, 14), batch(8, 15)],
)
"""Writes in turn: new windows, repeated ones, empty, longer, shifted and shorter ones."""


@_check
async def crash(bench: Bench) -> None:
    """If a process is killed between a write and the commit, nothing is lost or stored twice."""
    for number in range(len(LIFE)):
        group, before = LIFE[number](), bench.held
        for _ in range(2):
            sink = await bench.open()
            await bench.write(sink, *group)
            bench.crash(sink)
        sink = await bench.open()
        await bench.expect_between(sink, before, after(before, group))
        await bench.commit(sink, *LIFE[number]())
        await bench.expect(sink)
        bench.crash(sink)
    await bench.close_crashed()
    await bench.run()  # which completes what the last one has left
    await bench.expect()


@_check
async def crash_then_others(bench: Bench) -> None:
    """Records of a killed process disappear when other windows of these days follow."""
    await bench.run(*[batch(n, n) for n in range(7)])
    sink = await bench.open()
    await bench.write(sink, batch(0, 100, days=7), batch(7, 101, days=7))
    bench.crash(sink)
    sink = await bench.open()
    await bench.commit(sink, *[batch(n, 200 + n) for n in range(7)])
    await bench.commit(sink, batch(10, 3))
    await bench.expect(sink)
    await bench.end(sink)
    await bench.expect()


@_check
async def crash_at_open(bench: Bench) -> None:
    """If a process is killed before `open`'s result is stored, nothing is lost or doubled."""
    for number in (1, 2):
        sink = bench.make()
        await sink.open(dict(bench.checkpoint))
        await sink.close()
        await bench.run(batch(number, number))
    await bench.expect()


@_check
async def crash_at_finish(bench: Bench) -> None:
    """If a process is killed before `finish`'s result is stored, nothing is lost or doubled."""
    for number in range(len(LIFE)):
        sink = await bench.open()
        await bench.commit(sink, *LIFE[number]())
        if hasattr(sink, "finish"):
            await sink.finish()
        bench.crash(sink)
        if number % 2:
            await bench.close_crashed()
            await bench.expect()
    await bench.close_crashed()
    await bench.run()
    await bench.expect()


@_check
async def cancelled(bench: Bench) -> None:
    """If a write is cancelled, nothing is lost or stored twice."""
    await bench.run(batch(0, 1))
    for turns in range(8):
        group = [batch(10 * turns + n, 10 * turns + n, days=2) for n in range(1, 9, 2)]
        sink = await bench.open()
        task = asyncio.ensure_future(bench.write(sink, *group))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await sink.close()
        await bench.run(*group)
    await bench.expect()


# how it is opened and closed


@_check
async def reopened(bench: Bench) -> None:
    """Opening and closing a sink changes no record."""
    await bench.run(*[batch(n, n) for n in range(20)])
    await bench.run(*[batch(n, -n) for n in range(10)])
    for _ in range(3):
        sink = await bench.open()
        await bench.expect(sink)
        await bench.end(sink)
        await bench.expect()
    sink = await bench.open()
    bench.store((await sink.write([], {})).checkpoint)
    await bench.end(sink)
    await bench.expect()


@_check
async def without_ledger(bench: Bench) -> None:
    """Without a ledger, stored records are kept, and overlapping windows are replaced."""
    for group in ([batch(0, 1), batch(1, 2)], [batch(1, 3, days=2)], [batch(0, 4)]):
        sink = bench.make()
        await sink.open(None)
        await bench.commit(sink, *group, ledger=False)
        await bench.end(sink, ledger=False)
        await bench.expect()


@_check_of(SCANNED)
async def unknown_harvest(bench: Bench) -> None:
    """Records that the ledger does not know are refused with `UsageError`, and kept."""
    await bench.run(batch(0, 1), batch(1, 2))
    sink = bench.make()
    try:
        await sink.open({})
    except UsageError:
        await sink.close()
    else:
        await sink.close()
        raise bench.broken("open({}) does not report it")
    await bench.expect()
    await bench.run(batch(1, 3))
    await bench.expect()


@_check_of(SCANNED)
async def new_ledger(bench: Bench) -> None:
    """With the result of `open(None)`, a new ledger continues where the lost one stopped."""
    await bench.run(batch(0, 1), batch(1, 2), batch(2, 3, endpoint="checked_too"))
    sink = bench.make()
    bench.checkpoint = await sink.open(None)
    await sink.close()
    await bench.expect()
    await bench.run(batch(1, 4), batch(3, 5))
    await bench.expect()


@_check_of(SCANNED)
async def gone(bench: Bench) -> None:
    """If the data of a checkpoint are gone, `open` raises `SinkError`."""
    await bench.run(batch(0, 1), batch(1, 2))
    sink = bench.make(f"{bench.name}_elsewhere")
    try:
        await sink.open(dict(bench.checkpoint))
    except (SinkError, UsageError):
        await sink.close()
    else:
        await sink.close()
        raise bench.broken("it reports nothing, and the ledger calls it harvested")


@_check
async def two_writers(bench: Bench) -> None:
    """A second writer is refused with `UsageError` or `SinkError`, or both writers succeed."""
    first = await bench.open()
    await bench.commit(first, batch(0, 1), batch(9, 9))
    second = bench.make()
    try:
        await second.open(None)
    except (UsageError, SinkError):
        await second.close()
    else:
        await bench.commit(second, batch(0, 11), batch(1, 2), ledger=False)
        await bench.end(second, ledger=False)
    await bench.commit(first, batch(2, 3), batch(9, 99, days=2))
    await bench.end(first)
    await bench.expect()
    await bench.run(batch(3, 4))
    await bench.expect()


@_check
async def closing(bench: Bench) -> None:
    """A sink can be closed twice, and also if it was never open."""
    await bench.make().close()
    sink = await bench.open()
    await bench.commit(sink, batch(0, 1))
    await bench.end(sink)
    await sink.close()
    await bench.expect()


@_check
async def identity(bench: Bench) -> None:
    """A sink has the same identity in every process, and has a `repr`."""
    one, other = bench.make(), bench.make()
    if not one.identity or one.identity != other.identity or not repr(one):
        raise bench.broken(f"{one.identity!r} and {other.identity!r}")


# what can be read again


@_check_of(SCANNED)
async def scan(bench: Bench) -> None:
    """A scan returns the windows of the requested interface and accounts."""
    await bench.run(*[
        batch(n, n, appid=appid, endpoint=endpoint)
        for n in range(3) for appid in (ONE, OTHER) for endpoint in ("checked", "checked_too")
    ])  # fmt: skip
    sink: Any = bench.make()
    for appids in ([ONE], [OTHER], [ONE, OTHER], ["wx0000000000000003"], [], None):
        found = sorted(one.window for one in sink.scan("checked", appids))
        wanted = sorted(
            window for window in bench.held
            if window.endpoint == "checked" and (appids is None or window.appid in appids)
        )  # fmt: skip
        if found != wanted:
            raise bench.broken(f"for {appids} it returns {len(found)} windows, not {len(wanted)}")
    if list(sink.scan("never_written")):
        raise bench.broken("it returns windows of an interface that was never written")
    await bench.expect()


# who has lost its accounts


@_check_of(FENCED)
async def fence(bench: Bench) -> None:
    """A writer with a lower epoch is refused, and changes nothing of that account."""
    sink = await bench.open()
    await bench.commit(sink, batch(0, 1), batch(0, 2, appid=OTHER))
    old, bench.epoch = bench.epoch, 3
    await bench.commit(sink, batch(1, 3))
    await bench.end(sink)
    sink = await bench.open()  # the fence outlives its process
    group = [batch(0, 4, days=3), batch(1, 5, appid=OTHER)]
    written = await sink.write(group, {ONE: old, OTHER: old})
    if set(written.refused) != {ONE}:
        raise bench.broken(f"refused were {list(written.refused)}, not the one account")
    bench.store(written.checkpoint)
    bench.held = after(bench.held, group[1:])
    await bench.expect(sink)
    await bench.commit(sink, batch(1, 6))
    await bench.end(sink)
    await bench.expect()


@_check_of(FENCED)
async def fence_alone(bench: Bench) -> None:
    """A write without batches raises the fence."""
    sink = await bench.open()
    await bench.commit(sink, batch(0, 1))
    await sink.write([], {ONE: 5})
    for epoch in (1, 4):
        written = await sink.write([batch(0, 9), batch(3, 9)], {ONE: epoch})
        if set(written.refused) != {ONE}:
            raise bench.broken(f"with the lower epoch {epoch} it was not refused")
    await bench.expect(sink)
    bench.epoch = 5
    await bench.commit(sink, batch(0, 2))
    await bench.end(sink)
    await bench.expect()
