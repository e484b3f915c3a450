"""Compares the records in a sink with the ledger.

Rule: reads a ledger and a sink, and changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from harvester.errors import SinkAwayError, SinkError, UsageError
from harvester.ledger import Ledger
from harvester.ledger.base import Key, account_groups
from harvester.ledger.coverage import DONE, Calendar
from harvester.model import Tally, Window, many
from harvester.sinks.base import Checkpoint, Sink, StoredWindow, within
from harvester.sinks.scan import endpoints_in, is_bare, scanned
from harvester.texts import say

TURNS = 5
"""How often a sink is read at most while a run writes it."""


class Difference(NamedTuple):
    """A difference between sink and ledger; stranger: an account that the ledger does not know."""

    where: str
    what: str
    stranger: str = ""


@dataclass(slots=True)
class Verified:
    """The result for a sink.

    where: its spec.  unread: why it could not be opened here.  broken: it could not be read to its
    end.  bare: it differs, and has no records.  unknown: windows that a run wrote and did not
    commit.  counted: windows of which only the records are counted (`copied`).
    """

    where: str
    unread: str = ""
    broken: bool = False
    bare: bool = False
    records: int = 0
    unknown: int = 0
    counted: int = 0
    differences: list[Difference] = field(default_factory=list)


async def verify(ledger: Ledger, name: str, sink: Sink, copied: str) -> Verified:
    """Compare each final year and each open window of a sink that can be scanned."""
    for _ in range(TURNS):
        checkpoint = await ledger.checkpoint(name)
        found = await _verify(ledger, checkpoint, sink, copied)
        if not found.differences or await ledger.checkpoint(name) == checkpoint:
            break  # else a run has committed in the meantime
    if found.differences:
        with suppress(SinkAwayError, UsageError):
            found.bare = await is_bare(sink)
    return found


async def _verify(ledger: Ledger, checkpoint: Checkpoint, sink: Sink, copied: str) -> Verified:
    found = Verified(sink.identity)
    try:
        endpoints = await endpoints_in(sink, checkpoint)
        appids, asked = await ledger.accounts(), await ledger.asked()
        for some in [*account_groups(appids)] or [()]:
            # if all are read at once, accounts that the ledger does not know are found, too
            wanted = None if len(some) == len(appids) else some
            calendars = await ledger.calendars(some)
            compared = _Compared(found, calendars, asked, copied, {*appids})
            for endpoint in endpoints:
                async for group in scanned(sink, endpoint, wanted, checkpoint=checkpoint):
                    for each, _ in group:
                        compared.add(each)
            compared.finish()
    except (UsageError, SinkAwayError) as exc:
        found.unread = str(exc)
    except SinkError as exc:
        if isinstance(exc.__cause__, OSError):  # it is unknown what is stored there
            found.unread = str(exc)
            return found
        found.broken = True
        found.differences.append(Difference(found.where, str(exc)))
    return found


class _Compared:
    """Compare a sink with some accounts' calendars; adds to the result."""

    def __init__(
        self,
        found: Verified,
        calendars: Mapping[Key, Calendar],
        asked: Collection[Key],
        copied: str,
        accounts: Collection[str],
    ) -> None:
        self._found = found
        self._accounts = accounts
        self._calendars = calendars
        self._asked = asked
        self._copied = copied
        self._sums: defaultdict[tuple[str, str, int], Tally] = defaultdict(Tally)
        self._counted: set[tuple[str, str, int]] = set()
        self._open: set[tuple[str, str, date]] = set()
        self._unknown: defaultdict[Key, list[Window]] = defaultdict(list)

    def add(self, stored: StoredWindow) -> None:
        found, (appid, endpoint, begin, end) = self._found, stored.window
        found.records += stored.tally.records
        calendar = self._calendars.get((appid, endpoint))
        if calendar is None and (appid, endpoint) in self._asked:
            found.unknown += 1  # the first write of a run that was killed
            return
        if calendar is None:
            text = say("{} not in the ledger", many(stored.tally.records, "record"))
            stranger = "" if appid in self._accounts else appid
            found.differences.append(Difference(str(stored.window), text, stranger))
            return
        is_counted = stored.fetched_at <= self._copied
        found.counted += is_counted
        known = calendar.windows.get(begin)
        if known is not None and known.stored and known.end == end:
            if (appid, endpoint, begin) in self._open:
                found.differences.append(Difference(str(stored.window), say("it is stored twice")))
                return
            self._open.add((appid, endpoint, begin))
            if stored.fetched_at > known.fetched_at > "":
                found.unknown += 1
            else:
                self._compare(str(stored.window), stored.tally, known.tally, is_counted)
        elif list(calendar.runs(begin, end, DONE)) == [(begin, end)]:
            place = (appid, endpoint, begin.year)
            self._sums[place] = self._sums[place].plus(stored.tally)
            if is_counted:
                self._counted.add(place)
        else:
            found.unknown += 1
            self._unknown[appid, endpoint].append(stored.window)

    def finish(self) -> None:
        for (appid, endpoint), calendar in self._calendars.items():
            for year, tally in sorted(calendar.sums.items()):
                if tally is not None:
                    place = (appid, endpoint, year)
                    here, is_counted = self._sums[place], place in self._counted
                    self._compare(f"{appid} {endpoint} {year}", here, tally, is_counted)
            for begin, window in sorted(calendar.windows.items()):
                if window.stored and (appid, endpoint, begin) not in self._open:
                    replacing = self._unknown[appid, endpoint]  # a killed run has written them
                    if any(within(each, window.days) for each in replacing):
                        continue
                    where = str(Window(appid, endpoint, *window.days))
                    self._compare(where, Tally(), window.tally)

    def _compare(self, where: str, here: Tally, known: Tally, is_counted: bool = False) -> None:
        if here.records != known.records:
            one = here.records == 1
            text = say(
                "{} is stored, {:,} were fetched" if one else "{} are stored, {:,} were fetched",
                many(here.records, "record"),
                known.records,
            )
        elif here != known and not is_counted:
            text = say("the number of records is right, but they differ from what was fetched")
        else:
            return
        self._found.differences.append(Difference(where, text))
