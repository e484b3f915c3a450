"""Which windows stand in a database, in two tables of the sink's own beside the records.

Rule: read and written inside the transaction that holds the records.

- ``_harvester``: the version of all this; the database's own number, which a ledger keeps in its
  receipt; for each ledger that ever wrote here the number of its last commit; the columns that
  tables were written with; the days of the longest window of each interface.
- ``_harvester_windows``: each window that stands here, with how many records it has, their checksum
  as lines and as rows, and the commit that it came with.

A commit whose receipt was never stored (the process died in between) leaves windows of which the
ledger has not heard.  They stay, true as they are, with a negative number, and beside what they
replaced, of which it has: these are the figures to take away when they are written again.

Windows that stand here never overlap, `Cut.RECENT` aside: one that would cut another in two is
refused, whoever wrote that, since its records would stand here twice.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple

from harvester.codec import add_checksums
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.model import Tally, Window
from harvester.plan import Days, days_in
from harvester.sinks.base import Receipt
from harvester.sinks.columns import METADATA, Row
from harvester.sinks.driver import ADVICE, Driver
from harvester.sinks.layout import Layout, kept_fields

VERSION = 2
DATABASE, LEDGER, COMMIT = "database", "ledger", "commit"
"""The keys of a receipt."""
_AT_ONCE, _NEAR = 500, 31
"""Accounts of one question; days that their windows may lie apart."""

_KEY = (Field("endpoint", "str"), Field("appid", "str"), Field("begin_date", "date"),
        Field("end_date", "date"))  # fmt: skip
_WINDOW = tuple(field for field in METADATA if field.name in ("_appid", "_begin_date", "_end_date"))
_VALUES = (Field("records", "int"), Field("checksum", "int"), Field("row_checksum", "int"),
           Field("layout", "int"), Field("ledgers", "str"), Field("number", "int"),
           Field("former_records", "int"), Field("former_checksum", "int"))  # fmt: skip


class Entry(NamedTuple):
    """A window that stands here.

    ledgers: those that wrote it, the last one first.  number: of its commit, negative if that
    ledger has not heard of it; former: what the ledger knew of it before.
    """

    records: int
    checksum: int
    row_checksum: int
    layout: int
    ledgers: str
    number: int
    former: Tally = Tally()

    @property
    def known(self) -> Tally:
        """What the ledger has heard of."""
        return self.former if self.number < 0 else Tally(self.records, self.checksum)


class Progress:
    """The two tables; ``ledger`` is the one that this run keeps, ``number`` its last commit."""

    def __init__(self, driver: Driver) -> None:
        self.ledger = ""
        self.number = 0
        self._driver = driver
        self._mark = driver.dialect.mark

    def __repr__(self) -> str:
        return f"<Progress of {self._driver.where}, commit {self.number}>"

    def begin(self, receipt: Receipt) -> Receipt:
        """Make the tables if they are not there, and bring them to where the receipt says.

        Gives what is to be stored in the receipt.
        """
        if not self._driver.columns("_harvester") and not receipt:
            self._make()
        self.check(receipt)
        if receipt:
            self.ledger = receipt[LEDGER]
            self._mark_unheard(int(receipt[COMMIT]))
            return {}
        self.ledger, self.number = secrets.token_hex(8), 0
        return {DATABASE: self._value(DATABASE), LEDGER: self.ledger, COMMIT: "0"}

    def check(self, receipt: Receipt) -> None:
        """That this is what the receipt speaks of; raises `SinkError` if that is gone."""
        where = self._driver.where
        if not self._driver.columns("_harvester"):
            raise SinkError(f"{where} holds nothing of what the ledger says was stored; {ADVICE}")
        if (version := self._value("version")) != str(VERSION):
            raise UsageError(
                f"{where} was written by another version of harvester (its tables are of version"
                f" {version}, this one knows {VERSION}); use that one, or choose another database"
            )
        if not receipt:
            return
        if receipt[DATABASE] != self._value(DATABASE):
            raise SinkError(
                f"{where} is not the one that the ledger speaks of, which was deleted or replaced;"
                f" {ADVICE}"
            )
        self.number = self.stored_number(receipt[LEDGER])
        if (missing := int(receipt[COMMIT]) - self.number) > 0:
            raise SinkError(
                f"{where} is older than the ledger: its last {missing} commits are missing;"
                f" {ADVICE}"
            )

    def stored_number(self, ledger: str) -> int:
        """The number of a ledger's last commit."""
        return int(self._value(f"{LEDGER} {ledger}") or 0)

    def _mark_unheard(self, heard: int) -> None:
        if self.number > heard:
            self._driver.query(
                f"UPDATE _harvester_windows SET number = -number WHERE number > {self._mark}"
                f" AND ledgers LIKE {self._mark}",
                [heard, f"{self.ledger}%"],
            )

    def _make(self) -> None:
        types = self._driver.dialect.types
        text = types["str"]
        columns = ", ".join(
            f"{field.name} {types[field.type]} NOT NULL" for field in (*_KEY, *_VALUES)
        )
        key = ", ".join(field.name for field in _KEY)
        self._driver.query(
            f"CREATE TABLE _harvester (name {text} NOT NULL PRIMARY KEY, value {text} NOT NULL)"
        )
        if self._driver.dialect.indexed:
            columns += f", PRIMARY KEY ({key})"
        self._driver.query(f"CREATE TABLE _harvester_windows ({columns})")
        self._set("version", str(VERSION))
        self._set(DATABASE, secrets.token_hex(8))

    def _value(self, name: str) -> str:
        found = self._driver.query(
            f"SELECT value FROM _harvester WHERE name = {self._mark}", [name]
        )
        return str(found[0][0]) if found else ""

    def _set(self, name: str, value: str) -> None:
        self._driver.query(
            f"INSERT INTO _harvester (name, value) VALUES ({self._mark}, {self._mark})"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [name, value],
        )

    # the columns that rows were written with

    def keep_layout(self, layout: Layout) -> None:
        self._set(f"layout {layout.number}", layout.kept)

    def layout(self, number: int) -> list[Field]:
        return kept_fields(self._value(f"layout {number}"))

    def fields(self, endpoint: str) -> list[Field]:
        """All columns that an interface's windows were written with."""
        numbers = self._driver.query(
            f"SELECT DISTINCT layout FROM _harvester_windows WHERE endpoint = {self._mark}"
            " ORDER BY layout",
            [endpoint],
        )
        same = self._driver.dialect.same
        found = {same(field.name): field for (number,) in numbers for field in self.layout(number)}
        return list(found.values())

    # windows

    def days(self, window: Window) -> tuple[Any, Any]:
        """A window's first and last day as values of this database."""
        form = self._driver.dialect.forms.get("date")
        return (form(window.begin), form(window.end)) if form else (window.begin, window.end)

    def within(self, endpoint: str, appid: str, days: tuple[Any, Any]) -> dict[Days, Entry]:
        """The windows that stand here between two days."""
        mark = self._mark
        names = ", ".join(field.name for field in (*_KEY[2:], *_VALUES))
        return _entries(
            self._driver.query(
                f"SELECT {names} FROM _harvester_windows WHERE endpoint = {mark}"
                f" AND appid = {mark} AND begin_date >= {mark} AND end_date <= {mark}",
                [endpoint, appid, *days],
            )
        )

    def of_account(self, endpoint: str, appid: str) -> dict[Days, Entry]:
        """All windows of an account that stand here."""
        return self.within(endpoint, appid, self.days(Window("", "", date.min, date.max)))

    def accounts(self, endpoint: str) -> list[str]:
        """The accounts of which windows of an interface stand here."""
        found = self._driver.query(
            "SELECT DISTINCT appid FROM _harvester_windows"
            f" WHERE endpoint = {self._mark} ORDER BY appid",
            [endpoint],
        )
        return [str(appid) for (appid,) in found]

    def unheard(self) -> list[Window]:
        """The windows that have records and were not last written as this run's ledger knows."""
        mark, mine = self._mark, self.ledger
        found = self._driver.query(
            "SELECT appid, endpoint, begin_date, end_date FROM _harvester_windows"
            f" WHERE records > 0 AND (ledgers NOT LIKE {mark}"
            f" OR (number < 0 AND ledgers LIKE {mark}))",
            [f"{mine}%", f"{mine}%"],
        )
        return [
            Window(appid, name, day_of(begin), day_of(end)) for appid, name, begin, end in found
        ]

    def take_over(self) -> int:
        """This run's ledger will know of all that stands here; gives the number of that commit."""
        self.number += 1
        mark = self._mark
        self._driver.query(
            f"UPDATE _harvester_windows SET ledgers = {mark} || ledgers, number = {mark},"
            " former_records = 0, former_checksum = 0",
            [f"{self.ledger} ", self.number],
        )
        self._set(f"{LEDGER} {self.ledger}", str(self.number))
        return self.number

    def records(self) -> list[tuple[str, int]]:
        """How many records each interface has here, as far as it was told."""
        found = self._driver.query(
            "SELECT endpoint, sum(records) FROM _harvester_windows GROUP BY endpoint"
            " ORDER BY endpoint"
        )
        return [(str(endpoint), int(records)) for endpoint, records in found]

    def forget(self, endpoint: str) -> None:
        """Nothing of an interface stands here any more."""
        self._driver.query(
            f"DELETE FROM _harvester_windows WHERE endpoint = {self._mark}", [endpoint]
        )

    def take_away(
        self, endpoint: str, windows: Sequence[Window], *, apart: bool
    ) -> dict[Window, Entry]:
        """Delete the records of these windows and of those within; gives what stood there.

        apart: windows of this interface do not overlap.  Raises `SinkError` if they would.
        """
        reach = timedelta(days=self._longest(endpoint) if apart else 0)
        by_account: dict[str, list[Window]] = defaultdict(list)
        for window in windows:
            by_account[window.appid].append(window)
        around = {appid: Around(listed) for appid, listed in by_account.items()}
        taken: dict[Window, Entry] = {}
        gone: list[Row] = []
        for days, appids in side_by_side(windows):
            for appid, stored, entry in self._standing(endpoint, appids, days, reach):
                if (taker := around[appid].of(stored)) is not None:
                    taken[taker] = _together(taken.get(taker), entry)
                    gone.append((appid, *self.days(Window("", "", *stored))))
                elif apart and around[appid].cut(stored):
                    raise SinkError(
                        f"{self._driver.where} holds {endpoint} of {appid} from {stored[0]} to"
                        f" {stored[1]} as one window, which another ledger has written and this"
                        " run would cut in two; nothing was doubled: run the same command again"
                    )
        self._delete(endpoint, gone)
        return taken

    def _standing(
        self, endpoint: str, appids: Sequence[str], days: Days, reach: timedelta
    ) -> Iterator[tuple[str, Days, Entry]]:
        """The windows of these accounts that stand here between two days.

        reach: those that begin so long before them or end so long after them, too.
        """
        mark = self._mark
        first, last = days[0] - reach, days[1] + reach
        names = ", ".join(field.name for field in _KEY[1:] + _VALUES)
        rows = self._driver.query(
            f"SELECT {names} FROM _harvester_windows WHERE endpoint = {mark}"
            f" AND begin_date >= {mark} AND end_date <= {mark}"
            f" AND appid IN ({self._driver.dialect.marks(len(appids))})",
            [endpoint, *self.days(Window("", "", first, last)), *appids],
        )
        for appid, *row in rows:
            for stored, entry in _entries([row]).items():
                yield str(appid), stored, entry

    def _delete(self, endpoint: str, gone: Sequence[Row]) -> None:
        if gone:
            self._driver.delete(endpoint, _WINDOW, gone)
            keys = [(endpoint, *one) for one in gone]
            self._driver.delete("_harvester_windows", _KEY, keys)

    def _longest(self, endpoint: str) -> int:
        """How many days the longest window has that ever stood here."""
        return int(self._value(f"longest {endpoint}") or 0)

    def add(self, entries: Sequence[tuple[Window, Entry]], number: int) -> None:
        """Windows that stand here now, and the commit they come with."""
        longest: dict[str, int] = {}
        for (_, endpoint, begin, end), _ in entries:
            longest[endpoint] = max(longest.get(endpoint, 0), (end - begin).days + 1)
        for endpoint, days in longest.items():
            if days > self._longest(endpoint):
                self._set(f"longest {endpoint}", str(days))
        self._driver.insert(
            "_harvester_windows",
            (*_KEY, *_VALUES),
            [
                (window.endpoint, window.appid, *self.days(window), *entry[:-1], *entry.former)
                for window, entry in entries
            ],
        )
        self._set(f"{LEDGER} {self.ledger}", str(number))


def side_by_side(windows: Iterable[Window]) -> list[tuple[Days, list[str]]]:
    """Accounts whose windows span about the same days, so that one question is enough for them."""
    spans: dict[str, Days] = {}
    for appid, _, begin, end in windows:
        first, last = spans.get(appid, (begin, end))
        spans[appid] = (min(first, begin), max(last, end))
    found: list[tuple[Days, list[str]]] = []
    for appid, (begin, end) in sorted(spans.items(), key=itemgetter(1)):
        if found and len(found[-1][1]) < _AT_ONCE:
            (first, last), appids = found[-1]
            whole = (first, max(last, end))
            if days_in(whole) <= 2 * days_in((begin, end)) + _NEAR:
                found[-1] = (whole, [*appids, appid])
                continue
        found.append(((begin, end), [appid]))
    return found


class Around:
    """Windows of one account that are replaced; tells which of them days lie in."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._ordered = sorted(set(windows))
        self._furthest = list(accumulate([window.end for window in self._ordered], max))

    def of(self, days: Days) -> Window | None:
        begin, end = days
        place = bisect_right(self._ordered, begin, key=_begin) - 1
        while place >= 0 and self._furthest[place] >= end:
            if self._ordered[place].end >= end:
                return self._ordered[place]
            place -= 1
        return None

    def cut(self, days: Days) -> bool:
        """Whether one of them has some of these days."""
        place = bisect_right(self._ordered, days[1], key=_begin) - 1
        return place >= 0 and self._furthest[place] >= days[0]


def _begin(window: Window) -> date:
    return window.begin


def _together(one: Entry | None, other: Entry) -> Entry:
    """What a window stands in the place of; only what was known counts of it."""
    known = other.known
    if one is not None:
        records = one.former.records + known.records
        known = Tally(records, add_checksums(one.former.checksum, known.checksum))
    return other._replace(former=known, number=-1)


def _entries(rows: Iterable[Sequence[Any]]) -> dict[Days, Entry]:
    return {
        (day_of(begin), day_of(end)): Entry._make([*rest[:6], Tally(*rest[6:])])
        for begin, end, *rest in rows
    }


def day_of(value: Any) -> date:
    """A day as the database gives it back."""
    return value if isinstance(value, date) else date.fromisoformat(str(value))
