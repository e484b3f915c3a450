"""The directory of a sink whose files grow: locked, with a note of whose it is.

Rule: knows nothing of what is in the files.

The lock file holds the note: the id of the owner, which the sink's checkpoint holds, too, the
folders that were made here, and the files that were renamed last.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harvester import durable
from harvester.codec import encode, parse
from harvester.errors import UsageError
from harvester.lock import Claim

NOTE = ".jsonl.lock"
_PARQUET = (".lines", ".parquet.lock")  # in a directory of the Parquet sink


class Directory:
    """One directory, which one process at a time has locked.

    owner: the id of the harvest that is stored here, empty if there is none yet.
    folders: the names of the folders that were made here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = ""
        self.folders: list[str] = []
        self._claim: Claim | None = None

    @property
    def is_locked(self) -> bool:
        """Whether this process has locked it."""
        return self._claim is not None

    def lock(self) -> None:
        """Make it and lock it; raises `UsageError` if it cannot be used."""
        try:
            durable.make_directory(self.path, "directory of segments")
            for sign in _PARQUET:
                if (self.path / sign).exists():
                    raise UsageError(
                        f"the directory {self.path} holds Parquet files of another sink; choose"
                        " another directory"
                    )
            self._claim = Claim(self.path / NOTE, f"the directory {self.path}")
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
        """Take owner and folders from the note."""
        note = self._note()
        self.owner = str(note.get("owner", ""))
        self.folders = [str(name) for name in note.get("folders", [])]

    def placed(self) -> dict[str, Any]:
        """The files that were renamed last, as `write` was told."""
        placed = self._note().get("placed", {})
        return placed if isinstance(placed, dict) else {}

    def write(self, placed: Mapping[str, str] | None = None) -> None:
        """Store the note.

        placed: files that are renamed now, and their state; None: those of the former note.
        """
        assert self._claim is not None
        placed = self.placed() if placed is None else placed
        note = {"owner": self.owner, "folders": self.folders, "placed": placed}
        if note != self._note():
            self._claim.note(encode(note), "note")
            durable.sync_directory(self.path)

    def _note(self) -> dict[str, Any]:
        try:
            note = parse((self.path / NOTE).read_bytes())
        except (ValueError, OSError):  # a new directory, or a torn note
            return {}
        return note if isinstance(note, dict) else {}
