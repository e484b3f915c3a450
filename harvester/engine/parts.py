"""The parts of the answer to a window: final, provisional or late.

Rule: pure; an answer and the time, no calendar.

Usually a window is one part.  Days that lack what they must have, or may still get, become separate
parts: only these are requested again, so that no later answer affects the days that are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from harvester.base.dates import DAY, ONE_DAY, Days, WindowKind, days_in
from harvester.ledger.coverage import OpenWindow
from harvester.model import RECHECK_INTERVAL, Endpoint, Window, all_days
from harvester.texts import say
from harvester.wechat.endpoint import day_of, in_record
from harvester.wechat.late import (
    AGAIN,
    AT_LEAST,
    EMPTY_AGAIN,
    WAITS,
    Delivery,
    again_at,
    delivery,
    due_at,
    final_at,
    had,
    has_last_entry,
    waits_until,
)

DELAYED = say("WeChat reports that the figures are late")
NO_ROW = say("a day has no row yet, but each day must have one")
CAN_CHANGE = say("its figures can change")
NO_RECORD = say("a day of the window has no record yet; the record might be late")
NO_ENTRY = say("the entry of its last day is missing; it might be late")

Records = list[dict[str, Any]]


class Part(NamedTuple):
    """Days of a window and their outcome; fields as of `harvester.ledger.Outcome`.

    waits: the run is not done with it.
    """

    days: Days
    records: Records
    state: str = "final"
    empty: int = 0
    due: float = 0.0
    why: str = ""
    waits: bool = False
    tries: int = 0
    had: str = ""


def parts_of(
    endpoint: Endpoint,
    window: Window,
    records: Records,
    wall: float,
    *,
    delayed: bool = False,
    again: OpenWindow | None = None,
    expected: bool = True,
    silent: bool = False,
) -> list[Part]:
    """The parts of a window that was answered, in the order of their days (wall: the Unix time).

    delayed: WeChat reports that the figures are late.  again: the stored window, if there is one.
    expected: an interface with one row per day has one before the window, so that it must have
    rows.  silent: it delivers no rows any more (`Calendar.silent`), so no run waits for one.
    """
    days, empty = (window.begin, window.end), empty_days(endpoint, records, window)
    answer = _Answer(endpoint, wall, again, expected, silent=silent)
    if delayed:
        return [answer.delayed(days, records, empty)]
    apart = empty & answer.apart(window) if empty else 0
    if not apart or apart == all_days(window):
        return [answer.part(days, records, empty)]
    found: list[Part] = []
    for days, own, without in _cut(endpoint, window, records, empty, apart):
        found.append(answer.part(days, own, without, behind_a_row=bool(found)))
    return found


def empty_days(endpoint: Endpoint, records: Sequence[dict[str, Any]], window: Window) -> int:
    """A bit for each day of a window that has no record, as far as the records name their days."""
    if not records:
        return all_days(window)
    if window.begin == window.end or not _names_days(endpoint):
        return 0
    first = window.begin.toordinal()
    named = {day_of(in_record(record, endpoint.day_field)) for record in records}
    if None in named:
        return 0
    has = sum([1 << (day.toordinal() - first) for day in named if day is not None])
    return all_days(window) & ~has


def _names_days(endpoint: Endpoint) -> bool:
    return endpoint.cut is WindowKind.DAYS and bool(endpoint.day_field)


def _cut(
    endpoint: Endpoint, window: Window, records: Records, empty: int, apart: int
) -> Iterator[tuple[Days, Records, int]]:
    """The runs of days that are apart, and those between them; their records and empty days."""
    number, first = days_in((window.begin, window.end)), 0
    while first < number:
        kind, last = apart >> first & 1, first
        while last + 1 < number and apart >> last + 1 & 1 == kind:
            last += 1
        begin, end = (window.begin + timedelta(days=each) for each in (first, last))
        own = [] if kind else [each for each in records if begin <= _day(endpoint, each) <= end]
        yield (begin, end), own, empty >> first & (1 << last - first + 1) - 1
        first = last + 1


def _day(endpoint: Endpoint, record: dict[str, Any]) -> date:
    day = day_of(in_record(record, endpoint.day_field))
    assert day is not None, "a window is cut only if each record names its day"
    return day


class _Answer:
    def __init__(
        self,
        endpoint: Endpoint,
        wall: float,
        again: OpenWindow | None,
        expected: bool,
        *,
        silent: bool,
    ) -> None:
        self._endpoint, self._wall, self._silent = endpoint, wall, silent
        self._delivery = delivery(endpoint)
        self._again, self._expected = again, expected
        self._tries = 0 if again is None or again.state != "late" else again.tries + 1

    def apart(self, window: Window) -> int:
        """A bit for each day that becomes a separate part if it is empty."""
        if not _names_days(self._endpoint) or self._endpoint.late_days:
            return 0
        if self._delivery is Delivery.DAILY:
            return all_days(window)
        days = [
            window.begin + number * ONE_DAY for number in range(days_in((window.begin, window.end)))
        ]
        return sum([1 << number for number, day in enumerate(days) if self._may_come(day)])

    def _may_come(self, day: date) -> bool:
        return self._wall < due_at(self._endpoint, day) + EMPTY_AGAIN[-1] * DAY

    def delayed(self, days: Days, records: Records, empty: int) -> Part:
        """Days whose figures WeChat calls late.

        Figures that can change are requested as often as without it, others as what must exist and
        is missing.  At the end of that schedule the records that came count as any others.
        """
        part = Part(days, records, empty=empty, had=had(self._endpoint, records))
        if self._changes(days):
            at_once = self._wall < due_at(self._endpoint, days[1]) + DAY
            due = 0.0 if at_once else self._wall + RECHECK_INTERVAL
            return part._replace(state="late", due=due, why=DELAYED, waits=self._waits(days))
        found = self._late(part, final_at(self._endpoint, days[1]), DELAYED)
        return self.part(days, records, empty) if found.state == "never" and records else found

    def _changes(self, days: Days) -> bool:
        endpoint = self._endpoint
        return endpoint.late_days > 0 and self._wall < final_at(endpoint, days[1])

    def _is_young(self, days: Days) -> bool:
        return self._wall < waits_until(self._endpoint, days[1])

    def _waits(self, days: Days) -> bool:
        """Whether a run that lacks what late days must have is not done."""
        return self._is_young(days) and not self._silent

    def part(self, days: Days, records: Records, empty: int, *, behind_a_row: bool = False) -> Part:
        """Days that are one part; behind_a_row: of a window that has rows before them."""
        part, endpoint = Part(days, records, empty=empty), self._endpoint
        if self._changes(days):
            at_once = not records and self._wall < due_at(endpoint, days[1]) + DAY
            return part._replace(
                state="open",
                due=0.0 if at_once else self._wall + RECHECK_INTERVAL,
                why=CAN_CHANGE,
                had=had(endpoint, records),
            )
        if not records and self._delivery is Delivery.DAILY:
            return self._without_rows(part, behind_a_row=behind_a_row)
        if not records:
            due = self._next(EMPTY_AGAIN, due_at(endpoint, days[1]), AT_LEAST)
            return part if due is None else part._replace(state="open", due=due, why=NO_RECORD)
        if not has_last_entry(endpoint, records, days[1]):
            part = part._replace(had=had(endpoint, records))
            return self._late(part, final_at(endpoint, days[1]), NO_ENTRY)
        return part

    def _without_rows(self, part: Part, *, behind_a_row: bool) -> Part:
        due = due_at(self._endpoint, part.days[1])
        certain = behind_a_row or (self._again is not None and self._expected)
        if not certain and self._wall >= due + WAITS * DAY:
            return part  # perhaps before the account's first row: the next plan decides
        return self._late(part, due, NO_ROW)

    def _late(self, part: Part, since: float, why: str) -> Part:
        """What must exist is missing: it is requested again, until it counts as never delivered.

        since: the Unix time from which it was due.
        """
        due = self._next(AGAIN, since, self._tries)
        if due is None:
            empty = part.empty or (1 << days_in(part.days)) - 1
            return part._replace(state="never", empty=empty)
        tries = 0 if self._is_young(part.days) else self._tries
        waits = self._waits(part.days)
        return part._replace(state="late", due=due, why=why, waits=waits, tries=tries)

    def _next(self, schedule: Sequence[int], since: float, tries: int) -> float | None:
        """The Unix time of the next request; 0 on the day on which it was due."""
        if self._wall < since + DAY:
            return 0.0
        return again_at(schedule, since, self._wall, self._endpoint.settled_hour, tries)
