"""The last year of a few figures, from what is stored: what the curves are drawn from.

Rule: reads a sink, changes nothing.  A day without a record has no figure, never 0.

Readers are people: they do not add up over days or accounts.  Where they are added all the same,
the page says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from harvester.datacube import INTERFACES
from harvester.endpoint import day_of, in_record
from harvester.sinks.base import Checkpoint, Sink, scan_of

DAYS = 371
"""Fifty-three weeks."""


class Series(NamedTuple):
    """A figure of each day: the interface that has it, and the field."""

    name: str
    endpoint: str
    field: str


SERIES = (
    Series("readers", "getbizsummary", "detail.read_user"),
    Series("gained", "getusersummary", "new_user"),
    Series("lost", "getusersummary", "cancel_user"),
    Series("followers", "getusercumulate", "cumulate_user"),
)
Curve = list[int | None]


@dataclass
class Figures:
    """Figures by account and series, a place a day, the last of which is ``last``."""

    last: date
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)

    def of(self, appid: str, series: str) -> Curve:
        """A figure of an account; nothing but None if there is none."""
        return self.curves.get(appid, {}).get(series) or [None] * DAYS

    def weeks(self, series: str) -> Curve:
        """All accounts together by week, oldest first; None for a week without any figure."""
        found: Curve = [None] * (DAYS // 7)
        for curves in self.curves.values():
            for at, value in enumerate(curves.get(series, ())):
                if value is not None:
                    found[at // 7] = (found[at // 7] or 0) + value
        return found

    def latest(self, appid: str, series: str) -> int | None:
        """The last figure that there is."""
        known = (value for value in reversed(self.of(appid, series)) if value is not None)
        return next(known, None)


def figures(
    sink: Sink, checkpoint: Checkpoint | None, last: date, endpoints: Collection[str]
) -> Figures:
    """The figures up to a day, of those of these interfaces that have some.

    checkpoint: what the ledger has stored for the sink.  Raises `SinkError`, and `UsageError` if
    the sink cannot be opened here.
    """
    scan = scan_of(sink)
    assert scan is not None, "the sink cannot be read back"
    found: defaultdict[str, dict[str, Curve]] = defaultdict(dict)
    first = last - timedelta(days=DAYS - 1)
    for name in sorted({each.endpoint for each in SERIES} & {*endpoints}):
        wanted = [each for each in SERIES if each.endpoint == name]
        day_field = INTERFACES[name].day_field
        for stored in scan(name, None, checkpoint):
            if stored.window.end < first or stored.window.begin > last:
                continue
            curves = found[stored.window.appid]
            for record in stored.records():
                day = day_of(in_record(record, day_field))
                if day is not None and first <= day <= last:
                    _add(curves, wanted, (day - first).days, record)
    return Figures(last, dict(found))


def _add(curves: dict[str, Curve], wanted: list[Series], at: int, record: object) -> None:
    for each in wanted:
        value = in_record(record, each.field)
        if isinstance(value, int):
            curve = curves.setdefault(each.name, [None] * DAYS)
            curve[at] = (curve[at] or 0) + value
