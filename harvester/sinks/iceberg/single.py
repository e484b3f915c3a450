"""Writes an Iceberg destination for a ledger in a file, or without one: nobody else writes it.

Rule: on the sink's thread, but for what reads.

The ledger's checkpoint names each staged object with its interfaces, and each table with the number
through which it is published.  So a staged object of which no ledger knows is removed; and it is
noticed if the catalog or the directory was put back to an older state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from harvester import durable
from harvester.errors import SinkError, UsageError
from harvester.lock import Claim
from harvester.model import Batch
from harvester.sinks.base import Checkpoint, Fence, Written
from harvester.sinks.iceberg.catalog import Tables
from harvester.sinks.iceberg.files import Files, LocalFiles
from harvester.sinks.iceberg.staged import SUFFIX, Staged, pack, read_head
from harvester.sinks.iceberg.table import IcebergTable, expired

STAGING = ".staging"
OWNER = "owner"
_TABLE = "table/"  # before an interface's name: through which number it is published
_LOCK = ".iceberg.lock"
_OTHERS = (".jsonl.lock", ".lines")

Stock = tuple[Mapping[str, IcebergTable], Sequence[Staged]]
"""The tables by name, and what is staged."""


class SingleWriter:
    """The one writer of a destination."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._claim: Claim | None = None
        self._lock = threading.Lock()  # of what is staged, and of the scans
        self._scans = 0
        self._is_open = False
        self._owner = ""  # what the ledger knows of the owner
        self._staged: list[Staged] = []
        self._published = list[int]()  # since the ledger was last told
        self._next = 1

    def __repr__(self) -> str:
        return f"<SingleWriter of {self._tables.name}, {len(self._staged)} staged objects>"

    @property
    def staged(self) -> Sequence[Staged]:
        """What waits to be published."""
        return self._staged

    def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Lock the destination, bring it to where the checkpoint says, and publish what is left."""
        tables = self._tables
        catalog = tables.place if isinstance(tables.place, Path) else None
        self._claim = _claimed(tables.files, catalog)
        check(tables)
        lost = catalog is not None and not catalog.exists()
        if checkpoint and (lost or (catalog is None and not tables.owner())):
            raise tables.gone()
        if lost and checkpoint is not None and tables.described():
            raise tables.unknown()
        tables.open()
        if checkpoint is None or catalog is None:
            tables.take_newest()
        owner = tables.owner()
        tables.load(anew=checkpoint is None)
        self._staged = _staged_in(tables.files)
        if checkpoint is not None and owner != checkpoint.get(OWNER, "") and self._holds_records():
            raise tables.unknown()
        self._next = max([tables.through, *[each.number for each in self._staged]]) + 1
        changed = dict[str, str]()
        if checkpoint:
            self._keep(checkpoint)
            self._owner = checkpoint.get(OWNER, "")
        else:
            self._owner = changed[OWNER] = tables.own()
        self._is_open = True
        if self._staged:
            self._publish()
        self._published.clear()
        return {**changed, **self._changes(checkpoint or {})}

    def _holds_records(self) -> bool:
        staged = any(part.records for each in self._staged for part in each.parts)
        return staged or not self._tables.are_empty

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Of what is staged only what the ledger knows; all that it knows must be there."""
        self._check(checkpoint, self._tables.by_name, self._staged)
        known = _numbers(checkpoint)
        for each in self._staged:
            if each.number not in known:
                self._tables.files.remove(_place(each.number), "staged object without a checkpoint")
        self._staged = [each for each in self._staged if each.number in known]
        self._next = max([self._next, *[number + 1 for number in known]])

    def _check(
        self,
        checkpoint: Checkpoint,
        tables: Mapping[str, IcebergTable],
        staged: Sequence[Staged],
    ) -> None:
        """That all is there which a checkpoint refers to; raises `SinkError`."""
        there = {each.number for each in staged}
        wanted = [(key.removeprefix(_TABLE), int(value)) for key, value in checkpoint.items()
                  if key.startswith(_TABLE)]  # fmt: skip
        for number, names in _numbers(checkpoint).items():
            if number not in there:
                wanted += [(name, number) for name in names.split(",")]
        for name, number in wanted:
            if name not in tables or tables[name].through < number:
                raise SinkError(
                    f"{self._tables.name} lacks records of {name} that the ledger calls stored: one"
                    " of the two is older, or it was changed; put the right one back, or run"
                    f" {self._tables.command}"
                )

    def _changes(self, checkpoint: Mapping[str, str]) -> dict[str, str]:
        """What the ledger has to change."""
        staged = {str(each.number): ",".join(sorted(each.fields)) for each in self._staged}
        tables = {f"{_TABLE}{name}": str(each.through)
                  for name, each in self._tables.by_name.items()}  # fmt: skip
        gone = {key: "" for key in checkpoint if key.isdigit() and key not in staged}
        new = {**staged, **{key: value for key, value in tables.items() if value != "0"}}
        return {**gone, **{k: v for k, v in new.items() if checkpoint.get(k) != v}}

    def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Stage the windows; the fence is that of the lock."""
        tables, changed = self._tables, dict[str, str]()
        if self._published:  # those entries are stored by now
            changed = {str(number): "" for number in self._published} | self._changes({})
            self._published.clear()
        if not batches:
            return Written(changed)
        if not isinstance(tables.files, LocalFiles):  # a directory is locked
            tables.check_owner(self._owner)
        tables.describe(batches)
        number, packed = self._next, pack(batches)
        self._next += 1
        place = _place(number)
        tables.files.put(place, packed, "staged object")
        head = read_head(number, packed, partial(tables.files.get, place), place)
        with self._lock:
            self._staged.append(head)
        changed[str(number)] = ",".join(sorted(head.fields))
        return Written(changed, drift=tables.drift(batches))

    def publish(self) -> None:
        """Publish what is staged, unless a scan is under way, which needs it."""
        if not self._scans:
            self._publish()

    def _publish(self) -> None:
        """Publish all that is staged, then remove it."""
        through = self._next - 1
        for name in sorted({name for each in self._staged for name in each.fields}):
            table = self._tables.by_name.get(name)
            if table is None:  # its staged object was put back, or a catalog that lacks it
                known = [each.fields[name] for each in self._staged if name in each.fields]
                table = self._tables.make(name, known[-1])
            left = [each for each in self._staged if each.number > table.through]
            table.publish([each for each in left if name in each.fields], through)
        with self._lock:
            published, self._staged = self._staged, []
            self._published += [each.number for each in published]
        for each in published:
            self._tables.files.remove(_place(each.number), "published object")

    def maintain(self) -> tuple[int, int]:
        """Join the data files of each month, and remove what the latest snapshots do not need.

        Gives the number of files before and after.
        """
        self._publish()
        return self._tables.made_small()

    def finish(self) -> None:
        """Publish what is staged, and tidy the tables that it belongs to."""
        if self._is_open:
            touched = {name for each in self._staged for name in each.fields}
            self._publish()
            for name in touched:
                self._tables.by_name[name].tidy(expired())

    def close(self) -> None:
        """Unlock the destination."""
        self._is_open = False
        try:
            self._tables.close()
            self._staged, self._published = [], []
        finally:
            if self._claim is not None:
                self._claim.release()
                self._claim = None

    @contextmanager
    def reading(self, checkpoint: Checkpoint | None) -> Iterator[Stock]:
        """What stands here, as it is at this moment; it stays until the block ends.

        checkpoint: what the ledger knows, where the destination is not open.
        """
        if not self._is_open:
            with self._looked_at(checkpoint) as found:
                yield found
            return
        with self._lock:
            self._scans += 1
            stock = dict(self._tables.by_name), [*self._staged]
        try:
            yield stock
        finally:
            with self._lock:
                self._scans -= 1

    @contextmanager
    def _looked_at(self, checkpoint: Checkpoint | None) -> Iterator[Stock]:
        place = self._tables.place
        if isinstance(place, Path) and not place.exists():
            if checkpoint or self._tables.described():
                raise self._tables.gone()
            yield {}, []
            return
        staged = _staged_in(self._tables.files)
        with self._tables.looked_at() as tables:
            if checkpoint:
                self._check(checkpoint, tables, staged)
                staged = [each for each in staged if each.number in _numbers(checkpoint)]
            yield tables, staged


def check(tables: Tables) -> None:
    """Raise `UsageError` if a bucket cannot be used."""
    try:
        tables.files.check()
    except OSError as exc:
        raise UsageError(f"{tables.name} cannot be used: {exc.strerror or exc}") from None


def _claimed(files: Files, catalog: Path | None) -> Claim | None:
    """The lock of a directory, or of the catalog of a bucket; a bucket without one has none."""
    if isinstance(files, LocalFiles):
        return _directory(files.path)
    if catalog is None:
        return None
    durable.make_directory(catalog.parent, "directory of the catalog")
    return Claim(catalog.with_name(f".{catalog.name}.lock"), f"the catalog {catalog}")


def _directory(path: Path) -> Claim:
    try:
        durable.make_directory(path, "directory of tables")
        for sign in _OTHERS:
            if (path / sign).exists():
                raise UsageError(
                    f"the directory {path} holds files of another sink; choose another directory"
                )
        return Claim(path / _LOCK, f"the directory {path}")
    except OSError as exc:
        if durable.is_full(exc):
            raise
        raise UsageError(f"the directory {path} cannot be written ({exc.strerror})") from exc


def _staged_in(files: Files) -> list[Staged]:
    """What is staged in a destination."""
    found = []
    for place, _ in files.find(STAGING):
        number = place.rpartition("/")[2].removesuffix(SUFFIX)
        if number.isdigit() and place == _place(int(number)):
            with suppress(FileNotFoundError):  # a process has just published it
                packed = files.get(place)
                found.append(read_head(int(number), packed, partial(bytes, packed), place))
    return found


def _place(number: int) -> str:
    return f"{STAGING}/{number:08}{SUFFIX}"


def _numbers(checkpoint: Checkpoint) -> dict[int, str]:
    """The staged objects of a checkpoint, and the interfaces in each."""
    return {int(key): names for key, names in checkpoint.items() if key.isdigit()}
