"""Records on standard output, one JSON object per line, for pipes.

Rule: output cannot be revoked; so it is written in whole windows, before the ledger commits them.

Beside the fields of a record in any sink a line has ``_id``, which is the same however often the
record is sent: ``<account>/<interface>/<first day>/<last day>/<number>``, the window and the number
in it, from 1; and ``_version``, the same in all lines of a window and later each time that the
window is fetched.  Fields of the answer that are named so stand in an object ``_extra``, as a
database has it.  What a reader can rely on:

- each window arrives at least once.  A run that ends normally writes nothing twice; after a kill
  between writing a group of windows and committing them, the next run writes them again;
- where windows of the same account and interface overlap, the lines with the latest ``_version``
  count, and all others are superseded: so a window that is sent again (``--refresh``, late figures,
  a kill) replaces itself.  A window that has become empty sends no line: what was sent of it stays;
- a line of up to 4,096 bytes enters a pipe completely or not at all; a kill can cut a longer one;
- lines that a reader leaves unread in the pipe when it ends are lost: they count as written.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from harvester.base.codec import encode, parse
from harvester.base.files import is_full, step
from harvester.errors import ReaderGoneError, SinkError, UsageError
from harvester.model import Batch
from harvester.sinks.base import Checkpoint, Fence, Sink, Written
from harvester.texts import of_system, say

ADDED = ("_id", "_version", "_extra")
"""Fields of a line that are not the answer's own."""
CHUNK = 4096
"""Bytes that a pipe takes at once, or not at all (POSIX allows less; no system does that)."""


class StandardOutput(Sink):
    """The sink ``-``.

    descriptor: where to write to, in place of the process's standard output; it is never closed.
    """

    identity = "-"
    listed = False
    takes_lines = True

    def __init__(self, descriptor: int | None = None) -> None:
        self._given = descriptor
        self._descriptor = -1
        self._room: Any = None

    @classmethod
    def from_spec(cls, rest: str) -> StandardOutput:
        if rest:
            raise UsageError("sink: -:{} is not a sink; write it as -", rest)
        return cls()

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        if self._given is None and sys.__stdout__ is None:
            raise UsageError("sink: standard output is closed, so nothing can be written to it")
        try:
            descriptor = self._given if self._given is not None else _standard()
            mode = os.fstat(descriptor).st_mode
        except (OSError, ValueError) as exc:
            raise UsageError("sink: standard output cannot be written ({})", exc) from exc
        self._descriptor = descriptor
        if not stat.S_ISREG(mode):
            self._room = select.poll()
            self._room.register(descriptor, select.POLLOUT)
        return {}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        try:
            with step("write standard output"):
                for piece in pieces(b"".join(map(lines_of, batches))):
                    await self._put(piece)
        except BrokenPipeError:
            raise ReaderGoneError("the reader of standard output has closed it") from None
        except OSError as exc:
            full = is_full(exc)
            what = say("the disk is full") if full else of_system(exc)
            raise SinkError(
                "standard output could not be written: {}; fix the cause and run the same "
                "command again",
                what,
            ) from exc
        return Written()

    async def _put(self, piece: memoryview) -> None:
        while piece:
            if self._room is not None and not self._room.poll(0):
                await _room_in(self._descriptor)
            piece = piece[os.write(self._descriptor, piece) :]

    async def close(self) -> None:
        """Standard output stays open: it is the process's."""
        self._descriptor, self._room = -1, None


async def _room_in(descriptor: int) -> None:
    loop, room = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(descriptor, room.set)
    try:
        await room.wait()
    finally:
        loop.remove_writer(descriptor)


def _standard() -> int:
    assert sys.__stdout__ is not None
    sys.__stdout__.flush()
    return sys.__stdout__.fileno()


def lines_of(batch: Batch) -> bytes:
    """The lines of a window, with their ids and its version."""
    place = "/".join(map(str, batch.window))
    end = b',"_version":%d}\n' % batch.version
    lines = batch.lines().split(b"\n")[:-1]
    return b"".join(
        [
            line[:-1] + b',"_id":' + encode(f"{place}/{number}") + end
            for number, line in enumerate(map(_aside, lines), 1)
        ]
    )


def _aside(line: bytes) -> bytes:
    """A line in which own fields with the names of the added ones are in an object ``_extra``."""
    if not any(b'"%b":' % name.encode() in line for name in ADDED):
        return line
    record = parse(line)
    extra = {name: record.pop(name) for name in ADDED if name in record}
    return encode({**record, "_extra": extra}) if extra else line


def pieces(data: bytes) -> Iterator[memoryview]:
    """The data in pieces that a pipe takes at once, cut between lines where possible."""
    view, start = memoryview(data), 0
    while start < len(data):
        end = min(start + CHUNK, len(data))
        if end < len(data) and (cut := data.rfind(b"\n", start, end)) >= 0:
            end = cut + 1
        yield view[start:end]
        start = end
