"""What a shell completes besides commands and options: interfaces, groups, sinks, exports, files.

Rule: click does the work; this module knows the words.  It opens no ledger and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

from harvester.cli.exit_status import COMPLETE
from harvester.config import plugins

SHELLS = ("bash", "zsh", "fish")
PROGRAM, VARIABLE = "harvester", "_HARVESTER_COMPLETE"
INTERFACES = "harvester.interfaces"
"""The place of a context that has the interfaces of the configuration."""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _beginning(incomplete: str, known: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(each) for each in known if each.startswith(incomplete)]


def names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Interfaces and groups: built-in ones, installed ones, and those of the configuration."""
    own = [each.name for each in context.meta.get(INTERFACES, ())]
    return _beginning(
        incomplete, sorted({*plugins.endpoint_groups(), *plugins.endpoint_names(), *own})
    )


def sinks(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of sinks, with the colon before their place."""
    known = plugins.sink_schemes()
    return _beginning(incomplete, [f"{each}:" if each[:1].isalpha() else each for each in known])


def exports(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of exports, with the colon before their place."""
    return _beginning(incomplete, [f"{each}:" for each in sorted(plugins.EXPORTS)])


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, which the shell finds itself."""
    return [CompletionItem(incomplete, type="file")]


def words(*known: str) -> Completer:
    """One of a few words."""
    return lambda _, __, incomplete: _beginning(incomplete, known)


def show_script(command: click.Command, shell: str) -> int:
    """Print the script by which the shell asks the command for completions."""
    made = get_completion_class(shell)
    assert made is not None  # click has all three
    print(made(command, {}, PROGRAM, VARIABLE).source())
    return COMPLETE
