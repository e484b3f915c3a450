"""The shared ledger: ``postgresql://…``, a schema of a database, for workers on any machines.

Rule: connections, and what their errors mean; `harvester.ledger.leases` has the tables.

There are two connections.  One is for the work of a run; the other claims accounts and renews the
lease, so that a long commit does not delay it.  If the answer to a commit, a claim or a renewal is
lost, it is unknown whether it took effect: `Away` is raised, and nothing is repeated.  Idempotent
calls, and those that the server has refused (`Undone`), are repeated for a minute.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio

from harvester.base.dates import Days
from harvester.base.fencing import Epochs
from harvester.base.outage import PATIENCE, SLOW, Away, Undone, announce, until_it_answers
from harvester.base.postgresql import (
    SETTINGS,
    Server,
    begin,
    holder,
    limits,
    server_of,
    with_schema,
    without_schema,
)
from harvester.base.secrets import Secret
from harvester.base.threads import Thread
from harvester.errors import HarvestError, LedgerError, UsageError
from harvester.ledger import leases as shared
from harvester.ledger import statements
from harvester.ledger.base import (
    LEASE_ENDED,
    OPENING,
    Key,
    Lease,
    LockLostError,
    Renewal,
    Spent,
    Unfinished,
    WorkerJob,
)
from harvester.ledger.coverage import OpenWindow, Outcome
from harvester.ledger.leases import Account, Tables
from harvester.ledger.statements import LATEST, Statements, reads, writes
from harvester.model import Tally
from harvester.texts import say

SCHEMA = "harvester"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_LOCK = 0x6C656467  # "ledg"
_ASK_AGAIN = 0.5
_SETTINGS = (
    f"{SETTINGS}, set_config('search_path', '{{}}', true),"
    # tables that were just filled have no statistics yet: use indexes for few rows
    " set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),"
    " set_config('enable_bitmapscan', 'off', true)"
)
_KEY = "pg_catalog.hashtext(current_setting('search_path'))"
_HOLDERS = (
    "ARRAY(SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
    f" AND classid = {_LOCK} AND objid = ({_KEY}::bigint & 4294967295)::oid)"
)
"""The server processes that hold the ledger's exclusive lock."""
_LOST = say(
    "the connection that locked it was lost; nothing in it is lost: run the same command again"
)
_RECONNECTED = say("the connection was lost")
_FROZEN = "set_config('idle_in_transaction_session_timeout', '15s', true)"
"""The server ends a transaction whose client is silent for this long: it locks accounts."""

T = TypeVar("T")


class PostgresLedger(Statements):
    """The ledger in a schema of a PostgreSQL database.

    url: ``postgresql://[USER@]HOST[:PORT]/DATABASE``, with ``?schema=NAME`` for another schema than
    ``harvester``.  The password may be in ``PGPASSWORD`` or ``~/.pgpass``.
    readonly: nothing is created or changed, but for the state of the daily service.

    An async context manager.  Raises `UsageError` for a URL that cannot be used, if the library is
    missing, and for a ledger of another version.

    All times are the ledger's.  `commit`, `claim` and `reopen` raise `Away` if the server does not
    answer: the worker leaves and joins again.
    """

    path: Path | None = None
    identity = ""  # of an object whose URL was refused: a traceback may show its repr

    def __init__(self, url: str | Secret, *, readonly: bool = False) -> None:
        self._held = _Held()
        plain, named = without_schema(Secret(url))
        schema = SCHEMA if named is None else named
        if not _NAME.fullmatch(schema):
            raise UsageError(
                "ledger: the name of a schema consists of lowercase letters, digits and _"
            )
        server = server_of(plain, "ledger")
        self.identity = server.identity
        if schema != SCHEMA:
            self.identity = with_schema(self.identity, schema)
        self.place, self.hosts = server.where, server.hosts
        self.where = say("the ledger in {}", self.place)
        self.url = plain
        self._server = server
        self._readonly = readonly
        self._work = _Line(server, schema, "harvester-ledger")
        self._leases = _Line(server, schema, "harvester-leases")
        self._worker: int | None = None
        self._lease = 0.0
        self._turn = asyncio.Lock()  # claims and renewals one after the other

    def __repr__(self) -> str:
        return f"<PostgresLedger {self.identity}, {len(self.epochs)} accounts held>"

    async def __aenter__(self) -> Self:
        if self._work.is_open:
            raise UsageError("{} is already open; pass one that is not open", self.where)
        self._work.open()
        self._leases.open()
        try:
            await self._opened()
        except BaseException:
            await self._close()
            raise
        return self

    async def _opened(self) -> None:
        try:
            if self._readonly:
                await self._read(shared.check_version, (shared.RELEASED, shared.VERSION))
            else:
                await until_it_answers(self._made, self.where, PATIENCE, LedgerError)
        except UsageError as exc:
            raise type(exc)(say("{} cannot be used: {}", self.where, exc)) from None

    async def _made(self) -> None:
        try:
            async with self.alone(OPENING):
                await self._call(shared.make, self._work.schema)
        except TimeoutError:
            raise Away(say("it has not answered for {:.0f} s", OPENING)) from None

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._close()

    async def _close(self) -> None:
        await asyncio.gather(self._leases.close(), self._work.close())  # each may be connecting

    @property
    def epochs(self) -> Mapping[str, int]:
        """The epochs of the accounts that this worker holds, as far as it knows."""
        return self._held.epochs

    @property
    def marks(self) -> Mapping[str, str]:
        """The latest mark of each account that this worker holds; empty if it has none."""
        return self._held.marks

    @asynccontextmanager
    async def alone(self, limit: float = math.inf) -> AsyncIterator[None]:
        """A context in which no other worker is alone, for changes before a run.

        limit: seconds after which it is cancelled, raises `TimeoutError`, and others may be alone,
            also if this process is frozen.
        If others may hold the lock, since the connection was lost, nothing is changed any more, and
        an error is raised: `Away` if there is a limit, else `LedgerError`.
        """
        self._work.under = await self._until_alone(limit)
        still = False
        try:
            try:
                with anyio.fail_after(None if limit == math.inf else limit):
                    yield
            finally:
                self._work.under = 0
                with anyio.move_on_after(SLOW, shield=True):
                    still = await self._leases.on_thread(self._leases.unlock)
        except HarvestError:  # it may come from what another one has changed since
            if still:
                raise
            error = LockLostError if limit == math.inf else Away
            raise error("{}: {}", self.where, _LOST) from None

    async def _until_alone(self, limit: float) -> int:
        """Wait while others are alone, one after the other, but not for long for one of them."""
        line, whose = self._leases, ""
        begun = since = anyio.current_time()
        announced = False
        while not (held := await self._again(line, partial(line.lock, limit))):
            now = anyio.current_time()
            if line.holder != whose:
                whose, since = line.holder, now
            if now >= since + PATIENCE:
                raise LedgerError(
                    "{} is being opened or rebuilt by another process, for more than {:.0f} s now"
                    " ({}); wait until that process has ended, or end it if it makes no progress,"
                    " and run the same command again",
                    self.where,
                    PATIENCE,
                    whose or say("a lock"),
                )
            if not announced and now >= begun + SLOW:
                announced = True
                announce(self.where, whose)
            await anyio.sleep(_ASK_AGAIN)
        return held

    async def join(self, job: WorkerJob) -> float:
        """Join as a worker; returns the ledger's Unix time.

        Marked ranges are taken from the workers that hold their accounts, and wanted by all that
        are running.  Raises `UsageError` if this machine's clock is wrong.
        """
        self._lease = job.lease
        name = f"{socket.gethostname()}:{os.getpid()}"
        begun = time.monotonic()

        async def join() -> tuple[int, float]:  # the clock has advanced if the server was away
            late = job._replace(wall=job.wall + time.monotonic() - begun)
            return await self._work.call(shared.join, name, late)

        try:
            self._worker, now = await self._again(self._work, join)
        except UsageError as exc:
            raise UsageError("{}: {}", self.where, exc) from None
        self._work.lost = self._leases.lost = False
        return now

    @property
    def _is_apart(self) -> bool:
        """Whether a connection was lost since it joined: it may have reached another server since.

        What such a worker holds there may be what a standby has made of it: it joins again.
        """
        return self._worker is not None and (self._work.lost or self._leases.lost)

    async def want(self, appids: Sequence[str], refused: Collection[str] = ()) -> None:
        """Add accounts that this worker should claim, also lost ones.

        refused: those of them that others try first (`give_back`).
        """
        await self._call(shared.want, self._worker, appids, refused)

    async def claim(self, limit: int) -> list[Lease]:
        """Claim up to ``limit`` more of the wanted accounts that no other worker holds.

        Also renews the lease; raises `Away` if that has expired.
        """
        async with self._turn:
            if self._is_apart:
                raise Away(_RECONNECTED)
            call = self._leases.call(shared.claim, self._worker, self._lease, limit)
            try:
                found = await call
            except Undone:  # another worker's transaction holds what is to be claimed
                return []
            if found is None:
                raise Away(LEASE_ENDED)
            self._held.add(*found)
        return found[0]

    async def renew(self, windows: int, waiting: Collection[str] = ()) -> Renewal | None:
        """Renew the lease; None if it has expired: it is never renewed then.

        windows: the number that this worker has stored.  waiting: the accounts that it holds and
        for which it can request nothing before a later time.
        """
        async with self._turn:
            if self._is_apart:
                return None
            held = self._held.some()
            found = await self._leases.call(
                shared.renew, self._worker, self._lease, windows, held, waiting
            )
            if found is None:
                return None
            lost, now = found
            self._held.lose(lost, held)
        return Renewal({appid: held[appid][1] for appid in lost}, now)

    async def release(self, appids: Collection[str], later: Collection[str] = ()) -> None:
        """These accounts are finished, for all workers that request them for this job now.

        later: those of which something is left for later: workers of a higher rank take them.
        """
        held = self._held.some(appids)
        await self._once(shared.release, self._worker, held, later)
        self._held.lose(held, held)

    async def give_back(self, appids: Collection[str]) -> None:
        """Release accounts that fail on this machine.

        This worker claims one again once no other running worker is left that requests it and has
        not given it back.
        """
        held = self._held.some(appids)
        await self._call(shared.give_back, self._worker, sorted(appids))
        self._held.lose(held, held)

    async def unfinished(self) -> Unfinished:
        """The wanted accounts that are neither finished nor held by this worker.

        Raises `Away` if its lease has expired: then others may have what it wanted.
        """
        found = await self._again(
            self._leases, lambda: self._leases.call(shared.unfinished, self._worker)
        )
        if found is None:
            raise Away(LEASE_ENDED)
        return found

    async def leave(self) -> None:
        """Leave as a worker, and release its accounts; also one that has not joined may."""
        self._held.clear()
        if self._worker is not None:
            await self._leases.call(shared.leave, self._worker)
            self._worker = None

    dismiss = writes(shared.dismiss)
    workers = reads(shared.workers)
    all_marks = reads(shared.marks)

    async def draft(self) -> PostgresLedger:
        """An empty ledger in a schema beside this one."""
        made, schema = copy(self), f"{self._work.schema}_new"
        made._work = _Line(self._server, schema, "harvester-draft")
        made._leases = _Line(self._server, schema, "harvester-draft")
        made._held = _Held()
        await self._call(shared.drop, schema)
        return made

    begin_after = writes(shared.begin_after)
    highest_epoch = writes(shared.highest_epoch)

    async def replace_with(self, other: PostgresLedger, stamp: str) -> str:
        """Replace this ledger by another one; returns the new name of this one."""
        schema = self._work.schema
        former = f"{schema}_{stamp}"
        await self._work.call(shared.replace, schema, other._work.schema, former)
        return former

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
        epochs: Mapping[str, int] | None = None,
    ) -> Collection[str]:
        """Store all of it, or nothing, durably.

        epochs: those under which the outcomes were fetched, perhaps also of other accounts; by
            default the current ones of this worker.  Those of a write to sinks have its marks
            (`harvester.base.fencing.Epochs`).
        Returns the accounts that are no longer held under these epochs: none of their windows was
        stored.  Raises `LedgerError`, and stores nothing, if it knows a commit of a sink by another
        mark (`harvester.base.fencing.COMMIT`).
        """
        spent_ = list(spent)
        arguments = outcomes, checkpoints, spent_
        if not outcomes and not spent_ and not epochs:  # idempotent
            return await self._call(shared.commit, *arguments, None)
        if self._worker is None and epochs is None:
            try:
                return await self._once(shared.commit, *arguments, None)
            except Away as exc:
                if self._lease:  # a worker that is about to join again
                    raise
                raise LedgerError("{} does not answer: {}", self.where, exc) from None
        appids = {each.window.appid for each in outcomes} | {each.appid for each in spent_}
        named = {**self._held.epochs_of(appids), **(epochs or {})}
        held = self._held.known(named)
        marks = epochs.marks if isinstance(epochs, Epochs) else {}
        wrote = {appid: mark for appid, (mark, _) in marks.items() if appid in held}
        lost = await self._once(shared.commit, *arguments, held, wrote)
        lost |= named.keys() - held.keys()
        self._held.mark(wrote, named)
        self._held.lose(lost & held.keys(), held)
        if many := self._held.committed({each.window.appid for each in outcomes} - lost):
            await self._once(shared.merge_held, self._held.some(many))
            self._held.merged(many)
        return lost

    async def reopen(
        self,
        key: Key,
        ranges: Sequence[Days],
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        held = self._own()
        self._marked(key, await self._once(shared.reopen, key, ranges, windows, sums, held))

    async def forget(self, key: Key, ranges: Sequence[Days]) -> None:
        self._marked(key, await self._once(shared.forget, key, ranges, self._own()))

    remove = writes(shared.remove)
    fold_future_calls = writes(statements.fold_future_calls)

    def _marked(self, key: Key, mark: str | None) -> None:
        if mark:
            self._held.mark({key[0]: mark}, self.epochs)

    def _own(self) -> dict[str, Account] | None:
        return None if self._worker is None else self._held.some()

    accounts = reads(shared.accounts)
    calendars = reads(shared.calendars)
    spent = reads(statements.booked)

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        return await self._again(self._work, lambda: self._work.call(function, *args))

    async def _read(self, function: Callable[..., T], *args: object) -> T:
        return await self._again(self._work, lambda: self._work.read(function, *args))

    async def _once(self, function: Callable[..., T], *args: object) -> T:
        """Call it again only if the server has refused it; else it may have taken effect."""
        if self._is_apart:
            raise Away(_RECONNECTED)
        return await self._again(self._work, lambda: self._work.call(function, *args), Undone)

    async def _again(
        self, line: _Line, call: Callable[[], Awaitable[T]], repeats: type[Away] = Away
    ) -> T:
        """Call it again while the server is away, for a bounded time."""
        assert line.is_open, "the ledger is not entered"
        return await until_it_answers(call, self.where, PATIENCE, LedgerError, repeats)


class _Line:
    """A connection on its own thread, which reconnects after it was lost."""

    def __init__(self, server: Server, schema: str, name: str) -> None:
        self.schema = schema
        self._server = server
        self._settings = _SETTINGS.format(schema)
        self._name = name
        self.holder = ""
        """The holder of the exclusive lock at the last call of `lock`."""
        self.under = 0
        """The server's process whose lock is needed for what is called, 0 if none is."""
        self.lost = False
        """Whether a connection was lost since the worker joined."""
        self._thread: Thread | None = None
        self._connection: Any = None
        self._ever = False

    @property
    def is_open(self) -> bool:
        return self._thread is not None

    def open(self) -> None:
        """Start the thread; the first call connects."""
        self._thread = Thread(self._name)

    async def close(self) -> None:
        if self._thread is not None:
            try:
                await self._thread.call(self._let_go)
            finally:
                self._thread.close()
                self._thread = None

    async def on_thread(self, function: Callable[..., T], *args: object) -> T:
        assert self._thread is not None, "the ledger is not entered"
        return await self._thread.call(function, *args)

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function of `Tables` in a transaction; raises `Away`, `LedgerError`."""
        return await self.on_thread(self._transact, function, args)

    async def read(self, function: Callable[..., T], *args: object) -> T:
        """The same for a function that only reads, in one snapshot."""
        return await self.on_thread(self._look, function, args)

    async def lock(self, limit: float) -> int:
        """Take the ledger's exclusive lock; returns the server's process, 0 if others hold it.

        limit: seconds after which the server takes it from a process that is silent.
        """
        return await self.on_thread(self._lock, limit)

    # on the thread

    def _connect(self) -> Any:
        if self._connection is None:
            self._connection = self._server.connect(again=self._ever)
            self._ever = True
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _transact(self, function: Callable[..., T], args: Sequence[object]) -> T:
        try:
            connection = self._connect()
            settings = f"{self._settings}, {limits(connection)}, {_FROZEN}"
            with self._server.transaction(connection, settings, function.__name__):
                found = function(Tables(connection), *args)
                self._check_lock(connection)
                return found
        except self._server.library.Error as exc:
            raise self._translated(exc) from None

    def _look(self, function: Callable[..., T], args: Sequence[object]) -> T:
        try:
            connection = self._connect()
            settings = f"{self._settings}, {limits(connection)}"
            begin(connection, settings, "REPEATABLE READ, READ ONLY")
            try:
                found = function(Tables(connection), *args)
                self._check_lock(connection)
                return found
            finally:
                connection.execute("ROLLBACK")
        except self._server.library.Error as exc:
            raise self._translated(exc) from None

    def _check_lock(self, connection: Any) -> None:
        """Raise `LedgerError` if the lock is lost; called last, so that the work is undone."""
        if self.under:
            (held,) = connection.execute(f"SELECT {self.under} = ANY({_HOLDERS})").fetchone()
            if not held:
                raise LockLostError(_LOST)

    def _lock(self, limit: float) -> int:
        try:
            connection = self._connect()
            silent = 0 if limit == math.inf else 1000 * (limit + SLOW)
            begin(
                connection,
                f"{self._settings}, {limits(connection, lifted=True)},"
                f" set_config('idle_in_transaction_session_timeout', '{silent:.0f}', true)",
            )
            lock = f"SELECT pg_try_advisory_xact_lock({_LOCK}, {_KEY}), pg_backend_pid()"
            locked, process = connection.execute(lock).fetchone()
            if not locked:
                self.holder = holder(connection, _HOLDERS)
                connection.execute("ROLLBACK")
        except self._server.library.Error as exc:
            raise self._translated(exc) from None
        return int(process) if locked else 0

    def unlock(self) -> bool:
        """Unlock the ledger; returns whether it was locked: a lost connection has unlocked it."""
        try:
            if self._connection is not None:
                self._connection.execute("ROLLBACK")
                return True
        except self._server.library.Error:
            self._let_go()
        return False

    def _translated(self, exc: Exception) -> Exception:
        problem = self._server.describe(exc)
        if outage := self._server.outage(exc):
            if outage is not Undone:
                self._let_go()
                self.lost = True
            return outage(problem)
        return LedgerError(
            "the ledger in {} failed ({}); nothing in it is lost: fix the cause and run the same"
            " command again",
            self._server.where,
            problem,
        )


class _Held:
    """The accounts that this worker holds.

    epochs: the epoch of each; marks: the mark of its last commit.  In the database an account has a
    number, which never changes.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.marks: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._commits: Counter[str] = Counter()  # of an account, that are not merged

    def add(
        self, leases: Iterable[Lease], accounts: Mapping[str, Account], marks: Mapping[str, str]
    ) -> None:
        self.marks.update(marks)
        self.epochs.update({lease.appid: lease.epoch for lease in leases})
        self._numbers.update({appid: number for appid, (number, _) in accounts.items()})

    def some(self, appids: Iterable[str] | None = None) -> dict[str, Account]:
        return self.known(self.epochs if appids is None else self.epochs_of(appids))

    def epochs_of(self, appids: Iterable[str]) -> dict[str, int]:
        return {appid: self.epochs[appid] for appid in appids if appid in self.epochs}

    def known(self, epochs: Mapping[str, int]) -> dict[str, Account]:
        """Numbers and epochs, of accounts that were ever held."""
        numbers = self._numbers
        return {appid: (numbers[appid], epoch) for appid, epoch in epochs.items()
                if appid in numbers}  # fmt: skip

    def mark(self, marks: Mapping[str, str], epochs: Mapping[str, int]) -> None:
        """Note the marks of a commit under these epochs, except of accounts claimed again since."""
        self.marks.update(
            {
                appid: mark
                for appid, mark in marks.items()
                if epochs.get(appid) == self.epochs.get(appid)
            }
        )

    def lose(self, appids: Iterable[str], held: Mapping[str, Account]) -> None:
        """Stop holding them, unless they have been claimed again."""
        for appid in appids:
            if self.epochs.get(appid) == held[appid][1]:
                del self.epochs[appid]
                del self._commits[appid]

    def clear(self) -> None:
        self.epochs.clear()
        self._commits.clear()

    def committed(self, appids: Collection[str]) -> list[str]:
        """Count a commit of these accounts; returns those of which many are not merged."""
        self._commits.update(appids)
        return [appid for appid, number in self._commits.items() if number >= LATEST]

    def merged(self, appids: Iterable[str]) -> None:
        for appid in appids:
            del self._commits[appid]
