"""Sinks in SQL databases: one table for each interface, in any database.

Rule: SQL text and values; a database's own module has its connection, types and error messages.

A write is one transaction: it raises the fence of its accounts, deletes every row whose window
overlaps one of the new windows, inserts the new rows, and counts itself.  The row of an account in
the fence table is locked until the commit, so writers of the same account follow one another, also
one that was cut off in the middle of its commit: a write that failed is simply repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

from harvester.base.dates import Days
from harvester.base.fencing import EPOCH, Epochs
from harvester.base.outage import AGAIN, DISK_FULL, PATIENCE, Away, Undone, until_it_answers
from harvester.base.threads import Thread
from harvester.errors import NoRecordsError, SinkAwayError, SinkError, UsageError
from harvester.model import Batch, Endpoint
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
from harvester.sinks.groups import by_endpoint, last_of_overlapping
from harvester.sinks.rows import Row
from harvester.sinks.sql import state
from harvester.sinks.sql.driver import GONE, Driver, days_of, portions
from harvester.sinks.sql.schema import Layout, Reader
from harvester.sinks.sql.state import History
from harvester.sinks.sql.stored import has_rows, stamps_of, types_of, windows
from harvester.sinks.views import joined_query, meanings
from harvester.tables import FETCHED, KEY, TABLES, JoinedTable, built_in, views_of
from harvester.texts import say

T = TypeVar("T")


class SqlSink(Sink):
    """A sink in a database; patience: seconds for which one that went away is waited for."""

    identity: str

    def __init__(self, driver: Driver, *, patience: float = PATIENCE) -> None:
        self.identity = driver.identity
        self._driver = driver
        self._patience = patience
        self._layouts: dict[str, Layout] = {}
        self._notes: list[str] = []  # that were not given to the caller yet
        self._outdated: list[Endpoint] = []  # the interfaces whose views are made again
        self._owner = ""  # of the ledger, if one is kept
        self._history = History()  # up to the last commit that is known
        self._thread: Thread | None = None

    async def reach(self) -> None:
        """Connect, and wait for others that make tables there."""
        self._thread = Thread(f"harvester-{self.identity.partition(':')[0]}")
        await self._persist(self._reach)

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        self._thread = self._thread or Thread(f"harvester-{self.identity.partition(':')[0]}")
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
        """The marks of each account's last write and of the ledger's commit before it (`fits`)."""
        return await self._persist(self._marks)

    async def forget(self, appid: str) -> None:
        """The fence stays if several workers have written: one that is frozen may still write."""
        await self._persist(self._forget, appid)

    async def close(self) -> None:
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

    # on the sink's thread

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
                if not checkpoint and not state.is_made(driver):
                    state.make(driver, fenced=self.fenced)
                history = self._history = state.check(driver, checkpoint or {}, self.identity)
                driver.query("DELETE FROM _harvester_state WHERE 1 = 0")  # may we?
                continues = bool(checkpoint and not checkpoint.get(state.TAKEN))
                holding = self._check_tables(checkpoint is not None, gone_is_error=continues)
                self._outdated = self._with_former_views() if checkpoint is not None else []
                if self.fenced and checkpoint is not None and not driver.columns("_harvester_mark"):
                    state.make_marks(driver)
                if checkpoint and continues:
                    return self._own(checkpoint)
                if holding and checkpoint is not None and not checkpoint:
                    raise UsageError(
                        "{} contains a harvest that is not in this ledger; use the ledger of that"
                        " harvest (--ledger); if it is lost, `harvester rebuild --out DIR --sink"
                        " {}` makes a new one from the stored records",
                        driver.where,
                        self.identity,
                    )
                if checkpoint is not None:  # another ledger that wrote here must not continue
                    mark = driver.dialect.mark
                    driver.query(f"UPDATE _harvester_state SET owner = {mark}", [state.new_owner()])
                [(owner,)] = driver.query("SELECT owner FROM _harvester_state")
                [(epoch,)] = driver.query("SELECT max(epoch) FROM _harvester_fence")
        if checkpoint is not None:
            self._owner = str(owner)
        entries = {OWNER: str(owner), **history.entries, state.LATEST: str(epoch or 0)}
        return {**entries, state.TAKEN: "1" if checkpoint is None else ""}

    def _with_former_views(self) -> list[Endpoint]:
        """The built-in interfaces with views of a former version; writes renew those of others."""
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
        if not checkpoint.get(state.FORMER):
            return {}
        mark = self._driver.dialect.mark
        self._driver.query(f"UPDATE _harvester_state SET owner = {mark}", [self._owner])
        return {state.FORMER: ""}

    def renewed(self, checkpoint: Checkpoint) -> Checkpoint:
        """An owner that was noted before stands until an opening has settled it."""
        pending = checkpoint.get(state.TAKEN) or checkpoint.get(state.FORMER)
        if pending or not checkpoint.get(OWNER):
            return {}
        return {OWNER: state.new_owner(), state.FORMER: checkpoint[OWNER]}

    def _check_tables(self, owned: bool, *, gone_is_error: bool) -> list[str]:
        """The interfaces that have records; raises `SinkError`; changes nothing unless owned."""
        driver, dialect = self._driver, self._driver.dialect
        there, mark, same = [], dialect.mark, dialect.same
        for (name,) in driver.query("SELECT name FROM _harvester_interface WHERE holding = 1"):
            has, known = {*map(same, driver.columns(name))}, self._former(name)
            lost = [
                n for n, each in known.items() if not {*types_of([each], driver.dialect)} <= has
            ]
            if filled := has_rows(driver, name):
                driver.query(f"DELETE FROM {driver.dialect.quoted(name)} WHERE 1 = 0")  # may we?
                there.append(name)
            if gone_is_error and (lost or not filled):
                raise SinkError(
                    "the table {} of {} is gone, empty or lacks columns, but the ledger refers to"
                    " its records; {}",
                    name,
                    driver.where,
                    GONE,
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
            layout = Layout(name, endpoint, dialect, existing, types_of(former.values(), dialect))
            for sql in layout.grow(driver.where) if existing else layout.create():
                driver.query(sql)
            state.insert_new(driver, "interface", ("name", "longest", "holding"), [(name, 0, 0)])
        self._make_views(layout, anew=layout.number not in former)
        if layout.number not in former:  # last: until then, views are made again
            with driver.transaction("layout", alone=True):
                state.insert_new(
                    driver,
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
        """Records are stored even if the user may not make views, or others use the former ones."""
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
                    "{} could not be created: {}; the next run creates missing views",
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
        """The views with a column for the account; whether they are new: with ``_fetched_at``."""
        found = self._driver.query(self._driver.dialect.views)
        return {str(name): bool(is_new) for name, is_new in found}

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
                gone = state.raise_fence(driver, fence, {batch.window.appid for batch in batches})
                left = [batch for batch in batches if batch.window.appid not in gone]
                for name, group in by_endpoint(left).items():
                    self._replace(self._layouts[name], group, gone)
                if isinstance(fence, Epochs):
                    state.note_marks(
                        driver, {a: m for a, m in fence.marks.items() if a not in gone}
                    )
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

    def _marks(self) -> dict[str, tuple[str, str]]:
        driver = self._driver
        with self._translated(SinkError, "opened"):
            driver.connect(create=False)
            return state.marks_of(driver)

    def _replace(self, layout: Layout, group: Sequence[Batch], without: Collection[str]) -> None:
        driver, mark = self._driver, self._driver.dialect.mark
        sql = f"SELECT longest, holding FROM _harvester_interface WHERE name = {mark}"
        [(longest, holding)] = driver.query(sql, [layout.name])
        if longest:
            driver.delete(layout.name, days_of(sorted([batch.window for batch in group])), longest)
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
        elif holding and not has_rows(driver, layout.name):
            self._note(layout.name, holding=0)

    def _count(self, fence: Fence) -> History:
        """The history with this commit: last, since other writers wait for it from here on.

        It may be another server by now, which lacks commits that this process has seen.
        """
        driver, dialect = self._driver, self._driver.dialect
        [(owner, *found)] = driver.query(
            f"SELECT owner, commits, marks FROM _harvester_state{dialect.locks}"
        )
        if self._owner not in ("", owner):
            if isinstance(fence, Epochs):  # a shared ledger may know of that: it is opened again
                raise Away(say("another ledger, or another run with this ledger, has opened it"))
            raise SinkError(
                "{} now belongs to another ledger, which has begun to write to it; use that"
                " ledger, or another sink",
                driver.where,
            )
        history = History.of(*found)
        history.compare(*self._history.latest, driver.where, self.identity)
        history = history.grown()
        driver.query(
            f"UPDATE _harvester_state SET commits = {dialect.mark}, marks = {dialect.mark}",
            [history.commits, " ".join(history.marks)],
        )
        return history

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        with self._reading(checkpoint) as reader:
            return [
                str(name)
                for (name,) in reader.query("SELECT name FROM _harvester_interface ORDER BY name")
                if has_rows(reader, name)
            ]

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
        days: Days | None = None,
    ) -> Iterator[StoredWindow]:
        with self._reading(checkpoint) as reader:
            if not (existing := self._columns(reader, endpoint)):
                return
            mark = reader.dialect.mark
            layouts = reader.query(
                f"SELECT columns FROM _harvester_layout WHERE interface = {mark}", [endpoint]
            )
            table = Reader([columns for (columns,) in layouts], existing, reader.dialect)
            for some in [()] if appids is None else portions(sorted(appids)):
                with closing(windows(reader, endpoint, table, some, days)) as found:
                    yield from found

    def stamps(self, endpoint: str, checkpoint: Checkpoint | None = None) -> dict[str, Stamp]:
        with self._reading(checkpoint) as reader:
            return stamps_of(reader, endpoint) if self._columns(reader, endpoint) else {}

    def _columns(self, reader: Driver, endpoint: str) -> dict[str, str]:
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
                is_made = state.is_made(reader)
                if not (is_made or (not checkpoint and reader.columns("_harvester_interface"))):
                    raise NoRecordsError("{} contains no harvest", driver.where)
                if is_made:  # else its state is gone, and not what is stored
                    state.check(reader, checkpoint or {}, self.identity)
                yield reader
            return
        except Away as exc:
            raise SinkAwayError("{} could not be read: {}", driver.where, exc) from None
        except driver.errors as exc:
            problem = say("{} could not be read: {}", driver.where, driver.describe(exc))
            stays = UsageError if driver.is_barred(exc) else SinkError
            kind = SinkAwayError if driver.outage(exc) else stays
        raise kind(problem)  # here, where no frame holds a password


def _rows(layout: Layout, group: Sequence[Batch]) -> Iterator[Row]:
    return layout.rows(sorted(last_of_overlapping(group), key=attrgetter("window")))
