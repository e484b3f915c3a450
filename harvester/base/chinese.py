"""The catalogue of texts in Chinese, and the texts of tables that have both languages.

Rule: translates when something is shown; a text that is not in the catalogue is shown unchanged.

The catalogue, ``locale/zh.json``, is an object with a line for each template and its translation,
read when the first text is shown in Chinese.  A translation has ``{}`` for each value in the order
of the template, or ``{0}``, ``{1}`` in another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from harvester.texts import Text, english

CATALOGUE = Path(__file__).parents[1] / "locale" / "zh.json"

_SIGNS = {".  ": "。", "; ": "；", ": ": "：", ", ": "，", " and ": "和"}
_SIGN = re.compile("|".join(map(re.escape, _SIGNS)))
_WORD = re.compile("[A-Za-z]")
_HAN = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uff5e]"
_GAP = re.compile(rf"(?<={_HAN})(?:\0 \0?| \0)(?={_HAN})|(?<=[，；：（])\0 |(?<=，)\0，|\0")
_JOINT = re.compile(
    r"(?<=[\u4e00-\u9fff])\0(?=['\"]?[A-Za-z0-9])|(?<=[A-Za-z0-9])\0(?=[\u4e00-\u9fff])"
)
"""At the edge of a translated part, which has a mark: a superfluous space, and a missing one."""


class Titled(Text):
    """A text that has its Chinese with it: of a table of titles, or a day."""

    __slots__ = ("chinese",)

    chinese: str

    def __new__(cls, chinese: str, text: str) -> Self:
        made = super().__new__(cls, text)
        made.chinese = chinese
        return made

    def __reduce__(self) -> Any:
        return Titled, (self.chinese, english(self))


def series(texts: Iterable[str]) -> str:
    """Texts that are listed, with the sign between them that each language has for that."""
    found = tuple(texts)
    return Titled("、".join([shown(text, "zh") for text in found]), ", ".join(found))


def shown(text: str, language: str) -> str:
    """A text in a language, ``zh`` or ``en``; a plain `str` is a value, and stays."""
    if language == "en" or not isinstance(text, Text):
        return text
    return _GAP.sub("", _JOINT.sub(" ", _in_chinese(text)))


def is_known(text: str) -> bool:
    """Whether the catalogue has a translation of the whole text."""
    return text in _catalogue()


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, str]:
    found: dict[str, str] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return found


def _in_chinese(text: Text) -> str:
    """A text in Chinese, with a mark at both edges of each value that is translated."""
    if isinstance(text, Titled):
        return text.chinese
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
