"""Apache Iceberg: ``iceberg:DIR``, ``iceberg:s3://BUCKET/PREFIX``, a table for each of the export.

Rule: a table changes by one snapshot an export; its properties have the stamps of its months.

The newest metadata file of a table is its state.  The catalog, ``DIR/catalog.sqlite``, is a
convenience for readers, and is made anew from it; a bucket has none.  Two exports into one bucket
do not mix: the state that has the higher number holds, and the next export compares again.

The library's own writer turns a null list into an empty one (its issue 3833), so data files are
written by pyarrow.  There is no partition spec: a file has the rows of one month, and readers prune
by the bounds of its columns; DuckDB up to 1.4.4 loses rows of tables partitioned by ``month()``.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from harvester.base import files as durable
from harvester.base.lock import FileLock
from harvester.errors import ExportError, HarvestError, UsageError, needs
from harvester.exports.base import Held, Part, TableShape, Unit
from harvester.exports.files import refuse_records
from harvester.sinks.spec import Spec

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
    from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError
    from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
    from pyiceberg.schema import Schema
    from pyiceberg.table.sorting import SortField, SortOrder
    from pyiceberg.transforms import IdentityTransform
    from pyiceberg.types import (
        BooleanType,
        DateType,
        DoubleType,
        IcebergType,
        IntegerType,
        ListType,
        LongType,
        NestedField,
        StringType,
        StructType,
        TimestamptzType,
    )
    from pyiceberg.utils.concurrent import ExecutorFactory
    from sqlalchemy.orm import Session
except ImportError as exc:
    raise UsageError(needs("iceberg: needs a library", "iceberg")) from exc

from harvester.exports.stores import Bucket, BucketFiles, Files, LocalFiles

NAMESPACE = "harvest"
KEPT = 86_400.0
"""Seconds for which former snapshots are kept, and files that none refers to."""
_STAMP = "harvester.stamp."
_HARVEST = "harvester.harvest"
_HINT = "metadata/version-hint.text"
_METADATA_FILE = re.compile(r".*/metadata/((\d+)-[^/]+)\.metadata\.json")
_WRITTEN = re.compile(
    r"[^/]+/(data/\d{4}-\d\d-[^/]+\.parquet|metadata/[^/]+\.(metadata\.json|avro))"
)
"""The files of a table, as this module and the library name them."""
_MANY_MANIFESTS = 8
_PROPERTIES = {
    "format-version": "2",
    "commit.retry.num-retries": "0",  # a retry after an unclear failure would double rows
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": str(_MANY_MANIFESTS),
    "write.metadata.metrics.column._appid": "full",
}
_SCALARS: Mapping[str, IcebergType] = {
    "int64": LongType(), "int32": IntegerType(), "double": DoubleType(), "string": StringType(),
    "bool": BooleanType(), "date32[day]": DateType(), "timestamp[us, tz=UTC]": TimestamptzType(),
}  # fmt: skip


class Iceberg:
    """The tables in a directory or a bucket."""

    whole = False
    language = "en"
    form = ""

    def __init__(self, spec: Spec, shape: str) -> None:
        self.identity = f"iceberg:{spec.place}"
        options = dict(spec.options)
        self.shape = options.pop("shape", shape)
        self.harvest = self.digest = ""
        self._path = None if spec.place.startswith("s3://") else Path(spec.place)
        self._files = _files_of(self._path, spec.place, options)
        self._claim: FileLock | None = None
        self._catalog: SqlCatalog | None = None
        self._had_pool = ExecutorFactory._instance is not None

    def __repr__(self) -> str:
        return f"<Iceberg {self.identity}>"

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except HarvestError:
            raise
        except Exception as exc:  # damaged metadata raises errors of any kind, also EOFError
            why = (exc.strerror if isinstance(exc, OSError) else None) or f"{exc}"
            why = why.strip().partition("\n")[0] or type(exc).__name__
            raise ExportError(
                f"{self.identity} could not be read or written: {why}; once that is mended, the"
                " same command goes on; an export can also be removed and made anew"
            ) from exc

    def open(self, *, create: bool) -> Held:
        with self._failing():
            if self._path is not None:
                refuse_records(self._path, "iceberg")
                if create:
                    durable.make_directory(self._path, "directory of an export")
                    self._claim = FileLock(self._path / ".harvester.lock", self.identity)
                elif not self._path.is_dir():
                    return Held()
            self._files.check()
            self._connect(create=create)
            return self._held(create=create)

    def _held(self, *, create: bool) -> Held:
        """What the tables hold, by their properties."""
        harvest, stamps = "", {}
        for name in self._files.folders():
            if create:
                self._mend_hint(name)
            table = self._newest(name)
            if table is None:
                continue
            if _HARVEST not in table.properties:
                raise UsageError(
                    f"{self.identity}: the table {name} was not made by harvester; choose another"
                    " place"
                )
            harvest = harvest or str(table.properties[_HARVEST])
            for key, value in table.properties.items():
                if key.startswith(_STAMP):
                    stamps[name, key.removeprefix(_STAMP)] = str(value)
        return Held(harvest, stamps)

    def _connect(self, *, create: bool) -> None:
        uri = self._files.catalog if create else "sqlite:///:memory:"
        options = {**self._files.properties, "uri": uri, "warehouse": self._files.root}
        self._catalog = SqlCatalog("harvester", **options)
        with suppress(NamespaceAlreadyExistsError):
            self._catalog.create_namespace(NAMESPACE)

    @property
    def _opened(self) -> SqlCatalog:
        assert self._catalog is not None, "not open"
        return self._catalog

    def _newest(self, name: str) -> Any:
        """A table in its newest state, None if there is none."""
        catalog, identifier = self._opened, (NAMESPACE, name)
        newest = _newest_metadata(self._files, name)
        if newest is None:
            with suppress(NoSuchTableError):
                catalog.drop_table(identifier)
            return None
        with Session(catalog.engine) as session, session.begin():  # readers find one or the other
            mine = session.get(IcebergTables, (catalog.name, NAMESPACE, name))
            if mine is not None and mine.metadata_location != newest:
                mine.metadata_location = newest
        if mine is None:
            catalog.register_table(identifier, newest)
        table = catalog.load_table(identifier)
        if table.location() != f"{self._files.root}/{name}":
            raise UsageError(
                f"{self.identity} was moved from {table.location()}, and Iceberg's tables cannot"
                " be; move it back, or remove it"
            )
        return table

    def _mend_hint(self, name: str) -> None:
        """Note the newest state of a table, if an export was killed before it did so."""
        newest = _METADATA_FILE.fullmatch(_newest_metadata(self._files, name) or "")
        if newest and self._files.get(f"{name}/{_HINT}") != newest[1].encode():
            self._files.put(f"{name}/{_HINT}", newest[1].encode())

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with self._failing():
            opened = {shape.name: self._table(shape) for shape in tables}
            stamps: dict[str, str] = {}
            added: dict[str, list[str]] = {name: [] for name in opened}
            for unit in units:
                stamps[unit.month] = unit.stamp
                self._write_unit(opened, unit, added)
            for name, table in opened.items():
                gone = [month for each, month in removed if each == name]
                self._commit(table, stamps, gone, added[name])
            for name in sorted({name for name, _ in removed} - {*opened}):
                table = self._newest(name)
                if table is not None:
                    self._commit(table, {}, [month for each, month in removed if each == name], [])

    def _table(self, shape: TableShape) -> Any:
        """A table, made, widened, or made anew if a column has another type now."""
        schema = _schema_of(shape.schema)
        table = self._newest(shape.name)
        if table is not None:
            try:
                with table.update_schema() as update:
                    update.union_by_name(schema)
            except Exception:  # noqa: BLE001  (the library raises many kinds)
                self._opened.drop_table((NAMESPACE, shape.name))
                for found in self._files.find(f"{shape.name}/metadata"):
                    self._files.remove(found.name)
                table = None
        if table is None:
            numbers = [schema.find_field(name).field_id for name in ("_appid", "_begin_date")]
            order = SortOrder(*[SortField(n, IdentityTransform()) for n in numbers])
            table = self._opened.create_table(
                (NAMESPACE, shape.name),
                schema,
                f"{self._files.root}/{shape.name}",
                sort_order=order,
                properties={**_PROPERTIES, _HARVEST: self.harvest},
            )
        return table

    def _write_unit(
        self, tables: Mapping[str, Any], unit: Unit, added: Mapping[str, list[str]]
    ) -> None:
        """Write a data file of each table that has rows in a month."""
        writers: dict[str, tuple[Any, Any]] = {}
        try:
            for chunk in unit.chunks():
                for name, rows in chunk.items():
                    if len(rows):
                        table = tables[name]
                        if name not in writers:
                            place = f"{table.location()}/data/{unit.month}-{uuid.uuid4()}.parquet"
                            added[name].append(place)
                            out = table.io.new_output(place).create()
                            schema = schema_to_pyarrow(table.schema())
                            writers[name] = out, pq.ParquetWriter(out, schema, compression="zstd")
                        writers[name][1].write_table(_aligned(rows, writers[name][1].schema))
        finally:
            for out, writer in writers.values():
                writer.close()
                out.close()

    def _commit(
        self, table: Any, stamps: Mapping[str, str], gone: Sequence[str], added: Sequence[str]
    ) -> None:
        """Replace the data files of months, in one snapshot."""
        months = {*stamps, *gone}
        former = [
            task.file
            for task in table.scan().plan_files()
            if task.file.file_path.rpartition("/")[2][:7] in months
        ]
        notes = {f"{_STAMP}{month}": stamp for month, stamp in stamps.items()}
        with durable.step("commit table"), table.transaction() as change:
            change.set_properties({**notes, _HARVEST: self.harvest})
            left = [f"{_STAMP}{month}" for month in gone]
            if left := [each for each in left if each in table.properties and each not in notes]:
                change.remove_properties(*left)
            if former or added:
                update = change.update_snapshot()
                with update.overwrite() if former else update.merge_append() as snapshot:
                    for file in former:
                        snapshot.delete_data_file(file)
                    for place in added:
                        snapshot.append_data_file(
                            parquet_file_to_data_file(table.io, change.table_metadata, place)
                        )
            if former and self._manifests(table) >= _MANY_MANIFESTS:
                with change.update_snapshot().merge_append():
                    pass  # it merges manifests: those of deleted files would stay for ever
        self._tidy(table, time.time() - KEPT)

    @staticmethod
    def _manifests(table: Any) -> int:
        snapshot = table.current_snapshot()
        return len(snapshot.manifests(table.io)) if snapshot is not None else 0

    def _tidy(self, table: Any, before: float) -> None:
        """Forget snapshots before a Unix time, and remove older files that none refers to."""
        current = table.current_snapshot()
        if any(each.timestamp_ms < before * 1000 and each != current for each in table.snapshots()):
            expired = table.maintenance.expire_snapshots()
            expired.older_than(datetime.fromtimestamp(before, UTC)).commit()
            table.refresh()
        name = table.name()[-1]
        found = _METADATA_FILE.fullmatch(table.metadata_location)
        if found:  # for readers without a catalog: which metadata file is the newest
            self._files.put(f"{name}/{_HINT}", found[1].encode())
        needed, root = _needed(table), f"{self._files.root}/"
        for each in self._files.find(name):
            unneeded = root + each.name not in needed and _WRITTEN.fullmatch(each.name)
            if each.changed < before and unneeded:
                self._files.remove(each.name)

    def finish(self) -> None: ...

    def close(self) -> None:
        catalog, self._catalog = self._catalog, None
        if catalog is not None:
            catalog.close()
        pool = ExecutorFactory._instance
        if pool is not None and not self._had_pool:  # its threads would be left
            ExecutorFactory._instance = None
            pool.shutdown()
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()


def _files_of(path: Path | None, place: str, options: Mapping[str, str]) -> Files:
    if path is not None:
        if options:
            raise UsageError(
                f"export: iceberg:DIR has no option {min(options)!r}; it is one of a bucket"
            )
        if {*"#%\t\r\n"} & {*str(path.resolve())}:
            raise UsageError(
                f"the directory {path} cannot be the location of tables, which has no #, % or tab;"
                " choose another directory"
            )
        return LocalFiles(path)
    bucket = place.removeprefix("s3://").strip("/")
    if "@" in bucket:
        raise UsageError(
            "export: iceberg:s3://…@… has a key in it; set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or write ?access_key=env:NAME&secret_key=env:NAME"
        )
    if not bucket:
        raise UsageError("export: iceberg:s3:// names no bucket; write iceberg:s3://BUCKET/PREFIX")
    return BucketFiles(Bucket(bucket, **options))


def _newest_metadata(files: Files, name: str) -> str | None:
    """The location of a table's newest metadata file, None if there is none."""
    found = [
        (int(match[2]), changed, path)
        for path, changed in files.find(f"{name}/metadata")
        if (match := _METADATA_FILE.fullmatch(path))
    ]
    return f"{files.root}/{max(found)[2]}" if found else None


def _needed(table: Any) -> set[str]:
    """The files that the snapshots of a table refer to."""
    metadata = table.metadata
    found = {table.metadata_location, *(each.metadata_file for each in metadata.metadata_log)}
    manifests: dict[str, Any] = {}
    for snapshot in metadata.snapshots:
        found.add(snapshot.manifest_list)
        manifests.update({each.manifest_path: each for each in snapshot.manifests(table.io)})
    for path, manifest in manifests.items():
        found.add(path)
        found.update(
            entry.data_file.file_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        )
    return found


def _aligned(rows: Any, schema: Any) -> Any:
    """The rows with all columns of the table; those that they lack are null."""
    has = {*rows.schema.names}
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in has
        else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _schema_of(schema: Any) -> Schema:
    """Arrow's columns as Iceberg's; every column can be null."""
    numbers = count(1)
    return Schema(*[_field(field, numbers) for field in schema])


def _field(field: Any, numbers: Iterator[int]) -> NestedField:
    number = next(numbers)
    text = (field.metadata or {}).get(b"comment", b"").decode() or None
    return NestedField(number, field.name, _type(field.type, numbers), required=False, doc=text)


def _type(kind: Any, numbers: Iterator[int]) -> IcebergType:
    if pa.types.is_struct(kind):
        return StructType(*[_field(inner, numbers) for inner in kind])
    if pa.types.is_list(kind):
        number = next(numbers)
        return ListType(number, _type(kind.value_type, numbers), element_required=False)
    return _SCALARS[str(kind)]
