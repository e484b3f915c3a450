"""Iceberg: ``iceberg:DIR`` and ``iceberg:s3://bucket/prefix``, a table for each interface.

Rule: a write is one staged object; publishing makes one snapshot a table of many of them.

To commit each group of windows as a snapshot would write thousands of small files.  So a write puts
its lines into one object under ``.staging``, and the ledger stores the object's number with the
windows.  What is staged is published as the sink is opened and closed, once there is enough of it,
and after a quarter of an hour; a scan sees both.  A table says in its properties through which
number it is published, so what a killed process has left is published once, or removed if no ledger
knows it.

The catalog is a SQLite file, ``catalog.sqlite`` in the directory.  A ledger's checkpoint names the
tables with their numbers: a catalog or a directory that was put back to an older state is noticed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import quote

from harvester import durable
from harvester.away import PATIENCE, Away, until_it_answers
from harvester.errors import SinkError, UsageError
from harvester.fencing import EPOCH
from harvester.lock import Claim
from harvester.model import Batch, many
from harvester.secrets import Secret
from harvester.sinks.base import Checkpoint, Fence, StoredWindow, Written
from harvester.sinks.columns import Table
from harvester.sinks.segments import Days
from harvester.sinks.spec import read_spec
from harvester.thread import Thread, ended

try:
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
    from pyiceberg.utils.concurrent import ExecutorFactory
    from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
except ImportError as exc:
    raise UsageError(
        "Iceberg needs packages that are not here; install them with"
        " pip install 'wechat-harvester[iceberg]'"
    ) from exc

from harvester.sinks import arrow
from harvester.sinks.iceberg_files import Bucket, BucketFiles, Files, LocalFiles
from harvester.sinks.iceberg_shared import Entry, Registry, shared_catalog
from harvester.sinks.iceberg_table import (
    NAMESPACE,
    IcebergTable,
    again_if_changed,
    newest_metadata,
    version_of,
)
from harvester.sinks.staged import SUFFIX, Staged, pack, read_head

FORM = "iceberg:DIR or iceberg:s3://BUCKET/PREFIX"
CATALOG = "catalog.sqlite"
PUBLISH_BYTES = 64 * 1024 * 1024
PUBLISH_WINDOWS = 100_000
PUBLISH_SECONDS = 900.0
"""Staged objects are published once they have so many bytes or windows, or the first is so old."""
KEPT = 86_400.0
"""Seconds for which former snapshots are kept, and files that none refers to."""
_STAGING = ".staging"
_OWNED = ".staging/owner"
_LOCK = ".iceberg.lock"
_OTHERS = (".jsonl.lock", ".lines")
_OWNER = "owner"
_LATEST = "epoch"
_TABLE = "table/"  # before an interface's name: through which number it is published
_ERRORS = (OSError, SQLAlchemyError, pa.ArrowException, CommitFailedException, NoSuchTableError)

T = TypeVar("T")
_Stock = tuple[Mapping[str, IcebergTable], Sequence[Staged]]
"""The tables by name, and what is staged."""


class Iceberg:
    """The Iceberg sink; one process a destination.

    place: a directory, made if it is not there; or a place in an S3-compatible store.
    """

    def __init__(self, place: str | os.PathLike[str] | Bucket) -> None:
        self.path: Path | None = None
        self._catalog_file: Path | None = None  # in a bucket: with the ledger, or for a while
        self._bucket = place if isinstance(place, Bucket) else None
        if isinstance(place, Bucket):
            self._files: Files = BucketFiles(place)
        else:
            self.path = Path(place)
            if {"#", "%"} & {*str(self.path.resolve())}:
                raise UsageError(
                    f"the directory {self.path} cannot be the location of tables, which has no # or"
                    " %; choose another directory"
                )
            self._files = LocalFiles(self.path)
            self._catalog_file = self.path / CATALOG
        self._shared: Secret | None = None  # the URL of the ledger's database
        self._registry: Registry | None = None
        self._joined = False
        self._temporary: TemporaryDirectory[str] | None = None
        self._thread: Thread | None = None
        self._claim: Claim | None = None
        self._catalog: SqlCatalog | None = None
        self._has_pool = False
        self._lock = threading.Lock()  # of what is staged
        self._owned = ""  # what the ledger knows of the owner
        self._scans = 0
        self._staged: list[Staged] = []
        self._timer: asyncio.TimerHandle | None = None  # as long as something is staged
        self._publishing: asyncio.Task[None] | None = None
        self._failed: Exception | None = None  # what the timer's publication has raised
        self._published = list[int]()  # since the ledger was last told
        self._next = 1
        self._tables: dict[str, IcebergTable] = {}
        self._columns: dict[str, Table] = {}

    def __repr__(self) -> str:
        return f"<{self.identity}, {len(self._staged)} staged objects>"

    takes_lines = True
    fenced = True  # where the ledger is shared

    @classmethod
    def from_spec(cls, rest: str) -> Iceberg:
        """The sink that ``iceberg:DIR`` or ``iceberg:s3://BUCKET/PREFIX`` names."""
        if "://" not in rest.partition("?")[0]:
            return cls(read_spec("iceberg", rest, {}, FORM).place)
        return cls(_bucket_of(rest))

    @property
    def identity(self) -> str:
        """The spec: the directory, or the bucket with what it takes to find it."""
        if self._bucket is None:
            assert self.path is not None
            return f"iceberg:{self.path.resolve()}"
        place, *values = self._bucket
        told = zip(Bucket._fields[1:], values, strict=True)
        options = "&".join(f"{name}={value}" for name, value in told if value)
        return f"iceberg:s3://{place}" + (f"?{options}" if options else "")

    def keep_with(self, ledger: Path | Secret) -> None:
        """Keep the catalog in the database of a shared ledger, that of a bucket beside a file."""
        if isinstance(ledger, Secret):
            self._shared = ledger
        elif self._bucket is not None:
            name = self._bucket.place.strip("/").replace("/", "-")
            self._catalog_file = ledger.with_name(f"{name}.{CATALOG}")

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Lock the destination, bring it to where the checkpoint says, and publish what is left."""
        self._thread = Thread("harvester-iceberg")
        self._failed = None
        return await self._call(self._open if self._shared is None else self._join, checkpoint)

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window in the place of all that overlap it; durable on return."""
        if self._shared is None:
            written = await self._call(self._write, batches)
        else:
            # Under the same epochs nothing is repeated: it may be stored all the same.
            repeats = all(epoch <= EPOCH for epoch in fence.values())
            written = await (self._call if repeats else self._once)(self._stage, batches, fence)
        self._set_timer()
        return written

    async def close(self) -> None:
        """Publish what is staged, and unlock the destination."""
        if self._thread is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            if self._joined:
                await self._call(self._publish_last)
        finally:
            await self._end()

    async def _end(self) -> None:
        assert self._thread is not None
        try:
            await self._call(self._close)
        finally:
            if self._publishing is not None:
                await ended(self._publishing)
                self._publishing = None
            self._thread.close()
            self._thread = None

    async def maintain(self) -> str:
        """Join the data files of each month, and remove what the latest snapshots do not need."""
        before, after = await self._call(self._maintain)
        return f"{many(before, 'file')} became {many(after, 'file')}"

    def _set_timer(self) -> None:
        """Publish in a while, also if nothing is written until then."""
        if self._timer is None and self._staged:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PUBLISH_SECONDS, self._begin_publishing)

    def _begin_publishing(self) -> None:
        self._timer = None
        self._publishing = asyncio.ensure_future(self._publish_in_time())

    async def _publish_in_time(self) -> None:
        """Publish what is staged; the next write tells of a failure."""
        try:
            await self._call(self._publish_unless_read)
        except SinkError as exc:
            self._failed = exc
        self._set_timer()

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        """Call it on the sink's thread; while a shared server is away, again, for a while."""
        once = partial(self._once, function, *args)
        return await until_it_answers(once, self.identity, PATIENCE)

    async def _once(self, function: Callable[..., T], *args: Any) -> T:
        assert self._thread is not None, "the sink is not open"
        try:
            return await self._thread.call(self._then_rest, function, *args)
        except _ERRORS as exc:
            if self._shared is not None and isinstance(exc, OperationalError | InterfaceError):
                raise Away(_said(exc)) from exc
            raise self._not_written(exc) from exc

    def _then_rest(self, function: Callable[..., T], *args: Any) -> T:
        """Call it; a shared server's connections are few, and the catalog's is not kept."""
        try:
            return function(*args)
        finally:
            if self._shared is not None and self._catalog is not None:
                self._catalog.close()

    def _not_written(self, exc: Exception) -> SinkError:
        full = isinstance(exc, OSError) and durable.is_full(exc)
        what = "the disk is full" if full else _said(exc)
        return SinkError(
            f"{self.identity} could not be written: {what}; nothing that was committed is lost:"
            f" {'make room' if full else 'mend it'} and run the same command again"
        )

    # on the sink's thread: opening

    def _open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        self._has_pool = ExecutorFactory._instance is not None
        if self.path is not None:
            self._take_directory(self.path)
        else:
            self._take_bucket()
        kept = self._catalog_file is not None  # else it is made anew each time
        lost = self._catalog_file is not None and not self._catalog_file.exists()
        if checkpoint and (lost or not (kept or self._owner())):
            raise self._gone()
        if lost and checkpoint is not None and self._described():
            raise self._unknown()
        self._connect()
        if checkpoint is None or not kept:
            self._register(self._connect())
        owner = self._owner()
        self._load(anew=checkpoint is None)
        if checkpoint is not None and owner != checkpoint.get(_OWNER, "") and self._holds():
            raise self._unknown()
        changed = dict[str, str]()
        if checkpoint:
            self._keep(checkpoint)
            self._owned = checkpoint.get(_OWNER, "")
        else:
            self._own(changed)
            self._owned = changed[_OWNER]
        if self._staged:
            self._publish()
        self._published.clear()
        return {**changed, **self._told(checkpoint or {})}

    def _gone(self) -> SinkError:
        if not self._described():
            return SinkError(
                f"{self.identity} is gone, though the ledger refers to it; put it back, or use a"
                " new ledger"
            )
        return SinkError(
            f"the catalog {self._catalog_file} is gone; put it back, or run {self._command},"
            " which makes it anew from the tables"
        )

    def _unknown(self) -> UsageError:
        return UsageError(
            f"{self.identity} holds a harvest that this ledger does not know; use the ledger that"
            " filled it (--ledger), or choose another destination; if that ledger is lost,"
            f" {self._command} makes one from what is stored"
        )

    @property
    def _command(self) -> str:
        out = "DIR" if self.path is None else self.path
        spec = self.identity if self.path is None else f"iceberg:{self.path}"
        return f"`harvester rebuild --out {out} --sink {spec}`"

    def _take_directory(self, path: Path) -> None:
        try:
            durable.make_directory(path, "directory of tables")
            for sign in _OTHERS:
                if (path / sign).exists():
                    raise UsageError(
                        f"the directory {path} holds files of another sink; choose another"
                        " directory"
                    )
            self._claim = Claim(path / _LOCK, f"the directory {path}")
        except OSError as exc:
            if durable.is_full(exc):
                raise
            raise UsageError(f"the directory {path} cannot be written ({exc.strerror})") from exc

    def _take_bucket(self) -> None:
        if self._catalog_file is not None:
            durable.make_directory(self._catalog_file.parent, "directory of the catalog")
            lock = self._catalog_file.with_name(f".{self._catalog_file.name}.lock")
            self._claim = Claim(lock, f"the catalog {self._catalog_file}")
        try:
            self._files.check()
        except OSError as exc:
            raise UsageError(f"{self.identity} cannot be used: {_said(exc)}") from None

    def _connect(self) -> SqlCatalog:
        """Open the catalog; it is made if it is not there."""
        if self._catalog is None:
            with durable.step("open catalog"):
                self._catalog = self._new_catalog()
                self._catalog.create_namespace_if_not_exists(NAMESPACE)
            if self._catalog_file is not None and self._shared is None:
                durable.sync_directory(self._catalog_file.parent)
        return self._catalog

    def _new_catalog(self, options: str = "") -> SqlCatalog:
        """A catalog, connected; options: of SQLite."""
        if self._shared is not None:
            place = Registry(self._shared, self._files.root).catalog_url.value
            given = {"uri": place, "warehouse": self._files.root, **self._files.properties}
            return shared_catalog(given)
        return SqlCatalog("harvester", **self._catalog_properties(options))

    def _catalog_properties(self, options: str) -> dict[str, str]:
        path = self._catalog_file
        if path is None:
            self._temporary = TemporaryDirectory(prefix="harvester-")
            path, options = Path(self._temporary.name) / CATALOG, ""
        place = quote(str(path.resolve()))
        return {
            **self._files.properties,
            "uri": f"sqlite:///file:{place}{options or '?uri=true'}",
            "warehouse": self._files.root,
        }

    def _owner(self) -> str:
        with suppress(FileNotFoundError):
            return self._files.get(_OWNED).decode()
        return ""

    def _check_owner(self) -> None:
        if self._owner() != self._owned:
            raise SinkError(
                f"{self.identity} belongs to another ledger now, which began to write it; use that"
                " ledger, or another destination"
            )

    def _own(self, changed: dict[str, str]) -> None:
        """From now on this belongs to a ledger that is told so."""
        changed[_OWNER] = secrets.token_hex(16)
        self._files.put(_OWNED, changed[_OWNER].encode(), "note of the owner")

    def _described(self) -> list[str]:
        """The folders that hold a table, whatever the catalog says."""
        return [name for name in self._files.folders() if newest_metadata(self._files, name)]

    def _register(self, catalog: SqlCatalog) -> None:
        """Take the newest state of each table that stands there into the catalog."""
        for name in self._described():
            newest, known = newest_metadata(self._files, name), -1
            with suppress(NoSuchTableError, FileNotFoundError):
                known = version_of(catalog.load_table((NAMESPACE, name)).metadata_location)
            if newest and version_of(newest) > known:
                with durable.step("register table"):
                    if catalog.table_exists((NAMESPACE, name)):
                        catalog.drop_table((NAMESPACE, name))
                    catalog.register_table((NAMESPACE, name), newest)

    def _load(self, *, anew: bool) -> None:
        """Look at the tables, and at what is staged; anew: whatever is gone is let go of."""
        self._load_tables(anew=anew)
        self._staged = self._heads()
        numbers = [each.number for each in self._staged]
        numbers += [table.through for table in self._tables.values()]
        self._next = max(numbers, default=0) + 1

    def _load_tables(self, *, anew: bool) -> None:
        catalog = self._connect()
        for _, name in catalog.list_tables(NAMESPACE):
            self._tables[name] = self._loaded(catalog, name)
            if anew:
                self._tables[name].forget_missing()

    def _loaded(self, catalog: SqlCatalog, name: str) -> IcebergTable:
        try:
            return IcebergTable(catalog, self._files, name)
        except FileNotFoundError as exc:
            raise SinkError(
                f"the catalog of {self.identity} names {exc.filename or exc}, which is gone: one of"
                f" the two is older; put the right one back, or run {self._command}"
            ) from None

    def _holds(self) -> bool:
        """Whether records stand here."""
        return any(part.records for each in self._staged for part in each.parts) or any(
            not table.is_empty for table in self._tables.values()
        )

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Of what is staged only what the ledger knows; all that it knows must be there."""
        self._check(checkpoint, self._tables, self._staged)
        known = _numbers(checkpoint)
        for each in self._staged:
            if each.number not in known:
                self._files.remove(_place(each.number), "staged object without a checkpoint")
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
                    f"{self.identity} lacks records of {name} that the ledger calls stored: one of"
                    " the two is older, or it was changed; put the right one back, or run"
                    f" {self._command}"
                )

    def _told(self, checkpoint: Mapping[str, str]) -> dict[str, str]:
        """What the ledger has to change."""
        staged = {str(each.number): ",".join(sorted(each.fields)) for each in self._staged}
        tables = {f"{_TABLE}{name}": str(each.through) for name, each in self._tables.items()}
        gone = {key: "" for key in checkpoint if key.isdigit() and key not in staged}
        new = {**staged, **{key: value for key, value in tables.items() if value != "0"}}
        return {**gone, **{k: v for k, v in new.items() if checkpoint.get(k) != v}}

    # on the sink's thread: writing

    def _write(self, batches: Sequence[Batch]) -> Written:
        changed = dict[str, str]()
        if self._failed is not None:
            raise self._failed
        if self._is_due():
            self._publish()
        if self._published:  # those entries are stored by now
            changed = {str(number): "" for number in self._published} | self._told({})
            self._published.clear()
        if not batches:
            return Written(changed)
        if self._bucket is not None:  # a directory is locked
            self._check_owner()
        for name, batch in {each.window.endpoint: each for each in reversed(batches)}.items():
            self._describe(name, batch)
        number, packed = self._next, pack(batches)
        self._next += 1
        place = _place(number)
        self._files.put(place, packed, "staged object")
        head = read_head(number, packed, partial(self._files.get, place), place)
        with self._lock:
            self._staged.append(head)
        changed[str(number)] = ",".join(sorted(head.fields))
        return Written(changed, drift=self._drift(batches))

    def _is_due(self) -> bool:
        return bool(self._staged) and (
            sum(each.size for each in self._staged) >= PUBLISH_BYTES
            or sum(len(each.parts) for each in self._staged) >= PUBLISH_WINDOWS
        )

    def _describe(self, name: str, batch: Batch) -> None:
        """See to it that the interface has a table with all its columns."""
        fields = batch.endpoint.fields if batch.endpoint is not None else ()
        known = self._columns.get(name)
        if known is None or (fields and not known.fields):
            self._tables[name] = IcebergTable.make(self._connect(), self._files, name, fields)
            self._columns[name] = arrow.table_of(name, fields)

    def _drift(self, batches: Sequence[Batch]) -> list[str]:
        """What is new in the first answer of each interface: it is in all its records."""
        firsts = {each.window.endpoint: each for each in reversed(batches) if each.count}
        told = list[str]()
        for name, batch in firsts.items():
            self._columns[name].rows(batch)
            told += self._columns[name].drift()
        return told

    def _publish(self) -> None:
        """Publish all that is staged, then remove it."""
        through = self._next - 1
        for name in sorted({name for each in self._staged for name in each.fields}):
            table = self._tables.get(name)
            if table is None:  # its staged object was put back, or a catalog that lacks it
                known = [each.fields[name] for each in self._staged if name in each.fields]
                made = IcebergTable.make(self._connect(), self._files, name, known[-1])
                table = self._tables[name] = made
            left = [each for each in self._staged if each.number > table.through]
            table.publish([each for each in left if name in each.fields], through)
        with self._lock:
            published, self._staged = self._staged, []
            self._published += [each.number for each in published]
        for each in published:
            self._files.remove(_place(each.number), "published object")

    def _publish_unless_read(self) -> None:
        """A scan may be under way, which needs what is staged."""
        if self._shared is not None:
            self._publish_if_possible()
        elif not self._scans:
            self._publish()

    def _maintain(self) -> tuple[int, int]:
        """The same; gives the number of files before and after."""
        if self._registry is not None:
            self._publish_all(self._registry, wait=True)
            self._load_tables(anew=False)
        else:
            self._publish()
        before = self._count()
        for table in self._tables.values():
            table.compact()
            table.tidy(time.time() + 1)
        return before, self._count()

    def _count(self) -> int:
        return sum(len(self._files.find(name)) for name in self._tables)

    def _publish_last(self) -> None:
        assert self._registry is not None
        self._publish_all(self._registry, wait=True, tidy=True)

    def _close(self) -> None:
        try:
            if self._shared is None and self._catalog is not None:
                touched = {name for each in self._staged for name in each.fields}
                self._publish()
                for name in touched:
                    self._tables[name].tidy(time.time() - KEPT)
        finally:
            self._let_go()
            if self._claim is not None:
                self._claim.release()
                self._claim = None

    def _let_go(self) -> None:
        """Close the catalog, and end the threads that the library has started for us."""
        registry, self._registry, self._joined = self._registry, None, False
        if registry is not None:
            registry.close()
        catalog, self._catalog = self._catalog, None
        if catalog is not None:
            catalog.close()
        self._tables.clear()
        self._columns.clear()
        self._staged = []
        self._published = []
        self._end_temporary()
        _end_pool(self._has_pool)

    def _end_temporary(self) -> None:
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.cleanup()

    # on the sink's thread, with a shared ledger

    def _join(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Get ready beside other workers, and publish what has been left."""
        assert self._shared is not None
        self._has_pool = ExecutorFactory._instance is not None
        if self.path is not None:
            durable.make_directory(self.path, "directory of tables")
        else:
            self._take_bucket()
        registry = self._registry = Registry(self._shared, self._files.root)
        if checkpoint and not (registry.is_made and self._owner()):
            raise SinkError(
                f"{self.identity}, or its catalog in the database of the ledger, is gone; put the"
                f" right one back, or run {self._command}"
            )
        registry.make()
        catalog = self._connect()
        if checkpoint is None:
            self._register(catalog)
        owner = self._owner()
        if not checkpoint or owner != checkpoint.get(_OWNER, ""):
            self._load_tables(anew=checkpoint is None)
            numbers = [table.through for table in self._tables.values()]
            registry.make(number=max(numbers, default=0))
            if checkpoint is not None and (self._holds() or registry.staged()):
                raise self._unknown()
        changed = dict[str, str]()
        if checkpoint is None and owner:
            changed[_OWNER] = owner
        elif not checkpoint:
            self._own(changed)
        self._owned = {**(checkpoint or {}), **changed}.get(_OWNER, "")
        self._joined = True
        self._publish_all(registry, wait=False)
        return {**changed, _LATEST: str(registry.latest_epoch())} if changed else {}

    def _stage(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Stage the batches, less those of accounts that a later epoch has staged."""
        registry = self._registry
        assert registry is not None
        if self._is_due():
            self._publish_if_possible()
        appids = {each.window.appid for each in batches}
        if not batches:
            return Written(refused=registry.stage("", fence, appids)[1])
        self._check_owner()
        for name, batch in {each.window.endpoint: each for each in reversed(batches)}.items():
            self._describe(name, batch)
        place, packed = f"{_STAGING}/{secrets.token_hex(16)}{SUFFIX}", pack(batches)
        self._files.put(place, packed, "staged object")
        number, lost = registry.stage(place, fence, appids)
        if number:
            head = read_head(number, packed, partial(self._files.get, place), place)
            with self._lock:
                self._staged.append(head)
        else:
            self._files.remove(place, "staged object without a window")
        return Written(refused=lost, drift=self._drift(batches))

    def _publish_if_possible(self) -> None:
        """Publish; if that fails, what is staged is safe, and the next attempt tells of it."""
        assert self._registry is not None
        with suppress(Away, SinkError, *_ERRORS):
            self._publish_all(self._registry, wait=False)

    def _publish_all(self, registry: Registry, *, wait: bool, tidy: bool = False) -> None:
        """Publish what all workers have staged, unless another one is about it.

        wait: until it has done so.  tidy: the tables, too.
        """
        with registry.publishing(wait=wait) as mine:
            if not mine:
                return
            entries = registry.within()
            heads = [head for each in entries if (head := self._head_of(each)) is not None]
            if len(heads) < len(entries):
                raise SinkError(
                    f"{self.identity} lacks staged objects; put them back, or run {self._command}"
                )
            for name in sorted({name for each in heads for name in each.fields}):
                again_if_changed(partial(self._publish_in, name, heads, tidy=tidy))
            if heads:
                registry.forget(heads[-1].number)
        with self._lock:
            self._staged = []
        for entry in entries:
            self._files.remove(entry.name, "published object")
        if tidy:
            self._sweep({each.name for each in registry.staged()})

    def _publish_in(self, name: str, heads: Sequence[Staged], *, tidy: bool) -> None:
        """Publish what belongs into one table."""
        table = self._loaded(self._connect(), name)
        left = [each for each in heads if each.number > table.through and name in each.fields]
        table.publish(left, heads[-1].number)
        if tidy:
            table.tidy(time.time() - KEPT)

    def _head_of(self, entry: Entry) -> Staged | None:
        """A staged object without the windows that do not count; None if it is not there."""
        try:
            packed = self._files.get(entry.name)
        except FileNotFoundError:
            return None
        head = read_head(entry.number, packed, partial(bytes, packed), entry.name)
        lost = {*entry.refused}
        return head._replace(parts=[each for each in head.parts if each.window.appid not in lost])

    def _sweep(self, known: Collection[str]) -> None:
        """Remove what workers have left that died before it counted."""
        for name, changed in self._files.find(_STAGING):
            old = changed < time.time() - KEPT
            if old and name.endswith(SUFFIX) and name not in known:
                self._files.remove(name, "staged object of a dead worker")

    # reading

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        """The names of the interfaces of which records stand here."""
        with self._reading(checkpoint) as (tables, staged):
            names = {*tables, *[name for each in staged for name in each.fields]}
            return sorted(
                name for name in names if any(True for _ in _windows(name, None, tables, staged))
            )

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[StoredWindow]:
        """Each stored window of an interface: what is published, and what is staged."""
        with self._reading(checkpoint) as (tables, staged):
            yield from _windows(endpoint, appids, tables, staged)

    @contextmanager
    def _reading(self, checkpoint: Checkpoint | None) -> Iterator[_Stock]:
        """What stands here, as it is at this moment; it stays until the block ends."""
        try:
            if self._shared is not None:
                with self._unopened_shared(self._shared) as found:
                    yield found
                return
            if self._catalog is not None:
                with self._lock:
                    self._scans += 1
                    stock: _Stock = dict(self._tables), [*self._staged]
                try:
                    yield stock
                finally:
                    self._scans -= 1
                return
            with self._unopened(checkpoint) as found:
                yield found
        except _ERRORS as exc:
            raise SinkError(f"{self.identity} cannot be read: {_said(exc)}") from exc

    @contextmanager
    def _unopened(self, checkpoint: Checkpoint | None) -> Iterator[_Stock]:
        """The same of a destination that this object has not opened."""
        path = self._catalog_file
        if path is not None and not path.exists():
            if checkpoint or self._described():
                raise self._gone()
            yield {}, []
            return
        staged = self._heads()
        has_pool = ExecutorFactory._instance is not None
        catalog = self._new_catalog("?mode=ro&uri=true")
        try:
            if path is None:
                catalog.create_namespace_if_not_exists(NAMESPACE)
                self._register(catalog)
            tables = {
                name: self._loaded(catalog, name) for _, name in catalog.list_tables(NAMESPACE)
            }
            if checkpoint:
                self._check(checkpoint, tables, staged)
                staged = [each for each in staged if each.number in _numbers(checkpoint)]
            yield tables, staged
        finally:
            catalog.close()
            self._end_temporary()
            _end_pool(has_pool)

    @contextmanager
    def _unopened_shared(self, url: Secret) -> Iterator[_Stock]:
        """The same with a shared ledger, whatever other workers are doing."""
        registry = Registry(url, self._files.root)
        has_pool = ExecutorFactory._instance is not None
        catalog: SqlCatalog | None = None
        try:
            if not registry.is_made:
                yield {}, []
                return
            # What is published in between is in the tables: what is staged is read first.
            heads = [*map(self._head_of, registry.staged())]
            catalog = self._new_catalog()
            tables = {
                name: self._loaded(catalog, name) for _, name in catalog.list_tables(NAMESPACE)
            }
            yield tables, [head for head in heads if head is not None]
        except Away as exc:
            raise SinkError(f"{self.identity} cannot be read: {exc}") from exc
        finally:
            registry.close()
            if catalog is not None:
                catalog.close()
            _end_pool(has_pool)

    def _heads(self) -> list[Staged]:
        """What is staged."""
        found = []
        for place, _ in self._files.find(_STAGING):
            number = place.rpartition("/")[2].removesuffix(SUFFIX)
            if number.isdigit() and place == _place(int(number)):
                with suppress(FileNotFoundError):  # a process has just published it
                    packed = self._files.get(place)
                    found.append(read_head(int(number), packed, partial(bytes, packed), place))
        return found


def _bucket_of(rest: str) -> Bucket:
    """What ``s3://BUCKET/PREFIX?…`` names; raises `UsageError`."""
    scheme, _, place = rest.partition("?")[0].partition("://")
    if scheme != "s3":
        raise UsageError(
            f"sink: iceberg:{scheme}://… is not supported; write {FORM}, for another S3-compatible"
            " store with ?endpoint=URL"
        )
    if "@" in place:
        raise UsageError(
            "sink: iceberg:s3://…@… has a key in it; keys stand in AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or write ?access_key=env:NAME&secret_key=env:NAME"
        )
    names = Bucket._fields[1:]
    spec = read_spec("iceberg", rest, dict.fromkeys(names, ()), FORM)
    found = spec.place.partition("://")[2].strip("/")
    if not found:
        raise UsageError(f"sink: iceberg:s3:// names no bucket; write it as {FORM}")
    return Bucket(found, **spec.options)


def _windows(
    endpoint: str,
    appids: Collection[str] | None,
    tables: Mapping[str, IcebergTable],
    staged: Sequence[Staged],
) -> Iterator[StoredWindow]:
    """The windows of an interface, of these accounts or of all; the later of two that overlap."""
    table = tables.get(endpoint)
    through = table.through if table is not None else 0
    later = Days()
    for each in reversed(staged):
        if each.number <= through or endpoint not in each.fields:
            continue
        parts = each.of(endpoint)
        kept = [
            part
            for part in parts
            if (appids is None or part.window.appid in appids) and not later.overlaps(part.window)
        ]
        for found in each.lines(kept):
            yield StoredWindow(found.window, found.tally(), found.fetched_at, found.records)
        later.add(part.window for part in parts)
    if table is not None:
        yield from table.scan(appids, later)


def _place(number: int) -> str:
    return f"{_STAGING}/{number:08}{SUFFIX}"


def _numbers(checkpoint: Checkpoint) -> dict[int, str]:
    """The staged objects of a checkpoint, and the interfaces in each."""
    return {int(key): names for key, names in checkpoint.items() if key.isdigit()}


def _said(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or str(exc)
    return str(exc).partition("\n")[0]


def _end_pool(was_there: bool) -> None:
    """End the threads that the library has started since."""
    pool = ExecutorFactory._instance
    if pool is not None and not was_there:
        ExecutorFactory._instance = None
        pool.shutdown()
