"""Object stores: ``PREFIX/<endpoint>/<first day>_<last day>_<digest>.jsonl``, and a manifest.

Rule: an object is never changed; what counts is what the newest manifest lists.

A write puts its objects, then the next manifest, ``_harvester/manifest/<number>.json``, which may
only be created where there is none.  To replace a window, each object that holds records of it is
put anew without them, under another name.  A receipt holds the number of the manifest:

- a manifest that no receipt speaks of is the work of a run that died; the next `open` goes back to
  the one before, and removes all objects that it does not list;
- what a manifest lists no more is removed once its receipt is stored; a crash before that leaves
  objects that the next `open` removes.

Whoever reads takes the manifest with the highest number, or every ``*.jsonl`` of an interface: no
run at work, the two are the same.

Two writers: ``_harvester/writer.json`` names the ledger that writes, and a second one is refused
(`UsageError`) for as long as the first has written there within the last five minutes; a ledger is
never refused because of its own former self.  Whatever clocks say, the conditional put decides: of
two that write the same number one is told that it came too late, stops (`SinkError`), and none of
its last records count.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date
from functools import partial
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlsplit

from harvester.codec import add_checksums, checksum
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Tally, Window
from harvester.plan import Days
from harvester.sinks import base
from harvester.sinks.base import Receipt, Wanted, Written
from harvester.sinks.bucket import PATIENCE, Bucket, BucketError, Found
from harvester.sinks.files import NOTES
from harvester.sinks.formats import FORMATS, Format, format_of
from harvester.sinks.manifest import (
    OBJECT,
    Entry,
    Manifest,
    manifest_name,
    manifest_numbers,
    merged_name,
    object_name,
    read_manifest,
    to_merge,
    told_by,
)
from harvester.sinks.segments import Whole, by_endpoint, found_in, holds, parsed, widen, window_of
from harvester.sinks.spec import read_spec
from harvester.sinks.writer import WRITER, Writer
from harvester.thread import Thread

MANIFESTS_KEPT = 32
KNOWN = 64
"""Objects of which is remembered what they hold."""

_TARGET, _OWNER, _COMMIT, _WROTE, _FOUND = "target", "owner", "commit", "wrote", "found"

P = ParamSpec("P")
T = TypeVar("T")
Spans = dict[str, Days]


class _Put(NamedTuple):
    """An object to be put."""

    entry: Entry
    data: bytes


class _Change(NamedTuple):
    """What a write does to one interface."""

    puts: list[_Put]
    gone: set[str]


class ObjectStore:
    """The sink of one prefix, which belongs to it alone.

    url: ``s3://bucket/prefix`` and its like; credentials come from the environment.
    compress: ``""`` or ``"gzip"``, of new objects.
    endpoint: of a store that speaks S3 elsewhere, in place of ``AWS_ENDPOINT_URL``.
    patience: seconds for which a store that is down is tried again.
    """

    scheme: ClassVar[str] = "s3"
    credentials: ClassVar[str] = (
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the AWS SDKs read from the"
        " environment"
    )
    options: ClassVar[dict[str, tuple[str, ...]]] = {"compress": ("gzip",), "endpoint": ()}

    def __init__(
        self, url: str, *, compress: str = "", endpoint: str = "", patience: float = PATIENCE
    ) -> None:
        self._url = url.rstrip("/") if urlsplit(url).path.strip("/") else url
        self._endpoint = endpoint
        self._manifest = Manifest("", "", 0, 0)
        self._format: Format = FORMATS[compress]
        self._bucket = Bucket(
            self._url, endpoint=endpoint, credentials=self.credentials, patience=patience
        )
        self._thread: Thread | None = None
        self._writer = Writer(self._bucket)
        self._kept: list[int] = []
        self._gone: set[str] = set()
        self._found = False
        self._unheard: set[Window] = set()
        self._holds: dict[str, Spans | Sequence[Window]] = {}

    @classmethod
    def from_spec(cls, rest: str) -> ObjectStore:
        """The sink that ``s3://bucket/prefix?compress=gzip`` and its like name."""
        scheme = cls.scheme
        form = f"{scheme}://{'DIR' if scheme == 'file' else 'BUCKET/PREFIX'}"
        if "@" in rest and scheme not in ("az", "abfs"):
            del rest  # a key may stand in it, and tracebacks can be shown with locals
            raise UsageError(
                f"sink: a URL of {scheme} holds no credentials; they come from the environment"
            )
        place, options = read_spec(scheme, rest, cls.options, form)
        if not place.startswith("//") or not (urlsplit(place).netloc or scheme == "file"):
            raise UsageError(f"sink: {scheme}:{place} is not one; write it as {form}")
        return cls(
            f"{scheme}:{place}",
            compress=options.get("compress", ""),
            endpoint=options.get("endpoint", ""),
        )

    def __repr__(self) -> str:
        return f"<ObjectStore {self.identity}, {len(self._manifest.objects)} objects>"

    @property
    def identity(self) -> str:
        """The URL, and the endpoint if one was given."""
        return self._url + (f"?endpoint={self._endpoint}" if self._endpoint else "")

    # opening

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Claim the prefix and bring it to where the receipt says."""
        self._thread = Thread("harvester-objects")
        given = receipt or {}
        try:
            found = await self._bucket.everything()
            self._refuse_others(found)
            await self._writer.claim(given.get(_OWNER, ""), found.get(WRITER))
            former = await self._choose(given, found)
            number = max([0, *manifest_numbers(found)]) + 1
            self._manifest = former._replace(commit=number, base=former.commit)
            await self._create(self._manifest)
        except BucketError as exc:
            raise self._unusable(exc, given) from exc
        listed = {entry.name for entry in self._manifest.objects}
        await self._bucket.remove(
            [name for name in found if OBJECT.fullmatch(name) and name not in listed],
            "objects that no receipt speaks of",
        )
        # The former one stays: the receipt that is stored may never become the new one.
        old = [each for each in manifest_numbers(found) if each != former.commit]
        await self._bucket.remove(map(manifest_name, old), "manifests")
        self._kept = [former.commit, number]
        if self._found:
            self._unheard = {one.window for one in await self._all_found()}
        return self._receipt()

    def _refuse_others(self, found: Collection[str]) -> None:
        for note, what in NOTES.items():
            if note in found:
                raise UsageError(f"{self._url} holds {what} of another sink; choose another place")

    def standing(self) -> Iterable[Window]:
        """The windows that stood here when it was opened, and no receipt spoke of."""
        return self._unheard

    async def adopt(self) -> tuple[Receipt, Sequence[base.Found]]:
        """Everything that stands here; the ledger will know of it from now on."""
        return {_FOUND: ""}, await self._all_found()

    async def _all_found(self) -> list[base.Found]:
        """Each window that has records: all of them are read."""
        found: dict[Window, base.Found] = {}

        async def look_into(entry: Entry) -> None:
            lines = self._lines(entry, await self._content(entry.name))
            for one in await self._call(found_in, lines):
                former = found.get(one.window, one._replace(records=0, checksum=0))
                total = add_checksums(former.checksum, one.checksum)
                found[one.window] = former._replace(
                    records=former.records + one.records, checksum=total, whole=True
                )

        await self._bucket.each([partial(look_into, entry) for entry in self._manifest.objects])
        return list(found.values())

    def _unusable(self, exc: BucketError, receipt: Receipt) -> SinkError | UsageError:
        """A bucket that can never be written is told before anything is sent."""
        if exc.trouble.gone and _WROTE in receipt:
            return self._lost("there is no such bucket any more")
        if exc.trouble.passes or exc.trouble.absent or exc.trouble.full:
            return exc
        return UsageError(f"sink: {self._url} cannot be used: {exc.trouble.what}")

    async def _choose(self, receipt: Receipt, found: dict[str, Found]) -> Manifest:
        """The manifest to go on from: the receipt's, or else the newest."""
        numbers = manifest_numbers(found)
        if not numbers:
            if _WROTE in receipt:
                raise self._lost("its manifest is gone")
            self._found = False
            return Manifest(secrets.token_hex(16), self._writer.owner, 0, 0)
        newest = await self._read(numbers[-1])
        if _WROTE in receipt and newest.target != receipt[_TARGET]:
            raise self._lost("something else stands in its place")
        known = int(receipt.get(_COMMIT, 0))
        if known in numbers and newest.owner == receipt.get(_OWNER):
            former = newest if known == newest.commit else await self._read(known)
            if former.owner == newest.owner and not _missing(former, found):
                self._found = _FOUND in receipt
                return former
        if missing := _missing(newest, found):
            raise self._lost(f"{missing} is not as it was written")
        # Another ledger's, or newer than what ours knows: it is kept, and gives way to itself.
        self._found = bool(newest.objects)
        if self._writer.owner == receipt.get(_OWNER):
            await self._writer.become(secrets.token_hex(16))
        return newest._replace(owner=self._writer.owner)

    def _lost(self, how: str) -> SinkError:
        return SinkError(
            f"what was stored in {self._url} is gone ({how}), though the ledger says that it was"
            " harvested; put it back, or move the ledger away to harvest everything anew"
        )

    async def _read(self, number: int) -> Manifest:
        name = manifest_name(number)
        return read_manifest(name, await self._bucket.get(name))

    def _receipt(self) -> Receipt:
        manifest = self._manifest
        return {
            _TARGET: manifest.target,
            _OWNER: manifest.owner,
            _COMMIT: str(manifest.commit),
            _WROTE: "1" if manifest.objects else "",
            _FOUND: "1" if self._found else "",
        }

    async def _create(self, manifest: Manifest) -> None:
        if not await self._bucket.create(manifest.name, manifest.encoded(), "manifest"):
            raise SinkError(
                f"another harvester has begun to write to {self._url}; nothing of what this run"
                " wrote last counts: let one of them write there, and run the same command again"
            )

    # writing

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Put objects, then the manifest that lists them."""
        await self._writer.renew()
        replaced: dict[Window, Tally] = {}
        changes = [
            await self._change(endpoint, group, replaced)
            for endpoint, group in by_endpoint(batches).items()
        ]
        puts = {put.entry.name: put for change in changes for put in change.puts}
        gone = {name for change in changes for name in change.gone} - puts.keys()
        if puts or gone:
            await self._bucket.each([partial(self._put, put) for put in puts.values()])
            await self._commit([put.entry for put in puts.values()], gone)
        return Written(self._receipt(), replaced)

    async def _put(self, put: _Put) -> None:
        await self._bucket.put(put.entry.name, put.data, "object")

    async def _commit(self, added: Iterable[Entry], gone: set[str]) -> None:
        """The next manifest; what it lists no more goes once its receipt is stored."""
        now = self._manifest
        names = {entry.name: entry for entry in now.objects if entry.name not in gone}
        names.update((entry.name, entry) for entry in added)
        following = now._replace(
            commit=now.commit + 1, base=now.commit, objects=tuple(names.values())
        )
        await self._create(following)
        self._manifest = following
        self._kept.append(following.commit)
        self._gone |= gone

    async def _change(
        self, endpoint: str, group: Sequence[Batch], replaced: dict[Window, Tally]
    ) -> _Change:
        """What is to be put and what goes, of one interface."""
        entries = [entry for entry in self._manifest.objects if entry.endpoint == endpoint]
        old = [batch.window for batch in group if batch.replaces or self._found]
        change = _Change([], set())
        if old:
            await self._rewrite(entries, old, replaced, change)
        filled = [batch for batch in group if batch.records]
        if filled:
            heavy = self._format.heavy
            change.puts.append(await self._call(self._packed, filled) if heavy
                               else self._packed(filled))  # fmt: skip
        standing = [entry for entry in entries if entry.name not in change.gone]
        await self._merge([*standing, *[put.entry for put in change.puts]], change)
        return change

    async def _merge(self, entries: Sequence[Entry], change: _Change) -> None:
        """Make one of many small objects."""
        suffix = self._format.suffix
        some = to_merge(entry for entry in entries if entry.name.endswith(suffix))
        if not some:
            return
        at_hand = {put.entry.name: put.data for put in change.puts}

        async def fetch(name: str) -> None:
            at_hand[name] = await self._content(name)

        missing = [entry.name for entry in some if entry.name not in at_hand]
        await self._bucket.each([partial(fetch, name) for name in missing])
        parts = [at_hand[entry.name] for entry in some]
        data = await self._call(self._format.join, parts)
        merged = Entry(merged_name(some, suffix), len(data), sum(entry.records for entry in some))
        names = {entry.name for entry in some}
        for name in names:
            self._holds.pop(name, None)
        change.puts[:] = [put for put in change.puts if put.entry.name not in names]
        change.puts.append(_Put(merged, data))
        change.gone.update(names)

    def _remember(self, name: str, what: Spans | Sequence[Window]) -> None:
        """What an object holds: its windows, gone through only if it is asked, or their spans."""
        self._holds[name] = what
        while len(self._holds) > KNOWN:  # the oldest; it is read again if it is wanted
            del self._holds[next(iter(self._holds))]

    def _can_hold(self, name: str, windows: set[Window]) -> set[Window]:
        """Those of the windows that an object may hold records of."""
        known = self._holds.get(name)
        if known is None:
            return windows
        if not isinstance(known, dict):
            known = self._holds[name] = widen({}, known)
        return {window for window in windows if holds(known, window)}

    # replacing

    async def _rewrite(
        self,
        entries: Iterable[Entry],
        windows: Sequence[Window],
        replaced: dict[Window, Tally],
        change: _Change,
    ) -> None:
        """Put anew, without them, each object that holds records of these windows."""
        for entry in entries:
            first, last = map(date.fromisoformat, entry.days)
            near = {each for each in windows if each.begin <= last and first <= each.end}
            here = self._can_hold(entry.name, near)
            if not here:
                continue
            data = await self._content(entry.name)
            rest, taken = await self._call(self._without, entry, data, here, replaced)
            if taken:
                self._holds.pop(entry.name, None)
                change.gone.add(entry.name)
                change.puts.extend(rest)

    def _without(
        self, entry: Entry, data: bytes, windows: set[Window], replaced: dict[Window, Tally]
    ) -> tuple[list[_Put], bool]:
        """What is left of an object without these windows, and whether it held any of them."""
        whole, kept = Whole(windows), list[bytes]()
        standing: set[Window] = set()
        for line in self._lines(entry, data):
            stored = window_of(line)
            window = whole.around(stored)
            if window is None:
                kept.append(line)
                standing.add(stored)
                continue
            former = replaced.get(window, Tally())
            total = add_checksums(former.checksum, checksum([line]))
            replaced[window] = Tally(former.records + 1, total)
        if len(kept) == entry.records:
            self._remember(entry.name, widen({}, standing))
            return [], False
        if not kept:
            return [], True
        body = b"".join(kept)
        put = self._object(standing, body, len(kept), [body])
        self._remember(put.entry.name, widen({}, standing))
        return [put], True

    def _packed(self, batches: Sequence[Batch]) -> _Put:
        """The object of a write."""
        body = b"".join([batch.body for batch in batches])
        records = sum([batch.records for batch in batches])
        windows = [batch.window for batch in batches]
        put = self._object(windows, body, records, told_by(batches))
        self._remember(put.entry.name, windows)
        return put

    def _object(
        self, windows: Collection[Window], body: bytes, records: int, content: Sequence[bytes]
    ) -> _Put:
        data = self._format.pack(body)
        name = object_name(windows, content, self._format.suffix)
        return _Put(Entry(name, len(data), records), data)

    async def _content(self, name: str) -> bytes:
        try:
            return await self._bucket.get(name)
        except BucketError as exc:
            if not exc.trouble.absent:
                raise
        raise self._lost(f"{name} is not there")

    def _lines(self, entry: Entry, data: bytes) -> Iterator[bytes]:
        if len(data) != entry.size:
            raise self._lost(f"{entry.name} is {len(data)} of its {entry.size} bytes")
        yield from format_of(entry.name).lines(data)

    async def _call(self, function: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Run what takes a while beside the event loop."""
        assert self._thread is not None, "the sink is not open"
        return await self._thread.call(function, *args, **more)

    # after a write, and at the end

    async def settle(self) -> None:
        """Remove what the manifest lists no more, and old manifests now and then."""
        gone, self._gone = self._gone, set()
        await self._bucket.remove(gone, "replaced objects")
        if len(self._kept) > MANIFESTS_KEPT:
            old, self._kept = self._kept[:-1], self._kept[-1:]
            await self._bucket.remove(map(manifest_name, old), "manifests")

    async def close(self) -> None:
        """Give up the prefix, as far as the store can be reached."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.close()
        self._gone, self._holds = set(), {}
        await self._writer.release()

    # reading back

    def read_lines(self, receipt: Receipt) -> Iterator[bytes]:
        """Each line that the receipt speaks of; raises `SinkError` if an object is gone."""
        for entry in self._spoken_of(receipt).objects:
            yield from self._lines_now(entry)

    def documents(
        self, endpoint: str, receipt: Receipt | None, wanted: Wanted
    ) -> Iterator[dict[str, Any]]:
        """The records of an interface; without a receipt all that the newest manifest lists."""
        first, last = wanted.begin.isoformat(), wanted.end.isoformat()
        manifest = self._newest() if receipt is None else self._spoken_of(receipt)
        for entry in manifest.objects:
            if entry.endpoint == endpoint and entry.days[0] <= last and first <= entry.days[1]:
                yield from parsed(self._lines_now(entry))

    def _lines_now(self, entry: Entry) -> Iterator[bytes]:
        try:
            data = self._bucket.get_now(entry.name)
        except BucketError as exc:
            if not exc.trouble.absent:
                raise
            raise self._lost(f"{entry.name} is not there") from None
        yield from self._lines(entry, data)

    def _newest(self) -> Manifest:
        """The newest manifest, whoever wrote it."""
        numbers = manifest_numbers(self._bucket.names_now())
        if not numbers:
            raise SinkError(f"{self._url} holds nothing that was harvested")
        return self._read_now(numbers[-1])

    def _spoken_of(self, receipt: Receipt) -> Manifest:
        """The manifest of a receipt; the newest, if another ledger has written since."""
        numbers = manifest_numbers(self._bucket.names_now())
        if not numbers or not receipt:
            if _WROTE in receipt:
                raise self._lost("its manifest is gone")
            return Manifest("", "", 0, 0)
        known = int(receipt[_COMMIT])
        found = {number: self._read_now(number) for number in {numbers[-1], known} & set(numbers)}
        newest = found[numbers[-1]]
        if newest.target != receipt[_TARGET] and _WROTE in receipt:
            raise self._lost("something else stands in its place")
        return found.get(known, newest) if newest.owner == receipt[_OWNER] else newest

    def _read_now(self, number: int) -> Manifest:
        name = manifest_name(number)
        return read_manifest(name, self._bucket.get_now(name))


def _missing(manifest: Manifest, found: dict[str, Found]) -> str:
    """An object that a manifest lists and that is not there as it was written."""
    for entry in manifest.objects:
        there = found.get(entry.name)
        if there is None or there.size != entry.size:
            return entry.name
    return ""


class GoogleStore(ObjectStore):
    """``gs://bucket/prefix``."""

    scheme = "gs"
    credentials = "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"compress": ("gzip",)}


class AzureStore(ObjectStore):
    """``az://container/prefix``; the account is ``AZURE_STORAGE_ACCOUNT_NAME``."""

    scheme = "az"
    credentials = "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"compress": ("gzip",)}


class AbfsStore(AzureStore):
    """``abfs://container/prefix``, or ``abfs://container@account.dfs.core.windows.net/prefix``."""

    scheme = "abfs"


class LocalObjects(ObjectStore):
    """``file:///directory``, for tests: it keeps the same order of steps, but calls no fsync."""

    scheme = "file"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"compress": ("gzip",)}
