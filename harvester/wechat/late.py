"""What an interface must deliver, and when missing figures are requested again.

Rule: pure; facts of an interface and times, no calendar and no run.

An interface delivers one of three things (`Delivery`):

- one row per day: a day without one is late, never zero.  getusercumulate answers empty days now
  and then, to days that have a row later.
- entries: an answer has all records of the answers before it, and their lists grow by one entry per
  day until a last one: to day 7 (getarticletotal) or 30 (getarticletotaldetail); the entries of
  publisher_settlement change until day 62, and none is known to go.
- no guaranteed rows: on a day without a record perhaps nothing happened.  Days that had
  figures later have been silently empty, without ``is_delay``, for more than 24 hours.

WeChat documents none of this; it was observed, and the schedules below are the safe reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, TypeVar
from zlib import crc32

from harvester.base.codec import encode, parse_small
from harvester.base.dates import DAY, ONE_DAY, china, settles_at
from harvester.model import Endpoint
from harvester.wechat.endpoint import day_of, in_record, list_by_day

AGAIN = (1, 2, 3, 5, 8, 13, 21, 30)
"""Days after a row or an entry was due on which it is requested again."""
EMPTY_AGAIN = (1, 2, 3, 5, 8)
"""The same of an empty day of an interface that guarantees no rows."""
AT_LEAST = 3
"""The least number of days on which a row or an entry is requested again, however late it is."""
WAITS = 3
"""Days after it was due for which a run that lacks a row or an entry is not done."""
YOUNG_DAYS = max(EMPTY_AGAIN)
"""Days before yesterday for which an empty answer is checked again.  An older one of an interface
that guarantees no rows is final at once."""
LONGEST = DAY * max(after - before for before, after in pairwise(AGAIN))
"""The most seconds between two requests of a schedule."""


class Delivery(Enum):
    """What an interface is certain to deliver."""

    DAILY = "daily"
    ENTRIES = "entries"
    UNCERTAIN = "uncertain"


def delivery(endpoint: Endpoint) -> Delivery:
    """What an interface delivers; a user's `Endpoint` may not say."""
    if getattr(endpoint, "daily", False):
        return Delivery.DAILY
    grows = endpoint.late_days and (getattr(endpoint, "grows", False) or _entries(endpoint))
    return Delivery.ENTRIES if grows else Delivery.UNCERTAIN


def due_at(endpoint: Endpoint, end: date) -> float:
    """The Unix time from which the figures of a window that ends then can be requested."""
    return settles_at(end, endpoint.settled_hour)


def final_at(endpoint: Endpoint, end: date) -> float:
    """The Unix time from which the figures of a window that ends then no longer change."""
    return due_at(endpoint, _grown(endpoint, end))


def waits_until(endpoint: Endpoint, end: date) -> float:
    """The Unix time until which a run that lacks what such a window must have is not done."""
    due = final_at if delivery(endpoint) is Delivery.ENTRIES else due_at
    return due(endpoint, end) + WAITS * DAY


def again_at(
    days: Sequence[int], due: float, wall: float, hour: int, tries: int = AT_LEAST
) -> float | None:
    """The Unix time of the next request for what is missing; None: there is none any more.

    days: the schedule.  hour: from which a day's figures can be requested.  tries: those made
    before.
    """
    for day in days:
        if wall < due + day * DAY:
            return due + day * DAY
    return settles_at(china(wall).date(), hour) if tries < AT_LEAST else None


def _grown(endpoint: Endpoint, end: date) -> date:
    """The last day whose figures a window that ends then gets."""
    return end + max(endpoint.late_days - 1, 0) * ONE_DAY


def _entries(endpoint: Endpoint) -> tuple[str, str] | None:
    """The list of a record that grows by one entry per day, and the field of its day."""
    return list_by_day(endpoint) if endpoint.late_days else None


def has_last_entry(endpoint: Endpoint, records: Sequence[Mapping[str, Any]], end: date) -> bool:
    """Whether the list of each record has the entry of the last day for which it grows."""
    entries = _entries(endpoint)
    if entries is None:
        return True
    name, day = entries
    for record in records:
        last = _grown(endpoint, day_of(in_record(record, endpoint.day_field)) or end)
        if not any(each >= last for each in _days(record.get(name), day)):
            return False
    return True


def _days(items: object, field: str) -> list[date]:
    found = [day_of(in_record(item, field)) for item in items] if isinstance(items, list) else []
    return [day for day in found if day is not None]


# An answer never removes what an earlier one had.  Records of two answers are the same if their
# key and their number among those with that key are; entries of a list likewise, by their day.  A
# record without a whole key is kept only if the later answer has no record at all.


def had(endpoint: Endpoint, records: Sequence[Mapping[str, Any]]) -> str:
    """What an answer has that a later one must have, as text; empty if nothing must stay.

    Of entries: for each record a checksum of its key and number, and the days of its entries, a bit
    each; of entries with a day that the record has already, the same apart.
    """
    if delivery(endpoint) is not Delivery.ENTRIES or not records:
        return ""
    return encode(_had(endpoint, records)).decode()


def _had(endpoint: Endpoint, records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    name, day = _entries(endpoint) or ("", "")
    found: dict[str, int] = {}
    for key, record in _numbered(records, partial(_key, endpoint)):
        if key is None:
            continue
        items = record.get(name)
        found[_place(key)] = 0
        for entry, item in _numbered(items if isinstance(items, list) else (), partial(_day, day)):
            if entry is not None:
                place = _place((*key, entry[1]))
                found[place] = found.get(place, 0) | _bit(f"{in_record(item, day)}")
    return found


T = TypeVar("T")
K = TypeVar("K")


def _numbered(
    items: Iterable[T], key_of: Callable[[T], K | None]
) -> Iterator[tuple[tuple[K, int] | None, T]]:
    """Each item with its key and its number among those with that key; None without a key."""
    numbers: Counter[K] = Counter()
    for item in items:
        if (key := key_of(item)) is None:
            yield None, item
        else:
            yield (key, numbers[key]), item
            numbers[key] += 1


def _place(key: tuple[bytes, *tuple[int, ...]]) -> str:
    """A checksum of a key and of the numbers behind it, those at its end that are not 0."""
    text, *numbers = key
    while numbers and not numbers[-1]:
        numbers.pop()
    return f"{crc32(b' '.join([text, *[b'%d' % each for each in numbers]]))}"


@lru_cache(4096)
def _bit(value: str) -> int:
    """The bit of a day: any 63 consecutive days have different bits."""
    day = day_of(value)
    return 0 if day is None else 1 << day.toordinal() % 63


def _key(endpoint: Endpoint, record: Mapping[str, Any]) -> bytes | None:
    """What identifies a record of a window; None if a part of that is missing, null or empty."""
    parts = [in_record(record, name) for name in getattr(endpoint, "key", ())]
    return encode(parts) if parts and all(each not in _EMPTY for each in parts) else None


_EMPTY: tuple[object, ...] = (None, "", [], {})


def _day(field: str, item: object) -> date | None:
    return day_of(in_record(item, field))


def lacks(endpoint: Endpoint, before: str, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an answer lacks a record or an entry that an earlier one had; before: of `had`."""
    if not before:
        return False
    if not records:
        return True
    now = _had(endpoint, records)
    return any(
        key not in now or bits & ~now[key] for key, bits in parse_small(before.encode()).items()
    )


def completed(
    endpoint: Endpoint, records: Sequence[dict[str, Any]], stored: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], int]:
    """The records of an answer, and of those that are stored what it lacks; how much that is."""
    if delivery(endpoint) is Delivery.DAILY:
        there = {day_of(in_record(each, endpoint.day_field)) for each in records}
        kept = [each for each in stored
                if day_of(in_record(each, endpoint.day_field)) not in there]  # fmt: skip
        both = [*records, *kept]
        both.sort(key=lambda each: day_of(in_record(each, endpoint.day_field)) or date.min)
        return both, len(kept)
    if not records:
        return [*stored], len(stored)
    key_of = partial(_key, endpoint)
    former = {key: each for key, each in _numbered(stored, key_of) if key is not None}
    found, number = [], 0
    for key, record in _numbered(records, key_of):
        before = former.pop(key, {}) if key is not None else {}
        record, more = _with_entries(endpoint, record, before)
        found.append(record)
        number += more
    return [*found, *former.values()], number + len(former)


def _with_entries(
    endpoint: Endpoint, record: dict[str, Any], stored: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """A record with the stored entries of days that its list lacks; how many these are."""
    name, field = _entries(endpoint) or ("", "")
    items, before = record.get(name), stored.get(name)
    if not isinstance(before, list):
        return record, 0
    items = items if isinstance(items, list) else []
    day = partial(_day, field)
    there = {None, *[key for key, _ in _numbered(items, day)]}
    kept = [each for key, each in _numbered(before, day) if key not in there]
    if not kept:
        return record, 0
    both = [*items, *kept]
    both.sort(key=lambda each: day_of(in_record(each, field)) or date.min)
    return {**record, name: both}, len(kept)
