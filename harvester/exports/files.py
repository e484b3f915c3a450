"""Parquet and CSV: ``parquet:DIR``, ``csv:DIR``.

Rule: a file is replaced as a whole; a reader sees it as it was before, or as it is after.

Parquet has a file a table and month, ``DIR/<table>/2026-01.parquet``, with its stamp in the
metadata.  CSV has a file a table, ``DIR/<table>.csv``: the rows of months that did not change are
copied from the former file.  ``DIR/.harvester.json`` has the stamps, and the bytes of each month.
Files of another name, and files without a stamp, are not touched.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from harvester.base import files as durable
from harvester.base.codec import MalformedError, encode, parse
from harvester.base.lock import FileLock
from harvester.errors import ExportError, UsageError
from harvester.exports.base import WHOLE, Held, Part, TableShape, Unit
from harvester.exports.shapes import LABEL
from harvester.sinks.spec import Spec
from harvester.wechat.titles import field_title

LOCK = ".harvester.lock"
NOTE = ".harvester.json"
_MONTH = re.compile(rf"\d{{4}}-\d{{2}}|{WHOLE}")
_KEY = b"harvester"
_ROW_GROUP = 1 << 16
_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
_BOM = b"\xef\xbb\xbf"


class _Folder:
    """A local directory that one export at a time has locked."""

    whole = False
    language = "en"
    scheme = ""
    drafts: Sequence[str] = ()

    def __init__(self, spec: Spec, shape: str) -> None:
        self.path = Path(spec.place)
        self.identity = f"{self.scheme}:{spec.place}"
        self.shape = spec.options.get("shape", shape)
        self.form = ""
        self.harvest = self.digest = ""
        self._claim: FileLock | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    def open(self, *, create: bool) -> Held:
        if not create and not self.path.is_dir():
            return Held()
        with self._failing():
            refuse_records(self.path, self.scheme)
            if create:
                durable.make_directory(self.path, "directory of an export")
                self._claim = FileLock(self.path / LOCK, f"{self.identity}")
                self._remove_drafts()
            return self._held()

    def finish(self) -> None: ...

    def close(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def _held(self) -> Held:
        raise NotImplementedError

    def _remove_drafts(self) -> None:
        """Remove what a killed export has left."""
        for pattern in self.drafts:
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    def _refuse(self, path: Path) -> None:
        raise UsageError(
            f"{path} is no export of harvester; choose another directory, or remove the file"
        )

    @contextmanager
    def _failing(self) -> Iterator[None]:
        with failing(self.identity):
            yield


def refuse_records(path: Path, scheme: str) -> None:
    """Raise `UsageError` for a directory in which a run keeps its records."""
    if (path / ".jsonl.lock").exists():
        raise UsageError(
            f"{path} holds the records of a run; choose another directory for {scheme}:"
        )


@contextmanager
def failing(identity: str) -> Iterator[None]:
    """Turn the errors of files and of Arrow into an `ExportError`."""
    try:
        yield
    except (OSError, pa.ArrowException) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ExportError(
            f"{identity} could not be written: {' '.join(why.split())}; once that is mended, the"
            " same command goes on"
        ) from exc


class Parquet(_Folder):
    """A file a table and month."""

    scheme = "parquet"
    drafts = ("*/.????-??.parquet.new", f"*/.{WHOLE}.parquet.new")

    def _held(self) -> Held:
        harvest, stamps = "", {}
        for path in sorted(self.path.glob("*/*.parquet")):
            if not _MONTH.fullmatch(path.stem):
                continue
            note = _note_of(path)
            if note is not None:
                harvest = harvest or str(note.get("harvest", ""))
                stamps[path.parent.name, path.stem] = str(note.get("stamp", ""))
        return Held(harvest, stamps)

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with self._failing():
            for table in tables:
                durable.make_directory(self.path / table.name, "folder of a table")
            for unit in units:
                self._write_unit(tables, unit)
            for table_name, month in removed:
                path = self.path / table_name / f"{month}.parquet"
                durable.remove(path, "file of an export")
                with suppress(OSError):  # it is not empty
                    path.parent.rmdir()

    def _write_unit(self, tables: Sequence[TableShape], unit: Unit) -> None:
        note = encode({"stamp": unit.stamp, "harvest": self.harvest})
        drafts = {
            table.name: self.path / table.name / f".{unit.month}.parquet.new" for table in tables
        }
        for name in drafts:
            path = self.path / name / f"{unit.month}.parquet"
            if path.exists() and _note_of(path) is None:
                self._refuse(path)
        try:
            with ExitStack() as stack:
                writers = {
                    table.name: stack.enter_context(
                        pq.ParquetWriter(
                            drafts[table.name],
                            table.schema.with_metadata({_KEY: note}),
                            compression="zstd",
                        )
                    )
                    for table in tables
                }
                for chunk in unit.chunks():
                    for name, rows in chunk.items():
                        writers[name].write_batch(rows, row_group_size=_ROW_GROUP)
            for name, draft in drafts.items():
                with draft.open("rb") as file:
                    durable.sync(file.fileno(), "draft of an export")
                durable.rename(draft, self.path / name / f"{unit.month}.parquet", "export")
        except BaseException:
            for draft in drafts.values():
                draft.unlink(missing_ok=True)
            raise


def _note_of(path: Path) -> dict[str, Any] | None:
    """What an export has noted in a file; None for a file of somebody else, empty if damaged."""
    try:
        noted = (pq.read_metadata(path).metadata or {}).get(_KEY)
        return None if noted is None else dict(parse(noted))
    except (pa.ArrowException, MalformedError, TypeError, ValueError):
        return {}


class Csv(_Folder):
    """A file a table, with UTF-8's mark at its beginning, by which Excel knows the encoding."""

    scheme = "csv"
    drafts = (".*.part", ".*.csv.new", f".{NOTE}.*.new")

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        self._header = spec.options.get("header", "")
        self._raw = spec.options.get("raw") == "1"
        self.form = f"csv {self._header} {self._raw}"
        self._note: dict[str, Any] = {}

    def _held(self) -> Held:
        try:
            self._note = dict(parse((self.path / NOTE).read_bytes()))
        except (FileNotFoundError, MalformedError, TypeError, ValueError):
            self._note = {}
        stamps = {}
        for name, table in self._tables().items():
            with suppress(OSError):
                if (self.path / f"{name}.csv").stat().st_size != table["size"]:
                    continue  # somebody has changed it
                stamps.update({(name, month): part[0] for month, part in table["months"].items()})
        return Held(str(self._note.get("harvest", "")), stamps)

    def _tables(self) -> dict[str, Any]:
        tables: dict[str, Any] = self._note.setdefault("tables", {})
        return tables

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with self._failing():
            stamps: dict[str, str] = {}
            names = [table.name for table in tables]
            for name in names:
                if name not in self._tables() and (self.path / f"{name}.csv").exists():
                    self._refuse(self.path / f"{name}.csv")
            parts = {name: self.path / f".{name}.part" for name in names}
            drafts = {name: self.path / f".{name}.csv.new" for name in names}
            try:
                written = self._write_parts(tables, units, parts, stamps)
                for table in tables:
                    months = {month for name, month in removed if name == table.name}
                    self._join(table, parts[table.name], written[table.name], stamps, months)
            finally:
                for path in (*parts.values(), *drafts.values()):
                    path.unlink(missing_ok=True)
            for name in sorted({name for name, _ in removed} - {*names}):
                if name in self._tables():
                    path = self.path / f"{name}.csv"
                    if path.exists():
                        durable.remove(path, "file of an export")
                    del self._tables()[name]
                    self._save()

    def _write_parts(
        self,
        tables: Sequence[TableShape],
        units: Iterable[Unit],
        parts: dict[str, Path],
        stamps: dict[str, str],
    ) -> dict[str, dict[str, tuple[int, int]]]:
        """Write the rows of the units; returns the bytes of each month, by table."""
        found: dict[str, dict[str, tuple[int, int]]] = {table.name: {} for table in tables}
        with ExitStack() as stack:
            files = {name: stack.enter_context(path.open("wb")) for name, path in parts.items()}
            for unit in units:
                begins = {name: file.tell() for name, file in files.items()}
                for chunk in unit.chunks():
                    for name, rows in chunk.items():
                        files[name].write(_lines(rows, escape=not self._raw))
                stamps[unit.month] = unit.stamp
                for name, file in files.items():
                    found[name][unit.month] = begins[name], file.tell()
        return found

    def _join(
        self,
        table: TableShape,
        part: Path,
        written: dict[str, tuple[int, int]],
        stamps: dict[str, str],
        removed: set[str],
    ) -> None:
        """Make the file of a table from new rows, and from those of the former file that stay."""
        path, draft = self.path / f"{table.name}.csv", self.path / f".{table.name}.csv.new"
        former = self._tables().get(table.name, {})
        kept = {
            month: entry
            for month, entry in former.get("months", {}).items()
            if month not in written and month not in removed
        }
        months: dict[str, list[Any]] = {}
        with ExitStack() as stack:
            out = stack.enter_context(draft.open("wb"))
            new = stack.enter_context(part.open("rb"))
            old = stack.enter_context(path.open("rb")) if kept else new
            out.write(_BOM + _header(table, self._header))
            for month in sorted({*kept, *written}):
                begin = out.tell()
                if month in written:
                    _copy(new, written[month], out)
                    stamp = stamps[month]
                else:
                    stamp, first, last = kept[month]
                    _copy(old, (first, last), out)
                months[month] = [stamp, begin, out.tell()]
            out.flush()
            durable.sync(out.fileno(), "draft of an export")
            size = out.tell()
        # With an empty entry a file is ours, and counts for nothing: so the stamps are never those
        # of another export.
        self._tables()[table.name] = {"size": -1, "months": {}}
        self._save()
        durable.rename(draft, path, "export")
        self._tables()[table.name] = {"size": size, "months": months}
        self._save()

    def _save(self) -> None:
        self._note["harvest"] = self.harvest
        durable.replace_file(self.path / NOTE, encode(self._note), "note of an export")


def _copy(source: BinaryIO, between: tuple[int, int], out: BinaryIO) -> None:
    begin, end = between
    source.seek(begin)
    while begin < end:
        some = source.read(min(end - begin, 1 << 20))
        if not some:
            raise ExportError("a file of the export was shortened meanwhile")
        out.write(some)
        begin += len(some)


def _header(table: TableShape, language: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(titles_of(table.schema.names, language))
    return out.getvalue().encode()


def titles_of(names: Sequence[str], language: str) -> list[str]:
    """The titles of columns, each another one; the names themselves without a language."""
    found: list[str] = []
    for name in names:
        title = _title(name, language) if language else name
        found.append(f"{title} ({name})" if title in found else title)
    return found


_OF_LABELS = {"zh": "{}名称", "en": "{}: label"}


def _title(name: str, language: str) -> str:
    """The title of a column: of its field, or of the field within an object."""
    if name.endswith(LABEL) and field_title(name, language) == name:
        return _OF_LABELS[language].format(_title(name.removesuffix(LABEL), language))
    inner = name
    while True:
        title = field_title(inner, language)
        if title != inner:
            return title
        _, mark, inner = inner.partition("_")
        if not mark:
            return name


def _lines(rows: Any, *, escape: bool) -> bytes:
    """Rows as CSV, without a header."""
    columns = [_as_text(column, escape=escape) for column in rows.columns]
    out = pa.BufferOutputStream()
    options = pacsv.WriteOptions(include_header=False, quoting_style="needed")
    pacsv.write_csv(pa.record_batch(columns, names=rows.schema.names), out, options)
    return bytes(out.getvalue())


def _as_text(column: Any, *, escape: bool) -> Any:
    if pa.types.is_timestamp(column.type):
        whole = column.cast(pa.timestamp("s", tz="UTC"))  # of a second, as it was fetched
        return pc.strftime(whole, "%Y-%m-%d %H:%M:%S")
    if pa.types.is_nested(column.type):
        return pa.array([None if each is None else as_json(each) for each in column.to_pylist()])
    if escape and pa.types.is_string(column.type):
        risky = pc.match_substring_regex(column, _FORMULA)
        if pc.any(risky).as_py():
            return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
    return column


def as_json(value: Any) -> str:
    """A nested value as text."""
    return encode(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def show(draft: Path, path: Path) -> None:
    """Put a draft in the place of a file, durably."""
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        durable.sync(descriptor, "draft of an export")
    finally:
        os.close(descriptor)
    durable.rename(draft, path, "export")
