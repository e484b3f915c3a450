"""Measure what a sink takes beside the cheapest correct way with the same driver.

Each sink writes groups of windows as a busy engine hands them over.  Beside it the cheapest program
brings the same lines to the same place, as durable, with one transaction or fsync a group:

- JSON lines, gzip, zstd: write and sync the lines of a group as one piece;
- SQLite, MySQL: ``executemany``; PostgreSQL: a COPY that is told the types of its columns; each
  into the table that the sink has made.

The ratio is of the CPU of this process, medians of turns in random order.  Files are in memory if
there is room: what the system takes to sync a disk varies more than what is measured.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sqlite3
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import date, timedelta
from functools import partial
from importlib import import_module
from itertools import chain, count, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from benchmarks.figures import Figure, Spent, take_turns, timed
from benchmarks.servers import MissingError, mysql, postgresql
from harvester.config import plugins
from harvester.engine.writer import GROUP
from harvester.model import Batch, Window, metadata
from harvester.testing import Simulator

ENDPOINT = plugins.endpoint("getarticlesummary")
STAMP = "2024-06-15T04:00:00Z"
FIRST = date(2014, 12, 1)
ACCOUNTS = 10
GROUPS = 4
MORE = 8
"""So many times the groups for JSON lines, which cost so little that opening a sink would count."""
ROUNDS = 5

GOAL, GOAL_SQL = 0.7, 0.8
"""CPU of the cheapest way ÷ the sink's."""

_MEMORY, _ROOM = Path("/dev/shm"), 1 << 30

_numbers = count(1)


class Group(NamedTuple):
    """Windows that are written together, and the lines of each as one piece."""

    windows: list[Window]
    bodies: list[bytes]

    @property
    def lines(self) -> bytes:
        """The lines of all windows as one piece."""
        return b"".join(self.bodies)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The records, parsed from the lines at once."""
        array = b"[" + self.lines[:-1].replace(b"\n", b",") + b"]"
        rows: list[dict[str, Any]] = orjson.loads(array)
        return rows

    @property
    def placed(self) -> list[dict[str, Any]]:
        """The same with the place of each record in its window, which is a part of the key."""
        rows = self.rows
        places = chain.from_iterable([range(body.count(b"\n")) for body in self.bodies])
        for row, place in zip(rows, places, strict=True):
            row["_row"] = place
        return rows


def groups_of(number: int) -> list[Group]:
    """So many groups of believable records."""
    windows = _windows()
    made = []
    for _ in range(number):
        some = list(islice(windows, GROUP))
        made.append(Group([window for window, _ in some], [body for _, body in some]))
    return made


def _windows() -> Iterator[tuple[Window, bytes]]:
    simulator = Simulator(seed=1)
    days = [date(2024, 1, 1) - timedelta(days=n) for n in range(500)]
    drawn = [simulator.truth("wx00000000000000aa", day) for day in days]
    for number in count():
        day = FIRST + timedelta(days=number // ACCOUNTS)
        window = Window(f"wx{number % ACCOUNTS:016x}", ENDPOINT.name, day, day)
        beside = metadata(window, STAMP)
        records = [
            {**record, "ref_date": day, "msgid": f"{number}_{n}", **beside}
            for n, record in enumerate(drawn[number % len(drawn)])
        ]
        yield window, b"".join([orjson.dumps(record) + b"\n" for record in records])


def sink_writer(groups: Sequence[Group], *, lines: bool = False) -> Callable[[str], None]:
    """Return a function that writes the groups to the sink of a spec.

    This function is all that the benchmarks know of the protocol of sinks and batches.  As in the
    engine, the records are encoded and counted beforehand, which a ledger needs, whatever the sink;
    and a sink that takes lines gets them in place of the records.
    """
    batches = [[_batch(*each) for each in zip(*group, strict=True)] for group in groups]
    for batch in chain.from_iterable(batches if lines else ()):
        batch.pack()

    async def write(spec: str) -> None:
        sink = plugins.sink(spec)
        assert sink.takes_lines is lines
        await sink.open({})
        for group in batches:
            await sink.write(group, {})
        await sink.finish()
        await sink.close()

    return lambda spec: asyncio.run(write(spec))


def _batch(window: Window, body: bytes) -> Batch:
    records = [orjson.loads(line) for line in body.splitlines()]
    beside = metadata(window, STAMP)
    plain = [{name: row[name] for name in row if name not in beside} for row in records]
    batch = Batch(window, plain, STAMP, endpoint=ENDPOINT)
    assert batch.tally.records == len(plain)
    return batch


# the cheapest ways


def _write_lines(pack: Callable[[bytes], bytes], place: str, groups: Sequence[Group]) -> None:
    with (Path(place) / "lines").open("wb", buffering=0) as file:
        for group in groups:
            file.write(pack(group.lines))
            os.fdatasync(file.fileno())


def _gzip(data: bytes) -> bytes:
    return zlib.compress(data, 6, 31)


def _zstd(data: bytes) -> bytes:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    packed: bytes = import_module(name).compress(data, 3)
    return packed


def _insert_sqlite(place: str, groups: Sequence[Group]) -> None:
    with closing(sqlite3.connect(place, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"DELETE FROM {ENDPOINT.name}")
        for group in groups:
            rows = group.placed
            names = list(rows[0])
            marks = ", ".join("?" * len(names))
            insert = f"INSERT INTO {ENDPOINT.name} ({', '.join(names)}) VALUES ({marks})"
            database.execute("BEGIN")
            database.executemany(insert, map(itemgetter(*names), rows))
            database.execute("COMMIT")


def _copy_postgresql(place: str, groups: Sequence[Group]) -> None:
    import psycopg

    with psycopg.connect(place, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {ENDPOINT.name}".encode())
        for group in groups:
            rows = group.placed
            names = list(rows[0])
            types = ["int8" if isinstance(value, int) else "text" for value in rows[0].values()]
            statement = f"COPY {ENDPOINT.name} ({', '.join(names)}) FROM STDIN"
            with cursor.copy(statement.encode()) as copy:
                copy.set_types(types)
                for row in map(itemgetter(*names), rows):
                    copy.write_row(row)


def _insert_mysql(place: str, groups: Sequence[Group]) -> None:
    with closing(_connected_to_mysql(place)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {ENDPOINT.name}")
        for group in groups:
            rows = group.placed
            for row in rows:
                row["_fetched_at"] = row["_fetched_at"][:19]
            names = list(rows[0])
            marks = ", ".join(["%s"] * len(names))
            insert = f"INSERT INTO {ENDPOINT.name} ({', '.join(names)}) VALUES ({marks})"
            cursor.executemany(insert, [*map(itemgetter(*names), rows)])
            connection.commit()


def _connected_to_mysql(place: str) -> Any:
    import pymysql

    url = urlsplit(place)
    return pymysql.connect(
        host=url.hostname, port=url.port or 0, user=url.username, database=url.path[1:] or None
    )


# places


def _memory() -> Path | None:
    """A file system in memory, if there is one with room."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    return _MEMORY if roomy else None


def _directory(_: str, folder: Path) -> str:
    return str(folder)


def _file(_: str, folder: Path) -> str:
    return str(folder / "records.db")


def _new_database(server: str, _: Path) -> str:
    import psycopg

    name = f"d{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server.rpartition('/')[0]}/{name}"


def _new_mysql(server: str, _: Path) -> str:
    name = f"d{next(_numbers)}"
    with closing(_connected_to_mysql(server)) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return f"{server}{name}"


class Kind(NamedTuple):
    """A sink and what stands beside it.

    spec: of the sink, with ``{}`` for the place.  place: makes a new one, of the server's URL and a
    folder.  sql: the cheapest way writes into the table that the sink has made.  lines: the sink
    takes lines.  more: so many times the groups are written.
    """

    spec: str
    cheapest: Callable[[str, Sequence[Group]], None]
    place: Callable[[str, Path], str] = _directory
    server: Callable[[], Any] | None = None
    sql: bool = False
    lines: bool = False
    more: int = 1


KINDS = {
    "jsonl": Kind("jsonl:{}", partial(_write_lines, bytes), lines=True, more=MORE),
    "gzip": Kind("jsonl:{}?compress=gzip", partial(_write_lines, _gzip), lines=True),
    "zstd": Kind("jsonl:{}?compress=zstd", partial(_write_lines, _zstd), lines=True),
    "sqlite": Kind("sqlite:{}", _insert_sqlite, _file, sql=True),
    "postgresql": Kind("{}", _copy_postgresql, _new_database, postgresql, sql=True),
    "mysql": Kind("{}", _insert_mysql, _new_mysql, mysql, sql=True),
}


def _measure(name: str, kind: Kind, groups: Sequence[Group], rounds: int) -> list[Figure]:
    first = Group([groups[0].windows[0]], [groups[0].bodies[0]])
    write = sink_writer(groups, lines=kind.lines)
    make_table = sink_writer([first]) if kind.sql else write

    def sink(server: str) -> Spent:
        with tempfile.TemporaryDirectory(dir=_memory()) as folder:
            spec = kind.spec.format(kind.place(server, Path(folder)))
            return timed(lambda: write(spec))

    def cheapest(server: str) -> Spent:
        with tempfile.TemporaryDirectory(dir=_memory()) as folder:
            place = kind.place(server, Path(folder))
            if kind.sql:
                make_table(kind.spec.format(place))
            return timed(lambda: kind.cheapest(place, groups))

    with ExitStack() as stack:
        server = stack.enter_context(kind.server()) if kind.server else ""
        contenders = {"sink": partial(sink, server), "cheapest": partial(cheapest, server)}
        spent = take_turns(contenders, rounds)
    records = sum(group.lines.count(b"\n") for group in groups)
    ratio = spent["cheapest"].cpu / spent["sink"].cpu
    goal = GOAL_SQL if kind.sql else GOAL
    per_record = 1e6 / records
    return [
        Figure(f"sinks, {name}: CPU of the cheapest way ÷ the sink's", ratio, "", goal),
        Figure(f"sinks, {name}: CPU of the sink a record", spent["sink"].cpu * per_record, "µs"),
        Figure(f"sinks, {name}: records a second", records / spent["sink"].wall),
    ]  # fmt: skip


def measure(*, full: bool = False) -> list[Figure]:
    """Measure all sinks whose driver and server are here."""
    number = 4 * GROUPS if full else GROUPS
    groups = groups_of(number * MORE)
    gc.collect()
    gc.freeze()
    figures: list[Figure] = []
    for name, kind in KINDS.items():
        try:
            figures += _measure(
                name, kind, groups[: number * kind.more], 3 * ROUNDS if full else ROUNDS
            )
        except (ImportError, MissingError) as exc:
            print(f"not measured: {name}: {exc}", flush=True)
    gc.unfreeze()
    return figures
