"""Tables whose rows are in no sink, each one part: the accounts, and what is there of each.

Rule: pure.  Names are in the configuration, not in what is stored: an export that is given accounts
writes their table, and one that is given none leaves it as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from harvester.base.dates import Days, without
from harvester.exports import arrow
from harvester.exports.arrow import pa
from harvester.exports.base import WHOLE, Chunk
from harvester.exports.coverage import Row
from harvester.exports.shapes import table_shape, with_label
from harvester.exports.source import Source
from harvester.ledger.reach import STATES
from harvester.model import Account, Code, Field
from harvester.sinks.base import Stamp
from harvester.tables import ACCOUNT, ACCOUNTS, COVERED, Column, JoinedTable
from harvester.wechat.titles import Title, field_title


class ListedShape:
    """A table of these rows: the appid, and the columns of the table; an empty text is null."""

    interfaces: Sequence[str] = ()
    day_fields: Mapping[str, str] = {}

    def __init__(
        self, table: JoinedTable, rows: Sequence[tuple[Any, ...]], language: str = "en"
    ) -> None:
        self.name, self.rows, self._language = table.name, rows, language
        self._fields = table.fields
        batch = self._batch(())
        columns = {column.name: column for column in table.columns}
        self.tables = [table_shape(self.name, batch.schema, columns)]

    def stamps(self, _: Mapping[str, Mapping[str, Stamp]]) -> dict[str, str]:
        return {WHOLE: blake2b(repr(self.rows).encode(), digest_size=16).hexdigest()}

    def chunks(self, _: Source, __: str) -> Iterator[Chunk]:
        yield {self.name: self.batch()}

    def batch(self) -> Any:
        """A `pyarrow.RecordBatch` of its rows."""
        return self._batch(self.rows).cast(self.tables[0].schema)

    def _batch(self, rows: Sequence[tuple[Any, ...]]) -> Any:
        schema = arrow.schema_of(arrow.table_of(self.name, self._fields))
        named = [("_appid", None), *[(field.name, field) for field in self._fields]]
        columns = [*zip(*rows, strict=True)] or [()] * len(named)
        found: dict[str, Any] = {}
        for (name, field), values in zip(named, columns, strict=True):
            known = [None if value == "" else value for value in values]
            column = pa.array(known, schema.field(name).type)
            found |= dict(with_label(name, column, field, self._language))
        return pa.record_batch(found)


class AccountsShape(ListedShape):
    """The table of these accounts."""

    def __init__(self, accounts: Collection[Account]) -> None:
        listed = sorted({each.appid: each for each in accounts}.items())
        super().__init__(ACCOUNTS, [(appid, each.name, each.group) for appid, each in listed])


def _column(name: str, kind: str, meaning: str, codes: tuple[Code, ...] = ()) -> Column:
    return Column(name, Field(name, kind, meaning, label=field_title(name, "zh"), codes=codes))


COVERAGE = JoinedTable(
    COVERED,
    Title("覆盖情况", "Coverage"),
    ("interface", "first_day"),
    (
        ACCOUNT,
        _column("interface", "str", "name of the interface"),
        _column("first_day", "date", "the first of consecutive days with the same state"),
        _column("last_day", "date", "the last of these days"),
        _column("days", "int", "the number of these days"),
        _column(
            "state",
            "str",
            "the state of these days in the ledger",
            tuple(Code(state.name, state.zh, state.en) for state in STATES),
        ),
    ),
    (),
)
"""What is there of each interface of each account, with one row per run of days of one state."""
WIDTH = 1 + len(COVERAGE.columns)
"""Its columns, without the label of the state, which is the last one."""
_HELD = frozenset(state.name for state in STATES if state.held)


class CoverageShape(ListedShape):
    """The table ``coverage`` of an export; rows: as of `Coverage.rows`.

    most: of more rows than that, the accounts are together: a row for each state of an interface.
    """

    def __init__(self, rows: Sequence[Row], language: str, most: int | None = None) -> None:
        too_many = most is not None and len(rows) > most
        super().__init__(COVERAGE, _together(rows) if too_many else rows, language)

    def without_lost(self, former: Sequence[Row]) -> list[Row]:
        """The rows that a target has, less the days whose records are about to be removed."""
        now = _held(self.rows)
        kept = []
        for row in former:
            appid, account, interface, first, last, _, state = row
            if state not in _HELD:
                kept.append(row)
                continue
            lost = without([(first, last)], now.get((appid, interface), []))
            kept += [
                (appid, account, interface, *days, (days[1] - days[0]).days + 1, state)
                for days in without([(first, last)], lost)
            ]
        return kept


def _together(rows: Iterable[Row]) -> list[Row]:
    """All accounts together: from the first to the last day of a state, and how many days."""
    found: dict[tuple[Any, Any], tuple[Any, Any, int]] = {}
    for _, _, interface, first, last, days, state in rows:
        begin, end, number = found.get((interface, state), (first, last, 0))
        found[interface, state] = min(begin, first), max(end, last), number + days
    return [("", "", name, *found[name, state], state) for name, state in sorted(found)]


def _held(rows: Iterable[Row]) -> dict[tuple[str, str], list[Days]]:
    found: defaultdict[tuple[str, str], list[Days]] = defaultdict(list)
    for appid, _, interface, first, last, _, state in rows:
        if state in _HELD:
            found[appid, interface].append((first, last))
    return found
