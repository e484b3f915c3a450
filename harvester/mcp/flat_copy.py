"""The copy of the flat tables that questions are put to: a DuckDB file of this process alone.

Rule: what is stored is read as an export reads it, and no ledger is locked; a query runs in its own
process (`harvester.mcp.query`), which has only the copy.

An interface of which the ledger has changed is exported again before a query, in the background:
a first export may take longer than a client waits, and goes on when the call has ended.

DuckDB keeps the bytes of rows that were deleted.  So the copy is made anew when the ledger has
forgotten an account or an interface of it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio

from harvester.base.threads import ended, in_thread
from harvester.config.place import Place
from harvester.errors import HarvestError, NoLedgerError
from harvester.exports.base import TableShape, Target
from harvester.exports.coverage import coverage_in
from harvester.exports.joined import JoinedShape
from harvester.exports.listed import AccountsShape, CoverageShape
from harvester.exports.run import export_all
from harvester.exports.shapes import FLAT, Shape
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.ledger import Key
from harvester.mcp import query
from harvester.model import Account
from harvester.reading import source_of
from harvester.tables import ACCOUNTS, COVERED, TABLES

ROWS, BYTES = 1000, 100_000
"""The most rows of an answer, and the most bytes of them and of their columns as JSON."""
SECONDS = 20.0
"""The most seconds of a query."""
MEMORY, SPACE = 512 * 1024**2, 2 * 1024**3
"""The most bytes that DuckDB takes for a query, and of addresses of its process."""
PATIENCE = 30.0
"""Seconds that a call waits for the copy; clients allow a call one minute."""

_THREAD = "harvester-mcp"
_TURNS = 4
_READY = 20

Tables = dict[str, tuple[tuple[str, ...], TableShape]]
"""By name: the interfaces that a table is made from, and its columns."""
NO_STATES: Mapping[str, object] = {}


class QueryError(HarvestError):
    """A query was refused, failed, or exceeded a limit."""


class Copy:
    """The copy; an async context manager; directory: for its file alone, and emptied."""

    def __init__(self, directory: Path, place: Place) -> None:
        self._file = directory / "copy.duckdb"
        self._place = place
        self._accounts = [
            Account(each.appid, name=each.name, group=each.group) for each in place.listed or ()
        ]
        self._states: dict[str, object] = {}  # of what is copied, as it was then
        self._wanted: dict[str, object] = {}  # of what is to be copied
        self._begun: dict[str, float] = {}  # when that copying began
        self._held = frozenset[Key]()  # what the ledger owned while the file was written
        [self._names] = AccountsShape(()).tables
        [self._covered] = CoverageShape((), "en").tables
        self._shapes: dict[str, Shape] = {}
        self._updates: dict[frozenset[str], asyncio.Task[None]] = {}
        self._one_update, self._one_query = asyncio.Lock(), asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._updates.values()):
            with suppress(asyncio.CancelledError):
                await ended(task)

    def tables(self, names: Collection[str]) -> Tables:
        for name in names:
            if name not in self._shapes:
                self._shapes[name] = Shape(name, self._place.find(name), FLAT)
        known = {name: self._shapes[name] for name in sorted(names)}
        found: Tables = {
            table.name: ((name,), table) for name, shape in known.items() for table in shape.tables
        }
        for joined in TABLES.values():
            of = tuple(name for name in joined.interfaces if name in known)
            if of:
                [table] = JoinedShape(joined, known, "en").tables
                found[table.name] = (of, table)
        if found:
            found.setdefault(COVERED, ((), self._covered))
        if found and self._accounts:
            found.setdefault(ACCOUNTS.name, ((), self._names))
        return found

    async def stored(self) -> list[str]:
        """The interfaces that have records, of what has no ledger."""
        found: list[str] = await in_thread(_THREAD, (await self._source()).interfaces)
        return found

    async def _source(self, accounts: Collection[Account] = ()) -> Source:
        place = self._place
        coverage = partial(coverage_in, find=place.find)
        return await source_of(
            place.ledger(), place.sinks, coverage, accounts=accounts, names=place.names
        )

    async def _owned(self) -> frozenset[Key] | None:
        """The account–interface pairs that the ledger knows; None without a ledger."""
        try:
            async with self._place.ledger() as ledger:
                return frozenset(await ledger.asked())
        except NoLedgerError:
            return None

    def _known(self, owned: frozenset[Key] | None) -> list[Account]:
        """The accounts of the file that the ledger knows: a forgotten one may still be in it."""
        appids = None if owned is None else {appid for appid, _ in owned}
        return [each for each in self._accounts if appids is None or each.appid in appids]

    def _forgotten(self, owned: frozenset[Key] | None) -> bool:
        return owned is not None and not self._held <= owned

    def _behind(
        self, states: Mapping[str, object], owned: frozenset[Key] | None, since: float
    ) -> dict[str, object]:
        """What is to be copied; what was copied from `since` on has all that the states tell of."""
        names = {ACCOUNTS.name: self._known(owned)} if self._accounts else {}
        if self._forgotten(owned):
            return {**names, **states}
        late = {
            name: state
            for name, state in states.items()
            if self._begun.get(name, -math.inf) < since
        }
        return {
            name: state
            for name, state in {**names, **late}.items()
            if self._states.get(name) != state
        }

    async def _bring(self, states: Mapping[str, object]) -> None:
        """Bring interfaces up to date; raises `QueryError` if a call cannot wait for that."""
        self._wanted |= states
        key = frozenset(states)
        task = self._updates.get(key)
        if task is None:
            task = self._updates[key] = asyncio.create_task(self._update(states))
            task.add_done_callback(partial(self._updated, key))
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done:
            raise QueryError(self._progress())
        await task

    def _updated(self, key: frozenset[str], task: asyncio.Task[None]) -> None:
        del self._updates[key]
        if not task.cancelled():
            task.exception()  # retrieved, so that the loop does not log it

    def _progress(self) -> str:
        others = ACCOUNTS.name, COVERED
        wanted = {name: state for name, state in self._wanted.items() if name not in others}
        ready = [name for name, state in sorted(wanted.items()) if self._states.get(name) == state]
        hint = f", or for tables of these alone: {', '.join(ready[:_READY])}" if ready else ""
        return (
            f"{len(ready)} of {len(wanted)} interfaces are copied, and the others follow; ask again"
            f" in a minute{hint}"
        )

    async def _update(self, states: Mapping[str, object]) -> None:
        async with self._one_update:
            await self._drop_forgotten()
        self._wanted |= states
        copied = [name for name in states if name in self._states]
        first = [[name] for name in states if name not in self._states]
        for names in [copied, *first]:  # each first copy may take long, and is shown at its end
            async with self._one_update:
                changed = {each: states[each] for each in names}
                if any(self._states.get(name) != state for name, state in changed.items()):
                    await self._copy(changed)

    async def _drop_forgotten(self) -> None:
        async with self._one_query:
            if self._forgotten(await self._owned()):
                await in_thread(_THREAD, _clear, self._file.parent)
                self._held = frozenset()
                for known in (self._states, self._wanted, self._begun):
                    known.clear()

    async def _copy(self, states: Mapping[str, object]) -> None:
        begun, owned = time.monotonic(), await self._owned()
        self._held |= owned or frozenset()
        source = await self._source(self._known(owned))
        stored = await in_thread(_THREAD, source.interfaces)
        there = COVERED in states or any(name in stored for name in states)
        if source.accounts or there or self._file.exists():
            await export_all(source, [self._target()], [*states], self._place.find, replace=True)
        self._held |= await self._owned() or frozenset()  # a run may have added some
        tables = [
            table
            for of, table in self.tables([*states.keys() - {ACCOUNTS.name, COVERED}]).values()
            if of and not any(name in stored for name in of)
        ]
        if self._accounts and not source.accounts:
            tables.append(self._names)
        if tables:  # without a row: a query may name them
            await in_thread(_THREAD, _make_empty, self._target(), tables)
        self._states |= states
        self._begun |= dict.fromkeys(states, begun)

    def _target(self) -> Target:
        return open_target(f"duckdb:{self._file}?shape={FLAT}")

    async def query(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        rows: int = ROWS,
        *,
        states: Mapping[str, object] = NO_STATES,
    ) -> dict[str, Any]:
        """The ``columns`` and ``rows`` of one SELECT, and whether there are ``more``.

        ``used``: the columns that it reads, by table; None if that is not known.  states: by
        interface that must be up to date, a value that changes with what is stored.  Raises
        `QueryError`, also if the copy takes longer than a call waits, and the errors of an export.
        """
        since = time.monotonic()
        for _ in range(_TURNS):
            async with self._one_query:
                behind = self._behind(states, await self._owned(), since)
                if not behind:
                    return await self._run(sql, parameters, rows)
            await self._bring(behind)
        raise QueryError("accounts were removed meanwhile; ask again")

    async def _run(self, sql: str, parameters: Sequence[object], rows: int) -> dict[str, Any]:
        request = {
            "file": str(self._file),
            "sql": sql,
            "parameters": parameters,
            "rows": min(rows, ROWS),
            "bytes": BYTES,
            "memory": MEMORY,
            "space": SPACE,
            "seconds": int(2 * SECONDS),
        }
        answer = await _answer_of(json.dumps(request).encode(), self._file.parent)
        if answer is None or answer.get("error") == "":
            raise QueryError(
                f"the query needs more than {MEMORY >> 20} MiB of memory; select fewer rows or"
                " columns, or aggregate earlier"
            )
        if "error" in answer:
            raise QueryError(f"the query was not run: {_short(answer['error'])}")
        return answer


def _clear(directory: Path) -> None:
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _make_empty(target: Target, tables: Sequence[TableShape]) -> None:
    with closing(target):
        target.open(create=True)
        target.write(tables, [], [])
        target.finish()


async def _answer_of(request: bytes, directory: Path) -> dict[str, Any] | None:
    """What the process of a query prints; None if it ended without an answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        query.__file__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1", "TZ": "UTC"},
        cwd=directory,
        start_new_session=True,  # an interrupt of the terminal is for the server
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate(request)
    except TimeoutError:
        raise QueryError(
            f"the query took more than {SECONDS:g} s and was ended; select fewer rows"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            with anyio.CancelScope(shield=True):  # the server's end cancels each wait again
                await process.communicate()
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        return None
    return answer


def _short(text: str) -> str:
    return text if len(text) <= 500 else f"{text[:500]}…"
