"""Files that the command makes: their rights, and where they may be; and output that is full."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import harvester
from tests.scenarios.command import asked, succeeded
from tests.scenarios.server import Server
from tests.support import A, command, environment, harvest

SINKS = ("sqlite:x.db", "sqlite:y.db", "jsonl:p?compress=gzip", "jsonl:z")
JANUARY = ("2024-01-01", "2024-01-31")


@pytest.fixture
def mask() -> Iterator[None]:
    """Files of a group that may write them."""
    former = os.umask(0o002)
    yield
    os.umask(former)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.thorough
@pytest.mark.usefixtures("mask")
def test_the_umask_decides_about_files_and_secrets_are_the_owners(tmp_path: Path) -> None:
    sinks = [word for spec in SINKS for word in ("--sink", spec)]
    with Server() as server:
        given = asked(server.url, "getusersummary", *JANUARY)
        succeeded(*given, *sinks, "--token-store", "file:token.json", cwd=tmp_path)
    succeeded("report", cwd=tmp_path)
    (tmp_path / "harvest" / "ledger.sqlite").unlink()
    succeeded("rebuild", "--sink", "jsonl:z", cwd=tmp_path)
    secret = {path for path in tmp_path.rglob("*") if path.name.startswith("token.json")}
    assert {rights(path) for path in secret} == {0o600}
    others = {path for path in tmp_path.rglob("*") if path.is_file()} - secret
    assert {path.name: oct(rights(path)) for path in others if rights(path) != 0o664} == {}
    assert len(others) > 8
    assert {rights(path) for path in tmp_path.rglob("*") if path.is_dir()} == {0o775}


@pytest.mark.thorough
@pytest.mark.parametrize("given", [
    ("--sink", "sqlite:no/such/x.db"), ("--ledger", "no/such/x.db"),
    ("--ledger", "sqlite:no/such/x.db"),
])  # fmt: skip
def test_a_mistyped_directory_of_a_file_is_not_made(tmp_path: Path, given: tuple[str, str]) -> None:
    with Server() as server:
        done = harvest(*asked(server.url, "getusersummary", *JANUARY, *given), cwd=tmp_path)
        assert server.requests == 0
    assert done.returncode == 2
    said = (
        "x.db cannot be created: there is no directory no/such; create the directory, or"
        " correct the path"
    )
    assert said in done.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("how", [{"sink": "sqlite:no/such/x.db"}, {"ledger": "no/such/x.db"}])
def test_the_library_makes_none_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    account = harvester.Account(A, secret="practice")
    with pytest.raises(
        harvester.UsageError, match="there is no directory no/such; create the directory"
    ):
        harvester.run_sync(
            account, "getusersummary", *JANUARY, **{"sink": "memory:", **how}  # type: ignore[arg-type]
        )  # fmt: skip
    assert not [*tmp_path.iterdir()]


@pytest.mark.thorough
def test_the_directory_of_out_is_made(tmp_path: Path) -> None:
    with Server() as server:
        given = asked(server.url, "getusersummary", *JANUARY, "--out", "a/b")
        succeeded(*given, cwd=tmp_path)
    assert (tmp_path / "a" / "b" / "ledger.sqlite").exists()


def full(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command with its output on a disk that is full."""
    with Path("/dev/full").open("w") as disk:
        return subprocess.run(
            command(*arguments), stdout=disk, stderr=subprocess.PIPE, text=True, timeout=60,
            cwd=cwd, env=environment(), check=False,
        )  # fmt: skip


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The directory of a run."""
    with Server() as server:
        succeeded(*asked(server.url, "getusersummary", *JANUARY), cwd=tmp_path)
    return tmp_path


PLAN = ("plan", "users", "--start", "2024-01-01", "--end", "2024-01-02")


@pytest.mark.thorough
def test_a_full_disk_of_the_output_is_no_wrong_argument(ran: Path) -> None:
    said = "harvester: the output cannot be written (No space left on device)\n"
    for arguments in (
        ("endpoints",), ("endpoints", "--json"), ("--help",), ("--version",), PLAN,
        (*PLAN, "--json"), ("status",), ("status", "--json"), ("verify",), ("report",),
        ("simulate", "--port", "0"), ("rebuild",),
    ):  # fmt: skip
        done = full(*arguments, cwd=ran)
        assert (done.returncode, done.stderr) == (4, said), arguments


@pytest.mark.thorough
def test_a_report_that_cannot_be_written_is_on_the_other_output(ran: Path) -> None:
    with Server() as server:
        given = asked(server.url, "getusersummary", *JANUARY, "--json", "--quiet")
        done = full(*given, cwd=ran)
    assert done.returncode == 4
    assert '"the output cannot be written (No space left on device)"' in done.stderr
