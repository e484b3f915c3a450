"""What was harvested, as a table: `read`.

Rule: reads; gives columns to whoever takes them through the Arrow C stream interface.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from harvester import plugins
from harvester.endpoint import Endpoint
from harvester.errors import UsageError
from harvester.ledger import FILE_NAME, receipt_in
from harvester.model import Account, Window
from harvester.plan import parse_day
from harvester.sinks.base import Documented, Located, Receipt, Sink
from harvester.sinks.columns import Table

_ROWS = 1 << 14  # of a batch
_SIGNS = {"parquet": "*/window_year=*/*.parquet", "jsonl": "*/[0-9]*.jsonl*"}


def read(
    source: str | os.PathLike[str],
    endpoint: str | Endpoint,
    *,
    accounts: str | Account | Iterable[str | Account] | None = None,
    start: date | str | None = None,
    end: date | str | None = None,
) -> StoredRecords:
    """The stored records of an interface, as a table for pandas, Polars, DuckDB and pyarrow.

    source: the directory that a run wrote to, or a sink's spec (``"parquet:DIR"``).  endpoint: a
    name or an `Endpoint`.  accounts: only of these, by their AppID.  start, end: only of these
    days, both included, as of `run`: by the record's own day where the interface names one
    (``ref_date``), else by whether its window has days of the range.

    What a ledger beside the data does not speak of is left out: a run that died may have left it.
    Needs the extra ``parquet`` (pyarrow).  Raises `UsageError` for what cannot be asked for, and
    `SinkError` if what was stored is gone; while it is read, too.
    """
    sink = _sink(source)
    made = plugins.endpoint(endpoint) if isinstance(endpoint, str) else endpoint
    wanted = _Wanted(_appids(accounts), *_days(start, end))
    return StoredRecords(sink, made, wanted, _receipt(sink))


class _Wanted(NamedTuple):
    """Which records are asked for."""

    appids: frozenset[str] | None
    begin: date
    end: date

    def window(self, window: Window) -> bool:
        """Whether a window can hold some."""
        mine = self.appids is None or window.appid in self.appids
        return mine and window.begin <= self.end and self.begin <= window.end

    def document(self, document: Mapping[str, Any]) -> bool:
        """The same of the window of a record."""
        mine = self.appids is None or document["_appid"] in self.appids
        return bool(
            mine
            and document["_begin_date"] <= self.end.isoformat()
            and self.begin.isoformat() <= document["_end_date"]
        )

    @property
    def by_day(self) -> bool:
        """Whether not all days are asked for."""
        return (self.begin, self.end) != (date.min, date.max)


class StoredRecords:
    """StoredRecords records, read anew whenever somebody asks for them.

    It has the Arrow C stream interface: ``polars.DataFrame(stored)``, ``pyarrow.table(stored)``,
    ``duckdb.sql("SELECT … FROM stored")`` take it as it is.
    """

    def __init__(
        self, sink: Sink, endpoint: Endpoint, wanted: _Wanted, receipt: Receipt | None
    ) -> None:
        from harvester.sinks import arrow

        self._arrow = arrow
        self._sink = sink
        self._table = arrow.table_of(endpoint.name, endpoint.fields)
        self._wanted = wanted
        self._receipt = receipt
        self._day = _day_column(self._table, endpoint) if wanted.by_day else ""
        self.schema = arrow.schema_of(self._table)
        """The columns: a `pyarrow.Schema`."""
        batches = getattr(sink, "batches", None)
        if batches is None and not isinstance(sink, Documented):
            raise UsageError(f"{sink.identity} cannot be read back")
        self._batches: Callable[..., Iterator[Any]] = batches or self._of_documents

    def __repr__(self) -> str:
        return f"<StoredRecords {self._table.name} in {self._sink.identity}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __iter__(self) -> Iterator[Any]:
        """One `pyarrow.RecordBatch` after the other."""
        return iter(self.reader())

    def reader(self) -> Any:
        """A `pyarrow.RecordBatchReader`; little is in memory at a time."""
        found = self._batches(self._table, self._wanted.window, self._receipt)
        return self._arrow.reader(self.schema, map(self._of_the_days, found))

    def read_all(self) -> Any:
        """A `pyarrow.Table`."""
        return self.reader().read_all()

    def to_pandas(self, **options: Any) -> Any:
        """A `pandas.DataFrame`, with the options of ``pyarrow.Table.to_pandas``."""
        return self.read_all().to_pandas(**options)

    def _of_the_days(self, batch: Any) -> Any:
        if not self._day:
            return batch
        days = batch.column(self.schema.get_field_index(self._day)).to_pylist()
        begin, end = self._wanted.begin, self._wanted.end
        return self._arrow.only(batch, [day is None or begin <= day <= end for day in days])

    def _of_documents(
        self, table: Table, _: Callable[[Window], bool], receipt: Receipt | None
    ) -> Iterator[Any]:
        assert isinstance(self._sink, Documented)
        found = filter(self._wanted.document, self._sink.documents(table.name, receipt))
        while documents := list(islice(found, _ROWS)):
            yield self._arrow.batch_of(table, self.schema, documents)


def _day_column(table: Table, endpoint: Endpoint) -> str:
    """The column that holds a record's own day; empty if there is none, or it names no day."""
    name = getattr(endpoint, "day_field", "")
    return name if any(field[:2] == (name, "date") for field in table.fields) else ""


def _sink(source: str | os.PathLike[str]) -> Sink:
    """The sink of a spec, or the one that wrote into a directory."""
    if isinstance(source, str) and source.partition(":")[0] in plugins.sink_schemes():
        sink = plugins.sink(source)
        if isinstance(sink, Located) and not sink.directory.is_dir():
            raise UsageError(f"there is no directory {sink.directory}")
        return sink
    directory = Path(source)
    if not directory.is_dir():
        raise UsageError(f"there is no directory {directory}")
    for scheme, sign in _SIGNS.items():
        if (directory / f".{scheme}.lock").exists() or any(directory.glob(sign)):
            return plugins.sink(f"{scheme}:{directory}")
    raise UsageError(f"{directory} holds nothing that was harvested")


def _receipt(sink: Sink) -> Receipt | None:
    """What the ledger beside a sink's data keeps for it; None if there is none."""
    if not isinstance(sink, Located) or not (sink.directory / FILE_NAME).exists():
        return None
    scheme = sink.identity.partition(":")[0]
    return receipt_in(sink.directory / FILE_NAME, f"{scheme}:.") or None


def _appids(given: str | Account | Iterable[str | Account] | None) -> frozenset[str] | None:
    if given is None:
        return None
    listed = [given] if isinstance(given, str | Account) else given
    return frozenset(each.appid if isinstance(each, Account) else each for each in listed)


def _days(start: date | str | None, end: date | str | None) -> tuple[date, date]:
    now = time.time()
    begin = date.min if start is None else parse_day(start, now, "start")
    last = date.max if end is None else parse_day(end, now, "end")
    if begin > last:
        raise UsageError(f"the start {begin} lies after the end {last}; exchange them")
    return begin, last
