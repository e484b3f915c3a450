"""The language of the command.

Rule: only what is printed for a person is translated, when it is printed: exceptions, logs in JSON
and results in JSON are English.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from harvester.base.chinese import shown
from harvester.errors import UsageError
from harvester.texts import Text

LANGUAGES = ("zh", "en")
OPTION, VARIABLE = "--lang", "HARVESTER_LANG"
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


class _Language:
    name = "en"


def typed(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of ``--lang``, None without one, and the arguments from the command on."""
    found, left = None, list(arguments)
    while left and left[0].startswith("-") and left[0] != "-":
        option, sign, value = left.pop(0).partition("=")
        if option == OPTION:
            found = value if sign else (left.pop(0) if left else None)
    return found, left


def of_locale(environ: Mapping[str, str]) -> str:
    """That of the environment: ``zh`` if its messages are Chinese, else ``en``."""
    named = next(filter(None, map(environ.get, LOCALE)), "")
    return "zh" if named.lower().startswith("zh") else "en"


def choose(given: str | None, environ: Mapping[str, str] = os.environ) -> None:
    """Set the language: given, else HARVESTER_LANG, else the locale; raises `UsageError`."""
    _Language.name = of_locale(environ)
    variable = environ.get(VARIABLE, "").strip()
    if given in LANGUAGES:
        _Language.name = str(given)
    elif variable in LANGUAGES:
        _Language.name = variable
    elif variable:
        raise UsageError(
            "invalid {}: {!r} is not one of {}", VARIABLE, variable, ", ".join(LANGUAGES)
        )


def language() -> str:
    """The language of the command: ``zh`` or ``en``."""
    return _Language.name


def translated(text: str) -> str:
    """A text in the language of the command; a plain `str` is a value, and stays."""
    return shown(text, _Language.name)


def label(text: str) -> str:
    """A word or a text of the code in the language of the command."""
    return translated(text if isinstance(text, Text) else Text(text))
