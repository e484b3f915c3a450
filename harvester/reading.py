"""What was harvested, as a table: `read`.

Rule: reads; gives columns to whoever takes them through the Arrow C stream interface.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from harvester import plugins
from harvester.endpoint import Endpoint, in_record
from harvester.errors import UsageError
from harvester.ledger import FILE_NAME, ledger_of_file, named_sinks, receipt_in
from harvester.model import Account
from harvester.plan import parse_day
from harvester.sinks.base import Documented, Located, Receipt, Sink, Wanted, file_of
from harvester.sinks.columns import Table
from harvester.sinks.memory import MemorySink

_ROWS = 1 << 14  # of a batch
_SIGNS = {"parquet": "*/window_year=*/*.parquet", "jsonl": "*/[0-9]*.jsonl*"}
_KEEP_NOTHING = ("-", "memory")


def read(
    where: str | os.PathLike[str] | Sink,
    endpoint: str | Endpoint,
    *,
    appids: str | Account | Iterable[str | Account] | None = None,
    start: date | str | None = None,
    end: date | str | None = None,
    ledger: str | os.PathLike[str] | None = None,
) -> StoredRecords:
    """The stored records of an interface, as a table for pandas, Polars, DuckDB and pyarrow.

    where: the directory of a run, in which its records or at least its ledger lie; or a sink's
    spec (``"parquet:DIR"``, ``"postgresql://…"``); or a sink.  endpoint: a name or an `Endpoint`.
    appids: only of these accounts.  start, end: only of these days, both included, as of
    `run`: by the record's own day where the interface names one (``ref_date``), else by whether its
    window has days of the range.  ledger: where it lies, if not beside the records (or its
    directory).

    What the ledger does not speak of is left out: a run that died may have left it.  Without a
    ledger all that stands there is read.  Needs the extra ``parquet`` (pyarrow), and that of the
    sink.  Raises `UsageError` for what cannot be asked for, and `SinkError` if what was stored is
    gone or cannot be read; while it is read, too.
    """
    sink, found = _sink(where, ledger)
    made = plugins.endpoint(endpoint) if isinstance(endpoint, str) else endpoint
    wanted = Wanted(_appids(appids), *_days(start, end))
    return StoredRecords(sink, made, wanted, _receipt(sink, found, asked=ledger is not None))


class StoredRecords:
    """Stored records, read anew whenever somebody asks for them.

    It has the Arrow C stream interface: ``polars.DataFrame(stored)``, ``pyarrow.table(stored)``,
    ``duckdb.sql("SELECT … FROM stored")`` take it as it is.
    """

    def __init__(
        self, sink: Sink, endpoint: Endpoint, wanted: Wanted, receipt: Receipt | None
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
        found = self._batches(self._table, self._receipt, self._wanted)
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
        name, _, within = self._day.partition(".")
        days = batch.column(self.schema.get_field_index(name)).to_pylist()
        if within:
            days = [in_record(value, within) for value in days]
        begin, end = self._wanted.begin, self._wanted.end
        return self._arrow.only(batch, [day is None or begin <= day <= end for day in days])

    def _of_documents(self, table: Table, receipt: Receipt | None, wanted: Wanted) -> Iterator[Any]:
        assert isinstance(self._sink, Documented)
        found = self._sink.documents(table.name, receipt, wanted)
        if wanted.narrow:
            found = filter(wanted.document, found)
        while documents := list(islice(found, _ROWS)):
            yield self._arrow.batch_of(table, self.schema, documents)


def _day_column(table: Table, endpoint: Endpoint) -> str:
    """The column that holds a record's own day; empty if there is none, or it names no day."""
    name = getattr(endpoint, "day_field", "")
    column, _, within = name.partition(".")
    kind = "object" if within else "date"
    return name if any(field[:2] == (column, kind) for field in table.fields) else ""


def _sink(
    source: str | os.PathLike[str] | Sink, ledger: str | os.PathLike[str] | None
) -> tuple[Sink, Path | None]:
    """The sink that is meant, and the ledger that may speak of it."""
    given = _ledger_file(Path(ledger)) if ledger is not None else None
    if isinstance(source, str) and (
        source.partition(":")[0] in plugins.sink_schemes() or "://" in source
    ):
        sink = _named(source)
    elif isinstance(source, str | os.PathLike):
        directory = Path(source)
        if not directory.is_dir():
            raise UsageError(f"there is no directory {directory}")
        given = given or directory / FILE_NAME
        sink = _written_from(directory, given)
    else:
        sink = source
    return sink, given or _ledger_beside(sink)


def _named(spec: str) -> Sink:
    """The sink of a spec, which must be there if that can be told."""
    sink = plugins.sink(spec)
    if isinstance(sink, MemorySink):
        raise UsageError(f"a new {spec} is empty; hand in the sink that was filled")
    place = _place(sink)
    if place is not None and not place.exists():
        raise UsageError(
            f"there is no {'directory' if isinstance(sink, Located) else 'file'} {place}"
        )
    return sink


def _place(sink: Sink) -> Path | None:
    """The directory or file that a sink is, if it is one."""
    return sink.directory if isinstance(sink, Located) else file_of(sink)


def _ledger_file(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"there is no ledger {file}")
    return file


def _ledger_beside(sink: Sink) -> Path | None:
    """Where the ledger of a sink lies that nobody has named: as `run` or the command keeps it."""
    if isinstance(sink, Located):
        return sink.directory / FILE_NAME
    file = file_of(sink)
    if file is None:
        return None
    own = ledger_of_file(file)
    return own if own.exists() else file.parent / FILE_NAME


def _written_from(directory: Path, ledger: Path) -> Sink:
    """The sink that lies in a directory; else the one that the ledger there speaks of."""
    for scheme, sign in _SIGNS.items():
        if (directory / f".{scheme}.lock").exists() or any(directory.glob(sign)):
            return plugins.sink(f"{scheme}:{directory}")
    known = [_spec_of(name, ledger) for name in named_sinks(ledger) if _can_be_read(name)]
    if not known:
        raise UsageError(f"{directory} holds nothing that was harvested")
    if len(known) > 1:
        raise UsageError(
            f"what was harvested from {directory} lies in several places ({', '.join(known)}); read"
            f" one of them, with ledger={str(directory)!r}"
        )
    return _named(known[0])


def _can_be_read(name: str) -> bool:
    """Whether a sink's name in a ledger is the spec of one that keeps something."""
    scheme = name.partition(":")[0]
    return scheme in plugins.sink_schemes() and scheme not in _KEEP_NOTHING


def _spec_of(name: str, ledger: Path) -> str:
    """A sink's spec from its name in a ledger."""
    scheme, _, place = name.partition(":")
    return f"{scheme}:{ledger.parent}" if place == "." else name


def _receipt(sink: Sink, ledger: Path | None, *, asked: bool) -> Receipt | None:
    """What a ledger keeps for a sink; None if there is none that knows it."""
    if ledger is None or not ledger.exists():
        return None
    name = sink.identity
    if isinstance(sink, Located) and sink.directory.resolve() == ledger.parent.resolve():
        name = f"{name.partition(':')[0]}:."
    receipt = receipt_in(ledger, name)
    if asked and not receipt:
        known = ", ".join(named_sinks(ledger))
        raise UsageError(f"the ledger {ledger} does not know {sink.identity}; it knows {known}")
    return receipt or None


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
