"""`init`: questions, a check, and files that the commands then take."""

from __future__ import annotations

import errno
import io
import os
import pty
import select
import signal
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harvester.base import files
from harvester.cli import init
from harvester.cli.commands import invoke
from harvester.job import Job
from tests.scenarios.command import Start, until
from tests.support import A, B, command, environment

Output = pytest.CaptureFixture[str]
SECRET = "on that page\r\nAppSecret: "
"""What is said last before the secret is read, which drops what was typed before."""
FILES = {"harvester.toml", "accounts.toml", f"{A}.secret"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("HARVESTER_SECRET", raising=False)
    monkeypatch.setenv("HARVESTER_RATE", "1000/s")
    return tmp_path / "here"


@pytest.fixture
def server(wechat: Start, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = wechat()
    monkeypatch.setenv("HARVESTER_BASE_URL", found.url)
    return found


def answered(monkeypatch: pytest.MonkeyPatch, *lines: str) -> int:
    """The exit status of `init`, which gets these lines."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    return invoke(["init"])


def there(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


@pytest.mark.thorough
def test_two_answers_suffice_and_the_two_commands_that_follow_work(
    folder: Path, server: Any, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answered(monkeypatch, A, "practice", "users", "yesterday-3d") == 0
    said = capsys.readouterr()
    assert "practice" not in said.out + said.err
    assert "IP address to the allow list" in said.err
    assert said.out.splitlines()[-2:] == ["  harvester run", "  harvester status"]
    assert there(folder) == FILES
    assert (folder / f"{A}.secret").stat().st_mode & 0o777 == 0o600
    config = tomllib.loads((folder / "harvester.toml").read_text())
    assert (config["endpoint"], config["end"]) == (["users"], "yesterday")
    assert "practice" not in (folder / "harvester.toml").read_text()
    assert {endpoint for endpoint, *_ in server.simulator.served_of} == {
        "getusersummary", "getusercumulate",
    }  # fmt: skip
    assert invoke(["run", "--quiet"]) == 0
    assert (folder / "harvest.xlsx").stat().st_size > 0
    assert invoke(["status", "--check"]) == 0
    assert Job.load("harvester.toml").run_sync().state == "complete"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("where", "made"), [("2", "harvest/getusersummary"), ("3", "harvest.db"), ("csv", "")]
)
def test_where_the_figures_go(
    where: str, made: str, folder: Path, server: Any, capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given = (A, "practice", "getusersummary", "yesterday-2d", where)
    assert answered(monkeypatch, *given) == (0 if made else 2)
    if not made:
        assert "harvester export csv" in capsys.readouterr().err
        assert there(folder) == set()
        return
    assert invoke(["run", "--quiet"]) == 0
    assert (folder / made).exists()
    assert not (folder / "harvest.xlsx").exists()


@pytest.mark.thorough
def test_several_accounts_have_a_secret_each(
    folder: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (A, "practice", "users", "yesterday-2d", "2", B, "practice")
    assert answered(monkeypatch, *given) == 0
    assert there(folder) == {*FILES, f"{B}.secret"}
    listed = tomllib.loads((folder / "accounts.toml").read_text())["account"]
    assert [each["appid"] for each in listed] == [A, B]
    assert invoke(["run", "--quiet"]) == 0


@pytest.mark.thorough
def test_a_check_that_fails_says_what_to_do_and_the_files_are_written(
    folder: Path, wechat: Start, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_BASE_URL", wechat(refuse_token={A: 40164}).url)
    assert answered(monkeypatch, A, "practice", "users", "", "2") == 1
    said = capsys.readouterr().out
    assert "allow list" in said
    assert (
        "Correct what is named above (each secret is in its own file), then check again: harvester"
    ) in said
    assert there(folder) == FILES


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "standard input ends before AppID, AppSecret is given"),
        ((A,), "standard input ends before AppSecret is given"),
        (("gh_0123456789ab",), "is the original id of an account"),
        ((A, "practice", "user"), "users"),
        ((A, "practice", "", "01.02.2024"), "is not a day"),
        ((A, "practice", "", "2130-01-01"), "the last day with data is yesterday"),
        ((A, "practice", "", "", "7"), "answer 1, 2 or 3"),
        ((A, "practice", "", "", "postgresql://me:pw@host/db"), "a job cannot hold a password"),
        ((A, "practice", "", "", "", A), f"{A} was already given"),
    ],
)
def test_an_answer_that_is_missing_or_cannot_be_used_writes_nothing(
    lines: tuple[str, ...], said: str, folder: Path, capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert answered(monkeypatch, *lines) == 2
    assert said in capsys.readouterr().err
    assert there(folder) == set()


@pytest.mark.parametrize(
    ("said", "goes"),
    [
        ("my.xlsx", {"export": ["xlsx:my.xlsx"]}),
        ("xlsx:my.xlsx", {"export": ["xlsx:my.xlsx"]}),
        ("sqlite:my.db", {"sink": ["sqlite:my.db"]}),
        ("2", {}),
    ],
)
def test_where_it_goes(said: str, goes: dict[str, list[str]]) -> None:
    assert init._goes(said, ["users"], "first") == goes


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_overwritten(
    name: str, folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / name).write_text("mine")
    assert answered(monkeypatch, A, "practice") == 2
    assert f"{name} already exists, and init does not overwrite files" in capsys.readouterr().err
    assert (there(folder), (folder / name).read_text()) == ({name}, "mine")


@pytest.mark.thorough
def test_a_full_disk_leaves_nothing(
    folder: Path, server: Any, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes, what: str) -> None:
        if b"yesterday" in data:  # the last file
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written(descriptor, data, what)

    written = files.write
    monkeypatch.setattr(files, "write", full)
    assert answered(monkeypatch, A, "practice", "users") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "harvester: harvester.toml cannot be written (No space left on device)"
    assert there(folder) == set()


class Typed:
    """The command at a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.said, self._read = "", 0
        program, *rest = command(*arguments)
        env = environment()
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.execve(program, [program, *rest], env)

    def read(self, text: str) -> None:
        """Read until it says this, after what was read before."""
        while (place := self.said.find(text, self._read)) < 0:
            assert select.select([self._terminal], [], [], 20.0)[0], f"{text!r} is not said"
            self.said += os.read(self._terminal, 1 << 12).decode(errors="replace")
        self._read = place + len(text)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def interrupted(self) -> int:
        """Its status after Ctrl-C; Python forgets one that comes just before it reads a line."""
        while True:
            os.kill(self.pid, signal.SIGINT)
            for _ in range(100):
                process, status = os.waitpid(self.pid, os.WNOHANG)
                if process:
                    return os.waitstatus_to_exitcode(status)
                time.sleep(0.1)

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.thorough
def test_at_a_terminal_the_secret_is_not_shown_and_a_mistake_is_asked_again(
    folder: Path, server: Any
) -> None:
    typed = Typed("--lang", "zh", "init")
    typed.read("AppID: ")
    typed.type("mistake!\n")
    typed.read("'mistake!'")
    typed.read("AppID: ")
    typed.type(f"{A}\n")
    typed.read("AppSecret: ")
    typed.type("practice\n")
    typed.read("[users articles]")
    typed.type("users\n")
    typed.read("-01-01]")
    typed.type("yesterday-2d\n")
    typed.read("[1]")
    typed.type("2\n")
    typed.read("另一个账号")
    typed.type("\n")
    typed.read("harvester status")
    assert typed.status() == 0
    assert "practice" not in typed.said
    assert "已写出" in typed.said
    assert there(folder) == FILES


@pytest.mark.thorough
@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("moment", [SECRET, "-01-01]", "checking"])
def test_an_interrupt_leaves_nothing(
    moment: str, folder: Path, wechat: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = wechat(latency=5.0 if moment == "checking" else 0.0)
    monkeypatch.setenv("HARVESTER_BASE_URL", slow.url)
    typed = Typed("init")
    for before, answer in (
        ("AppID: ", A), (SECRET, "practice"), ("articles]", "users"), ("-01-01]", ""),
        ("[1]", "2"), ("another account", ""),
    ):  # fmt: skip
        typed.read(before)
        if before == moment:
            break
        typed.type(f"{answer}\n")
    else:
        until(lambda: slow.simulator.counts["token"] or slow.simulator.counts["data"])
    assert typed.interrupted() == 130
    assert there(folder) == set()
