"""What a ledger knows of the interfaces of an export: until when they are whole, what is missing.

Rule: reads the ledger alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from harvester.base.dates import ONE_DAY, Days, WindowKind, whole_periods
from harvester.ledger import Ledger
from harvester.ledger.base import account_groups
from harvester.ledger.coverage import FAILED, MISSING, OPEN, WAITING, Calendar
from harvester.model import Find

_STATES = {"missing": MISSING, "waiting": WAITING, "failed": FAILED}
_LACKING = bytes(_STATES.values())
MOST_GAPS = 100
"""Gaps of an interface that are kept one by one."""


class Gap(NamedTuple):
    """Days of an account that were asked for and are not stored; state: why."""

    appid: str
    days: Days
    state: str


@dataclass
class Coverage:
    """What is stored of an interface, over all accounts.

    days: from the first to the last that was asked for.  accounts: of which it was asked for;
    lacking: those of them that lack a day.  complete: up to this day no account lacks one; final:
    up to this day no figure changes any more; each None if that holds for no day.  missing: days
    that accounts lack.  gaps: the first `MOST_GAPS` of ``ranges``.
    """

    days: Days
    accounts: int = 0
    lacking: int = 0
    complete: date | None = date.max
    final: date | None = date.max
    missing: int = 0
    ranges: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def add(self, appid: str, asked: Days, calendar: Calendar, cut: WindowKind) -> None:
        """Take in an account."""
        self.days = min(self.days[0], asked[0]), max(self.days[1], asked[1])
        self.accounts += 1
        whole = whole_periods(asked, cut)
        if whole is None:
            return
        lacks = _LACKING if cut is not WindowKind.RECENT else bytes([WAITING, FAILED])
        self.complete = _earlier(self.complete, _before(whole, calendar, lacks))
        self.final = _earlier(self.final, _before(whole, calendar, lacks + bytes([OPEN])))
        count = calendar.count_in(*whole, lacks)
        self.missing += count
        self.lacking += bool(count)
        if count:
            for gap in _gaps(appid, whole, calendar, lacks):
                self.ranges += 1
                if len(self.gaps) < MOST_GAPS:
                    self.gaps.append(gap)


async def coverage_in(ledger: Ledger, find: Find) -> dict[str, Coverage]:
    """What a ledger, which is entered, knows, by interface; raises `LedgerError`."""
    asked = await ledger.asked()
    appids = sorted({appid for appid, _ in asked})
    names = sorted({name for _, name in asked})
    cuts = {name: made.cut if (made := find(name)) else WindowKind.DAYS for name in names}
    found: dict[str, Coverage] = {}
    for some in account_groups(appids):
        known = await ledger.calendars(some)
        for appid in some:
            for name in names:
                days = asked.get((appid, name))
                if days is not None:
                    calendar = known.get((appid, name)) or Calendar()
                    found.setdefault(name, Coverage(days)).add(appid, days, calendar, cuts[name])
    for each in found.values():  # of an interface without a whole week or month neither is known
        each.complete = None if each.complete == date.max else each.complete
        each.final = None if each.final == date.max else each.final
    return found


def _before(days: Days, calendar: Calendar, letters: bytes) -> date | None:
    """The last day before the first that has one of these letters; None if that is the first."""
    first, _ = next(calendar.runs(*days, letters), (days[1] + ONE_DAY, days[1]))
    return first - ONE_DAY if first > days[0] else None


def _earlier(one: date | None, other: date | None) -> date | None:
    return None if one is None or other is None else min(one, other)


def _gaps(appid: str, days: Days, calendar: Calendar, lacks: bytes) -> list[Gap]:
    found = [
        Gap(appid, run, state)
        for state, letter in _STATES.items()
        if letter in lacks
        for run in calendar.runs(*days, bytes([letter]))
    ]
    return sorted(found, key=lambda gap: gap.days)
