"""Redis streams, one an interface, for those who push records on.

Rule: one of two rooms that know redis, which is imported when a sink is made and not before; no
message holds what stands in the URL beside host, port and database.

Each entry has two fields: ``record``, the line, and ``id``, made from the record's interface,
account, days and content, the same however often it comes.  A commit is one script: entries whose
ids begin with its number, and a marker for each window.  What is promised (Redis 6.2 or newer):

- the stream holds each record of each window once, after any crash and the next run;
- who consumes it gets each record once, too: what a run that died had handed on stays there, and
  is not added again when its windows come again with the same figures.  What comes otherwise is
  removed;
- a window that is replaced (``--refresh``, late figures) is added anew if its figures differ, and
  its former entries are removed once the ledger knows; if they are the same, nothing is added.  A
  consumer takes the newest entries of a window (``_begin_date``, ``_end_date`` of an account) for
  the whole of it.  Only a run that dies in the midst of a replacement can hand the same change on
  twice, with the same ``id``;
- entries that a consumer trims or deletes stay harvested; `verify` then says that they are missing.
  A stream, or everything, that was deleted is told before anything is asked for;
- a second writer is refused as long as the first one's connection stands, and a commit of a writer
  whose place was taken is refused by the script;
- what Redis itself loses when it dies is a matter of its persistence (``appendonly yes``,
  ``appendfsync always`` lose nothing).  A server that came back without its last commits is told.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import uniform
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

import anyio

from harvester.codec import add_checksums
from harvester.durable import step
from harvester.endpoint import Endpoint
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Hidden, Tally, Window
from harvester.private import advice, place_of
from harvester.sinks import streams
from harvester.sinks.base import Found, Receipt, Wanted, Written
from harvester.sinks.segments import found_in, parsed, window_of
from harvester.sinks.spec import read_spec
from harvester.sinks.streams import Keys, Marker, Operation, field, overlap, window_of_field
from harvester.thread import Thread

T = TypeVar("T")

PASSWORD_VARIABLE = "HARVESTER_REDIS_PASSWORD"  # the name, not the password
PATIENCE = 60.0
"""Seconds for which a server that is down is tried again."""
TIMEOUT = 10.0
LONGEST = 5.0
GOING = 1.0
"""Seconds in which the connection of a writer that was killed has gone."""
MOST = 100_000
"""Records of one script."""
PAGE = 1000

_TARGET, _OWNER, _COMMIT, _WROTE, _FOUND = "target", "owner", "commit", "wrote", "found"


class _Trouble(NamedTuple):
    """What an error means, and whether it passes."""

    what: str
    passes: bool = False


class _RedisError(SinkError):
    """A call that failed for good, or for too long."""

    def __init__(self, message: str, trouble: _Trouble) -> None:
        super().__init__(message)
        self.trouble = trouble


class RedisStreams:
    """The streams below one prefix of a database.

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
        url: str | Hidden,
        *,
        prefix: str = "harvester",
        patience: float = PATIENCE,
        tls: Mapping[str, str] | None = None,
    ) -> None:
        hidden = Hidden(url) if isinstance(url, str) else url
        del url  # a traceback may be shown with the locals of its frames
        self._prefix, self._patience, self._tls = prefix, patience, dict(tls or {})
        self._keys = Keys(prefix)
        self._name = f"harvester-{secrets.token_hex(8)}"
        self._where, problem = _place(hidden)
        if not problem:
            self._client, problem = self._connected(hidden)
        if problem:
            raise UsageError(problem)
        self._thread: Thread | None = None
        self._state: dict[str, str] = {}
        self._commit = 0
        self._found = self._wrote = False
        self._left: dict[Window, Marker] = {}
        self._unheard: set[Window] = set()
        self._unsettled = False
        self._endpoints: Sequence[Endpoint] = ()

    @classmethod
    def from_spec(cls, rest: str) -> RedisStreams:
        """The sink that ``redis://host:port/db?prefix=NAME`` names."""
        form = f"{cls.scheme}://HOST:PORT/DB"
        place, mark, query = rest.partition("?")
        hidden, shown = Hidden(f"{cls.scheme}:{place}"), place.rpartition("@")[2].strip("/")
        secret = "@" in query  # a password with a question mark in it
        del rest, place
        if secret:
            del mark, query, shown
            raise UsageError(f"sink: a ? in a password is written %3F, as in {form}")
        options = dict(read_spec(cls.scheme, f"//{shown}{mark}{query}", cls.options, form).options)
        prefix = options.pop("prefix", "harvester")
        return cls(hidden, prefix=prefix, tls=options)

    def __repr__(self) -> str:
        return f"<RedisStreams {self.identity}>"

    @property
    def identity(self) -> str:
        """The URL without its password, and the prefix."""
        options = self._tls | ({"prefix": self._prefix} if self._prefix != "harvester" else {})
        query = "&".join(f"{name}={value}" for name, value in sorted(options.items()))
        return f"{self._where}?{query}" if query else self._where

    def describe(self, endpoints: Sequence[Endpoint]) -> None:
        """The interfaces whose streams will be written."""
        self._endpoints = endpoints

    def _connected(self, url: Hidden) -> tuple[Any, str]:
        """The client, or why there is none; nothing is sent yet."""
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            return None, (
                "streams of Redis need their library: pip install 'wechat-harvester[redis]'"
            )
        self._errors = (redis.exceptions.RedisError, OSError)
        self._lost = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
        self._refused = (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError)
        self._loading = redis.exceptions.BusyLoadingError
        settings: dict[str, Any] = {
            "socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT,
            "client_name": self._name, "retry": Retry(NoBackoff(), 0), **self._tls,
        }  # fmt: skip
        if not urlsplit(url.value).password and (password := os.environ.get(PASSWORD_VARIABLE)):
            settings["password"] = password
        try:
            return redis.Redis.from_url(url.value, **settings), ""
        except Exception:  # noqa: BLE001  (whatever it is, its text may hold the URL)
            return None, f"sink: the URL of {self._where} cannot be used"

    # opening

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Claim the prefix and bring it to where the receipt says."""
        self._thread = Thread("harvester-redis")
        try:
            await self._claim()
            await self._persist("opened", lambda: self._check_streams(receipt or {}))
            return await self._persist("opened", lambda: self._recover(receipt or {}))
        except _RedisError as exc:
            if exc.trouble.passes:
                raise
            problem = exc.trouble.what
        raise UsageError(f"sink: {self._where} cannot be used: {problem}")

    async def _claim(self) -> None:
        """Take the prefix, unless the connection of another writer stands."""
        ends = time.monotonic() + GOING
        while True:
            held, alive = await self._persist("opened", self._holder)
            if not alive:
                break
            if time.monotonic() > ends:
                raise UsageError(
                    f"{self._where} ({self._prefix}) is in use by another harvester; wait until it"
                    " has ended, or take another prefix"
                )
            await anyio.sleep(0.05)
        claim = [self._prefix, held, self._name]
        with step("claim streams"):
            claimed = await self._persist("opened", lambda: self._script(streams.CLAIM, claim))
        if not claimed:
            raise UsageError(
                f"{self._where} ({self._prefix}) is in use by another harvester, which has just"
                " begun"
            )

    def _holder(self) -> tuple[str, bool]:
        """Who held the prefix last, and whether its connection stands."""
        held = _text(self._client.hget(self._keys.state, "client"))
        if not held or held == self._name:
            return held, False
        try:
            names = {_text(one.get("name")) for one in self._client.client_list()}
        except self._refused:  # then the script alone keeps two apart
            return held, False
        return held, held in names

    def _check_streams(self, receipt: Receipt) -> None:
        """What the receipt speaks of must be there, and nothing else in its place."""
        state = self._read_state()
        if _WROTE in receipt:
            if state.get(_TARGET) != receipt[_TARGET]:
                raise self._gone("its bookkeeping is gone" if _TARGET not in state
                                 else "something else stands in its place")  # fmt: skip
            if state[_OWNER] == receipt[_OWNER] and int(state[_COMMIT]) < int(receipt[_COMMIT]):
                raise self._gone("the server came back without its last commits")
        known = {_text(name) for name in self._client.smembers(self._keys.streams)}
        for name in sorted(known):
            if not self._client.exists(self._keys.stream(name)):
                raise self._gone(f"the stream {self._keys.stream(name)} was deleted")
        for endpoint in self._endpoints:
            key = self._keys.stream(endpoint.name)
            if endpoint.name not in known and (kind := _text(self._client.type(key))) != "none":
                raise UsageError(
                    f"{self._where} has a {kind} {key} that no harvester wrote; remove it, or"
                    " take another prefix"
                )

    def _gone(self, how: str) -> SinkError:
        return SinkError(
            f"what was stored in {self._where} ({self._prefix}) is gone ({how}), though the ledger"
            " says that it was harvested; put it back, or move the ledger away to harvest"
            " everything anew into another prefix"
        )

    def _read_state(self) -> dict[str, str]:
        found = self._client.hgetall(self._keys.state)
        return {_text(key): _text(value) for key, value in found.items()}

    def _recover(self, receipt: Receipt) -> Receipt:
        state = self._state = self._read_state()
        self._commit = int(state.get(_COMMIT, 0))
        if _OWNER in receipt and receipt[_OWNER] == state.get(_OWNER):
            self._found, self._wrote = _FOUND in receipt, _WROTE in receipt
            if int(receipt[_COMMIT]) < self._commit:
                self._roll_back(int(receipt[_COMMIT]))
        else:
            new = {
                _TARGET: state.get(_TARGET) or secrets.token_hex(16),
                _OWNER: secrets.token_hex(16),
                _COMMIT: str(self._commit),
            }
            self._found = self._wrote = self._commit > 0
            with step("name owner of streams"):
                self._client.hset(self._keys.state, mapping=new)
            self._state = {**state, **new}
        with step("settle streams"):
            if not self._script(streams.SETTLE, [self._prefix, self._name, ":.undo"]):
                self._taken(self._read_state())
        self._left = self._markers(self._keys.left)
        if self._found:
            self._unheard = set(self._windows())
        return self._receipt()

    def _windows(self) -> dict[Window, Marker]:
        """All windows that stand, and their markers."""
        found: dict[Window, Marker] = {}
        for name in map(_text, self._client.smembers(self._keys.streams)):
            begin = self._keys.windows(name, "")
            for key in map(_text, self._client.scan_iter(streams.literally(begin) + "*", PAGE)):
                account = f"{name} {key.removeprefix(begin)}"
                for days, marker in self._client.hgetall(key).items():
                    window = window_of_field(f"{account} {_text(days)}")
                    found[window] = Marker.parse(_text(marker))
        return found

    def standing(self) -> Iterable[Window]:
        """The windows that stood here when it was opened, and no receipt spoke of."""
        return self._unheard

    async def adopt(self) -> tuple[Receipt, Sequence[Found]]:
        """Everything that stands here; the ledger will know of it from now on."""
        return {_FOUND: ""}, await self._persist("read", self._all_found)

    def _all_found(self) -> list[Found]:
        """What the markers say: entries that a consumer has taken away were harvested, too."""
        lines = {one.window: one.fetched_at for one in found_in(self._read(self._receipt()))}
        return [
            Found(window, *marker.tally, lines.get(window, ""))
            for window, marker in self._windows().items()
        ]

    def _markers(self, key: str) -> dict[Window, Marker]:
        found = self._client.hgetall(key)
        return {
            window_of_field(_text(name)): Marker.parse(_text(value))
            for name, value in found.items()
        }

    def _roll_back(self, commit: int) -> None:
        """Undo what commits after this one replaced; what they added newly is left behind."""
        undone, left = self._markers(self._keys.undo), self._markers(self._keys.left)
        arguments: list[Any] = [self._prefix, self._name]
        for window, marker in self._added_after(commit).items():
            if window in left:
                continue
            replaced = any(overlap(window, former) for former in undone)
            arguments += ["drop" if replaced else "leave", window.endpoint, window.appid]
            arguments += [field(window), str(marker)]
        with step("roll back streams"):
            if not self._script(streams.ROLL_BACK, arguments):
                self._taken(self._read_state())

    def _added_after(self, commit: int) -> dict[Window, Marker]:
        """The windows whose records commits after this one added."""
        windows = set[Window]()
        for name in self._client.smembers(self._keys.streams):
            for _, line in self._entries(_text(name), f"({commit}-18446744073709551615"):
                windows.add(window_of(line))
        found = {}
        for window in windows:
            key = self._keys.windows(window.endpoint, window.appid)
            marker = _text(self._client.hget(key, field(window)))
            if marker:
                found[window] = Marker.parse(marker)
        return found

    def _receipt(self) -> Receipt:
        return {
            _TARGET: self._state[_TARGET],
            _OWNER: self._state[_OWNER],
            _COMMIT: str(self._commit),
            _WROTE: "1" if self._wrote else "",
            _FOUND: "1" if self._found else "",
        }

    # writing

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Add the entries of the batches, and mark what they replace."""
        await self.settle()
        old = [batch.window for batch in batches if batch.replaces or self._found]
        standing = await self._persist("read", lambda: self._standing(old)) if old else {}
        replaced: dict[Window, Tally] = {}
        operations: list[Operation] = []
        for batch in batches:
            operations += self._operations(batch, standing, replaced)
        for group in streams.pieces(operations, MOST):
            await self._send(group)
        return Written(self._receipt(), replaced)

    async def _send(self, group: Sequence[Operation]) -> None:
        number = self._commit + 1
        arguments: list[Any] = [self._prefix, self._name, self._commit, number]
        first = 0
        for operation in group:
            if operation.kind == "add":
                records, checksum = operation.marker[2:]
                marker = Marker(number, first, records, checksum)
                operation = operation._replace(marker=marker)
                first += records
            arguments += operation.arguments()
        with step("xadd"):
            done = await self._persist("written", lambda: self._script(streams.COMMIT, arguments))
        await self._must_hold(done)
        self._commit = number
        self._wrote = self._wrote or first > 0
        self._unsettled = self._unsettled or any(each.kind != "add" for each in group)
        for operation in group:
            self._left.pop(operation.window, None)

    async def _must_hold(self, done: int) -> None:
        """What a script answered: whether this is still the one writer."""
        if not done:
            state = await self._persist("read", self._read_state)
            self._taken(state)

    def _taken(self, state: Mapping[str, str]) -> NoReturn:
        if state.get(_TARGET) != self._state.get(_TARGET) or int(state[_COMMIT]) < self._commit:
            raise self._gone("the server came back without it")
        raise SinkError(
            f"another harvester has begun to write to {self._where} ({self._prefix}); nothing"
            " of what this run wrote last counts: let one of them write there, and run the"
            " same command again"
        )

    def _standing(self, windows: Iterable[Window]) -> dict[Window, dict[Window, Marker]]:
        """For each of the windows those that stand and lie in it, with their markers."""
        by_key: defaultdict[tuple[str, str], list[Window]] = defaultdict(list)
        for window in windows:
            by_key[window.endpoint, window.appid].append(window)
        found: dict[Window, dict[Window, Marker]] = {}
        for (endpoint, appid), group in by_key.items():
            key = self._keys.windows(endpoint, appid)
            if any(window.begin < window.end for window in group):
                stored = {
                    window_of_field(f"{endpoint} {appid} {_text(name)}"): _text(value)
                    for name, value in self._client.hgetall(key).items()
                }
            else:
                values = self._client.hmget(key, [field(window) for window in group])
                stored = dict(zip(group, map(_text, values), strict=True))
            for window in group:
                found[window] = {
                    each: Marker.parse(text) for each, text in _within(window, stored) if text
                }
        return found

    def _operations(
        self,
        batch: Batch,
        standing: Mapping[Window, Mapping[Window, Marker]],
        replaced: dict[Window, Tally],
    ) -> Iterator[Operation]:
        """What one batch asks for."""
        window, tally = batch.window, Tally(batch.records, batch.checksum)
        former = standing.get(window, {})
        if former:
            records = sum(marker.records for marker in former.values())
            total = 0
            for marker in former.values():
                total = add_checksums(total, marker.checksum)
            replaced[window] = Tally(records, total)
            if list(former) == [window] and former[window].tally == tally:
                return  # the same figures: nothing to hand on
        for each, marker in former.items():
            yield Operation("replace", each, marker)
        for each, marker in [pair for pair in self._left.items() if overlap(pair[0], window)]:
            if each == window and marker.tally == tally and not former:
                yield Operation("keep", each, marker)
                return
            yield Operation("drop", each, marker)
        if batch.records:
            yield Operation("add", window, Marker(0, 0, batch.records, batch.checksum), batch)

    async def settle(self) -> None:
        """Remove the entries of what was replaced."""
        if self._unsettled:
            await self._take_away(":.undo", "settle streams")
            self._unsettled = False

    async def finish(self) -> Written:
        """All that was asked for has come: what is still left behind was not asked for."""
        if self._left:
            await self._take_away(":.left", "clear streams")
            self._left = {}
        return Written({})

    async def _take_away(self, what: str, name: str) -> None:
        arguments = [self._prefix, self._name, what]
        with step(name):
            done = await self._persist("written", lambda: self._script(streams.SETTLE, arguments))
        await self._must_hold(done)

    async def close(self) -> None:
        """Let go of the connection, and with it of the prefix."""
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                await thread.call(self._client.close)
            finally:
                thread.close()

    # reading back

    def read_lines(self, receipt: Receipt) -> Iterator[bytes]:
        """Each record that the receipt speaks of, as its line.

        Raises `SinkError` if it is gone, and `UsageError` if it cannot be read.
        """
        try:
            yield from self._translated(lambda: self._read(receipt))
            return
        except _RedisError as exc:
            problem = f"{self._where} could not be read: {exc.trouble.what}"
        raise UsageError(problem)

    def documents(
        self, endpoint: str, receipt: Receipt | None, wanted: Wanted
    ) -> Iterator[dict[str, Any]]:
        """The records of an interface that stand in its stream."""
        yield from parsed(self._translated(lambda: self._read(receipt or {}, endpoint)))

    def _read(self, receipt: Receipt, only: str = "") -> Iterator[bytes]:
        self._check_streams(receipt)
        state = self._read_state()
        ours = receipt.get(_OWNER) and state.get(_OWNER) == receipt[_OWNER]
        commit = int(receipt.get(_COMMIT, 0)) if ours else int(state.get(_COMMIT, 0))
        hidden = self._markers(self._keys.left)
        last = commit == int(state.get(_COMMIT, 0))
        hidden.update(self._markers(self._keys.undo if last else self._keys.kept))
        without = {(w.endpoint, each) for w, marker in hidden.items() for each in marker.ids}
        names = sorted(_text(each) for each in self._client.smembers(self._keys.streams))
        for name in names if not only else [only] if only in names else []:
            for place, line in self._entries(name, "-"):
                if int(place.partition("-")[0]) <= commit and (name, place) not in without:
                    yield line + b"\n"

    def _entries(self, endpoint: str, after: str) -> Iterator[tuple[str, bytes]]:
        """The entries of a stream, in pages: id and line."""
        while page := self._client.xrange(self._keys.stream(endpoint), after, "+", PAGE):
            for place, fields in page:
                yield _text(place), fields[b"record"]
            after = f"({_text(page[-1][0])}"

    def _translated(self, read: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
        try:
            yield from read()
            return
        except self._errors as exc:
            trouble = self._trouble(exc)
        finally:
            self._client.close()
        raise self._error("read", trouble)

    # the server

    def _script(self, text: str, arguments: Sequence[Any]) -> int:
        return int(self._client.register_script(text)(args=arguments))

    async def _persist(self, verb: str, call: Callable[[], T]) -> T:
        """Make a call, and again for as long as its trouble may pass."""
        assert self._thread is not None, "the sink is not open"
        ends, delay = time.monotonic() + self._patience, 0.1
        while True:
            try:
                return await self._thread.call(call)
            except self._errors as exc:
                trouble = self._trouble(exc)
            if not trouble.passes or time.monotonic() + delay > ends:
                break
            await anyio.sleep(delay * uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST)
        raise self._error(verb, trouble)

    def _error(self, verb: str, trouble: _Trouble) -> _RedisError:
        after = f" for {self._patience:g} s" if trouble.passes else ""
        return _RedisError(
            f"{self._where} could not be {verb}: {trouble.what}{after}; nothing that was committed"
            " is lost: mend it and run the same command again",
            trouble,
        )

    def _trouble(self, exc: Exception) -> _Trouble:
        code = str(exc).partition(" ")[0]
        if isinstance(exc, self._refused) or code in ("NOAUTH", "WRONGPASS", "NOPERM"):
            return _Trouble(f"it refuses this user or password ({type(exc).__name__})")
        if isinstance(exc, self._loading):
            return _Trouble("it is still loading its data", passes=True)
        if isinstance(exc, self._lost):
            return _Trouble("it does not answer", passes=True)
        if "DB index" in str(exc) or "invalid DB" in str(exc):
            return _Trouble("it has no such database")
        if "read only" in str(exc):
            return _Trouble("it is a replica, which is read-only")
        if "OOM" in str(exc) or "maxmemory" in str(exc):
            return _Trouble("its memory is full")
        if "MISCONF" in str(exc) or "RDB" in str(exc):
            return _Trouble("it cannot write to its disk")
        if "smaller than the target" in str(exc) or "WRONGTYPE" in str(exc):
            return _Trouble("a key of that name was written by something else; take another prefix")
        return _Trouble(f"it refuses ({type(exc).__name__})")


class RedisStreamsTls(RedisStreams):
    """``rediss://…``: the same with TLS."""

    scheme = "rediss"
    options: ClassVar[dict[str, tuple[str, ...]]] = {"prefix": (), "ssl_ca_certs": ()}


def _within(window: Window, stored: Mapping[Window, str]) -> Iterator[tuple[Window, str]]:
    """Of what is stored that which lies in a window."""
    if window.begin == window.end:
        yield window, stored.get(window, "")
        return
    for each in sorted(stored):
        if window.begin <= each.begin and each.end <= window.end:
            yield each, stored[each]


def _text(value: object) -> str:
    """What the server gave, as text; empty for nothing."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def _place(url: Hidden) -> tuple[str, str]:
    """A URL as it may be shown, without its password; and what is wrong with it."""
    place = place_of(url)
    if place is None or not (place.name or "0").isdecimal():
        return "redis", f"sink: a URL of Redis is written redis://HOST:PORT/DB{advice(url)}"
    user = urlsplit(url.value).username
    name = f"{unquote(user)}@" if user else ""
    port, database = int(place.port or 6379), int(place.name or 0)
    return f"{place.scheme}://{name}{place.host.lower()}:{port}/{database}", ""
