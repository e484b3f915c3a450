"""DuckDB: what is particular to it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.datacube import INTERFACES
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.model import Tally
from harvester.sinks.duckdb import DuckDB
from tests.sinks.support import Ledgerish, batch, virtual

FIELDS = (
    Field("n", "int"), Field("Title", "str"), Field("share", "float"), Field("day", "date"),
    Field("open", "bool"), Field("detail", "object"), Field("parts", "list"),
)  # fmt: skip
KNOWN = replace(INTERFACES["getarticlesummary"], name="checked", fields=FIELDS)


def ledger(tmp_path: Path, *fields: Field) -> Ledgerish:
    known = replace(KNOWN, fields=fields or FIELDS)
    return Ledgerish(lambda: DuckDB(tmp_path / "x.duckdb"), (known,))


def ask(tmp_path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        return database.execute(sql).fetchall()


def part(first: int, *numbers: int, **how: Any) -> Any:
    return batch(first, *[{"n": n, "Title": f"t{n}"} for n in numbers], endpoint="checked", **how)


@virtual
async def test_columns_have_the_types_of_the_catalogue_and_hold_every_value(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    whole = {"n": -(2**63), "Title": "nul \0 😀", "share": 0.1, "day": "20240131", "open": False,
             "detail": {"z": 1, "a": "x\0"}, "parts": [3, 1], "new": "\0"}  # fmt: skip
    await kept.commit(sink, batch(1, whole, {"share": -0.0}, {}, endpoint="checked"))
    await sink.close()
    types = ask(
        tmp_path, "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_name = 'checked'",
    )  # fmt: skip
    assert dict(types) == {
        "n": "BIGINT", "Title": "VARCHAR", "share": "DOUBLE", "day": "DATE", "open": "BOOLEAN",
        "detail": "JSON", "parts": "JSON", "_appid": "VARCHAR", "_endpoint": "VARCHAR",
        "_begin_date": "DATE", "_end_date": "DATE", "_fetched_at": "TIMESTAMP WITH TIME ZONE",
        "_extra": "JSON",
    }  # fmt: skip
    (row, zero, nothing) = ask(
        tmp_path, "SELECT n, Title, share, day::VARCHAR, open, detail, parts, _extra"
        " FROM checked ORDER BY n NULLS LAST, _extra NULLS LAST",
    )  # fmt: skip
    assert row[:5] == (-(2**63), "nul \0 😀", 0.1, "2024-01-31", False)
    assert [json.loads(one) for one in row[5:]] == [{"z": 1, "a": "x\0"}, [3, 1], {"new": "\0"}]
    assert (zero[2], zero[7]) == (None, '{"share":-0.0}')  # its sign is kept by any DuckDB
    assert nothing == (None,) * 8
    assert [one.intact for one in kept.stored().values()] == [True]


@virtual
async def test_a_crash_between_the_database_and_the_ledger_is_told_as_the_ledger_knew_it(
    tmp_path: Path,
) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    first = part(1, 1)
    await kept.commit(sink, first, part(2, 2))
    await sink.write([part(1, 11, 12, replaces=True), part(3, 3)])  # and the process dies
    await sink.close()
    told = {one: stored.records for (_, one), stored in kept.stored().items()}
    assert told == {"2024-01-01": 1, "2024-01-02": 1}  # the first has two by now
    sink = await kept.open()
    replaced = await kept.commit(sink, part(1, 13, replaces=True), part(3, 3))
    await sink.close()
    assert replaced == {first.window: Tally(1, first.checksum)}
    assert ask(tmp_path, "SELECT n FROM checked ORDER BY n") == [(2,), (3,), (13,)]
    assert all(one.intact for one in kept.stored().values())


@virtual
async def test_verify_sees_what_was_changed_and_old_rows_stay_intact_as_the_catalogue_grows(
    tmp_path: Path,
) -> None:
    kept = ledger(tmp_path, *FIELDS[:1])
    sink = await kept.open()
    await kept.commit(sink, part(1, 1), part(2, 2), part(3, 3, 4))
    await sink.close()
    kept.endpoints = (KNOWN,)
    sink = await kept.open()
    await kept.commit(sink, part(4, 5))
    await sink.close()
    assert [one.intact for one in kept.stored().values()] == [True] * 4
    ask(tmp_path, "UPDATE checked SET n = 22 WHERE n = 2")
    ask(tmp_path, "DELETE FROM checked WHERE n = 3")
    found = {key[1]: (one.records, one.intact) for key, one in kept.stored().items()}
    assert found == {
        "2024-01-01": (1, True),
        "2024-01-02": (1, False),
        "2024-01-03": (1, False),
        "2024-01-04": (1, True),
    }


@virtual
async def test_what_cannot_be_a_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("a,b\n" * 5000)
    with pytest.raises(UsageError, match=r"could not be opened: it is a file of another kind$"):
        await ledger(tmp_path).open()
    with pytest.raises(UsageError, match="is a directory; name a file"):
        await Ledgerish(lambda: DuckDB(tmp_path)).open()
    with pytest.raises(UsageError, match=r"could not be opened: it cannot be written$"):
        await Ledgerish(lambda: DuckDB("/proc/x.duckdb")).open()
    with pytest.raises(UsageError, match=r"the directory .* cannot be made \(File exists\)"):
        await Ledgerish(lambda: DuckDB(tmp_path / "x.duckdb" / "y")).open()


@virtual
async def test_a_table_with_other_columns_is_refused_and_they_are_named(tmp_path: Path) -> None:
    ask(tmp_path, "CREATE TABLE Checked (N INTEGER)")
    with pytest.raises(UsageError, match=r"\(n is INTEGER, not BIGINT, _appid is missing, "):
        await ledger(tmp_path).open()


@virtual
async def test_a_file_that_another_program_has_open_is_refused(tmp_path: Path) -> None:
    program = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: ASYNC220  (the loop is ours alone)
        [sys.executable, "-c", program, tmp_path / "x.duckdb"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UsageError, match="it is in use by another program; let that end"):
            await ledger(tmp_path).open()
        other.communicate()
    sink = await ledger(tmp_path).open()
    with pytest.raises(UsageError, match="is in use by another harvester; let it end"):
        await ledger(tmp_path).open()
    await sink.close()
    await (await ledger(tmp_path).open()).close()


@virtual
async def test_a_file_that_was_deleted_or_emptied_is_not_called_harvested(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    await kept.commit(sink, part(1, 1))
    await sink.close()
    ask(tmp_path, "DELETE FROM checked")
    with pytest.raises(SinkError, match=r"the table checked of .* is gone or empty"):
        await kept.open()
    (tmp_path / "x.duckdb").unlink()
    with pytest.raises(SinkError, match=r"x\.duckdb is gone, though the ledger speaks of it"):
        await kept.open()
    ask(tmp_path, "SELECT 1")
    with pytest.raises(SinkError, match="holds nothing of what the ledger says was stored"):
        await kept.open()


def test_a_missing_library_is_said_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(UsageError, match=r"pip install 'wechat-harvester\[duckdb\]'$"):
        DuckDB.from_spec("x.duckdb")


@pytest.mark.parametrize("rest", ["", "?", "x?threads=1"])
def test_a_spec_that_is_none_is_refused(rest: str) -> None:
    with pytest.raises(UsageError, match="duckdb"):
        DuckDB.from_spec(rest)


@virtual
async def test_rows_stand_there_the_same_with_and_without_arrow(tmp_path: Path) -> None:
    many = [{"n": n, "Title": f"\0 {n} '\"", "share": n / 7, "day": "2024-01-31", "open": n < 9,
             "detail": {"z": n}, "parts": [n], "new": n} for n in range(200)]  # fmt: skip
    many += [{"n": 2**63, "share": "x"}, {}]
    found = []
    for name in ("with", "without"):
        place = tmp_path / f"{name}.duckdb"
        sink = DuckDB(place)
        sink.describe([KNOWN])
        if name == "without":
            sink._driver._arrow = None  # type: ignore[attr-defined]
        await sink.open({})
        await sink.write([batch(1, *many, endpoint="checked")])
        await sink.close()
        with duckdb.connect(str(place)) as database:
            database.execute("SET TimeZone = 'UTC'")
            rows = database.execute("SELECT COLUMNS(*)::VARCHAR FROM checked ORDER BY ALL")
            found.append(rows.fetchall())
    assert len(found[0]) == 202
    assert found[0] == found[1]


@virtual
async def test_a_file_of_sqlite_is_refused_and_nothing_is_fetched_to_open_it(
    tmp_path: Path,
) -> None:
    with closing(sqlite3.connect(tmp_path / "x.duckdb")) as database:
        database.execute("CREATE TABLE other (a)")
    with pytest.raises(UsageError, match=r"x.duckdb could not be opened: it is a file of another"):
        await ledger(tmp_path).open()


def test_nothing_is_drawn_on_the_screen_where_somebody_types(tmp_path: Path) -> None:
    """DuckDB draws a bar in a notebook, which it knows by a main module without a file."""
    program = (
        "import sys; from harvester import plugins\n"
        "driver = plugins.sink('duckdb:' + sys.argv[1])._driver\n"
        "driver.connect(create=True)\n"
        "ask = \"SELECT current_setting('enable_progress_bar')\"\n"
        "with driver.reading() as reader:\n"
        "    print(driver.query(ask), list(driver.scan(ask)), list(reader.scan(ask)))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.duckdb")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "[(False,)] [(False,)] [(False,)]"


@virtual
async def test_duckdb_keeps_little_of_the_file_while_it_is_harvested_into(tmp_path: Path) -> None:
    limit = "SELECT current_setting('memory_limit')"
    sink = await ledger(tmp_path).open()
    with duckdb.connect(str(tmp_path / "x.duckdb")) as users:
        assert users.execute(limit).fetchone() == ("244.1 MiB",)
        await sink.close()
        assert users.execute(limit).fetchone() != ("244.1 MiB",)


@virtual
async def test_a_limit_that_is_low_already_is_left_as_it_is(tmp_path: Path) -> None:
    limit = "SELECT current_setting('memory_limit')"
    await (await ledger(tmp_path).open()).close()
    with duckdb.connect(str(tmp_path / "x.duckdb")) as users:
        users.execute("SET memory_limit = '100MB'")
        sink = await ledger(tmp_path).open()
        assert users.execute(limit).fetchone() == ("95.3 MiB",)
        await sink.close()
        assert users.execute(limit).fetchone() == ("95.3 MiB",)
