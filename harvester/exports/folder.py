"""A local directory as the place of an export's files; one export at a time has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

from harvester.base import files as durable
from harvester.errors import UsageError
from harvester.exports.drafts import Claim, Drafts

LOCK = ".harvester.lock"
_DRAFTS = ".harvester.new"


class Folder:
    """A directory."""

    most: int | None = None
    is_shared = False

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self._identity = identity
        self._drafts: Drafts | None = None
        self._claim: Claim | None = None

    def check(self) -> None:
        """Raise `UsageError` for a directory of another use."""
        if (self.path / ".jsonl.lock").exists():
            scheme = self._identity.partition(":")[0]
            raise UsageError(
                "{} holds the records of a run; choose another directory for {}:", self.path, scheme
            )

    def open(self, *, create: bool) -> None:
        """Take it, if anything is to be written; raises `UsageError` as `check` does."""
        self.check()
        if create:
            durable.make_directory(self.path, "directory of an export")
            self._claim = Claim(self.path / LOCK, self._identity)
            self._drafts = Drafts(self.path / _DRAFTS)

    @property
    def drafts(self) -> Drafts:
        assert self._drafts is not None, "not open"
        return self._drafts

    def new_draft(self, name: str) -> BinaryIO:
        """The draft of a file, open to be written."""
        return self.drafts.path(name).open("wb")

    def draft(self, name: str) -> BufferedReader:
        return self.drafts.path(name).open("rb")

    def read(self, name: str) -> bytes:
        """The content of a file; empty if there is none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self.path / name).read_bytes()
        return b""

    def save(self, name: str, data: bytes) -> None:
        draft = self.drafts.path(name)
        draft.write_bytes(data)
        self.drafts.show(name, self.path / name)

    def existing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if (self.path / name).exists()]

    def has(self, name: str, size: int, checksum: str, *, thorough: bool) -> bool:
        """Whether a file is as it was written."""
        with suppress(OSError), (self.path / name).open("rb") as file:
            return file.seek(0, 2) == size and checksum_of(file) == checksum
        return False

    def put(self, name: str) -> None:
        durable.make_directory((self.path / name).parent, "folder of a table")
        self.drafts.show(name, self.path / name)

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone."""
        path = self.path / name
        with suppress(FileNotFoundError):
            durable.remove(path, "file of an export")
        if path.parent != self.path:
            with suppress(OSError):  # it is not empty
                path.parent.rmdir()

    def close(self) -> None:
        drafts, self._drafts = self._drafts, None
        claim, self._claim = self._claim, None
        if drafts is not None:
            drafts.drop()
        if claim is not None:
            claim.release()


def checksum_of(file: BufferedReader | BytesIO) -> str:
    """Of all that is in an open file."""
    file.seek(0)
    made = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return made.hexdigest()
