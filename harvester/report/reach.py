"""Until when an interface is complete, and until when its figures are final.

Rule: pure; what is not known counts as not there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, timedelta

from harvester.base.dates import ONE_DAY, Days
from harvester.ledger.coverage import Calendar
from harvester.report.days import Stream

HELD_BACK = 3
"""Accounts that are named as those which lack days."""

_STORED, _FINAL = b"feon-", b"fen-"
"""A day that was never delivered, or that cannot be asked for any more, holds nothing up."""


@dataclass
class Reach:
    """What is there of an interface, of one account or of several.

    first: the first day that was asked for.  complete: the last day up to which no day from the
    first one on is missing; final: the same of figures that no longer change; None if the first
    day is not there.  newest: the newest day that is stored.  lacking: days that are missing, wait
    or failed.  accounts: how many; behind: those of them that lack days.
    """

    first: date
    complete: date | None
    final: date | None
    newest: date | None
    lacking: int = 0
    accounts: int = 1
    behind: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """As an answer has it."""
        found: dict[str, object] = {
            "first_day": str(self.first),
            "complete_until": _text(self.complete),
            "final_until": _text(self.final),
            "newest_day": _text(self.newest),
            "days_lacking": self.lacking,
        }
        if self.accounts > 1:
            found["accounts"] = self.accounts
            found["accounts_lacking_days"] = len(self.behind)
            if self.behind:
                found["some_of_them"] = self.behind[:HELD_BACK]
        return found


def reach_of(stream: Stream, calendar: Calendar, days: Days | None = None) -> Reach | None:
    """The reach of one interface of one account, None if no day of it can be asked for.

    days: only of this range, as far as it was asked for; if none of it was, nothing is there.
    """
    letters, first = bytearray(stream.letters), stream.first
    if not letters:
        return None
    if days is not None:
        begin = min(max((days[0] - first).days, 0), len(letters))
        end = max((days[1] - first).days + 1, begin)
        letters, first = letters[begin:end], first + timedelta(days=begin)
    newest = max(map(letters.rfind, (b"f", b"e", b"o")))
    lacking = len(letters.translate(None, _STORED))
    return Reach(
        first,
        _last_of(letters, _STORED, first),
        _last_of(letters, _FINAL, first),
        first + timedelta(days=newest) if newest >= 0 else None,
        lacking,
        behind=[] if letters and not lacking else [stream.key[0]],
    )


def together(reaches: Collection[Reach]) -> Reach:
    """The reach of several together: as far as the one that is worst off."""
    return Reach(
        min(each.first for each in reaches),
        earliest([each.complete for each in reaches]),
        earliest([each.final for each in reaches]),
        max((each.newest for each in reaches if each.newest), default=None),
        sum(each.lacking for each in reaches),
        sum(each.accounts for each in reaches),
        [appid for each in reaches for appid in each.behind],
    )


def earliest(days: Collection[date | None]) -> date | None:
    """The earliest of some days; None if one of them is not known, or if there is none."""
    known = [day for day in days if day is not None]
    return min(known) if known and len(known) == len(days) else None


def _last_of(letters: bytearray, good: bytes, first: date) -> date | None:
    """The last day of those at the beginning that have one of the good letters."""
    number = len(letters) - len(letters.lstrip(good))
    return first + (number - 1) * ONE_DAY if number else None


def _text(day: date | None) -> str | None:
    return None if day is None else str(day)
