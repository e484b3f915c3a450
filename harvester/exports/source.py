"""The sink that exports are derived from: which months it has, and their records.

Rule: reads only.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date

from harvester.base.dates import Days
from harvester.exports.coverage import Coverage
from harvester.model import Account, Field
from harvester.sinks.base import Checkpoint, Sink
from harvester.sinks.reader import Reader
from harvester.sinks.rows import Table

ROWS = 1 << 14
"""Records of a chunk that have no lists."""
NO_COVERAGE: Mapping[str, Coverage] = {}


class Source(Reader):
    """A sink, as its ledger knows it, and what is known beside its records.

    checkpoint: as of `Reader`.  coverage: what the ledger knew, by interface, before the sink is
    read.  accounts: those whose names are known from elsewhere.
    """

    def __init__(
        self,
        sink: Sink,
        checkpoint: Callable[[], Checkpoint | None],
        coverage: Mapping[str, Coverage] = NO_COVERAGE,
        accounts: Collection[Account] = (),
    ) -> None:
        super().__init__(sink, checkpoint)
        self.coverage = coverage
        self.accounts = accounts


def rows_of(table: Table) -> int:
    """The records of an interface that are in memory together: fewer, the deeper its lists are."""
    return ROWS >> 3 * _depth(table.fields)


def _depth(fields: Sequence[Field]) -> int:
    """How many lists are within each other."""
    return max([(each.type == "list") + _depth(each.fields) for each in fields], default=0)


def days_of(month: str) -> Days:
    """The first and the last day of a month."""
    year, number = map(int, month.split("-"))
    return date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])
