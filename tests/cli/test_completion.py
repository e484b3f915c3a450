"""What a shell completes: what click offers, in bash, zsh and fish, for both names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import program
from tests.support import ROOT, environment, harvest

NAMES = ("harvester", "wechat-harvester")
OFFERED = {
    ("sta",): "status", ("sink", "re"): "remove", ("run", "--sta"): "--start",
    ("run", "--sink", "sqlite", ":", "a.db", "--sta"): "--start",  # as bash cuts words
}  # fmt: skip
"""What is typed, and the word that is offered."""


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


@pytest.mark.thorough
def test_files_are_left_to_the_shell_and_words_of_a_choice_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said of a configuration meanwhile, and its mistakes hold up nothing."""
    (tmp_path / "harvester.toml").write_text("nonsense = 1")
    monkeypatch.setenv("HARVESTER_NONSENSE", "1")
    for command, option in (
        ("run", "--accounts"), ("run", "--out"), ("run", "--config"), ("report", "--html"),
    ):  # fmt: skip
        assert completed(tmp_path, command, option, "b") == ["file,b"]
    assert completed(tmp_path, "status", "--state", "w") == ["plain,waiting"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the command is, by both names; they are those of a new installation."""
    folder = tmp_path_factory.mktemp("completion")
    for name in NAMES:
        start = "import sys; from harvester.cli import main; main()"
        (folder / name).write_text(f"#!{sys.executable}\n{start}\n")
        (folder / name).chmod(0o755)
    return folder


def in_shell(folder: Path, shell: str, *lines: str) -> list[str]:
    """What a shell prints; one that is not installed is skipped, and fails under CI."""
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [program(shell), *options, "-c", "\n".join(lines)],
        cwd=folder, capture_output=True, text=True, check=True, timeout=60,
        env=environment(PATH=f"{folder}:{os.environ['PATH']}", HOME=str(folder)),
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def switched_on(shell: str, name: str) -> str:
    """The line of the page for a shell, by that name of the command."""
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    [line] = re.findall(rf"^.*_COMPLETE={shell}_source .*$", page, re.MULTILINE)
    if name != "harvester":
        line = line.replace("_HARVESTER_", "_WECHAT_HARVESTER_").replace(" harvester", f" {name}")
    return line


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("typed", OFFERED, ids=" ".join)
def test_bash_completes_what_the_command_offers(
    folder: Path, name: str, typed: tuple[str, ...]
) -> None:
    function = f"_{name.replace('-', '_')}_completion"
    registered, offered = in_shell(
        folder, "bash", switched_on("bash", name), f"complete -p {name}",
        f"COMP_WORDS=({name} {' '.join(typed)}); COMP_CWORD={len(typed)}",
        f'{function} {name}; echo "${{COMPREPLY[@]}}"',
    )  # fmt: skip
    assert registered.endswith(f"{function} {name}")
    assert offered == OFFERED[typed]


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("typed", OFFERED, ids=" ".join)
def test_zsh_completes_what_the_command_offers(
    folder: Path, name: str, typed: tuple[str, ...]
) -> None:
    """Its completion system is for terminals; a function stands for the part that shows words."""
    function = f"_{name.replace('-', '_')}_completion"
    printed = in_shell(
        folder, "zsh", "autoload -Uz compinit && compinit -u -D", switched_on("zsh", name),
        f"print $_comps[{name}]", "_describe() { print -r -- ${(P)3} }",
        f"words=({name} {' '.join(typed)}); CURRENT={len(typed) + 1}", function,
    )  # fmt: skip
    assert printed[0] == function
    assert printed[1].split(":")[0] == OFFERED[typed]


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("typed", OFFERED, ids=" ".join)
def test_fish_completes_what_the_command_offers(
    folder: Path, name: str, typed: tuple[str, ...]
) -> None:
    printed = in_shell(
        folder, "fish", switched_on("fish", name),
        f"complete --do-complete '{name} {' '.join(typed)}'",
    )  # fmt: skip
    assert [line.split("\t")[0] for line in printed] == [OFFERED[typed]]
