"""The options of the table, as those of the command line, the environment and a file.

Rule: knows no command.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from harvester.cli.terminal import notify
from harvester.config.files import (
    DEFAULT_FILE,
    dashed,
    located,
    over,
    read_config,
    read_environment,
    unknown_variables,
)
from harvester.config.interfaces import read_interfaces
from harvester.config.settings import (
    FLAG,
    OPTIONS,
    PATH,
    REQUIRED,
    InvalidOptionError,
    read,
)
from harvester.texts import say
from harvester.transport import BASE_URL, foreign


class _File(click.Path):
    """A path, not a URL: a URL used as a path would leave a password on the disk."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value):
            self.fail(say("{!r} is a URL, not a path", value), param, ctx)
        return super().convert(value, param, ctx)


FILE = _File(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])

PLACES = say(
    "An option can also be set in the environment, as HARVESTER_ and its name"
    " (HARVESTER_DAILY_QUOTA=1000, HARVESTER_WAIT=yes; values of --sink, --only and"
    " ENDPOINT are separated by spaces), or in the file of --config.  The command line overrides "
    "the environment, and the environment overrides the file."
)
UNASKED = "harvester.unasked"
ENDPOINT = "endpoint"
INTERFACES = "harvester.interfaces"


def flag(name: str) -> str:
    """An option as the user types it."""
    return f"--{dashed(name)}"


def read_option(context: click.Context, parameter: click.Parameter, given: Any) -> Any:
    """The value of what was typed for an option, or of its default."""
    name = str(parameter.name)
    if context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
        return given  # of the environment or the file, and read already
    if OPTIONS[name].several:
        return tuple(_read_one(name, each) for each in given)
    return _read_one(name, given)


def _read_one(name: str, given: Any) -> Any:
    if not isinstance(given, str):
        return given  # a default
    try:
        return read(name, given)
    except InvalidOptionError as exc:
        raise exc.named(flag(name)) from None


def _option(name: str) -> Callable[[F], F]:
    option = OPTIONS[name]
    if name == ENDPOINT:
        return click.argument(name, nargs=-1, metavar="ENDPOINT...")
    if option.kind is FLAG:
        return click.option(flag(name), name, is_flag=True, help=option.help)
    default = None if option.default is REQUIRED else option.default
    return click.option(
        flag(name),
        name,
        type=click.UNPROCESSED,
        callback=read_option,
        metavar=option.metavar or option.kind.metavar,
        multiple=option.several,
        show_default=True,
        help=option.help,
        default=default,
        shell_complete=FILE.shell_complete if option.kind is PATH else None,
    )


def options_of(command: str) -> Callable[[F], F]:
    """The options that a command takes, and ``--config``, which may hold them."""

    def decorate(function: F) -> F:
        function = config_option(function)
        for name in reversed(list(OPTIONS)):
            if command in OPTIONS[name].commands:
                function = _option(name)(function)
        return function

    return decorate


def sink_option(help_: str) -> Callable[[F], F]:
    """``--sink``, repeatable, of a command that finds the records by the ledger."""
    return click.option(
        "--sink",
        metavar="SPEC",
        multiple=True,
        type=click.UNPROCESSED,
        callback=read_option,
        help=help_,
    )


known_sink_option = sink_option(
    "A sink that the ledger lists, by a spec that works on this machine; repeatable."
)


def _load_config(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Use the environment and a file as the defaults of the command's options."""
    if context.resilient_parsing:
        return  # a shell completes a word
    unasked = path is None and os.path.lexists(DEFAULT_FILE)
    for problem in unknown_variables(os.environ):
        notify(problem)
    own = {parameter.name for parameter in context.command.params}
    file = read_config(path) if path or unasked else {}
    if unasked:
        path = Path(DEFAULT_FILE)
        context.meta[UNASKED] = True
    interfaces = file.pop("interface", None)
    if interfaces:
        context.meta[INTERFACES] = read_interfaces(interfaces, str(path))
    file = {name: value for name, value in file.items() if name in own}
    if path and path.parent != Path():  # here a path is shown as it was written
        if "out" in own:  # what another command with this file finds, wherever it is started
            file.setdefault("out", OPTIONS["out"].default)
        file = located(file, path.parent)
    context.default_map = over(file, read_environment(os.environ, own))


config_option = click.option(
    "--config",
    metavar="FILE",
    envvar="HARVESTER_CONFIG",
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=_load_config,
    help="TOML file with any of these options; relative paths in the file, and the default of"
    " --out, are relative to the directory of the file."
    f"  [default: ./{DEFAULT_FILE} if it exists]",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the same as one line of JSON."
)


def notify_file(*, quiet: bool = False) -> None:
    """Report a file that was found and not named, and a server that is not WeChat's."""
    context = click.get_current_context()
    if context.meta.get(UNASKED) and not quiet:
        notify("using ./{}, which is in this directory", DEFAULT_FILE, level="info")
    if where := foreign(context.params.get("base_url", BASE_URL)):
        notify(where)
