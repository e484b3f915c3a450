"""The tables that both ledgers have, and the statements that read and write them.

Rule: functions of `Tables`, in a transaction of the caller, and the methods that only call one.
Statements are written for PostgreSQL; the embedded ledger translates the few words for which SQLite
has others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import date
from inspect import signature
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar, cast

from harvester.base.dates import ONE_DAY, Days, union
from harvester.base.fencing import COMMIT, contradicted
from harvester.errors import LedgerError
from harvester.ledger.base import Exhausted, Key, Range, Ranges
from harvester.ledger.coverage import Calendar
from harvester.ledger.encoding import NOTHING, Before, Journal, Row, calendars_of, changes

LATEST = 30
"""After that number of commits they are merged into the calendars."""
SERVICE = ("(service)", "state")
"""The checkpoint that is the state of the daily service, and of no sink."""
_AT_ONCE = 400

_UNLESS_MARK = (
    f"value = CASE WHEN substr(checkpoint.key, 1, {len(COMMIT)}) = '{COMMIT}' THEN checkpoint.value"
    " ELSE excluded.value END"
)

P = ParamSpec("P")
T = TypeVar("T")


class Table(NamedTuple):
    """A table; a type is not null unless it ends with NULL."""

    name: str
    key: Mapping[str, str]
    values: Mapping[str, str]

    @property
    def types(self) -> list[str]:
        """The types of its columns, those of its key first."""
        kinds = (*self.key.values(), *self.values.values())
        return [kind.removesuffix(" NULL") for kind in kinds]

    @property
    def created(self) -> str:
        columns = [
            f"{name} {kind if kind.endswith('NULL') else f'{kind} NOT NULL'}"
            for name, kind in {**self.key, **self.values}.items()
        ]
        return (
            f"CREATE TABLE {self.name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(self.key)}))"
        )


_WHERE = {"account": "integer", "interface": "integer"}
_WHOSE = {"appid": "text", "endpoint": "text"}

CALENDAR = Table("calendar", {**_WHERE, "year": "integer"},
                 {"days": "text", "records": "bigint NULL", "checksum": "bigint NULL"})  # fmt: skip
OPEN_WINDOW = Table("open_window", {**_WHERE, "first_day": "text"}, {
    "last_day": "text", "state": "text", "records": "bigint", "checksum": "bigint",
    "due": "double precision", "detail": "text", "code": "bigint NULL", "rid": "text",
    "fetched_at": "text", "tries": "integer", "had": "text", "kind": "text",
})  # fmt: skip
ASKED = Table("asked", _WHOSE, {"ranges": "text"})
BUDGET = Table("budget", {**_WHOSE, "day": "text"}, {"calls": "bigint"})
EXHAUSTED = Table("exhausted", _WHOSE, {"until": "double precision", "asked": "double precision"})
SINK = Table("sink", {"name": "text"}, {"copied": "text"})
REFRESH = Table("refresh", _WHOSE, {"ranges": "text"})
RANGES = (ASKED, REFRESH)
"""The tables of ranges.  In the first released version each row had one, in two columns."""
CHECKPOINT = Table("checkpoint", {"sink": "text", "key": "text"}, {"value": "text"})
WITH_KIND = f"ALTER TABLE {OPEN_WINDOW.name} ADD COLUMN kind text NOT NULL DEFAULT ''"
"""What adds the last column to the table of the first released version."""
TABLES = (CALENDAR, OPEN_WINDOW, ASKED, BUDGET, EXHAUSTED, REFRESH, SINK, CHECKPOINT)


class Tables(Protocol):
    """A connection in a transaction."""

    def rows(self, sql: str, *values: object) -> list[Row]:
        """The rows that a statement returns."""
        ...

    def run(self, sql: str, *values: object) -> int:
        """How many rows a statement has changed."""
        ...

    def lock(self, table: Table) -> None:
        """Let no other transaction change a table until this one has ended."""
        ...

    def insert(self, table: Table, rows: Sequence[Row], conflict: str) -> None:
        """Insert rows; conflict: what to set where there is a row with such a key."""
        ...

    def delete(self, table: Table, keys: Sequence[Row]) -> None:
        """Remove the rows with these keys."""
        ...


def put(tables: Tables, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows; each replaces the one with its key."""
    tables.insert(table, rows, ", ".join([f"{name} = excluded.{name}" for name in table.values]))


def register(tables: Tables, ranges: Iterable[Range]) -> None:
    """Remember the requested ranges."""
    _add(tables, ASKED, ranges)


def mark_refresh(tables: Tables, ranges: Iterable[Range]) -> None:
    """Remember days that are to be harvested again."""
    _add(tables, REFRESH, ranges)


def _add(tables: Tables, table: Table, ranges: Iterable[Range]) -> None:
    """Add ranges to those that are stored.

    Each run of a large job adds hundreds of thousands, and most are stored already: these are only
    read, and nobody waits for another worker that adds the same.
    """
    added: defaultdict[Key, list[Days]] = defaultdict(list)
    for appid, name, begin, end in ranges:
        added[appid, name].append((begin, end))
    if changed := _extended(tables, table, added):
        tables.lock(table)
        changed = _extended(tables, table, {key: added[key] for key in changed})
        put(tables, table, [(*key, _text_of(each)) for key, each in sorted(changed.items())])


def _extended(
    tables: Tables, table: Table, added: Mapping[Key, Sequence[Days]]
) -> dict[Key, Ranges]:
    """The stored ranges together with those that are added, where that changes them."""
    appids = sorted({appid for appid, _ in added})
    stored = _ranges(_of_accounts(tables, f"SELECT * FROM {table.name} WHERE true", [], appids))
    found = {}
    for key, ranges in added.items():
        both = tuple(union([*stored.get(key, ()), *ranges]))
        if both != stored.get(key):
            found[key] = both
    return found


def _text_of(ranges: Ranges) -> str:
    return " ".join([f"{begin}/{end}" for begin, end in ranges])


def book(tables: Tables, calls: Mapping[tuple[str, str, str], int]) -> None:
    """Count calls; their keys: account, interface and day."""
    rows = sorted([(*place, number) for place, number in calls.items()])
    tables.insert(BUDGET, rows, "calls = budget.calls + excluded.calls")


def store_checkpoints(tables: Tables, checkpoints: Mapping[str, Mapping[str, str]]) -> None:
    """Store the entries of sinks; an empty value removes its key.

    The mark of a commit is never changed (`harvester.base.fencing.COMMIT`).  Raises `LedgerError`
    if it is another one: the sink went back to an older copy, and two processes continued from
    there.
    """
    entries = [(sink, *entry) for sink, each in checkpoints.items() for entry in each.items()]
    tables.insert(CHECKPOINT, sorted([entry for entry in entries if entry[2]]), _UNLESS_MARK)
    tables.delete(CHECKPOINT, [entry[:2] for entry in entries if not entry[2]])
    for sink, each in checkpoints.items():
        marks = [key for key in each if key.startswith(COMMIT)]
        sql = "SELECT key, value FROM checkpoint WHERE sink = %s AND key = ANY(%s)"
        if marks and contradicted(each, dict(tables.rows(sql, sink, marks))):
            raise LedgerError(
                "{} went back to an older copy while several processes wrote to it, and this copy"
                " lacks what this process wrote; run the same command again: it continues, or says"
                " which command makes a new ledger",
                sink,
            )


def swap_state(tables: Tables, before: str, after: str) -> bool:
    """Replace the state of the daily service if it is still ``before``, empty if there is none.

    Returns whether it was: else another process has replaced it.
    """
    if not before:
        tables.insert(CHECKPOINT, [(*SERVICE, "")], "value = checkpoint.value")
    sql = "UPDATE checkpoint SET value = %s WHERE sink = %s AND key = %s AND value = %s"
    return bool(tables.run(sql, after, *SERVICE, before))


def merge_journal(tables: Tables, journal: Journal) -> None:
    """Apply commits to the calendars, a chunk of accounts at a time."""
    for appids in chunks([*journal.rows]):
        _change(tables, journal.keys(appids), journal.apply_to)


def change(tables: Tables, key: Key, how: Callable[..., None], *arguments: Any) -> None:
    """Call a method of a calendar, store what it changed, and remove its mark."""
    _change(tables, [key], lambda _, calendar: how(calendar, *arguments))
    tables.delete(REFRESH, [key])


def _change(tables: Tables, keys: Sequence[Key], how: Callable[[Key, Calendar], None]) -> None:
    appids = {appid for appid, _ in keys}
    accounts = _numbers(tables, "account", appids)
    interfaces = _numbers(tables, "interface", {name for _, name in keys})
    known = stored_calendars(tables, [*appids])

    def changed() -> Iterator[tuple[Key, Calendar, Before]]:
        for key in keys:
            calendar = known.pop(key, None)
            before = NOTHING if calendar is None else Before.of(calendar)
            calendar = calendar or Calendar()
            how(key, calendar)
            yield key, calendar, before

    years, gone, came = changes(changed(), accounts, interfaces)
    put(tables, CALENDAR, years)
    tables.delete(OPEN_WINDOW, gone)
    put(tables, OPEN_WINDOW, came)


def _numbers(tables: Tables, table: str, names: Iterable[str]) -> dict[str, int]:
    """The numbers of accounts or interfaces; new ones get one (a shared ledger knows accounts)."""
    wanted = sorted(names)
    query = f"SELECT name, id FROM {table} WHERE name = ANY(%s)"
    found: dict[str, int] = dict(tables.rows(query, wanted))
    if new := [name for name in wanted if name not in found]:
        tables.run(
            f"INSERT INTO {table} (name) SELECT unnest(%s::text[]) WHERE true"
            " ON CONFLICT DO NOTHING",
            new,
        )
        found.update(tables.rows(query, new))
    return found


_IS = "(SELECT id FROM {0} WHERE {0}.name = %s)"


def remove(tables: Tables, appid: str, endpoints: Iterable[str]) -> None:
    """Remove what is known of interfaces of an account; its commits are merged before.

    The calls of the last days, and used-up quotas, stay: WeChat counts them anyway.
    """
    account, interface = _IS.format("account"), _IS.format("interface")
    for name in sorted(endpoints):
        for table in (CALENDAR, OPEN_WINDOW):
            where = f"account = {account} AND interface = {interface}"
            tables.run(f"DELETE FROM {table.name} WHERE {where}", appid, name)
        for table in (ASKED, REFRESH):
            tables.delete(table, [(appid, name)])


def fold_future_calls(tables: Tables, today: date) -> bool:
    """Count calls of future days as today's (after a clock change); returns whether any were."""
    forget_calls(tables, today)
    if not tables.run("UPDATE budget SET day = day WHERE day > %s", str(today)):  # it locks them
        return False
    tables.run(
        "INSERT INTO budget SELECT appid, endpoint, %s, sum(calls) FROM budget WHERE day > %s"
        " GROUP BY appid, endpoint"
        " ON CONFLICT (appid, endpoint, day) DO UPDATE SET calls = budget.calls + excluded.calls",
        str(today),
        str(today),
    )
    tables.run("DELETE FROM budget WHERE day > %s", str(today))
    return True


def forget_calls(tables: Tables, today: date) -> None:
    """Forget the calls of former days; of a week, in case this machine's clock is ahead."""
    tables.run("DELETE FROM budget WHERE day < %s", str(today - 7 * ONE_DAY))


def note_exhausted(tables: Tables, quota: Exhausted) -> None:
    """Remember WeChat's answer about a quota."""
    if quota.until:
        put(tables, EXHAUSTED, [quota])
    else:
        tables.delete(EXHAUSTED, [(quota.appid, quota.endpoint)])


def list_sinks(tables: Tables, sinks: Mapping[str, str]) -> None:
    """Add sinks that have everything that is stored."""
    tables.insert(SINK, [*sinks.items()], "copied = greatest(sink.copied, excluded.copied)")


def unlist_sink(tables: Tables, sink: str) -> None:
    """Remove a sink and its checkpoint."""
    tables.run("DELETE FROM sink WHERE name = %s", sink)
    tables.run("DELETE FROM checkpoint WHERE sink = %s", sink)


def checkpoint(tables: Tables, sink: str) -> dict[str, str]:
    """All that was stored for a sink."""
    rows = tables.rows("SELECT key, value FROM checkpoint WHERE sink = %s", sink)
    return {str(key): str(value) for key, value in rows}


def service_state(tables: Tables) -> str:
    """The state of the daily service, empty if there is none."""
    rows = tables.rows("SELECT value FROM checkpoint WHERE sink = %s AND key = %s", *SERVICE)
    return str(rows[0][0]) if rows else ""


def sinks(tables: Tables) -> dict[str, str]:
    """The listed sinks, by name.

    The value is the latest fetch time (RFC 3339, UTC) of a window that was copied from a sink of
    another form: the records of windows up to then can be counted, but their checksums differ.
    """
    rows = tables.rows("SELECT name, copied FROM sink ORDER BY name")
    return {str(name): str(copied) for name, copied in rows}


def stored_calendars(tables: Tables, appids: Sequence[str]) -> dict[Key, Calendar]:
    """The calendars of these accounts, without commits that are not merged yet."""
    found: dict[Key, Calendar] = {}
    for some in chunks(appids):
        years = tables.rows(
            "SELECT account.name, interface.name, year, days, records, checksum FROM account"
            " JOIN calendar ON account = account.id JOIN interface ON interface = interface.id"
            " WHERE account.name = ANY(%s)",
            some,
        )
        windows = tables.rows(
            "SELECT account.name, interface.name, open_window.* FROM account"
            " JOIN open_window ON account = account.id JOIN interface ON interface = interface.id"
            " WHERE account.name = ANY(%s)",
            some,
        )
        found.update(calendars_of(years, windows))
    return found


def chunks(names: Sequence[str]) -> Iterator[list[str]]:
    """The names, in groups that one statement accepts."""
    for begin in range(0, len(names), _AT_ONCE):
        yield list(names[begin : begin + _AT_ONCE])


def asked(tables: Tables) -> dict[Key, Ranges]:
    """The ranges that were ever requested, by account and interface."""
    return _ranges(tables.rows("SELECT * FROM asked"))


def refreshes(tables: Tables, appids: Sequence[str]) -> dict[Key, Ranges]:
    """The days of these accounts that are to be harvested again."""
    return _ranges(_of_accounts(tables, "SELECT * FROM refresh WHERE true", [], appids))


def _ranges(rows: Iterable[Row]) -> dict[Key, Ranges]:
    """The ranges of rows, also of those of the first released version."""
    known: dict[str, Ranges] = {}  # most accounts have the same
    found = {}
    for appid, endpoint, *columns in rows:
        text = "/".join(columns)
        if text not in known:
            ends = [map(date.fromisoformat, one.split("/")) for one in text.split(" ")]
            known[text] = tuple([(begin, end) for begin, end in ends])
        found[appid, endpoint] = known[text]
    return found


def booked(tables: Tables, day: date, appids: Sequence[str] | None = None) -> dict[Key, int]:
    """The calls of a day in China that are in the table of calls."""
    rows = _of_accounts(
        tables, "SELECT appid, endpoint, calls FROM budget WHERE day = %s", [str(day)], appids
    )
    return {(appid, endpoint): int(calls) for appid, endpoint, calls in rows}


def _of_accounts(
    tables: Tables, sql: str, values: Sequence[object], appids: Sequence[str] | None
) -> list[Row]:
    if appids is None:
        return tables.rows(sql, *values)
    found: list[Row] = []
    for some in chunks(appids):
        found += tables.rows(f"{sql} AND appid = ANY(%s)", *values, some)
    return found


def exhausted(
    tables: Tables, now: float, appids: Sequence[str] | None = None
) -> dict[Key, Exhausted]:
    """The interfaces whose quota is used up at ``now``, a Unix time."""
    sql = "SELECT appid, endpoint, until, asked FROM exhausted WHERE until > %s"
    rows = _of_accounts(tables, sql, [now], appids)
    return {
        (appid, endpoint): Exhausted(appid, endpoint, float(until), float(reported))
        for appid, endpoint, until, reported in rows
    }


def writes(
    function: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A method that calls a function of `Tables` in a transaction; it may be repeated."""

    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return cast("T", await self._call(function, *_values(function, args, kwargs)))

    return method


def reads(
    function: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A method that calls a function of `Tables` that only reads, in one snapshot."""

    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return cast("T", await self._read(function, *_values(function, args, kwargs)))

    return method


def _values(
    function: Callable[..., object], args: Sequence[object], named: Mapping[str, object]
) -> list[object]:
    """The arguments in order, those that can be read once as lists: the call may be repeated."""
    if named:
        bound = signature(function).bind(None, *args, **named)
        bound.apply_defaults()
        args = bound.args[1:]
    return [list(each) if isinstance(each, Iterator) else each for each in args]


class Statements(ABC):
    """The methods that are one statement, the same in both ledgers."""

    @abstractmethod
    async def _call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function of `Tables` in a transaction; it may be repeated."""

    @abstractmethod
    async def _read(self, function: Callable[..., T], *args: object) -> T:
        """Call a function of `Tables` that only reads, in one snapshot."""

    register = writes(register)
    mark_refresh = writes(mark_refresh)
    note_exhausted = writes(note_exhausted)
    list_sinks = writes(list_sinks)
    unlist_sink = writes(unlist_sink)
    swap_state = writes(swap_state)
    service_state = reads(service_state)
    checkpoint = reads(checkpoint)
    sinks = reads(sinks)
    asked = reads(asked)
    refreshes = reads(refreshes)
    exhausted = reads(exhausted)
