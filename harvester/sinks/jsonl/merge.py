"""Brings the windows of a journal into the files of their periods.

Rule: may be repeated after it was interrupted anywhere, and changes nothing then.

Each file that such a window overlaps is drafted without what is replaced and with what is new, and
takes the place of the former one; the journal is removed last.  First goes what a window of another
file replaces: so a reader of the files sees no window twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from harvester.model import Window
from harvester.sinks.groups import last_of_overlapping
from harvester.sinks.jsonl.compression import compression_of
from harvester.sinks.jsonl.directory import Directory, endpoint_of, is_journal
from harvester.sinks.jsonl.periods import file_of
from harvester.sinks.jsonl.segments import (
    Days,
    Extent,
    Extents,
    Source,
    WindowLines,
    first_day_of,
)


class _Place(NamedTuple):
    """Where the lines of a window of the journal are."""

    window: Window
    start: int
    size: int
    file: str


def merge(home: Directory, extents: Extents, journal: str, suffix: str) -> None:
    """Merge a journal, and change the extents accordingly; suffix: of new files."""
    with home.opened(journal) as file:
        source = Source(journal, file, extents[journal])
        places = [
            _Place(
                found.window,
                found.start,
                found.size,
                file_of(found.window, found.fetched_at, extents, suffix),
            )
            for found in source.windows()
        ]
        _Merge(home, extents, source).run(endpoint_of(journal), places)
    home.remove(journal)
    del extents[journal]


class _Merge:
    """The files of one interface, while the windows of its journal are merged into them."""

    def __init__(self, home: Directory, extents: Extents, journal: Source) -> None:
        self._home = home
        self._extents = extents
        self._journal = journal

    def run(self, endpoint: str, places: Sequence[_Place]) -> None:
        days: dict[str, Days] = defaultdict(Days)  # of the windows that belong into a file
        new: dict[str, list[_Place]] = defaultdict(list)
        for place in places:
            days[place.file].add([place.window])
        for place in last_of_overlapping(places):
            if place.size:
                new[place.file].append(place)
        names = sorted({*files_of(self._extents, endpoint), *new})
        for name in names:
            self._rewrite(name, [each for file, each in days.items() if file != name], [])
        for name in names:
            self._rewrite(name, [days[name]] if name in days else [], new[name])

    def _rewrite(self, name: str, gone: Sequence[Days], new: Sequence[_Place]) -> None:
        """Replace a file by one without the windows of these days, and with the new ones."""
        extent = self._extents.get(name)
        first, last = first_day_of(name), extent.last if extent else 0
        gone = [days for days in gone if days.reach(first, last)]
        if not gone and not new:
            return

        def stays(found: WindowLines) -> bool:
            return not any(days.overlaps(found.window) for days in gone)

        with ExitStack() as stack:
            source = None
            if extent is not None:
                source = Source(name, stack.enter_context(self._home.opened(name)), extent)
            if new:
                self._extents[name] = self._written(name, source, stays, new)
            elif source is not None:
                self._without(source, stays)

    def _without(self, source: Source, stays: Callable[[WindowLines], bool]) -> None:
        name = source.name
        ends = [(stays(found), found.window.end.toordinal()) for found in source.windows()]
        last = max((end for kept, end in ends if kept), default=0)
        if all(kept for kept, _ in ends):  # unchanged; its last day may have been unknown
            self._extents[name] = Extent(source.extent.size, last)
        elif last:
            self._extents[name] = self._written(name, source, stays, [])
        else:
            self._home.remove(name)
            del self._extents[name]

    def _written(
        self,
        name: str,
        source: Source | None,
        stays: Callable[[WindowLines], bool],
        new: Sequence[_Place],
    ) -> Extent:
        if source is None:
            self._home.refuse_strangers(name, self._extents)
        packer = compression_of(name).packer()
        last = 0
        with self._home.draft(name) as draft:
            for found in filter(stays, source.windows() if source else ()):
                draft.write(packer.compress(b"".join(found.lines)))
                last = max(last, found.window.end.toordinal())
            for place in new:
                draft.write(packer.compress(self._journal.read(place.start, place.size)))
                last = max(last, place.window.end.toordinal())
            draft.write(packer.flush())
            size = draft.tell()
        return Extent(size, last)


def files_of(extents: Extents, endpoint: str) -> list[str]:
    """The files of an interface, without its journal."""
    return sorted(
        name for name in extents if endpoint_of(name) == endpoint and not is_journal(name)
    )
