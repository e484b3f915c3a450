"""Parquet on disk: ``DIR/<endpoint>/<year>.parquet``, a file for each year of an interface.

Rule: the records are kept as compressed lines in ``DIR/.lines``; the files are derived from them.

A write costs what a compressed JSON line costs.  When the sink is closed, each year of which the
lines have changed is rewritten beside the old file, and replaces it as a whole.  A window
belongs to the year of its first day.

Each file says in its footer from which windows it was made, so that a year which a killed process
left behind, or whose lines were cut, is found by comparing.  Beside the lines of an interface is
a file with what a later run needs to derive them: the interface's fields, and the lengths of the
segments for which all its files are up to date.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from harvester import durable
from harvester.codec import encode, parse, parse_lines
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.model import Batch
from harvester.sinks import arrow
from harvester.sinks.arrow import pa, pq
from harvester.sinks.base import Checkpoint, Fence, StoredWindow, Written
from harvester.sinks.columns import Table
from harvester.sinks.compression import CHUNK, COMPRESSIONS
from harvester.sinks.directory import NOTE
from harvester.sinks.lines import JsonLines
from harvester.sinks.segments import WindowLines
from harvester.sinks.spec import read_spec

LINES = ".lines"
_ROWS = 1 << 16
"""Rows of a row group."""
_CONVERTED = 1000
"""Rows that become columns at once: they fit the processor's cache."""
_HELD = 64 * 1024 * 1024
"""Bytes of lines that are sorted in memory at once; of one account's year there may be more."""
_FILE = re.compile(r"\d{4}\.parquet")
_MADE_FROM = b"harvester.lines"
_Key = tuple[int, str]  # a year of an account


class State(NamedTuple):
    """What lies beside the lines of an interface.

    fields: as encoded.  segments: those of which the files hold everything, with their lengths.
    years: those files.
    """

    fields: Any = ()
    segments: Mapping[str, str] = {}
    years: Sequence[int] = ()


class Parquet:
    """The Parquet sink; one process a directory.

    directory: made if it is not there.  The columns come from the interface's fields, with what
    they cannot hold in ``_extra``; nothing is lost.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.path = Path(directory)
        self._lines = JsonLines(self.path / LINES, compress=_compression())
        self._lines.rebuild = f"harvester rebuild --out {self.path} --sink parquet:{self.path}"
        self._is_open = False
        self._states: dict[str, State] = {}
        self._tables: dict[str, Table] = {}

    def __repr__(self) -> str:
        return f"<Parquet {self.path}>"

    takes_lines = True

    @classmethod
    def from_spec(cls, rest: str) -> Parquet:
        """The sink that ``parquet:DIR`` names."""
        return cls(read_spec("parquet", rest, {}, "parquet:DIR").place)

    @property
    def identity(self) -> str:
        """The scheme and the directory."""
        return f"parquet:{self.path.resolve()}"

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Lock the directory, and bring the lines to where the checkpoint says."""
        if (self.path / NOTE).exists():
            raise UsageError(
                f"the directory {self.path} holds JSON lines of another sink; choose another"
                " directory"
            )
        if (self.path / ".parquet.lock").exists():
            raise UsageError(
                f"the directory {self.path} holds Parquet files of an earlier version, which are"
                " not continued; choose another directory"
            )
        stored = await self._lines.open(checkpoint)
        self._is_open = True
        return stored

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window in the place of all that overlap it; durable on return."""
        firsts = {batch.window.endpoint: batch for batch in reversed(batches) if batch.count}
        drift: list[str] = []
        for name, batch in firsts.items():
            if batch.endpoint is not None and name not in self._tables:
                await self._lines.call(self._describe, name, batch.endpoint.fields)
            if name in self._tables:  # what is new in an answer is in all its records
                table = self._tables[name]
                table.rows(batch)
                drift += table.drift()
        written = await self._lines.write(batches, fence)
        return written._replace(drift=drift)

    async def close(self) -> None:
        """Write the files of the years that have changed, and unlock the directory."""
        is_open, self._is_open = self._is_open, False
        try:
            if is_open:
                await self._lines.call(self._derive_all)
        finally:
            await self._lines.close()

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        """The names of the interfaces of which records stand here."""
        return self._lines.endpoints(checkpoint)

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[StoredWindow]:
        """Each stored window of an interface, from the lines."""
        return self._lines.scan(endpoint, appids, checkpoint)

    # on the sink's thread

    def _describe(self, endpoint: str, fields: Sequence[Field]) -> None:
        """Keep the fields of an interface: a later run may have to derive its files."""
        self._tables[endpoint] = arrow.table_of(endpoint, fields)
        encoded = parse(encode(fields))
        if self._state(endpoint).fields != encoded:
            self._keep(endpoint, State(encoded))

    def _state(self, endpoint: str) -> State:
        try:
            return State(**parse(self._state_file(endpoint).read_bytes()))
        except (OSError, ValueError, TypeError):
            return State()

    def _keep(self, endpoint: str, state: State) -> None:
        path = self._state_file(endpoint)
        draft = path.with_suffix(".json.tmp")
        with _create(draft) as file:
            durable.write(file.fileno(), encode(state._asdict()), "state of Parquet files")
            durable.sync(file.fileno(), "state of Parquet files")
        durable.rename(draft, path, "state of Parquet files")

    def _state_file(self, endpoint: str) -> Path:
        return self._lines.path / f"{endpoint}.json"

    def _derive_all(self) -> None:
        described = {path.stem for path in self._lines.path.glob("*.json")}
        for endpoint in sorted({*self._lines.endpoints(), *described}):
            state, segments = self._state(endpoint), self._lines.lengths(endpoint)
            there = all(_made_from(self._file(endpoint, year)) for year in state.years)
            if state.segments != segments or not there:
                years = self._derive(endpoint, _fields(state.fields))
                self._keep(endpoint, State(state.fields, segments, years))

    def _derive(self, endpoint: str, fields: Sequence[Field]) -> list[int]:
        """Bring the files of an interface up to date; gives their years."""
        table = arrow.table_of(endpoint, fields)
        schema = arrow.schema_of(table)
        sizes: defaultdict[_Key, int] = defaultdict(int)
        sums: defaultdict[int, int] = defaultdict(int)
        windows = _Windows(lambda: self._lines.windows(endpoint))
        for found in windows:
            whole = b"".join(found.lines)
            sizes[_key(found)] += len(whole)
            sums[found.window.begin.year] += crc32(whole)
        columns = crc32(str(schema).encode())
        made_from = {year: f"{total} {columns}" for year, total in sums.items()}
        stale = {
            year: said
            for year, said in made_from.items()
            if _made_from(self._file(endpoint, year)) != said
        }
        self._write_years(windows, table, schema, stale, sizes)
        for path in (self.path / endpoint).glob("*.parquet"):
            if _FILE.fullmatch(path.name) and int(path.stem) not in made_from:
                with suppress(SinkError):  # somebody else's
                    _made_from(path)
                    durable.remove(path, "Parquet file without records")
        return sorted(made_from)

    def _write_years(
        self,
        windows: Iterable[WindowLines],
        table: Table,
        schema: Any,
        stale: Mapping[int, str],
        sizes: Mapping[_Key, int],
    ) -> None:
        """Write these years; stale: what each is made from."""
        writer: Writer | None = None
        try:
            for keys in _portions({key: sizes[key] for key in sorted(sizes) if key[0] in stale}):
                held = _held(windows, keys)
                for key in keys:
                    if writer is not None and writer.year != key[0]:
                        writer.finish(stale[writer.year])
                        writer = None
                    if writer is None:
                        writer = Writer(self._file(table.name, key[0]), key[0], table, schema)
                    writer.add(held.pop(key))
            if writer is not None:
                writer.finish(stale[writer.year])
        finally:
            if writer is not None:
                writer.abandon()

    def _file(self, endpoint: str, year: int) -> Path:
        return self.path / endpoint / f"{year:04}.parquet"


class _Windows:
    """The stored windows of an interface, which can be gone through several times.

    They are kept if they are few: to read them once more takes as long as to convert them.
    """

    def __init__(self, read: Callable[[], Iterator[WindowLines]]) -> None:
        self._read = read
        self._kept: list[WindowLines] | None = None

    def __iter__(self) -> Iterator[WindowLines]:
        if self._kept is not None:
            yield from self._kept
            return
        kept, size = list[WindowLines](), 0
        for found in self._read():
            size += sum(map(len, found.lines))
            if size <= _HELD:
                kept.append(found)
            else:
                kept.clear()
            yield found
        if size <= _HELD:
            self._kept = kept


class Writer:
    """The new file of a year, which is written from beginning to end."""

    def __init__(self, path: Path, year: int, table: Table, schema: Any) -> None:
        self.year = year
        self._path, self._table, self._schema = path, table, schema
        durable.make_directory(path.parent, "folder of Parquet files")
        self._draft = path.with_name(f"{path.name}.tmp")
        self._file = _create(self._draft)
        self._writer = pq.ParquetWriter(
            self._file, schema, compression="zstd", write_page_checksum=True
        )
        self._lines: list[bytes] = []
        self._batches: list[Any] = []
        self._rows = 0

    def add(self, windows: Sequence[WindowLines]) -> None:
        """Write these windows, in their order."""
        for found in windows:
            self._lines += found.lines
            if len(self._lines) >= _CONVERTED:
                self._convert()

    def finish(self, made_from: str) -> None:
        """Write the footer, and put the file in its place."""
        with durable.step("write Parquet file"):
            self._convert()
            self._write_rows()
            self._writer.add_key_value_metadata({_MADE_FROM: made_from.encode()})
            self._writer.close()
            self._file.flush()
        durable.sync(self._file.fileno(), "Parquet file")
        self._file.close()
        durable.rename(self._draft, self._path, "Parquet file")

    def abandon(self) -> None:
        """Close the file, whatever is in it."""
        with suppress(Exception), self._file:
            self._writer.close()

    def _convert(self) -> None:
        if self._lines:
            documents = parse_lines(b"".join(self._lines))
            self._batches.append(arrow.batch_of(self._table, self._schema, documents))
            self._rows += len(documents)
            self._lines = []
        if self._rows >= _ROWS:
            self._write_rows()

    def _write_rows(self) -> None:
        if self._rows:
            group = pa.Table.from_batches(self._batches, self._schema)
            self._writer.write_table(group, row_group_size=self._rows)
        self._batches, self._rows = [], 0


def _made_from(path: Path) -> str | None:
    """What a file says it was made from, None if it is not there; raises `SinkError`."""
    try:
        return bytes((pq.read_metadata(path).metadata or {})[_MADE_FROM]).decode()
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, KeyError, ValueError) as exc:
        raise SinkError(
            f"{path} is damaged, or this harvest did not write it; move it away"
        ) from exc


def _create(path: Path) -> Any:
    path.unlink(missing_ok=True)  # of a process that was killed
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return open(os.open(path, flags, 0o666), "wb", buffering=CHUNK)


def _compression() -> str:
    """The best that is here."""
    try:
        COMPRESSIONS["zstd"]()
    except UsageError:
        return "gzip"
    return "zstd"


def _key(found: WindowLines) -> _Key:
    return found.window.begin.year, found.window.appid


def _held(windows: Iterable[WindowLines], keys: Collection[_Key]) -> dict[_Key, list[WindowLines]]:
    """The windows of these years of accounts, by their first day."""
    held: dict[_Key, list[WindowLines]] = {key: [] for key in keys}
    for found in windows:
        if (key := _key(found)) in held:
            held[key].append(found)
    for some in held.values():
        some.sort(key=lambda found: found.window)
    return held


def _portions(sizes: Mapping[_Key, int]) -> Iterator[list[_Key]]:
    """The years of accounts in portions that are held in memory at once."""
    portion: list[_Key] = []
    size = 0
    for key, more in sizes.items():
        if portion and size + more > _HELD:
            yield portion
            portion, size = [], 0
        portion.append(key)
        size += more
    if portion:
        yield portion


def _fields(encoded: Sequence[Any]) -> tuple[Field, ...]:
    """Fields from what is kept of them."""
    return tuple(
        Field(name, kind, meaning, _fields(fields), item)
        for name, kind, meaning, fields, item in encoded
    )
