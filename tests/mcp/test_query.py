"""One SELECT over a file, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.config.place import Place
from harvester.mcp import flat_copy as copying
from harvester.mcp.flat_copy import Copy, QueryError
from harvester.mcp.query import answer_to


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("copy") / "copy.duckdb"
    with duckdb.connect(str(made)) as database:
        database.execute(
            "CREATE TABLE days AS SELECT i AS day, 'text' AS name FROM range(5000) r(i)"
        )
    return made


def answer(file: Path, sql: str, **bounds: int) -> dict[str, Any]:
    given = {"rows": 10, "bytes": 10_000, "memory": 100_000_000, **bounds}
    return answer_to({"file": str(file), "sql": sql, "parameters": [], **given})


ONE = "only one SELECT is run"
DISABLED = "disabled by configuration"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT getenv('HOME')", "getenv does not"),
        ("SELECT * FROM read_text('/etc/passwd')", DISABLED),
        ("SELECT * FROM read_csv('/etc/passwd')", DISABLED),
        ("SELECT * FROM read_blob('/proc/self/environ')", DISABLED),
        ("SELECT * FROM read_json('http://127.0.0.1:1/')", DISABLED),
        ("SELECT * FROM parquet_metadata('/etc/passwd')", DISABLED),
        ("SELECT * FROM sniff_csv('/etc/passwd')", DISABLED),
        ("SELECT * FROM glob('/etc/*')", DISABLED),
        ("FROM '/etc/passwd'", "does not exist"),
        ("FROM given", "does not exist"),  # a variable of the program
        ("ATTACH '/tmp/other.duckdb'", ONE),
        ("COPY days TO '/tmp/days.csv'", ONE),
        ("EXPORT DATABASE '/tmp/all'", ONE),
        ("INSTALL httpfs", ONE),
        ("LOAD httpfs", ONE),
        ("SET enable_external_access = true", ONE),
        ("RESET threads", ONE),
        ("PRAGMA threads = 4", ONE),
        ("CALL enable_logging()", ONE),
        ("CREATE TEMP TABLE more AS SELECT 1", ONE),
        ("DELETE FROM days", ONE),
        ("EXPLAIN ANALYZE SELECT 1", ONE),
        ("PIVOT days ON name USING count(*)", "PIVOT with the values|2 statements"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT 1; ATTACH '/tmp/other.duckdb'", "2 statements"),
        ("", "no statement"),
        ("-- nothing", "no statement"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nothing", "nothing does not exist"),
        ("SELECT '\ud800'", "surrogates not allowed"),
        ("SELECT " + "(" * 99_000 + "1" + ")" * 99_000, ""),
        ("SELECT repeat('x', 20000)", "first row is too long"),
        (f'SELECT 1 AS "{"x" * 20_000}"', "names of its columns are too long"),
        (f"SELECT {', '.join(f'{n} AS column_{n}' for n in range(1000))}", "names of its columns"),
    ],
)
def test_all_but_a_select_over_the_file_is_refused(file: Path, sql: str, why: str) -> None:
    found = answer(file, sql)
    assert "rows" not in found
    assert re.search(why, found["error"])
    assert "\n" not in found["error"]


def test_the_settings_are_locked_and_there_is_no_secret(file: Path) -> None:
    settings = dict(
        answer(file, "SELECT name, value FROM duckdb_settings()", rows=1000, bytes=10**6)["rows"]
    )
    assert settings["lock_configuration"] == "true"
    assert settings["enable_external_access"] == "false"
    assert not any(settings[name] for name in settings if "password" in name)
    assert not answer(file, "SELECT * FROM duckdb_secrets()").get("rows")


@pytest.mark.parametrize(
    ("sql", "rows", "more"),
    [
        ("SELECT day FROM days ORDER BY day DESC LIMIT 2", [[4999], [4998]], False),
        ("SELECT count(*), max(name) FROM days", [[5000, "text"]], False),
        ("SELECT 1 AS a, 2 AS a -- the end", [[1, 2]], False),
        ("WITH x AS (VALUES (1)) FROM x;", [[1]], False),
        ("SELECT day FROM days WHERE day < 0", [], False),
        ("DESCRIBE days", [["day", "BIGINT", "YES", None, None, None],
                           ["name", "VARCHAR", "YES", None, None, None]], False),
        ("SELECT day FROM days ORDER BY 1", [[n] for n in range(10)], True),
        ("SELECT repeat('x', 4000) FROM days", [["x" * 4000]] * 2, True),
        ("SELECT 'nan'::DOUBLE, 1e400::DOUBLE, 1.10::DECIMAL(5, 2), 2::HUGEINT ** 80",
         [["nan", "inf", 1.1, 2.0**80]], False),
        ("SELECT [DATE '2024-01-31'], {'a': TIME '10:00'}, MAP {'x': 1}, 'ab'::BLOB, NULL, true",
         [[["2024-01-31"], {"a": "10:00:00"}, {"x": 1}, "6162", None, True]], False),
        ("SELECT TIMESTAMPTZ '2024-01-31 08:00:00+08'", [["2024-01-31T00:00:00+00:00"]], False),
    ],
)  # fmt: skip
def test_rows_come_as_json_within_the_bounds(
    file: Path, sql: str, rows: list[Any], more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    found = json.loads(json.dumps(answer(file, sql)))
    assert found["rows"] == rows
    assert found["more"] is more


def in_a_process(file: Path, sql: str) -> dict[str, Any]:
    copy = Copy(file.parent, Place(file.parent))
    return asyncio.run(copy.query(sql))


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 4000000000)",
        "SELECT repeat('x', 1000000000)",
        "SELECT list(a.day + b.day) FROM days a, days b, days c",
        "SELECT list(i) FROM range(1000000000) r(i)",
        "SELECT string_agg(repeat('x', 100000), '') FROM range(1000000)",
        "SELECT repeat('x', 100000000) || i FROM range(1000) r(i)",
    ],
)
def test_a_query_that_needs_too_much_memory_is_refused(file: Path, sql: str) -> None:
    with pytest.raises(QueryError, match="more than 512 MiB of memory"):
        in_a_process(file, sql)


ENDLESS = "WITH RECURSIVE a AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM a) SELECT count(*) FROM a"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "sql",
    [
        ENDLESS,
        pytest.param("SELECT count(*) FROM range(1000000000000)", marks=pytest.mark.thorough),
        pytest.param(
            "SELECT sum(a.day * b.day + c.day) FROM days a, days b, days c",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_a_query_without_end_is_ended_by_its_bounds(
    file: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "SECONDS", 0.8)
    with pytest.raises(QueryError, match=r"more than (0.8 s|512 MiB)"):  # DuckDB 1.4 keeps more
        in_a_process(file, sql)
    assert not _queries(file)


@pytest.mark.thorough
def test_a_query_has_a_process_without_our_environment_which_ends_with_the_call(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WX_SECRET", "practice")

    async def main() -> str:
        copy = Copy(file.parent, Place(file.parent))
        task = asyncio.create_task(copy.query(ENDLESS))
        while not (queries := _queries(file)):
            await asyncio.sleep(0.02)
        found = (Path("/proc") / queries[0] / "environ").read_text()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return found

    given = asyncio.run(main()).split("\0")
    assert [each.partition("=")[0] for each in given] == ["PYTHONPATH", "PYTHONUTF8", "TZ", ""]
    assert not _queries(file)


def _queries(file: Path) -> list[str]:
    """The processes that have the file open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = [os.readlink(each) for each in (process / "fd").iterdir()]
        except OSError:
            continue
        if str(file) in opened:
            found.append(process.name)
    return found
