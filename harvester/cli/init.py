"""The command ``init``: asks for accounts and what to harvest, checks, writes the configuration.

Rule: overwrites nothing, and writes nothing before all is answered and checked.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from harvester.base import files as durable
from harvester.base.dates import last_legal_day, parse_past_day
from harvester.base.secrets import Secret
from harvester.cli.check import Asked, show_check
from harvester.cli.exit_status import COMPLETE, INTERRUPTED
from harvester.cli.language import translated
from harvester.cli.terminal import notify, show_line, show_text
from harvester.config import plugins
from harvester.config.files import DEFAULT_FILE, read_environment
from harvester.config.place import Place
from harvester.config.settings import KEYWORDS, OPTIONS
from harvester.errors import UsageError
from harvester.job import Job
from harvester.model import Account
from harvester.texts import joined, of_system, say
from harvester.tokens.official import check_appid
from harvester.transport import BASE_URL, foreign

ACCOUNTS = "accounts.toml"
WHERE: Mapping[str, Mapping[str, list[str]]] = {
    "1": {"export": ["xlsx:harvest.xlsx"]},
    "2": {},
    "3": {"sink": ["sqlite:harvest.db"]},
}
"""Where the figures go, by the answer: a workbook, a folder of lines, a database."""
NEEDED = "AppID", "AppSecret"

T = TypeVar("T")


class Answers(NamedTuple):
    """All answers.  goes: `sink` or `export`, as the configuration has them."""

    accounts: Sequence[Account]
    endpoints: Sequence[str]
    start: str
    goes: Mapping[str, list[str]]


def init() -> int:
    """Ask, check and write; returns the exit status.  Raises `UsageError`."""
    _check_free(DEFAULT_FILE, ACCOUNTS)
    answers = _asked()
    names = [
        name for name, each in OPTIONS.items() if "check" in each.commands and name in KEYWORDS
    ]
    options = read_environment(os.environ, {*names} - {"daily_quota", "ledger"})
    if where := foreign(str(options.get("base_url", BASE_URL))):
        notify(where)
    show_line()
    place = Place(Path("harvest"))
    status = show_check(
        place, Asked(answers.accounts, answers.endpoints, ()), options, as_json=False
    )
    if status == INTERRUPTED:
        return status
    show_line()
    show_text("Written: {}", joined(", ", _written(answers)))
    program = click.get_current_context().find_root().info_name
    if status != COMPLETE:
        show_text(
            "Correct what is named above (each secret is in its own file), then check again: {}"
            " check",
            program,
        )
    show_text("Then harvest, and look at the result:")
    show_line("  {}", f"{program} run")
    show_line("  {}", f"{program} status")
    return status


def _asked() -> Answers:
    _say(say("Defaults are in brackets.  Files are written after the last answer; Ctrl-C cancels."))
    accounts = [_account("")]
    groups = joined(", ", plugins.endpoint_groups())
    endpoints = _ask(
        say("Interfaces"),
        say(
            "What to harvest: groups or interfaces, separated by spaces; the groups are {}",
            groups,
        ),
        _interfaces,
        "users articles",
    )
    start = _ask(
        say("First day"),
        say("First day to harvest: YYYY-MM-DD, or `first` for everything that WeChat has"),
        _day,
        f"{last_legal_day(time.time()).year}-01-01",
    )
    goes = _ask(
        say("Destination"),
        say(
            "1: a workbook (harvest.xlsx), 2: a folder of JSON lines, 3: a database file; or"
            " NAME.xlsx, or a spec such as postgresql://…"
        ),
        lambda text: _goes(text, endpoints, start),
        "1" if find_spec("xlsxwriter") else "2",
    )
    while more := _account(
        say("AppID of another account; leave it empty if there is none"), accounts
    ):
        accounts.append(more)
    return Answers(accounts, endpoints, start, goes)


def _account(instead: str, others: Sequence[Account] = ()) -> Any:
    """An account, or None; instead: the question about a further one, which may be left empty."""

    def free(text: str) -> str:
        if not text and instead:
            return ""
        appid = check_appid(text)
        if appid in [each.appid for each in others]:
            raise UsageError("{} was already given", appid)
        _check_free(_file(appid))
        return appid

    where = say(
        "AppID: in WeChat's console, mp.weixin.qq.com, on the page with the developer settings"
        " (基本配置)"
    )
    if not (appid := _ask(NEEDED[0], instead or where, free, "" if instead else None)):
        return None
    where = say(
        "AppSecret: on the same page; WeChat shows it only once, when it is created or reset. "
        " Your input is not displayed.  Also add this machine's IP address to the allow list on"
        " that page"
    )
    return Account(appid, secret=_ask(NEEDED[1], where, _secret, hidden=True))


def _ask(
    name: str,
    about: str,
    taken: Callable[[str], T],
    default: str | None = None,
    *,
    hidden: bool = False,
) -> T:
    """An answer, asked for until it can be used; without a terminal it is the next line."""
    _say(about)
    if sys.stdin is None or not sys.stdin.isatty():
        line = sys.stdin.readline() if sys.stdin else ""
        text = line.strip() or default
        if text is None:
            missing = NEEDED[NEEDED.index(name) :]
            raise UsageError("standard input ends before {} is given", joined(", ", missing))
        return taken(text)
    while True:
        text = click.prompt(
            translated(name), default, hide_input=hidden, show_default=bool(default), err=True
        )
        try:
            return taken(text.strip())
        except UsageError as exc:
            notify(str(exc), level="error")


def _say(text: str) -> None:
    click.echo(translated(text), err=True)


def _secret(text: str) -> Secret:
    secret = Secret(text)
    if not text or not secret.is_text:
        raise UsageError("AppSecret: it contains characters that an AppSecret cannot contain")
    return secret


def _interfaces(text: str) -> list[str]:
    names = text.replace(",", " ").split()
    plugins.interfaces_of(names)
    return names


def _day(text: str) -> str:
    if text != "first":
        parse_past_day(text, time.time(), "start")
    return text


def _goes(text: str, endpoints: Sequence[str], start: str) -> Mapping[str, list[str]]:
    if text.isdigit() and text not in WHERE:
        raise UsageError("answer 1, 2 or 3")
    workbook = text.removeprefix("xlsx:")
    named = {"export": [f"xlsx:{workbook}"]} if workbook.endswith(".xlsx") else {"sink": [text]}
    goes = WHERE.get(text, named)
    given: dict[str, Any] = {"endpoints": endpoints, "start": start, "end": "yesterday", **goes}
    Job(accounts=ACCOUNTS, **given)  # raises what is wrong with it
    return goes


def _file(appid: str) -> str:
    return f"{appid}.secret"


def _check_free(*names: str) -> None:
    if there := [name for name in names if os.path.lexists(name)]:
        raise UsageError(
            "{} already exists, and init does not overwrite files: move it, or use another folder",
            joined(", ", there),
        )


def _written(answers: Answers) -> list[str]:
    """Make the files, the secrets first; returns their names.  If one fails none is left."""
    secrets = {
        _file(each.appid): f"{each.secret.value}\n"
        for each in answers.accounts
        if isinstance(each.secret, Secret)
    }
    accounts = "\n".join(
        f'[[account]]\nappid = "{each.appid}"\nsecret = "file:{_file(each.appid)}"\n'
        for each in answers.accounts
    )
    values = {
        "accounts": ACCOUNTS, "endpoint": answers.endpoints, "start": answers.start,
        "end": "yesterday", **answers.goes,
    }  # fmt: skip
    config = "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items()
    )
    made = {**secrets, ACCOUNTS: accounts, DEFAULT_FILE: config}
    with ExitStack() as undo:
        for name, text in made.items():
            path = Path(name)
            mode = 0o600 if name in secrets else 0o644
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                undo.callback(path.unlink)
                try:
                    durable.write(descriptor, text.encode(), "configuration")
                    durable.sync(descriptor, "configuration")
                finally:
                    os.close(descriptor)
            except OSError as exc:
                raise UsageError("{} cannot be written ({})", path, of_system(exc)) from None
        undo.pop_all()
    return [*made]
