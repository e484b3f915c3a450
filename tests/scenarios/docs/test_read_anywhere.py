"""The page about other readers: its blocks are run, some of them after each of two exports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

import harvester
from harvester.config import plugins
from harvester.ledger import FILE_NAME
from harvester.wechat.interfaces import INTERFACES
from tests.builders import harvested
from tests.object_store import KEYS, object_store
from tests.own_environment import OwnEnvironment
from tests.postgres_server import PASSWORD, USER, PostgresServer
from tests.support import ROOT, A, B, Script, days, noon, run, scope

PAGE = (ROOT / "docs" / "read-anywhere.md").read_text(encoding="utf-8")
USERS = "getusersummary"
FIRST, AGAIN, LAST = date(2026, 4, 1), date(2026, 5, 1), date(2026, 5, 3)
PROGRAMS = ("DuckDB", "Polars and pandas", "ClickHouse", "dbt")
QUERY_DUCKDB = """
import duckdb
found = duckdb.connect("wechat.duckdb").execute(
    "SELECT ref_date, count(*), sum(new_user) FROM users GROUP BY ref_date"
)
for row in found.fetchall():
    print(*row, sep=",")
"""
QUERY_CLICKHOUSE = """
import sys
from chdb.session import Session
print(Session("clickhouse").query(sys.stdin.read(), "CSV"))
"""


def section(program: str) -> str:
    """What the page has about a program that was tried."""
    [found] = re.findall(rf"^### {program}\n(.*?)^##", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def blocks(program: str, language: str) -> list[str]:
    """The blocks of code about a program."""
    fence = rf"^```{language}\n(.*?)^```$"
    return re.findall(fence, section(program), re.MULTILINE | re.DOTALL)


def installed(program: str, folder: Path) -> OwnEnvironment:
    """An environment with the versions that the page names."""
    environment = OwnEnvironment(folder)
    environment.install(*re.findall(r"`([\w-]+==[\d.]+)`", section(program)))
    return environment


def followers(figure: int) -> Callable[[dict[str, str]], Any]:
    """WeChat's answer: two channels on each day, the second with one follower more."""

    def answer(asked: dict[str, str]) -> Any:
        span = days(*(date.fromisoformat(asked[name]) for name in ("begin_date", "end_date")))
        return {
            "list": [
                {"ref_date": str(day), "user_source": source, "new_user": figure, "cancel_user": 0}
                for day in span
                for source in (0, 30)
            ]
        }

    return answer


class Days(NamedTuple):
    """The rows of each day, and its sum of new followers."""

    rows: dict[str, int]
    new: dict[str, int]


def exports(home: Path) -> Iterator[Days]:
    """What is stored after each of two runs, and exported into `tables`.

    The second run asks for three days again, and has other figures for them.
    """
    sink = plugins.sink(f"jsonl:{home / 'out'}")
    for first, last, figure in ((FIRST, LAST, 1), (AGAIN, LAST + timedelta(days=2), 100)):
        asked = scope(first, last, (A, B), (INTERFACES[USERS],))
        report = run(
            Script(followers(figure)), asked, sink, home / "out" / FILE_NAME,
            now=noon(str(last + timedelta(days=1))), refresh=True,
        )  # fmt: skip
        assert report.state == "complete"
        harvester.export(sink, f"parquet:{home / 'tables'}")
        stored = [*harvester.rows(home / "out", USERS)]
        new: Counter[str] = Counter()
        for row in stored:
            new[str(row["ref_date"])] += row["new_user"]
        yield Days(Counter(str(row["ref_date"]) for row in stored), new)


def by_day(csv: str) -> dict[str, int]:
    """The last column of each line, by the first one."""
    cells = [line.replace('"', "").split(",") for line in csv.split()]
    return {row[0]: int(row[-1]) for row in cells}


def test_each_program_under_tried_has_a_test_here() -> None:
    tried = PAGE.partition("\n## Tried\n")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^### (.*)", tried, re.MULTILINE)) == PROGRAMS


@pytest.mark.thorough
def test_duckdb_merges_what_was_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [sql] = blocks("DuckDB", "sql")
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as database:
        for stored in exports(tmp_path):
            new = database.execute(sql).fetchall()
            rows = database.execute("SELECT ref_date, count(*) FROM users GROUP BY ALL").fetchall()
            found = [{str(day): int(value) for day, value in each} for each in (rows, new)]
            assert Days(*found) == stored


@pytest.mark.thorough
def test_polars_and_pandas_see_each_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [python] = blocks("Polars and pandas", "python")
    monkeypatch.chdir(tmp_path)
    for stored in exports(tmp_path):
        exec(python, {})
        assert capsys.readouterr().out.split() == [str(len(stored.rows))] * 2


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> OwnEnvironment:
    return installed("ClickHouse", tmp_path_factory.mktemp("clickhouse") / "venv")


@pytest.mark.thorough
@pytest.mark.nightly  # it downloads 270 MB, and takes 0.9 GB of the disk
@pytest.mark.timeout(900)
class TestClickHouse:
    """It runs within a Python of the environment, and keeps its tables in a folder."""

    def test_it_merges_what_was_asked_again(
        self, clickhouse: OwnEnvironment, tmp_path: Path
    ) -> None:
        load, _ = blocks("ClickHouse", "sql")
        for stored in exports(tmp_path):
            new = self.query(clickhouse, tmp_path, load)
            rows = self.query(
                clickhouse, tmp_path, "SELECT ref_date, count() FROM users FINAL GROUP BY ref_date"
            )
            assert Days(by_day(rows), by_day(new)) == stored

    def test_it_reads_a_bucket_and_the_tables_and_views_of_a_database(
        self,
        clickhouse: OwnEnvironment,
        tmp_path: Path,
        postgres: PostgresServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from_bucket, from_database = blocks("ClickHouse", "sql")[1].split(";\n", 1)
        database = postgres.new_database()
        url = postgres.url(database)
        harvested(url, ledger=tmp_path / "ledger.sqlite")
        stored = [row["new_user"] for row in harvester.rows(url, USERS)]
        expected = f"{len(stored)},{sum(stored)}"
        for name, value in {
            "HOST:5432": f"127.0.0.1:{postgres.port}", "DATABASE": database, "USER": USER,
            "PASSWORD": PASSWORD,
        }.items():  # fmt: skip
            from_database = from_database.replace(f"'{name}'", f"'{value}'")
        for table in (USERS, "followers_by_source"):
            query = from_database.replace(f"'{USERS}'", f"'{table}'")
            assert self.query(clickhouse, tmp_path, query).split() == [expected], table
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        key, secret = KEYS.values()
        with object_store() as store:
            harvester.export(url, store.spec("BUCKET/PREFIX"))
            from_bucket = (
                from_bucket.replace("https://ENDPOINT", store.behind)
                .replace("'KEY'", f"'{key}'").replace("'SECRET'", f"'{secret}'")
            )  # fmt: skip
            assert self.query(clickhouse, tmp_path, from_bucket).split() == [expected]

    @staticmethod
    def query(clickhouse: OwnEnvironment, folder: Path, sql: str) -> str:
        """The answer to the last one of these statements."""
        return clickhouse.run("python", "-c", QUERY_CLICKHOUSE, cwd=folder, given=sql)


@pytest.mark.thorough
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_dbt_merges_what_was_asked_again(tmp_path: Path) -> None:
    environment = installed("dbt", tmp_path / "venv")
    files = [*blocks("dbt", "yaml"), *blocks("dbt", "jinja")]
    assert len(files) == 4
    for text in files:
        [name] = re.findall(r"\S+\.\w+", text.splitlines()[0])
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for stored in exports(tmp_path):
        environment.run("dbt", "run", cwd=tmp_path, DBT_SEND_ANONYMOUS_USAGE_STATS="false")
        found = environment.run("python", "-c", QUERY_DUCKDB, cwd=tmp_path)
        rows = {day: int(n) for day, n, _ in (line.split(",") for line in found.split())}
        assert Days(rows, by_day(found)) == stored
