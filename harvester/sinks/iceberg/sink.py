"""The Iceberg sink: when it writes and when it publishes, and what it says of failures.

Rule: what blocks runs on the sink's thread; how a destination is written is the writers' business.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from harvester import durable
from harvester.away import PATIENCE, Away, until_it_answers
from harvester.errors import SinkError, UsageError
from harvester.fencing import EPOCH
from harvester.model import Batch, many
from harvester.secrets import Secret
from harvester.sinks.arrow import pa
from harvester.sinks.base import Checkpoint, Fence, StoredWindow, Written
from harvester.sinks.iceberg.catalog import CATALOG, Tables
from harvester.sinks.iceberg.files import Bucket, BucketFiles, Files, LocalFiles
from harvester.sinks.iceberg.shared import SharedWriter
from harvester.sinks.iceberg.single import SingleWriter, Stock
from harvester.sinks.iceberg.staged import Staged
from harvester.sinks.iceberg.table import IcebergTable
from harvester.sinks.segments import Days
from harvester.sinks.spec import read_spec
from harvester.thread import Thread, ended

FORM = "iceberg:DIR or iceberg:s3://BUCKET/PREFIX"
PUBLISH_BYTES = 64 * 1024 * 1024
PUBLISH_WINDOWS = 100_000
PUBLISH_SECONDS = 900.0
"""Staged objects are published once they have so many bytes or windows, or the first is so old."""
_ERRORS = (OSError, SQLAlchemyError, pa.ArrowException, CommitFailedException, NoSuchTableError)

T = TypeVar("T")


class Iceberg:
    """The Iceberg sink; one process a destination, or the workers of one shared ledger.

    place: a directory, made if it is not there; or a place in an S3-compatible store.
    """

    def __init__(self, place: str | os.PathLike[str] | Bucket) -> None:
        self.path = None if isinstance(place, Bucket) else Path(place)
        self._bucket = place if isinstance(place, Bucket) else None
        self._catalog = None if self.path is None else self.path / CATALOG
        self._shared: Secret | None = None  # the URL of the ledger's database
        self._thread: Thread | None = None
        self._writer = self._new_writer()
        self._timer: asyncio.TimerHandle | None = None  # as long as something is staged
        self._publishing: asyncio.Task[None] | None = None
        self._failed: Exception | None = None  # what the timer's publication has raised

    def __repr__(self) -> str:
        return f"<{self.identity}, {len(self._writer.staged)} staged objects>"

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
            self._catalog = ledger.with_name(f"{name}.{CATALOG}")
        self._writer = self._new_writer()

    def _new_writer(self) -> SingleWriter | SharedWriter:
        files: Files
        if self._bucket is not None:
            files, out, spec = BucketFiles(self._bucket), "DIR", self.identity
        else:
            assert self.path is not None
            if {"#", "%"} & {*str(self.path.resolve())}:
                raise UsageError(
                    f"the directory {self.path} cannot be the location of tables, which has no # or"
                    " %; choose another directory"
                )
            files, out, spec = LocalFiles(self.path), str(self.path), f"iceberg:{self.path}"
        place = self._shared or self._catalog
        command = f"`harvester rebuild --out {out} --sink {spec}`"
        tables = Tables(files, self.identity, command, place)
        return SingleWriter(tables) if self._shared is None else SharedWriter(tables, self._shared)

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Bring the destination to where the checkpoint says, and publish what is left."""
        self._thread = Thread("harvester-iceberg")
        self._failed = None
        return await self._call(self._writer.open, checkpoint)

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window in the place of all that overlap it; durable on return."""
        if self._failed is not None:
            raise self._failed
        if self._is_due():
            await self._call(self._writer.publish)
        # Under the same epochs nothing is repeated: it may be stored all the same.
        repeats = all(epoch <= EPOCH for epoch in fence.values())
        written = await (self._call if repeats else self._once)(self._writer.write, batches, fence)
        self._set_timer()
        return written

    async def close(self) -> None:
        """Publish what is staged, and release everything."""
        if self._thread is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._publishing is not None:
            await ended(self._publishing)  # it would go on with a writer that is closed
            self._publishing = None
        try:
            await self._call(self._writer.finish)
        finally:
            await self._end(self._thread)

    async def _end(self, thread: Thread) -> None:
        try:
            await self._call(self._writer.close)
        finally:
            thread.close()
            self._thread = None

    async def maintain(self) -> str:
        """Join the data files of each month, and remove what the latest snapshots do not need."""
        before, after = await self._call(self._writer.maintain)
        return f"{many(before, 'file')} became {many(after, 'file')}"

    def _is_due(self) -> bool:
        staged = self._writer.staged
        return bool(staged) and (
            sum(each.size for each in staged) >= PUBLISH_BYTES
            or sum(len(each.parts) for each in staged) >= PUBLISH_WINDOWS
        )

    def _set_timer(self) -> None:
        """Publish in a while, also if nothing is written until then."""
        if self._timer is None and self._writer.staged:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PUBLISH_SECONDS, self._begin_publishing)

    def _begin_publishing(self) -> None:
        self._timer = None
        self._publishing = asyncio.ensure_future(self._publish_in_time())

    async def _publish_in_time(self) -> None:
        """Publish what is staged; the next write tells of a failure."""
        try:
            await self._call(self._writer.publish)
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
            return await self._thread.call(function, *args)
        except _ERRORS as exc:
            if self._shared is not None and isinstance(exc, OperationalError | InterfaceError):
                raise Away(_said(exc)) from exc
            raise self._not_written(exc) from exc

    def _not_written(self, exc: Exception) -> SinkError:
        full = (
            durable.is_full(exc) if isinstance(exc, OSError) else "disk is full" in _said(exc)
        )  # the latter is SQLite's
        what = "the disk is full" if full else _said(exc)
        return SinkError(
            f"{self.identity} could not be written: {what}; nothing that was committed is lost:"
            f" {'make room' if full else 'mend it'} and run the same command again"
        )

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
    def _reading(self, checkpoint: Checkpoint | None) -> Iterator[Stock]:
        try:
            with self._writer.reading(checkpoint) as found:
                yield found
        except (*_ERRORS, Away) as exc:
            raise SinkError(f"{self.identity} cannot be read: {_said(exc)}") from exc


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


def _said(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or str(exc)
    return str(exc).partition("\n")[0]
