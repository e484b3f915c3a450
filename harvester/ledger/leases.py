"""The tables of the shared ledger in PostgreSQL that the embedded one does not have.

Rule: functions of `Tables`; `harvester.ledger.postgresql` has the connections and their errors.

A commit adds rows to ``journal``; readers apply them to the calendars.  The rows of an account are
merged into its calendars when it is released, or after `LATEST` commits.

A worker's lease is in its row in ``worker``: one update renews it, for any number of accounts.  A
claim raises the epoch of an account; a commit locks the accounts, compares epochs, and leaves out
accounts that another worker has claimed.  All times are the server's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from harvester.base.dates import Days, quota_day
from harvester.base.fencing import lost, new_mark
from harvester.errors import NoLedgerError, UsageError, unreadable
from harvester.ledger import statements
from harvester.ledger.base import Key, Lease, Spent, Unfinished, WorkerJob, WorkerState
from harvester.ledger.coverage import Calendar, OpenWindow, Outcome
from harvester.ledger.encoding import Calls, Journal, Row, journal_entries
from harvester.ledger.statements import RANGES, TABLES, WITH_KIND, Table, chunks
from harvester.model import Tally

VERSION = 5
RELEASED = 4
"""The first released version: it is read, and brought up to date before it is written."""
CLOCKS = 60.0
"""Seconds by which a worker's clock may differ from the server's: it decides when a day begins."""
FORGOTTEN = "1 day"
"""A worker is removed this long after the end of its lease."""
_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_RAISED = f"epoch = greatest(epoch + 1, {_CLOCK})"
"""A number that fences is never given twice, not even by a server that has lost its last commits:
the clock has moved on since then."""

_SCHEMA = """
CREATE TABLE version (number integer NOT NULL, first_epoch bigint NOT NULL);
CREATE TABLE worker (
    id bigint PRIMARY KEY, name text NOT NULL, job text NOT NULL,
    refreshes boolean NOT NULL, started timestamptz NOT NULL, until timestamptz NOT NULL,
    windows bigint NOT NULL, rank double precision NOT NULL DEFAULT 0,
    waiting integer[] NOT NULL DEFAULT '{}'
);
CREATE TABLE account (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
    holder bigint, epoch bigint NOT NULL, freed timestamptz,
    marks text NOT NULL DEFAULT ''
);
CREATE INDEX account_holder ON account (holder) WHERE holder IS NOT NULL;
CREATE TABLE wanted (
    worker bigint NOT NULL REFERENCES worker ON DELETE CASCADE, account integer NOT NULL,
    refused boolean NOT NULL, PRIMARY KEY (worker, account)
);
CREATE INDEX wanted_account ON wanted (account);
CREATE TABLE interface (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE
);
CREATE TABLE journal (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account integer NOT NULL,
    entries text NOT NULL
);
CREATE INDEX journal_account ON journal (account, number);
"""


_AT_ONCE = 1000
"""Rows of one statement: while a longer one is sent, the server may take the client for frozen."""
_NUMBERS = {int, float, type(None)}


Account = tuple[int, int]
"""An account's number and its epoch."""


class Tables:
    """A connection in a transaction whose tables are those of one schema (`statements.Tables`)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, sql: str, *values: object) -> list[Row]:
        cursor = self._connection.execute(sql, values or None)
        return list(cursor.fetchall()) if cursor.description else []

    def run(self, sql: str, *values: object) -> int:
        return int(self._connection.execute(sql, values or None).rowcount)

    def lock(self, table: Table) -> None:
        self._connection.execute(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE")

    def append(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Append rows; columns: their names, and their types as PostgreSQL names them."""
        names, made = ", ".join(columns), _unnested(columns.values())
        self._run_with(f"INSERT INTO {table} ({names}) SELECT * FROM {made}", rows)

    def insert(self, table: Table, rows: Sequence[Row], conflict: str) -> None:
        if rows:
            self._run_with(
                f"INSERT INTO {table.name} SELECT * FROM {_unnested(table.types)}"
                f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {conflict}",
                rows,
            )

    def delete(self, table: Table, keys: Sequence[Row]) -> None:
        if keys:
            same = [f"{table.name}.{name} = gone.{name}" for name in table.key]
            self._run_with(
                f"DELETE FROM {table.name} USING {_unnested(table.key.values())}"
                f" AS gone ({', '.join(table.key)}) WHERE {' AND '.join(same)}",
                keys,
            )

    def _run_with(self, sql: str, rows: Sequence[Row]) -> None:
        for begin in range(0, len(rows), _AT_ONCE):
            some = rows[begin : begin + _AT_ONCE]
            self._connection.execute(sql, [_array(column) for column in zip(*some, strict=True)])


def _unnested(types: Iterable[str]) -> str:
    """Arrays of values of these types, as rows."""
    return f"unnest({', '.join([f'%s::{kind}[]' for kind in types])})"


def _array(column: Sequence[Any]) -> str:
    """Values as a PostgreSQL array; the driver's own conversion is far slower."""
    kinds = {*map(type, column)}
    if kinds <= _NUMBERS:
        return f"{{{','.join(['NULL' if one is None else str(one) for one in column])}}}"
    if kinds == {str}:
        inner = '","'.join(column)
        if "\\" not in inner and inner.count('"') == 2 * (len(column) - 1):
            return f'{{"{inner}"}}'
    return f"{{{','.join(['NULL' if one is None else _quoted(str(one)) for one in column])}}}"


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def make(tables: Tables, schema: str) -> None:
    """Create the schema and its tables if missing; raises `UsageError` for foreign tables."""
    if not tables.rows("SELECT to_regclass('version')")[0][0]:
        tables.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        tables.run(_SCHEMA + ";".join([table.created for table in TABLES]))
        tables.run(f"INSERT INTO version VALUES (%s, {_CLOCK})", VERSION)
    if _version(tables) == RELEASED:
        _upgrade(tables)
    check_version(tables)


def _upgrade(tables: Tables) -> None:
    if tables.rows("SELECT 1 FROM worker WHERE until >= clock_timestamp()"):
        raise UsageError(
            "workers of an earlier version of harvester use it; it can be upgraded when they have"
            " ended"
        )
    for table in RANGES:
        tables.run(
            f"ALTER TABLE {table.name} RENAME COLUMN first_day TO ranges;"
            f"UPDATE {table.name} SET ranges = ranges || '/' || last_day;"
            f"ALTER TABLE {table.name} DROP COLUMN last_day"
        )
    tables.run(WITH_KIND)
    tables.run(
        "ALTER TABLE worker ALTER id DROP IDENTITY,"
        " ADD rank double precision NOT NULL DEFAULT 0,"
        " ADD waiting integer[] NOT NULL DEFAULT '{}';"
        "ALTER TABLE account ADD marks text NOT NULL DEFAULT ''"
    )
    tables.run("UPDATE version SET number = %s", VERSION)


def begin_after(tables: Tables, epoch: int) -> None:
    """Raise all epochs above one that a sink knows."""
    tables.run("UPDATE version SET first_epoch = greatest(first_epoch, %s)", epoch)
    tables.run("UPDATE account SET epoch = greatest(epoch, %s)", epoch)


def highest_epoch(tables: Tables) -> int:
    """The highest epoch of any account: a worker that is frozen may still have it."""
    [(epoch,)] = tables.rows("SELECT coalesce(max(epoch), 0) FROM account")
    return int(epoch)


def drop(tables: Tables, schema: str) -> None:
    """Remove a schema and everything in it."""
    tables.run(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def replace(tables: Tables, schema: str, new: str, former: str) -> None:
    """Replace a schema by another one; the old one gets another name."""
    tables.run(f"ALTER SCHEMA {schema} RENAME TO {former}")
    tables.run(f"ALTER SCHEMA {new} RENAME TO {schema}")


def _version(tables: Tables) -> int:
    [(number,)] = tables.rows("SELECT number FROM version")
    return int(number)


def check_version(tables: Tables, known: Collection[int] = (VERSION,)) -> None:
    """Raise `UsageError` unless the tables are of a known version."""
    if not tables.rows("SELECT to_regclass('version')")[0][0]:
        raise NoLedgerError("it holds no ledger; harvest first, with this --ledger")
    if (number := _version(tables)) not in known:
        raise UsageError(
            "its ledger has version {}, but this harvester supports version {}; {}",
            number,
            VERSION,
            unreadable(number, VERSION),
        )


def join(tables: Tables, name: str, job: WorkerJob) -> tuple[int, float]:
    """Join as a worker; returns its number, and the ledger's Unix time."""
    [(now,)] = tables.rows("SELECT extract(epoch FROM clock_timestamp())")
    ahead = job.wall - float(now)
    if abs(ahead) > CLOCKS:
        raise UsageError(
            "this machine's clock is {:.0f} s ahead of the ledger's; correct the clock: days and"
            " quotas depend on it"
            if ahead > 0
            else "this machine's clock is {:.0f} s behind the ledger's; correct the clock: days and"
            " quotas depend on it",
            abs(ahead),
        )
    statements.forget_calls(tables, quota_day(float(now)))
    tables.run("LOCK TABLE worker IN SHARE ROW EXCLUSIVE MODE")  # two that join differ in number
    tables.run(f"DELETE FROM worker WHERE until < clock_timestamp() - interval '{FORGOTTEN}'")
    [(worker,)] = tables.rows(
        f"INSERT INTO worker SELECT greatest(coalesce(max(id), 0) + 1, {_CLOCK}), %s, %s, %s,"
        " clock_timestamp(), clock_timestamp() + %s * interval '1 second', 0, %s FROM worker"
        " RETURNING id",
        name,
        job.name,
        job.refresh,
        job.lease,
        job.rank,
    )
    if job.marks and not tables.rows(
        "SELECT 1 FROM worker WHERE job = %s AND refreshes AND until >= clock_timestamp()"
        " AND id <> %s",
        job.name,
        worker,
    ):
        _mark(tables, job)
    return int(worker), float(now)


def _mark(tables: Tables, job: WorkerJob) -> None:
    """Mark days to be harvested again: holders lose these accounts to all workers of this job."""
    appids = sorted({appid for appid, *_ in job.marks})
    _know(tables, appids)
    tables.run(  # a holder may send until it renews its lease, or until that ends
        f"UPDATE account SET holder = NULL, {_RAISED}, freed = greatest("
        "clock_timestamp(), (SELECT until FROM worker WHERE worker.id = holder))"
        " WHERE name = ANY(%s) AND holder IS NOT NULL",
        appids,
    )
    tables.run(
        "INSERT INTO wanted SELECT worker.id, account.id, false FROM worker, account WHERE job = %s"
        " AND until >= clock_timestamp() AND account.name = ANY(%s) ON CONFLICT DO NOTHING",
        job.name,
        appids,
    )
    statements.mark_refresh(tables, job.marks)  # it locks the marks: accounts are always first


def want(tables: Tables, worker: int, appids: Sequence[str], refused: Collection[str] = ()) -> None:
    """These accounts are not finished; a worker that is gone learns that from its next claim."""
    _know(tables, appids)
    tables.run(
        "INSERT INTO wanted SELECT worker.id, account.id, account.name = ANY(%s)"
        " FROM worker, account WHERE worker.id = %s AND account.name = ANY(%s)"
        " FOR KEY SHARE OF worker ON CONFLICT DO NOTHING",
        list(refused),
        worker,
        list(appids),
    )


_RENEW = "UPDATE worker SET until = clock_timestamp() + %s * interval '1 second'"
_IF_NOT_ENDED = " WHERE id = %s AND until >= clock_timestamp()"
_ENDED = "SELECT id FROM worker WHERE until < clock_timestamp() FOR UPDATE SKIP LOCKED"
"""Workers whose lease has expired; none of them can renew it until this transaction ends."""

_CLAIM = f"""
WITH free AS (
    SELECT account.id, account.holder, account.freed
    FROM wanted JOIN account AS seen ON seen.id = wanted.account
    JOIN account ON account.id = seen.id AND account.epoch = seen.epoch
    WHERE wanted.worker = %s AND (seen.holder IS NULL OR seen.holder = ANY(%s)
        OR NOT EXISTS (SELECT FROM worker WHERE worker.id = seen.holder))
        AND NOT (wanted.refused AND EXISTS (
            SELECT FROM wanted AS others JOIN worker ON worker.id = others.worker
            WHERE others.account = wanted.account AND NOT others.refused
            AND worker.until >= clock_timestamp()))
    ORDER BY wanted.account LIMIT %s
    FOR UPDATE OF account SKIP LOCKED
), claimed AS (
    DELETE FROM wanted USING free WHERE wanted.worker = %s AND wanted.account = free.id
)
UPDATE account SET holder = %s, {_RAISED}, freed = NULL FROM free
WHERE account.id = free.id
RETURNING name, account.id, epoch, split_part(marks, ' ', 1), extract(
    epoch FROM clock_timestamp() - CASE
    WHEN free.holder IS NULL THEN free.freed ELSE coalesce(
        (SELECT until FROM worker WHERE worker.id = free.holder), clock_timestamp()) END)
"""
# A locked account may have been claimed since the statement began: then its epoch differs.


def claim(
    tables: Tables, worker: int, lease: float, limit: int
) -> tuple[list[Lease], dict[str, Account], dict[str, str]] | None:
    """Renew the lease, and claim accounts that no other worker holds; also returns their marks.

    None if the lease has expired.  The worker's row is locked first, so that later calls
    wait for a claim that is under way.
    """
    if not tables.run(_RENEW + _IF_NOT_ENDED, lease, worker):
        return None
    ended = [number for (number,) in tables.rows(_ENDED)]
    rows = sorted(tables.rows(_CLAIM, worker, ended, limit, worker, worker))
    leases = [
        Lease(appid, epoch) if idle is None else Lease(appid, epoch, float(idle))
        for appid, _, epoch, _, idle in rows
    ]
    accounts = {appid: (number, epoch) for appid, number, epoch, *_ in rows}
    return leases, accounts, {appid: mark for appid, _, _, mark, _ in rows}


def renew(
    tables: Tables,
    worker: int,
    lease: float,
    windows: int,
    held: Mapping[str, Account],
    waiting: Collection[str],
) -> tuple[set[str], float] | None:
    """Renew the lease; returns the accounts that were lost, and the time; None if it has ended.

    A worker that takes over accounts of this one locks this row until its commit.
    """
    renewed = tables.rows(
        f"{_RENEW}, windows = greatest(windows, %s), waiting = %s{_IF_NOT_ENDED}"
        " RETURNING extract(epoch FROM clock_timestamp())",
        lease,
        windows,
        _array([held[appid][0] for appid in waiting if appid in held]),
        worker,
    )
    if not renewed:
        return None
    now = float(renewed[0][0])
    [(number,)] = tables.rows("SELECT count(*) FROM account WHERE holder = %s", worker)
    if number == len(held):
        return set(), now
    known = tables.rows("SELECT name, epoch FROM account WHERE holder = %s", worker)
    return lost(_epochs(held), dict(known)), now


def release(
    tables: Tables, worker: int, held: Mapping[str, Account], later: Collection[str]
) -> None:
    """Mark accounts as finished, for this worker and for those that have the same job now."""
    still = _still(held, _locked(tables, held))  # what was lost is not finished
    merge(tables, still)
    ids = _array([number for number, _ in still.values()])
    tables.run(
        "UPDATE account SET holder = NULL, freed = clock_timestamp()"
        " WHERE id = ANY(%s::integer[]) AND holder = %s",
        ids,
        worker,
    )
    tables.run(
        "DELETE FROM wanted USING worker, worker AS own WHERE wanted.worker = worker.id"
        " AND account = ANY(%s::integer[]) AND own.id = %s AND worker.job = own.job"
        " AND (worker.rank <= own.rank OR account <> ALL(%s::integer[]))",
        ids,
        worker,
        _array([still[appid][0] for appid in later if appid in still]),
    )


def give_back(tables: Tables, worker: int, appids: Sequence[str]) -> None:
    """Release accounts that fail on this worker's machine."""
    tables.run(
        f"UPDATE account SET holder = NULL, {_RAISED}, freed = clock_timestamp()"
        " WHERE name = ANY(%s) AND holder = %s",
        list(appids),
        worker,
    )
    want(tables, worker, appids, appids)


def unfinished(tables: Tables, worker: int) -> Unfinished | None:
    """How many accounts the worker still has to claim; None if its lease has expired."""
    found = tables.rows(
        "SELECT count(wanted.account), count(holder.id) FROM worker"
        " LEFT JOIN wanted ON wanted.worker = worker.id"
        " LEFT JOIN account ON account.id = wanted.account"
        " LEFT JOIN worker AS holder ON holder.id = account.holder AND holder.rank > worker.rank"
        " AND account.id = ANY(holder.waiting) AND holder.until >= clock_timestamp()"
        " WHERE worker.id = %s AND worker.until >= clock_timestamp() GROUP BY worker.id",
        worker,
    )
    return Unfinished(found[0][0] - found[0][1], found[0][1]) if found else None


def leave(tables: Tables, worker: int) -> None:
    """Leave as a worker; what it still writes is refused."""
    tables.run(
        f"UPDATE account SET holder = NULL, {_RAISED}, freed = clock_timestamp() WHERE holder = %s",
        worker,
    )
    tables.run("DELETE FROM worker WHERE id = %s", worker)


def dismiss(tables: Tables) -> bool:
    """Remove the workers whose lease has expired; returns whether no worker is left."""
    tables.run(
        f"UPDATE account SET holder = NULL, {_RAISED}, freed = clock_timestamp()"
        " WHERE holder IS NOT NULL AND NOT EXISTS ("
        "SELECT FROM worker WHERE id = holder AND until >= clock_timestamp())"
    )
    tables.run("DELETE FROM worker WHERE until < clock_timestamp()")
    return not tables.rows("SELECT 1 FROM worker LIMIT 1")


def workers(tables: Tables) -> list[WorkerState]:
    """The workers, those that were started first."""
    rows = tables.rows(
        "SELECT worker.name, extract(epoch FROM started), extract(epoch FROM until),"
        " count(account.id), windows, until >= clock_timestamp(), job FROM worker"
        " LEFT JOIN account ON holder = worker.id GROUP BY worker.id ORDER BY worker.id"
    )
    return [
        WorkerState(name, float(started), float(until), *others)
        for name, started, until, *others in rows
    ]


def _locked(tables: Tables, held: Mapping[str, Account]) -> dict[str, Account]:
    """The accounts, locked until the end of the transaction, so that no worker claims them."""
    names = {number: appid for appid, (number, _) in held.items()}
    rows = tables.rows(
        "SELECT id, epoch FROM account WHERE id = ANY(%s::integer[]) ORDER BY id FOR UPDATE",
        _array([*names]),
    )
    return {names[number]: (number, epoch) for number, epoch in rows}


def _named(tables: Tables, appids: Iterable[str]) -> dict[str, Account]:
    _know(tables, appids)
    rows = tables.rows("SELECT name, id, epoch FROM account WHERE name = ANY(%s)", sorted(appids))
    return {name: (number, epoch) for name, number, epoch in rows}


def _still(held: Mapping[str, Account], own: Mapping[str, Account]) -> dict[str, Account]:
    """Those of the locked accounts that are held under the epoch that the worker has."""
    gone = lost(_epochs({appid: held[appid] for appid in own}), _epochs(own))
    return {appid: account for appid, account in own.items() if appid not in gone}


def _epochs(accounts: Mapping[str, Account]) -> dict[str, int]:
    return {name: epoch for name, (_, epoch) in accounts.items()}


def commit(
    tables: Tables,
    outcomes: Sequence[Outcome],
    checkpoints: Mapping[str, Mapping[str, str]],
    spent: Sequence[Spent],
    held: Mapping[str, Account] | None,
    wrote: Mapping[str, str] = {},
) -> set[str]:
    """Store everything except outcomes of lost accounts, which are returned.

    held: the epochs to compare with; None for a worker without leases, which creates or rebuilds a
    ledger alone.  wrote: the marks of the accounts that were written to sinks before.
    """
    appids = {each.window.appid for each in outcomes} | {each.appid for each in spent}
    appids |= held.keys() if held is not None else set()
    ours = _named(tables, appids) if held is None else held
    own = _locked(tables, {appid: ours[appid] for appid in appids if appid in ours})
    gone = appids - _still(ours, own).keys()
    kept = [each for each in outcomes if each.window.appid not in gone] if gone else outcomes
    rows = [(own[appid][0], text) for appid, text in journal_entries(kept).items()]
    tables.append("journal", {"account": "int4", "entries": "text"}, rows)
    if marked := [(own[appid][0], wrote[appid]) for appid in wrote.keys() - gone]:
        tables.run(
            f"UPDATE account SET marks = new.mark FROM {_unnested(('int4', 'text'))}"
            " AS new (id, mark) WHERE account.id = new.id",
            *[_array(column) for column in zip(*marked, strict=True)],
        )
    calls: Calls = Counter()
    for each in spent:  # also of an account that was lost: they have left
        calls[each.appid, each.endpoint, str(each.day)] += each.calls
    statements.book(tables, calls)
    statements.store_checkpoints(tables, checkpoints)
    return gone


def _add_mark(tables: Tables, account: Account) -> str:
    """Mark a change of a locked account that no write comes before; empty if it has no marks."""
    mark = new_mark()
    marked = tables.run(
        "UPDATE account SET marks = %s || ' ' || marks WHERE id = %s AND marks <> ''",
        mark,
        account[0],
    )
    return mark if marked else ""


def marks(tables: Tables) -> dict[str, list[str]]:
    """The marks of each account (`harvester.base.fencing.fits`)."""
    rows = tables.rows("SELECT name, marks FROM account WHERE marks <> ''")
    return {name: found.split() for name, found in rows}


def _know(tables: Tables, appids: Iterable[str]) -> None:
    tables.run(
        "INSERT INTO account (name, epoch) SELECT name, first_epoch FROM version,"
        " unnest(%s::text[]) AS name"
        " WHERE NOT EXISTS (SELECT FROM account WHERE account.name = name.name)"
        " ORDER BY name ON CONFLICT (name) DO NOTHING",
        sorted(appids),
    )


def merge_held(tables: Tables, held: Mapping[str, Account]) -> None:
    """Merge the commits of these accounts into their calendars, except lost accounts."""
    merge(tables, _still(held, _locked(tables, held)))


def merge(tables: Tables, accounts: Mapping[str, Account]) -> None:
    """The same for locked accounts."""
    ids = _array([number for number, _ in accounts.values()])
    rows = tables.rows(
        "WITH merged AS (DELETE FROM journal WHERE account = ANY(%s::integer[]) RETURNING *)"
        " SELECT entries FROM merged ORDER BY number",
        ids,
    )
    statements.merge_journal(tables, Journal.of_entries(text for (text,) in rows))


def _change(
    tables: Tables, key: Key, held: Mapping[str, Account] | None, change: Any, *arguments: Any
) -> str | None:
    """Change a calendar; returns as of `_add_mark`, None if the account was lost."""
    ours = _named(tables, [key[0]]) if held is None else held
    own = _locked(tables, {appid: ours[appid] for appid in key[:1] if appid in ours})
    if not (still := _still(ours, own)):
        return None
    merge(tables, still)
    statements.change(tables, key, change, *arguments)
    return _add_mark(tables, own[key[0]])


def reopen(
    tables: Tables,
    key: Key,
    ranges: Sequence[Days],
    windows: Sequence[OpenWindow],
    sums: Mapping[int, Tally | None],
    held: Mapping[str, Account] | None,
) -> str | None:
    """Make final windows open; returns as of `_change`."""
    return _change(tables, key, held, Calendar.reopen, ranges, windows, sums)


def forget(
    tables: Tables, key: Key, ranges: Sequence[Days], held: Mapping[str, Account] | None
) -> str | None:
    """Make stored days missing; returns as of `_change`."""
    return _change(tables, key, held, Calendar.forget, ranges)


def remove(tables: Tables, appid: str, endpoints: Collection[str]) -> None:
    """Remove what is known of interfaces of an account; its number and its epoch stay."""
    own = _locked(tables, _named(tables, [appid]))
    merge(tables, own)
    statements.remove(tables, appid, endpoints)
    _add_mark(tables, own[appid])


def accounts(tables: Tables) -> list[str]:
    """The accounts that the ledger knows."""
    rows = tables.rows(
        "SELECT name FROM account WHERE EXISTS (SELECT FROM calendar WHERE account = account.id)"
        " OR EXISTS (SELECT FROM open_window WHERE account = account.id)"
        " OR EXISTS (SELECT FROM journal WHERE account = account.id)"
        " UNION SELECT appid FROM asked ORDER BY 1"
    )
    return sorted(name for (name,) in rows)


def calendars(tables: Tables, appids: Sequence[str]) -> dict[Key, Calendar]:
    """The calendars of these accounts."""
    found = statements.stored_calendars(tables, appids)
    for some in chunks(appids):
        rows = tables.rows(
            "SELECT entries FROM journal JOIN account ON account.id = journal.account"
            " WHERE name = ANY(%s) ORDER BY number",
            some,
        )
        Journal.of_entries(text for (text,) in rows).apply(found, some)
    return found
