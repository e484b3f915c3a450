"""One Iceberg table, that of an interface: what is published in it, and what is read from it.

Rule: a publication is one snapshot, and says through which staged object it goes.

Data files hold the windows of one month each, by their first day, sorted by account and first day,
so that the bounds of columns tell a reader what to leave out; there is no partition spec, by which
some readers lose rows.  A publication reads and writes the months that it touches, one after the
other: memory is bounded by the rows of a month.
"""

from __future__ import annotations

import re
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import count, groupby
from typing import Any, NamedTuple, TypeVar, cast

from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import (
    CommitFailedException,
    TableAlreadyExistsError,
    ValidationError,
)
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table as Iceberg
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    IcebergType,
    ListType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    StructType,
    TimestamptzType,
)

from harvester import durable
from harvester.codec import parse, parse_lines, shares_of
from harvester.endpoint import Field
from harvester.errors import SinkError
from harvester.model import Window, tally_of_shares
from harvester.sinks import arrow
from harvester.sinks.arrow import pa, pq
from harvester.sinks.base import StoredWindow
from harvester.sinks.columns import CHECKSUM, EXTRA, METADATA
from harvester.sinks.iceberg.files import Files
from harvester.sinks.iceberg.staged import Part, Staged
from harvester.sinks.layout import moment_of
from harvester.sinks.segments import Days, WindowLines

NAMESPACE = "harvest"
THROUGH = "harvester.staged-through"
"""A property of a table: the number of the last staged object that is published in it."""
KEPT = 86_400.0
"""Seconds for which former snapshots are kept, and files that none refers to."""
SMALL = 4 * 1024 * 1024
MANY_SMALL = 8
"""So many data files of a month that are smaller than that become one."""
MANY_MANIFESTS = 8
"""From so many manifests on they are merged as files are removed."""
_ROWS = 1 << 16
_READ = 1 << 14
_CONVERTED = 1000
_HELD = 64 * 1024 * 1024
"""Bytes of lines that are held at once; of one month there may be more."""
_HINT = "metadata/version-hint.text"
_METADATA_FILE = re.compile(r".*/metadata/((\d+)-[^/]+)\.metadata\.json")
_WINDOW = ("_appid", "_begin_date", "_end_date")
_BESIDE = {field.name for field in (*METADATA, EXTRA, CHECKSUM)}
_PROPERTIES = {
    "format-version": "2",
    "commit.retry.num-retries": "0",  # a retry after an unclear failure would double rows
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "8",
    "write.metadata.metrics.column._appid": "full",
}
_SCALARS: Mapping[str, type[Any]] = {
    "int": LongType, "float": DoubleType, "str": StringType, "bool": BooleanType,
    "date": DateType, "timestamp": TimestamptzType, "json": StringType,
}  # fmt: skip
_EPOCH = date(1970, 1, 1).toordinal()
_TURNS = 5
_Month = tuple[int, int]
T = TypeVar("T")


class Bounds(NamedTuple):
    """What a data file's statistics say of its windows."""

    first: str
    last: str
    begin: date
    end: date

    @property
    def month(self) -> _Month:
        return _month(self.begin)


Standing = tuple[DataFile, Bounds]


class IcebergTable:
    """A table in a catalog; what it raises is the library's, or `SinkError`."""

    def __init__(self, catalog: Catalog, files: Files, name: str) -> None:
        self.name = name
        self._files = files
        self._table: Iceberg = catalog.load_table((NAMESPACE, name))

    def __repr__(self) -> str:
        return f"<IcebergTable {self.name}>"

    @classmethod
    def make(
        cls, catalog: Catalog, files: Files, name: str, fields: Sequence[Field]
    ) -> IcebergTable:
        """The table of an interface, made or widened if it has not all columns.

        Raises `SinkError` if a column of that name has another type.
        """
        schema = schema_of(arrow.table_of(name, fields).columns)
        if not catalog.table_exists((NAMESPACE, name)):
            location = f"{files.root}/{name}"
            with durable.step("make table"), suppress(TableAlreadyExistsError):
                catalog.create_table((NAMESPACE, name), schema, location, properties=_PROPERTIES)
        made = again_if_changed(lambda: cls(catalog, files, name)._widen(schema))
        made._hint()
        return made

    def _widen(self, schema: Schema) -> IcebergTable:
        try:
            with durable.step("widen table"), self._table.update_schema() as update:
                update.union_by_name(schema)
        except (ValidationError, ValueError, TypeError) as exc:
            raise SinkError(
                f"the table {self.name} in {self._files.root} has a column of another type than the"
                f" interface now ({' '.join(str(exc).split())}); choose another destination"
            ) from None
        return self

    @property
    def through(self) -> int:
        """The number of the last staged object that is published here."""
        return int(self._table.properties.get(THROUGH, "0"))

    @property
    def is_empty(self) -> bool:
        """Whether no record is published here."""
        return not any(True for _ in self._standing())

    # what is published

    def publish(self, objects: Sequence[Staged], through: int) -> None:
        """Put windows in the place of all that they overlap, as one snapshot."""
        gone, new = Days(), defaultdict[_Month, list[tuple[Staged, Part]]](list)
        for each in reversed(objects):
            parts = each.of(self.name)
            for part in parts:
                if part.records and not gone.overlaps(part.window):
                    new[_month(part.window.begin)].append((each, part))
            gone.add(part.window for part in parts)
        standing = defaultdict[_Month, list[Standing]](list)
        for file, bounds in self._standing():
            standing[bounds.month].append((file, bounds))
        removed, added = list[DataFile](), list[str]()
        touched = {
            month
            for month, files in standing.items()
            if any(gone.has_some(*bounds) for _, bounds in files)
        }
        for months in _portions(sorted(touched | new.keys()), new):
            held = self._held([pair for month in months for pair in new[month]])
            for month in months:
                files = standing[month]
                self._replace(month, files, gone, held.pop(month, []), removed, added)
        self._commit(removed, added, through)

    def compact(self) -> None:
        """Make one data file of each month that has several."""
        standing = defaultdict[_Month, list[DataFile]](list)
        for file, bounds in self._standing():
            standing[bounds.month].append(file)
        removed, added = list[DataFile](), list[str]()
        for month, files in sorted(standing.items()):
            if len(files) > 1:
                removed += files
                added += self._write(month, [self._read(file) for file in files])
        if removed:
            self._commit(removed, added, self.through)

    def forget_missing(self) -> None:
        """Let go of data files that are gone; nothing else can be done for what they held."""
        there = {f"{self._files.root}/{name}" for name, _ in self._files.find(f"{self.name}/data")}
        gone = [file for file, _ in self._standing() if file.file_path not in there]
        if gone:
            self._commit(gone, [], self.through)

    def _replace(
        self,
        month: _Month,
        files: Sequence[Standing],
        gone: Days,
        new: Sequence[Any],
        removed: list[DataFile],
        added: list[str],
    ) -> None:
        """Write what stays of a month beside what is new; adds to what is removed and added."""
        tables, whole = [*new], list[DataFile]()
        for file, bounds in files:
            if not gone.has_some(*bounds):
                whole.append(file)
                continue
            rows = self._read(file)
            stays = [not gone.overlaps(window) for window, n in self._runs(rows) for _ in range(n)]
            if all(stays):
                whole.append(file)
                continue
            removed.append(file)
            if any(stays):
                tables.append(rows.filter(pa.array(stays, pa.bool_())))
        small = [file for file in whole if file.file_size_in_bytes < SMALL]
        if tables and len(small) + 1 >= MANY_SMALL:
            removed += small
            tables += map(self._read, small)
        added += self._write(month, tables)

    def _commit(self, removed: Sequence[DataFile], added: Sequence[str], through: int) -> None:
        with durable.step("commit table"), self._table.transaction() as change:
            if through != self.through:
                change.set_properties({THROUGH: str(through)})
            told = {THROUGH: str(through)}
            if removed or added:
                update = change.update_snapshot(snapshot_properties=told)
                with update.overwrite() if removed else update.merge_append() as snapshot:
                    for file in removed:
                        snapshot.delete_data_file(file)
                    for path in added:
                        data_file = parquet_file_to_data_file(
                            self._table.io, change.table_metadata, path
                        )
                        snapshot.append_data_file(data_file)
            if removed and self._manifests() >= MANY_MANIFESTS:
                with change.update_snapshot(snapshot_properties=told).merge_append():
                    pass  # it merges manifests: those of deleted files would stay for ever
        self._hint()

    def _manifests(self) -> int:
        """The number of manifests of the latest snapshot."""
        snapshot = self._table.current_snapshot()
        return len(snapshot.manifests(self._table.io)) if snapshot is not None else 0

    def _hint(self) -> None:
        """Tell readers without the catalog which metadata file is the latest."""
        found = _METADATA_FILE.fullmatch(self._table.metadata_location)
        if found:
            self._files.put(f"{self.name}/{_HINT}", found[1].encode(), "version hint")

    # rows

    def _held(self, pairs: Sequence[tuple[Staged, Part]]) -> dict[_Month, list[Any]]:
        """The rows of staged windows, by month."""
        parts = defaultdict[int, list[Part]](list)
        objects = {each.number: each for each, _ in pairs}
        for each, part in pairs:
            parts[each.number].append(part)
        found = defaultdict[_Month, list[tuple[WindowLines, Sequence[Field]]]](list)
        for number, some in sorted(parts.items()):
            fields = objects[number].fields[self.name]
            for lines in objects[number].lines(some):
                found[_month(lines.window.begin)].append((lines, fields))
        held: dict[_Month, list[Any]] = {}
        for month in [*found]:
            windows = sorted(found.pop(month), key=lambda each: each[0].window)
            held[month] = [self._rows(*group) for group in _groups(windows)]
        return held

    def _rows(self, windows: Sequence[WindowLines], fields: Sequence[Field]) -> Any:
        """The rows of windows, as the table has them."""
        table = arrow.table_of(self.name, fields)
        documents = parse_lines(b"".join([line for each in windows for line in each.lines]))
        rows = arrow.batch_of(table, arrow.schema_of(table), documents)
        sums = [n for each in windows for n in shares_of(each.checksum(), len(each.lines))]
        return self._aligned(
            pa.Table.from_batches([rows.append_column(CHECKSUM.name, pa.array(sums, pa.int64()))])
        )

    def _aligned(self, rows: Any) -> Any:
        """The rows with all columns of the table; those that they lack are null."""
        schema = self._schema()
        has = {*rows.schema.names}
        columns = [
            rows[field.name].cast(field.type)
            if field.name in has
            else pa.nulls(len(rows), field.type)
            for field in schema
        ]
        return pa.table(columns, schema=schema)

    def _schema(self) -> Any:
        return schema_to_pyarrow(self._table.schema())

    def _read(self, file: DataFile) -> Any:
        with self._opened(file) as source:
            return self._aligned(source.read())

    @contextmanager
    def _opened(self, file: DataFile) -> Iterator[Any]:
        """A data file, of which each page is compared with its checksum; raises `SinkError`."""
        try:
            source = self._table.io.new_input(file.file_path).open()
            with pq.ParquetFile(source, page_checksum_verification=True) as found:
                yield found
        except FileNotFoundError:
            raise SinkError(
                f"{file.file_path} is gone, though the table {self.name} refers to it; put it back,"
                " or run `harvester rebuild`: what it held is then asked for again"
            ) from None
        except (OSError, pa.ArrowException) as exc:
            raise SinkError(
                f"{file.file_path} cannot be read ({' '.join(str(exc).split())}); if it is damaged,"
                " put the right one back, or remove it and run `harvester rebuild`"
            ) from None

    def _write(self, month: _Month, tables: Sequence[Any]) -> list[str]:
        """Write a data file of a month's rows; gives its location, nothing if there are none."""
        tables = [table for table in tables if len(table)]
        if not tables:
            return []
        rows = pa.concat_tables(tables)
        if len(tables) > 1:
            rows = rows.sort_by([(name, "ascending") for name in _WINDOW[:2]])
        location = (
            f"{self._table.location()}/data/{month[0]:04}-{month[1]:02}-{uuid.uuid4()}.parquet"
        )
        with self._table.io.new_output(location).create() as out:
            pq.write_table(
                rows, out, compression="zstd", row_group_size=_ROWS, write_page_checksum=True
            )
        return [location]

    @staticmethod
    def _runs(rows: Any) -> Iterator[tuple[Window, int]]:
        """The windows of sorted rows, and how many rows each has."""
        columns = [rows[name].to_pylist() for name in _WINDOW]
        for (appid, begin, end), group in groupby(zip(*columns, strict=True)):
            yield Window(appid, "", begin, end), sum(1 for _ in group)

    # what stands there

    def _standing(self) -> Iterator[Standing]:
        """The data files, and what their statistics say."""
        schema = self._table.schema()
        fields = [schema.find_field(name) for name in _WINDOW]
        for task in self._table.scan().plan_files():
            if task.delete_files:
                raise SinkError(
                    f"another program has deleted rows of the table {self.name} in"
                    f" {self._files.root}; roll it back to a snapshot of harvester"
                )
            file = task.file
            low, high = (
                [_value(field, bounds[field.field_id]) for field in fields]
                for bounds in (file.lower_bounds, file.upper_bounds)
            )
            yield file, Bounds(low[0], high[0], _day(low[1]), _day(high[2]))

    def scan(self, appids: Collection[str] | None, hidden: Days) -> Iterator[StoredWindow]:
        """Each window that is published, less those that have one of these days."""
        for file, bounds in sorted(self._standing(), key=lambda each: each[1]):
            if appids is not None and not any(bounds.first <= a <= bounds.last for a in appids):
                continue
            for window, rows in self._windows(file):
                if (appids is None or window.appid in appids) and not hidden.overlaps(window):
                    yield _stored(window, rows)

    def _windows(self, file: DataFile) -> Iterator[tuple[Window, Any]]:
        """The windows of a data file, and the rows of each."""
        left: Any = None
        with self._opened(file) as source:
            for batch in source.iter_batches(_READ):
                rows = pa.Table.from_batches([batch])
                if left is not None:
                    rows = pa.concat_tables([left, rows])
                at, runs = 0, [*self._runs(rows)]
                for window, number in runs[:-1]:
                    yield window._replace(endpoint=self.name), rows.slice(at, number)
                    at += number
                left = rows.slice(at)
        if left is not None:
            for window, _ in self._runs(left):
                yield window._replace(endpoint=self.name), left

    # what is not needed any more

    def tidy(self, before: float) -> None:
        """Let go of snapshots before a Unix time, and of older files that no snapshot refers to."""
        current = self._table.current_snapshot()
        if any(
            each.timestamp_ms < before * 1000 and (current is None or each != current)
            for each in self._table.snapshots()
        ):
            with durable.step("expire snapshots"):
                expired = self._table.maintenance.expire_snapshots()
                expired.older_than(datetime.fromtimestamp(before, UTC)).commit()
            self._table.refresh()
            self._hint()
        needed = self._needed()
        root = f"{self._files.root}/"
        for name, changed in self._files.find(self.name):
            if changed < before and root + name not in needed and not name.endswith(_HINT):
                self._files.remove(name, "unneeded file")

    def _needed(self) -> set[str]:
        metadata, io = self._table.metadata, self._table.io
        found = {self._table.metadata_location, *(e.metadata_file for e in metadata.metadata_log)}
        manifests = dict[str, Any]()
        for snapshot in metadata.snapshots:
            found.add(snapshot.manifest_list)
            manifests.update({each.manifest_path: each for each in snapshot.manifests(io)})
        for path, manifest in manifests.items():
            found.add(path)
            found.update(
                entry.data_file.file_path
                for entry in manifest.fetch_manifest_entry(io, discard_deleted=True)
            )
        return found


def expired() -> float:
    """The Unix time before which snapshots and files that nobody needs go."""
    return time.time() - KEPT


def again_if_changed(call: Callable[[], T]) -> T:
    """What a call returns; it is repeated if another worker has changed the table meanwhile."""
    for _ in range(_TURNS):
        with suppress(CommitFailedException):
            return call()
    return call()


def newest_metadata(files: Files, name: str) -> str | None:
    """The location of a table's newest metadata file, None if there is none."""
    found = [
        (int(match[2]), changed, path)
        for path, changed in files.find(f"{name}/metadata")
        if (match := _METADATA_FILE.fullmatch(path))
    ]
    return f"{files.root}/{max(found)[2]}" if found else None


def version_of(location: str) -> int:
    """The number of a metadata file."""
    found = _METADATA_FILE.fullmatch(location)
    return int(found[2]) if found else -1


def _stored(window: Window, rows: Any) -> StoredWindow:
    shares, fetched_at = rows[CHECKSUM.name].to_pylist(), moment_of(rows["_fetched_at"][0].as_py())
    tally = tally_of_shares(window, fetched_at, shares)
    return StoredWindow(window, tally, fetched_at, lambda: [*map(_record, rows.to_pylist())])


def _record(row: dict[str, Any]) -> dict[str, Any]:
    extra = row[EXTRA.name]
    held = {
        name: _as_it_came(value)
        for name, value in row.items()
        if value is not None and name not in _BESIDE
    }
    return {**held, **parse(extra.encode())} if extra else held


def _as_it_came(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_it_came(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_as_it_came(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def _value(field: NestedField, bound: bytes) -> Any:
    return from_bytes(cast("PrimitiveType", field.field_type), bound)


def _day(number: int) -> date:
    """A day from what stands for it in statistics."""
    return date.fromordinal(_EPOCH + number)


def _month(day: date) -> _Month:
    return day.year, day.month


def _portions(
    months: Sequence[_Month], new: Mapping[_Month, Sequence[tuple[Staged, Part]]]
) -> Iterator[list[_Month]]:
    """The months in portions of which the lines are held at once."""
    portion, size = list[_Month](), 0
    for month in months:
        more = sum(part.size for _, part in new.get(month, ()))
        if portion and size + more > _HELD:
            yield portion
            portion, size = [], 0
        portion.append(month)
        size += more
    if portion:
        yield portion


def _groups(
    windows: Iterable[tuple[WindowLines, Sequence[Field]]],
) -> Iterator[tuple[list[WindowLines], Sequence[Field]]]:
    """Windows in groups of about so many rows as are converted at once, of the same fields."""
    group, rows = list[WindowLines](), 0
    known: Sequence[Field] = ()
    for lines, fields in windows:
        if group and (rows >= _CONVERTED or fields != known):
            yield group, known
            group, rows = [], 0
        known = fields
        group.append(lines)
        rows += len(lines.lines)
    if group:
        yield group, known


def schema_of(columns: Sequence[Field]) -> Schema:
    """The columns as Iceberg's schema, with what the catalogue says of each."""
    numbers = count(1)
    return Schema(*[_field(field, numbers) for field in (*columns, CHECKSUM)])


def _field(field: Field, numbers: Iterator[int]) -> NestedField:
    return NestedField(
        next(numbers), field.name, _type(field, numbers), required=False, doc=field.meaning or None
    )


def _type(field: Field, numbers: Iterator[int]) -> IcebergType:
    if field.type == "object":
        return StructType(*[_field(inner, numbers) for inner in field.fields])
    if field.type == "list":
        number = next(numbers)
        item = _type(Field(field.name, field.item, fields=field.fields), numbers)
        return ListType(number, item, element_required=False)
    made: IcebergType = _SCALARS[field.type]()
    return made
