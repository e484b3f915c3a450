"""The arithmetic of what is covered: stretches of days that merge as they meet.

Rule: pure; the ledger stores what is decided here.

A stretch says what became of its days.  Neighbours in the same state become one, so that their
number grows with the gaps and not with the days.  A stretch of harvested days knows how many
records it holds, their order-free checksum, and, a bit a day, which of its days were empty.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import date
from operator import attrgetter
from typing import NamedTuple

from harvester.codec import add_checksums
from harvester.model import without_rid
from harvester.plan import ONE_DAY, Days, gaps

DONE = "done"
WAITING = "waiting"
FAILED = "failed"

_BEGIN, _END = attrgetter("begin"), attrgetter("end")


class Stretch(NamedTuple):
    """Days ``begin`` to ``end`` of one interface of one account, and what became of them.

    state: ``done``, ``waiting`` or ``failed``.
    records, checksum: of all its days together (0 unless done).
    empty: bit n is set if the n-th day from ``begin`` holds no record.
    detail: why it waits or failed.
    """

    begin: date
    end: date
    state: str
    records: int = 0
    checksum: int = 0
    empty: int = 0
    detail: str = ""

    @property
    def days(self) -> int:
        """How many days it spans."""
        return (self.end - self.begin).days + 1

    @property
    def empty_days(self) -> int:
        """How many of them hold no record."""
        return self.empty.bit_count()


def harvested(days: Days, records: int, checksum: int) -> Stretch:
    """The stretch of one harvested window."""
    begin, end = days
    empty = 0 if records else (1 << ((end - begin).days + 1)) - 1
    return Stretch(begin, end, DONE, records, checksum, empty)


def lay(existing: Sequence[Stretch], new: Stretch) -> list[Stretch]:
    """The stretches after a new one has been laid over (or beside) existing ones.

    existing: those that overlap or touch the new one, in order.  Harvested days stay harvested:
    a window that fails when it is asked for again takes nothing away from what is stored.  Over
    harvested days a new stretch adds its records and checksum: whoever replaces what was there
    takes away the former figures first (`replaced`).
    """
    if new.state == DONE:
        for old in existing:
            if old.state == DONE:
                new = _merge(old, new)
        others = [old for old in existing if old.state != DONE]
        return sorted([*_cut(others, [(new.begin, new.end)]), new])
    done = [old for old in existing if old.state == DONE]
    pieces = _cut([new], [(old.begin, old.end) for old in done])
    others = _cut([old for old in existing if old.state != DONE], [(new.begin, new.end)])
    return _join(sorted([*done, *pieces, *others]))


def replaced(new: Stretch, records: int, checksum: int) -> Stretch:
    """The new stretch less the figures of what it replaced."""
    return new._replace(
        records=new.records - records, checksum=add_checksums(new.checksum, -checksum)
    )


def together(stretches: Sequence[Stretch]) -> list[Stretch]:
    """What all of them say, the later ones laid over the former; neighbours are joined."""
    ordered = sorted(stretches)
    end = date.min
    for stretch in ordered:
        if stretch.begin <= end:
            break
        end = stretch.end
    else:
        return _join(ordered)
    known: list[Stretch] = []
    for stretch in stretches:
        overlay(known, stretch)
    return known


def overlay(known: list[Stretch], new: Stretch) -> None:
    """Lay a stretch over all that is known of an interface of an account, in order and apart."""
    first = bisect_left(known, new.begin - ONE_DAY, key=_END)
    after = bisect_right(known, new.end + ONE_DAY, key=_BEGIN)
    known[first:after] = lay(known[first:after], new)


def _join(ordered: Iterable[Stretch]) -> list[Stretch]:
    """Neighbours in the same state as one; without a merge each, since a commit brings hundreds."""
    joined: list[Stretch] = []
    pending = iter(ordered)
    stretch = next(pending, None)
    while stretch is not None:
        begin, end, state, records, total, empty, detail = stretch
        expected = end + ONE_DAY
        for stretch in pending:
            if stretch.begin != expected or not _same(stretch, state, detail):
                break
            if stretch.empty:
                empty |= stretch.empty << (stretch.begin - begin).days
            records += stretch.records
            total += stretch.checksum
            end = stretch.end
            expected = end + ONE_DAY
        else:
            stretch = None
        total = add_checksums(total, 0)
        joined.append(Stretch(begin, end, state, records, total, empty, detail))
    return joined


def _same(stretch: Stretch, state: str, detail: str) -> bool:
    return stretch.state == state and (
        stretch.detail == detail or without_rid(stretch.detail) == without_rid(detail)
    )


def _merge(old: Stretch, new: Stretch) -> Stretch:
    begin, end = min(old.begin, new.begin), max(old.end, new.end)
    shift = (new.begin - begin).days
    kept = (old.empty << (old.begin - begin).days) & ~(((1 << new.days) - 1) << shift)
    return Stretch(
        begin,
        end,
        new.state,
        old.records + new.records,
        add_checksums(old.checksum, new.checksum),
        kept | (new.empty << shift),
        new.detail,
    )


def _cut(stretches: Iterable[Stretch], away: Sequence[Days]) -> list[Stretch]:
    """Stretches that carry no figures, without the days that are cut away."""
    return [
        old._replace(begin=begin, end=end)
        for old in stretches
        for begin, end in gaps(old.begin, old.end, away)
    ]
