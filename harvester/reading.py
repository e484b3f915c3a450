"""What was harvested, as a table: `read`.

Rule: reads only; offers columns through the Arrow C stream interface.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harvester.base.dates import FIRST, Days, parse_day
from harvester.base.secrets import Secret
from harvester.base.threads import wait_for
from harvester.config import plugins
from harvester.errors import UsageError
from harvester.ledger import FILE_NAME, checkpoint_in, ledger_of_file, named_sinks, open_ledger
from harvester.model import Account, Endpoint, metadata
from harvester.sinks.base import (
    Checkpoint,
    Sink,
    name_in,
    spec_of,
)
from harvester.sinks.rows import Table
from harvester.upkeep.scan import guarded_sink
from harvester.wechat.endpoint import in_record

if TYPE_CHECKING:
    from harvester.exports.base import Exported

_ROWS = 1 << 14  # of a batch
_SIGNS = {"jsonl": (".jsonl.lock", "*/[0-9]*.jsonl*")}
_NOT_READ_BACK = ("-", "memory")


def read(
    where: str | os.PathLike[str] | Sink,
    endpoint: str | Endpoint,
    *,
    start: date | str | None = None,
    end: date | str | None = None,
    appids: str | Account | Iterable[str | Account] | None = None,
    ledger: str | os.PathLike[str] | None = None,
) -> StoredRecords:
    """The stored records of an interface, as a table for pandas, Polars, DuckDB and pyarrow.

    where: the directory of a run, which holds its records or at least its ledger; or a sink's
    spec (``"sqlite:FILE"``, ``"postgresql://…"``); or a sink.  endpoint: a name or an `Endpoint`.
    start, end: only of these days, both included, as of `run`: by the record's own day where the
    interface names one (``ref_date``), else by whether its window has days of the range.  appids:
    only of these accounts.  ledger: its file or directory, if it is not beside the records, or the
    URL of a shared one.

    Lines that a killed run wrote and its ledger does not know are left out; without a ledger all
    records are read.  Needs the extra ``export`` (pyarrow), and that of the
    sink.  Raises `UsageError` for wrong arguments, and `SinkError` if stored records are gone or
    cannot be read, also during reading.
    """
    sink, checkpoint = _source(where, ledger)
    made = plugins.endpoint(endpoint) if isinstance(endpoint, str) else endpoint
    days = None if start is None and end is None else _days(start, end)
    checkpoint()  # an error is raised at once
    return StoredRecords(sink, made, _appids(appids), days, checkpoint)


def export(
    source: str | os.PathLike[str] | Sink,
    target: str,
    endpoints: str | Endpoint | Iterable[str | Endpoint] = (),
    *,
    ledger: str | os.PathLike[str] | None = None,
    replace: bool = False,
) -> Exported:
    """Make a target, a table for readers, equal to what is stored.

    source, ledger: as of `read`.  target: ``parquet:DIR``, ``csv:DIR``, ``xlsx:FILE``,
    ``duckdb:FILE``, ``iceberg:DIR`` or ``iceberg:s3://BUCKET/PREFIX``, with ``?shape=nested`` or
    ``flat`` (a table for each list), and for CSV and XLSX ``header=zh`` or ``en`` (titles in place
    of names) and for CSV ``raw=1`` (texts that a spreadsheet takes for a formula are not escaped).
    endpoints: names, groups or interfaces; none means all.  replace: also a target that was made
    from another harvest.

    Returns how many months of interfaces were written, removed and unchanged.  It may be called
    while a run goes on.  Needs the extra ``export``, or that of the target (``xlsx``,
    ``iceberg``).  Raises `UsageError` for wrong arguments, `SinkError` if stored records cannot be
    read, and `ExportError` if the target cannot be written.
    """
    from harvester.exports import export as exported
    from harvester.exports.source import Source
    from harvester.exports.targets import open_target

    one = isinstance(endpoints, str) or hasattr(endpoints, "name")
    given: list[Any] = [endpoints] if one else [*endpoints]  # type: ignore[misc]
    made = {
        each.name: each
        for item in given
        for each in (plugins.endpoints_of(item) if isinstance(item, str) else [item])
    }
    opened = open_target(target)
    sink, checkpoint = _source(source, ledger)
    checkpoint()  # an error is raised at once
    return exported(
        Source(guarded_sink(sink), checkpoint),
        opened,
        [*made],
        lambda name: made.get(name) or plugins.known_endpoint(name),
        replace=replace,
    )


class StoredRecords:
    """Stored records; each use reads what is stored then, also while a run goes on.

    It has the Arrow C stream interface: ``polars.DataFrame(stored)``, ``pyarrow.table(stored)``,
    ``duckdb.sql("SELECT … FROM stored")`` accept it directly.
    """

    def __init__(
        self,
        sink: Sink,
        endpoint: Endpoint,
        appids: frozenset[str] | None,
        days: Days | None,
        checkpoint: Callable[[], Checkpoint | None],
    ) -> None:
        from harvester.exports import arrow
        from harvester.exports.source import Source

        self._arrow = arrow
        self._source = Source(sink, checkpoint)
        self._table = arrow.table_of(endpoint.name, endpoint.fields)
        self._appids = appids
        self._days = days
        self._day = _day_field(self._table, endpoint)
        self.schema = arrow.schema_of(self._table)
        """The columns: a `pyarrow.Schema`."""

    def __repr__(self) -> str:
        return f"<StoredRecords {self._table.name} in {self._source.sink.identity}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __iter__(self) -> Iterator[Any]:
        """One `pyarrow.RecordBatch` after the other."""
        return iter(self.reader())

    def reader(self) -> Any:
        """A `pyarrow.RecordBatchReader`; only a small part is in memory at a time."""
        return self._arrow.reader(self.schema, self._batches())

    def read_all(self) -> Any:
        """A `pyarrow.Table`."""
        return self.reader().read_all()

    def to_pandas(self, **options: Any) -> Any:
        """A `pandas.DataFrame`, with the options of ``pyarrow.Table.to_pandas``."""
        return self.read_all().to_pandas(**options)

    def _batches(self) -> Iterator[Any]:
        found = self._documents()
        while documents := list(islice(found, _ROWS)):
            yield self._arrow.batch_of(self._table, self.schema, documents)

    def _documents(self) -> Iterator[dict[str, Any]]:
        for stored in self._source.windows(self._table.name, self._days, self._appids):
            beside = metadata(stored.window, stored.fetched_at)
            for record in self._source.records(stored):
                if self._is_wanted(record):
                    yield {**record, **beside}

    def _is_wanted(self, record: dict[str, Any]) -> bool:
        """Whether a record belongs to a day of the range; its window has days of it."""
        if self._days is None or not self._day:
            return True
        day = in_record(record, self._day)
        try:
            return self._days[0] <= date.fromisoformat(day) <= self._days[1]
        except (TypeError, ValueError):  # it names none
            return True


def _day_field(table: Table, endpoint: Endpoint) -> str:
    """The field with a record's own day; empty if there is none, or it is not a day."""
    name = getattr(endpoint, "day_field", "")
    column, _, within = name.partition(".")
    kind = "object" if within else "date"
    return name if any(field[:2] == (column, kind) for field in table.fields) else ""


def _source(
    where: str | os.PathLike[str] | Sink, ledger: str | os.PathLike[str] | None
) -> tuple[Sink, Callable[[], Checkpoint | None]]:
    """The sink to read, and what gives the newest checkpoint that its ledger has."""
    if isinstance(ledger, str) and "://" in ledger:
        sink, _ = _sink(where, None)
        url = Secret(ledger)
        return sink, lambda: wait_for(lambda: _checkpoint_in_database(url, sink))
    sink, found = _sink(where, ledger)
    return sink, partial(_checkpoint, sink, found, asked=ledger is not None)


async def _checkpoint_in_database(url: Secret, sink: Sink) -> Checkpoint | None:
    """A shared ledger's entry for a sink."""
    async with open_ledger(url, readonly=True) as ledger:
        return await ledger.checkpoint(name_in(sink, ledger.path)) or None


def _sink(
    where: str | os.PathLike[str] | Sink, ledger: str | os.PathLike[str] | None
) -> tuple[Sink, Path | None]:
    """The sink to read, and the ledger that may know it."""
    given = _ledger_file(Path(ledger)) if ledger is not None else None
    if isinstance(where, str) and (
        where.partition(":")[0] in {*plugins.sink_schemes(), *plugins.EXPORTS} or "://" in where
    ):
        sink = _named(where)
    elif isinstance(where, str | os.PathLike):
        directory = Path(where)
        if kind := _export_at(directory):
            plugins.sink(f"{kind}:{directory}")  # raises the error with how it is read
        if not directory.is_dir():
            raise UsageError(f"there is no directory {directory}")
        given = given or directory / FILE_NAME
        sink = _written_from(directory, given)
    else:
        sink = where
    return sink, given or _ledger_beside(sink)


def _export_at(path: Path) -> str:
    """The kind of the export at a path; empty if there is none."""
    if path.is_file():
        return {".duckdb": "duckdb", ".xlsx": "xlsx"}.get(path.suffix, "")
    if not (path / ".harvester.lock").exists():
        return ""
    if (path / ".harvester.json").exists():
        return "csv"
    return "iceberg" if (path / "catalog.sqlite").exists() else "parquet"


def _named(spec: str) -> Sink:
    """The sink of a spec; raises `UsageError` if its file or directory does not exist."""
    if spec.partition(":")[0] == "memory":
        raise UsageError(f"a new {spec} is empty; pass the sink that was filled")
    sink = plugins.sink(spec)
    place = sink.path
    if place is not None and not place.exists():
        raise UsageError(f"there is no {'file' if sink.is_file else 'directory'} {place}")
    return sink


def _ledger_file(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"there is no ledger {file}")
    return file


def _ledger_beside(sink: Sink) -> Path | None:
    """The default place of a sink's ledger: as `run` or the command keeps it."""
    path = sink.path
    if path is None:
        return None
    if not sink.is_file:
        return path / FILE_NAME
    own = ledger_of_file(path)
    return own if own.exists() else path.parent / FILE_NAME


def _written_from(directory: Path, ledger: Path) -> Sink:
    """The sink in a directory; else the one that the ledger there knows."""
    for scheme, (sign, files) in _SIGNS.items():
        if (directory / sign).exists() or any(directory.glob(files)):
            return plugins.sink(f"{scheme}:{directory}")
    known = [spec_of(name, ledger) for name in named_sinks(ledger) if _can_be_read(name)]
    if not known:
        raise UsageError(f"{directory} holds nothing that was harvested and can be read back")
    if len(known) > 1:
        raise UsageError(
            f"the records of {directory} are in several places ({', '.join(known)}); read"
            f" one of them, with ledger={str(directory)!r}"
        )
    return _named(known[0])


def _can_be_read(name: str) -> bool:
    """Whether a sink's name in a ledger is the spec of one that another process can read."""
    scheme = name.partition(":")[0]
    return scheme in plugins.sink_schemes() and scheme not in _NOT_READ_BACK


def _checkpoint(sink: Sink, ledger: Path | None, *, asked: bool) -> Checkpoint | None:
    """A ledger's entry for a sink; None if no ledger knows it."""
    if ledger is None or not ledger.exists():
        return None
    found = checkpoint_in(ledger, name_in(sink, ledger))
    if asked and found is None:
        known = ", ".join(named_sinks(ledger))
        raise UsageError(f"the ledger {ledger} does not know {sink.identity}; it knows {known}")
    return found


def _appids(given: str | Account | Iterable[str | Account] | None) -> frozenset[str] | None:
    if given is None:
        return None
    listed = [given] if isinstance(given, str | Account) else given
    return frozenset(each.appid if isinstance(each, Account) else each for each in listed)


def _days(start: date | str | None, end: date | str | None) -> Days:
    now = time.time()
    begin = date.min if start in (None, FIRST) else parse_day(start, now, "start")
    last = date.max if end is None else parse_day(end, now, "end")
    if begin > last:
        raise UsageError(f"the start {begin} is after the end {last}; swap them")
    return begin, last
