"""The sinks that must survive a crash, a row a sink.

Rule: a sink joins by its row: how it is made, and how its records are read by somebody who knows
nothing of harvester.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harvester.sinks.base import Sink
from harvester.sinks.jsonl import JsonLines
from tests.support import bare

Record = dict[str, Any]


class Row(NamedTuple):
    """One sink.

    make: the sink whose destination belongs to a directory; each call gives a fresh object.
    read: every record that stands there, with ``_appid``, ``_endpoint``, ``_begin_date``.
    shape: a record of the truth, or one that was read, in the form in which the two are compared.
    tear: leaves behind what a write leaves that was cut off in its midst.
    virtual: whether it can live in virtual time; what needs a socket cannot.
    needs: skips the test, with the reason, where something is missing (fails it under CI).
    """

    make: Callable[[Path], Sink]
    read: Callable[[Path], Iterator[Record]]
    shape: Callable[[Record], Record] = bare
    tear: Callable[[Path], None] | None = None
    virtual: bool = True
    needs: Callable[[], None] = lambda: None


def _read_lines(directory: Path) -> Iterator[Record]:
    for path in sorted(directory.glob("*/*.jsonl")):
        yield from map(json.loads, path.read_bytes().splitlines())


def _tear_lines(directory: Path) -> None:
    """The end of each interface's last segment is a line that was not written to its end."""
    for folder in {path.parent for path in directory.glob("*/*.jsonl")}:
        last = max(folder.glob("*.jsonl"))
        with last.open("ab") as file:
            file.write(b'{"title":"half a li')


SINKS: dict[str, Row] = {
    "jsonl": Row(
        lambda directory: JsonLines(directory, segment_bytes=4096), _read_lines, tear=_tear_lines
    ),
}
