"""The sinks of a ledger: listed by its first run, added, removed, found again by a rebuild."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.scenarios.command import Done, Start, asked, begun, succeeded, until
from tests.support import harvest

ENDPOINT = "getusersummary"


@pytest.fixture
def url(wechat: Start) -> str:
    return wechat().url


def run(url: str, folder: Path, *more: str, end: str = "2024-01-31") -> Done:
    return harvest(*asked(url, ENDPOINT, "2024-01-01", end, "--out", "harvest", *more), cwd=folder)


def sink(folder: Path, *arguments: str) -> Done:
    return harvest("sink", *arguments, "--out", "harvest", cwd=folder)


def verified(folder: Path) -> str:
    done = succeeded("verify", "--out", "harvest", cwd=folder)
    assert "exactly what was fetched" in done.stdout
    return done.stdout


@pytest.mark.thorough
def test_a_run_with_other_sinks_is_refused_with_the_commands_that_change_the_list(
    url: str, tmp_path: Path
) -> None:
    assert run(url, tmp_path).returncode == 0
    other = run(url, tmp_path, "--sink", "sqlite:two.db")
    assert other.returncode == 2
    two = tmp_path / "two.db"
    assert (
        f"`harvester sink add sqlite:{two} --out harvest` copies the stored records" in other.stderr
    )
    assert "`harvester sink remove jsonl:harvest --out harvest` removes this sink" in other.stderr
    assert not two.exists()


@pytest.mark.thorough
def test_a_sink_that_is_added_has_what_the_others_have_and_later_runs_fill_both(
    url: str, tmp_path: Path
) -> None:
    run(url, tmp_path)
    added = sink(tmp_path, "add", "sqlite:two.db")
    assert added.returncode == 0, added.stderr
    assert "5 windows copied; the sink is listed now" in added.stdout
    assert sink(tmp_path, "list").stdout.splitlines() == [
        "jsonl:harvest", f"sqlite:{tmp_path / 'two.db'}",
    ]  # fmt: skip
    both = ("--sink", "jsonl:harvest", "--sink", "sqlite:two.db")
    assert run(url, tmp_path, *both, end="2024-02-29").returncode == 0
    read = [line.partition(": ")[2] for line in verified(tmp_path).splitlines()[:2]]
    assert read[0] == read[1] != "0 records read"


@pytest.mark.thorough
def test_the_last_sink_is_not_removed_and_what_is_stored_stays(url: str, tmp_path: Path) -> None:
    run(url, tmp_path)
    refused = sink(tmp_path, "remove", "jsonl:harvest")
    assert refused.returncode == 2
    assert "is the only sink of this ledger; add another one first" in refused.stderr
    sink(tmp_path, "add", "sqlite:two.db")
    assert sink(tmp_path, "remove", "jsonl:harvest").returncode == 0
    assert list((tmp_path / "harvest" / ENDPOINT).glob("*.jsonl"))
    assert run(url, tmp_path, "--sink", "sqlite:two.db").returncode == 0
    verified(tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize("command", [("add", "sqlite:two.db"), ("remove", "jsonl:harvest")])
def test_the_list_is_not_changed_while_a_run_uses_the_ledger(
    wechat: Start, tmp_path: Path, command: tuple[str, str]
) -> None:
    server = wechat(latency=0.5)
    out = asked(server.url, ENDPOINT, "2024-01-01", "2024-12-31", "--out", "harvest")
    with begun(*out, "--concurrency", "1", cwd=tmp_path) as process:
        until(lambda: server.simulator.counts["data"])
        refused = sink(tmp_path, *command)
        process.kill()
    assert refused.returncode == 2
    assert "is in use by another harvester" in refused.stderr


@pytest.mark.thorough
def test_an_addition_that_was_killed_is_finished_by_the_same_command(
    url: str, tmp_path: Path
) -> None:
    assert run(url, tmp_path, end="2024-12-31").returncode == 0
    with begun("sink", "add", "sqlite:two.db", "--out", "harvest", cwd=tmp_path) as process:
        until(lambda: (tmp_path / "two.db").exists() or process.poll() is not None)
        process.kill()
    added = sink(tmp_path, "add", "sqlite:two.db")
    assert added.returncode == 0 or "is listed already" in added.stderr
    verified(tmp_path)


@pytest.mark.thorough
def test_standard_output_and_memory_may_come_and_go(url: str, tmp_path: Path) -> None:
    run(url, tmp_path)
    lines = ("--sink", "jsonl:harvest")
    seen = run(url, tmp_path, *lines, "--sink", "-", end="2024-02-15")
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.count('"ref_date"') > 0
    assert run(url, tmp_path, *lines, "--sink", "memory:x", end="2024-02-29").returncode == 0
    assert run(url, tmp_path, end="2024-03-31").returncode == 0
    assert sink(tmp_path, "list").stdout == "jsonl:harvest\n"
    refused = sink(tmp_path, "add", "-")
    assert "is never listed: any run can use it" in refused.stderr


@pytest.mark.thorough
def test_a_sink_that_holds_another_harvest_is_not_added(url: str, tmp_path: Path) -> None:
    run(url, tmp_path)
    two = asked(url, ENDPOINT, "2024-01-01", "2024-01-07", "--sink", "sqlite:two.db")
    succeeded(*two, "--out", "other", cwd=tmp_path)
    refused = sink(tmp_path, "add", "sqlite:two.db")
    assert refused.returncode == 2
    assert "contains a harvest that is not in this ledger" in refused.stderr
    assert sink(tmp_path, "list").stdout == "jsonl:harvest\n"


# A ledger that is made from what is stored


def records(folder: Path) -> int:
    with sqlite3.connect(folder / "two.db") as database:
        return int(database.execute(f"SELECT count(*) FROM {ENDPOINT}").fetchone()[0])


@pytest.mark.thorough
def test_a_rebuilt_ledger_removes_nothing_that_another_sink_lacks(url: str, tmp_path: Path) -> None:
    both = ("--sink", "jsonl:harvest", "--sink", "sqlite:two.db")
    assert run(url, tmp_path, *both).returncode == 0
    whole = records(tmp_path)
    with sqlite3.connect(tmp_path / "two.db") as database:
        database.execute(f"DELETE FROM {ENDPOINT} WHERE _begin_date > '2024-01-08'")
    specs = ("--sink", "sqlite:two.db", "--sink", "jsonl:harvest")
    rebuilt = succeeded("rebuild", "--out", "harvest", *specs, cwd=tmp_path)
    lines = sum(map(len, map(Path.read_bytes, (tmp_path / "harvest").glob("*/*.jsonl"))))
    assert "listed" not in rebuilt.stdout
    assert sink(tmp_path, "list").stdout.count("\n") == 2
    assert run(url, tmp_path, *both).returncode == 0
    assert records(tmp_path) == whole
    assert sum(map(len, map(Path.read_bytes, (tmp_path / "harvest").glob("*/*.jsonl")))) >= lines
    verified(tmp_path)


@pytest.mark.thorough
def test_windows_that_one_of_two_sinks_lacks_are_requested_again(url: str, tmp_path: Path) -> None:
    both = ("--sink", "jsonl:harvest", "--sink", "sqlite:two.db")
    assert run(url, tmp_path, *both).returncode == 0
    with sqlite3.connect(tmp_path / "two.db") as database:
        database.execute(f"DELETE FROM {ENDPOINT} WHERE _begin_date > '2024-01-08'")
    rebuilt = succeeded("rebuild", "--out", "harvest", *both, cwd=tmp_path)
    assert (
        "with differences between the sinks: the next run requests these windows" in rebuilt.stdout
    )
    again = run(url, tmp_path, *both)
    assert again.returncode == 0, again.stderr
    assert " 4 windows harvested, 1 done before" in again.stdout + again.stderr
    verified(tmp_path)
