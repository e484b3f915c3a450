"""The directory of a sink of JSON lines: the names of its files, its lock, and its state.

Rule: knows of a file's content only whether it is ours.

``DIR/<interface>/2026-01.jsonl`` has the windows of a month, ``2019.jsonl`` those of a past year,
with ``.gz`` or ``.zst`` if it is compressed.  ``DIR/.<interface>.replaced`` is the journal of an
interface.  Each new or rewritten file is written to ``DIR/.jsonl.draft``, and gets its name when it
is durable: so no file is ever seen half, and one that the ledger does not know has whole lines.
``DIR/.jsonl.lock`` is empty, and only locked; ``DIR/.jsonl.state`` has the state.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, NamedTuple
from zlib import crc32

from harvester.base import files as durable
from harvester.base.codec import METADATA_BEGINS, encode, parse
from harvester.base.lock import FileLock
from harvester.errors import SinkError, UsageError, unreadable
from harvester.sinks.jsonl.compression import CHUNK, compression_of
from harvester.texts import of_system, say

LOCK, STATE, DRAFT = ".jsonl.lock", ".jsonl.state", ".jsonl.draft"
NAME = re.compile(r"[^/]+/\d{4}(-\d\d)?\.jsonl(\.gz|\.zst)?")
_JOURNAL = re.compile(r"\.([^/]+)\.replaced")
_FORMAT = 3
CHECKED = 4096
"""Bytes before the noted end of a file whose checksum is noted, too."""
_ENDPOINT = re.compile(rb'"_endpoint": ?("(?:[^"\\]|\\.)*")')
"""As we write it, or with a space, as others do that write JSON."""


def journal_of(endpoint: str) -> str:
    """The name of an interface's journal."""
    return f".{endpoint}.replaced"


def is_journal(name: str) -> bool:
    """Whether a journal is named so."""
    return _JOURNAL.fullmatch(name) is not None


def endpoint_of(name: str) -> str:
    """The interface of a file or of a journal."""
    journal = _JOURNAL.fullmatch(name)
    return journal[1] if journal else name.partition("/")[0]


class State(NamedTuple):
    """What a directory says of itself.

    owner: the id of the harvest that is stored here.  number: of the latest settling.  whole: None
    once something was written since; else the bytes, of all files together, that the ledger had
    stored when that settling began.
    """

    owner: str = ""
    number: int = 0
    whole: int | None = None


class Directory:
    """One directory, which one process at a time has locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FileLock | None = None

    @property
    def is_locked(self) -> bool:
        return self._lock is not None

    @property
    def command(self) -> str:
        return say("harvester rebuild --out {}", shlex.quote(str(self.path)))

    def lock(self) -> None:
        """Make it and lock it; raises `UsageError` if it cannot be used."""
        try:
            durable.make_directory(self.path, "directory of lines")
            self._lock = FileLock(self.path / LOCK, say("the directory {}", self.path))
        except OSError as exc:
            if durable.is_full(exc):
                raise  # nothing is wrong with the directory
            raise UsageError(
                "the directory {} cannot be written ({})", self.path, of_system(exc)
            ) from exc

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def note(self) -> bytes:
        with suppress(FileNotFoundError):
            return (self.path / STATE).read_bytes()
        return b""

    def state(self, *, lenient: bool = False) -> State | None:
        """The state, None if there is none; lenient: or if it is damaged.

        Raises `UsageError` if the files are of another format, `SinkError` if it is damaged.
        """
        form, state = _FORMAT, None
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            found = parse(self.note())
            form = int(found.get("format", _FORMAT))
            whole = found["whole"]
            state = State(str(found["owner"]), int(found["number"]), whole and int(whole))
        if form != _FORMAT:
            raise UsageError(
                "the directory {} contains JSON lines of another version of harvester, which this"
                " version cannot continue; {}",
                self.path,
                unreadable(form, _FORMAT),
            )
        if state is not None:
            return state
        if lenient or not (self.path / STATE).exists():
            return None
        raise SinkError(
            "{} is damaged; {} (with --ledger if the run uses it) makes a new ledger from the"
            " stored records, and the next run makes a new state file",
            self.path / STATE,
            self.command,
        )

    def store(self, state: State) -> None:
        note = {"format": _FORMAT, **state._asdict()}
        durable.replace_file(self.path / STATE, encode(note), "state of lines")

    def names(self, endpoint: str = "") -> list[str]:
        """The names of the journals, then of the files, that have the form of ours."""
        folders = [endpoint] if endpoint else _listed(self.path)
        files = [f"{folder}/{name}" for folder in folders for name in _listed(self.path / folder)]
        journals = [journal_of(endpoint)] if endpoint else filter(is_journal, folders)
        names = [*journals, *sorted(filter(NAME.fullmatch, files))]
        return [name for name in names if (self.path / name).is_file()]

    def ours(self, endpoint: str = "") -> dict[str, None]:
        """Those of them that hold records, or may have held some."""
        return {name: None for name in self.names(endpoint) if self.is_ours(name, damaged=True)}

    def drafts(self) -> list[Path]:
        """Drafts left by a killed process."""
        return [*self.path.glob(DRAFT), *self.path.glob(f".{STATE}.*.new")]

    def is_ours(self, name: str, *, damaged: bool = False) -> bool:
        """Whether a file holds a record of the interface that its name says.

        damaged: the result for a file that cannot be unpacked, or has metadata without interface.
        """
        head, unpacked = b"", True
        named: re.Match[bytes] | None = None
        try:
            for piece in self._pieces(name):
                head += piece
                named = _ENDPOINT.search(head)
                if named or (len(head) >= CHUNK and b"\n" in head):
                    break
        except SinkError:
            unpacked = False
        unsure = not unpacked or (METADATA_BEGINS in head and not named)
        is_named = named is not None and named[1] == encode(endpoint_of(name))
        return is_named or (damaged and unsure)

    def _pieces(self, name: str) -> Iterator[bytes]:
        with suppress(FileNotFoundError), self.opened(name) as file:
            yield from compression_of(name).pieces(file, os.fstat(file.fileno()).st_size)

    def refuse_strangers(self, name: str, known: Container[str]) -> None:
        """Raise `SinkError` if a file beside a new one has a name like ours, and is not ours."""
        for other in self.names(endpoint_of(name)):
            if other not in known and not self.is_ours(other):
                raise SinkError(
                    "{} exists, but this harvest did not write it; move it away, or choose another"
                    " directory",
                    self.path / other,
                )

    def append(self, name: str, size: int, pieces: Sequence[bytes]) -> int:
        """Append pieces to a file that has this number of bytes, durably; returns its new size."""
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_size != size:  # of a write that failed
                durable.truncate(descriptor, size, "lines")
            size += durable.write_pieces(descriptor, pieces, "lines")
            durable.sync(descriptor, "lines")
        finally:
            os.close(descriptor)
        return size

    def check(self, name: str, size: int) -> int:
        """The checksum of the last bytes of a file of this size: another program may change it."""
        with self.opened(name) as file:
            first = max(size - CHECKED, 0)
            return crc32(os.pread(file.fileno(), size - first, first))

    def opened(self, name: str) -> FileIO:
        return (self.path / name).open("rb", buffering=0)

    @contextmanager
    def draft(self, name: str) -> Iterator[IO[bytes]]:
        """A file that replaces another one, or is new, durably after the block."""
        draft, place = self.path / DRAFT, self.path / name
        durable.make_directory(place.parent, "folder of lines")
        draft.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            with open(os.open(draft, flags, 0o666), "r+b", buffering=CHUNK) as file:
                with durable.step("write draft of lines"):
                    yield file
                    file.flush()
                durable.sync(file.fileno(), "draft of lines")
            durable.rename(draft, place, "draft of lines")
        except Exception:
            draft.unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> None:
        """Remove a file, durably: one that reappears would count again."""
        path = self.path / name
        with suppress(FileNotFoundError):
            durable.remove(path, "lines")
        durable.sync_directory(path.parent)

    def cut(self, name: str, size: int) -> None:
        path = self.path / name
        if path.stat().st_size > size:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                durable.truncate(descriptor, size, "lines")
            finally:
                os.close(descriptor)


def _listed(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
