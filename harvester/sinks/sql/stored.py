"""What a database holds of an interface, as windows and as stamps.

Rule: functions of a `Driver` that only read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any

from harvester.base.codec import line_end
from harvester.base.dates import Days
from harvester.errors import SinkError
from harvester.model import Tally, Window, metadata
from harvester.sinks.base import Stamp, StoredWindow
from harvester.sinks.rows import Row
from harvester.sinks.sql.driver import Driver, before, overlaps
from harvester.sinks.sql.schema import ROW_BITS, Dialect, Reader, day_of, fields_of, moment_of
from harvester.tables import KEY

_PRIME = 2**31 - 1
"""Squares are summed by their remainders: the sum of 4 billion rows fits into 64 bits."""


def has_rows(driver: Driver, table: str) -> bool:
    """Whether a table is there and has a row."""
    name = driver.dialect.quoted(table)
    return bool(driver.columns(table) and driver.query(f"SELECT 1 FROM {name} LIMIT 1"))


def windows(
    driver: Driver, endpoint: str, table: Reader, appids: Sequence[str], days: Days | None
) -> Generator[StoredWindow, None, None]:
    """The windows of these accounts, or of all, that have days of a range, or all."""
    dialect = driver.dialect
    conditions = [f"_appid IN ({dialect.marks(len(appids))})"] if appids else []
    values: list[Any] = [*appids]
    if days is not None:
        sql = f"SELECT longest FROM _harvester_interface WHERE name = {dialect.mark}"
        [(longest,)] = driver.query(sql, [endpoint])
        conditions.append(overlaps(dialect.mark))
        first, last = days
        values += map(str, (last, first, before(first, longest)))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = (
        f"SELECT {dialect.selected(table.columns)} FROM {dialect.quoted(endpoint)}{where}"
        f" ORDER BY {', '.join(KEY)}"
    )
    with closing(driver.scan(sql, values)) as rows:
        for (appid, begin, end), group in groupby(map(table.revived, rows), table.window):
            try:
                window = Window(appid, endpoint, day_of(begin), day_of(end))
            except ValueError:
                raise SinkError(
                    "the table {} of {} has a row, for {!r} to {!r}, that no harvest wrote;"
                    " remove this row",
                    endpoint,
                    driver.where,
                    begin,
                    end,
                ) from None
            yield _stored(table, window, [*group])


def _stored(table: Reader, window: Window, rows: Sequence[Row]) -> StoredWindow:
    fetched_at = moment_of(table.fetched_at(rows[0]))
    beside = line_end(metadata(window, fetched_at))
    checksum, whole = table.checksum(rows)
    tally = Tally.of(len(rows), checksum, beside)
    return StoredWindow(window, tally, fetched_at, lambda: [*map(table.record, rows)], whole)


def types_of(layouts: Iterable[str], dialect: Dialect) -> dict[str, str]:
    """The types with which the columns of a table were written."""
    return {dialect.same(field.name): field.type for each in layouts for field in fields_of(each)}


def stamps_of(driver: Driver, endpoint: str) -> dict[str, Stamp]:
    """The stamp of each month with records.

    Its sums add the checksums of rows, which cover the account, the window, the position in it and
    the time, and their squares, which detect figures that are swapped between rows.
    """
    found: dict[str, Stamp] = {}
    own, dialect = f"(_checksum & {ROW_BITS})", driver.dialect
    rows = driver.query(
        f"SELECT _begin_date, count(*), sum({own}),"
        f" sum({own} * {own} {dialect.percent} {_PRIME}), max(_fetched_at)"
        f" FROM {dialect.quoted(endpoint)} GROUP BY _begin_date"
    )
    for begin, number, plain, squares, latest in rows:
        month = str(day_of(begin))[:7]
        former, sums = found.get(month, Stamp()), (int(plain or 0), int(squares or 0))
        found[month] = Stamp(
            former.rows + number,
            (former.sums[0] + sums[0], former.sums[1] + sums[1]),
            max(former.latest, moment_of(latest)),
        )
    return found
