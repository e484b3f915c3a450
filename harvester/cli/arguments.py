"""What a command was asked for: interfaces, days, and accounts with their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harvester.api import open_sinks, resolve
from harvester.cli import terminal as screen
from harvester.cli.options import ENDPOINT, INTERFACES, flag, notify_file
from harvester.cli.terminal import many, notify
from harvester.config.accounts import (
    NoAccountError,
    list_accounts,
    read_accounts,
    single_account,
)
from harvester.config.interfaces import choose_interfaces
from harvester.config.place import Place
from harvester.config.settings import KEYWORDS
from harvester.errors import UsageError
from harvester.model import Account, listed
from harvester.sinks.base import Sink
from harvester.texts import joined, say
from harvester.tokens.official import is_usual
from harvester.wechat.endpoint import JsonEndpoint

ACCOUNT = say(
    "--appid ID (its secret in the environment variable HARVESTER_SECRET), or --accounts FILE"
)
EXAMPLE = "users --appid wx0123456789abcdef --start 2024-01-01 --end yesterday"
LISTED = 20
"""The most unusable accounts that are listed one by one."""


def interfaces(values: dict[str, Any]) -> list[str | JsonEndpoint]:
    """What is to be harvested: names, and interfaces that the configuration describes."""
    return choose_interfaces(values["endpoint"], own_interfaces())


def own_interfaces() -> list[JsonEndpoint]:
    """Those that the configuration describes."""
    found: list[JsonEndpoint] = click.get_current_context().meta.get(INTERFACES, [])
    return found


def place(
    values: dict[str, Any], sinks: Sequence[Sink] | None = None, *, quiet: bool = False
) -> Place:
    """The place of the harvest; sinks: replace those of the option."""
    _, file = chosen(values) if "appid" in values else (None, values.get("accounts"))
    if sinks is None:
        specs = values.get("sink")
        sinks = open_sinks(specs) if specs else ()
    listed = list_accounts(file) if file is not None else None
    found = Place(values["out"], values["ledger"], own_interfaces(), sinks, listed)
    screen.name_accounts(found.names)
    if not quiet:
        notify_file()
    return found


def library(values: dict[str, Any]) -> Any:
    """The options that the library takes."""
    return {name: values[name] for name in KEYWORDS if name in values}


def require(values: dict[str, Any], *, account: bool = True) -> None:
    """Raise `UsageError` that names all that is missing, with an example."""
    missing = (
        [say("ENDPOINT (an interface or a group, for example users)")]
        if not values[ENDPOINT]
        else []
    )
    missing += [f"{flag(name)} DATE" for name in ("start", "end") if values[name] is None]
    without = account and not (values["appid"] or values["accounts"])
    if without:
        missing.append(say("an account (--appid ID or --accounts FILE)"))
    if missing:
        *others, last = missing
        if others:
            text = say("{} and {} are missing", joined(", ", others), last)
        else:
            text = say("{} is missing", last)
        if without and not others:
            text = say("no account was given; give {}", ACCOUNT)
        command = click.get_current_context().command.name
        raise UsageError("{}; for example: harvester {} {}", text, command, EXAMPLE)


def scope(values: dict[str, Any], accounts: list[Account]) -> tuple[Any, Any]:
    """What is asked for, checked, and the options as the engine takes them."""
    return resolve(accounts, interfaces(values), values["start"], values["end"], library(values))


def chosen(values: dict[str, Any]) -> tuple[str | None, Path | None]:
    """An appid or a file of accounts; the command line overrides a file."""
    appid, file = values["appid"], values["accounts"]
    if appid and file:
        named = [name for name in ("appid", "accounts") if typed(name)]
        if len(named) != 1:
            raise UsageError("give either --appid or --accounts")
        return (appid, None) if named == ["appid"] else (None, file)
    return appid, file


def typed(name: str) -> bool:
    """Whether an option was typed, and does not come from the environment or a file."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def accounts_in(
    values: dict[str, Any], file: Path, place: Place, *, secrets: bool = True
) -> list[Account]:
    """The accounts of a file; if none can be used, prints the reasons, one per line."""
    only = values["only"]
    try:
        accounts = read_accounts(file, only=only, secrets=secrets)
        screen.name_accounts({each.appid: each.name for each in accounts if each.name})
        resting = 0 if only else len(place.disabled)
        if resting and not values.get("quiet"):
            notify(
                "{} of {} left out: enabled is false", many(resting, "account"), file, level="info"
            )
        return accounts
    except NoAccountError as exc:
        for problem in exc.problems[:LISTED]:
            notify(problem)
        more = len(exc.problems) - LISTED
        others = say("and {:,} more; ", more) if more > 0 else ""
        raise UsageError("{}no account of {} can be used", others, exc.path) from None


def accounts(values: dict[str, Any], place: Place) -> list[Account]:
    """The accounts that are named, with their secrets; appids of an unusual shape are reported."""
    appid, file = chosen(values)
    if not file:
        refuse_only(values)
    found = accounts_in(values, file, place) if file else [single_account(appid or "")]
    if unusual := [each.appid for each in found if not is_usual(each.appid)]:
        notify(
            "{}: an AppID is wx and 16 hexadecimal characters; if this one is mistyped, correct"
            " it, and remove the wrong one from the ledger with `harvester forget --appid ID`",
            listed(unusual, "appid"),
        )
    return found


def refuse_only(values: dict[str, Any]) -> None:
    """Raise `UsageError` if accounts are to be selected, and there is no file of them."""
    if values["only"] and (typed("only") or not typed("appid")):  # not of a file that gives both
        raise UsageError("--only selects accounts from a file; add --accounts FILE")
