"""Sinks in SQL databases: one table for each interface, in any database.

Rule: SQL text and values; a database's own module has its connection, types and error messages.

A write is one transaction: it raises the fence of its accounts, deletes every row whose window
overlaps one of the new windows, inserts the new rows, and counts itself.  The row of an account in
the fence table is locked until the commit, so writers of the same account follow one another, also
one that was cut off in the middle of its commit: a write that failed is simply repeated.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import date
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from harvester.base import sqlite as sqlitefile
from harvester.base.codec import line_end
from harvester.base.dates import Days
from harvester.base.fencing import (
    EPOCH,
    Epochs,
    commit_entries,
    is_in_history,
    latest_commit,
    raised,
    refused,
)
from harvester.base.outage import AGAIN, DISK_FULL, PATIENCE, Away, Undone, until_it_answers
from harvester.base.threads import Thread
from harvester.errors import (
    NoRecordsError,
    SinkAwayError,
    SinkError,
    UsageError,
    unreadable,
)
from harvester.model import Batch, Endpoint, Field, Tally, Window, many, metadata
from harvester.sinks.base import (
    OWNER,
    VERIFY,
    Checkpoint,
    Fence,
    Sink,
    Stamp,
    StoredWindow,
    Written,
)
from harvester.sinks.groups import by_endpoint, last_of_overlapping, windows_of
from harvester.sinks.rows import Row
from harvester.sinks.sql.schema import (
    ROW_BITS,
    Dialect,
    Layout,
    Reader,
    day_of,
    fields_of,
    moment_of,
)
from harvester.sinks.views import joined_query, meanings
from harvester.tables import FETCHED, KEY, TABLES, JoinedTable, built_in, views_of
from harvester.texts import say

_GONE = say("restore it, or {}", VERIFY)
"""What to do about stored records that are gone."""
VERSION = 5
_LATEST, _TAKEN, _FORMER = "epoch", "taken", "former"
"""Keys of a checkpoint beside the owner and the commits; the latest epoch is that of its beginning.
It is taken as long as the ledger has only read what another one had written: its first run makes it
the owner.  A former owner: the ledger has noted a new one, which the next opening writes here."""
_MARKS = 100
"""Commits whose marks the database keeps."""
_AT_ONCE = 500
"""Accounts that one statement names."""
_PRIME = 2**31 - 1
"""Squares are summed by their remainders: the sum of 4 billion rows fits into 64 bits."""

T = TypeVar("T")
Rows = Generator[tuple[Any, ...], None, None]
MakeRows = Callable[[], Iterable[Row]]


class AccountDays(NamedTuple):
    """Days of an account, both ends included, of which nothing stays."""

    appid: str
    begin: date
    end: date


class Driver(Protocol):
    """One connection, used from one thread.

    where: as a message names the database, without a secret.  errors: what its library raises.
    """

    dialect: Dialect
    where: str
    errors: tuple[type[Exception], ...]

    def connect(self, *, create: bool) -> None:
        """Connect if necessary; raises `UsageError`, `SinkError`, `Away`, or an error."""
        ...

    def close(self) -> None: ...

    def transaction(self, what: str, *, alone: bool = False) -> AbstractContextManager[None]:
        """All or nothing; its commit is a durable step.

        Each statement sees what was committed before it.  alone: no other such transaction runs at
        the same time, for the creation of tables.
        """
        ...

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """A statement for each of these rows of values."""
        ...

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """The rows of a query without having all of them in memory."""
        ...

    def stage(self, table: str, columns: Sequence[Field], rows: MakeRows) -> None:
        """Send rows for `insert`, if that should be done before anything is locked."""
        ...

    def insert(
        self, table: str, columns: Sequence[Field], rows: MakeRows, without: Collection[str]
    ) -> None:
        """Insert rows, or those that were staged, but those of some accounts."""
        ...

    def shrink(self) -> None:
        """Free the space of removed rows, if the database does not do so by itself."""
        ...

    def delete(self, table: str, days: Sequence[AccountDays], longest: int) -> None:
        """Delete the rows whose windows overlap these days; longest: days of the longest window."""
        ...

    def reading(self) -> AbstractContextManager[Driver]:
        """Another connection, which only reads; all of its queries see one snapshot."""
        ...

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table and their types; none if it is not there."""
        ...

    def describe(self, exc: Exception) -> str:
        """The error, without a secret."""
        ...

    def outage(self, exc: Exception) -> type[Away] | None:
        """The kind of outage, None if the error will stay."""
        ...

    def is_damaged(self, exc: Exception) -> bool:
        """Whether what is stored is damaged."""
        ...

    def is_barred(self, exc: Exception) -> bool:
        """Whether it cannot be read here, though nothing is wrong with what is stored."""
        ...


def overlapping(table: str, dialect: Dialect) -> str:
    """A statement that deletes the rows of an account that overlap days.

    Its values: the account, the last day, the first one, and the first one less the days of the
    longest window, which makes it a short range of the key.
    """
    mark = dialect.mark
    return f"DELETE FROM {dialect.quoted(table)} WHERE _appid = {mark} AND {_overlaps(mark)}"


def _overlaps(mark: str) -> str:
    return f"_begin_date <= {mark} AND _end_date >= {mark} AND _begin_date > {mark}"


def before(day: date, days: int) -> date:
    """The day that is a number of days earlier, or the first possible day."""
    return date.fromordinal(max(day.toordinal() - days, 1))


def make_ready(path: Path, where: str, *, create: bool) -> None:
    """Ensure that a file can be opened as a database; raises `UsageError` or `SinkError`.

    where: as a message names it.  create: it may be new.
    """
    if create:
        sqlitefile.check_place(path, where)
    elif not path.exists():
        raise NoRecordsError("{} is gone; {}", where, _GONE)
    if path.is_dir():
        raise UsageError("{} is a directory; name a file for the database", path)


# what is replaced


def _window(batch: Batch) -> Window:
    return batch.window


def days_of(windows: Iterable[Window]) -> list[AccountDays]:
    """The days of ordered windows; those that overlap or follow one another are one entry."""
    found: list[AccountDays] = []
    for appid, _, begin, end in windows:
        last = found[-1] if found else None
        if last and last.appid == appid and begin.toordinal() <= last.end.toordinal() + 1:
            found[-1] = AccountDays(appid, last.begin, max(last.end, end))
        else:
            found.append(AccountDays(appid, begin, end))
    return found


# the sink


class SqlSink(Sink):
    """A sink in a database; what is particular to one is its driver.

    identity: the spec, without a secret.  patience: seconds for which a database that went away is
    waited for.
    """

    def __init__(self, identity: str, driver: Driver, *, patience: float = PATIENCE) -> None:
        self._identity = identity
        self._driver = driver
        self._patience = patience
        self._layouts: dict[str, Layout] = {}
        self._notes: list[str] = []  # that were not given to the caller yet
        self._outdated: list[Endpoint] = []  # the interfaces whose views are made again
        self._owner = ""  # of the ledger, if one is kept
        self._history = _History()  # up to the last commit that is known
        self._thread: Thread | None = None

    def __repr__(self) -> str:
        if not hasattr(self, "_driver"):  # its making failed
            return f"<{type(self).__name__}>"
        return f"<{type(self).__name__} {self._driver.where}, {len(self._layouts)} tables>"

    @property
    def identity(self) -> str:
        """The spec, without a secret."""
        return self._identity

    async def reach(self) -> None:
        """Connect, and wait for others that make tables there."""
        self._thread = Thread(f"harvester-{self._identity.partition(':')[0]}")
        await self._persist(self._reach)

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Connect, and check that this is the database to which the checkpoint refers."""
        self._thread = self._thread or Thread(f"harvester-{self._identity.partition(':')[0]}")
        entries = await self._persist(self._open, checkpoint)
        if self._outdated:
            await self._persist(self._renew_views)
        return entries

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store the batches in one transaction.

        Where several workers write, a write is repeated only if the database has reported that
        nothing was stored; else it raises `Away`, and the sink is opened again before its next use.
        """
        shared = any(epoch > EPOCH for epoch in fence.values())
        return await self._persist(self._write, batches, fence, repeats=Undone if shared else Away)

    async def marks(self) -> dict[str, tuple[str, str]]:
        """Of each account, the mark of its last write, and that of the ledger's commit before it.

        Only of a sink that is ``fenced`` and open (`harvester.base.fencing.fits`).
        """
        return await self._persist(self._marks)

    async def forget(self, appid: str) -> None:
        """Remove the fence of an account, and free the space of its rows.

        The fence stays if several workers have written: one that is frozen may still write.
        """
        await self._persist(self._forget, appid)

    async def close(self) -> None:
        """Close the connection."""
        if self._thread is not None:
            try:
                await self._thread.call(self._driver.close)
            finally:
                self._thread.close()
                self._thread = None
                self._layouts.clear()

    async def _persist(
        self, function: Callable[..., T], *args: Any, repeats: type[Away] = Away
    ) -> T:
        """Call it on the sink's thread; while the database is away, again, for a bounded time."""
        assert self._thread is not None, "the sink is not open"
        call = partial(self._thread.call, function, *args)
        return await until_it_answers(call, self._driver.where, self._patience, repeats=repeats)

    @contextmanager
    def _translated(self, kind: type[UsageError | SinkError], what: str) -> Iterator[None]:
        driver = self._driver
        try:
            yield
        except driver.errors as exc:
            problem = driver.describe(exc)
            if outage := driver.outage(exc):
                if outage is not Undone:
                    driver.close()
                raise outage(problem) from None
            full = problem is DISK_FULL
            if full:  # not a fault of the request
                kind = SinkError
            after = say("; {}", AGAIN) if what == "written" or full else ""
            if driver.is_damaged(exc):
                kind, after = SinkError, say("; {}", VERIFY)
            failed = (
                "{} could not be opened: {}{}"
                if what == "opened"
                else "{} could not be written: {}{}"
            )
            raise kind(failed, driver.where, problem, after) from None

    # on the sink's thread: opening

    def _reach(self) -> None:
        with self._translated(UsageError, "opened"):
            self._driver.connect(create=False)
            with self._driver.transaction("reach", alone=True):
                pass

    def _open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        driver = self._driver
        with self._translated(UsageError, "opened"):
            driver.connect(create=not checkpoint)
            with driver.transaction("open", alone=True):
                if not checkpoint and not _is_made(driver):
                    self._make()
                history = self._history = _check(driver, checkpoint or {}, self._identity)
                driver.query("DELETE FROM _harvester_state WHERE 1 = 0")  # may we?
                continues = bool(checkpoint and not checkpoint.get(_TAKEN))
                holding = self._check_tables(checkpoint is not None, gone_is_error=continues)
                self._outdated = self._with_former_views() if checkpoint is not None else []
                if self.fenced and checkpoint is not None and not driver.columns("_harvester_mark"):
                    driver.query(self._created("mark"))  # a former version has not made it
                if checkpoint and continues:
                    return self._own(checkpoint)
                if holding and checkpoint is not None and not checkpoint:
                    raise UsageError(
                        "{} holds a harvest that this ledger does not know; use the ledger that"
                        " filled it (--ledger); if that is lost, `harvester rebuild --out DIR"
                        " --sink {}` makes one from what is stored",
                        driver.where,
                        self._identity,
                    )
                if checkpoint is not None:  # another ledger that wrote here must not continue
                    mark = driver.dialect.mark
                    driver.query(f"UPDATE _harvester_state SET owner = {mark}", [_new_owner()])
                [(owner,)] = driver.query("SELECT owner FROM _harvester_state")
                [(epoch,)] = driver.query("SELECT max(epoch) FROM _harvester_fence")
        if checkpoint is not None:
            self._owner = str(owner)
        entries = {OWNER: str(owner), **history.entries, _LATEST: str(epoch or 0)}
        return {**entries, _TAKEN: "1" if checkpoint is None else ""}

    def _with_former_views(self) -> list[Endpoint]:
        """The built-in interfaces that have views of a former version.

        Views of other interfaces are made again when these are written.
        """
        former = {name for name, is_new in self._there().items() if not is_new}
        names = self._driver.query("SELECT name FROM _harvester_interface") if former else ()
        return [
            endpoint
            for endpoint in filter(None, [built_in(name) for (name,) in names])
            if former & {*views_of(endpoint)}
        ]

    def _renew_views(self) -> None:
        with self._translated(UsageError, "opened"):
            for endpoint in self._outdated:
                with suppress(UsageError):  # the next write says what is wrong with the table
                    self._layout(endpoint.name, endpoint)
        self._outdated = []

    def _own(self, checkpoint: Checkpoint) -> Checkpoint:
        """Write on for the ledger of this checkpoint; a new owner is noted here, too."""
        self._owner = checkpoint[OWNER]
        if not checkpoint.get(_FORMER):
            return {}
        mark = self._driver.dialect.mark
        self._driver.query(f"UPDATE _harvester_state SET owner = {mark}", [self._owner])
        return {_FORMER: ""}

    def renewed(self, checkpoint: Checkpoint) -> Checkpoint:
        """A new owner: as soon as the sink is opened, older states of the ledger are refused.

        One that was noted before stands as long as no opening has settled it.
        """
        pending = checkpoint.get(_TAKEN) or checkpoint.get(_FORMER)
        if pending or not checkpoint.get(OWNER):
            return {}
        return {OWNER: _new_owner(), _FORMER: checkpoint[OWNER]}

    def _make(self) -> None:
        """Make the tables of the sink's own."""
        driver = self._driver
        for table in ("state", "interface", "layout", "fence", *(["mark"] if self.fenced else [])):
            driver.query(self._created(table))
        marks = driver.dialect.marks(4)
        values = [VERSION, _new_owner(), 0, ""]
        driver.query(f"INSERT INTO _harvester_state VALUES ({marks})", values)

    def _created(self, table: str) -> str:
        """A statement that makes one of the sink's own tables."""
        dialect = self._driver.dialect
        key, text, number = (dialect.types[kind] for kind in ("key", "str", "int"))
        columns = {
            "state": f"version {number} PRIMARY KEY, owner {text}, commits {number}, marks {text}",
            # days of the longest window ever; whether there are records
            "interface": f"name {key} PRIMARY KEY, longest {number}, holding {number}",
            "layout": f"interface {key}, number {number}, columns {text},"
            " PRIMARY KEY (interface, number)",
            "fence": f"account {key} PRIMARY KEY, epoch {number}",
            # of the last write of an account, and of the ledger's commit that it followed
            "mark": f"account {key} PRIMARY KEY, mark {text}, followed {text}",
        }[table]
        return f"CREATE TABLE IF NOT EXISTS _harvester_{table} ({columns}){dialect.ends}"

    def _check_tables(self, owned: bool, *, gone_is_error: bool) -> list[str]:
        """The interfaces of which records are there; that no table or column is gone.

        owned: by the ledger that opens it; else nothing is changed.
        """
        driver = self._driver
        there = []
        mark, same = driver.dialect.mark, driver.dialect.same
        for (name,) in driver.query("SELECT name FROM _harvester_interface WHERE holding = 1"):
            has, known = {*map(same, driver.columns(name))}, self._former(name)
            lost = [n for n, each in known.items() if not {*_types([each], driver.dialect)} <= has]
            if filled := _has_rows(driver, name):
                driver.query(f"DELETE FROM {driver.dialect.quoted(name)} WHERE 1 = 0")  # may we?
                there.append(name)
            if gone_is_error and (lost or not filled):
                raise SinkError(
                    "the table {} of {} is gone or empty, or lacks columns, though the ledger"
                    " refers to its records; {}",
                    name,
                    driver.where,
                    _GONE,
                )
            if owned and not filled:
                self._note(name, holding=0)
            for number in lost if owned else ():  # their rows are as changed: requested again
                sql = f"DELETE FROM _harvester_layout WHERE interface = {mark} AND number = {mark}"
                driver.query(sql, [name, number])
        return there

    def _note(self, name: str, *, holding: int) -> None:
        mark = self._driver.dialect.mark
        self._driver.query(
            f"UPDATE _harvester_interface SET holding = {mark} WHERE name = {mark}", [holding, name]
        )

    def _layout(self, name: str, endpoint: Endpoint | None) -> Layout:
        """The interface's layout; its table is made, or checked and widened, at the first time."""
        layout = self._layouts.get(name)
        if layout is not None and (endpoint is None or layout.given == endpoint.fields):
            return layout
        driver, dialect = self._driver, self._driver.dialect
        with driver.transaction("table", alone=True):
            for (other,) in driver.query("SELECT name FROM _harvester_interface"):
                if dialect.same(other) == dialect.same(name) and other != name:
                    raise UsageError(
                        "{} cannot distinguish the tables {} and {}", driver.where, other, name
                    )
            existing = driver.columns(name)
            former = self._former(name)
            layout = Layout(name, endpoint, dialect, existing, _types(former.values(), dialect))
            for sql in layout.grow(driver.where) if existing else layout.create():
                driver.query(sql)
            self._insert_new("interface", ("name", "longest", "holding"), [(name, 0, 0)])
        self._make_views(layout, anew=layout.number not in former)
        if layout.number not in former:  # last: until then, views are made again
            with driver.transaction("layout", alone=True):
                self._insert_new(
                    "layout",
                    ("interface", "number", "columns"),
                    [(name, layout.number, layout.described)],
                )
        self._layouts[name] = layout
        return layout

    def _former(self, name: str) -> dict[int, str]:
        """The layouts with which a table was written until now."""
        sql = (
            "SELECT number, columns FROM _harvester_layout"
            f" WHERE interface = {self._driver.dialect.mark}"
        )
        return dict(self._driver.query(sql, [name]))

    def _make_views(self, layout: Layout, *, anew: bool) -> None:
        """Make the views that are missing, or all of them; first lists, then what joins them."""
        joined = [table for table in TABLES.values() if layout.name in table.interfaces]
        lists = partial(self._lists, layout, joined, anew=anew)
        self._try_views(say("{}: the views of its lists", layout.name), lists)
        for table in joined:
            self._try_views(say("{}: the view", table.name), partial(self._joined, table))

    def _try_views(self, what: str, statements: Callable[[], Iterable[str]]) -> None:
        """Make views; where that fails, the records are stored all the same.

        The user may lack the privilege, and others may read the former view, or have one on it.
        """
        driver = self._driver
        try:
            with driver.transaction("views", alone=True):
                for sql in statements():
                    driver.query(sql)
        except driver.errors as exc:
            if driver.outage(exc) not in (None, Undone):
                raise
            self._notes.append(
                say(
                    "{} could not be made: {}; a view that is missing is made by the next run",
                    what,
                    driver.describe(exc),
                )
            )

    def _lists(self, layout: Layout, joined: Sequence[JoinedTable], *, anew: bool) -> list[str]:
        views, there = layout.views(), self._there()
        ours = [*[table.name for table in joined], *views]
        if not anew and all(there.get(name, True) for name in ours):
            return [sql for name, made in views.items() if name not in there for sql in made]
        quoted = self._driver.dialect.quoted
        drops = [f"DROP VIEW {quoted(name)}" for name in ours if name in there]
        return [*drops, *chain.from_iterable(views.values())]

    def _joined(self, table: JoinedTable) -> list[str]:
        dialect, there = self._driver.dialect, self._there()
        if table.name in there:
            return []
        existing: dict[str, set[str]] = {}
        for part in table.parts:
            if not part.lists:
                existing[part.table] = {*self._driver.columns(part.table)}
            elif part.table in there:
                existing[part.table] = {*KEY, *part.columns.values()}
                if there[part.table]:
                    existing[part.table].add(FETCHED.name)
        query = joined_query(
            table, {name: each for name, each in existing.items() if each}, dialect
        )
        if not query:
            return []
        return [
            f"CREATE VIEW {dialect.quoted(table.name)} AS {query}",
            *dialect.remarked(table.name, meanings((*table.columns, FETCHED))),
        ]

    def _there(self) -> dict[str, bool]:
        """The views that have a column for the account, as ours do; whether they have all of ours.

        Those of former versions lack ``_fetched_at``.
        """
        found = self._driver.query(self._driver.dialect.views)
        return {str(name): bool(is_new) for name, is_new in found}

    def _insert_new(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        dialect = self._driver.dialect
        marks = dialect.marks(len(columns))
        sql = dialect.insert_new.format(
            f"_harvester_{table}", ", ".join(columns), marks, columns[0]
        )
        self._driver.query_many(sql, rows)

    # on the sink's thread: writing

    def _write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        driver = self._driver
        with self._translated(SinkError, "written"):
            driver.connect(create=False)
            try:
                known = {batch.window.endpoint: batch.endpoint for batch in batches}
                layouts = [self._layout(name, known[name]) for name in sorted(known)]
            except UsageError as exc:
                raise SinkError(str(exc)) from None
            with driver.transaction("batches"):
                for name, group in by_endpoint(batches).items():
                    layout = self._layouts[name]
                    driver.stage(name, layout.columns, partial(_rows, layout, group))
                gone = self._raise_fence(fence, {batch.window.appid for batch in batches})
                left = [batch for batch in batches if batch.window.appid not in gone]
                for name, group in by_endpoint(left).items():
                    self._replace(self._layouts[name], group, gone)
                if isinstance(fence, Epochs):
                    self._note_marks({a: m for a, m in fence.marks.items() if a not in gone})
                history = self._count(fence) if left else None
        self._history = history or self._history
        notes, self._notes = self._notes, []
        drift = chain.from_iterable([layout.table.drift() for layout in layouts])
        return Written(history.entries if history else {}, gone, [*notes, *drift])

    def _forget(self, appid: str) -> None:
        driver, mark = self._driver, self._driver.dialect.mark
        sql = f"DELETE FROM _harvester_fence WHERE account = {mark} AND epoch <= {mark}"
        with self._translated(SinkError, "written"):
            driver.connect(create=False)
            with driver.transaction("forget"):
                driver.query(sql, [appid, EPOCH])
            driver.shrink()

    def _raise_fence(self, fence: Fence, appids: Collection[str]) -> set[str]:
        """Lock the accounts until the commit; gives those that a later epoch has written."""
        accounts = sorted({*fence, *appids})
        epochs = self._epochs(accounts)
        if missing := [account for account in accounts if account not in epochs]:
            rows = [(account, fence.get(account, 0)) for account in missing]
            self._insert_new("fence", ("account", "epoch"), rows)
            epochs.update(self._epochs(missing))
        mark = self._driver.dialect.mark
        if higher := raised(fence, epochs):
            sql = f"UPDATE _harvester_fence SET epoch = {mark} WHERE account = {mark}"
            self._driver.query_many(sql, [(higher[each], each) for each in sorted(higher)])
        return refused(fence, epochs)

    def _note_marks(self, marks: Mapping[str, tuple[str, str]]) -> None:
        """Note the marks of a write to accounts, which are locked."""
        dialect = self._driver.dialect
        for some in _portions(sorted(marks)):
            sql = f"DELETE FROM _harvester_mark WHERE account IN ({dialect.marks(len(some))})"
            self._driver.query(sql, some)
        rows = [(account, *marks[account]) for account in sorted(marks)]
        self._insert_new("mark", ("account", "mark", "followed"), rows)

    def _marks(self) -> dict[str, tuple[str, str]]:
        driver = self._driver
        with self._translated(SinkError, "opened"):
            driver.connect(create=False)
            rows = driver.query("SELECT account, mark, followed FROM _harvester_mark")
        return {account: (mark, followed) for account, mark, followed in rows}

    def _epochs(self, accounts: Sequence[str]) -> dict[str, int]:
        dialect = self._driver.dialect
        found: dict[str, int] = {}
        for some in _portions(accounts):
            rows = self._driver.query(
                "SELECT account, epoch FROM _harvester_fence WHERE account IN"
                f" ({dialect.marks(len(some))}) ORDER BY account{dialect.locks}",
                some,
            )
            found.update(rows)
        return found

    def _replace(self, layout: Layout, group: Sequence[Batch], without: Collection[str]) -> None:
        driver, mark = self._driver, self._driver.dialect.mark
        sql = f"SELECT longest, holding FROM _harvester_interface WHERE name = {mark}"
        [(longest, holding)] = driver.query(sql, [layout.name])
        if longest:
            driver.delete(layout.name, days_of(sorted(windows_of(group))), longest)
        if any(batch.count for batch in last_of_overlapping(group)):
            driver.insert(layout.name, layout.columns, partial(_rows, layout, group), without)
            days = max((batch.window.end - batch.window.begin).days + 1 for batch in group)
            if days > longest:
                driver.query(
                    f"UPDATE _harvester_interface SET longest = {mark}"
                    f" WHERE name = {mark} AND longest < {mark}",
                    [days, layout.name, days],
                )
            if not holding:
                self._note(layout.name, holding=1)
        elif holding and not _has_rows(driver, layout.name):
            self._note(layout.name, holding=0)

    def _count(self, fence: Fence) -> _History:
        """The history with this commit: last, since other writers wait for it from here on.

        It may be another server by now, which lacks commits that this process has seen.
        """
        driver, dialect = self._driver, self._driver.dialect
        [(owner, *found)] = driver.query(
            f"SELECT owner, commits, marks FROM _harvester_state{dialect.locks}"
        )
        if self._owner not in ("", owner):
            if isinstance(fence, Epochs):  # a shared ledger may know of that: it is opened again
                raise Away(say("another ledger, or another run of this one, has opened it"))
            raise SinkError(
                "{} belongs to another ledger now, which began to write it; use that ledger, or "
                "another sink",
                driver.where,
            )
        history = _History.of(*found)
        history.compare(*self._history.latest, driver.where, self._identity)
        history = history.grown()
        driver.query(
            f"UPDATE _harvester_state SET commits = {dialect.mark}, marks = {dialect.mark}",
            [history.commits, " ".join(history.marks)],
        )
        return history

    # reading back

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        """The interfaces of which records are there."""
        with self._reading(checkpoint) as reader:
            return [
                str(name)
                for (name,) in reader.query("SELECT name FROM _harvester_interface ORDER BY name")
                if _has_rows(reader, name)
            ]

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
        days: Days | None = None,
    ) -> Iterator[StoredWindow]:
        """Each stored window of an interface that has records, by account and first day."""
        with self._reading(checkpoint) as reader:
            if not (existing := self._columns(reader, endpoint)):
                return
            mark = reader.dialect.mark
            layouts = reader.query(
                f"SELECT columns FROM _harvester_layout WHERE interface = {mark}", [endpoint]
            )
            table = Reader([columns for (columns,) in layouts], existing, reader.dialect)
            for some in [()] if appids is None else _portions(sorted(appids)):
                with closing(_windows(reader, endpoint, table, some, days)) as windows:
                    yield from windows

    def stamps(self, endpoint: str, checkpoint: Checkpoint | None = None) -> dict[str, Stamp]:
        """The stamp of each month with records.

        Its sums add the checksums of rows, which cover the account, the window, the position in it
        and the time, and their squares, which detect figures that are swapped between rows.
        """
        found: dict[str, Stamp] = {}
        with self._reading(checkpoint) as reader:
            if not self._columns(reader, endpoint):
                return found
            own, dialect = f"(_checksum & {ROW_BITS})", reader.dialect
            rows = reader.query(
                f"SELECT _begin_date, count(*), sum({own}),"
                f" sum({own} * {own} {dialect.percent} {_PRIME}), max(_fetched_at)"
                f" FROM {dialect.quoted(endpoint)} GROUP BY _begin_date"
            )
        for begin, number, plain, squares, latest in rows:
            month = str(day_of(begin))[:7]
            former, sums = found.get(month, Stamp()), (int(plain or 0), int(squares or 0))
            found[month] = Stamp(
                former.rows + number,
                (former.sums[0] + sums[0], former.sums[1] + sums[1]),
                max(former.latest, moment_of(latest)),
            )
        return found

    def _columns(self, reader: Driver, endpoint: str) -> dict[str, str]:
        """The columns of an interface's table, none if nothing was ever stored there."""
        sql = f"SELECT holding FROM _harvester_interface WHERE name = {reader.dialect.mark}"
        known = reader.query(sql, [endpoint])
        existing = reader.columns(endpoint) if known else {}
        if known and known[0][0] and not existing:
            raise SinkError("the table {} of {} is gone; restore it", endpoint, reader.where)
        return existing

    @contextmanager
    def _reading(self, checkpoint: Checkpoint | None) -> Iterator[Driver]:
        driver = self._driver
        try:
            with driver.reading() as reader:
                is_made = _is_made(reader)
                if not (is_made or (not checkpoint and reader.columns("_harvester_interface"))):
                    raise NoRecordsError("{} holds no harvest", driver.where)
                if is_made:  # else its state is gone, and not what is stored
                    _check(reader, checkpoint or {}, self._identity)
                yield reader
            return
        except Away as exc:
            raise SinkAwayError("{} could not be read: {}", driver.where, exc) from None
        except driver.errors as exc:
            problem = say("{} could not be read: {}", driver.where, driver.describe(exc))
            stays = UsageError if driver.is_barred(exc) else SinkError
            kind = SinkAwayError if driver.outage(exc) else stays
        raise kind(problem)  # here, where no frame holds a password


def _new_owner() -> str:
    return secrets.token_hex(8)


def _is_made(driver: Driver) -> bool:
    """Whether the sink's own tables are there."""
    made = driver.columns("_harvester_state")  # its row is made last
    return bool(made and driver.query("SELECT 1 FROM _harvester_state"))


class _History(NamedTuple):
    """The commits that a database has made; marks: of the last of them, the latest first."""

    commits: int = 0
    marks: tuple[str, ...] = ()

    @classmethod
    def of(cls, commits: Any, marks: Any) -> _History:
        """From its row."""
        return cls(int(commits), tuple(str(marks).split()))

    @property
    def latest(self) -> tuple[int, str]:
        """The number and the mark of the last commit."""
        return self.commits, self.marks[0] if self.marks else ""

    @property
    def entries(self) -> dict[str, str]:
        """What a ledger notes of the last commit."""
        return commit_entries(self.commits, self.marks)

    def grown(self) -> _History:
        """The history with one more commit."""
        return _History(self.commits + 1, (secrets.token_hex(4), *self.marks[: _MARKS - 1]))

    def compare(self, number: int, mark: str, where: str, identity: str) -> None:
        """Raise `SinkError` unless this commit is a part of it."""
        if number > self.commits:
            raise SinkError(_is_older(where, number - self.commits, identity))
        if not is_in_history(number, mark, *self):
            raise SinkError(
                "{} has another history than the ledger: its commit {:,} is not the one that the"
                " ledger knows, as after a failover to an older copy; make a ledger from it with"
                " {}",
                where,
                number,
                _rebuild(identity),
            )


def _check(driver: Driver, checkpoint: Checkpoint, identity: str) -> _History:
    """Check that the database is the one of the checkpoint; returns its history."""
    where = driver.where
    found = _is_made(driver) and driver.query("SELECT * FROM _harvester_state")
    if not found:
        raise SinkError("{} holds nothing of what the ledger refers to; {}", where, _GONE)
    [(version, owner, *found)] = found
    if version != VERSION:
        raise UsageError(
            "{} was written by another version of harvester (its tables have version {}, this"
            " one knows {}); {}",
            where,
            version,
            VERSION,
            unreadable(version, VERSION),
        )
    history = _History.of(*found)
    if not checkpoint:
        return history
    owners = checkpoint.get(OWNER), checkpoint.get(_FORMER)
    if owner not in owners and not checkpoint.get(_TAKEN):
        raise SinkError(
            "{} is not the one that the ledger refers to, which was deleted or replaced, or"
            " belongs to another ledger now; restore it, or use a new ledger",
            where,
        )
    history.compare(*latest_commit(checkpoint), where, identity)
    return history


def _rebuild(identity: str) -> str:
    return say("`harvester rebuild --sink {}` and the same --out or --ledger", identity)


def _is_older(where: str, missing: int, identity: str) -> str:
    return say(
        "{} is older than the ledger: its last {} is missing; restore the newer one, or make a"
        " ledger from this one with {}"
        if missing == 1
        else "{} is older than the ledger: its last {} are missing; restore the newer one, or make"
        " a ledger from this one with {}",
        where,
        many(missing, "commit"),
        _rebuild(identity),
    )


def _rows(layout: Layout, group: Sequence[Batch]) -> Iterator[Row]:
    return layout.rows(sorted(last_of_overlapping(group), key=_window))


def _has_rows(driver: Driver, table: str) -> bool:
    name = driver.dialect.quoted(table)
    return bool(driver.columns(table) and driver.query(f"SELECT 1 FROM {name} LIMIT 1"))


def _windows(
    driver: Driver, endpoint: str, table: Reader, appids: Sequence[str], days: Days | None
) -> Generator[StoredWindow, None, None]:
    """The windows of these accounts, or of all, that have days of a range, or all."""
    dialect = driver.dialect
    conditions = [f"_appid IN ({dialect.marks(len(appids))})"] if appids else []
    values: list[Any] = [*appids]
    if days is not None:
        sql = f"SELECT longest FROM _harvester_interface WHERE name = {dialect.mark}"
        [(longest,)] = driver.query(sql, [endpoint])
        conditions.append(_overlaps(dialect.mark))
        first, last = days
        values += map(dialect.day, (last, first, before(first, longest)))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = (
        f"SELECT {dialect.selected(table.columns)} FROM {dialect.quoted(endpoint)}{where}"
        f" ORDER BY {', '.join(KEY)}"
    )
    with closing(driver.scan(sql, values)) as rows:
        for (appid, begin, end), group in groupby(map(table.revived, rows), table.window):
            try:
                window = Window(appid, endpoint, day_of(begin), day_of(end))
            except ValueError:
                raise SinkError(
                    "the table {} of {} has a row that no harvest wrote, from {!r} to {!r};"
                    " remove it",
                    endpoint,
                    driver.where,
                    begin,
                    end,
                ) from None
            yield _stored(table, window, [*group])


def _stored(table: Reader, window: Window, rows: Sequence[Row]) -> StoredWindow:
    fetched_at = moment_of(table.fetched_at(rows[0]))
    beside = line_end(metadata(window, fetched_at))
    checksum, whole = table.checksum(rows)
    tally = Tally.of(len(rows), checksum, beside)
    return StoredWindow(window, tally, fetched_at, lambda: [*map(table.record, rows)], whole)


def _types(layouts: Iterable[str], dialect: Dialect) -> dict[str, str]:
    """The types with which the columns of a table were written."""
    return {dialect.same(field.name): field.type for each in layouts for field in fields_of(each)}


def _portions(accounts: Sequence[str]) -> list[Sequence[str]]:
    return [accounts[at : at + _AT_ONCE] for at in range(0, len(accounts), _AT_ONCE)]
