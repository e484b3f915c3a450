"""The guarantees that must hold after a run, and at the end of a world.

Rule: each function returns a sentence for each broken guarantee; none means success.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import orjson

from harvester.base.dates import DAY, ONE_DAY, Days, WindowKind
from harvester.config import plugins
from harvester.engine.limiter import Rate
from harvester.events import Report
from harvester.ledger.coverage import DONE, EMPTY, FINAL, NEVER, STORED, Calendar, OpenWindow
from harvester.model import Endpoint, Tally
from harvester.sinks.base import StoredWindow
from harvester.wechat.endpoint import day_of, grid, in_record
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import Delivery, delivery, due_at
from tests.chaos.worlds.lateness import LISTS, YOUNG, Lateness, Place, pieces
from tests.chaos.worlds.outside import Call, Traffic
from tests.support import days

Key = tuple[str, str]
QUOTA, HOUR = 45009, 3600.0
ANSWERED = (0, 61500, 61501, 61503)
"""Codes that show that a quota is not used up."""


def rate_kept(traffic: Traffic, rate: Rate) -> Iterator[str]:
    """In no period of the rate's length do more requests leave for an account than it says."""
    for appid, times in traffic.departures.items():
        for first, behind in zip(times, times[rate.requests :], strict=False):
            if behind - first < rate.period:
                yield f"{appid}: {rate.requests + 1} requests within {behind - first:.6f} s"
                break


def tokens_kept(traffic: Traffic, seconds: float, lifetime: float) -> Iterator[str]:
    """One fetch at a time, and none that no refusal, end or failure asked for."""
    yield from traffic.broken
    for appid, fetches in traffic.fetches.items():
        renewals = int(seconds / max(lifetime - 300.0, lifetime / 4)) + 1
        allowed = 1 + len(traffic.refused[appid]) + renewals + traffic.fetches_failed[appid]
        if fetches > allowed:
            yield f"{appid}: {fetches} token fetches, at most {allowed} were asked for"


def budget_kept(calls: Mapping[tuple[str, date], int], quota: int | None) -> Iterator[str]:
    """No more calls on a day in China than the quota says."""
    for (appid, day), number in calls.items():
        counted = "/cgi-bin/" not in appid  # what asks for the quota is not counted in it
        if counted and quota is not None and number > quota:
            yield f"{appid}: {number} calls on {day}, the quota is {quota}"


def calls_known(
    spent: Mapping[Key, int], must: Mapping[Key, int], may: Mapping[Key, int]
) -> Iterator[str]:
    """The ledger counts every call that was sent, and none that was not."""
    for key in spent.keys() | must.keys():
        if not must.get(key, 0) <= spent.get(key, 0) <= may.get(key, 0):
            counted = f"{spent.get(key, 0)} calls are counted"
            yield f"{key}: {counted}, {must.get(key, 0)} to {may.get(key, 0)} were sent"


def hour_kept(traffic: Traffic) -> Iterator[str]:
    """After 45009 an interface is called once an hour until a call is answered."""
    by_key: defaultdict[str, list[Call]] = defaultdict(list)
    for (key, _), calls in traffic.calls.items():
        by_key[key] += calls
    for key, calls in by_key.items():
        if "/cgi-bin/" not in key:
            yield from _hours(key, sorted(calls, key=lambda call: call.sent))


def _hours(key: str, calls: Sequence[Call]) -> Iterator[str]:
    for number, call in enumerate(calls):
        before = [each for each in calls[:number] if 0.0 < each.answered < call.sent]
        refused = max((each.answered for each in before if each.code == QUOTA), default=None)
        if refused is None:
            continue
        again = any(each.code in ANSWERED and each.sent > refused for each in before)
        if not again and call.sent - calls[number - 1].sent < HOUR - 1.0:
            yield f"{key}: called at {call.sent:.1f} s, refused for its quota at {refused:.1f} s"


def report_adds_up(report: Report) -> Iterator[str]:
    """Every planned window of a run that ended by itself is accounted for."""
    windows = report.windows
    settled = windows.skipped + windows.done + windows.waiting + windows.failed
    if windows.planned != settled:
        yield f"{windows.planned} planned, {settled} accounted for: {windows}"
    if report.state == "complete" and (windows.waiting or windows.failed):
        yield f"complete, but {windows}"


def ledger_is_true(
    calendars: Mapping[Key, Calendar],
    stored: Mapping[Key, Sequence[StoredWindow]],
    *,
    grown: bool = False,
) -> Iterator[str]:
    """What the ledger calls stored stands in the sink, as it says, and each day once.

    grown: a run may have ended between sink and ledger with more figures than there were before.
    """
    for key in calendars.keys() | stored.keys():
        calendar, there = calendars.get(key, Calendar()), stored.get(key, ())
        final = [each for each in there if _is_final(calendar, each)]
        for one, other in pairwise(sorted(each.window for each in there)):
            if other.begin <= one.end:
                yield f"{key}: {one} and {other} overlap"
        unsure = [each for each in there if each not in final]
        yield from _open_windows(key, calendar, unsure, grown=grown)
        yield from _sums(key, calendar, final)
        yield from _letters(key, calendar, final)


def _is_final(calendar: Calendar, each: StoredWindow) -> bool:
    whole = each.window.begin, each.window.end
    return list(calendar.runs(*whole, DONE)) == [whole]


def _open_windows(
    key: Key, calendar: Calendar, stored: Sequence[StoredWindow], *, grown: bool
) -> Iterator[str]:
    unread = {window.days: window for window in calendar.windows.values() if window.stored}
    for each in stored:
        known = unread.pop((each.window.begin, each.window.end), None)
        if known is None:
            if list(calendar.runs(each.window.begin, each.window.end, STORED)):
                yield f"{each.window}: it stands there beside other windows of the ledger"
        elif each.tally != known.tally and not _is_ahead(each, known, grown=grown):
            yield f"{each.window}: {each.tally} stands there, the ledger has {known}"
    for window in unread.values():
        if window.tally.records:
            yield f"{key} {window}: it does not stand there"


def _is_ahead(stored: StoredWindow, known: OpenWindow, *, grown: bool) -> bool:
    """Whether a crash between sink and ledger left the same records, fetched later, in the sink."""
    later = stored.fetched_at > known.fetched_at
    return later and (grown or known.tally.same_records(stored.tally))


def _sums(key: Key, calendar: Calendar, final: Sequence[StoredWindow]) -> Iterator[str]:
    sums: defaultdict[int, Tally] = defaultdict(Tally)
    for each in final:
        year = each.window.begin.year
        sums[year] = sums[year].plus(each.tally)
    for year, tally in calendar.sums.items():
        if tally is not None and tally != sums[year]:
            yield f"{key} {year}: {sums[year]} stands there, the ledger has {tally}"


def _letters(key: Key, calendar: Calendar, final: Sequence[StoredWindow]) -> Iterator[str]:
    full, span = _with_records(key[1], final), calendar.span()
    for letter, right, what in ((FINAL, True, "final"), (EMPTY, False, "empty")):
        for first, last in calendar.runs(*span, bytes([letter])) if span else ():
            if wrong := [day for day in days(first, last) if (day in full) is not right]:
                yield f"{key}: {wrong[0]} is called {what}; has it a record? {not right}"


def _with_records(name: str, windows: Iterable[StoredWindow]) -> set[date]:
    """The days that have records: those that these name, or all of a whole period."""
    endpoint = plugins.endpoint(name)
    if endpoint.cut is not WindowKind.DAYS or not endpoint.day_field:
        return {day for each in windows for day in days(each.window.begin, each.window.end)}
    found = {
        day_of(in_record(record, endpoint.day_field))
        for each in windows
        for record in each.records()
    }
    return {day for day in found if day is not None}


def as_wechat_has_it(
    stored: Mapping[Key, Sequence[StoredWindow]],
    windows: Mapping[Key, Iterable[Days]],
    truth: Callable[..., list[dict[str, Any]]],
) -> Iterator[str]:
    """Each record of each window is there, once, as WeChat has it: of a key and some days."""
    for key, each in windows.items():
        held = [record for found in stored.get(key, ()) for record in found.records()]
        found = Counter(map(_sorted, held))
        wanted = Counter(_sorted(record) for days in each for record in truth(key, *days))
        if found - wanted:
            yield f"{key}: doubled or foreign records, as {next(iter(found - wanted))}"
        if wanted - found:
            yield f"{key}: lost records, as {next(iter(wanted - found))}"


def _sorted(record: dict[str, Any]) -> str:
    """The same text for the same record."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()


def sinks_agree(
    stored: Sequence[Mapping[Key, Sequence[StoredWindow]]], windows: Mapping[Key, Iterable[Days]]
) -> Iterator[str]:
    """After a complete run all sinks have the same of what was asked for, fetched together."""
    for key, asked in windows.items():
        days_ = [*asked]
        held = [
            {
                (each.window, each.fetched_at, each.tally)
                for each in one.get(key, ())
                if any(first <= each.window.end and each.window.begin <= last
                       for first, last in days_)
            }
            for one in stored
        ]  # fmt: skip
        for other in held[1:]:
            if apart := held[0] ^ other:
                yield f"{key}: a sink has {min(apart)}, another one has not"


def all_covered(
    calendars: Mapping[Key, Calendar], windows: Mapping[Key, Iterable[Days]]
) -> Iterator[str]:
    """At the end all that was asked for is stored, final or not."""
    for key, asked in windows.items():
        calendar = calendars.get(key, Calendar())
        for window in asked:
            if list(calendar.runs(*window, STORED)) != [window]:
                yield f"{key}: {window} is not stored"
                break


# of figures that come late, and answers that lack what earlier ones had


def in_pieces(
    found: Iterable[tuple[str, Sequence[dict[str, Any]], Endpoint]],
) -> dict[Place, list[str]]:
    """Each record, and each entry of its list apart, by where it is; of some accounts' records."""
    texts: defaultdict[Place, list[str]] = defaultdict(list)
    for appid, records, endpoint in found:
        for place, piece in pieces(endpoint, appid, records):
            texts[place].append(_sorted(piece))
    return {place: sorted(each) for place, each in texts.items()}


def _delivery(place: Place) -> Delivery:
    return delivery(INTERFACES[place.endpoint])


def _letter(calendars: Mapping[Key, Calendar], place: Place) -> int:
    row = calendars.get((place.appid, place.endpoint), Calendar()).years.get(place.day.year)
    return row[place.day.timetuple().tm_yday - 1] if row else 0


def known(
    there: Iterable[Place],
    calendars: Mapping[Key, Calendar],
    stored: Mapping[Key, Sequence[StoredWindow]],
) -> set[Place]:
    """What later answers must not remove: the ledger knows it, too."""
    ahead = {
        (key, day)
        for key, found in stored.items()
        for each in found
        if (window := calendars.get(key, Calendar()).windows.get(each.window.begin))
        and window.tally != each.tally
        for day in days(each.window.begin, each.window.end)
    }
    return {
        place
        for place in there
        if _delivery(place) is not Delivery.UNCERTAIN
        and _letter(calendars, place) in STORED
        and ((place.appid, place.endpoint), place.day) not in ahead
    }


def nothing_gone(before: Iterable[Place], there: Mapping[Place, object]) -> Iterator[str]:
    """What was stored is still there, whatever later answers lack."""
    if gone := [place for place in before if place not in there]:
        yield f"{len(gone)} rows or entries that were stored are gone, as {min(gone, key=str)}"


def none_is_young(
    wanted: Iterable[Place], there: Mapping[Place, object], wall: float
) -> Iterator[str]:
    """A run that was complete lacks no row and no last entry that was due a few days ago."""
    for place in wanted:
        due = due_at(INTERFACES[place.endpoint], place.entry or place.day)
        must = _delivery(place) is Delivery.DAILY
        if place.entry is not None:
            must = place.entry == place.day + (LISTS[place.endpoint][2] - 1) * ONE_DAY
        if must and due <= wall < due + YOUNG * DAY and place not in there:
            yield f"complete, but {place} is not there yet"
            break


def rows_are_final(there: Iterable[Place], calendars: Mapping[Key, Calendar]) -> Iterator[str]:
    """A day that has its row is final, whatever other days of its window lack."""
    for place in there:
        if _delivery(place) is Delivery.DAILY and _letter(calendars, place) != FINAL:
            yield f"{place} is there, and its day is not final"
            break


def all_that_came(
    wanted: Mapping[Place, list[str]],
    there: Mapping[Place, list[str]],
    calendars: Mapping[Key, Calendar],
    lateness: Lateness,
) -> Iterator[str]:
    """All that came while it was asked for is there; a day that lacks more was never delivered."""
    for place, texts in there.items():
        if wanted.get(place) != texts:
            yield f"{place}: {texts} is there, WeChat has {wanted.get(place)}"
            break
    firsts = _first_rows(there)
    for place in wanted.keys() - there.keys():
        letter = _letter(calendars, place)
        if (
            _delivery(place) is Delivery.DAILY
            and letter == EMPTY
            and _is_long_before(place, firsts)
        ):
            continue
        if lateness.is_got(place):
            yield f"{place} is lost: it was there from {lateness.comes(place)} on"
            break
        if _delivery(place) is not Delivery.UNCERTAIN and letter != NEVER:
            yield f"{place} never came, and its day has the letter {chr(letter)}"
            break


def _first_rows(there: Iterable[Place]) -> dict[Key, date]:
    firsts: dict[Key, date] = {}
    for place in there:
        key = place.appid, place.endpoint
        firsts[key] = min(place.day, firsts.get(key, place.day))
    return firsts


def _is_long_before(place: Place, firsts: Mapping[Key, date]) -> bool:
    """Whether it is before the window that is next to the account's first row."""
    first = firsts.get((place.appid, place.endpoint))
    if first is None:
        return True
    yesterday = first - ONE_DAY
    return place.day < grid(INTERFACES[place.endpoint], first).whole(yesterday, yesterday)[0]


def nothing_open(calendars: Mapping[Key, Calendar]) -> Iterator[str]:
    """After the end of all schedules no window waits for anything."""
    for key, calendar in calendars.items():
        for window in filter(lambda each: each.stored, calendar.windows.values()):
            yield f"{key}: {window} is not final"
