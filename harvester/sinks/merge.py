"""The files of one year written anew, with what a log has to add.

Rule: rows are copied batch by batch, and nothing but the windows of a file is held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from harvester import durable
from harvester.model import Window
from harvester.sinks import arrow
from harvester.sinks.columns import Table
from harvester.sinks.logs import Entry, lines_of
from harvester.sinks.partition import Windows, Writer, batches_in, crc
from harvester.sinks.segments import Whole
from harvester.sinks.store import Store

CHUNK = 1 << 19
"""Bytes of lines that are turned into columns at once."""


class Merged:
    """New files of one year, made of old ones and of lines.

    former: the files that they take the place of; the first ones take over their names.
    """

    def __init__(
        self,
        store: Store,
        table: Table,
        file_bytes: int,
        former: Sequence[str],
        new_name: Callable[[], str],
    ) -> None:
        self._store = store
        self._table = table
        self._schema = arrow.schema_of(table)
        self._file_bytes = file_bytes
        self._former = [*former]
        self._new_name = new_name
        self._name = ""
        self._writer: Writer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if kind is None:
            self._close()
        elif self._writer is not None:
            self._writer.abandon()

    def add_file(self, path: Path, windows: Windows, gone: Whole) -> None:
        """The rows of a file, less those of windows that are gone."""
        stays = {window: gone.around(window) is None for window in windows}
        writer = self._ready()
        for batch in batches_in(path):
            if not all(stays.values()):
                batch = arrow.only(
                    batch, [stays.get(each, True) for each in arrow.windows_of(batch)]
                )
            writer.add(arrow.refitted(self._table, self._schema, batch))
        writer.windows.update({each: tally for each, tally in windows.items() if stays[each]})

    def add_lines(self, path: Path, entries: Sequence[tuple[Window, Entry]]) -> None:
        """The records of a log."""
        for chunk in chunks(entries):
            writer = self._ready()
            groups = lines_of(path, chunk)
            writer.add(arrow.batch_of_lines(self._table, self._schema, groups))
            writer.windows.update({window: entry.tally for window, entry in chunk})

    def _close(self) -> None:
        """Have the new files take the place of the former ones."""
        self._end()
        for name in self._former:
            self._store.drop(name)

    def _ready(self) -> Writer:
        """The file that grows; another one if it is full."""
        if self._writer is not None and self._writer.size >= self._file_bytes:
            self._end()
        if self._writer is None:
            self._name = self._former.pop(0) if self._former else self._new_name()
            if self._name not in self._store.marks:
                self._store.refuse_foreign(self._name)
            self._writer = Writer(self._store.draft(self._name), self._schema)
        return self._writer

    def _end(self) -> None:
        if self._writer is not None:
            size = self._writer.close()
            draft = self._store.draft(self._name)
            if self._writer.windows:
                self._store.replace(self._name, size, crc(draft))
            else:
                durable.remove(draft, "rewritten segment that holds nothing")
                self._former.append(self._name)  # all of it is gone
            self._writer = None


def chunks(entries: Sequence[tuple[Window, Entry]]) -> Iterator[list[tuple[Window, Entry]]]:
    """The entries, in groups of a size that fits into memory."""
    chunk: list[tuple[Window, Entry]] = []
    size = 0
    for each in entries:
        chunk.append(each)
        size += each[1].size
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
