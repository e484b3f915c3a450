"""The language of the command, and the catalogue of its texts in Chinese.

Rule: only what is printed for a person is translated, when it is printed: exceptions, logs in JSON
and results in JSON are English.  A text that is not in the catalogue is shown unchanged.

The catalogue, ``locale/zh.json``, is an object with a line for each template and its translation,
read when the first text is shown in Chinese.  A translation has ``{}`` for each value in the order
of the template, or ``{0}``, ``{1}`` in another one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from harvester.errors import UsageError
from harvester.texts import Text

LANGUAGES = ("zh", "en")
OPTION, VARIABLE = "--lang", "HARVESTER_LANG"
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
CATALOGUE = Path(__file__).parents[1] / "locale" / "zh.json"

_SIGNS = {"; ": "；", ": ": "：", ", ": "，", " and ": "和"}
"""What separates texts that are put together, and what replaces it."""
_SIGN = re.compile("|".join(_SIGNS))
_WORD = re.compile("[A-Za-z]")
_HAN = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uff5e]"
_GAP = re.compile(rf"(?<={_HAN})(?:\0 \0?| \0)(?={_HAN})|(?<=[，；：（])\0 |(?<=，)\0，|\0")
_JOINT = re.compile(
    r"(?<=[\u4e00-\u9fff])\0(?=['\"]?[A-Za-z0-9])|(?<=[A-Za-z0-9])\0(?=[\u4e00-\u9fff])"
)
"""At the edge of a translated part, which has a mark: a superfluous space, and a missing one."""


class _Language:
    """The language of this process; a command sets it once."""

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
    """Set the language: given, else that of HARVESTER_LANG, else that of the locale.

    Raises `UsageError` if the variable names another one; the language is that of the locale then.
    """
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
    if _Language.name == "en" or not isinstance(text, Text):
        return text
    return _GAP.sub("", _JOINT.sub(" ", _in_chinese(text)))


def label(text: str) -> str:
    """A word or a text of the code in the language of the command."""
    return translated(text if isinstance(text, Text) else Text(text))


def is_known(text: str) -> bool:
    """Whether the catalogue has a translation of the whole text."""
    return text in _catalogue()


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, str]:
    found: dict[str, str] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return found


def _in_chinese(text: Text) -> str:
    """A text in Chinese, with a mark at both edges of each value that is translated."""
    values = [_marked(value) for value in text.values]
    known = _catalogue()
    found = known.get(text.template) or known.get(f"{text.template}s")  # 1 day as 2 days
    if found is None:
        found = text.template
        if not _WORD.search(found) and values != list(text.values):
            found = _SIGN.sub(lambda sign: _SIGNS[sign[0]], found)
    return found.format(*values) if values else found


def _marked(value: str) -> str:
    if not isinstance(value, Text) or not value:
        return value
    done = _in_chinese(value).strip("\0")
    return value if done == value else f"\0{done}\0"
