"""An older ledger that is put back, and a rebuild that fails or is killed: nothing is lost."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

import harvester
from harvester.cli.commands import invoke
from tests.builders import harvested
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import asked, begun, program, succeeded, until
from tests.scenarios.days import RECORDS, DaysOnly, each_once
from tests.scenarios.places import days_in
from tests.support import harvest

NAME = "getusersummary"
JUNE = date(2024, 6, 1), date(2024, 6, 30)


@pytest.mark.thorough
@pytest.mark.parametrize("compress", ["", "?compress=gzip"])
def test_an_older_ledger_is_refused_with_the_command_that_makes_a_new_one(
    compress: str, server: DaysOnly, tmp_path: Path
) -> None:
    ledger, older = tmp_path / "ledger.sqlite", tmp_path / "older"
    sink = ["--out", tmp_path, "--sink", f"jsonl:{tmp_path}{compress}"]
    succeeded(*asked(server.url, NAME, JUNE[0], "2024-06-10", *sink))
    shutil.copy(ledger, older)
    succeeded(*asked(server.url, NAME, *JUNE, *sink))
    shutil.copy(older, ledger)
    before = {path: path.read_bytes() for path in (tmp_path / NAME).iterdir()}
    requests = server.requests
    for _ in range(2):
        refused = harvest(*asked(server.url, NAME, *JUNE, *sink))
        assert refused.returncode == 4, refused.stderr
        assert "the ledger is older than the directory" in refused.stderr
        assert f"harvester rebuild --out {tmp_path}" in refused.stderr
    assert {path: path.read_bytes() for path in (tmp_path / NAME).iterdir()} == before
    assert server.requests == requests
    succeeded("rebuild", *sink)
    succeeded(*asked(server.url, NAME, *JUNE, *sink))
    assert days_in(f"jsonl:{tmp_path}", NAME) == each_once(*JUNE)
    succeeded("verify", "--out", tmp_path)


# The command, killed at one durable step after the other, each time in a new copy of a directory.

KILLED = """
import os, shutil, sys
from pathlib import Path
import harvester.cli.commands  # once, not in each child
from harvester.base import files as durable
from harvester.cli import main

home, stride, arguments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
for moment in range(1, 500, stride):
    place = home / f"{moment}"
    if (home / "before").exists():
        shutil.copytree(home / "before", place)
    if not (child := os.fork()):
        moments = []

        def watch(name, taken):
            moments.append(name)
            if len(moments) == moment:
                print(moment, name, flush=True)
                os._exit(9)

        durable.watch(watch)
        sys.argv = ["harvester", *[each.format(place) for each in arguments]]
        try:
            main()
        except SystemExit as exc:
            os._exit(exc.code or 0)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 9:
        sys.exit(code)
"""


def steps_of(out: str) -> list[str]:
    """At which it was killed, without what the command says at its end."""
    return [line for line in out.splitlines() if line[:1].isdigit()]


def is_former(place: Path) -> bool:
    """Whether the ledger of a directory is the one from before the rebuild."""
    kept = [each for each in place.glob("*.former*") if each.suffix[-4:] not in ("-wal", "-shm")]
    return all(each.samefile(place / "ledger.sqlite") for each in kept)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("sink", "stride"),
    [
        ("jsonl:{}", 1),
        ("jsonl:{}?compress=gzip", 3),
        ("sqlite:{}/records.db", 3),
    ],
)
def test_until_a_rebuild_has_succeeded_nothing_has_changed(
    sink: str, stride: int, server: DaysOnly, tmp_path: Path
) -> None:
    def run(place: Path, end: date = JUNE[1]) -> harvester.Report:
        days, ledger = (JUNE[0], end), place / "ledger.sqlite"
        return harvested(
            sink.format(place), endpoints=NAME, days=days, ledger=ledger, base_url=server.url
        )

    first = tmp_path / "before"
    first.mkdir()
    run(first, date(2024, 6, 20))
    run(first)
    killed = program(KILLED, tmp_path, f"{stride}", "rebuild", "--out", "{}", "--sink", sink)
    assert killed.returncode == 0, killed.stderr
    former = 0
    for step in steps_of(killed.stdout):
        place = tmp_path / step.split()[0]
        untouched = is_former(place)
        former += untouched
        report = run(place)
        assert report.state == "complete", step
        # A file may have been cut off; of a database every window is whole.
        again = not untouched and sink.startswith("jsonl")
        assert (report.requests > 0) == again, step
        assert days_in(sink.format(place), NAME) == each_once(*JUNE), step
    assert former * stride > 12


def test_until_a_rebuild_of_a_shared_ledger_has_succeeded_nothing_has_changed(
    server: DaysOnly, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    where = ["--ledger", database, "--sink", database]
    env = {"PGPASSWORD": PASSWORD}
    run = asked(server.url, NAME, *JUNE, *where)
    succeeded(*run, **env)
    requests = server.requests
    killed = program(KILLED, tmp_path, "1", "rebuild", *where, **env)
    assert killed.returncode == 0, killed.stderr
    assert len(killed.stdout.splitlines()) > 8
    assert server.requests == requests
    succeeded(*run, **env)
    assert server.requests == requests  # of a database every window is whole
    succeeded("verify", *where, **env)


@pytest.mark.thorough
def test_after_a_rebuild_that_failed_the_former_ledger_goes_on(
    server: DaysOnly, tmp_path: Path
) -> None:
    run = asked(server.url, NAME, *JUNE, "--out", tmp_path)
    succeeded(*run)
    (segment,) = (tmp_path / NAME).iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b'"_begin_date"', b'"_begun_date_"', 1))
    failed = harvest("rebuild", "--out", tmp_path)
    assert (failed.returncode, "is not a record of harvester" in failed.stderr) == (4, True)
    segment.write_bytes(whole)
    requests = server.requests
    succeeded(*run)
    assert server.requests == requests
    assert sum(each_once(*JUNE).values()) == RECORDS * 30
    succeeded("verify", "--out", tmp_path)


@pytest.mark.thorough
def test_a_rebuild_that_is_killed_leaves_what_a_killed_run_had_committed(
    server: DaysOnly, tmp_path: Path
) -> None:
    """The former ledger's latest commits are in its log."""
    first = tmp_path / "before"
    server.longest = 1
    run = asked(server.url, NAME, *JUNE, "--out", first, "--rate", "40/s")
    with begun(*run) as process:
        until(lambda: list((first / NAME).glob("*")))
        process.kill()
    assert (first / "ledger.sqlite-wal").stat().st_size
    shutil.copytree(first, tmp_path / "done")
    server.data.clear()
    succeeded(*asked(server.url, NAME, *JUNE, "--out", tmp_path / "done"))
    left = len(server.data)
    killed = program(KILLED, tmp_path, "3", "rebuild", "--out", "{}")
    assert killed.returncode == 0, killed.stderr
    for step in steps_of(killed.stdout):
        place = tmp_path / step.split()[0]
        if is_former(place):
            server.data.clear()
            succeeded(*asked(server.url, NAME, *JUNE, "--out", place))
            assert len(server.data) == left, step


@pytest.mark.thorough
def test_after_a_refresh_that_is_killed_nothing_is_called_different(
    server: DaysOnly, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WeChat takes its days one by one now, so each window gives way to several."""
    sink = "sqlite:{}/records.db"
    first = tmp_path / "before"
    first.mkdir()
    succeeded(*asked(server.url, NAME, *JUNE, "--out", first, "--sink", sink.format(first)))
    server.longest = 1
    refresh = asked(server.url, NAME, *JUNE, "--out", "{}", "--sink", sink)
    killed = program(KILLED, tmp_path, "3", *refresh, "--refresh")
    assert killed.returncode == 0, killed.stderr
    unknown = 0
    for step in steps_of(killed.stdout):
        assert invoke(["verify", "--out", str(tmp_path / step.split()[0])]) == 0, step
        unknown += "not yet in the ledger" in capsys.readouterr().out
    assert unknown
