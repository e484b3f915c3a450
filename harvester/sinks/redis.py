"""A feed of Redis streams, one for each interface, for programs that process records further.

Rule: one of two modules that import redis, and only when a sink is made; messages show only user,
host, port and database of the URL.

The stream of an interface is ``harvester:<interface>``, or has the spec's prefix.  An entry is a
record, with these fields:

- ``id``: ``<account>/<interface>/<first day>/<last day>/<number>``, the number from 1.  It is the
  same however often the record is sent;
- ``version``: the same in all entries of a window, and later each time that the window is fetched;
- ``records``: how many records the window has;
- ``record``: the line, one JSON object.

A window without records is one entry with number 0, ``records`` 0 and no ``record``.

What has been sent is never changed or removed.  A changed window is sent again as a whole, and
after a crash or a lost connection a window can arrive twice, or partly and then as a whole: at
least once.  A consumer collects the entries of a window and version; once it has as many ids as
``records`` says, the window is whole.  It keeps the latest version of each window::

    account, interface, begin, end, number = entry["id"].split("/")
    window, version = (account, interface, begin, end), int(entry["version"])
    part = parts.setdefault((window, version), {})
    if "record" in entry:
        part[number] = json.loads(entry["record"])
    if len(part) == int(entry["records"]):
        del parts[window, version]
        if window not in windows or windows[window][0] <= version:
            windows[window] = version, list(part.values())

A window is valid as long as no overlapping window of its account and interface has a later version.
The order and the number of entries make no difference::

    def overlap(a, b):
        return a[:2] == b[:2] and a[2] <= b[3] and b[2] <= a[3]

    standing = {
        window: records
        for window, (version, records) in windows.items()
        if not any(overlap(window, w) and v > version for w, (v, _) in windows.items())
    }

Each stream is a key of its own, and no call needs two keys: a cluster works like a single
server, and the URL of any node names it.  Entries may be trimmed and deleted; they stay harvested.
What Redis itself loses when it dies is a matter of its persistence (``appendonly yes`` with
``appendfsync always`` loses nothing): the ledger keeps the last entry's place in each stream, and a
stream that was deleted, or came back without that entry, stops the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import urlsplit

from harvester.away import AGAIN, PATIENCE, Away, until_it_answers
from harvester.durable import step
from harvester.errors import SinkError, UsageError, needs
from harvester.model import Batch
from harvester.secrets import Secret, advice, place_of
from harvester.sinks.base import Checkpoint, Fence, Sink, Written
from harvester.sinks.feed import lines_with_ids, record_id
from harvester.sinks.spec import read_spec
from harvester.thread import Thread

T = TypeVar("T")

PASSWORD_VARIABLE = "HARVESTER_REDIS_PASSWORD"  # the name, not the password
TIMEOUT = 10.0
PIPELINE = 1000
"""Entries that are sent at once."""


_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM")
_MEANINGS = {
    "unknown command": "Redis 6.2 or newer is needed",
    "SELECT is not allowed": "a cluster has no database but 0",
    "DB index": "it has no such database",
    "invalid DB": "it has no such database",
    "read only": "it is a replica, which is read-only",
    "OOM": "its memory is full",
    "maxmemory": "its memory is full",
    "MISCONF": "it cannot write to its disk",
    "WRONGTYPE": "a key with the name of a stream holds something else; take another prefix",
}
"""What a server's message means, by a part of it."""


class _Entry(NamedTuple):
    """What becomes one entry: the interface, and the fields."""

    endpoint: str
    fields: tuple[Any, ...]


def _library() -> Any:
    """The library; raises `UsageError` if it is not here."""
    try:
        import redis.cluster
    except ImportError:
        raise UsageError(needs("streams of Redis need their library", "redis")) from None
    return redis


class RedisStreams(Sink):
    """The streams below one prefix of a database, or of a cluster.

    url: ``redis://[user[:password]@]host[:port][/database]``, ``rediss://…`` with TLS.  The
    password may stand in the environment variable ``HARVESTER_REDIS_PASSWORD`` in its place.
    prefix: of every key.  patience: seconds for which a server that is down is tried again.
    tls: what redis-py is told of TLS (``ssl_ca_certs``).
    Raises `UsageError` for a URL that is none, and if the library is missing.
    """

    scheme: ClassVar[str] = "redis"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"prefix": ()}

    def __init__(
        self,
        url: str | Secret,
        *,
        prefix: str = "harvester",
        patience: float = PATIENCE,
        tls: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url = Secret(url)
        self._prefix, self._patience, self._tls = prefix, patience, dict(tls or {})
        self._where, problem = _place(self._url)
        self._library = _library()
        self._errors = self._library.exceptions
        if not problem:
            try:
                self._client = self._client_of(self._library.Redis)
            except Exception:  # noqa: BLE001  (whatever it is, its text may hold the URL)
                problem = f"sink: the URL of {self._where} cannot be used"
        if problem:
            raise UsageError(problem)
        self._thread: Thread | None = None
        self._last: dict[str, str] = {}  # by interface, the id of the last entry

    takes_lines = True

    @classmethod
    def from_spec(cls, rest: str | Secret) -> RedisStreams:
        """The sink that ``redis://host:port/db?prefix=NAME`` names."""
        form = f"{cls.scheme}://HOST:PORT/DB"
        rest = Secret(rest)
        if "@" in rest.value.partition("?")[2]:
            raise UsageError(f"sink: a ? in a password is written %3F, as in {form}")
        shown = "//" + rest.value.rpartition("@")[2].lstrip("/")
        options = dict(read_spec(cls.scheme, shown, cls.options, form).options)
        url = Secret(f"{cls.scheme}:{rest.value.partition('?')[0]}")
        return cls(url, prefix=options.pop("prefix", "harvester"), tls=options)

    def __repr__(self) -> str:
        return f"<RedisStreams {self.identity}>"

    @property
    def identity(self) -> str:
        """The URL without its password, and the prefix."""
        options = self._tls | ({"prefix": self._prefix} if self._prefix != "harvester" else {})
        query = "&".join(f"{name}={value}" for name, value in sorted(options.items()))
        return f"{self._where}?{query}" if query else self._where

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Connect, and see that the streams hold what the ledger knows of."""
        self._thread = Thread("harvester-redis")
        self._last = dict(checkpoint or {})
        await self._persist("opened", self._connect)
        await self._persist("opened", lambda: self._send([], [*self._last]))
        return {}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Add the entries of the batches."""
        last: dict[str, str] = {}
        entries = _entries(batches)
        while group := list(islice(entries, PIPELINE)):
            known = sorted({one.endpoint for one in group if one.endpoint in self._last})
            with step("xadd"):
                last |= await self._persist("written", lambda: self._send(group, known))  # noqa: B023
            self._last |= last
        return Written(last)

    async def close(self) -> None:
        """Release the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                await thread.call(self._client.close)
            finally:
                thread.close()

    # the server, on the thread

    def _client_of(self, kind: Any) -> Any:
        """A client of a single server or of a cluster; that of a single one sends nothing yet."""
        settings: dict[str, Any] = {
            "socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT, **self._tls,
        }  # fmt: skip
        password = os.environ.get(PASSWORD_VARIABLE)
        if password and not urlsplit(self._url.value).password:
            settings["password"] = password
        return kind.from_url(self._url.value, **settings)

    def _connect(self) -> None:
        """Connect, to all nodes if it is a cluster."""
        told = self._client.execute_command("HELLO")
        if isinstance(told, list):  # by the older protocol
            told = dict(zip(told[::2], told[1::2], strict=True))
        server = {_text(name): _text(value) for name, value in told.items()}
        if server["mode"] == "cluster":
            self._client.close()
            self._client = self._client_of(self._library.cluster.RedisCluster)
        elif server["role"] != "master":
            raise self._errors.ReadOnlyError("it is read only")

    def _key(self, endpoint: str) -> str:
        return f"{self._prefix}:{endpoint}"

    def _send(self, entries: Sequence[_Entry], known: Sequence[str]) -> dict[str, str]:
        """Add entries to streams that are as they were left; gives the last id of each stream."""
        pipeline = self._client.pipeline(transaction=False)
        for endpoint in known:
            pipeline.xinfo_stream(self._key(endpoint))
        for endpoint, fields in entries:
            pipeline.execute_command("XADD", self._key(endpoint), b"*", *fields)
        answers = pipeline.execute(raise_on_error=False)
        for endpoint, answer in zip(known, answers, strict=False):
            self._check(endpoint, answer)
        last: dict[str, str] = {}
        for entry, answer in zip(entries, answers[len(known) :], strict=True):
            if isinstance(answer, Exception):
                raise answer
            last[entry.endpoint] = _text(answer)
        return last

    def _check(self, endpoint: str, answer: Any) -> None:
        """The last entry that was sent must have been in the stream; it may have been removed."""
        if not isinstance(answer, Exception):
            if _position(answer["last-generated-id"]) >= _position(self._last[endpoint]):
                return
            how = "is older than what was sent"
        elif "no such key" in str(answer):
            how = "was deleted"
        else:
            raise answer
        raise SinkError(
            f"the stream {self._key(endpoint)} in {self._where} {how}, though the ledger says that"
            " its records were sent; put it back, or move the ledger away to fetch and send"
            " everything again"
        )

    async def _persist(self, verb: str, call: Callable[[], T]) -> T:
        """Make a call on the sink's thread; while the server is away, again, for a bounded time."""
        assert self._thread is not None, "the sink is not open"
        translated = partial(self._thread.call, self._translated, verb, call)
        return await until_it_answers(translated, self._where, self._patience)

    def _translated(self, verb: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except (self._errors.RedisError, self._errors.RedisClusterException, OSError) as exc:
            meaning = self._meaning(exc, verb)
        raise meaning  # here, where its context is empty: that of redis-py may hold the URL

    def _meaning(self, exc: Exception, verb: str) -> Exception:
        """What a call raises in place of an error of redis-py."""
        message, known = str(exc), self._errors
        lost = (
            known.ConnectionError, known.TimeoutError, known.ClusterDownError, known.TryAgainError,
            known.RedisClusterException, OSError,
        )  # fmt: skip
        refused = (known.AuthenticationError, known.NoPermissionError)
        if isinstance(exc, refused) or message.startswith(_REFUSED):
            what = f"it refuses this user or password ({type(exc).__name__})"
        elif isinstance(exc, known.BusyLoadingError):
            return Away("it is still loading its data")
        elif isinstance(exc, lost):
            return Away(type(exc).__name__)
        else:
            meant = [what for part, what in _MEANINGS.items() if part in message]
            what = meant[0] if meant else f"it refuses ({type(exc).__name__})"
        if verb == "opened":
            return UsageError(f"sink: {self._where} cannot be used: {what}")
        return SinkError(f"{self._where} could not be {verb}: {what}; {AGAIN}")


class RedisStreamsTls(RedisStreams):
    """``rediss://…``: the same with TLS."""

    scheme = "rediss"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"prefix": (), "ssl_ca_certs": ()}


def _entries(batches: Sequence[Batch]) -> Iterator[_Entry]:
    """The entries of some windows, in order."""
    for batch in batches:
        beside = (b"version", b"%d" % batch.version, b"records", b"%d" % batch.count)
        endpoint = batch.window.endpoint
        if not batch.count:
            yield _Entry(endpoint, (b"id", record_id(batch.window, 0), *beside))
        for name, line in lines_with_ids(batch):
            yield _Entry(endpoint, (b"id", name, *beside, b"record", line))


def _position(entry: object) -> tuple[int, int]:
    """An entry's id, so that it can be compared."""
    moment, _, number = _text(entry).partition("-")
    return int(moment), int(number)


def _text(value: object) -> str:
    """What the server gave, as text; empty for nothing."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def _place(url: Secret) -> tuple[str, str]:
    """A URL without its password, and without its user, which may be one; and what is wrong."""
    place = place_of(url)
    if place is None or not (place.name or "0").isdecimal():
        return "redis", f"sink: a URL of Redis is written redis://HOST:PORT/DB{advice(url)}"
    port, database = int(place.port or 6379), int(place.name or 0)
    return f"{place.scheme}://{place.host.lower()}:{port}/{database}", ""
