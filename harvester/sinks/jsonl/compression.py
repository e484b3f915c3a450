"""How lines are compressed: not at all, as gzip members, as Zstandard frames.

Rule: each write is one member (or frame) of its own, so a file can be cut after any of them.
"""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from io import FileIO
from typing import Any

from harvester.errors import SinkError, UsageError, needs

CHUNK = 1 << 20
_PACKED_CHUNK = 1 << 16  # what follows a member is copied once a member
_GZIP_LEVEL, _GZIP_FORM = 6, 31
_ZSTD_LEVEL = 3


class Plain:
    """Uncompressed lines."""

    suffix = ""

    def pack(self, pieces: Iterable[bytes]) -> bytes:
        """All pieces as one member; they are not joined before, which would copy them."""
        packer = self.packer()
        return b"".join([*map(packer.compress, pieces), packer.flush()])

    def packer(self) -> Any:
        """Makes one member piece by piece, by `compress` and `flush` as `zlib` has them."""
        return _Unchanged()

    def pieces(self, file: FileIO, size: int) -> Iterator[bytes]:
        """What a file holds up to a size, unpacked; raises `SinkError` if that cannot be done."""
        place = 0
        while data := os.pread(file.fileno(), min(CHUNK, size - place), place):
            place += len(data)
            yield data

    def whole(self, file: FileIO) -> int:
        """The length of the whole lines, or members, at the beginning of a file."""
        end = file.seek(0, io.SEEK_END)
        while end:
            start = max(0, end - CHUNK)
            file.seek(start)
            found = (file.read(end - start) or b"").rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


class _Unchanged:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class Packed(Plain):
    """Members of a compression, one after the other."""

    def unpacker(self) -> Any:
        """Reads one member, by `decompress` as `zlib` has it."""
        raise NotImplementedError

    def pieces(self, file: FileIO, size: int) -> Iterator[bytes]:
        return (data for data, _ in self._unpacked(file, size))

    def whole(self, file: FileIO) -> int:
        end = 0
        for _, member_end in self._unpacked(file, file.seek(0, io.SEEK_END), torn=True):
            end = member_end or end
        return end

    def _unpacked(
        self, file: FileIO, size: int, *, torn: bool = False
    ) -> Iterator[tuple[bytes, int]]:
        """What is packed, piece by piece, with the place of a member's end, or 0 within one."""
        unpacker = self.unpacker()
        file.seek(0)
        place, within = 0, False
        while place < size and (data := file.read(min(_PACKED_CHUNK, size - place))):
            place += len(data)
            while data:
                try:
                    piece = unpacker.decompress(data)
                except Exception as exc:
                    raise self._damaged(file, place - len(data)) from exc
                within = not unpacker.eof
                data = b"" if within else unpacker.unused_data
                yield piece, 0 if within else place - len(data)
                if not within:
                    unpacker = self.unpacker()
        if (within and not torn) or place < size:
            raise self._damaged(file, place)

    @staticmethod
    def _damaged(file: FileIO, place: int) -> SinkError:
        return SinkError(
            "{} is damaged near byte {:,} and cannot be unpacked; restore it from a backup, or"
            " move it and the ledger away to harvest everything again",
            file.name,
            place,
        )


class Gzip(Packed):
    """gzip, by the standard library."""

    suffix = ".gz"

    def packer(self) -> Any:
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORM)

    def unpacker(self) -> Any:
        return zlib.decompressobj(_GZIP_FORM)


class Zstd(Packed):
    """Zstandard; raises `UsageError` if it is not available."""

    suffix = ".zst"

    def __init__(self) -> None:
        try:
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
        except ImportError as exc:
            raise UsageError(needs("zstd needs a library", "zstd")) from exc
        self._module: Any = zstd

    def packer(self) -> Any:
        return self._module.ZstdCompressor(level=_ZSTD_LEVEL)

    def unpacker(self) -> Any:
        return self._module.ZstdDecompressor()


COMPRESSIONS: dict[str, type[Plain]] = {"": Plain, "gzip": Gzip, "zstd": Zstd}


def compression_of(name: str) -> Plain:
    """The compression of a file of that name."""
    for made in COMPRESSIONS.values():
        if made.suffix and name.endswith(made.suffix):
            return made()
    return Plain()
