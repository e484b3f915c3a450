"""Answers about what is stored: coverage, tables, rows, and one SELECT.

Rule: reads the ledger and what is stored, changes nothing, and knows nothing of a protocol.  An
answer is a dict for JSON of at most about `BYTES`, and has until when it is complete and final.

The ledger is read before the copy is brought up to date: so what it calls stored is in the copy.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any

from harvester.base.dates import FIRST, Days, nearest, parse_day, parse_past_day
from harvester.config.place import Place
from harvester.errors import NoLedgerError, UsageError
from harvester.exports.base import TableShape
from harvester.exports.listed import COVERAGE
from harvester.exports.shapes import comment_of
from harvester.ledger.coverage import Calendar
from harvester.ledger.reach import STATES, Together, last_of, state_on
from harvester.mcp.flat_copy import BYTES, ROWS, Copy, QueryError, Tables
from harvester.model import Endpoint
from harvester.report.days import Reader, StatusFilter, Stream
from harvester.report.overview import overview_of
from harvester.tables import ACCOUNTS as NAMES
from harvester.tables import COVERED
from harvester.tables import TABLES as JOINED
from harvester.wechat.titles import INTERFACES

ACCOUNTS = 200
"""The most accounts that an answer lists one by one."""
STREAMS = 100
"""The most account–interface pairs that an answer lists one by one."""
TABLES = 12
"""The most tables of which the columns are described unasked."""
CAUSES = 20
NEAR = 5
"""The most names that are given in the place of one that does not exist."""
HELD_BACK = 3
"""Accounts that are named as those which lack days."""
FEW = 100
"""Rows that are given if no number is asked for."""

_TITLED = {**JOINED, NAMES.name: NAMES, COVERED: COVERAGE}
_TYPES = {
    "int64": "BIGINT",
    "int32": "INTEGER",
    "string": "VARCHAR",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
}
_LACKING = {state.name for state in STATES if state.lacking}
_ORDER = ("_appid", "_begin_date", "_row")
_UNKNOWN = re.compile("Table with name (.+?) does not exist")
_NOTHING = "nothing was harvested yet; harvest first (harvester run)"
_NO_LEDGER = "there is no ledger, so it is not known what is missing"


@dataclass
class _Known:
    """What the ledger knows of some interfaces.

    states: by interface, a value that changes with what is stored.  first: the first day that was
    asked about.  has_ledger: if not, only `states` has something.
    """

    everything: Together = field(default_factory=Together)
    interfaces: dict[str, Together] = field(default_factory=dict)
    accounts: dict[str, Together] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    first: date = date.min
    has_ledger: bool = True

    def note(self, stream: Stream, calendar: Calendar) -> None:
        appid, name = stream.key
        digest = self.states.setdefault(name, blake2b(digest_size=16))
        parts = [appid, sorted(calendar.years.items()), sorted(calendar.windows.items())]
        digest.update(repr([*parts, calendar.sums, stream.reach]).encode())

    def add(self, stream: Stream, endpoint: Endpoint | None, days: Days | None = None) -> None:
        """Take in the reach of an interface of an account; endpoint: None if not installed."""
        (appid, name), reach = stream.key, stream.reach
        if (begins := reach.begins) is None:  # no day of it can be asked for
            return
        of_interface = self.interfaces.setdefault(name, Together())
        if days is not None:
            reach = reach.within(days)
            if days[1] < begins and reach.begins is None:
                of_interface.note(appid, begins)
                return
            if not reach.letters and endpoint is not None and endpoint.retired:
                return  # it has no such days, and never will
        of_account = self.accounts.setdefault(appid, Together())
        for together in (of_interface, of_account, self.everything):
            together.add(appid, reach)

    def of_account(self, appid: str) -> dict[str, Any]:
        return _until(self.accounts[appid]) if appid in self.accounts else {}

    def until(self) -> dict[str, Any]:
        """Until when an answer is complete and final, and who begins later: a sum lacks them."""
        if not self.has_ledger:
            return {"complete_until": None, "final_until": None, "note": _NO_LEDGER}
        later: dict[str, date] = {}
        interfaces = {}
        for name, each in self.interfaces.items():
            of_interface = each.later(self.first)
            interfaces[name] = {**_until(each), **_begin_later(of_interface)}
            later |= {appid: max(day, later.get(appid, day)) for appid, day in of_interface.items()}
        return {
            "complete_until": _text(self.everything.complete),
            "final_until": _text(self.everything.final),
            **_begin_later(later),
            "interfaces": interfaces,
        }


def _begin_later(accounts: Mapping[str, date]) -> dict[str, Any]:
    named = {appid: str(day) for appid, day in last_of(accounts, HELD_BACK)}
    return {"begin_later": {"accounts": len(accounts), "some_of_them": named}} if named else {}


def _until(reach: Together) -> dict[str, Any]:
    found: dict[str, Any] = {
        "first_day": _text(reach.first),
        "complete_until": _text(reach.complete),
        "final_until": _text(reach.final),
        "newest_day": _text(reach.newest),
        "days_lacking": reach.lacking,
    }
    if len(reach.accounts) > 1:
        behind = reach.behind
        found |= {"accounts": len(reach.accounts), "accounts_lacking_days": len(behind)}
        found |= {"some_of_them": behind[:HELD_BACK]} if behind else {}
    return found


def _text(day: date | None) -> str | None:
    return None if day is None else str(day)


class Answers:
    """What can be asked; a sink that the place names is read without a ledger, too."""

    def __init__(self, place: Place, copy: Copy) -> None:
        self._place, self._copy = place, copy
        self._appids: defaultdict[str, list[str]] = defaultdict(list)
        for appid, name in place.names.items():
            self._appids[name].append(appid)

    async def coverage(
        self,
        appids: Collection[str] = (),
        endpoints: Collection[str] = (),
        day: str | None = None,
    ) -> dict[str, Any]:
        """Totals, each interface, and each account, trouble first; of few also its interfaces."""
        now, place = time.time(), self._place
        known, streams = _Known(), dict[str, list[dict[str, Any]]]()
        async with self._place.ledger() as ledger:
            chosen = self._accounts(appids, await ledger.accounts())
            wanted = StatusFilter(chosen, place.names_of(endpoints))
            reader = Reader(ledger, now, place.own, wanted)
            if day is not None:
                return await self._on_day(reader, parse_past_day(day, now, "day"))
            seen = await overview_of(reader, names=place.names, disabled=place.disabled)
            in_full = seen.totals.streams <= STREAMS
            async for found in reader.accounts():
                for stream, _ in found:
                    endpoint = reader.endpoint(stream.key[1])
                    known.add(stream, endpoint)
                    if in_full:
                        alone = _Known()
                        alone.add(stream, endpoint)
                        each = {**stream.to_dict(), **alone.of_account(stream.key[0])}
                        del each["appid"]  # the account has it
                        streams.setdefault(stream.key[0], []).append(each)
        answer = known.until()
        for view in seen.interfaces:
            told = answer["interfaces"].setdefault(view.name, {})
            told |= {**_titles(view.name, view.endpoint), **view.counts.to_dict()}
        answer["totals"] = totals = seen.to_dict()
        totals["causes"] = totals["causes"][:CAUSES]
        accounts = []
        for account in seen.accounts[:ACCOUNTS]:
            summary: dict[str, Any] = {
                "appid": account.appid,
                "name": account.name,
                "state": account.state,
            }
            summary |= known.of_account(account.appid)
            listed = streams.get(account.appid)
            summary |= {"interfaces": listed} if listed else {}
            accounts.append(_without_zeros(summary))
        answer = _without_zeros(answer)
        if not accounts:
            answer["note"] = _NOTHING
        elif not in_full:
            answer["note"] = "appids or endpoints select a few; then each interface is listed"
        return _with_list(answer, "accounts", accounts, len(seen.accounts))

    async def _on_day(self, reader: Reader, day: date) -> dict[str, Any]:
        await reader.prepare()
        known, counted = _Known(first=day), defaultdict[str, Counter[str]](Counter)
        accounts: list[dict[str, Any]] = []
        async for found in reader.accounts():
            states = {
                name: state_on(stream.reach, day, reader.endpoint(name), reader.now).name
                for stream, _ in found
                for name in stream.key[1:]
            }
            for stream, _ in found:
                known.add(stream, reader.endpoint(stream.key[1]), (day, day))
                counted[stream.key[1]][states[stream.key[1]]] += 1
            appid = found[0][0].key[0]
            name = self._place.names.get(appid, "")
            accounts.append({"appid": appid, "name": name, "interfaces": states})
        accounts.sort(key=lambda each: _LACKING.isdisjoint(each["interfaces"].values()))
        answer = {"day": str(day), **known.until()}
        answer["interfaces"] = {
            name: {**_titles(name, reader.endpoint(name)), "accounts_by_state": dict(states)}
            for name, states in sorted(counted.items())
        }
        answer = _without_zeros(answer)
        return _with_list(answer, "accounts", accounts[:ACCOUNTS], len(accounts))

    def _accounts(self, given: Collection[str], known: Collection[str]) -> list[str]:
        """The appids of these appids and names; raises `UsageError`."""
        found = []
        for each in given:
            named = [each] if each in known else self._appids.get(each, [])
            if len(named) > 1:
                appids = ", ".join(named[:FEW])
                raise UsageError(
                    f"{len(named)} accounts are named {each!r}; ask by appid: {appids}"
                )
            if not named or named[0] not in known:
                names = [self._place.names.get(appid, "") for appid in known]
                hint = nearest(each, [*known, *names], most=NEAR)
                raise UsageError(f"the ledger knows no account {each}{hint}")
            found += named
        return found

    async def tables(self, names: Collection[str] = ()) -> dict[str, Any]:
        """The tables of these names with their columns; of all of them, if they are many, less."""

        def concerned(owners: Tables) -> set[str]:
            return {each for name in names or owners for each in _in(owners, name)[0]}

        known, owners, _ = await self._known(concerned)
        chosen = {name: owners[name] for name in names or owners}
        in_full = len(chosen) <= TABLES or bool(names)
        found = [self._table(name, *chosen[name], in_full=in_full) for name in chosen]
        answer = known.until()
        if not owners:
            answer["note"] = _NOTHING
        elif not in_full:
            answer["note"] = "names select tables; then each column has its title and meaning"
        return _with_list(answer, "tables", found, len(found))

    def _table(
        self, name: str, of: Sequence[str], table: TableShape, *, in_full: bool
    ) -> dict[str, Any]:
        joined = _TITLED.get(name)
        titles = (
            {"title": joined.title.en, "title_zh": joined.title.zh}
            if joined
            else _titles(of[0], self._place.find(of[0]))
        )
        about = {"name": name, "interfaces": of, **titles}
        if not in_full:
            return {**about, "columns": table.schema.names}
        columns = []
        for stored, column in zip(table.schema, table.columns, strict=True):
            kind = _TYPES.get(str(stored.type), str(stored.type))
            told = {"name": stored.name, "type": kind, "meaning": comment_of(column.meaning)}
            if column.figure is not None:
                told |= {"unit": column.figure.unit.en, "covers": column.figure.covers.en}
            columns.append(told)
        return {**about, "columns": columns}

    async def rows(
        self,
        table: str,
        appids: Collection[str] = (),
        start: str | None = None,
        end: str | None = None,
        limit: int = FEW,
    ) -> dict[str, Any]:
        days = _days(start, end)
        known, owners, appids = await self._known(lambda each: _in(each, table)[0], appids, days)
        of, shape = owners[table]
        names = shape.schema.names
        if days and table == NAMES.name:
            raise UsageError(f"the table {table} has no days; leave start and end out")
        column, condition = self._condition(of, shape, days)
        conditions = [condition] if days else []
        parameters: list[object] = [str(day) for day in days or ()]
        if appids:
            conditions.append(f"_appid IN ({', '.join('?' * len(appids))})")
            parameters += appids
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        keys = _TITLED[table].key if table in _TITLED else ()
        order = [each for each in _ORDER if each in names]
        order += [each for each in names if each in keys or each.startswith("_item")]
        sql = f'SELECT * FROM "{table}"{where} ORDER BY {", ".join(order)}'
        states = _states(known, [table])
        answer = await self._copy.query(sql, parameters, limit, states=states)
        used = {"days_are_of_column": column} if days else {}
        return {**known.until(), **used, **_rows(answer, {table: owners[table]})}

    def _condition(
        self, of: Sequence[str], shape: TableShape, days: Days | None
    ) -> tuple[str, str]:
        endpoint = self._place.find(of[0]) if of else None
        own = getattr(endpoint, "day_field", "").replace(".", "_")
        types = {column.name: str(column.type) for column in shape.schema}
        if days and types.get(own) == "date32[day]":
            return own, f'"{own}" BETWEEN ?::DATE AND ?::DATE'
        if "last_day" in types:
            return "first_day", "last_day >= ?::DATE AND first_day <= ?::DATE"
        if "_end_date" in types:
            return "_begin_date", "_end_date >= ?::DATE AND _begin_date <= ?::DATE"
        return "_begin_date", "_begin_date BETWEEN ?::DATE AND ?::DATE"

    async def sql(self, query: str, limit: int = ROWS) -> dict[str, Any]:
        def is_named(table: str) -> bool:
            return re.search(rf"(?i)(?<!\w){re.escape(table)}(?!\w)", query) is not None

        def concerned(owners: Tables) -> set[str]:
            """The interfaces whose tables it names; all if none: it may list the tables."""
            found = {each for name, (of, _) in owners.items() if is_named(name) for each in of}
            return found or {each for of, _ in owners.values() for each in of}

        known, owners, _ = await self._known(concerned)
        if not owners:
            raise UsageError(_NOTHING)
        named = {name: table for name, table in owners.items() if is_named(name)}
        try:
            answer = await self._copy.query(query, rows=limit, states=_states(known, named))
        except QueryError as exc:
            if unknown := _UNKNOWN.search(str(exc)):  # DuckDB knows the interfaces concerned alone
                _in(owners, unknown[1])
            raise
        return {**known.until(), **_rows(answer, named if answer["used"] is None else owners)}

    async def _known(
        self,
        concerned: Callable[[Tables], Collection[str]],
        appids: Collection[str] = (),
        days: Days | None = None,
    ) -> tuple[_Known, Tables, Collection[str]]:
        """What the ledger knows of the interfaces concerned, all tables, and appids without names.

        appids, days: whose reach is of interest; the states are those of all accounts and days.
        """
        known = _Known(first=days[0] if days else date.min)
        try:
            async with self._place.ledger() as ledger:
                owners = self._copy.tables({name for _, name in await ledger.asked()})
                appids = self._accounts(appids, await ledger.accounts())
                wanted = StatusFilter(endpoints=concerned(owners))
                reader = Reader(ledger, time.time(), self._place.own, wanted)
                await reader.prepare()
                async for stream, calendar in reader.streams():
                    known.note(stream, calendar)
                    if not appids or stream.key[0] in appids:
                        known.add(stream, reader.endpoint(stream.key[1]), days)
        except NoLedgerError:
            if not self._place.sinks:
                raise
            owners = self._copy.tables(await self._copy.stored())
            owners.pop(COVERED, None)  # only a ledger knows it
            states = {name: object() for name in concerned(owners)}
            strange = [each for each in appids if each not in self._appids]
            appids = self._accounts(appids, [*self._place.names, *strange])
            return _Known(states=states, has_ledger=False), owners, appids
        known.states = {name: state.hexdigest() for name, state in known.states.items()}
        return known, owners, appids


def _in(owners: Tables, name: str) -> tuple[tuple[str, ...], TableShape]:
    if not owners:
        raise UsageError(_NOTHING)
    if name not in owners:
        hint = nearest(name, owners, most=NEAR)
        raise UsageError(f"there is no table {name!r}{hint}; the tool tables lists them")
    return owners[name]


def _states(known: _Known, tables: Collection[str]) -> Mapping[str, object]:
    """What must be up to date for a query of these tables; names and coverage need no records."""
    if {*tables} <= {NAMES.name, COVERED} and tables:
        return {COVERED: hash(frozenset(known.states.items()))} if COVERED in tables else {}
    return known.states


def _titles(name: str, endpoint: Endpoint | None) -> dict[str, str]:
    chinese = INTERFACES.get(name) or getattr(endpoint, "label", "")
    titles = {"title": getattr(endpoint, "title", ""), "title_zh": chinese}
    return {key: text for key, text in titles.items() if text}


def _days(start: str | None, end: str | None) -> Days | None:
    if start is None and end is None:
        return None
    now = time.time()
    first = date.min if start in (None, FIRST) else parse_day(start, now, "start")
    last = date.max if end is None else parse_day(end, now, "end")
    if first > last:
        raise UsageError(f"the start {first} is after the end {last}; swap them")
    return first, last


def _rows(answer: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    """The rows, which of their figures have no sum, and what to do if there are more."""
    rows = {name: value for name, value in answer.items() if name != "used"}
    used = answer["used"]
    if used is None:
        used = {name: table.schema.names for name, (_, table) in tables.items()}
    figures = {
        f"{name}.{stored}": column.about.en
        for name in sorted(used.keys() & tables.keys())
        for stored, column in zip(
            tables[name][1].schema.names, tables[name][1].columns, strict=True
        )
        if stored in used[name] and column.figure is not None and column.figure.never.en
    }
    told = {"figures": figures} if figures else {}
    hint = {"hint": "there are more rows: narrow the question, or aggregate"}
    return {**told, **rows, **(hint if answer["more"] else {})}


def _without_zeros(value: Any) -> Any:
    """A value for JSON without the counts that are 0; what is not known stays, as null."""
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if each != 0 or each is False}
        return {name: _without_zeros(each) for name, each in kept.items()}
    return [_without_zeros(each) for each in value] if isinstance(value, list) else value


def _with_list(
    answer: dict[str, Any], key: str, items: Sequence[dict[str, Any]], total: int
) -> dict[str, Any]:
    left = BYTES - len(encoded(answer).encode())
    kept = []
    for item in items:
        left -= len(encoded(item).encode()) + 1
        if left < 0:
            break
        kept.append(item)
    answer[key] = kept
    if len(kept) < total:
        answer["left_out"] = total - len(kept)
        answer["hint"] = f"{total - len(kept):,} more {key} are left out; ask for some by name"
    return answer


def encoded(answer: object) -> str:
    """JSON on one line."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
