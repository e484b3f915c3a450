"""The pages of --help in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from harvester.cli.commands import cli, invoke
from harvester.cli.language import choose
from tests.texts import HAN

ENGLISH = re.compile(r"(?<![\w./'<-])[a-z]{2,} [a-z]{2,}(?![\w./'-])")
"""Two English words one after the other, as in a sentence."""


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    choose("en")


def page_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints."""
    assert invoke(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def _commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from _commands(each, *path, name)
        else:
            yield (*path, name)


COMMANDS = sorted(_commands(cli))
NAMES = r"harvester(?: --?[a-z=|-]+| [A-Za-z.\[\]…-]+| wx…| \d[\d-]+)*"
"""Commands as they are typed, which stay."""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_each_command_is_chinese(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    page = page_of(capsys, "--lang", "zh", *command, "--help")
    assert page.startswith("用法：harvester")
    assert "选项：" in page
    assert ENGLISH.findall(re.sub(NAMES, "", page)) == []
    assert all(width <= 100 for width in map(_columns, page.splitlines()))


def _columns(line: str) -> int:
    return sum(2 if HAN.match(each) else 1 for each in line)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_has_the_same_options_in_both_languages(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    pages = [page_of(capsys, "--lang", each, *command, "--help") for each in ("zh", "en")]
    lists = [re.split(r"选项：|Options:", page)[-1] for page in pages]
    options = [re.findall(r"^  (?:-h, )?(--[\w-]+(?: \S+)?)", p, re.MULTILINE) for p in lists]
    assert options[0] == options[1]
    assert options[0]
