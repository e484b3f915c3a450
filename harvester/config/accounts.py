"""The accounts of a file, TOML with tables or CSV with a header line; or the one of ``appid``.

Rule: secrets are references; every error names the file and the account or line in it.

A malformed file is refused.  A reference that cannot be read stops only its own account: the
account is part of the run, gets no token, and its windows fail with the reason.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harvester.base.dates import nearest
from harvester.base.secrets import Secret, check_reference, read_reference
from harvester.config.files import read_toml
from harvester.errors import UsageError
from harvester.model import Account, Action, Send, Token, Verdict
from harvester.texts import joined, of_system, say
from harvester.tokens.external import HttpToken
from harvester.tokens.official import SECRET_KINDS, TOKEN_KINDS, check_appid, provider_for
from harvester.tokens.platform import Platform
from harvester.tokens.shared import TokenRefusedError

T = TypeVar("T")

SECRET_VARIABLE = "HARVESTER_SECRET"  # the name, not the secret
ACCOUNT_KEYS = (
    "appid", "name", "group", "enabled", "secret", "token", "token_header", "platform",
    "refresh_token", "concurrency",
)  # fmt: skip
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
WITH_MORE = ("cloudbase", "command", "http", "https", "static")
PLATFORM_KEYS = ("name", "appid", "secret", "ticket")
_OTHER_SIGNS = {";": "semicolons", "\t": "tabs", "|": "bars", "，": "Chinese commas"}
FIRST = 3


class NoAccountError(UsageError):
    """No account of a file can be used.  problems: the reasons, each once."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        more = len(problems) - FIRST
        reasons = [*problems[:FIRST], *([say("and {:,} more", more)] if more > 0 else [])]
        super().__init__("no account of {} can be used: {}", path, joined("; ", reasons))
        self.path, self.problems = path, problems

    def __reduce__(self) -> tuple[type[NoAccountError], tuple[Path, list[str]]]:
        return type(self), (self.path, self.problems)


class _BrokenError(UsageError):
    """A reference of one account or platform cannot be read."""


class _Broken:
    """The token provider of an account whose reference cannot be read: it has no token."""

    shareable = False

    def __init__(self, problem: str) -> None:
        self.problem = problem

    async def fetch(self, send: Send) -> Token:
        raise TokenRefusedError(Verdict(Action.STOP_ACCOUNT, self.problem))


class Entry(NamedTuple):
    """One account or platform of a file, and its position there."""

    where: str
    values: dict[str, str]

    @property
    def enabled(self) -> bool:
        given = self.values.get("enabled", "true").lower()
        if given not in _WORDS:
            raise UsageError("{}: enabled must be true or false, not {!r}", self.where, given)
        return _WORDS[given]


class ListedAccount(NamedTuple):
    """An account as listed in a file, without its secret."""

    appid: str
    name: str
    group: str
    enabled: bool


class _Reading(NamedTuple):
    """What all accounts of a file share; broken: platforms that cannot be used, with the reason."""

    folder: Path
    platforms: dict[str, Platform]
    broken: dict[str, str]
    secrets: bool

    def secret(self, where: str, reference: str, noun: str = "secret") -> Secret:
        """The value of a reference; a placeholder if references are not read."""
        _placed(where, lambda: check_reference(reference, noun))
        if not self.secrets:
            return Secret("-")
        try:
            secret = read_reference(reference, self.folder, noun)
        except UsageError as exc:
            raise _BrokenError("{}: {}", where, exc) from None
        if not secret.is_text:
            raise _BrokenError("{}: the {} {} is not UTF-8 text", where, noun, reference)
        return secret

    def path(self, where: str, key: str, reference: str) -> Path:
        kind, _, name = reference.partition(":")
        if kind != "file" or not name:
            raise UsageError("{}: {} must be a reference: file:PATH", where, key)
        path = self.folder / Path(name).expanduser()
        if self.secrets and not path.is_file():
            raise _BrokenError("{}: {}: there is no file {}", where, key, path)
        return path


def read_accounts(path: Path, *, secrets: bool = True, only: Collection[str] = ()) -> list[Account]:
    """The enabled accounts of a file; raises `UsageError`, also if none can have a token.

    secrets: whether references are read; if not, no account can fetch a token.
    only: appids, names and groups; if there are any, only their accounts.
    """
    tables, entries = _content(path)
    chosen = {each.appid for each in _enabled([*map(_listed, entries)], path, only)}
    entries = [each for each in entries if each.values["appid"] in chosen]
    reading = _Reading(path.parent, {}, {}, secrets)
    for entry in tables:
        _add_platform(entry, reading)
    accounts = [_completed(entry, _account(entry, reading)) for entry in entries]
    problems = [each.token.problem for each in accounts if isinstance(each.token, _Broken)]
    if len(problems) == len(accounts):
        reasons = list(dict.fromkeys(problems))
        raise UsageError(reasons[0]) if len(reasons) == 1 else NoAccountError(path, reasons)
    return accounts


def list_accounts(path: Path) -> list[ListedAccount]:
    """All accounts of a file, without secrets; raises `UsageError`."""
    return [_listed(entry) for entry in _content(path)[1]]


def choose(
    listed: Collection[ListedAccount], only: Collection[str], where: object
) -> list[ListedAccount]:
    """Those with one of these appids, names or groups, or all; raises `UsageError`."""
    if not only:
        return list(listed)
    known = {word: None for each in listed for word in each[:3] if word}
    for word in only:
        if word not in known:
            raise UsageError(
                "{} has no account, name or group {!r}{}", where, word, nearest(word, known)
            )
    return [each for each in listed if not {*each[:3]}.isdisjoint(only)]


def _enabled(
    listed: Collection[ListedAccount], path: Path, only: Collection[str]
) -> list[ListedAccount]:
    chosen = choose(listed, only, path)
    found = [each for each in chosen if each.enabled]
    if not found:
        raise UsageError(
            "{} disables {}; write enabled = true to harvest one",
            path,
            say("each of {}", ", ".join(only)) if only else say("every account"),
        )
    return found


def _content(path: Path) -> tuple[list[Entry], list[Entry]]:
    """The platforms and the accounts of a file, each account once."""
    if path.suffix.lower() == ".csv":
        tables: list[Entry] = []
        entries = list(_rows(path))
    else:
        tables, entries = _tables(path)
    if not entries:
        raise UsageError(
            "{} names no account; add [[account]] tables, or lines to a CSV file", path
        )
    _check_once(entries)
    return tables, entries


def _listed(entry: Entry) -> ListedAccount:
    values = entry.values
    return ListedAccount(
        values["appid"], values.get("name", ""), values.get("group", ""), entry.enabled
    )


def single_account(appid: str) -> Account:
    """The account of ``--appid``; its secret is in the environment."""
    secret = os.environ.get(SECRET_VARIABLE, "").strip()
    check_appid(appid)
    if not secret:
        raise UsageError(
            "the account {} has no secret; put it into the environment variable {}",
            appid,
            SECRET_VARIABLE,
        )
    return Account(appid, secret=secret)


def _tables(path: Path) -> tuple[list[Entry], list[Entry]]:
    try:
        content = read_toml(path)
    except UsageError as exc:
        if path.suffix.lower() == ".toml" or not path.is_file():
            raise
        raise UsageError("{}; a CSV file ends with .csv: rename it", exc) from None
    for key in content:
        if key not in ("account", "platform", "csv"):
            hint = nearest(key, ("account", "platform", "csv"))
            raise UsageError(
                "{}: unknown key {!r}{}; accounts are [[account]] tables", path, key, hint
            )
    entries = _entries(path, content, "account", ACCOUNT_KEYS)
    if "csv" in content:
        if not isinstance(content["csv"], str):
            raise UsageError("{}: csv is not a string", path)
        entries += _rows(path.parent / Path(content["csv"]).expanduser())
    return _entries(path, content, "platform", PLATFORM_KEYS), entries


def _entries(path: Path, content: dict[str, Any], kind: str, keys: Collection[str]) -> list[Entry]:
    tables = content.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError("{}: {} is not a list of tables; write [[{}]]", path, kind, kind)
    entries = [Entry(f"{path}, {kind} {n}", table) for n, table in enumerate(tables, 1)]
    for where, table in entries:
        _check_keys(where, table, keys)
        for key, value in table.items():
            if key == "concurrency" or (key == "enabled" and isinstance(value, bool)):
                table[key] = str(value)  # as a CSV file has it
            elif key == "enabled" and not isinstance(value, str):
                raise UsageError("{}: enabled must be true or false, not {!r}", where, value)
            elif not isinstance(value, str) or not value:
                raise UsageError("{}: {} is not a string, or empty", where, key)
    return entries


def _check_keys(where: str, given: Collection[str], known: Collection[str]) -> None:
    for key in given:
        if key not in known:
            hint = nearest(str(key), known)
            raise UsageError(
                "{}: unknown key {!r}{}; the known keys are {}", where, key, hint, ", ".join(known)
            )


def _rows(path: Path) -> Iterator[Entry]:
    """The accounts of a CSV file; an empty field counts as missing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise UsageError("{} cannot be read ({})", path, of_system(exc)) from None
    except UnicodeDecodeError:
        raise UsageError(
            "{} is not UTF-8 text (Excel: save it as CSV UTF-8, not as CSV)", path
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(say("{}, line 1", path), header)
        for row in reader:
            if entry := _row(say("{}, line {}", path, reader.line_num), header, row):
                yield entry
    except csv.Error as exc:
        raise UsageError("{}, line {} is not CSV: {}", path, reader.line_num, exc) from None


def _check_header(where: str, header: list[str]) -> None:
    for sign, what in _OTHER_SIGNS.items():
        if len(header) == 1 and sign in header[0]:
            raise UsageError(
                "{}: the fields are separated by {}; separate them by commas (in a spreadsheet:"
                " save as CSV UTF-8, comma delimited)",
                where,
                say(what),
            )
    _check_keys(where, header, ACCOUNT_KEYS)
    if "appid" not in header or len(set(header)) < len(header):
        raise UsageError("{}: the header must have appid, and no key twice", where)


def _row(where: str, header: list[str], row: list[str]) -> Entry | None:
    fields = [field.strip() for field in row]
    if not any(fields):
        return None
    if len(fields) != len(header):
        raise UsageError("{} has {} fields, the header has {}", where, len(fields), len(header))
    return Entry(where, {key: text for key, text in zip(header, fields, strict=True) if text})


def _check_once(entries: list[Entry]) -> None:
    seen: dict[str, str] = {}
    for where, values in entries:
        if not values.get("appid"):
            raise UsageError("{} has no appid", where)
        appid = values["appid"]
        _placed(where, partial(check_appid, appid))
        if appid in seen:
            raise UsageError(
                "{}: the account {} was given twice, first in {}", where, appid, seen[appid]
            )
        seen[appid] = where


def _add_platform(entry: Entry, reading: _Reading) -> None:
    where, table = entry
    for key in ("appid", "secret", "ticket"):
        if key not in table:
            raise UsageError("{} has no {}", where, key)
    name = table.get("name", table["appid"])
    if name in reading.platforms:
        raise UsageError("{}: the platform {} was given twice", where, name)
    try:
        ticket = reading.path(where, "ticket", table["ticket"])
        secret = reading.secret(where, table["secret"])
    except _BrokenError as exc:
        reading.broken[name] = str(exc)
        ticket, secret = reading.folder, Secret("-")
    reading.platforms[name] = _placed(where, lambda: Platform(table["appid"], secret, ticket))


def _completed(entry: Entry, account: Account) -> Account:
    account = replace(
        account, name=entry.values.get("name", ""), group=entry.values.get("group", "")
    )
    given = entry.values.get("concurrency")
    if given is None:
        return account
    if not (given.isascii() and given.isdecimal() and int(given)):
        raise UsageError(
            "{}: concurrency must be a whole number of at least 1, not {!r}", entry.where, given
        )
    return replace(account, concurrency=int(given))


def _account(entry: Entry, reading: _Reading) -> Account:
    """An account; if it cannot have a token, the reason replaces its token source."""
    try:
        return _usable(entry, reading)
    except _BrokenError as exc:
        return Account(entry.values["appid"], token=_Broken(str(exc)))


def _usable(entry: Entry, reading: _Reading) -> Account:
    where, table = entry
    if "platform" in table or "refresh_token" in table:
        return _authorised(entry, reading)
    token = table.get("token", "stable")
    _check_kind(where, token)
    if "token_header" in table and not token.startswith(("http://", "https://")):
        raise UsageError("{}: token_header requires a token from https://…", where)
    if token in SECRET_KINDS:
        if "secret" not in table:
            raise UsageError(
                "{} ({}) has no secret; write secret = 'env:NAME'", where, table["appid"]
            )
        secret = reading.secret(where, table["secret"])
        return Account(table["appid"], secret=secret, token=token)
    if "secret" in table:
        raise UsageError("{}: secret is only for {} tokens", where, " or ".join(SECRET_KINDS))
    kind, _, reference = token.partition(":")
    if kind == "static":
        reading.secret(where, reference, "token")
    if not reading.secrets:
        return Account(table["appid"], secret="-")
    return _external(entry, Account(table["appid"], token=token), reading)


def _external(entry: Entry, account: Account, reading: _Reading) -> Account:
    where, table = entry
    if "token_header" in table:
        header = reading.secret(where, table["token_header"])
        return replace(account, token=HttpToken(table["token"], header))
    return replace(account, token=_placed(where, lambda: provider_for(account, reading.folder)))


def _authorised(entry: Entry, reading: _Reading) -> Account:
    where, table = entry
    for key in ("platform", "refresh_token"):
        if key not in table:
            raise UsageError("{} ({}) has no {}", where, table["appid"], key)
    for key in ("secret", "token", "token_header"):
        if key in table:
            raise UsageError("{}: {} cannot be combined with a platform", where, key)
    platform = reading.platforms.get(table["platform"])
    if platform is None:
        hint = nearest(table["platform"], reading.platforms)
        raise UsageError(
            "{}: there is no platform {!r}{}; write a [[platform]] table (for a CSV file: in a"
            " TOML file that refers to it with csv = 'FILE')",
            where,
            table["platform"],
            hint,
        )
    refresh = reading.path(where, "refresh_token", table["refresh_token"])
    if table["platform"] in reading.broken:
        raise _BrokenError(reading.broken[table["platform"]])
    return _placed(where, lambda: platform.account(table["appid"], refresh))


def _check_kind(where: str, token: str) -> None:
    kind, colon, _ = token.partition(":")
    if token not in (*SECRET_KINDS, "cloud", "cloudbase") and not (colon and kind in WITH_MORE):
        shown = say("as given") if Secret(token).is_long else repr(token)  # may be one itself
        raise UsageError("{}: token {} is not one of {}", where, shown, ", ".join(TOKEN_KINDS))


def _placed(where: str, make: Callable[[], T]) -> T:
    """The result of a call; an error names the place in the file."""
    try:
        return make()
    except UsageError as exc:
        raise UsageError("{}: {}", where, exc) from None
