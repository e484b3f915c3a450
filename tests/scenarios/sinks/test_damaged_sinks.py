"""What is damaged in a sink is mended by the commands that are printed, typed as they are printed.

Or a sentence names what is lost.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

import harvester
from harvester.cli.commands import invoke
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import Start
from tests.support import A, Wechat

NAME = "getusersummary"
DATABASE = Path("rows.db")
PAGE = 4096


class Place:
    """A harvest in the current directory, and the command that made it."""

    def __init__(self, server: Wechat, capsys: pytest.CaptureFixture[str], *sinks: str) -> None:
        self.capsys, self.sinks, self.server = capsys, sinks, server
        self._run = [
            "run", "users", "--appid", A, "--start", "2023-12-01", "--end", "2024-03-31",
            "--base-url", server.url, "--rate", "10000/s",
        ]  # fmt: skip
        for sink in sinks:
            self._run += ["--sink", sink]
        assert self.run() == 0
        self.whole = self.rows()

    def run(self) -> int:
        return invoke(self._run)

    def rows(self, spec: str = "") -> Counter[str]:
        found = Counter[str]()
        for table in harvester.read(spec or self.sinks[0], "users").values():
            rows = table.read_all().drop_columns(["_fetched_at"]).to_pylist()
            found.update(map(str, rows))
        return found

    def said(self, *arguments: str) -> tuple[int, str]:
        """The status of a command, and all that it printed."""
        self.capsys.readouterr()
        status = self.run() if arguments == ("run",) else invoke(arguments)
        shown = self.capsys.readouterr()
        return status, shown.out + shown.err

    def type(self, command: str) -> str:
        """Type a command as it is printed."""
        words = shlex.split(command)
        if words[0] == "harvester":
            return self.said(*words[1:])[1]
        return subprocess.run(words, check=True, text=True, capture_output=True).stdout

    def mend(self, *begin: str) -> list[str]:
        """Type what is printed, until nothing is printed any more; returns what was typed."""
        typed: list[str] = []
        _, text = self.said(*begin)
        todo = commands_in(text)
        while todo:
            command = todo.pop(0)
            assert len(typed) < 12, typed
            typed.append(command)
            text = self.type(command)
            failed = any(each in text for each in ("failed", "could not", "does not exist"))
            new = commands_in(text) if failed else []
            again = [command] if new and "and the same command again" in text else []
            todo = [*new, *again, *todo]
        return typed

    def assert_whole(self) -> None:
        """A run, and everything is as WeChat has it."""
        assert self.run() == 0
        assert self.said("verify")[0] == 0
        for sink in self.sinks:
            assert self.rows(sink) == self.whole


def commands_in(text: str) -> list[str]:
    """The commands that a text names: a line each, or between backticks."""
    pattern = r"^  ((?:harvester|mv) .*)$|`((?:harvester (?:rebuild|verify|forget|sink)|mv) [^`]*)`"
    found = [one or other for one, other in re.findall(pattern, text, re.MULTILINE)]
    told = "harvester verify" if "what to type, in this order" in text else "nothing"
    return [*dict.fromkeys(each for each in found if each != told)]


@pytest.fixture
def place(
    wechat: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Place]:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    server = wechat()
    return lambda *sinks: Place(server, capsys, *sinks)


# SQLite


def executed(sql: str) -> Callable[[], None]:
    def execute() -> None:
        with closing(sqlite3.connect(DATABASE)) as database, database:
            assert database.execute(sql).rowcount != 0

    return execute


def page(number: int) -> Callable[[], None]:
    """A page that holds something else."""

    def overwrite() -> None:
        content = bytearray(DATABASE.read_bytes())
        content[number * PAGE : (number + 1) * PAGE] = b"\xa7" * PAGE
        DATABASE.write_bytes(content)

    return overwrite


def cut() -> None:
    os.truncate(DATABASE, DATABASE.stat().st_size // 2 // PAGE * PAGE)


ONE = (
    f"ref_date = '2024-01-03' AND user_source = (SELECT min(user_source) FROM {NAME}"
    " WHERE ref_date = '2024-01-03')"
)
OTHER = f"{A[:-1]}b"
DAMAGE: dict[str, Callable[[], None]] = {
    "a deleted row": executed(f"DELETE FROM {NAME} WHERE {ONE}"),
    "a changed row": executed(f"UPDATE {NAME} SET new_user = 1 + new_user WHERE {ONE}"),
    "a row of another account": executed(f"UPDATE {NAME} SET _appid = '{OTHER}' WHERE {ONE}"),
    "an emptied table": executed(f"DELETE FROM {NAME}"),
    "a dropped table": executed(f"DROP TABLE {NAME}"),
    "a dropped column": executed(f"ALTER TABLE {NAME} DROP COLUMN new_user"),
    "a dropped table of state": executed("DROP TABLE _harvester_state"),
    "a file that is gone": DATABASE.unlink,
    "a cut file": cut,
    "a malformed first page": page(0),
    **{f"malformed page {number}": page(number) for number in (1, 4, 9, 16)},
}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("what", [
    each if number == 0 else pytest.param(each, marks=pytest.mark.thorough)
    for number, each in enumerate(DAMAGE)
])  # fmt: skip
@pytest.mark.parametrize("begins", ["verify", pytest.param("run", marks=pytest.mark.thorough)])
def test_a_damaged_database_is_mended(what: str, begins: str, place: Callable[..., Place]) -> None:
    here = place("sqlite:rows.db")
    DAMAGE[what]()
    text = here.said("verify")[1]
    assert "different from what was fetched" in text
    assert commands_in(text)
    if begins == "run" and commands_in(here.said("run")[1]):
        here.mend("run")
    here.mend("verify")
    here.assert_whole()


@pytest.mark.thorough
@pytest.mark.parametrize("what", [
    "a cut file",
    pytest.param("malformed page 9", marks=pytest.mark.thorough),
    pytest.param("a file that is gone", marks=pytest.mark.thorough),
])  # fmt: skip
def test_a_damaged_file_is_filled_from_a_sink_that_is_whole(
    what: str, place: Callable[..., Place]
) -> None:
    here = place("jsonl:harvest", "sqlite:rows.db")
    DAMAGE[what]()
    typed = here.mend("verify")
    assert [each.split()[:3] for each in typed if "sink" in each.split()[:2]] == [
        ["harvester", "sink", "remove"], ["harvester", "sink", "add"],
    ]  # fmt: skip
    assert here.said("verify")[0] == 0
    assert here.rows("sqlite:rows.db") == here.whole
    here.assert_whole()


@pytest.mark.thorough
def test_what_is_damaged_is_not_called_mended_by_running_again(place: Callable[..., Place]) -> None:
    here = place("sqlite:rows.db")
    for number in range(1, DATABASE.stat().st_size // PAGE):
        page(number)()
    text = here.said("run", "--refresh")[1]
    assert "nothing that was committed is lost" not in text
    assert "it is damaged" in here.said("run")[1]


# lines


def lines(folder: str = "harvest") -> Path:
    """A file of lines with January's records."""
    paths = sorted(Path(folder, NAME).glob("*.jsonl"))
    return next(path for path in paths if b'"ref_date":"2024-01-03"' in path.read_bytes())


def without_a_line() -> None:
    path = lines()
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(content[:7] + content[8:]))


def cut_line() -> None:
    os.truncate(lines(), lines().stat().st_size - 100)


def other_account() -> None:
    path = lines()
    content = path.read_bytes().splitlines(keepends=True)
    content[7] = content[7].replace(A.encode(), OTHER.encode())
    path.write_bytes(b"".join(content))


@pytest.mark.thorough
@pytest.mark.parametrize("damage", [
    without_a_line, *[pytest.param(each, marks=pytest.mark.thorough)
                      for each in (cut_line, other_account)],
])  # fmt: skip
def test_damaged_lines_are_mended(damage: Callable[[], None], place: Callable[..., Place]) -> None:
    here = place("jsonl:harvest")
    damage()
    assert "different from what was fetched" in here.said("verify")[1]
    assert here.mend("verify")
    here.assert_whole()


@pytest.mark.thorough
def test_a_sink_that_may_not_be_read_is_not_called_different(place: Callable[..., Place]) -> None:
    here = place("jsonl:harvest")
    path = lines()
    link = path.with_name("loop")  # whoever runs the tests may read every file
    path.rename(path.with_name("away"))
    link.symlink_to(path.name)
    path.symlink_to(link.name)
    status, text = here.said("verify")
    assert status == 4, text
    assert "was not verified: " in text
    assert "different" not in text


@pytest.mark.thorough
def test_a_directory_of_lines_gets_no_second_ledger(place: Callable[..., Place]) -> None:
    here = place("jsonl:harvest/lines")
    status, text = here.said("rebuild", "--out", "harvest/lines")
    assert status == 2
    assert commands_in(text) == ["harvester rebuild --out harvest"]
    assert not Path("harvest/lines/ledger.sqlite").exists()
    here.mend("rebuild", "--out", "harvest/lines")
    here.assert_whole()


@pytest.mark.thorough
@pytest.mark.parametrize("sink", ["jsonl:harvest", "sqlite:rows.db"])
def test_a_run_that_is_refused_leaves_no_ledger(sink: str, place: Callable[..., Place]) -> None:
    here = place(sink)
    for path in Path("harvest").glob("ledger.sqlite*"):
        path.unlink()
    before = {*Path().rglob("*")}
    status, text = here.said("run")
    assert status == 2
    assert "contains a harvest that is not in this ledger" in text
    assert {*Path().rglob("*")} == before
    status, text = here.said("status")
    assert (status, "there is no ledger at harvest/ledger.sqlite" in text) == (2, True)


@pytest.mark.thorough
def test_a_database_that_was_moved_gets_a_ledger_by_the_printed_command(
    place: Callable[..., Place],
) -> None:
    here = place("sqlite:rows.db")
    DATABASE.rename("moved.db")
    here._run[-1] = here.sinks[0].replace("rows", "moved")
    here.sinks = (here._run[-1],)
    served = here.server.simulator.counts["data"]
    assert [each.split()[1] for each in here.mend("run")] == ["rebuild"]
    here.assert_whole()
    assert here.server.simulator.counts["data"] == served


def there() -> set[Path]:
    """The files and folders, without those of SQLite's readers."""
    return {each for each in Path().rglob("*") if not each.name.endswith(("-wal", "-shm"))}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("typo", ["sqlite:typo.db", "jsonl:typo"])
@pytest.mark.parametrize("command", [
    "rebuild --sink {}", "verify --sink {}", "export csv:tables --from {}", "plan --sink {}",
    "sink remove {}", "forget --appid x --sink {}",
])  # fmt: skip
def test_a_mistyped_sink_is_made_by_no_command_that_reads(
    command: str, typo: str, place: Callable[..., Place]
) -> None:
    here = place("sqlite:rows.db")
    before = there()
    status, text = here.said(*command.format(typo).split())
    assert status == 2, text
    assert "Traceback" not in text
    assert there() == before, text
    here.assert_whole()


@pytest.mark.thorough
def test_a_second_sink_without_records_is_filled_again(place: Callable[..., Place]) -> None:
    here = place("jsonl:harvest", "sqlite:rows.db")
    for table in (NAME, "getusercumulate"):
        executed(f"DELETE FROM {table}")()
    without_a_line()
    status, text = here.said("rebuild", "--out", "harvest")
    assert (status, "`harvester verify` with the same --out" in text) == (2, True)
    assert [each.split()[1] for each in here.mend("verify")] == ["sink", "rebuild", "sink"]
    here.assert_whole()


# a server


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("sql", [
    f"DELETE FROM {NAME} WHERE {ONE}",
    f"UPDATE {NAME} SET _appid = '{OTHER}' WHERE {ONE}",
    f"DROP TABLE {NAME} CASCADE",
    "DROP TABLE _harvester_state",
])  # fmt: skip
def test_a_damaged_table_of_a_server_is_mended(
    sql: str, place: Callable[..., Place], postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = postgres.url(postgres.new_database()).replace(f":{PASSWORD}", "")
    here = place(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.encode())
    assert here.said("verify")[0] == 1
    assert here.mend("verify")
    here.assert_whole()


@pytest.mark.thorough
def test_a_shared_ledger_whose_records_are_lost_gives_way_to_another_one(
    place: Callable[..., Place], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = postgres.url(postgres.new_database()).replace(f":{PASSWORD}", "")
    here = place(url)
    at = ["--ledger", url]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    here._run += at
    assert here.run() == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DELETE FROM {NAME}; DELETE FROM getusercumulate".encode())
    assert commands_in(here.said("verify", *at)[1]) == []
    status, text = here.said("rebuild", *at, "--sink", url)
    assert (status, commands_in(text), "does not exist, or has no records" in text) == (2, [], True)
    here._run[-1] = f"{url}?schema=second"
    assert here.run() == 0
    assert here.said("verify", "--ledger", here._run[-1])[0] == 0
    assert here.rows() == here.whole


@pytest.mark.thorough
def test_a_changed_row_is_noticed_without_a_former_ledger(place: Callable[..., Place]) -> None:
    here = place("sqlite:rows.db")
    DAMAGE["a changed row"]()
    for path in Path("harvest").glob("ledger.sqlite*"):
        path.unlink()
    said = here.said("rebuild", "--sink", "sqlite:rows.db")[1]
    assert "1 of these might be incomplete or not final" in said
    assert "the former ledger could not be read" in said
    here.assert_whole()
