"""SQLite: what is particular to it, and what verify, growth and bad input are in a database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.datacube import INTERFACES
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.model import Tally
from harvester.sinks.sqlite import SQLite
from tests.sinks.support import Ledgerish, batch, day, virtual
from tests.support import connections

ARTICLE = {"ref_date": "2024-01-01", "msgid": "1_1", "title": "题", "int_page_read_user": 5}


def article(number: int, **more: Any) -> dict[str, Any]:
    return {**ARTICLE, "msgid": f"{number}_1", "int_page_read_user": number, **more}


def ledger(tmp_path: Path, *fields: Field) -> Ledgerish:
    known = replace(
        INTERFACES["getarticlesummary"], fields=fields or INTERFACES["getarticlesummary"].fields
    )
    return Ledgerish(lambda: SQLite(tmp_path / "x.db"), (known,))


def rows(tmp_path: Path, what: str = "int_page_read_user") -> list[Any]:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        found = database.execute(f"SELECT {what} FROM getarticlesummary ORDER BY 1").fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


@virtual
async def test_a_record_stands_in_typed_columns_named_after_its_fields(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    await kept.commit(sink, batch(1, article(1, new={"a": [1]}, title=3)))
    await sink.close()
    (row,) = rows(
        tmp_path, "ref_date, typeof(int_page_read_user), title, _appid, _endpoint, _begin_date,"
        " _end_date, _fetched_at, _extra",
    )  # fmt: skip
    assert row[:-1] == ("2024-01-01", "integer", None, "wx1", "getarticlesummary", "2024-01-01",
                        "2024-01-01", "2024-06-15T04:00:00Z")  # fmt: skip
    assert json.loads(row[-1]) == {"new": {"a": [1]}, "title": 3}


@virtual
async def test_a_crash_between_the_database_and_the_ledger_neither_loses_nor_doubles(
    tmp_path: Path,
) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    await kept.commit(sink, batch(1, article(1)))
    await sink.write([batch(2, article(2)), batch(3, article(3))])  # and the process dies
    await sink.close()
    assert [one for _, one in kept.stored()] == ["2024-01-01"]  # what the ledger speaks of
    sink = await kept.open()
    assert await kept.commit(sink, batch(3, article(3)), batch(2, article(2))) == {}
    await sink.close()
    assert rows(tmp_path) == [1, 2, 3]
    assert [(one.records, one.intact) for one in kept.stored().values()] == [(1, True)] * 3


@virtual
async def test_what_a_crashed_refresh_replaced_is_told_as_the_ledger_knew_it(
    tmp_path: Path,
) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    first = batch(1, article(1))
    await kept.commit(sink, first, batch(2, article(2)))
    for _ in range(2):
        await sink.write([batch(1, article(11), article(12), replaces=True)])
        await sink.close()  # and the process dies, twice
        sink = await kept.open()
    replaced = await kept.commit(sink, batch(1, article(21), replaces=True))
    assert replaced == {first.window: Tally(1, first.checksum)}
    replaced = await kept.commit(sink, batch(1, article(31), replaces=True))
    assert replaced == {first.window: Tally(1, batch(1, article(21)).checksum)}
    await sink.close()
    assert rows(tmp_path) == [2, 31]


@virtual
async def test_a_commit_that_the_ledger_never_heard_of_stays_unheard_after_later_ones(
    tmp_path: Path,
) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    await kept.commit(sink, batch(1, article(1)))
    await sink.write([batch(2, article(2))])
    await sink.close()
    sink = await kept.open()
    await kept.commit(sink, batch(3, article(3)))
    await sink.close()
    assert [one for _, one in kept.stored()] == ["2024-01-01", "2024-01-03"]


@virtual
async def test_a_longer_window_takes_the_place_of_shorter_ones_and_its_figures_say_so(
    tmp_path: Path,
) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    await kept.commit(sink, *[batch(n, article(n)) for n in range(1, 10)])
    week = batch(2, article(100), days=7, replaces=True)
    replaced = await kept.commit(sink, week)
    await sink.close()
    assert replaced[week.window].records == 7
    assert rows(tmp_path) == [1, 9, 100]


@virtual
async def test_the_last_of_a_window_that_came_twice_at_once_stands(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    await kept.commit(sink, batch(1, article(1)), batch(2, article(2)), batch(1, article(3)))
    await kept.commit(sink, batch(4, article(4)), batch(4, article(5), days=2))
    await sink.close()
    assert rows(tmp_path) == [2, 3, 5]


@virtual
async def test_two_ledgers_and_none_are_all_right_on_one_database(tmp_path: Path) -> None:
    one, two = ledger(tmp_path), ledger(tmp_path)
    first, second = await one.open(), await two.open()
    await one.commit(first, batch(1, article(1)), batch(2, article(2)))
    await two.commit(second, batch(2, article(22)), batch(3, article(3)))
    await first.close()
    await second.close()
    alone = SQLite(tmp_path / "x.db")
    alone.describe(one.endpoints)
    await alone.open(None)
    await alone.write([batch(3, article(33))])
    await alone.close()
    assert rows(tmp_path) == [1, 22, 33]
    assert {key[1]: one.intact for key, one in one.stored().items()} == {
        str(day(1)): True,
        str(day(2)): True,
    }
    assert list(two.stored()) == [("wx1", str(day(2))), ("wx1", str(day(3)))]


@virtual
async def test_verify_sees_what_was_changed_added_or_taken_away(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    sink = await kept.open()
    for number in range(1, 6):
        await kept.commit(sink, batch(number, article(number), article(10 + number, a=1.5)))
    await sink.close()
    assert all(one.intact and one.records == 2 for one in kept.stored().values())
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        change = "UPDATE getarticlesummary SET title = 'x' WHERE int_page_read_user = 2"
        database.execute(change)
        database.execute("DELETE FROM getarticlesummary WHERE int_page_read_user = 3")
        database.execute("DELETE FROM getarticlesummary WHERE _begin_date = '2024-01-04'")
        database.execute(
            "INSERT INTO getarticlesummary (_appid, _begin_date, _end_date)"
            " VALUES ('wx1', '2024-02-01', '2024-02-01'), ('wx9', '2024-02-02', '2024-02-02')"
        )
    found = {key[1]: (one.records, one.intact) for key, one in kept.stored().items()}
    assert found == {
        "2024-01-01": (2, True),
        "2024-01-02": (2, False),
        "2024-01-03": (1, False),
        "2024-01-05": (2, True),
        "2024-02-01": (1, False),
        "2024-02-02": (1, False),
    }


@virtual
async def test_a_catalogue_that_has_grown_adds_its_columns_and_old_rows_stay_intact(
    tmp_path: Path,
) -> None:
    few = [field for field in INTERFACES["getarticlesummary"].fields if field.name != "title"]
    kept = ledger(tmp_path, *few)
    sink = await kept.open()
    written = await sink.write([batch(1, article(1))])
    assert written.drift == [
        "getarticlesummary: the field 'title' is not known; it stands in _extra"
    ]
    kept.store(written.receipt)
    await sink.close()
    kept.endpoints = (INTERFACES["getarticlesummary"],)
    sink = await kept.open()
    await kept.commit(sink, batch(2, article(2)))
    await sink.close()
    assert rows(tmp_path, "title, _extra") == [(None, '{"title":"题"}'), ("题", None)]
    assert all(one.intact for one in kept.stored().values())
    kept.endpoints = (
        replace(INTERFACES["getarticlesummary"], fields=tuple(few)),
    )  # an older harvester
    sink = await kept.open()
    await kept.commit(sink, batch(3, article(3)))
    await sink.close()
    assert all(one.intact for one in kept.stored().values())
    assert len(kept.stored()) == 3


@virtual
async def test_zero_with_a_sign_is_kept_though_sqlite_has_none(tmp_path: Path) -> None:
    kept = ledger(tmp_path, Field("rate", "float"))
    sink = await kept.open()
    await kept.commit(sink, batch(1, {"rate": -0.0}, {"rate": 0.0}, {"rate": 0.1}))
    await sink.close()
    assert rows(tmp_path, "rate, _extra") == [(None, '{"rate":-0.0}'), (0.0, None), (0.1, None)]
    assert all(one.intact for one in kept.stored().values())


# what is gone or foreign


async def _once(tmp_path: Path) -> Ledgerish:
    kept = ledger(tmp_path)
    sink = await kept.open()
    await kept.commit(sink, batch(1, article(1)))
    await sink.close()
    return kept


@virtual
async def test_a_file_that_was_deleted_between_two_runs_is_not_called_harvested(
    tmp_path: Path,
) -> None:
    kept = await _once(tmp_path)
    (tmp_path / "x.db").unlink()
    for _ in range(2):
        with pytest.raises(SinkError, match=r"x\.db is gone, though the ledger speaks of it; put"):
            await kept.open()
        with pytest.raises(SinkError, match=r"x\.db is gone, though the ledger speaks of it; put"):
            kept.stored()
    other = await ledger(tmp_path).open()  # another ledger begins anew
    await other.close()
    with pytest.raises(SinkError, match="is not the one that the ledger speaks of"):
        await kept.open()


@virtual
async def test_an_older_copy_of_the_file_is_not_called_harvested(tmp_path: Path) -> None:
    kept = await _once(tmp_path)
    copy = (tmp_path / "x.db").read_bytes()
    sink = await kept.open()
    await kept.commit(sink, batch(2, article(2)))
    await sink.close()
    (tmp_path / "x.db").write_bytes(copy)
    with pytest.raises(SinkError, match="is older than the ledger: its last 1 commits are missing"):
        await kept.open()


@pytest.mark.parametrize("how", ["DROP TABLE getarticlesummary", "DELETE FROM getarticlesummary"])
def test_a_table_that_is_gone_is_said_and_a_new_ledger_harvests_it_anew(
    how: str, tmp_path: Path
) -> None:
    @virtual
    async def go(tmp_path: Path) -> None:
        kept = await _once(tmp_path)
        with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
            database.execute(how)
        with pytest.raises(SinkError, match=r"the table getarticlesummary of .* is gone or empty"):
            await kept.open()
        new = ledger(tmp_path)
        sink = await new.open()
        assert await new.commit(sink, batch(1, article(2))) == {}
        await sink.close()
        assert rows(tmp_path) == [2]

    go(tmp_path)


@virtual
async def test_a_table_with_other_columns_is_refused_and_they_are_named(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("CREATE TABLE getarticlesummary (TITLE INTEGER, own TEXT)")
    with pytest.raises(UsageError) as caught:
        await ledger(tmp_path).open()
    assert str(caught.value) == (
        f"the table getarticlesummary of the database {tmp_path}/x.db has other columns than a"
        " harvest (title is INTEGER, not TEXT, _appid is missing, _endpoint is missing, …);"
        " rename it, or choose another database"
    )
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        assert len(database.execute("SELECT name FROM sqlite_master").fetchall()) == 1


@virtual
async def test_tables_of_ones_own_and_columns_of_ones_own_are_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("CREATE TABLE own (a)")
    kept = await _once(tmp_path)
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("ALTER TABLE getarticlesummary ADD COLUMN mine TEXT")
        database.execute("UPDATE getarticlesummary SET mine = 'note'")
    sink = await kept.open()
    await kept.commit(sink, batch(2, article(2)))
    await sink.close()
    assert rows(tmp_path, "mine") == [None, "note"]
    assert all(one.intact for one in kept.stored().values())


@virtual
async def test_tables_of_a_newer_harvester_are_refused(tmp_path: Path) -> None:
    kept = await _once(tmp_path)
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("UPDATE _harvester SET value = '9' WHERE name = 'version'")
    with pytest.raises(UsageError, match=r"its tables are of version 9, this one knows 2"):
        await kept.open()


@virtual
async def test_what_cannot_be_a_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("a,b\n" * 2000)
    with pytest.raises(UsageError, match=r"could not be opened: it is a file of another kind$"):
        await ledger(tmp_path).open()
    assert (tmp_path / "x.db").read_text() == "a,b\n" * 2000
    with pytest.raises(UsageError, match="is a directory; name a file"):
        await Ledgerish(lambda: SQLite(tmp_path)).open()
    with pytest.raises(UsageError, match=r"the directory .* cannot be made \(File exists\)"):
        await Ledgerish(lambda: SQLite(tmp_path / "x.db" / "y.db")).open()
    with pytest.raises(UsageError, match=r"could not be opened: it cannot be written$"):
        await Ledgerish(lambda: SQLite("/proc/x.db")).open()


@virtual
async def test_the_ledgers_own_file_is_no_target(tmp_path: Path) -> None:
    from harvester.ledger import Ledger

    async with Ledger(tmp_path / "x.db"):
        pass
    with pytest.raises(UsageError, match="is a ledger of harvester; choose another file"):
        await ledger(tmp_path).open()


@virtual
async def test_a_window_that_would_cut_another_ledgers_in_two_is_refused(tmp_path: Path) -> None:
    one, other = ledger(tmp_path), ledger(tmp_path)
    first, second = await one.open(), await other.open()
    await one.commit(first, batch(1, article(1), days=7))
    for cutting in (batch(3, article(2)), batch(6, article(2), days=3), batch(0, days=3)):
        with pytest.raises(SinkError, match=r"from 2024-01-01 to 2024-01-07 as one window, which"):
            await other.commit(second, batch(20, article(3)), cutting)
    assert rows(tmp_path) == [1]
    await other.commit(second, batch(8, article(4)), batch(0, article(5)))  # its neighbours
    await other.commit(second, batch(0, article(6), days=8, replaces=True))
    assert rows(tmp_path) == [4, 6]
    for sink in (first, second):
        await sink.close()


@pytest.mark.parametrize("rest", ["", "?", "x.db?wal=0", "x.db?"])
def test_a_spec_that_is_none_is_refused(rest: str) -> None:
    with pytest.raises(UsageError, match="sqlite"):
        SQLite.from_spec(rest)


@virtual
async def test_interfaces_whose_names_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    kept.endpoints = tuple(
        replace(INTERFACES["getarticlesummary"], name=name) for name in ("own", "OWN")
    )
    with pytest.raises(UsageError, match="cannot tell the tables own and OWN apart"):
        await kept.open()


def test_a_file_that_cannot_be_read_is_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = connections(monkeypatch)
    (tmp_path / "x.db").write_bytes(b"something else, and long enough to be looked at" * 100)
    with pytest.raises(SinkError, match="another kind"):
        harvester.read(f"sqlite:{tmp_path}/x.db", "getarticlesummary").read_all()
    [connection] = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")
