"""A target of several files, which one note describes: ``.harvester.json``.

Rule: only a file that the note lists is replaced or removed; any other is refused.

The note has the size and the checksum of each file, and the stamps of its months.  Before files are
replaced they are noted as unfinished, so that a killed export claims nothing about them and they
remain the export's own; afterwards they are noted as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harvester.base.codec import MalformedError, encode, parse
from harvester.errors import ExportError, HarvestError, UsageError
from harvester.exports.base import Held, Part, TableShape, Target, Unit
from harvester.exports.folder import Folder, checksum_of
from harvester.sinks.spec import Spec
from harvester.tables import ACCOUNTS
from harvester.texts import changed, of_system

if TYPE_CHECKING:
    from harvester.exports.bucket import Bucket

NOTE = ".harvester.json"
ABOUT = ".columns.csv"
"""The end of a file's name that says what the columns of a table are."""
_READINGS = 5
"""How often a note that cannot be read is read again, if it is another one each time."""
_UNFINISHED = -1
Months = Mapping[str, tuple[str, int, int]]
"""The stamp of each month, and where its rows begin and end in the file."""


class Entry(NamedTuple):
    """What is noted of a file; size: in bytes, -1 while it is being replaced."""

    size: int
    checksum: str
    months: Months


def _as_day(value: date | str) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)


def _as_text(value: str | None) -> str:
    return value or ""


class Noted(Target):
    """A target of several files."""

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        self._place = self.place_of(spec)
        self._files: dict[str, Entry] = {}
        self._noted = b""

    def place_of(self, spec: Spec) -> Folder | Bucket:
        return Folder(Path(spec.place), self.identity)

    def table_of(self, name: str) -> str:
        """The table of a file; empty if no file of this target has such a name."""
        raise NotImplementedError

    def rows_in(self, data: bytes, number: int) -> Iterable[Sequence[Any]]:
        """The first columns, so many, of the rows of a file; none of one that is damaged."""
        raise NotImplementedError

    def names(self) -> Mapping[str, str]:
        return {appid: name for appid, name in self._rows_of(ACCOUNTS.name, 2) if name}

    def stored(self, table: TableShape) -> list[tuple[Any, ...]]:
        kinds: dict[str, Callable[[Any], Any]] = {"date32[day]": _as_day, "int64": int}
        of = [kinds.get(str(kind), _as_text) for kind in table.schema.types]
        rows = self._rows_of(table.name, len(of))
        return [tuple([read(each) for read, each in zip(of, row, strict=True)]) for row in rows]

    def _rows_of(self, table: str, number: int) -> list[Sequence[Any]]:
        files = [name for name in self._files if self.table_of(name) == table]
        files = [name for name in files if not name.endswith(ABOUT)]
        return [row for name in files for row in self.rows_in(self._place.read(name), number)]

    def write_drafts(
        self, tables: Sequence[TableShape], units: Sequence[Unit], removed: Sequence[Part]
    ) -> dict[str, Months]:
        """Write the drafts of files that are to be replaced; returns what they hold, by name."""
        raise NotImplementedError

    def check(self) -> None:
        self._place.check()

    def open(self, *, create: bool, thorough: bool = False) -> Held:
        with failing(self.identity):
            self._place.open(create=create)
            try:
                harvest, self._files = self._read_note()
            except UsageError:
                if create:
                    raise
                return Held()
            return Held(harvest, self._stamps(thorough=thorough))

    def _read_note(self) -> tuple[str, dict[str, Entry]]:
        """What the note says, as of `_parsed`.

        A store may give a part of it while another export replaces it; so one that cannot be read
        is read again until it is the same twice.
        """
        self._noted = self._place.read(NOTE)
        for _ in range(_READINGS):
            try:
                return self._parsed(self._noted)
            except UsageError:
                before, self._noted = self._noted, self._place.read(NOTE)
                if self._noted == before:
                    raise
        return self._parsed(self._noted)

    def _parsed(self, data: bytes) -> tuple[str, dict[str, Entry]]:
        """The id of the harvest, and the files; raises `UsageError`."""
        if not data:
            return "", {}
        try:
            note: Any = parse(data)
            files = {
                name: Entry(
                    int(size),
                    str(checksum),
                    {month: (str(stamp), int(begin), int(end))
                     for month, (stamp, begin, end) in months.items()},
                )
                for name, (size, checksum, months) in note["files"].items()
            }  # fmt: skip
            return str(note["harvest"]), files
        except (MalformedError, AttributeError, LookupError, TypeError, ValueError):
            raise UsageError(
                "{}: the file {} is damaged, so it is not known which files belong to the export;"
                " remove all files there, and the same command creates them again",
                self.identity,
                NOTE,
            ) from None

    def _stamps(self, *, thorough: bool) -> dict[Part, str]:
        """The stamp of each part; empty if one of its files is not as it was written."""
        found: dict[Part, str] = {}
        for name, entry in self._files.items():
            table = self.table_of(name)
            if table:
                is_whole = entry.size != _UNFINISHED and self._place.has(
                    name, entry.size, entry.checksum, thorough=thorough
                )
                for month, (stamp, _, _) in entry.months.items():
                    known = found.get((table, month), stamp)
                    found[table, month] = stamp if is_whole and known else ""
        return found

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with failing(self.identity):
            units = [*units]
            made = self.write_drafts(tables, units, removed)
            parts = {*removed, *((table.name, unit.month) for table in tables for unit in units)}
            gone = [
                name
                for name, entry in self._files.items()
                if name not in made
                and any((self.table_of(name), month) in parts for month in entry.months)
            ]
            self._check_alone([])
            for name in self._place.existing([name for name in made if name not in self._files]):
                self._check_alone([])  # it may be of an export that has begun meanwhile
                raise UsageError(
                    "{}: {} is not an export of harvester; choose another place, or remove the "
                    "file",
                    self.identity,
                    name,
                )
            self._files.update(
                {name: Entry(_UNFINISHED, "", months) for name, months in made.items()}
            )
            self._note()
            try:
                self._replace(made, gone)
            except BaseException:
                with suppress(OSError, HarvestError):
                    self._save(made)
                raise
            self._save(made)

    def _replace(self, made: Mapping[str, Months], gone: Sequence[str]) -> None:
        for name, months in made.items():
            with self._place.draft(name) as draft:
                checksum = checksum_of(draft)
                size = draft.seek(0, 2)
            self._place.put(name)
            self._files[name] = Entry(size, checksum, months)
        for name in gone:
            self._place.remove(name)
            del self._files[name]

    def _save(self, put: Collection[str]) -> None:
        """Save the note; put: the files that were replaced since that was last done."""
        self._check_alone(put)
        self._note()

    def _check_alone(self, put: Collection[str]) -> None:
        """Raise `ExportError` if another export has written at the same time.

        It is not known whose files are there now, so the note claims nothing about them.
        """
        if not self._place.is_shared or self._place.read(NOTE) == self._noted:
            return
        mine = self._files
        self.harvest, self._files = self._read_note()
        for name in put:
            self._files[name] = mine[name]._replace(size=_UNFINISHED)
        if put:
            self._note()
        raise ExportError(
            "{}: another export wrote there at the same time; run the same command again",
            self.identity,
        )

    def _note(self) -> None:
        files = {name: [*entry] for name, entry in self._files.items()}
        self._noted = encode({"harvest": self.harvest, "files": files})
        self._place.save(NOTE, self._noted)

    def finish(self) -> None: ...

    def close(self) -> None:
        self._place.close()


@contextmanager
def failing(identity: str) -> Iterator[None]:
    """Turn the errors of files into an `ExportError`."""
    try:
        yield
    except OSError as exc:
        why = changed(of_system(exc), lambda text: " ".join(text.split()))
        raise ExportError(
            "{} could not be written: {}; fix the cause and run the same command again",
            identity,
            why,
        ) from exc
