"""The directory of a sink whose files grow: locked, with a note of whose it is.

Rule: knows nothing of what is in the files.

The lock file holds the note: the number of the latest commit that was begun, the id of the owner,
which the sink's checkpoint holds, too, and the folders that were made here.  The number has a fixed
place, so that one small write changes it; if a power cut takes it back, an older ledger is noticed
later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harvester.base import files as durable
from harvester.base.codec import encode, parse
from harvester.base.lock import FileLock
from harvester.errors import UsageError

NOTE = ".jsonl.lock"
_BEGINS = b'{"commits":'
_DIGITS = 20
_FORMAT = 2


class Directory:
    """One directory, which one process at a time has locked.

    owner: the id of the harvest that is stored here, empty if there is none yet.
    commits: the number of the latest commit that was begun.
    folders: the names of the folders that were made here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = ""
        self.commits = 0
        self.folders: list[str] = []
        self._claim: FileLock | None = None

    @property
    def is_locked(self) -> bool:
        """Whether this process has locked it."""
        return self._claim is not None

    def lock(self) -> None:
        """Make it and lock it; raises `UsageError` if it cannot be used."""
        try:
            durable.make_directory(self.path, "directory of segments")
            self._claim = FileLock(self.path / NOTE, f"the directory {self.path}")
        except OSError as exc:
            if durable.is_full(exc):
                raise  # nothing is wrong with the directory
            raise UsageError(
                f"the directory {self.path} cannot be written ({exc.strerror})"
            ) from exc
        self.read()

    def unlock(self) -> None:
        """Let others use it."""
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def read(self) -> None:
        """Take owner, commits and folders from the note; raises `UsageError` if it is of old."""
        note = self._note()
        if note and note.get("format") != _FORMAT:
            raise UsageError(
                f"the directory {self.path} holds JSON lines of another version of harvester,"
                " which are not continued; choose another directory"
            )
        self.owner = str(note.get("owner", ""))
        self.commits = int(note.get("commits", 0))
        self.folders = [str(name) for name in note.get("folders", [])]

    def write(self) -> None:
        """Store the note."""
        assert self._claim is not None
        before = self._note()
        former = before.pop("commits", None)
        note = {"format": _FORMAT, "owner": self.owner, "folders": self.folders}
        if former is None or note != before:
            self._claim.note(_BEGINS + self._number() + b"," + encode(note)[1:], "note")
            durable.sync_directory(self.path)
        elif former != self.commits:
            self._claim.overwrite(self._number(), len(_BEGINS))

    def begin(self, commits: int) -> None:
        """Note the number of a commit that begins; not durable until `sync`."""
        assert self._claim is not None
        self.commits = commits
        self._claim.overwrite(self._number(), len(_BEGINS))

    def sync(self) -> None:
        """Make the note durable."""
        assert self._claim is not None
        self._claim.sync()

    def _number(self) -> bytes:
        return str(self.commits).ljust(_DIGITS).encode()

    def _note(self) -> dict[str, Any]:
        try:
            note = parse((self.path / NOTE).read_bytes())
        except (ValueError, OSError):  # a new directory, or a torn note
            return {}
        return note if isinstance(note, dict) else {}
