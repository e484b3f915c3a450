"""What a ledger knows of the interfaces of an export: until when they are whole, what is missing.

Rule: reads the ledger alone.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from harvester.base.dates import Days
from harvester.ledger import Ledger
from harvester.ledger.coverage import FAILED, MISSING, WAITING
from harvester.ledger.reach import LATE, Reach, Together, reaches
from harvester.model import Find

_STATES = {"missing": MISSING, "waiting": WAITING, "failed": FAILED, "late": LATE}
MOST_GAPS = 100
"""Gaps of an interface that are kept one by one."""


class Gap(NamedTuple):
    """Days of an account that were asked for and are not there; state: why."""

    appid: str
    days: Days
    state: str


class Coverage(NamedTuple):
    """What is stored of an interface, over all accounts.

    accounts: of which it was asked for; lacking: those of them that lack a day.  complete: up to
    this day no account lacks one; final: up to this day no figure changes any more; each None if
    that holds for no day.  missing: days that accounts lack.  ranges: of days that they lack; gaps:
    the first `MOST_GAPS` of them.
    """

    accounts: int
    lacking: int
    complete: date | None
    final: date | None
    missing: int
    ranges: int
    gaps: list[Gap]


@dataclass
class Covered:
    """What is stored of an interface, an account after the other."""

    together: Together = field(default_factory=Together)
    ranges: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def add(self, appid: str, reach: Reach) -> None:
        """One more account; one without a whole week or month lacks none."""
        if reach.letters:
            self.together.add(appid, reach)
        if reach.lacking:
            found = [
                Gap(appid, run, state)
                for state, letter in _STATES.items()
                for run in reach.runs(letter)
            ]
            self.ranges += len(found)
            self.gaps += sorted(found, key=lambda gap: gap.days)[: MOST_GAPS - len(self.gaps)]

    def all(self) -> Coverage:
        """What is stored of all of them."""
        whole = self.together
        return Coverage(
            len(whole.accounts), len(whole.behind), whole.complete, whole.final, whole.lacking,
            self.ranges, self.gaps,
        )  # fmt: skip


async def coverage_in(
    ledger: Ledger, find: Find, days: Days | None = None, only: Collection[str] | None = None
) -> dict[str, Coverage]:
    """What a ledger, which is entered, knows, by interface; raises `LedgerError`.

    days, only: of these days and accounts; None: of all.
    """
    asked, appids = await ledger.asked(), await ledger.accounts()
    if only is not None:
        appids = [appid for appid in appids if appid in only]
    found: dict[str, Covered] = {}
    async for account in reaches(ledger, asked, appids, find, time.time()):
        for each in account:
            appid, name = each.key
            reach = each.reach if days is None else each.reach.within(days)
            found.setdefault(name, Covered()).add(appid, reach)
    return {name: each.all() for name, each in found.items()}
