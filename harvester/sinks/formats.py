"""How lines become the bytes of an object, and the way back.

Rule: bytes in, bytes out; where they lie is another room's matter.

A format tells itself by the suffix of an object's name, so a sink can go on in another one.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from harvester.errors import SinkError


class Format(Protocol):
    """One way to keep lines.

    suffix: what an object's name ends with, the dot included.
    heavy: it takes so long to pack that the event loop should not wait for it.
    """

    suffix: str
    heavy: bool

    def pack(self, lines: bytes) -> bytes:
        """The bytes of an object that holds these lines, each with its end."""
        ...

    def lines(self, data: bytes) -> Iterator[bytes]:
        """The lines of an object, one by one; raises `SinkError` if it is damaged."""
        ...

    def join(self, parts: Sequence[bytes]) -> bytes:
        """One object's bytes from those of several, in order."""
        ...


class Plain:
    """JSON lines as they are."""

    suffix = ".jsonl"
    heavy = False

    def pack(self, lines: bytes) -> bytes:
        return lines

    def lines(self, data: bytes) -> Iterator[bytes]:
        return iter(io.BytesIO(data))

    def join(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)


class Gzip:
    """JSON lines in gzip, whose members may follow one another."""

    suffix = ".jsonl.gz"
    heavy = True

    def pack(self, lines: bytes) -> bytes:
        return gzip.compress(lines, 6, mtime=0)

    def lines(self, data: bytes) -> Iterator[bytes]:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                yield from file
        except (OSError, EOFError, zlib.error) as exc:
            raise SinkError(f"an object is damaged ({type(exc).__name__})") from exc

    def join(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)


FORMATS: dict[str, Format] = {"": Plain(), "gzip": Gzip()}
"""By the value of a spec's ``compress``; none of it: as they are."""


def format_of(name: str) -> Format:
    """The format of an object, by its name."""
    for one in FORMATS.values():
        if name.endswith(one.suffix):
            return one
    raise SinkError(f"{name} is of a format that this harvester does not know; use a newer one")
