"""The records of a database's table, read back as they came.

Rule: reads; what no harvester wrote is no record, and what a ledger has not heard of is left out.

A window that was written anew, and whose commit the ledger has not heard of (the process died in
between), stands in the place of one that it has heard of: it is given as it stands.  A window that
came newly with such a commit is left out.  So is what other ledgers wrote, if one's own is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from harvester.codec import parse
from harvester.endpoint import Field
from harvester.errors import SinkError
from harvester.sinks.base import Receipt, Wanted
from harvester.sinks.columns import EXTRA, record_of
from harvester.sinks.driver import ADVICE, Driver
from harvester.sinks.layout import Columns, Dialect, quoted
from harvester.sinks.progress import COMMIT, LEDGER, Progress

Document = dict[str, Any]
_IN_JSON = ("object", "list", "json")
_AT_ONCE = 200
"""So many accounts can be named in a statement; more are picked from what comes."""


def documents_of(
    driver: Driver, endpoint: str, receipt: Receipt | None, wanted: Wanted
) -> Iterator[Document]:
    """Each record of an interface; as `Documented.documents`, by a driver that is connected."""
    progress = Progress(driver)
    if receipt is None and not driver.columns("_harvester"):
        raise SinkError(f"{driver.where} holds nothing that was harvested")
    progress.check(receipt or {})
    there = driver.columns(endpoint)
    records = dict(progress.records()).get(endpoint, 0)
    if records and not (there and driver.query(f"SELECT 1 FROM {quoted(endpoint)} LIMIT 1")):
        raise SinkError(f"the table {endpoint} of {driver.where} is gone or empty; {ADVICE}")
    if records:
        known = {driver.dialect.same(name) for name in there}
        fields = [
            field for field in progress.fields(endpoint) if driver.dialect.same(field.name) in known
        ]
        columns = Columns(fields, driver.dialect)
        conditions, values = _conditions(driver.dialect, endpoint, receipt, wanted)
        rows = driver.scan(
            f"SELECT {columns.selected} FROM {quoted(endpoint)} AS _rows WHERE {conditions}", values
        )
        for row in rows:
            yield document_of(columns.fields, columns.revived(row))


def document_of(columns: Sequence[Field], row: Sequence[Any]) -> Document:
    """A record from a row that was read: days as text, JSON as what it stands for."""
    values = [
        _came(field, value) if value is not None else None
        for field, value in zip(columns, row, strict=True)
    ]
    extra = [
        value for field, value in zip(columns, values, strict=True) if field.name == EXTRA.name
    ]
    return record_of(columns, values, extra[0] or {})


def _came(field: Field, value: Any) -> Any:
    if field.type in _IN_JSON:
        return parse(value.encode()) if isinstance(value, str) else value
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else value


def _conditions(
    dialect: Dialect, endpoint: str, receipt: Receipt | None, wanted: Wanted
) -> tuple[str, list[Any]]:
    """Which rows: those of windows that stand, that the ledger speaks of, and that are wanted."""
    mark = dialect.mark
    of_a_window = (
        "EXISTS (SELECT 1 FROM _harvester_windows AS _window"
        f" WHERE _window.endpoint = {mark} AND _window.appid = _rows._appid"
        " AND _window.begin_date = _rows._begin_date AND _window.end_date = _rows._end_date"
    )
    values: list[Any] = [endpoint]
    if receipt is not None:
        of_a_window += (
            f" AND (_window.ledgers LIKE {mark} OR _window.former_records > 0"
            f" AND _window.ledgers LIKE {mark} OR _window.ledgers LIKE {mark}"
            f" AND _window.number BETWEEN 0 AND {mark})"
        )
        mine = receipt.get(LEDGER) or "-"
        values += [f"% {mine}%", f"{mine}%", f"{mine}%", int(receipt.get(COMMIT, 0))]
    conditions = [f"{of_a_window})"]
    if wanted.by_day:
        form = dialect.forms.get("date") or (lambda day: day)
        conditions.append(f"_begin_date <= {mark} AND _end_date >= {mark}")
        values += [form(wanted.end), form(wanted.begin)]
    if wanted.appids is not None and 0 < len(wanted.appids) <= _AT_ONCE:
        conditions.append(f"_appid IN ({dialect.marks(len(wanted.appids))})")
        values += sorted(wanted.appids)
    return " AND ".join(conditions), values
