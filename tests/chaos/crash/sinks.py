"""The sinks that must survive a crash, a row for each sink.

Rule: a row says how the sink is made, and how its records are read without harvester.

Two have none.  ``memory:`` ends with its process, and refuses the ledger of another one.  Standard
output stores nothing; `tests.sinks.test_stdout` kills it and checks what was written.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pymysql

from harvester.config import plugins
from harvester.sinks.base import Sink
from harvester.sinks.jsonl.sink import JsonLines
from harvester.sinks.sql.mysql import MySQL
from harvester.sinks.sql.postgresql import PostgreSQL
from tests import mysql_server, postgres_server
from tests.support import META, bare

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Record = dict[str, Any]


class Row(NamedTuple):
    """One sink.

    make: the sink whose destination belongs to a directory; each call gives a fresh object.
    spec: what the command is told of a directory, of a sink that keeps its records in files, which
        its process syncs, so that a power cut can take away what it did not.
    read: every record that stands there, with ``_appid``, ``_endpoint``, ``_begin_date``.
    shape: a record of the truth, or one that was read, in the form in which the two are compared.
    tear: leaves behind what a write leaves that was cut off in its midst.
    server: which of `SERVERS` it needs, if any.
    clear: takes away what belongs to a directory there.
    """

    make: Callable[[Path], Sink]
    read: Callable[[Path], Iterator[Record]]
    shape: Callable[[Record], Record] = bare
    tear: Callable[[Path], None] | None = None
    spec: str = ""
    server: str = ""
    clear: Callable[[Path], None] = lambda _: None


# servers: what the processes must know of one stands in their environment

MYSQL, POSTGRES = "CRASH_MYSQL", "CRASH_POSTGRES"


class Server(NamedTuple):
    """How it is started, and the environment of the processes that use it."""

    start: Callable[[], AbstractContextManager[Any]]
    environment: Callable[[Any], Mapping[str, str]]


def _of_mysql(server: mysql_server.MySQLServer) -> Mapping[str, str]:
    url = server.url("").replace(f":{mysql_server.PASSWORD}@", "@")
    return {MYSQL: url, "MYSQL_PWD": mysql_server.PASSWORD}


def _of_postgres(server: postgres_server.PostgresServer) -> Mapping[str, str]:
    url = server.url(server.new_database()).replace(f":{postgres_server.PASSWORD}@", "@")
    return {POSTGRES: url, "PGPASSWORD": postgres_server.PASSWORD}


SERVERS = {
    "mysql": Server(mysql_server.mysql_server, _of_mysql),
    "postgres": Server(postgres_server.postgres_server, _of_postgres),
}


def _place(directory: Path) -> str:
    """What belongs to a directory is called so on a server."""
    return f"c{blake2b(str(directory).encode(), digest_size=8).hexdigest()}"


# lines

_UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.decompress, ".zst": zstd.decompress,
}  # fmt: skip
_LINE = b'{"title":"a line that was not written to its end"}\n'
_HALVES = {
    "": _LINE[:-9],
    ".gz": gzip.compress(_LINE, mtime=0)[:-9],
    ".zst": zstd.compress(_LINE)[:-9],
}


def _tear(files: Iterable[Path], half: bytes) -> None:
    """The end of each folder's last file is something that was not written to its end."""
    last: dict[Path, Path] = {}
    for path in sorted(files):
        last[path.parent] = path
    for path in last.values():
        with path.open("ab") as file:
            file.write(half)


def _lines(suffix: str, compress: str, journal_bytes: int) -> Row:
    def read(directory: Path) -> Iterator[Record]:
        for path in sorted(directory.glob(f"*/*.jsonl{suffix}")):
            yield from map(json.loads, _UNPACKED[suffix](path.read_bytes()).splitlines())

    return Row(
        lambda directory: JsonLines(directory, compress=compress, journal_bytes=journal_bytes),
        read,
        tear=lambda directory: _tear(directory.glob(f"*/*.jsonl{suffix}"), _HALVES[suffix]),
        spec="jsonl:{}" + (f"?compress={compress}" if compress else ""),
    )


# columns


def as_columns(record: Record) -> Record:
    """A record's values, whatever types they had on the way, ``_extra`` laid over them."""
    found = {key: value for key, value in record.items() if key not in (*META, "_row", "_checksum")}
    extra = found.pop("_extra", None)
    found.update(json.loads(extra) if isinstance(extra, str) else extra or {})
    plain: Record = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str) and value[:1] in ("{", "["):  # JSON in a column of text
        return _plain(json.loads(value))
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return value.isoformat() if isinstance(value, date) else value


def _rows(cursor: Any, tables: str, table: str = "SELECT * FROM {}") -> Iterator[Record]:
    """Each row of each table that the first statement names."""
    cursor.execute(tables)
    for (name,) in cursor.fetchall():
        if not name.startswith("_"):
            cursor.execute(table.format(name))
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                yield dict(zip(names, row, strict=True))


def _sqlite(directory: Path) -> Iterator[Record]:
    with closing(sqlite3.connect(directory / "records.db")) as database:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        yield from _rows(database.cursor(), tables)


# on servers


def _make_postgresql(directory: Path) -> Sink:
    url, schema = os.environ[POSTGRES], _place(directory)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
    return PostgreSQL(f"{url}?options=-csearch_path%3D{schema}")


def _postgresql(directory: Path) -> Iterator[Record]:
    schema = _place(directory)
    tables = f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'"
    with psycopg.connect(os.environ[POSTGRES]) as connection:
        yield from _rows(connection.cursor(), tables, f"SELECT * FROM {schema}.{{}}")


def _clear_postgresql(directory: Path) -> None:
    with psycopg.connect(os.environ[POSTGRES], autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {_place(directory)} CASCADE".encode())


def _connected_to_mysql() -> Any:
    place = urlsplit(os.environ[MYSQL])
    return pymysql.connect(
        host=place.hostname, port=place.port or 0, user=place.username, charset="utf8mb4",
        password=os.environ["MYSQL_PWD"], autocommit=True,
    )  # fmt: skip


def _make_mysql(directory: Path) -> Sink:
    with closing(_connected_to_mysql()) as connection:
        connection.cursor().execute(f"CREATE DATABASE IF NOT EXISTS {_place(directory)}")
    return MySQL(f"{os.environ[MYSQL]}{_place(directory)}")


def _mysql(directory: Path) -> Iterator[Record]:
    name = _place(directory)
    tables = (
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{name}'"
        " AND table_type = 'BASE TABLE'"
    )
    with closing(_connected_to_mysql()) as connection:
        yield from _rows(connection.cursor(), tables, f"SELECT * FROM {name}.{{}}")


def _clear_mysql(directory: Path) -> None:
    with closing(_connected_to_mysql()) as connection:
        connection.cursor().execute(f"DROP DATABASE IF EXISTS {_place(directory)}")


def _of_files(
    spec: str, read: Callable[[Path], Iterator[Record]], tear: Callable[[Path], None]
) -> Row:
    return Row(lambda directory: plugins.sink(spec.format(directory)), read, as_columns, tear, spec)


SINKS: dict[str, Row] = {
    "jsonl": _lines("", "", 4096),
    "gzip": _lines(".gz", "gzip", 8 * 1024),
    "zstd": _lines(".zst", "zstd", 8 * 1024),
    "sqlite": _of_files(
        "sqlite:{}/records.db",
        _sqlite,
        lambda directory: _tear(directory.glob("records.db-wal"), b"half a frame"),
    ),
    "postgresql": Row(
        _make_postgresql, _postgresql, as_columns, server="postgres", clear=_clear_postgresql
    ),
    "mysql": Row(_make_mysql, _mysql, as_columns, server="mysql", clear=_clear_mysql),
}

FILES = [name for name, row in SINKS.items() if row.spec]


def text(sink: str, appid: str, endpoint: str, record: Record) -> str:
    """A record of the truth, or one that was read, in the form in which the two are compared."""
    shaped = SINKS[sink].shape(record)
    return f"{appid} {endpoint} {json.dumps(shaped, sort_keys=True, default=str)}"


def stored(sink: str, directory: Path) -> Counter[str]:
    """All that stands in a sink, each as its `text`."""
    return Counter(
        text(sink, record["_appid"], record["_endpoint"], record)
        for record in SINKS[sink].read(directory)
    )


def differences(found: Counter[str], truth: Counter[str], *, whole: bool = True) -> list[str]:
    """What is not as WeChat has it; whole: whether nothing may be missing."""
    lost = truth - found if whole else Counter()
    return [f"lost: {each[:200]}" for each in lost] + [
        f"doubled or foreign: {each[:200]}" for each in found - truth
    ]
