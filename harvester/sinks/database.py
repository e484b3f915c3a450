"""What the sinks that are databases have in common: a table for each interface.

Rule: every change is one transaction, which holds the records and the progress both.

A window that is written takes the place of its former self and of windows that lie in it, which
`harvester.sinks.progress` knows, whether or not a ledger speaks of them.  So a crash between the
commit here and the ledger's repeats windows and doubles nothing; and several writers on one
database are all right, since their transactions follow one another, and what would cut another's
window in two is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from typing import Any, TypeVar

import anyio

from harvester.endpoint import Endpoint, Field
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Tally, Window
from harvester.plan import Cut, Days, rfc3339
from harvester.sinks.base import Found, Receipt, Stored, Wanted, Written
from harvester.sinks.columns import Row
from harvester.sinks.driver import ADVICE, DISK_FULL, Away, Driver
from harvester.sinks.layout import Columns, Layout, quoted, row_checksum, row_checksums
from harvester.sinks.progress import COMMIT, LEDGER, Entry, Progress, day_of
from harvester.sinks.readback import documents_of
from harvester.thread import Thread

PATIENCE = 60.0
"""Seconds for which a database that went away is waited for."""
_FIRST, _LONGEST = 0.1, 5.0
_AGAIN = "nothing that was committed is lost: mend it and run the same command again"

T = TypeVar("T")


class Database:
    """A sink in a database; what is particular to one is its driver.

    identity: the spec, without a secret.  patience: seconds for which a database that went away is
    waited for.
    """

    def __init__(self, identity: str, driver: Driver, *, patience: float = PATIENCE) -> None:
        self._identity = identity
        self._driver = driver
        self._patience = patience
        self._described: Sequence[Endpoint] = ()
        self._layouts: dict[str, Layout] = {}
        self._thread: Thread | None = None
        self._progress = Progress(driver)
        self._unsure: Mapping[Window, Tally] | None = None
        self._unheard: Sequence[Window] = ()

    def __repr__(self) -> str:
        if not hasattr(self, "_driver"):  # its making failed
            return f"<{type(self).__name__}>"
        return f"<{type(self).__name__} {self._driver.where}, {len(self._layouts)} tables>"

    @property
    def identity(self) -> str:
        """The spec, without a secret."""
        return self._identity

    def describe(self, endpoints: Sequence[Endpoint]) -> None:
        """The interfaces whose tables will be written."""
        self._described = endpoints

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Connect, and make the tables that are not there."""
        self._thread = Thread(f"harvester-{self._identity.partition(':')[0]}")
        return await self._persist(self._open, receipt or {})

    def standing(self) -> Iterable[Window]:
        """The windows that stood here when it was opened, and this ledger knows nothing of."""
        return self._unheard

    async def adopt(self) -> tuple[Receipt, Sequence[Found]]:
        """Everything that a harvester brought here; the ledger will know of it from now on."""
        return await self._persist(self._adopt)

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Store the batches in one transaction."""
        return await self._persist(self._write, batches) if batches else Written({})

    async def settle(self) -> None:
        """Nothing is left to be done."""

    async def close(self) -> None:
        """Close the connection."""
        if self._thread is not None:
            try:
                await self._thread.call(self._driver.close)
            finally:
                self._thread.close()
                self._thread = None
                self._layouts.clear()
                self._unsure = None

    async def _persist(self, function: Callable[..., T], *args: Any) -> T:
        """Call it on the sink's thread; while the database is away, again, for a bounded time."""
        assert self._thread is not None, "the sink is not open"
        delay, ends = _FIRST, 0.0
        while True:
            try:
                return await self._thread.call(function, *args)
            except Away as exc:
                now = anyio.current_time()
                ends = ends or now + self._patience
                if now + delay > ends:
                    raise SinkError(
                        f"{self._driver.where} was away for {self._patience:.0f} s ({exc});"
                        f" {_AGAIN}"
                    ) from None
            await anyio.sleep(delay)
            delay = min(delay * 2, _LONGEST)

    @contextmanager
    def _translated(self, kind: type[UsageError | SinkError], what: str) -> Iterator[None]:
        driver = self._driver
        try:
            yield
        except driver.errors as exc:
            said = driver.says(exc)
            if driver.is_away(exc):
                driver.close()
                raise Away(said) from None
            if said == DISK_FULL:  # no fault of what was asked for
                kind = SinkError
            after = f"; {_AGAIN}" if what == "written" or said == DISK_FULL else ""
            raise kind(f"{driver.where} could not be {what}: {said}{after}") from None

    # on the sink's thread

    def _open(self, receipt: Receipt) -> Receipt:
        with self._translated(UsageError, "opened"):
            self._driver.connect(create=not receipt)
            with self._driver.transaction("open"):
                new = self._progress.begin(receipt)
                for endpoint in self._described:
                    self._prepare(endpoint.name, endpoint)
                self._check_tables(receipt)
                self._unheard = self._progress.unheard()
        return new

    def _adopt(self) -> tuple[Receipt, list[Found]]:
        with self._translated(SinkError, "read"):
            self._driver.connect(create=False)
            with self._driver.transaction("adoption"):
                number = self._progress.take_over()
                names = [name for name, records in self._progress.records() if records]
                found = [one for name in names for one in self._adopted(name)]
        self._unheard = ()
        return {COMMIT: str(number)}, found

    def _adopted(self, endpoint: str) -> Iterator[Found]:
        """The windows of an interface as they were noted; whole: so many records are there."""
        fetched = Columns([Field("_fetched_at", "timestamp")], self._driver.dialect)
        rows = {
            Window(appid, endpoint, day_of(begin), day_of(end)): (records, *fetched.revived(first))
            for appid, begin, end, records, *first in self._driver.query(
                f"SELECT _appid, _begin_date, _end_date, count(*), min({fetched.selected})"
                f" FROM {quoted(endpoint)} GROUP BY _appid, _begin_date, _end_date"
            )
        }
        for appid in self._progress.accounts(endpoint):
            for days, entry in self._progress.of_account(endpoint, appid).items():
                window = Window(appid, endpoint, *days)
                records, first = rows.get(window, (0, ""))
                if entry.records:
                    whole = records == entry.records
                    yield Found(window, entry.records, entry.checksum, _moment(first), whole)

    def _prepare(self, name: str, endpoint: Endpoint | None = None) -> None:
        """The interface's table: made, or looked at and widened."""
        driver = self._driver
        layout = Layout(name, endpoint.fields if endpoint is not None else (), driver.dialect)
        for other in self._layouts:
            if driver.dialect.same(other) == driver.dialect.same(name) and other != name:
                raise UsageError(f"{driver.where} cannot tell the tables {other} and {name} apart")
        found = driver.columns(name)
        for statement in layout.grow(found, driver.where) if found else layout.create():
            driver.query(statement)
        table = quoted(name)
        driver.query(f"DELETE FROM {table} WHERE 1 = 0")  # may we?
        driver.query(f"INSERT INTO {table} SELECT * FROM {table} WHERE 1 = 0")
        self._progress.keep_layout(layout)
        self._layouts[name] = layout

    def _check_tables(self, receipt: Receipt) -> None:
        """That no table was emptied or dropped; without a receipt, what is gone is forgotten."""
        driver = self._driver
        for name, records in self._progress.records():
            if not records or (
                driver.columns(name) and driver.query(f"SELECT 1 FROM {quoted(name)} LIMIT 1")
            ):
                continue
            if receipt:
                raise SinkError(
                    f"the table {name} of {driver.where} is gone or empty, though the ledger says"
                    f" that its records were stored; {ADVICE}"
                )
            self._progress.forget(name)

    def _write(self, batches: Sequence[Batch]) -> Written:
        number = self._progress.number + 1
        with self._translated(SinkError, "written"):
            self._driver.connect(create=False)
            self._prepare_new({batch.window.endpoint for batch in batches})
            with self._driver.transaction("batches"):
                if self._unsure is None or not self._arrived(number):
                    self._unsure = self._replace(batches, number)
        replaced, self._unsure, self._progress.number = self._unsure, None, number
        drift = [one for layout in self._layouts.values() for one in layout.table.drift()]
        return Written({COMMIT: str(number)}, replaced, drift)

    def _prepare_new(self, names: set[str]) -> None:
        """Tables of interfaces that were not described."""
        for name in sorted(names - self._layouts.keys()):
            with self._driver.transaction("table"):
                self._prepare(name)

    def _arrived(self, number: int) -> bool:
        """Whether a commit whose answer was lost has taken place."""
        return self._progress.stored_number(self._progress.ledger) >= number

    def _replace(self, batches: Sequence[Batch], number: int) -> dict[Window, Tally]:
        replaced: dict[Window, Tally] = {}
        entries: list[tuple[Window, Entry]] = []
        overlapping = {each.name for each in self._described if each.cut is Cut.RECENT}
        for endpoint, group in _by_interface(batches).items():
            layout = self._layouts[endpoint]
            windows = [batch.window for batch in group]
            taken = self._progress.take_away(endpoint, windows, apart=endpoint not in overlapping)
            rows = layout.rows(group)
            for batch, checksum in zip(group, row_checksums(rows, group), strict=True):
                entry = self._entry(batch, checksum, layout, number, taken.get(batch.window))
                if entry.former.records:
                    replaced[batch.window] = entry.former
                entries.append((batch.window, entry))
            if rows:
                self._driver.insert(endpoint, layout.columns, rows)
        self._progress.add(entries, number)
        return replaced

    def _entry(
        self, batch: Batch, row_checksum: int, layout: Layout, number: int, taken: Entry | None
    ) -> Entry:
        mine = self._progress.ledger
        former, ledgers = Tally(), mine
        if taken is not None:
            former = taken.former
            ledgers = " ".join([mine, *[one for one in taken.ledgers.split() if one != mine]])
        return Entry(
            batch.records, batch.checksum, row_checksum, layout.number, ledgers, number, former
        )

    # reading back, on a sink that is not open

    def documents(
        self, endpoint: str, receipt: Receipt | None, wanted: Wanted
    ) -> Iterator[dict[str, Any]]:
        """The records of an interface, by a connection of its own."""
        driver = self._driver
        try:
            with driver.reading() as reader:
                yield from documents_of(reader, endpoint, receipt, wanted)
            return
        except UsageError as exc:
            problem = str(exc)
        except Away as exc:
            problem = f"{driver.where} could not be read: {exc}"
        except driver.errors as exc:
            problem = f"{driver.where} could not be read: {driver.says(exc)}"
        raise SinkError(problem)  # here, where no frame holds a password

    def stored(self, receipt: Receipt) -> Iterator[Stored]:
        """Each window that this ledger brought here, and whether it is as it was written."""
        try:
            yield from self._all_stored(receipt)
            return
        except Away as exc:
            problem = f"{self._driver.where} could not be read: {exc}"
        raise UsageError(problem)

    def _all_stored(self, receipt: Receipt) -> Iterator[Stored]:
        with self._translated(UsageError, "read"):
            try:
                self._driver.connect(create=False)
                self._progress.check(receipt)
                for endpoint, _ in self._progress.records():
                    if self._driver.columns(endpoint):
                        yield from self._stored(endpoint, receipt)
            finally:
                self._driver.close()

    def _stored(self, endpoint: str, receipt: Receipt) -> Iterator[Stored]:
        accounts = self._driver.query(f"SELECT DISTINCT _appid FROM {quoted(endpoint)}")
        for appid in sorted({*self._progress.accounts(endpoint), *[one for (one,) in accounts]}):
            entries = self._progress.of_account(endpoint, appid)
            yield from self._foreign(endpoint, appid, entries)
            mine = {days: one for days, one in entries.items() if _known(receipt, one).records}
            empty = {days for days, one in mine.items() if not one.records}
            for days in empty:
                records = _known(receipt, mine[days]).records
                yield Stored(Window(appid, endpoint, *days), records)
            for number in {mine[days].layout for days in mine.keys() - empty}:
                columns = Columns(self._progress.layout(number), self._driver.dialect)
                for days, rows in self._windows(endpoint, appid, columns):
                    entry = mine.get(days)
                    if entry is not None and entry.layout == number:
                        found = list(rows)
                        intact = row_checksum(found) == entry.row_checksum
                        records = _known(receipt, entry).records + len(found) - entry.records
                        yield Stored(Window(appid, endpoint, *days), records, intact)

    def _foreign(
        self, endpoint: str, appid: str, entries: Mapping[Days, Entry]
    ) -> Iterator[Stored]:
        """Windows that no harvester wrote."""
        for begin, end, records in self._driver.scan(
            f"SELECT _begin_date, _end_date, count(*) FROM {quoted(endpoint)}"
            f" WHERE _appid = {self._driver.dialect.mark} GROUP BY _begin_date, _end_date",
            [appid],
        ):
            days = (day_of(begin), day_of(end))
            if days not in entries:
                yield Stored(Window(appid, endpoint, *days), records, intact=False)

    def _windows(
        self, endpoint: str, appid: str, columns: Columns
    ) -> Iterator[tuple[Days, Iterator[Row]]]:
        """An account's rows, by window."""
        place = [field.name for field in columns.fields].index("_begin_date")
        rows = self._driver.scan(
            f"SELECT {columns.selected} FROM {quoted(endpoint)}"
            f" WHERE _appid = {self._driver.dialect.mark} ORDER BY _begin_date, _end_date",
            [appid],
        )
        revived = map(columns.revived, rows)
        for days, group in groupby(revived, key=lambda row: (row[place], row[place + 1])):
            yield (day_of(days[0]), day_of(days[1])), group


def _by_interface(batches: Sequence[Batch]) -> dict[str, list[Batch]]:
    """The last batch of each window, less those that lie in a later one, in order of windows."""
    by_account: dict[tuple[str, str], dict[Window, Batch]] = defaultdict(dict)
    for batch in batches:
        window = batch.window
        group = by_account[window.endpoint, window.appid]
        if window.begin < window.end:
            for other in list(group):
                if window.begin <= other.begin and other.end <= window.end:
                    del group[other]
        group[window] = batch
    found: dict[str, list[Batch]] = defaultdict(list)
    for (endpoint, _), group in sorted(by_account.items()):
        found[endpoint] += [group[window] for window in sorted(group)]
    return found


def _moment(value: datetime | str) -> str:
    """A moment that was read, as RFC 3339."""
    return value if isinstance(value, str) else rfc3339(value.timestamp())


def _known(receipt: Receipt, entry: Entry) -> Tally:
    """What the ledger has heard of a window; nothing if it never wrote it.

    If the process died before its last commit was told, that is what stood there before: the
    window itself is as true, and is not gone.
    """
    ledger = receipt.get(LEDGER, "")
    if not ledger or ledger not in entry.ledgers.split():
        return Tally()
    last = entry.ledgers.startswith(ledger)
    return entry.former if last and entry.number > int(receipt[COMMIT]) else entry.known
