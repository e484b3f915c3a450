"""Writes an Iceberg destination beside other workers, under a shared ledger.

Rule: on the sink's thread, but for what reads.

The catalog is in the ledger's database, with a registry of what is staged.  A staged object counts
once the registry has it; what is there is published in that order, by one worker at a time, and an
object that never got there is removed a day later.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

from harvester import durable
from harvester.errors import SinkError
from harvester.model import Batch
from harvester.secrets import Secret
from harvester.sinks.base import Checkpoint, Fence, Written
from harvester.sinks.iceberg.catalog import Tables
from harvester.sinks.iceberg.files import LocalFiles
from harvester.sinks.iceberg.registry import Entry, Registry
from harvester.sinks.iceberg.single import OWNER, STAGING, Stock, check
from harvester.sinks.iceberg.staged import SUFFIX, Staged, pack, read_head
from harvester.sinks.iceberg.table import again_if_changed, expired

_LATEST = "epoch"


class SharedWriter:
    """One of several writers of a destination.

    url: of the database of their ledger.
    """

    def __init__(self, tables: Tables, url: Secret) -> None:
        self._tables = tables
        self._url = url
        self._registry: Registry | None = None
        self._owner = ""  # what the ledger knows of the owner
        self._is_open = False
        self._staged: list[Staged] = []  # by this worker

    def __repr__(self) -> str:
        return f"<SharedWriter of {self._tables.name}, {len(self._staged)} staged objects>"

    @property
    def staged(self) -> Sequence[Staged]:
        """What this worker has staged since it last published."""
        return self._staged

    def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Get ready beside other workers, and publish what has been left."""
        tables = self._tables
        if isinstance(tables.files, LocalFiles):
            durable.make_directory(tables.files.path, "directory of tables")
        check(tables)
        registry = self._opened()
        if checkpoint and not (registry.is_made and tables.owner()):
            raise SinkError(
                f"{tables.name}, or its catalog in the database of the ledger, is gone; put the"
                f" right one back, or run {tables.command}"
            )
        registry.make()
        tables.open()
        if checkpoint is None:
            tables.take_newest()
        owner = tables.owner()
        if not checkpoint or owner != checkpoint.get(OWNER, ""):
            tables.load(anew=checkpoint is None)
            registry.make(number=tables.through)
            if checkpoint is not None and (not tables.are_empty or registry.staged()):
                raise tables.unknown()
        changed = dict[str, str]()
        if not checkpoint:
            known = owner if checkpoint is None else ""
            changed[OWNER] = known or tables.own()
        self._owner = {**(checkpoint or {}), **changed}.get(OWNER, "")
        self._is_open = True
        self._publish_all(wait=False)
        return {**changed, _LATEST: str(registry.latest_epoch())} if changed else {}

    def _opened(self) -> Registry:
        if self._registry is None:
            self._registry = Registry(self._url, self._tables.files.root)
        return self._registry

    def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Stage the windows, less those of accounts that a later epoch has staged."""
        tables, registry = self._tables, self._opened()
        appids = {each.window.appid for each in batches}
        if not batches:
            return Written(refused=registry.stage("", fence, appids)[1])
        tables.check_owner(self._owner)
        tables.describe(batches)
        place, packed = f"{STAGING}/{secrets.token_hex(16)}{SUFFIX}", pack(batches)
        tables.files.put(place, packed, "staged object")
        number, lost = registry.stage(place, fence, appids)
        if number:
            head = read_head(number, packed, partial(tables.files.get, place), place)
            self._staged.append(head)
        else:
            tables.files.remove(place, "staged object without a window")
        return Written(refused=lost, drift=tables.drift(batches))

    def publish(self) -> None:
        """Publish what all workers have staged, unless another one is about it."""
        self._publish_all(wait=False)

    def maintain(self) -> tuple[int, int]:
        """Join the data files of each month, and remove what the latest snapshots do not need.

        Gives the number of files before and after.
        """
        self._publish_all(wait=True)
        self._tables.load(anew=False)
        return self._tables.made_small()

    def finish(self) -> None:
        """Publish what all workers have staged, also if another one is about it, and tidy up."""
        if self._is_open:
            self._publish_all(wait=True, tidy=True)

    def close(self) -> None:
        """Close the connections."""
        self._is_open = False
        registry, self._registry = self._registry, None
        if registry is not None:
            registry.close()
        self._staged = []
        self._tables.close()

    def _publish_all(self, *, wait: bool, tidy: bool = False) -> None:
        """Publish what all workers have staged.

        wait: until nobody else is about it, who may have left something.  tidy: the tables, too.
        """
        registry, tables = self._opened(), self._tables
        with registry.publishing(wait=wait) as mine:
            if not mine:
                return
            entries = registry.within()
            heads = [head for each in entries if (head := self._head_of(each)) is not None]
            if len(heads) < len(entries):
                raise SinkError(
                    f"{tables.name} lacks staged objects; put them back, or run {tables.command}"
                )
            for name in sorted({name for each in heads for name in each.fields}):
                again_if_changed(partial(self._publish_in, name, heads, tidy=tidy))
            if heads:
                registry.forget(heads[-1].number)
        self._staged = []
        for entry in entries:
            tables.files.remove(entry.name, "published object")
        if tidy:
            self._sweep({each.name for each in registry.staged()})

    def _publish_in(self, name: str, heads: Sequence[Staged], *, tidy: bool) -> None:
        """Publish what belongs into one table."""
        table = self._tables.latest(name)
        left = [each for each in heads if each.number > table.through and name in each.fields]
        table.publish(left, heads[-1].number)
        if tidy:
            table.tidy(expired())

    def _head_of(self, entry: Entry) -> Staged | None:
        """A staged object without the windows that do not count; None if it is not there."""
        try:
            packed = self._tables.files.get(entry.name)
        except FileNotFoundError:
            return None
        head = read_head(entry.number, packed, partial(bytes, packed), entry.name)
        lost = {*entry.refused}
        return head._replace(parts=[each for each in head.parts if each.window.appid not in lost])

    def _sweep(self, known: Collection[str]) -> None:
        """Remove what workers have left that died before it counted."""
        for name, changed in self._tables.files.find(STAGING):
            old = changed < expired()
            if old and name.endswith(SUFFIX) and name not in known:
                self._tables.files.remove(name, "staged object of a dead worker")

    @contextmanager
    def reading(self, checkpoint: Checkpoint | None) -> Iterator[Stock]:
        """What stands here at this moment, whatever other workers are doing."""
        with closing(Registry(self._url, self._tables.files.root)) as registry:
            if not registry.is_made:
                yield {}, []
                return
            # What is published in between is in the tables: what is staged is read first.
            heads = [*map(self._head_of, registry.staged())]
            with self._tables.looked_at() as tables:
                yield tables, [head for head in heads if head is not None]
