"""What the sinks in databases cost, next to the cheapest correct way with the same driver.

Each sink writes the same batches, as the engine hands them over when it is busy (groups of 512
windows), each group in one transaction with its progress.  Beside it stands the cheapest program
that brings the same lines into the same table (typed, and indexed where the sink's is), one
transaction a group, as durable, without progress and without looking whether a window stands there:
``executemany`` for SQLite, an insert from Arrow columns for DuckDB, COPY for PostgreSQL, which is
told the types, as the sink's is; beside it stands a COPY as one writes it, which is not.  What that
program would take if it had the records parsed already is told beside it.

The ratio is of processor time of this process (that of PostgreSQL's own shows in the clock); each
way is measured in turn, and the best of its rounds counts.  Memory is the peak of a fresh process
that writes few records, or many: with ``HARVESTER_MILLION=1`` a million, which takes minutes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import date, datetime
from functools import partial
from itertools import count
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import Figure, show
from benchmarks.files import ENDPOINT, Group, groups
from benchmarks.memory import peak
from benchmarks.servers import Missing, postgresql
from harvester import plugins
from harvester.codec import parse_lines
from harvester.sinks import duckdb as of_duckdb
from harvester.sinks import postgresql as of_postgresql
from harvester.sinks import sqlite as of_sqlite
from harvester.sinks.layout import Dialect, Layout

RECORDS = 60_000
FEW = 10_000
MANY = 1_000_000 if os.environ.get("HARVESTER_MILLION") else 100_000
ROUNDS = 3
GOAL, GATE = 0.7, 0.4
GROWTH_GOAL, GROWTH_GATE = 40.0, 80.0

Documents = list[dict[str, Any]]
Bare = Callable[[str, Iterator[Documents]], None]
_numbers = count(1)
_PEAK = "--peak"
"""Asks a new process for its peak of memory, with a sink and so many records."""


def _layout(dialect: Dialect) -> Layout:
    return Layout(ENDPOINT.name, ENDPOINT.fields, dialect)


COLUMNS = [field.name for field in _layout(of_sqlite.DIALECT).columns[:-1]]
"""Without ``_extra``: no record here has one."""
DAYS = ("ref_date", "_begin_date", "_end_date")


def _parsed(group: Group) -> Documents:
    return parse_lines(b"".join([batch.body for batch in group]))


# the cheapest correct ways: each takes the groups' records


def _bare_sqlite(place: str, given: Iterator[Documents]) -> None:
    marks = ", ".join("?" * len(COLUMNS))
    insert = f"INSERT INTO {ENDPOINT.name} ({', '.join(COLUMNS)}) VALUES ({marks})"
    pick = itemgetter(*COLUMNS)
    with closing(sqlite3.connect(place, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        for statement in _layout(of_sqlite.DIALECT).create():
            database.execute(statement)
        for documents in given:
            database.execute("BEGIN")
            database.executemany(insert, map(pick, documents))
            database.execute("COMMIT")


def _bare_duckdb(place: str, given: Iterator[Documents]) -> None:
    import duckdb
    import pyarrow as pa

    from harvester.sinks import arrow

    schema = arrow.schema_of(arrow.table_of(ENDPOINT.name, ENDPOINT.fields))
    kinds = [schema.field(name).type for name in COLUMNS]
    pick = itemgetter(*COLUMNS)
    with duckdb.connect(place) as database:
        for statement in _layout(of_duckdb.DIALECT).create():
            database.execute(statement)
        for documents in given:
            columns = dict(zip(COLUMNS, zip(*map(pick, documents), strict=True), strict=True))
            for name in DAYS:
                columns[name] = tuple(map(date.fromisoformat, columns[name]))
            columns["_fetched_at"] = tuple(map(datetime.fromisoformat, columns["_fetched_at"]))
            arrays = [pa.array(columns[n], kind) for n, kind in zip(COLUMNS, kinds, strict=True)]
            database.register("_rows", pa.table(arrays, COLUMNS))
            names = ", ".join(COLUMNS)
            database.execute(f"INSERT INTO {ENDPOINT.name} ({names}) SELECT * FROM _rows")
            database.unregister("_rows")


def _bare_postgresql(url: str, given: Iterator[Documents], *, told_types: bool = True) -> None:
    import psycopg

    pick = itemgetter(*COLUMNS)
    numbers = {field.name for field in ENDPOINT.fields if field.type == "int"}
    kinds = ["int8" if name in numbers else "text" for name in COLUMNS]
    copy_in = f"COPY {ENDPOINT.name} ({', '.join(COLUMNS)}) FROM STDIN"
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in _layout(of_postgresql.DIALECT).create():
            cursor.execute(statement.encode())
        for documents in given:
            with cursor.copy(copy_in.encode()) as copy:
                if told_types:
                    copy.set_types(kinds)
                for row in map(pick, documents):
                    copy.write_row(row)


# the sinks, as the committer uses them


async def _through_the_sink(spec: str, given: Iterator[Group]) -> None:
    sink: Any = plugins.sink(spec)
    sink.describe([ENDPOINT])
    await sink.open({})
    for group in given:
        await sink.write(group)
        await sink.settle()
    await sink.close()


# measuring


class Kind(NamedTuple):
    """A database: what is beside it, where a new one is, and how large it has become.

    others: further ways that it is set beside, by what is said of them.
    """

    bare: Bare
    place: Callable[[Path], str]
    size: Callable[[Path, str], int]
    server: Callable[[], Any] = nullcontext
    others: Mapping[str, Bare] = {}


def _in_file(folder: Path) -> str:
    return str(folder / "records.db")


def _file_size(folder: Path, _: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _server() -> Iterator[None]:
    with postgresql() as url:
        os.environ["BENCHMARK_POSTGRESQL"] = url
        try:
            yield
        finally:
            del os.environ["BENCHMARK_POSTGRESQL"]


def _new_database(_: Path) -> str:
    import psycopg

    url, name = os.environ["BENCHMARK_POSTGRESQL"], f"d{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{url.rpartition('/')[0]}/{name}"


def _database_size(_: Path, url: str) -> int:
    import psycopg

    total = f"SELECT pg_total_relation_size('{ENDPOINT.name}')"
    with psycopg.connect(url) as connection:
        row = connection.execute(total.encode()).fetchone()
    return int(row[0]) if row else 0


KINDS = {
    "sqlite": Kind(_bare_sqlite, _in_file, _file_size),
    "duckdb": Kind(_bare_duckdb, _in_file, _file_size),
    "postgresql": Kind(
        _bare_postgresql,
        _new_database,
        _database_size,
        _server,
        {"of a COPY that is not told its types": partial(_bare_postgresql, told_types=False)},
    ),
}


def _spec(kind: str, place: str) -> str:
    return place if kind == "postgresql" else f"{kind}:{place}"


def _spent(kind: str, work: Callable[[str], object]) -> tuple[float, float, int]:
    """Processor time, wall time, and bytes on the disk."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        place = KINDS[kind].place(folder)
        cpu, wall = time.process_time(), time.perf_counter()
        work(place)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return cpu, wall, KINDS[kind].size(folder, place)


def _from_lines(way: Bare, given: Sequence[Group], place: str) -> None:
    way(place, map(_parsed, given))


def _measure(kind: str, given: Sequence[Group], documents: Sequence[Documents]) -> list[Figure]:
    bare = KINDS[kind].bare

    def sink(place: str) -> None:
        asyncio.run(_through_the_sink(_spec(kind, place), iter(given)))

    ways: dict[str, Callable[[str], object]] = {
        "sink": sink,
        "bare": partial(_from_lines, bare, given),
        "parsed": lambda place: bare(place, iter(documents)),
    }
    for said, other in KINDS[kind].others.items():
        ways[said] = partial(_from_lines, other, given)
    taken = {name: [_spent(kind, way) for _ in range(ROUNDS)] for name, way in ways.items()}
    best = {name: [min(each) for each in zip(*rounds, strict=True)]
            for name, rounds in taken.items()}  # fmt: skip
    records = sum(map(len, documents))
    (cpu, wall, size), (bare_cpu, bare_wall, bare_size) = best["sink"], best["bare"]
    parsed_cpu = best["parsed"][0]
    return [
        *[Figure(f"{kind}: {said}", best[said][0] / cpu, "", GOAL, GATE)
          for said in KINDS[kind].others],
        Figure(f"{kind}: of the speed of the cheapest way", bare_cpu / cpu, "", GOAL, GATE),
        Figure(f"{kind}: the same, if that has its records parsed", parsed_cpu / cpu),
        Figure(f"{kind}: the same by the clock, from lines", bare_wall / wall),
        Figure(f"{kind}: records a second", records / wall, "/s"),
        Figure(f"{kind}: processor time a record", 1e6 * cpu / records, "µs"),
        Figure(f"{kind}: processor time a record, the cheapest way",
               1e6 * bare_cpu / records, "µs"),
        Figure(f"{kind}: bytes a record on the disk", size / records, "B"),
        Figure(f"{kind}: bytes a record, the cheapest way", bare_size / records, "B"),
    ]  # fmt: skip


def _peak_of(kind: str, records: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        place = KINDS[kind].place(Path(folder))
        command = [sys.executable, "-m", "benchmarks.databases", _PEAK, _spec(kind, place)]
        command.append(str(records))
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _memory(kind: str) -> Figure:
    few, many = _peak_of(kind, FEW), _peak_of(kind, MANY)
    return Figure(
        f"{kind}: growth of the peak, {FEW:,} to {MANY:,} records",
        many - few,
        "MB",
        goal=GROWTH_GOAL,
        gate=GROWTH_GATE,
        more_is_better=False,
    )


def _figures_of(kind: str, given: Sequence[Group], documents: Sequence[Documents]) -> list[Figure]:
    with KINDS[kind].server():
        return [*_measure(kind, given, documents), _memory(kind)]


def measure(kinds: Sequence[str] = tuple(KINDS)) -> list[Figure]:
    """The figures."""
    given = list(groups(RECORDS))
    documents = [_parsed(group) for group in given]
    gc.collect()
    gc.freeze()  # a sink does not live beside half a million objects of ours
    found: list[Figure] = []
    for kind in kinds:
        try:
            found += _figures_of(kind, given, documents)
        except (Missing, ImportError) as exc:
            print(f"not measured: {kind}: {exc}")
    return found


def main() -> None:
    """Print the figures, or, asked with arguments, be the process that is measured."""
    asked = sys.argv[1:]
    if asked[:1] == [_PEAK]:
        spec, records = asked[1:]
        asyncio.run(_through_the_sink(spec, groups(int(records))))
        print(peak())
    else:
        if unknown := set(asked).difference(KINDS):
            sys.exit(f"there is no database {min(unknown)!r}; these are: {', '.join(KINDS)}")
        show(measure(asked or tuple(KINDS)))


if __name__ == "__main__":
    main()
