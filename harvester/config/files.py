"""The options in ``harvester.toml`` and in the environment.

Rule: a file has the same options as the command line, and an unknown key is an error.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import tomllib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harvester.base.dates import nearest
from harvester.base.secrets import Secret
from harvester.config import plugins
from harvester.config.settings import (
    DURATION,
    OPTIONS,
    PATH,
    InvalidOptionError,
    check,
    read,
)
from harvester.errors import UsageError, without_passwords
from harvester.texts import of_system, say

DEFAULT_FILE = "harvester.toml"
SERVICE = "serve"
_SYNONYMS = {"endpoints": "endpoint"}
COMMAND_OPTIONS = [name for name, option in OPTIONS.items() if option.commands]


def read_toml(path: Path, *, found: bool = False) -> dict[str, Any]:
    """A TOML file's content; raises `UsageError` with the file, and the line if there is one.

    found: nobody has named it, so that it is refused if another user made it or can change it.
    """
    text = ""
    try:
        if found:
            _check_found(path, path.lstat())  # before it is opened: a pipe would block
        with path.open(encoding="utf-8-sig") as file:  # editors on Windows write a BOM
            if found:
                _check_found(path, os.fstat(file.fileno()), file.fileno())
            text = file.read()
        return tomllib.loads(text)
    except OSError as exc:
        raise UsageError("{} cannot be read ({})", path, of_system(exc)) from None
    except UnicodeDecodeError:
        raise UsageError("{} is not UTF-8 text; save it as UTF-8", path) from None
    except tomllib.TOMLDecodeError as exc:
        raise UsageError("{} is not TOML: {}{}", path, exc, _hint(text, str(exc))) from None
    except RecursionError:
        raise UsageError("{} cannot be read: its values are nested too deeply", path) from None


def _check_found(path: Path, status: os.stat_result, descriptor: int | None = None) -> None:
    """Raise `UsageError` for a file that another user but root made, or can write.

    descriptor: the file is open; else it may be a link, whose mode means nothing.
    """
    why = ""
    if status.st_uid not in (0, os.geteuid()):
        why = say("it belongs to another user")
    elif descriptor is not None and (
        status.st_mode & stat.S_IWOTH
        or (status.st_mode & stat.S_IWGRP and not _is_private(status, descriptor))
    ):
        why = say(
            "other users can write it; run: chmod go-w {} (in WSL this applies to all files under"
            " /mnt: move the file to a Linux directory such as ~)",
            path,
        )
    if why:
        raise UsageError("./{} is used only with --config {}: {}", path, path, why)


def _is_private(status: os.stat_result, descriptor: int) -> bool:
    """Whether what the mode of an open file lets its group do, only its owner can do."""
    users, members = pwd.getpwall(), set[str]()
    with suppress(KeyError):
        members = {*grp.getgrgid(status.st_gid).gr_mem}
    return (
        {each.pw_uid for each in users if each.pw_gid == status.st_gid} == {status.st_uid}
        and members <= {each.pw_name for each in users if each.pw_uid == status.st_uid}
        and _ACCESS_LIST not in getattr(os, "listxattr", lambda _: ())(descriptor)
    )


_ACCESS_LIST = "system.posix_acl_access"
_LINE = re.compile(r"at line (\d+)")
_HINTS = (
    ("[“”‘’]", say("; write straight quotes, as in 'text'")),
    (r'"[^"]*\\', say("; write a text with backslashes in single quotes, as in 'C:\\data'")),
    (r"=\s*[^'\"\[{\s]", say("; write a text in quotes, as in rate = '10/s'")),
)
"""Of a line that is no TOML: a sign of what is wrong, and what to write."""


def _hint(text: str, message: str) -> str:
    found = _LINE.search(message)
    line = text.splitlines()[int(found[1]) - 1] if found else ""
    return next((hint for sign, hint in _HINTS if re.search(sign, line)), "")


_INSTEAD = {
    "secret": say(
        "; put the secret into HARVESTER_SECRET, or write secret = 'env:NAME' in accounts.toml"
    ),
    "account": say("; write the account into accounts.toml, and accounts = 'accounts.toml' here"),
}


def dashed(name: str) -> str:
    """The name of an option as a file and the command line write it."""
    return name.replace("_", "-")


def read_config(path: Path | None) -> dict[str, Any]:
    """The options in a file, by name, the tables of ``interface``, and that of ``serve``.

    path: None for ``./harvester.toml``, which nobody has named.  Raises `UsageError`.
    """
    found, path = path is None, path or Path(DEFAULT_FILE)
    values: dict[str, Any] = {}
    for key, value in read_toml(path, found=found).items():
        name = _SYNONYMS.get(key, key.replace("-", "_"))
        if name in values:
            raise UsageError(
                "{}: {} is given twice, the second time as {!r}", path, dashed(name), key
            )
        if name == "interface":
            if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
                raise UsageError("{}: interface is not a list of tables; write [[interface]]", path)
        elif name == SERVICE:
            if not isinstance(value, dict):
                raise UsageError("{}: serve is not a table; write [serve]", path)
        elif name not in COMMAND_OPTIONS:
            known = sorted(dashed(each) for each in (*COMMAND_OPTIONS, "interface", SERVICE))
            hint = _INSTEAD.get(key) or nearest(key, known)
            if isinstance(value, dict) and not hint:
                hint = say("; write options before the first table")
            raise UsageError("{}: unknown key {!r}{}", path, key, hint)
        elif isinstance(value, dict):
            raise UsageError("{}: {!r} is a table; give a value", path, key)
        else:
            taken = read if OPTIONS[name].kind is DURATION else check  # 600 has no unit here either
            value = _value(name, value, taken, dashed(name), path)
        values[name] = value
    return values


def located(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The options in a file of that folder, from which the relative paths in them start."""
    return {name: _located(name, value, folder) for name, value in values.items()}


def _located(name: str, value: Any, folder: Path) -> Any:
    if name in COMMAND_OPTIONS and OPTIONS[name].kind is PATH:
        return folder / value
    if name == "sink":
        return [_in(folder, spec) if _is_local(spec) else spec for spec in value]
    if name == "export":
        return [_with_keys(folder, _in(folder, spec)) for spec in value]
    if name == "ledger" or (name == "token_store" and value.value != "memory"):
        return _in(folder, value)
    return value


def _is_local(spec: Secret) -> bool:
    return "://" not in spec.value and plugins.sink(spec).path is not None


_SPEC = re.compile(r"(\w+:|)(.*)", re.DOTALL)


def _in(folder: Path, spec: Secret) -> Secret:
    """A spec, as ``jsonl:DIR``, whose path starts from the folder; a URL and ``~`` stay."""
    scheme, place = _SPEC.findall(spec.value)[0]
    if "://" in spec.value or not place or place.startswith("~"):
        return spec
    return Secret(scheme + os.path.join(folder, place))


_KEY_FILE = re.compile(r"([?&]\w+=file:)([^~&][^&]*)")


def _with_keys(folder: Path, spec: Secret) -> Secret:
    """A spec whose options that are files, as ``secret_key=file:PATH``, start from the folder."""
    return Secret(
        _KEY_FILE.sub(lambda found: found[1] + os.path.join(folder, found[2]), spec.value)
    )


_VARIABLES = (
    "HARVESTER_CONFIG",
    "HARVESTER_LANG",
    "HARVESTER_REDIS_PASSWORD",
    "HARVESTER_SECRET",
)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable ``HARVESTER_…`` that nothing reads: it may be mistyped."""
    known = [*(f"HARVESTER_{name.upper()}" for name in COMMAND_OPTIONS), *_VARIABLES]
    return [
        say("the environment variable {} sets no option{}", name, nearest(name, known, 0.85))
        for name in sorted(environ)
        if name.startswith("HARVESTER_") and name not in known
    ]


def read_environment(environ: Mapping[str, str], names: Collection[str]) -> dict[str, Any]:
    """These options from the environment; raises `UsageError`."""
    values = {}
    for name in names:
        variable = f"HARVESTER_{name.upper()}"
        text = environ.get(variable)
        if name in COMMAND_OPTIONS and text:
            if OPTIONS[name].several:  # a password may hold a space
                given: Any = (text if OPTIONS[name].secret else without_passwords(text)).split()
            else:
                given = text
            values[name] = _value(name, given, read, variable)
    return values


def _value(
    name: str, given: Any, taken: Callable[[str, Any], Any], shown: str, where: Path | None = None
) -> Any:
    try:
        if not OPTIONS[name].several:
            return taken(name, given)
        return [taken(name, each) for each in (given if isinstance(given, list) else [given])]
    except InvalidOptionError as exc:
        raise exc.named(shown, where) from None


def over(file: dict[str, Any], environment: dict[str, Any]) -> dict[str, Any]:
    """The options of both; the environment overrides, also with one of appid and accounts.

    What the file selects of its accounts is not about an appid of the environment.
    """
    chosen = ("appid", "accounts", "only") if "appid" in environment else ("appid", "accounts")
    if not environment.keys().isdisjoint(chosen[:2]):
        file = {name: given for name, given in file.items() if name not in chosen}
    return {**file, **environment}
