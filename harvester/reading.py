"""What was harvested: `read` gives tables, `rows` dicts.

Rule: reads only; offers columns through the Arrow C stream interface.
"""

from __future__ import annotations

import os
import time
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from copy import copy
from datetime import date
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from harvester.base.dates import FIRST, Days, parse_day
from harvester.base.secrets import Secret
from harvester.base.threads import wait_for
from harvester.config import plugins
from harvester.config.place import as_known, ledger_beside, sink_named, unnamed
from harvester.config.settings import check
from harvester.errors import UsageError
from harvester.ledger import (
    FILE_NAME,
    Ledger,
    SqliteLedger,
    checkpoint_in,
    named_sinks,
    open_ledger,
)
from harvester.ledger.base import check_known
from harvester.model import Account, Endpoint, Find
from harvester.sinks.base import (
    Checkpoint,
    Sink,
    name_in,
    spec_of,
)
from harvester.sinks.rows import Table
from harvester.tables import COVERED, TABLES, JoinedTable
from harvester.texts import say

if TYPE_CHECKING:
    from harvester.exports.base import Exported
    from harvester.exports.coverage import Coverage
    from harvester.exports.shapes import Shape
    from harvester.exports.source import Limits, Records, Source

_NOT_READ_BACK = ("-", "memory")
_SQLITE = b"SQLite format 3\0"

Where = str | os.PathLike[str] | Sink
"""A directory, a file or a spec, as it was given to `run`; or a sink."""

Group = Literal[
    "all", "articles", "interface", "messages", "minigame", "miniprogram", "publisher", "users"
]
"""The groups of the built-in interfaces."""

Shapes = Literal["nested", "flat"]


@overload
def read(  # type: ignore[overload-overlap]  # a group is a string, too
    where: Where,
    endpoint: Group,
    *,
    start: date | str | None = ...,
    end: date | str | None = ...,
    appids: str | Account | Iterable[str | Account] | None = ...,
    ledger: str | os.PathLike[str] | None = ...,
    shape: Shapes = ...,
) -> StoredTables: ...
@overload
def read(  # type: ignore[overload-overlap]  # a string is an iterable of strings
    where: Where,
    endpoint: str | Endpoint,
    *,
    start: date | str | None = ...,
    end: date | str | None = ...,
    appids: str | Account | Iterable[str | Account] | None = ...,
    ledger: str | os.PathLike[str] | None = ...,
    shape: Literal["nested"] = ...,
) -> StoredRecords: ...
@overload
def read(
    where: Where,
    endpoint: str | Endpoint | Iterable[str | Endpoint],
    *,
    start: date | str | None = ...,
    end: date | str | None = ...,
    appids: str | Account | Iterable[str | Account] | None = ...,
    ledger: str | os.PathLike[str] | None = ...,
    shape: Shapes = ...,
) -> StoredTables: ...
def read(
    where: Where,
    endpoint: str | Endpoint | Iterable[str | Endpoint],
    *,
    start: date | str | None = None,
    end: date | str | None = None,
    appids: str | Account | Iterable[str | Account] | None = None,
    ledger: str | os.PathLike[str] | None = None,
    shape: Shapes = "nested",
) -> StoredRecords | StoredTables:
    """Read the harvested records as tables for pandas, Polars, DuckDB and pyarrow.

    where: the spec of the sink, as for `run` (``"sqlite:FILE"``, ``"postgresql://…"``), the path of
    its file or directory, the directory with the ledger of a run, or a `Sink`.

    endpoint: the name of an interface or an `Endpoint` gives one table (`StoredRecords`).  A group
    (``"users"``) or an iterable gives a mapping with one table per interface (`StoredTables`).  The
    interfaces are not in one table, because their columns differ: often only the account and the
    day are the same.  The name can also be that of a joined table (``"article_days"``).  The name
    ``articles`` means the group; to read the table ``articles``, read this group with
    ``shape="flat"``.  The table ``"coverage"`` has the states of the days of each interface of each
    account from the ledger: one row for each series of days with the same state.  To include an
    interface that is not installed, pass its `Endpoint` as well.

    start, end: only records of these days, both included, in the formats of `run`.  The day of the
    record decides (``ref_date``); if records of the interface have no day, the days of the window
    decide.
    appids: only records of these accounts.
    ledger: the file or directory of the ledger, if it is not beside the records, or the URL of a
    shared ledger.
    shape: ``flat`` gives the tables of a flat export, always as a mapping.  An object within a
    record becomes columns (``stat_item_income``); each list becomes a table ``<interface>_<list>``
    with one row per item.  The mapping also has the joined tables that use one of the interfaces.

    Rows are ordered by account, first day of the window, and position in the window.  Lines that a
    killed run wrote and that are not in its ledger are left out; without a ledger all records are
    read.  Needs the extra ``export`` (pyarrow) and the extra of the sink.  Raises `UsageError` for
    wrong arguments, and `SinkError` if stored records are gone or cannot be read, also during
    reading.
    """
    sink, checkpoint, place = _source(where, ledger)
    names, rest = _joined_names(endpoint)
    one, interfaces = (None, {}) if rest == [] else _interfaces(rest)
    limits = limits_of(start, end, appids)
    checkpoint()  # an error is raised at once
    if shape not in ("nested", "flat"):
        raise UsageError("shape: {!r} is neither 'nested' nor 'flat'", shape)

    def stored(made: Endpoint) -> StoredRecords:
        return StoredRecords(sink, made, limits, checkpoint)

    def joined(name: str) -> StoredRecords:
        if name == COVERED:
            known_place = place if checkpoint() is not None else None
            return _Covered(sink, known_place, limits, plugins.finder(interfaces.values()))
        table = TABLES[name]
        known = [interfaces.get(each) or plugins.endpoint(each) for each in table.interfaces]
        return _Joined(table, {each.name: stored(each) for each in known})

    tables = {name: stored(made) for name, made in interfaces.items()}
    if shape == "flat":
        tables = {name: each for table in tables.values() for name, each in table.flat()}
        names += [
            table.name for table in TABLES.values() if {*table.interfaces} & interfaces.keys()
        ]
    tables.update({name: joined(name) for name in names})
    if isinstance(endpoint, str) and endpoint in names and shape == "nested":
        one = endpoint
    return tables[one] if one is not None and shape == "nested" else StoredTables(tables)


def rows(
    where: Where,
    endpoint: str | Endpoint | Iterable[str | Endpoint],
    *,
    start: date | str | None = None,
    end: date | str | None = None,
    appids: str | Account | Iterable[str | Account] | None = None,
    ledger: str | os.PathLike[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Read the harvested records one by one, as dicts like those of `stream`.

    The arguments, the order and the errors are those of `read`.  The interfaces of a group or an
    iterable follow one after the other; ``_endpoint`` is the name of the interface.  Only a small
    part is in memory at a time.  Needs only the extra of the sink.  A joined table
    (``"article_days"``) also needs the extra ``export``; ``_endpoint`` is then the name of the
    table.
    """
    from harvester.exports.source import Source, day_field

    sink, checkpoint, _ = _source(where, ledger)
    names, rest = _joined_names(endpoint)
    interfaces = {} if rest == [] else _interfaces(rest)[1]
    limits = limits_of(start, end, appids)
    checkpoint()  # an error is raised at once
    source = Source(sink, checkpoint, limits=limits)
    found = (
        row
        for name, made in interfaces.items()
        for window in source.read(name, day_field(Table(name, made.fields), made))
        for row in window.documents
    )
    if not names:
        return found
    tables = read(where, names, start=start, end=end, appids=appids, ledger=ledger)
    joined = ((name, batch) for name in names for batch in tables[name])
    return chain(
        found,
        (_as_record(row, name) for name, batch in joined for row in batch.to_pylist()),
    )


def _as_record(row: dict[str, Any], name: str) -> dict[str, Any]:
    texts = {key: str(each) if isinstance(each, date) else each for key, each in row.items()}
    return {**texts, "_endpoint": name}


def export(
    source: Where,
    target: str,
    endpoints: str | Endpoint | Iterable[str | Endpoint] = (),
    *,
    start: date | str | None = None,
    end: date | str | None = None,
    appids: str | Account | Iterable[str | Account] | None = None,
    ledger: str | os.PathLike[str] | None = None,
    replace: bool = False,
    accounts: Account | Iterable[Account] = (),
) -> Exported:
    """Bring the tables of an export target up to date with the stored records.

    source: the place of the records, as ``where`` of `read`.
    target: ``parquet:DIR``, ``parquet:s3://BUCKET/PREFIX``, ``csv:DIR``, ``xlsx:FILE`` or
    ``duckdb:FILE``.  It can have these parameters: ``?shape=nested`` or ``flat`` (with a table for
    each list, and joined tables); ``tables=A,B`` (only these tables; without it a workbook leaves
    out interfaces whose lists are in joined tables); ``lang=zh`` or ``en`` (language of the labels
    of codes); for CSV and XLSX ``header=zh`` or ``en`` (titles instead of names) and, for CSV,
    ``raw=1`` (text that a spreadsheet reads as a formula is not escaped).
    endpoints: names, groups or interfaces; none means all.
    start, end, appids, ledger: as for `read`; a target with other limits is rewritten.
    replace: replace the target even if it was made from another harvest.
    accounts: accounts with names and groups, for the table ``accounts`` of a flat target.  Without
    accounts, an existing table stays (but not in a workbook).

    Returns the numbers of months of interfaces that were written, removed and unchanged.  It can be
    called during a run.  Needs the extra ``export``, or for a workbook the extra ``xlsx``.  Raises
    `UsageError` for wrong arguments, `SinkError` if stored records cannot be read, and
    `ExportError` if the target cannot be written.
    """
    from harvester.exports.targets import open_target

    opened = open_target(target)  # it says which library it needs
    from harvester.exports.coverage import shows_coverage
    from harvester.exports.equal import export as exported
    from harvester.exports.source import Source

    _, made = _interfaces(endpoints)
    sink, checkpoint, place = _source(source, ledger)
    find = plugins.finder(made.values())
    is_known = checkpoint() is not None  # an error is raised at once
    coverage, limits = None, limits_of(start, end, appids)
    known = [accounts] if isinstance(accounts, Account) else [*accounts]
    covers = shows_coverage(opened)
    if is_known and place is not None and (covers or limits.appids):
        listed = [each.appid for each in known]
        coverage = wait_for(lambda: _coverage_in(place, find, limits, listed, is_read=covers))
    harvested = Source(sink, checkpoint, coverage, known, limits=limits)
    return exported(harvested, opened, [*made], find, replace=replace)


def limits_of(
    start: date | str | None,
    end: date | str | None,
    appids: str | Account | Iterable[str | Account] | None,
) -> Limits:
    """What is read of a sink, as it was asked for; raises `UsageError`."""
    from harvester.exports.source import Limits

    days = None if start is None and end is None else _days(start, end)
    return Limits(days, _appids(appids))


async def _coverage_in(
    place: Secret | Path, find: Find, limits: Limits, listed: Collection[str], *, is_read: bool
) -> Coverage | None:
    """The coverage of a ledger, if it is read; raises `UsageError` for an unknown account."""
    from harvester.exports.coverage import coverage_in

    async with open_ledger(place, readonly=True) as ledger:
        check_known(limits.appids or (), await ledger.accounts(), listed)
        return await coverage_in(ledger, find, *limits) if is_read else None


class StoredRecords:
    """Stored records as a table; each use reads what is stored at that time, also during a run.

    It has the Arrow C stream interface, so these work directly: ``polars.DataFrame(stored)``,
    ``pyarrow.table(stored)``, ``duckdb.sql("SELECT … FROM stored")``.
    """

    def __init__(
        self,
        sink: Sink,
        endpoint: Endpoint,
        limits: Limits,
        checkpoint: Callable[[], Checkpoint | None],
    ) -> None:
        from harvester.exports import arrow
        from harvester.exports.source import Source, day_field, rows_of

        self._arrow, self._rows_of = arrow, rows_of
        self._source = Source(sink, checkpoint, limits=limits)
        self._table = arrow.table_of(endpoint.name, endpoint.fields)
        self._day = day_field(self._table, endpoint)
        self.endpoint = endpoint
        self._part: tuple[Shape, str] | None = None  # of a flat shape
        self.schema = arrow.schema_of(self._table)
        """The columns: a `pyarrow.Schema`."""

    def __repr__(self) -> str:
        name = self._part[1] if self._part else self._table.name
        return f"<StoredRecords {name} in {self._source.sink.identity}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the records as `pyarrow.RecordBatch`."""
        return iter(self.reader())

    def reader(self) -> Any:
        """A `pyarrow.RecordBatchReader` of the records, which keeps few of them in memory."""
        return self._arrow.reader(self.schema, self._batches())

    def read_all(self) -> Any:
        """All records as a `pyarrow.Table`."""
        return self.reader().read_all()

    def to_pandas(self, **options: Any) -> Any:
        """All records as a `pandas.DataFrame`; options: those of ``pyarrow.Table.to_pandas``.

        Days are ``datetime64``, so they can be resampled.  Whole numbers are ``int64``, and truth
        values are ``bool``.  In a column with nulls they are ``Int64`` and ``boolean``, so no
        number is rounded.
        """
        return self._arrow.frame(self.read_all(), options)

    def flat(self) -> Iterator[tuple[str, StoredRecords]]:
        """The tables of a flat export, with their names: the records, then one table per list."""
        from harvester.exports.shapes import FLAT, Shape

        shape = Shape(self._table.name, self.endpoint, FLAT)
        for table in shape.tables:
            made = copy(self)
            made.schema, made._part = table.schema, (shape, table.name)
            yield table.name, made

    def _batches(self) -> Iterator[Any]:
        size = self._rows_of(self._table)
        found = (
            each
            for window in self.windows()
            for each in zip(window.documents, window.numbers, strict=True)
        )
        while some := list(islice(found, size)):
            documents, numbers = zip(*some, strict=True)
            if self._part is None:
                yield self._arrow.batch_of(self._table, self.schema, documents)
            else:
                shape, name = self._part
                yield shape.split(documents, numbers)[name]

    def windows(self) -> Iterator[Records]:
        """The records of each window, with metadata and the position of each record in it."""
        return self._source.read(self._table.name, self._day)


class _Joined(StoredRecords):
    def __init__(self, table: JoinedTable, parts: Mapping[str, StoredRecords]) -> None:
        from harvester.exports import arrow
        from harvester.exports.joined import JoinedShape
        from harvester.exports.shapes import FLAT, Shape

        self._arrow = arrow
        self._parts = parts
        shapes = {name: Shape(name, part.endpoint, FLAT) for name, part in parts.items()}
        self._shape = JoinedShape(table, shapes, "en")
        self.schema = self._shape.tables[0].schema

    def __repr__(self) -> str:
        return f"<StoredRecords {self._shape.name} of {', '.join(self._parts)}>"

    def _batches(self) -> Iterator[Any]:
        windows = {name: part.windows() for name, part in self._parts.items()}
        for chunk in self._shape.of(windows):
            yield chunk[self._shape.name]


class _Covered(StoredRecords):
    def __init__(self, sink: Sink, place: Secret | Path | None, limits: Limits, find: Find) -> None:
        from harvester.exports import arrow
        from harvester.exports.listed import CoverageShape

        if place is None:
            raise UsageError(
                "no ledger is known for {}, so it is not known what is missing", sink.identity
            )
        self._arrow, self._place, self._limits, self._find = arrow, place, limits, find
        self._shape = CoverageShape
        self.schema = CoverageShape([], "en").tables[0].schema

    def __repr__(self) -> str:
        return f"<StoredRecords {COVERED}>"

    def _batches(self) -> Iterator[Any]:
        from harvester.exports.coverage import coverage_in

        async def read() -> Coverage:
            async with open_ledger(self._place, readonly=True) as ledger:
                return await coverage_in(ledger, self._find, *self._limits)

        known = wait_for(read)
        yield self._shape(known.rows(sorted(known.interfaces), {}), "en").batch()


def table_in(
    sink: Sink, checkpoint: Callable[[], Checkpoint | None], name: str, days: Days
) -> StoredRecords:
    """The table of an interface, or one that joins some, as `read` gives it, of some days."""
    from harvester.exports.source import Limits

    names = TABLES[name].interfaces if name in TABLES else [name]
    limits = Limits(days)
    parts = {
        each: StoredRecords(sink, plugins.endpoint(each), limits, checkpoint) for each in names
    }
    return _Joined(TABLES[name], parts) if name in TABLES else parts[name]


class StoredTables(Mapping[str, StoredRecords]):
    """Stored records of several interfaces: a mapping from a name to its `StoredRecords`.

    It has all requested interfaces, in the requested order; an interface without stored records has
    a table without rows.
    """

    def __init__(self, tables: Mapping[str, StoredRecords]) -> None:
        self._tables = dict(tables)

    def __repr__(self) -> str:
        return f"<StoredTables {', '.join(self._tables)}>"

    def __getitem__(self, name: str) -> StoredRecords:
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def to_pandas(self, **options: Any) -> dict[str, Any]:
        """One `pandas.DataFrame` per table, made by `StoredRecords.to_pandas`."""
        return {name: table.to_pandas(**options) for name, table in self._tables.items()}

    def to_duckdb(self) -> Any:
        """A copy of the tables in a DuckDB database in memory; returns its connection.

        ``database = read("users.db", "users").to_duckdb()``, then ``database.sql("FROM …")``
        """
        from harvester.exports.duckdb import loaded

        return loaded(self._tables)


def _joined_names(given: Any) -> tuple[list[str], Any]:
    """The names of tables that join interfaces, and what else is asked for; a group comes first."""
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    listed = [given] if is_one else [*given]
    groups = plugins.endpoint_groups()
    names = [
        each
        for each in listed
        if isinstance(each, str) and each in {*TABLES, COVERED} and each not in groups
    ]
    rest = [each for each in listed if not (isinstance(each, str) and each in names)]
    return names, given if is_one and rest else rest


def _interfaces(
    given: str | Endpoint | Iterable[str | Endpoint],
) -> tuple[str | None, dict[str, Endpoint]]:
    """The interfaces by name, and the one that was given as such."""
    if isinstance(given, str):
        found = plugins.endpoints_of(given)
        one = given if [each.name for each in found] == [given] else None
        return one, {each.name: each for each in found}
    if not isinstance(given, Iterable):
        if not isinstance(getattr(given, "name", None), str):
            raise UsageError("endpoint: {!r} is neither an interface nor the name of one", given)
        return given.name, {given.name: given}
    return None, {each.name: each for each in plugins.interfaces_of(given)}


def _source(
    where: Where, ledger: str | os.PathLike[str] | None
) -> tuple[Sink, Callable[[], Checkpoint | None], Secret | Path | None]:
    """The sink to read, what gives the newest checkpoint that its ledger has, and that ledger."""
    if isinstance(url := check("ledger", ledger), Secret):
        if "://" in url.value:
            sink, _ = _sink(where, None)
            return sink, lambda: wait_for(lambda: _checkpoint_in_database(url, sink)), url
        ledger = url.value.removeprefix("sqlite:")
    sink, found = _sink(where, ledger)
    return sink, partial(_checkpoint, sink, found, asked=ledger is not None), found


async def source_of(
    ledger: Ledger,
    given: Sequence[Sink],
    coverage: Callable[[Ledger], Awaitable[Coverage]] | None = None,
    *,
    accounts: Collection[Account] = (),
    names: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Source:
    """The sink of a ledger to read, with its checkpoint there; raises `UsageError`."""
    from harvester.exports.source import NO_LIMITS, Source

    limits = limits or NO_LIMITS
    made: Callable[..., Source] = partial(
        Source, accounts=accounts, names=names or {}, limits=limits
    )
    if given and ledger.path is not None and not ledger.path.exists():
        place = ledger_beside(given[0])  # as `harvester.export` finds it
        if place is None or name_in(given[0], place) not in named_sinks(place):
            return made(given[0], lambda: None)
        ledger = SqliteLedger(place, readonly=True)
    async with ledger:
        check_known(limits.appids or (), await ledger.accounts(), [each.appid for each in accounts])
        known = await ledger.sinks()
        named = as_known(ledger, known, given) if known else {}
        for name in named or known:
            sink = sink_named(ledger, name, named)
            if sink is not None and sink.scan is not None:
                covered = await coverage(ledger) if coverage is not None else None
                if ledger.path is not None:  # read again: a run may have replaced files
                    return made(sink, partial(checkpoint_in, ledger.path, name), covered)
                return made(sink, partial(dict, await ledger.checkpoint(name)), covered)
        places = ", ".join(spec_of(name, ledger.path) for name in known)
    raise UsageError(
        "no sink of this ledger can be read back ({}), so nothing can be exported; harvester sink"
        " add SPEC copies only from a sink that can be read back",
        places or say("none is listed"),
    )


async def _checkpoint_in_database(url: Secret, sink: Sink) -> Checkpoint | None:
    async with open_ledger(url, readonly=True) as ledger:
        return await ledger.checkpoint(name_in(sink, ledger.path)) or None


def sink_at(where: Where) -> Sink:
    """The sink that a spec or a path names, and that exists; raises `UsageError`."""
    return _sink(where, None)[0]


def _sink(where: Where, ledger: str | os.PathLike[str] | None) -> tuple[Sink, Path | None]:
    given = _ledger_file(Path(ledger).expanduser()) if ledger is not None else None
    if isinstance(where, str) and (
        where.partition(":")[0] in {*plugins.sink_schemes(), *plugins.EXPORTS} or "://" in where
    ):
        sink = _named(where)
    elif isinstance(where, str | os.PathLike):
        path = Path(where).expanduser()
        if kind := _export_at(path):
            plugins.sink(f"{kind}:{path}")  # raises the error with how it is read
        if path.is_file():
            sink = _in_file(path)
        elif path.is_dir():
            given = given or path / FILE_NAME
            sink = _written_from(path, given)
        else:
            raise UsageError("there is no directory or file {}", path)
    elif where is not None:
        sink = where
    else:
        raise UsageError("nothing to read: name a sink, or the path of what is stored")
    return sink, given or ledger_beside(sink)


def _in_file(path: Path) -> Sink:
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise UsageError(
                "{} is not an SQLite database; name the directory of a run, or its sink (jsonl:DIR"
                " or sqlite:FILE)",
                path,
            )
    if path.name == FILE_NAME or path.name.endswith(f".{FILE_NAME}"):
        return _written_from(path, path)
    return plugins.sink(f"sqlite:{path}")


def _export_at(path: Path) -> str:
    if path.is_file():
        return {".duckdb": "duckdb", ".xlsx": "xlsx"}.get(path.suffix, "")
    if not (path / ".harvester.json").exists():
        return ""
    return "parquet" if any(path.glob("*/*.parquet")) else "csv"


def _named(spec: str) -> Sink:
    if spec.partition(":")[0] == "memory":
        raise UsageError("a new {} is empty; pass the sink that has the records", spec)
    sink = plugins.sink(spec)
    place = sink.path
    if place is not None and not place.exists():
        raise UsageError(
            "there is no file {}" if sink.is_file else "there is no directory {}", place
        )
    if place is not None and not sink.is_file and not place.is_dir():
        raise UsageError("{} is a file, not a directory; name it as sqlite:{}", place, place)
    is_lines = spec.partition(":")[0] == "jsonl"
    if place is not None and place.is_dir() and is_lines and not _has_lines(place):
        raise UsageError("{} contains no harvest that can be read back", place)
    return sink


def _has_lines(directory: Path) -> bool:
    return (directory / ".jsonl.lock").exists() or any(directory.glob("*/[0-9]*.jsonl*"))


def _ledger_file(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UsageError("there is no ledger {}", file)
    return file


def _written_from(directory: Path, ledger: Path) -> Sink:
    if _has_lines(directory):
        return plugins.sink(f"jsonl:{directory}")
    known = [spec_of(name, ledger) for name in named_sinks(ledger) if _can_be_read(name)]
    if not known:
        raise UsageError("{} contains no harvest that can be read back", directory)
    if len(known) > 1:
        raise UsageError(
            "the records of {} are in several places ({}); read one of them with ledger={!r}",
            directory,
            ", ".join(known),
            str(directory),
        )
    return unnamed(_named(known[0]))


def _can_be_read(name: str) -> bool:
    """Whether a sink's name in a ledger is the spec of one that another process can read."""
    scheme = name.partition(":")[0]
    return scheme in plugins.sink_schemes() and scheme not in _NOT_READ_BACK


def _checkpoint(sink: Sink, ledger: Path | None, *, asked: bool) -> Checkpoint | None:
    if ledger is None or not ledger.exists():
        return None
    found = checkpoint_in(ledger, name_in(sink, ledger))
    if asked and found is None:
        known = ", ".join(named_sinks(ledger))
        raise UsageError(
            "the ledger {} does not list {}; it lists {}", ledger, sink.identity, known
        )
    return found


def _appids(given: str | Account | Iterable[str | Account] | None) -> frozenset[str] | None:
    if given is None:
        return None
    listed = [given] if isinstance(given, str | Account) else given
    if not isinstance(listed, Iterable):
        raise UsageError("appids: {!r} is neither an appid nor a list of them", given)
    return frozenset(each.appid if isinstance(each, Account) else each for each in listed)


def _days(start: date | str | None, end: date | str | None) -> Days:
    now = time.time()
    begin = date.min if start in (None, FIRST) else parse_day(start, now, "start")
    last = date.max if end is None else parse_day(end, now, "end")
    if begin > last:
        raise UsageError("the start {} is after the end {}; swap them", begin, last)
    return begin, last
