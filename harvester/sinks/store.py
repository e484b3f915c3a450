"""The files of a sink in a directory, each of which counts as far as a receipt says.

Rule: nothing counts, and nothing goes, before the receipt that says so is stored.

A receipt holds a mark for each file: the length up to which it counts, and its generation:

- what lies beyond that length was never committed, and is cut off at the next start;
- to change more of a file than its end, it is written anew beside the old one, as
  ``000001.jsonl.<generation>.tmp``.  Once the receipt with the new generation is stored, the new
  one takes the old one's name.  A crash before that leaves a file that nobody speaks of, which the
  next start removes; a crash after it leaves a file that the receipt names, which the next start
  puts in its place.

That holds only for what this ledger wrote.  A note in the directory names the owner, the ledger or
the run without one that wrote here last, and the folders that were made here.  If that is not the
receipt's (no ledger, a new one over old data, two in turn), nothing is cut or removed: the sink is
told to adopt what stands there.  Folders and files that no harvester made are never touched.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from harvester import durable
from harvester.codec import encode, parse
from harvester.errors import SinkError, UsageError
from harvester.lock import Claim
from harvester.sinks.base import Receipt
from harvester.sinks.compression import compression_of
from harvester.sinks.files import NOTES, tail_of
from harvester.sinks.segments import Mark, marks_of, rewritten_path

OWNER = "owner"  # what the directory's note must say for the receipt to hold
_OWNERS = 100  # so many former owners are remembered


class Store:
    """The files of one sink; one process a directory.

    note: the name of the note.  names: what a file of the sink is called, relative to the
    directory, its folders included.  merges: a file can go while its records stay in another.
    """

    def __init__(
        self, directory: Path, note: str, names: re.Pattern[str], *, merges: bool = False
    ) -> None:
        self.directory = directory
        self.marks: dict[str, Mark] = {}
        self._note = note
        self._names = names
        self._merges = merges
        self._claim: Claim | None = None
        self._owner = ""
        self._before: list[str] = []
        self._folders: list[str] = []
        self._changed: set[str] = set()
        self._drafts: dict[str, Path] = {}
        self._gone: list[str] = []
        self._open_files: dict[Path, int] = {}

    # opening

    def claim(self) -> None:
        """Take the directory; raises `UsageError` if it is in use, or another sink's."""
        try:
            durable.make_directory(self.directory, "directory of segments")
            self._refuse_others()
            self._claim = Claim(self.directory / self._note, f"the directory {self.directory}")
        except OSError as exc:
            if durable.is_full(exc):
                raise  # no fault of what was asked for
            raise UsageError(
                f"the directory {self.directory} cannot be written ({exc.strerror})"
            ) from exc

    def _refuse_others(self) -> None:
        for note, what in NOTES.items():
            if note != self._note and (self.directory / note).exists():
                raise UsageError(
                    f"the directory {self.directory} holds {what} of another sink; choose another"
                    " directory"
                )

    def recover(self, receipt: Receipt) -> bool:
        """Bring the directory to where a receipt says, if it speaks of what stands here."""
        self._read_note()
        if not receipt or receipt.get(OWNER) != self._owner:
            return False
        for name, mark in marks_of(receipt).items():
            path, current = self.directory / name, self.current(name, mark)
            _check_tail(current, mark)
            if current != path:
                durable.rename(current, path, "segment")
            if path.stat().st_size > mark.size:
                with path.open("r+b") as file:
                    durable.truncate(file.fileno(), mark.size, "segment")
            self.marks[name] = mark
        for name in self._strays({*self._folders, *map(_folder, self.marks)}):
            durable.remove(self.directory / name, "segment that no receipt speaks of")
        return True

    def adopt(self, former: Receipt, recognised: Iterable[str]) -> Iterator[str]:
        """Keep what stands here, whoever wrote it; gives the names of the files, to be marked.

        recognised: the folders that look as if a harvester had made them.  The receipt to be
        stored is what `receipt` gives then.
        """
        handed_on = self._merges and former.get(OWNER) in self._before  # it may have merged them
        for name in () if handed_on else marks_of(former):
            if not (self.directory / name).exists():
                self.current(name, Mark(1))  # says that it is gone
        self._folders = sorted({*self._folders, *recognised})
        self._before = [owner for owner in [*self._before, self._owner] if owner][-_OWNERS:]
        self._owner = secrets.token_hex(16)
        self._write_note()
        for name in self._strays(self._folders):
            if name.endswith(".tmp"):
                durable.remove(self.directory / name, "rewritten segment that no receipt speaks of")
            else:
                yield name

    def adopted(self, former: Receipt) -> Receipt:
        """What is to be stored after `adopt`."""
        return {**dict.fromkeys(former, ""), **self.receipt(), OWNER: self._owner}

    def mark(self, name: str, mark: Mark) -> None:
        """Say how far a file counts."""
        self.marks[name] = mark
        self._changed.add(name)

    def _read_note(self) -> None:
        """Who wrote here last, and before, and the folders that were made here."""
        try:
            note = parse(self._claim.noted() if self._claim is not None else b"")
            self._owner, folders = str(note["owner"]), note["folders"]
            self._folders = [str(name) for name in folders]
            self._before = [str(owner) for owner in note.get("before", [])]
        except (ValueError, KeyError, TypeError):  # a new directory, or a note that was torn
            self._owner, self._folders, self._before = "", [], []

    def _write_note(self) -> None:
        assert self._claim is not None
        note = {"owner": self._owner, "folders": self._folders, "before": self._before}
        self._claim.note(encode(note), "segments' note")
        durable.sync_directory(self.directory)

    def _strays(self, folders: Collection[str]) -> list[str]:
        """Files of ours that no mark speaks of, and such as never took their place."""
        return [
            name
            for folder in sorted(folders)
            for path in sorted((self.directory / folder).rglob("*"))
            if (name := path.relative_to(self.directory).as_posix()) not in self.marks
            and self._names.fullmatch(re.sub(r"\.\d+\.tmp$", "", name))
        ]

    def current(self, name: str, mark: Mark) -> Path:
        """Where a file of this generation lies: under its name, or still beside it."""
        path = self.directory / name
        rewritten = rewritten_path(path, mark.generation)
        if rewritten.exists():
            path = rewritten
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = -1
        if size < mark.size:
            state = "gone" if size < 0 else f"cut to {size} of its {mark.size} bytes"
            raise SinkError(
                f"{path} is {state}, though the ledger says that it was stored; put it back, or"
                " let harvester rebuild make a new ledger from what is left"
            )
        return path

    def standing(
        self, receipt: Receipt | None, folder: str = "*"
    ) -> Iterator[tuple[str, Path, int]]:
        """Each file that a receipt speaks of, where it lies and how far it counts.

        Without a receipt: each file of a sink's that stands there, as far as it is whole.
        """
        if receipt is not None:
            for name, mark in sorted(marks_of(receipt).items()):
                if folder in ("*", _folder(name)):
                    yield name, self.current(name, mark), mark.size
            return
        for top in sorted(self.directory.glob(folder)):
            for path in sorted(top.rglob("*")):
                name = path.relative_to(self.directory).as_posix()
                if self._names.fullmatch(name):
                    yield name, path, compression_of(name).whole(path)

    # writing

    @property
    def unsettled(self) -> bool:
        """Whether something waits for its receipt to be stored."""
        return bool(self._drafts or self._gone)

    def path(self, name: str) -> Path:
        """Where the newest of a file is read."""
        return self._drafts.get(name, self.directory / name)

    def refuse_foreign(self, name: str) -> None:
        """Before a file is begun: it must not be there, and its folder becomes ours."""
        if (self.directory / name).exists():
            raise SinkError(
                f"{self.directory / name} is there, and this harvest did not write it; move it"
                " away, or choose another directory"
            )
        if _folder(name) not in self._folders:
            self._folders.append(_folder(name))
            self._write_note()

    def append(self, name: str, data: bytes, tag: int = 0) -> None:
        """Add to a file's end, durably."""
        mark = self.marks.get(name, Mark(0))
        self._put(self.path(name), mark.size, data)
        self.mark(name, mark._replace(size=mark.size + len(data), tag=tag))

    def draft(self, name: str) -> Path:
        """Where a file's next generation is to be written."""
        path = rewritten_path(self.directory / name, self._next(name))
        durable.make_directory(path.parent, "folder of segments")
        return path

    def _next(self, name: str) -> int:
        return self.marks[name].generation + 1 if name in self.marks else 0

    def replace(self, name: str, size: int, tag: int = 0) -> None:
        """What was written as a draft takes the file's place, once its receipt is stored."""
        draft = self.draft(name)
        with draft.open("rb") as file:
            durable.sync(file.fileno(), "rewritten segment")
        durable.sync_directory(draft.parent)
        former = self._drafts.get(name)
        self._drafts[name] = draft
        self.mark(name, Mark(size, self._next(name), tag))
        if former is not None:
            self._let_go(former)
            durable.remove(former, "rewritten segment that was written anew")

    def drop(self, name: str) -> None:
        """A file is to go, once the receipt without it is stored."""
        del self.marks[name]
        self._changed.add(name)
        self._gone.append(name)

    def receipt(self) -> Receipt:
        """What changed since this was last asked."""
        changed = {name: self._said_of(name) for name in sorted(self._changed)}
        self._changed.clear()
        return changed

    def _said_of(self, name: str) -> str:
        mark = self.marks.get(name)
        if mark is None:
            return ""
        return str(mark._replace(tail=tail_of(self.path(name), mark.size)))

    def settle(self) -> None:
        """The receipt is stored: drafts take their place, and what was dropped goes."""
        for name, path in self._drafts.items():
            self._let_go(path)
            self._let_go(self.directory / name)
            durable.rename(path, self.directory / name, "rewritten segment")
        self._drafts.clear()
        for name in self._gone:
            self._let_go(self.directory / name)
            durable.remove(self.directory / name, "segment that was dropped")
        self._gone.clear()

    def close(self) -> None:
        """Close the files and give up the directory."""
        while self._open_files:
            os.close(self._open_files.popitem()[1])
        for kept in (self.marks, self._changed, self._drafts, self._gone):
            kept.clear()
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _put(self, path: Path, size: int, data: bytes) -> None:
        descriptor = self._open_files.get(path)
        if descriptor is None:
            descriptor = self._open_file(path)
        try:
            durable.write(descriptor, data, "segment")
            durable.sync(descriptor, "segment")
        except OSError:
            os.ftruncate(descriptor, size)
            raise

    def _open_file(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        if path.exists():
            descriptor = os.open(path, flags)
        else:
            durable.make_directory(path.parent, "folder of segments")
            with durable.step("make segment"):
                descriptor = os.open(path, flags, 0o644)
                durable.sync_directory(path.parent)
        for former in [key for key in self._open_files if key.parent == path.parent]:
            self._let_go(former)
        self._open_files[path] = descriptor
        return descriptor

    def _let_go(self, path: Path) -> None:
        if path in self._open_files:
            os.close(self._open_files.pop(path))


def _check_tail(path: Path, mark: Mark) -> None:
    """Before a file is cut: that the mark is this file's, and not of a former generation."""
    if mark.tail and tail_of(path, mark.size) != mark.tail:
        raise SinkError(
            f"{path} is not as the ledger says: the ledger is older, or the file was changed; put"
            " the right one back, or let harvester rebuild make a new ledger from what is stored"
        )


def _folder(name: str) -> str:
    return name.partition("/")[0]
