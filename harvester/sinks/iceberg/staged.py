"""What an Iceberg sink has written and not published yet: staged objects.

Rule: pure; bytes and values.

A staged object is what one write brought: compressed JSON lines after one line that tells the
windows, in order, and the fields of each interface.  So a later process can publish it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from harvester.codec import METADATA_BEGINS, encode, parse
from harvester.endpoint import Field
from harvester.errors import SinkError
from harvester.model import Batch, Window
from harvester.sinks.arrow import pa
from harvester.sinks.groups import by_endpoint, last_of_overlapping
from harvester.sinks.segments import WindowLines

SUFFIX = ".jsonl.zst"
_CODEC = "zstd"
_PIECE = 1 << 16


class Part(NamedTuple):
    """A window in a staged object: where its lines are, in bytes, and how many."""

    window: Window
    fetched_at: str
    records: int
    begin: int
    size: int


class Staged(NamedTuple):
    """A staged object without its lines.

    number: grows with each write.  fields: of each interface.  size: in bytes, as it is stored.
    read: gives the bytes that are stored.
    """

    number: int
    parts: Sequence[Part]
    fields: dict[str, tuple[Field, ...]]
    size: int
    read: Callable[[], bytes]

    def of(self, endpoint: str) -> list[Part]:
        """Its windows of one interface."""
        return [part for part in self.parts if part.window.endpoint == endpoint]

    def lines(self, parts: Sequence[Part]) -> Iterator[WindowLines]:
        """The lines of these windows; those without a record are left out."""
        whole = _unpacked(self.read())
        start = whole.index(b"\n") + 1
        for part in parts:
            if part.records:
                begin = start + part.begin
                lines = whole[begin : begin + part.size].splitlines(keepends=True)
                tail = len(lines[0]) - lines[0].rindex(METADATA_BEGINS)
                yield WindowLines(part.window, part.fetched_at, tail, lines)


def pack(batches: Sequence[Batch]) -> bytes:
    """The batches of a write as a staged object.

    Of those that overlap the later one stays; of the others no record, but their days go, too.
    """
    windows: list[Any] = []
    fields: dict[str, Any] = {}
    bodies: list[bytes] = []
    for name, some in by_endpoint(batches).items():
        kept = {*map(id, last_of_overlapping(some))}
        known = [batch.endpoint.fields for batch in some if batch.endpoint is not None]
        fields[name] = _encoded(known[0]) if known else []
        for batch in some:
            body = batch.lines() if id(batch) in kept else b""
            count = batch.count if body else 0
            windows.append([*batch.window, batch.fetched_at, count, len(body)])
            bodies.append(body)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, _CODEC) as out:
        out.write(encode({"windows": windows, "fields": fields}) + b"\n")
        out.write(b"".join(bodies))
    return bytes(sink.getvalue().to_pybytes())


def read_head(number: int, packed: bytes, read: Callable[[], bytes], where: str) -> Staged:
    """A staged object from its bytes; raises `SinkError` if they are no such object."""
    try:
        told = parse(_first_line(packed))
        parts, at = list[Part](), 0
        for appid, name, begin, end, fetched_at, count, size in told["windows"]:
            window = Window(appid, name, date.fromisoformat(begin), date.fromisoformat(end))
            parts.append(Part(window, fetched_at, count, at, size))
            at += size
        fields = {name: fields_of(encoded) for name, encoded in told["fields"].items()}
    except (ValueError, KeyError, TypeError, OSError, pa.ArrowException):
        raise SinkError(
            f"{where} is damaged, or this harvest did not write it; move it away, and run"
            " `harvester rebuild`"
        ) from None
    return Staged(number, parts, fields, len(packed), read)


def _first_line(packed: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(packed), _CODEC) as stream:
        found = b""
        while b"\n" not in found:
            piece = stream.read(_PIECE)
            if not piece:
                raise ValueError("no line")
            found += piece
    return found.partition(b"\n")[0]


def _unpacked(packed: bytes) -> bytes:
    try:
        with pa.CompressedInputStream(pa.BufferReader(packed), _CODEC) as stream:
            return bytes(stream.read())
    except (OSError, pa.ArrowException) as exc:
        raise SinkError(f"a staged object is damaged ({exc}); run `harvester rebuild`") from None


def _encoded(fields: Sequence[Field]) -> list[Any]:
    return [[*field[:3], _encoded(field.fields), field.item] for field in fields]


def fields_of(encoded: Sequence[Any]) -> tuple[Field, ...]:
    """Fields from what is kept of them."""
    return tuple(
        Field(name, kind, meaning, fields_of(fields), item)
        for name, kind, meaning, fields, item in encoded
    )
