"""What a shell completes, by click's protocol, and in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.cli import completion
from harvester.config import plugins
from tests.machine import program
from tests.support import environment, harvest


def completed(folder: Path, *typed: str) -> list[str]:
    """What is offered for the last word, as fish asks for it: a type and a value a line."""
    asked = {
        "_HARVESTER_COMPLETE": "fish_complete",
        "COMP_WORDS": " ".join(["harvester", *typed]),
        "COMP_CWORD": typed[-1],
    }
    done = harvest(cwd=folder, **asked)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


def values(folder: Path, *typed: str) -> list[str]:
    return [line.partition(",")[2] for line in completed(folder, *typed)]


@pytest.mark.parametrize(
    "typed",
    [("run", "us"), *[pytest.param(each, marks=pytest.mark.thorough) for each in (
        ("status", "--endpoint", "us"), ("export", "--endpoint", "us"),
        ("forget", "--endpoint", "us"), ("endpoints", "us"),
    )]],
)  # fmt: skip
def test_groups_and_interfaces_are_completed(tmp_path: Path, typed: tuple[str, ...]) -> None:
    assert values(tmp_path, *typed) == ["users"]
    whole = values(tmp_path, *typed[:-1], "getuser")
    assert whole == [name for name in plugins.endpoint_names() if name.startswith("getuser")]


def test_interfaces_of_the_configuration_are_completed_and_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harvester.toml").write_text(
        '[[interface]]\nname = "ourfigures"\npath = "/datacube/ourfigures"\n'
        'first_day = "2026-01-01"\nspan = 7\n'
    )
    monkeypatch.setenv("HARVESTER_NONSENSE", "1")  # a command would warn
    assert values(tmp_path, "run", "our") == ["ourfigures"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "typed",
    [("run", "--sink", ""), ("export", "--from", ""), ("mcp", "--from", ""), ("sink", "add", ""),
     ("report", "--sink", "")],
)  # fmt: skip
def test_sinks_are_completed_with_their_colon(tmp_path: Path, typed: tuple[str, ...]) -> None:
    offered = values(tmp_path, *typed[:-1], "m")
    assert offered == ["memory:", "mysql:"]


@pytest.mark.thorough
@pytest.mark.parametrize("typed", [("export",), ("run", "--export")])
def test_exports_are_completed_with_their_colon(tmp_path: Path, typed: tuple[str, ...]) -> None:
    assert values(tmp_path, *typed, "p") == ["parquet:"]
    assert len(values(tmp_path, *typed, "x")) == 1


@pytest.mark.thorough
def test_files_are_left_to_the_shell_and_words_are_offered(tmp_path: Path) -> None:
    for option in ("--accounts", "--out", "--config", "--metrics"):
        assert completed(tmp_path, "run", option, "b") == ["file,b"]
    assert values(tmp_path, "run", "--order", "n") == ["newest"]
    assert values(tmp_path, "run", "--token-store", "r") == ["redis:"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_command_for_its_words(shell: str) -> None:
    done = harvest("completion", shell)
    assert done.returncode == 0
    assert f"_HARVESTER_COMPLETE={shell}_complete" in done.stdout
    assert "harvester" in done.stdout


def test_another_shell_is_refused() -> None:
    done = harvest("completion", "csh")
    assert done.returncode == 2
    assert "bash" in done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the script of each shell is, and the command that it asks."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in completion.SHELLS:
        (folder / f"completion.{shell}").write_text(harvest("completion", shell).stdout)
    program = folder / "harvester"
    program.write_text('#!/bin/sh\nexec python -m harvester "$@"\n')
    program.chmod(0o755)
    return folder


def in_shell(folder: Path, shell: str, *lines: str) -> list[str]:
    """What a shell prints; one that is not installed is skipped, and fails under CI."""
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [program(shell), *options, "-c", "\n".join(lines)],
        cwd=folder, capture_output=True, text=True, check=True, timeout=60,
        env=environment(PATH=f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"),
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_a_group(folder: Path) -> None:
    registered, offered = in_shell(
        folder, "bash",
        "source completion.bash; complete -p harvester",
        "COMP_WORDS=(harvester run us); COMP_CWORD=2",
        '_harvester_completion harvester us run; echo "${COMPREPLY[@]}"',
    )  # fmt: skip
    assert registered.endswith("_harvester_completion harvester")
    assert offered == "users"


WORDS = [
    (("run", "us"), "users"), (("status", "--endpoint", "getusersum"), "getusersummary"),
    (("run", "--sink", "sq"), "sqlite:"), (("export", "pa"), "parquet:"),
]  # fmt: skip
"""What is typed, and the word that is offered: a group, an interface, a sink, an export."""


@pytest.mark.thorough
@pytest.mark.parametrize(("typed", "word"), WORDS, ids=lambda each: str(each))
def test_zsh_completes_what_the_command_offers(
    folder: Path, typed: tuple[str, ...], word: str
) -> None:
    """Its completion system is for terminals; these functions stand for the part that we call."""
    printed = in_shell(
        folder, "zsh",
        'compdef() { print -r -- "compdef $*" }',
        'compadd() { print -r -- ${(P)@[-1]} }',
        "source ./completion.zsh",
        f"words=(harvester {' '.join(typed)}); CURRENT={len(typed) + 1}",
        "_harvester_completion",
    )  # fmt: skip
    assert printed[0] == "compdef _harvester_completion harvester"
    assert printed[1:] == [word]


@pytest.mark.thorough
@pytest.mark.parametrize(("typed", "word"), WORDS, ids=lambda each: str(each))
def test_fish_completes_what_the_command_offers(
    folder: Path, typed: tuple[str, ...], word: str
) -> None:
    printed = in_shell(
        folder, "fish",
        "source completion.fish",
        f"complete --do-complete 'harvester {' '.join(typed)}'",
    )  # fmt: skip
    assert printed == [word]
