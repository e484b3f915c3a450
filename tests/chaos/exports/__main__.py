"""Exports that are killed and read meanwhile: ``python -m tests.chaos.exports --kills 200``.

The sink changes, exports of it are killed at random moments and at durable steps, and the next one
must make the target equal to one that was made anew.  All rows of a month have the same number,
so that readers beside the export see a mixture.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pandas
import polars

from harvester.config import plugins
from harvester.exports.base import Exported
from harvester.model import Batch, Window
from harvester.wechat.interfaces import INTERFACES
from tests.chaos.forks import KILLED, Forks
from tests.exports.support import ARTICLES, STAMP, TARGETS, USERS, do, tables
from tests.exports.test_bucket import in_bucket
from tests.object_store import KEYS, Store, object_store

SINKS = ("sqlite:{}/in.db", "jsonl:{}/in")
CASES = [
    (f"{target}?shape={shape}", SINKS[(number + turn) % 2])
    for number, target in enumerate(TARGETS)
    for turn, shape in enumerate(("nested", "flat"))
]
"""Targets and sinks."""
FIRST = date(2025, 11, 1)
ACCOUNTS = 6
FIGURES = {
    USERS: "new_user",
    ARTICLES: "title",
    f"{ARTICLES}_detail_list": "read_user",
    f"{ARTICLES}_detail_list_read_user_source": "user_count",
}
"""The column that has the number, by table."""

Seen = dict[str, dict[str, tuple[tuple[str, ...], int]]]
"""What a reader finds: by table and month its numbers, which should be one, and its rows."""
Row = tuple[Any, Any]
Read = Callable[[str], Iterator[tuple[str, list[Row]]]]


def _day(endpoint: str, account: int, day: date, number: int | None) -> Batch:
    """A window of a day; empty without a number."""
    records: list[dict[str, Any]] = []
    if number is not None and endpoint == USERS:
        records = [
            {"ref_date": str(day), "user_source": source, "new_user": number, "cancel_user": 1}
            for source in (0, 30)
        ]
    elif number is not None:
        sources = [{"scene_desc": scene, "user_count": number} for scene in ("全部", "朋友圈")]
        days = [
            {"stat_date": str(day), "read_user": number, "read_user_source": sources}
            for _ in range(2)
        ]
        records = [
            {"ref_date": str(day), "msgid": "7_1", "title": str(number), "detail_list": days}
        ]
    window = Window(f"wx{account:016x}", endpoint, day, day)
    return Batch(window, records, STAMP, endpoint=INTERFACES[endpoint], replaces=True)


def _seen(found: Iterator[tuple[str, list[Row]]]) -> Seen:
    seen: Seen = {}
    for name, rows in found:
        numbers: dict[str, set[str]] = {}
        counts: Counter[str] = Counter()
        for day, number in rows:
            month = str(day)[:7]
            numbers.setdefault(month, set()).add(str(number))
            counts[month] += 1
        seen[name] = {month: (tuple(sorted(numbers[month])), counts[month]) for month in counts}
    return seen


def _by_support(spec: str) -> Iterator[tuple[str, list[Row]]]:
    for name, rows in tables(spec).items():
        if figure := FIGURES.get(name):
            yield name, [(row["_begin_date"], row[figure]) for row in rows]


def _files(place: str, pattern: str) -> Iterator[tuple[str, Path]]:
    for name, figure in FIGURES.items():
        for path in sorted(Path(place).glob(pattern.format(name))):
            yield figure, path


def _place(spec: str) -> str:
    return spec.partition(":")[2].partition("?")[0]


def _rows(frame: Any, figure: str) -> list[Row]:
    return list(zip(frame["_begin_date"].to_list(), frame[figure].to_list(), strict=True))


def _parquet(read: Callable[[str, list[str]], Any]) -> Read:
    def rows(spec: str) -> Iterator[tuple[str, list[Row]]]:
        found: dict[str, list[Row]] = {}
        for figure, path in _files(_place(spec), "{}/*.parquet"):
            found.setdefault(path.parent.name, []).extend(
                _rows(read(str(path), ["_begin_date", figure]), figure)
            )
        yield from found.items()

    return rows


def _csv(read: Callable[[str], Any]) -> Read:
    def rows(spec: str) -> Iterator[tuple[str, list[Row]]]:
        for figure, path in _files(_place(spec), "{}.csv"):
            yield path.stem, _rows(read(str(path)), figure)

    return rows


def _tables_of_duckdb(spec: str) -> Iterator[tuple[str, list[Row]]]:
    with duckdb.connect(_place(spec), read_only=True) as database:
        names = [name for (name,) in database.sql("SELECT table_name FROM duckdb_tables()")
                 .fetchall() if name in FIGURES]  # fmt: skip
        for name in names:
            yield name, database.sql(f"SELECT _begin_date, {FIGURES[name]} FROM {name}").fetchall()


def _sheets(spec: str) -> Iterator[tuple[str, list[Row]]]:
    book = pandas.read_excel(_place(spec), sheet_name=None)
    first = next(iter(book.values()))
    # below the list of the tables are notes, and what is missing
    for title, name in zip(first["Sheet"], first["Table"], strict=True):
        if title in book and name in FIGURES:
            yield name, _rows(book[title], FIGURES[name])


def _by_duckdb(sql: str) -> Callable[..., Any]:
    def read(path: str, *_: Any) -> Any:
        with duckdb.connect() as database:
            return database.sql(sql, params=[path]).pl()

    return read


READERS: dict[str, list[Read]] = {
    "parquet": [
        _parquet(lambda path, names: polars.read_parquet(path, columns=names)),
        _parquet(lambda path, names: pandas.read_parquet(path, columns=names)),
        _parquet(_by_duckdb("SELECT * FROM read_parquet(?)")),
    ],
    "csv": [
        _csv(polars.read_csv),
        _csv(pandas.read_csv),
        _csv(_by_duckdb("SELECT * FROM read_csv(?)")),
    ],
    "duckdb": [_tables_of_duckdb],
    "xlsx": [_by_support, _sheets],
}


def mixed(kind: str, seen: Seen, former: Seen, newer: Seen) -> str:
    """Why a reader cannot have seen this between two exports; empty if it can."""
    if kind in ("duckdb", "xlsx"):
        return "" if seen in (former, newer) else f"neither of two exports: {seen}"
    for name, months in seen.items():
        states = [each.get(name, {}) for each in (former, newer)]
        if kind == "parquet":
            wrong = [m for m, it in months.items() if it not in [each.get(m) for each in states]]
        else:
            wrong = [] if months in states else [*months]
        if wrong:
            return f"{name} {wrong} is of neither of two exports: {months}; {states}"
    return ""


class Trial:
    """A sink that changes, and a target."""

    def __init__(self, forks: Forks, case: tuple[str, str], home: Path, random: Random) -> None:
        self._forks, self._home, self._random = forks, home, random
        (home / "anew").mkdir(parents=True)
        self._target = case[0].format(home)
        self._anew = case[0].format(home / "anew")
        self._kind = self._target.partition(":")[0]
        self._sink = case[1].format(home)
        self._told = home / "told.json"
        self._number = 0
        self._months: list[date] = []
        self._steps: list[list[Any]] = []
        self._seconds = 0.2
        self._former: Seen = {}
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def round(self, kills: int) -> None:
        """Change the sink, kill exports of it, let one end, and compare."""
        removed = self._change()
        self._reset(self._anew)
        do(plugins.sink(self._sink), self._anew)
        newer = _seen(_by_support(self._anew))
        reads = not removed and bool(self._former)
        for _ in range(kills):
            self._export(newer, reads=reads, dies=True)
        if self._export(newer, reads=reads) not in (0, 3):
            self.wrong.append(f"{self._target}: an export failed")
        self.done["rounds"] += 1
        self._compare()
        self._former = newer

    def _reset(self, spec: str) -> None:
        path = Path(_place(spec)).parent
        for each in sorted(path.rglob("*"), reverse=True):
            each.rmdir() if each.is_dir() else each.unlink()

    def _change(self) -> bool:
        """Write other figures in some months, or new ones; whether a month was removed."""
        self._number += 1
        if len(self._months) < 3 or self._random.random() < 0.3:
            self._months.append(FIRST + timedelta(days=31 * len(self._months)))
        chosen = [self._months[-1], *self._random.sample(self._months, 1)]
        removed = len(self._months) > 3 and self._random.random() < 0.25
        batches: dict[tuple[str, int, date], Batch] = {}
        for turn, first in enumerate(chosen):
            for number in range(10):
                day = first.replace(day=1) + timedelta(days=number)
                gone = number == self._number % 10 or (removed and turn == 1)
                for account in range(ACCOUNTS):
                    for endpoint in (USERS, ARTICLES):
                        batches[endpoint, account, day] = _day(
                            endpoint, account, day, None if gone else self._number
                        )
        asyncio.run(self._write([*batches.values()]))
        return removed

    async def _write(self, batches: list[Batch]) -> None:
        sink = plugins.sink(self._sink)
        await sink.open(None)
        await sink.write(batches, {batch.window.appid: 1 for batch in batches})
        await sink.close()

    def _export(self, newer: Seen, *, reads: bool, dies: bool = False) -> int | None:
        """Export in a process, and read meanwhile; gives how it ended."""
        at_step = dies and bool(self._steps) and self._random.random() < 0.5
        kill = self._random.choice(self._steps) if at_step else None
        self._told.unlink(missing_ok=True)
        job = {"sink": self._sink, "target": self._target, "told": str(self._told), "kill": kill}
        began = time.monotonic()
        pid = self._forks.start(job)
        timer = threading.Timer(self._random.uniform(0, self._seconds), _kill, [pid])
        if dies and not at_step:
            timer.start()
        status = self._forks.status(pid)
        while status is None:
            if reads:
                self._read(newer)
            else:
                time.sleep(0.002)
            status = self._forks.status(pid)
        timer.cancel()
        if status == KILLED:
            self.done["at steps" if at_step else "at moments"] += 1
            self.done["kills"] += 1
        elif status == 0:
            self._seconds = time.monotonic() - began if not reads else self._seconds
            self._steps = [
                [step, number, late]
                for step, times in json.loads(self._told.read_text()).items()
                for number in range(1, times + 1)
                for late in (False, True)
            ]
        elif status != 3:
            self.wrong.append(f"{self._target}: an export ended with {status}, {kill}")
        if reads:
            self._read(newer)
        return status

    def _read(self, newer: Seen) -> None:
        read = self._random.choice(READERS[self._kind])
        self.done["reads"] += 1
        try:
            why = mixed(self._kind, _seen(read(self._target)), self._former, newer)
        except Exception as exc:  # noqa: BLE001  (readers raise anything)
            why = f"a reader failed: {type(exc).__name__}: {exc}"
        if why:
            self.wrong.append(f"{self._target} round {self._number}: {why}"[:1000])

    def _compare(self) -> None:
        found, wanted = tables(self._target), tables(self._anew)
        self.done["rows"] += sum(map(len, found.values()))
        wanted = {name: rows for name, rows in wanted.items() if rows}
        if {name: rows for name, rows in found.items() if rows} != wanted:
            self.wrong.append(f"{self._target} round {self._number}: is not as one made anew")
        if _about(self._target, wanted) != _about(self._anew, wanted):
            self.wrong.append(
                f"{self._target} round {self._number}: columns are described otherwise"
            )
        again = do(plugins.sink(self._sink), self._target)
        if again != Exported(kept=again.kept):
            self.wrong.append(f"{self._target}: a second export wrote {again}")
        place = Path(_place(self._target))
        drafts = [*place.rglob(".*.new"), *place.rglob(".*.part"), *place.parent.glob(".*.new*")]
        if drafts:
            self.wrong.append(f"{self._target}: drafts are left: {drafts}")


class BucketTrial(Trial):
    """The same for a bucket; nobody reads it meanwhile."""

    def __init__(
        self, forks: Forks, case: tuple[str, str], home: Path, random: Random, store: Store
    ) -> None:
        super().__init__(forks, case, home, random)
        self._store = store
        self._target = f"{store.spec(f'trial{home.name}/tables')}&shape=nested"

    def _export(self, newer: Seen, *, reads: bool, dies: bool = False) -> int | None:
        return super()._export(newer, reads=False, dies=dies)

    def _compare(self) -> None:
        found = in_bucket(self._store, self._target.partition("?")[0])
        wanted = {name: rows for name, rows in tables(self._anew).items() if rows}
        self.done["rows"] += sum(map(len, found.values()))
        if {name: rows for name, rows in found.items() if rows} != wanted:
            self.wrong.append(f"{self._target} round {self._number}: is not as one made anew")
        again = do(plugins.sink(self._sink), self._target)
        if again != Exported(kept=again.kept):
            self.wrong.append(f"{self._target}: a second export wrote {again}")


def _about(spec: str, names: Collection[str]) -> dict[str, bytes]:
    """What the files beside these tables say of their columns; empty but of CSV."""
    paths = {name: Path(_place(spec), f"{name}.columns.csv") for name in names}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def trial(
    kills: int, seed: int, cases: list[tuple[str, str]], store: Store | None = None
) -> tuple[Counter[str], list[str]]:
    """Kill exports so often, equally often for each case; store: of buckets, in place of files."""
    done: Counter[str] = Counter()
    wrong: list[str] = []
    share = -(-kills // len(cases))
    with Forks("tests.chaos.exports.worker") as forks, tempfile.TemporaryDirectory() as place:
        for number, case in enumerate(cases):
            how = forks, case, Path(place) / str(number), Random(f"{seed} {case}")
            made = Trial(*how) if store is None else BucketTrial(*how, store)
            made.round(0)
            while made.done["kills"] < share and not made.wrong:
                made.round(min(3, share - made.done["kills"]))
            done += made.done
            wrong += made.wrong
    return done, wrong


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.exports", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="targets with this word")
    parser.add_argument("--bucket", action="store_true", help="only to buckets of an object store")
    given = parser.parse_args()
    began = time.monotonic()
    cases = [case for case in CASES if given.only in case[0]]
    if given.bucket:
        os.environ.update(KEYS)
        cases = [("parquet:{}/pq?shape=nested", sink) for sink in SINKS]
        with object_store() as store:
            done, wrong = trial(given.kills, given.seed, cases, store)
    else:
        done, wrong = trial(given.kills, given.seed, cases)
    for problem in wrong[:20]:
        print(f"WRONG: {problem}")
    print(
        f"{done['kills']:,} kills ({done['at moments']:,} at random moments,"
        f" {done['at steps']:,} at durable steps) of exports to {len(cases)} targets"
        f" in {done['rounds']:,} rounds:"
        f" {done['rows']:,} rows compared, {done['reads']:,} reads beside exports,"
        f" {len(wrong)} wrong ({time.monotonic() - began:.0f} s)"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
