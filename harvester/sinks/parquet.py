"""Parquet on disk: ``DIR/<endpoint>/window_year=2024/000001.parquet`` and so on.

Rule: a committed record stands in the log or in one file; the log wins until it is merged.

The folders are Hive partitions by the year in which a window begins: ten years of an interface are
ten files and not thousands, a window that is replaced costs one year's file, and a reader who asks
for a year opens no other.  No column is called ``window_year``, so nothing clashes.

A commit is appended to a log of lines (``DIR/.log/<endpoint>/000001.jsonl``), which is durable at
the price of a JSON line.  Once a log has grown large, and when a run comes to its end, it is
merged: its records become rows, windows that were replaced leave the files that held them, small
files become one, and the log goes.  All of that counts at once, when its receipt is stored; a crash
before that leaves the log, a crash after it the files (see `harvester.sinks.store`).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harvester.endpoint import Endpoint
from harvester.errors import SinkError
from harvester.model import Batch, Tally, Window
from harvester.sinks import arrow
from harvester.sinks.base import Found, Receipt, Stored, Wanted, Written
from harvester.sinks.columns import Table
from harvester.sinks.compression import Plain
from harvester.sinks.directory import DirectorySink
from harvester.sinks.logs import Entry, Log, added, is_log
from harvester.sinks.merge import Merged
from harvester.sinks.partition import Windows, crc, fetched_in, schema_in, windows_in
from harvester.sinks.segments import Mark, Whole, by_endpoint
from harvester.sinks.spec import read_spec
from harvester.sinks.standing import FOUND, LOGS, Standing

FILE_BYTES = 64 * 1024 * 1024
LOG_BYTES = 32 * 1024 * 1024
_REMEMBERED = 4  # files of which the windows are kept at hand
_SMALL = 8  # files of a year that are less than half full are merged when they are so many
_NAMES = re.compile(rf"[^/]+/window_year=\d{{4}}/\d{{6}}\.parquet|\{LOGS}/[^/]+/\d{{6}}\.jsonl")


class Parquet(DirectorySink):
    """The Parquet sink; one process a directory.

    directory: made if it is not there.  file_bytes: about the size of a full file.  log_bytes: a
    log of this size is merged.
    """

    scheme = "parquet"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        file_bytes: int = FILE_BYTES,
        log_bytes: int = LOG_BYTES,
    ) -> None:
        super().__init__(directory, _NAMES, merges=True)
        self._file_bytes = file_bytes
        self._log_bytes = log_bytes
        self._tables: dict[str, Table] = {}
        self._logs: dict[str, Log] = {}
        self._last: dict[str, int] = {}  # the highest number that a folder has ever had
        self._found = False
        self._unheard: set[Window] = set()
        self._known: dict[str, Windows] = {}

    @classmethod
    def from_spec(cls, rest: str) -> Parquet:
        """The sink that ``parquet:DIR`` names."""
        return cls(read_spec("parquet", rest, {}, "parquet:DIR").place)

    def describe(self, endpoints: Sequence[Endpoint]) -> None:
        """Take the columns from the catalogue."""
        for endpoint in endpoints:
            self._tables[endpoint.name] = arrow.table_of(endpoint.name, endpoint.fields)

    def standing(self) -> Iterable[Window]:
        """The windows that stood here when it was opened, and no receipt spoke of."""
        return self._unheard

    async def adopt(self) -> tuple[Receipt, Sequence[Found]]:
        """Everything that stands here; the ledger will know of it from now on."""
        return await self._own_thread.call(self._all_found)

    # on the sink's thread: opening

    def _open(self, receipt: Receipt) -> Receipt:
        with self._translated():
            self._store.claim()
            if self._store.recover(receipt):
                self._found = FOUND in receipt
                self._replay()
                self._note_unheard()
                return {}
            return self._adopt(receipt)

    def _adopt(self, former: Receipt) -> Receipt:
        """Keep what stands here, whoever wrote it."""
        for name in self._store.adopt(former, self._recognised()):
            path = self.directory / name
            if name.startswith(LOGS):
                self._store.mark(name, Mark(Plain().cut_torn_end(path)))
            else:
                windows_in(path)  # or say that it is damaged
                self._store.mark(name, Mark(path.stat().st_size, 0, crc(path)))
        self._found = bool(self._store.marks)
        self._replay()
        self._note_unheard()
        return {**self._store.adopted(former), **({FOUND: "1"} if self._found else {})}

    def _recognised(self) -> set[str]:
        """The folders that look as if a harvester had made them."""
        found = {LOGS for path in self.directory.glob(f"{LOGS}/*/*.jsonl") if is_log(path)}
        for path in self.directory.glob("*/window_year=*/*.parquet"):
            folder = path.parent.parent.name
            if folder not in found and _is_readable(path):
                found.add(folder)
        return found

    def _replay(self) -> None:
        for name in sorted(self._store.marks):
            folder = name.rpartition("/")[0]
            self._last[folder] = max(self._last.get(folder, 0), int(Path(name).stem))
            if name.startswith(LOGS):
                log = self._logs.setdefault(Path(folder).name, Log(name))
                log.replay(self.directory / name, self._store.marks[name].size)
                if self._found:  # files may hold them, too: a merge that was not finished
                    log.replacing.update(log.entries)

    def _note_unheard(self) -> None:
        if self._found:
            in_logs = [window for log in self._logs.values() for window in log.entries]
            in_files = [window for name in self._names() for window in self._staying_in(name)]
            self._unheard = {*in_logs, *in_files}

    def _names(self) -> list[str]:
        """The files, without the logs."""
        return sorted(name for name in self._store.marks if not name.startswith(LOGS))

    def _staying_in(self, name: str) -> Windows:
        """What a file holds, less what has given way to a log."""
        log = self._logs.get(name.partition("/")[0])
        gone = Whole(log.replacing if log is not None else ())
        held = windows_in(self._store.path(name))
        return {each: tally for each, tally in held.items() if gone.around(each) is None}

    def _all_found(self) -> tuple[Receipt, list[Found]]:
        """All that stands here; a merge that was not finished stays in the receipt."""
        found: dict[Window, Found] = {}
        doubled = False
        with self._translated():
            for name in self._names():
                path = self._store.path(name)
                staying, fetched = self._staying_in(name), fetched_in(path)
                doubled = doubled or len(staying) < len(windows_in(path))
                for window, tally in staying.items():
                    found[window] = Found(window, *tally, fetched.get(window, ""))
        for log in self._logs.values():
            last = max(log.entries.values(), key=lambda entry: entry.offset, default=None)
            for window, entry in log.entries.items():
                whole = entry is not last  # a process may have died while it was written
                found[window] = Found(window, *entry.tally, entry.fetched_at, whole)
        return ({} if doubled else {FOUND: ""}), list(found.values())

    # on the sink's thread: writing

    def _write(self, batches: Sequence[Batch]) -> Written:
        replaced: dict[Window, Tally] = {}
        drift: list[str] = []
        with self._translated():
            for endpoint, group in by_endpoint(batches).items():
                log, _ = self._log(endpoint), self._table(endpoint)
                standing = {batch.window for batch in group if batch.replaces or self._found}
                if standing:
                    added(replaced, self._standing(endpoint, log, standing))
                if data := log.add(group, standing):
                    if log.name not in self._store.marks:
                        self._store.refuse_foreign(log.name)
                    self._store.append(log.name, data)
                if log.size >= self._log_bytes:
                    drift += self._merge(endpoint, final=False)
            return Written(self._store.receipt(), replaced, drift)

    def _log(self, endpoint: str) -> Log:
        log = self._logs.get(endpoint)
        if log is None:
            log = self._logs[endpoint] = Log(f"{self._next(f'{LOGS}/{endpoint}')}.jsonl")
        return log

    def _next(self, folder: str) -> str:
        """The next number of a folder; none is used twice."""
        self._last[folder] = self._last.get(folder, 0) + 1
        return f"{folder}/{self._last[folder]:06}"

    def _standing(
        self, endpoint: str, log: Log, windows: set[Window]
    ) -> Iterator[tuple[Window, Tally]]:
        """What the log and the files hold of these windows; the log forgets it."""
        gone = Whole(log.replacing)
        around = Whole(windows)
        for name in self._files(endpoint, windows):
            for stored, tally in self._windows_in(name).items():
                window = around.around(stored)
                if window is not None and gone.around(stored) is None:
                    yield window, tally
        yield from log.take_out(windows)

    def _files(self, endpoint: str, windows: Iterable[Window]) -> list[str]:
        """The files that can hold windows within these."""
        years = {
            year for window in windows for year in range(window.begin.year, window.end.year + 1)
        }
        return [name for year in sorted(years) for name in self._files_of(endpoint, year)]

    def _files_of(self, endpoint: str, year: int) -> list[str]:
        folder = _folder(endpoint, year)
        return sorted(name for name in self._store.marks if name.startswith(f"{folder}/"))

    def _windows_in(self, name: str) -> Windows:
        """What a file says it holds; remembered for the last few that were asked for."""
        key = f"{name} {self._store.marks[name]}"
        found = self._known.get(key)
        if found is None:
            while len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            found = self._known[key] = windows_in(self._store.path(name))
        return found

    # on the sink's thread: merging

    def _merge(self, endpoint: str, *, final: bool) -> list[str]:
        """Turn the log into rows of files; gives what drifted."""
        log, table = self._log(endpoint), self._table(endpoint)
        years: dict[int, list[tuple[Window, Entry]]] = defaultdict(list)
        for window, entry in sorted(log.entries.items()):
            years[window.begin.year].append((window, entry))
        others = [name for name in self._store.marks if name.startswith(f"{endpoint}/")]
        for name in others if final else self._files(endpoint, log.replacing):
            years.setdefault(_year(name), [])
        gone = Whole(log.replacing)
        for year in sorted(years):
            self._merge_year(table, year, log, years[year], gone, final=final)
        if log.name in self._store.marks:
            self._store.drop(log.name)
            del self._logs[endpoint]
        return table.drift()

    def _table(self, endpoint: str) -> Table:
        if endpoint not in self._tables:  # nobody has described it
            self._tables[endpoint] = arrow.table_of(endpoint)
        return self._tables[endpoint]

    def _merge_year(
        self,
        table: Table,
        year: int,
        log: Log,
        entries: Sequence[tuple[Window, Entry]],
        gone: Whole,
        *,
        final: bool,
    ) -> None:
        files = self._files_of(table.name, year)
        hit = [name for name in files if self._must_change(name, table, gone, final=final)]
        small = [
            name
            for name in files
            if name not in hit and self._store.marks[name].size < self._file_bytes // 2
        ]
        former = hit + (small if final or len(small) >= _SMALL else [])
        if not entries and not hit and len(former) < 2:
            return
        name_next = self._name(table, year)
        with Merged(self._store, table, self._file_bytes, former, name_next) as merged:
            for name in former:
                merged.add_file(self._store.path(name), self._windows_in(name), gone)
            merged.add_lines(self._store.path(log.name), entries)

    def _must_change(self, name: str, table: Table, gone: Whole, *, final: bool) -> bool:
        """Whether a file holds windows that are gone, or has other columns than the table."""
        if gone and any(map(gone.around, self._windows_in(name))):
            return True
        return final and not schema_in(self._store.path(name)).equals(arrow.schema_of(table))

    def _name(self, table: Table, year: int) -> Callable[[], str]:
        return lambda: f"{self._next(_folder(table.name, year))}.parquet"

    def _finish(self) -> Written:
        drift: list[str] = []
        with self._translated():
            for endpoint in sorted(self._tables):  # those of this run: of others the fields are
                drift += self._merge(endpoint, final=True)  # not known
            return Written(self._store.receipt(), {}, drift)

    def _forget(self) -> None:
        self._logs.clear()
        self._known.clear()

    # reading

    def stored(self, receipt: Receipt) -> Iterator[Stored]:
        """Each window that has records, whole or in parts; each file is read and checked."""
        return Standing(self._store, receipt).stored()

    def batches(self, table: Table, receipt: Receipt | None, wanted: Wanted) -> Iterator[Any]:
        """The records of an interface as `pyarrow.RecordBatch` objects of the table's columns.

        receipt, wanted: as of `Documented.documents`.
        """
        return Standing(self._store, receipt).batches(table, wanted)


def _folder(endpoint: str, year: int) -> str:
    return f"{endpoint}/window_year={year:04}"


def _year(name: str) -> int:
    return int(Path(name).parent.name.partition("=")[2])


def _is_readable(path: Path) -> bool:
    try:
        windows_in(path)
    except SinkError:
        return False
    return True
