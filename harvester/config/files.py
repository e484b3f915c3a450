"""The options in ``harvester.toml`` and in the environment.

Rule: a file has the same options as the command line, and an unknown key is an error.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
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
"""The table of the daily service (`harvester.config.service`)."""
_SYNONYMS = {"endpoints": "endpoint"}
COMMAND_OPTIONS = [name for name, option in OPTIONS.items() if option.commands]


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content; raises `UsageError` with the file, and the line if there is one."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows write a BOM
        return tomllib.loads(text)
    except OSError as exc:
        raise UsageError("{} cannot be read ({})", path, of_system(exc)) from None
    except UnicodeDecodeError:
        raise UsageError("{} is not UTF-8 text; save it as UTF-8", path) from None
    except tomllib.TOMLDecodeError as exc:
        raise UsageError("{} is not TOML: {}{}", path, exc, _hint(text, str(exc))) from None
    except RecursionError:
        raise UsageError("{} cannot be read: its values are nested too deeply", path) from None


_LINE = re.compile(r"at line (\d+)")
_HINTS = (
    ("[“”‘’]", say("; write straight quotes, as in 'text'")),
    (r'"[^"]*\\', say("; write a text with backslashes in single quotes, as in 'C:\\data'")),
    (r"=\s*[^'\"\[{\s]", say("; write a text in quotes, as in rate = '10/s'")),
)
"""Of a line that is no TOML: a sign of what is wrong, and what to write."""


def _hint(text: str, message: str) -> str:
    """What to write instead, if that can be seen in the line that an error names."""
    found = _LINE.search(message)
    line = text.splitlines()[int(found[1]) - 1] if found else ""
    return next((hint for sign, hint in _HINTS if re.search(sign, line)), "")


def dashed(name: str) -> str:
    """The name of an option as a file and the command line write it."""
    return name.replace("_", "-")


def read_config(path: Path) -> dict[str, Any]:
    """The options in a file, by name, the tables of ``interface``, and that of ``serve``.

    Raises `UsageError`.
    """
    values: dict[str, Any] = {}
    for key, value in read_toml(path).items():
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
            raise UsageError("{}: unknown key {!r}{}", path, key, nearest(key, known))
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
        return [_in(folder, spec) for spec in value]
    if name == "ledger" or (name == "token_store" and value.value != "memory"):
        return _in(folder, value)
    return value


def _is_local(spec: Secret) -> bool:
    """Whether a sink is a file or a directory."""
    return "://" not in spec.value and plugins.sink(spec).path is not None


_SPEC = re.compile(r"(\w+:|)(.*)", re.DOTALL)


def _in(folder: Path, spec: Secret) -> Secret:
    """A spec, as ``jsonl:DIR``, whose path starts from the folder; a URL and ``~`` stay."""
    scheme, place = _SPEC.findall(spec.value)[0]
    if "://" in spec.value or not place or place.startswith("~"):
        return spec
    return Secret(scheme + os.path.join(folder, place))


_VARIABLES = (
    "HARVESTER_CONFIG",
    "HARVESTER_LANG",
    "HARVESTER_REDIS_PASSWORD",
    "HARVESTER_SECRET",
)
"""Those that are no options."""


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable ``HARVESTER_…`` that nothing reads: it may be mistyped."""
    known = [*(f"HARVESTER_{name.upper()}" for name in COMMAND_OPTIONS), *_VARIABLES]
    return [
        say("the environment variable {} sets no option{}", name, nearest(name, known, 0.85))
        for name in sorted(environ)
        if name.startswith("HARVESTER_") and name not in known
    ]


def unread_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each option in the environment, for a command that reads the file alone."""
    return [
        say(
            "the environment variable {} is not read by serve; write {} into its file",
            variable,
            dashed(name),
        )
        for name in COMMAND_OPTIONS
        if (variable := f"HARVESTER_{name.upper()}") in environ and variable not in _VARIABLES
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
    """The value, checked or parsed; a list if the option takes several."""
    try:
        if not OPTIONS[name].several:
            return taken(name, given)
        return [taken(name, each) for each in (given if isinstance(given, list) else [given])]
    except InvalidOptionError as exc:
        raise exc.named(shown, where) from None


def over(file: dict[str, Any], environment: dict[str, Any]) -> dict[str, Any]:
    """The options of both; the environment overrides, also with one of appid and accounts."""
    chosen = ("appid", "accounts")
    if any(name in environment for name in chosen):
        file = {name: given for name, given in file.items() if name not in chosen}
    return {**file, **environment}
