"""What several workers of one Iceberg destination share, in the database of their ledger.

Rule: SQL text; connections are `harvester.postgres`'s business.

A staged object counts once its row is committed.  The transaction that inserts the row raises the
fence of the object's accounts, and leaves out those that a later epoch has staged: so what a worker
stages late, that has lost an account, is never published.  Rows are numbered in the order of their
commits; whoever publishes takes all that are there.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from harvester.away import Away
from harvester.errors import SinkError, UsageError
from harvester.fencing import raised, refused
from harvester.postgres import SETTINGS, server_of
from harvester.secrets import Secret
from harvester.sinks.base import Fence

_SCHEMA = "harvester_iceberg"
_LOCK = 0x69636562  # "iceb"
_SETTINGS = f"{SETTINGS}, set_config('idle_in_transaction_session_timeout', '60s', true)"
_PATIENT = f"{SETTINGS}, set_config('idle_in_transaction_session_timeout', '0', true)"
_AGAIN = 0.2
"""Seconds after which it is tried again to be the one that publishes."""
_TABLES = (
    f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.state (root text, commits bigint)",
    f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.fence (account text PRIMARY KEY, epoch bigint)",
    f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.staged (number bigint PRIMARY KEY, name text,"  # noqa: ISC004
    " refused text[])",
)


class Entry(NamedTuple):
    """A staged object that counts; refused: accounts of which nothing in it does."""

    number: int
    name: str
    refused: Collection[str] = ()


class Registry:
    """The staged objects of a destination, and the fence; used from one thread.

    url: of the database.  root: the destination.  Raises `Away` where the server does not answer.
    """

    def __init__(self, url: Secret, root: str) -> None:
        self._server = server_of(url, "ledger")
        self._root = root
        self._connection: Any = None
        self.catalog_url = Secret(_catalog_url(self._server))
        """The same database, as the catalog is told of it."""

    def __repr__(self) -> str:
        return f"<Registry of {self._root}>"

    def make(self, *, number: int = 0) -> None:
        """Make the tables if they are not there; number: all that follow are higher.

        Raises `UsageError` if they are of another destination.
        """
        with self._transaction("open"):
            self._query("SELECT pg_advisory_xact_lock(%s)", _LOCK)
            for sql in _TABLES:
                self._query(sql)
            if not self._query(f"SELECT 1 FROM {_SCHEMA}.state"):
                self._query(f"INSERT INTO {_SCHEMA}.state VALUES (%s, 0)", self._root)
            [(root,)] = self._query(
                f"UPDATE {_SCHEMA}.state SET commits = greatest(commits, %s) RETURNING root", number
            )
        if root != self._root:
            raise UsageError(
                f"{self._server.where} keeps the catalog of {root}; a database keeps that of one"
                " Iceberg destination"
            )

    @property
    def is_made(self) -> bool:
        """Whether the tables are there."""
        with self._transaction("look"):
            [(found,)] = self._query("SELECT to_regclass(%s)", f"{_SCHEMA}.staged")
        return found is not None

    def stage(self, name: str, fence: Fence, appids: Collection[str]) -> tuple[int, set[str]]:
        """Let a staged object count, but for accounts that a later epoch has staged.

        name: of the object, empty if there is none.  Returns its number, 0 if nothing of it counts,
        and these accounts.
        """
        accounts = sorted({*fence, *appids})
        with self._transaction("staged object"):
            self._query(
                f"INSERT INTO {_SCHEMA}.fence SELECT unnest(%s::text[]), 0 ORDER BY 1"
                " ON CONFLICT DO NOTHING",
                accounts,
            )
            known = dict(
                self._query(
                    f"SELECT account, epoch FROM {_SCHEMA}.fence WHERE account = ANY(%s)"
                    " ORDER BY account FOR UPDATE",
                    accounts,
                )
            )
            lost = refused(fence, known)
            higher = raised(fence, known)
            self._query(
                f"UPDATE {_SCHEMA}.fence SET epoch = new.epoch"
                " FROM unnest(%s::text[], %s::bigint[]) AS new (account, epoch)"
                " WHERE fence.account = new.account",
                [*higher],
                [*higher.values()],
            )
            if not name or not {*appids} - lost:
                return 0, lost
            # Last: whoever comes later waits here, and has a higher number.
            [(number,)] = self._query(
                f"UPDATE {_SCHEMA}.state SET commits = commits + 1 RETURNING commits"
            )
            self._query(
                f"INSERT INTO {_SCHEMA}.staged VALUES (%s, %s, %s)", number, name, sorted(lost)
            )
        return int(number), lost

    def staged(self) -> list[Entry]:
        """What is staged and not published, in order."""
        with self._transaction("look"):
            rows = self._query(f"SELECT number, name, refused FROM {_SCHEMA}.staged ORDER BY 1")
        return [Entry(*row) for row in rows]

    def latest_epoch(self) -> int:
        """The highest epoch of any account."""
        with self._transaction("look"):
            [(epoch,)] = self._query(f"SELECT coalesce(max(epoch), 0) FROM {_SCHEMA}.fence")
        return int(epoch)

    @contextmanager
    def publishing(self, *, wait: bool) -> Iterator[bool]:
        """While it is entered nobody else publishes; gives whether that is so.

        wait: until nobody does.
        """
        while True:
            with self._transaction("publication", _PATIENT):
                [(mine,)] = self._query("SELECT pg_try_advisory_xact_lock(%s, 1)", _LOCK)
                if mine or not wait:
                    yield bool(mine)
                    return
            # Outside of the transaction: all connections of a pooler could wait for the one that
            # publishes, which needs another one.
            time.sleep(_AGAIN)

    def within(self) -> list[Entry]:
        """The same as `staged`, within `publishing`."""
        rows = self._query(f"SELECT number, name, refused FROM {_SCHEMA}.staged ORDER BY 1")
        return [Entry(*row) for row in rows]

    def forget(self, through: int) -> None:
        """Staged objects up to that number are published; within `publishing`."""
        self._query(f"DELETE FROM {_SCHEMA}.staged WHERE number <= %s", through)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self, what: str, settings: str = _SETTINGS) -> Iterator[None]:
        server = self._server
        try:
            if self._connection is None:
                self._connection = server.connect()
            with server.transaction(self._connection, settings, what):
                yield
        except server.library.Error as exc:
            said = server.says(exc)
            if server.outage(exc):
                self.close()
                raise Away(said) from None
            raise SinkError(f"{server.where} could not be written: {said}") from None

    def _query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql, values or None)
        return list(cursor.fetchall()) if cursor.description else []


def shared_catalog(given: Mapping[str, str]) -> SqlCatalog:
    """The catalog in the registry's schema, whose tables are made if they are not there.

    given: its properties.  The schema is named in each transaction: a pooler keeps no settings, and
    the user's own schema may be that of the ledger.  No connection is kept: the server has few.
    """
    catalog = SqlCatalog("harvester", **given, init_catalog_tables="false")
    catalog.close()
    catalog.engine = create_engine(given["uri"], poolclass=NullPool)

    @event.listens_for(catalog.engine, "begin")
    def _(connection: Any) -> None:
        connection.exec_driver_sql(f"SET LOCAL search_path TO {_SCHEMA}")

    catalog.create_tables()
    return catalog


def _catalog_url(server: Any) -> str:
    given = dict(server.given)
    host, port = given.pop("host", None), given.pop("port", None)
    password = server.secrets.get("password")
    url = URL.create(
        "postgresql+psycopg",
        given.pop("user", None),
        password.value if password is not None else None,
        host,
        int(port) if port else None,
        given.pop("dbname"),
        given,
    )
    return url.render_as_string(hide_password=False)
