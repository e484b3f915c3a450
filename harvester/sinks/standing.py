"""What counts in a directory of Parquet files and logs.

Rule: reads; what a log says comes before what a file says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harvester.model import Window
from harvester.sinks import arrow
from harvester.sinks.base import Receipt, Stored, Wanted
from harvester.sinks.columns import Table
from harvester.sinks.logs import Log, lines_of
from harvester.sinks.merge import chunks
from harvester.sinks.partition import batches_in, counted, crc, damaged, windows_in
from harvester.sinks.segments import Mark, Whole, marks_of
from harvester.sinks.store import Store

LOGS = ".log"
FOUND = "found"
"""In a receipt: the directory held records then, of which the ledger knows nothing."""


class Standing:
    """The files and logs that a receipt speaks of; without one, all of them.

    Raises `SinkError` if one of them is gone.
    """

    def __init__(self, store: Store, receipt: Receipt | None) -> None:
        self._logs: dict[str, tuple[Path, Log]] = {}
        self._files: dict[str, list[tuple[Path, Mark | None]]] = {}
        self._gone: dict[str, Whole] = {}
        found = receipt is None or FOUND in receipt
        marks = marks_of(receipt or {})
        for name, path, size in store.standing(receipt):
            if not name.startswith(LOGS):
                self._files.setdefault(name.partition("/")[0], []).append((path, marks.get(name)))
                continue
            log = Log(name)
            log.replay(path, size)
            self._logs[path.parent.name] = (path, log)
            replacing = log.replacing | (log.entries.keys() if found else set())
            self._gone[path.parent.name] = Whole(replacing)

    def stored(self) -> Iterator[Stored]:
        """Each window that has records, whole or in parts; raises `SinkError` for a bad file."""
        for _, log in self._logs.values():
            yield from (Stored(window, each.records) for window, each in log.entries.items())
        for endpoint, files in self._files.items():
            for path, mark in files:
                if mark is not None and crc(path) != mark.tag:
                    raise damaged(path)
                for stored in counted(path):
                    if self._stays(endpoint, stored.window):
                        yield stored

    def _stays(self, endpoint: str, window: Window) -> bool:
        return endpoint not in self._gone or self._gone[endpoint].around(window) is None

    def batches(self, table: Table, wanted: Wanted) -> Iterator[Any]:
        """The records of an interface, as batches of its table's columns."""
        schema = arrow.schema_of(table)
        for path, _ in self._files.get(table.name, []):
            if wanted.narrow and not any(map(wanted.window, windows_in(path))):
                continue
            for batch in batches_in(path):
                stays = [
                    wanted.window(window) and self._stays(table.name, window)
                    for window in arrow.windows_of(batch)
                ]
                if any(stays):
                    yield arrow.refitted(table, schema, arrow.only(batch, stays))
        if table.name in self._logs:
            path, log = self._logs[table.name]
            listed = [
                (window, each)
                for window, each in sorted(log.entries.items())
                if wanted.window(window)
            ]
            for chunk in chunks(listed):
                yield arrow.batch_of_lines(table, schema, lines_of(path, chunk))
