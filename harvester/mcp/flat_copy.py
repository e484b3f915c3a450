"""The copy of the flat tables that questions are put to: a DuckDB file of this process alone.

Rule: what is stored is read as an export reads it, and no ledger is locked; a query runs in its own
process (`harvester.mcp.query`), which has only the copy.

An interface of which the ledger has changed is exported again before a query, in the background:
a first export may take longer than a client waits, and goes on when the call has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio

from harvester.base.threads import ended, in_thread
from harvester.errors import HarvestError
from harvester.exports.base import TableShape, Target
from harvester.exports.joined import JoinedShape
from harvester.exports.run import export_all
from harvester.exports.shapes import FLAT, Shape
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.mcp import query
from harvester.model import Find
from harvester.tables import TABLES

ROWS, BYTES = 1000, 100_000
"""The most rows of an answer, and the most bytes of them and of their columns as JSON."""
SECONDS = 20.0
"""The most seconds of a query."""
MEMORY, SPACE = 512 * 1024**2, 2 * 1024**3
"""The most bytes that DuckDB takes for a query, and of addresses of its process."""
PATIENCE = 30.0
"""Seconds that a call waits for the copy; clients allow a call one minute."""

_THREAD = "harvester-mcp"

Tables = dict[str, tuple[tuple[str, ...], TableShape]]
"""By name: the interfaces that a table is made from, and its columns."""


class QueryError(HarvestError):
    """A query was refused, failed, or exceeded a limit."""


class Copy:
    """The copy; an async context manager, at whose end nothing is under way any more.

    directory: a private one, for the file.  source: gives what is exported, as it is now.
    """

    def __init__(
        self, directory: Path, source: Callable[[], Awaitable[Source]], find: Find
    ) -> None:
        self._file = directory / "copy.duckdb"
        self._source, self._find = source, find
        self._states: dict[str, object] = {}
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
        """The tables of interfaces, and those that join them."""
        for name in names:
            if name not in self._shapes:
                self._shapes[name] = Shape(name, self._find(name), FLAT)
        known = {name: self._shapes[name] for name in sorted(names)}
        found: Tables = {
            table.name: ((name,), table) for name, shape in known.items() for table in shape.tables
        }
        for joined in TABLES.values():
            of = tuple(name for name in joined.interfaces if name in known)
            if of:
                [table] = JoinedShape(joined, known, "en").tables
                found[table.name] = (of, table)
        return found

    async def stored(self) -> list[str]:
        """The interfaces that have records, of what has no ledger."""
        found: list[str] = await in_thread(_THREAD, (await self._source()).interfaces)
        return found

    async def update(self, states: Mapping[str, object]) -> None:
        """Bring interfaces up to date whose state is another one than at their last update.

        states: by interface, values that change with what is stored.  Raises `QueryError` if that
        takes longer than a call waits (then it goes on), and the errors of an export.
        """
        changed = {name: state for name, state in states.items() if self._states.get(name) != state}
        if not changed:
            return
        key = frozenset(changed)
        task = self._updates.get(key)
        if task is None:
            task = self._updates[key] = asyncio.create_task(self._update(changed))
            task.add_done_callback(partial(self._updated, key))
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done:
            raise QueryError(
                "the tables are still being copied, which goes on; ask again in a minute"
            )
        await task

    def _updated(self, key: frozenset[str], task: asyncio.Task[None]) -> None:
        del self._updates[key]
        if not task.cancelled():
            task.exception()  # retrieved, so that the loop does not log it

    async def _update(self, states: Mapping[str, object]) -> None:
        async with self._one_update:
            source = await self._source()
            stored = await in_thread(_THREAD, source.interfaces)
            if any(name in stored for name in states) or self._file.exists():
                await export_all(source, [self._target()], [*states], self._find, replace=True)
            tables = [
                table
                for of, table in self.tables([*states]).values()
                if not any(name in stored for name in of)
            ]
            if tables:  # of interfaces without a record: a query may name them
                await in_thread(_THREAD, _make_empty, self._target(), tables)
            self._states.update(states)

    def _target(self) -> Target:
        return open_target(f"duckdb:{self._file}?shape={FLAT}")

    async def query(
        self, sql: str, parameters: Sequence[object] = (), rows: int = ROWS
    ) -> dict[str, Any]:
        """The ``columns`` and ``rows`` of one SELECT, and whether there are ``more``.

        Raises `QueryError` with one sentence.
        """
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
        async with self._one_query:
            answer = await _answer_of(json.dumps(request).encode(), self._file.parent)
        if answer is None or answer.get("error") == "":
            raise QueryError(
                f"the query needs more than {MEMORY >> 20} MiB of memory; select fewer rows or"
                " columns, or aggregate earlier"
            )
        if "error" in answer:
            raise QueryError(f"the query was not run: {_short(answer['error'])}")
        return answer


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
