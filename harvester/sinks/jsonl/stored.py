"""What is stored in a directory of JSON lines: its windows, without those that were replaced.

Rule: reads only; a run may replace the files meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from datetime import date
from hashlib import blake2b
from struct import Struct

from harvester.base.dates import Days as Range
from harvester.errors import SinkError
from harvester.sinks.base import Checkpoint, Stamp, StoredWindow, within
from harvester.sinks.groups import last_of_overlapping
from harvester.sinks.jsonl.compression import compression_of
from harvester.sinks.jsonl.directory import Directory, is_journal
from harvester.sinks.jsonl.segments import (
    ANY_DAY,
    Days,
    Extent,
    Source,
    WindowLines,
    may_have,
    windows_in,
)
from harvester.texts import of_system

_TURNS = 20
Counting = Callable[[str, Checkpoint | None], Mapping[str, Extent | None]]
"""What counts of the files of an interface, given a checkpoint; None: all of a file."""


class StoredLines:
    """The stored windows of a directory."""

    def __init__(self, home: Directory, counting: Counting) -> None:
        self._home = home
        self._counting = counting

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None,
        checkpoint: Checkpoint | None,
        days: Range | None,
        *,
        checked: bool,
    ) -> Iterator[StoredWindow]:
        """As `harvester.Sink.scan`; checked: the ends of the files are known to be whole."""
        with ExitStack() as stack:
            sources: dict[Source, int] = {}
            index: defaultdict[str, list[int]] = defaultdict(list)
            for source, found in self.windows(endpoint, checkpoint, days, stack):
                appid, _, begin, _ = found.window
                if appids is None or appid in appids:
                    place = sources.setdefault(source, len(sources)), found.start
                    index[appid].append(_packed(begin, *place, found.size))
            numbered = [*sources]
            for appid in sorted(index):
                for packed in sorted(index.pop(appid)):
                    number, start, size = _unpacked(packed)
                    source = numbered[number]
                    [found] = windows_in([source.read(start, size)], source.name)
                    whole = checked or start != source.last
                    yield StoredWindow(
                        found.window, found.tally(), found.fetched_at, found.records, whole
                    )

    def stamps(self, endpoint: str, checkpoint: Checkpoint | None) -> dict[str, Stamp]:
        stamps: dict[str, Stamp] = {}
        for _, found in self.windows(endpoint, checkpoint):
            month = found.window.begin.isoformat()[:7]
            rows, sums, latest = stamps.get(month, Stamp(0, (0, 0), ""))
            digest = blake2b(b"".join(found.lines), digest_size=16).digest()
            one, other = _TWO_NUMBERS.unpack(digest)
            sums = (sums[0] + one) % _MODULUS, (sums[1] + other) % _MODULUS
            stamps[month] = Stamp(rows + len(found.lines), sums, max(latest, found.fetched_at))
        return stamps

    def windows(
        self,
        endpoint: str,
        checkpoint: Checkpoint | None,
        days: Range | None = None,
        stack: ExitStack | None = None,
    ) -> Iterator[tuple[Source, WindowLines]]:
        """The stored windows of an interface without the replaced ones, in the order of the files.

        stack: keeps the files open, so that the windows can be read from their places.
        """
        first, last = (day.toordinal() for day in days or (date.min, date.max))
        with ExitStack() as files:
            sources = self._sources(endpoint, checkpoint, stack or files)
            journal = next((each for each in sources if is_journal(each.name)), None)
            replacing = [each._replace(lines=[]) for each in journal.windows()] if journal else []
            gone = Days(each.window for each in replacing)
            kept = {each.start for each in last_of_overlapping(replacing)}
            for source in sources:
                if source is not journal and not may_have(source.name, source.extent, first, last):
                    continue
                for found in source.windows(stack):
                    source.last = found.start
                    if source is journal:
                        stays = found.start in kept
                    else:
                        stays = not replacing or not gone.overlaps(found.window)
                    if stays and found.lines and within(found.window, days):
                        yield source, found

    def _sources(
        self, endpoint: str, checkpoint: Checkpoint | None, stack: ExitStack
    ) -> list[Source]:
        """The journal and the files of an interface; all are open: a run may replace them."""
        for _ in range(_TURNS):
            note = self._home.note()
            try:
                with ExitStack() as files:
                    found = opened(self._home, self._counting(endpoint, checkpoint), files)
                    if self._home.note() == note:
                        stack.enter_context(files.pop_all())
                        return found
            except FileNotFoundError:
                continue  # a merge has removed it
            except SinkError:
                if self._home.note() == note:
                    raise
            except OSError as exc:
                raise SinkError("{} cannot be read ({})", self._home.path, of_system(exc)) from exc
        raise SinkError("{} was changed each time that it was opened; try again", self._home.path)


def opened(home: Directory, extents: Mapping[str, Extent | None], stack: ExitStack) -> list[Source]:
    """The journals, then the files: so a merge in another process hides no window."""
    sources = []
    for name in sorted(extents, key=lambda name: (not is_journal(name), name)):
        file = stack.enter_context(home.opened(name))
        extent = extents[name]
        if extent is None:
            last = 0 if is_journal(name) else ANY_DAY
            extent = Extent(compression_of(name).whole(file), last)
        sources.append(Source(name, file, extent))
    return sources


_TWO_NUMBERS, _MODULUS = Struct("<QQ"), 1 << 64


_BITS = (20, 48, 40)
"""Of the number of a file, of a place in it, and of a size."""


def _packed(begin: date, *place: int) -> int:
    """The first day and the position of a window, as one number; ordered by day."""
    number = begin.toordinal()
    for bits, part in zip(_BITS, place, strict=True):
        number = number << bits | part
    return number


def _unpacked(number: int) -> tuple[int, int, int]:
    _, start, size = _BITS
    return (
        number >> start + size & (1 << _BITS[0]) - 1,
        number >> size & (1 << start) - 1,
        number & (1 << size) - 1,
    )
