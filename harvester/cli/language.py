"""The language of the command, and the catalogue of its texts in Chinese.

Rule: only what is printed for a person is translated, and only as it is printed: exceptions, logs
in JSON and results in JSON are English.  A text that the catalogue does not know is shown as it is.

The catalogue is a gettext file, ``locale/zh/LC_MESSAGES/harvester.po``, read when the first text is
shown in Chinese.  A msgid is a text of the code with placeholders for its values.  A text that is
printed is compared with the msgids, and its values are put into the translation; so the code that
makes a text does not mark it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from harvester.errors import UsageError

LANGUAGES = ("zh", "en")
OPTION, VARIABLE = "--lang", "HARVESTER_LANG"
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
CATALOGUE = Path(__file__).parents[1] / "locale" / "zh" / "LC_MESSAGES" / "harvester.po"

_DATE = r"\d{4}-\d\d-\d\d"
_CLOCK = rf"(?:{_DATE} )?\d\d:\d\d(?::\d\d)?"
KINDS = {
    "value": r"(?:(?![;:] ).)+?",
    "text": r".*?",
    "number": r"[-+]?[\d,.]*\d%?|\?",
    "quoted": r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"",
    "date": _DATE,
    "clock": _CLOCK,
    "time": rf"{_CLOCK} China time",
    "count": r"\d[\d,]* (?!of\b)[a-z]+(?: [a-z]+){0,2}?",
    "duration": r"\d[\d.,]* (?:s|min)|[\d,]+ h \d\d min",
}
"""The kinds of placeholders, with what they match; a number may follow the name.

A ``value`` is shown as it is; a ``text``, ``time``, ``count`` or ``duration`` has a translation of
its own.
"""
PLACEHOLDER = re.compile(r"\{((" + "|".join(KINDS) + r")\d*)\}")
_TRANSLATED = frozenset(("text", "time", "count", "duration"))
_WIDE = frozenset(("value", "text", "quoted"))
"""A msgid with none of these placeholders is also found within a text."""
_SIGNS = {"; ": "；", ": ": "：", ", ": "，", " and ": "和"}
"""What separates the parts of a text that is put together, and what replaces it."""
_SEPARATOR = re.compile(r"; |: |, | and |(?<=[.?]) (?=[A-Z(])")
_MARGINS = re.compile(r"(\s*(?:[;:,] )?)(\S.*?)([;:,]?(?: \[rid: [^\]]*\])?\s*)", re.DOTALL)
_HAN = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uff5e]"
_GAP = re.compile(
    rf"(?<={_HAN}) \0(?={_HAN})|(?<={_HAN})\0 (?={_HAN})|(?<=[，；：（])\0 |(?<=，)\0，|\0"
)
_JOINT = re.compile(
    r"(?<=[\u4e00-\u9fff])\0(?=['\"]?[A-Za-z0-9])|(?<=[A-Za-z0-9])\0(?=[\u4e00-\u9fff])"
)
"""At the edge of a translated part, which has a mark: a space too many, and one that is missing."""
_PROSE = re.compile(r"(?<!\S)[a-z]+ [a-z]+ [a-z]+(?!\S)")
_FEW, _FEWER = 16, 9
"""A msgid with fewer letters matches no text in which a ``value`` is a sentence, or a ``text`` is
one without a translation: it would match the sentences of others."""
_LONGEST = 4000
"""The most characters of a text; a longer one is what others have written."""
_PARTS = 40
"""The most separators of a text that is divided; with more it is a list of values."""


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
        raise UsageError(f"invalid {VARIABLE}: {variable!r} is not one of {', '.join(LANGUAGES)}")


def language() -> str:
    """The language of the command: ``zh`` or ``en``."""
    return _Language.name


def translated(text: str) -> str:
    """A text in the language of the command; the values in it stay.

    A single word stays as well, since it may be a value: see `label`.
    """
    return text if _Language.name == "en" or text.isspace() else _in_chinese(text)


def label(text: str) -> str:
    """A word or a text of the code in the language of the command."""
    return text if _Language.name == "en" else _catalogue().exact.get(text) or _in_chinese(text)


def is_known(text: str) -> bool:
    """Whether the catalogue has a translation of the whole text."""
    return _known(text) is not None


# the catalogue


class _Template(NamedTuple):
    """A msgid with placeholders.

    anchor: the longest text between them; letters: how many it has besides them.
    """

    anchor: str
    letters: int
    msgid: str
    msgstr: str

    def match(self, text: str) -> re.Match[str] | None:
        """The values of a text that is this one."""
        found = _pattern(self.msgid).fullmatch(text) if self.anchor in text else None
        if found is not None and self.anchor in found[found.lastindex or 0]:
            return None  # two of its kind, one after the other
        if found is None or self.letters >= _FEW:
            return found
        given = found.groupdict()
        if any(_PROSE.search(given[name]) for name in given if name.startswith("value")):
            return None
        if self.msgid.startswith("{text}") and "; " in given["text"]:
            return None  # more than one sentence before the words of this one
        typed = not _WIDE.issuperset(kind for _, kind in PLACEHOLDER.findall(self.msgid))
        return found if typed or self.letters >= _FEWER or _are_known(given) else None


class _Catalogue(NamedTuple):
    """exact: msgids without placeholders.  templates: the others, those with most text first.

    narrow: those that are found within a text, too.
    """

    exact: dict[str, str]
    templates: list[_Template]
    narrow: list[_Template]


def read_catalogue(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The msgids of a gettext file that have a translation, each with it."""
    entry, key, fuzzy, doubt = {"msgid": "", "msgstr": ""}, "msgid", False, False
    for line in [*lines, 'msgid ""']:
        word, _, string = line.strip().partition(" ")
        if word.startswith('"'):
            entry[key] += json.loads(line)  # both escape as C does
        elif word == "#,":
            doubt = "fuzzy" in string
        elif word in ("msgid", "msgstr"):
            if word == "msgid":
                if entry["msgid"] and entry["msgstr"] and not fuzzy:
                    yield entry["msgid"], entry["msgstr"]
                fuzzy, doubt = doubt, False
            key, entry[word] = word, json.loads(string)


@lru_cache(maxsize=1)
def _catalogue() -> _Catalogue:
    exact, templates, narrow = {}, [], []
    with CATALOGUE.open(encoding="utf-8") as file:
        for msgid, msgstr in read_catalogue(file):
            pieces = PLACEHOLDER.split(msgid)
            texts, kinds = pieces[::3], pieces[2::3]
            if not kinds:
                exact[msgid] = msgstr
                continue
            letters = sum(map(str.isalpha, "".join(texts)))
            template = _Template(max(texts, key=len), letters, msgid, msgstr)
            templates.append(template)
            if _WIDE.isdisjoint(kinds):
                narrow.append(template)
    templates.sort(key=lambda each: -each.letters)
    narrow.sort(key=lambda each: (-len(PLACEHOLDER.findall(each.msgid)), -each.letters))
    return _Catalogue(exact, templates, narrow)


@cache
def _pattern(msgid: str) -> re.Pattern[str]:
    """What matches the texts that a msgid stands for."""
    pieces = PLACEHOLDER.split(msgid)
    parts = [re.escape(pieces[0])]
    for name, kind, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        added = kind == "text" and len(parts) > 1 and not parts[-1]
        pattern = r"(?:[ (,;:].*?)?" if added else KINDS[kind]
        parts += [f"(?P<{name}>{pattern})", re.escape(text)]
    return re.compile("".join(parts), re.DOTALL)


@cache
def _within(msgid: str) -> re.Pattern[str]:
    """The same for a part of a text, between other words."""
    return re.compile(rf"(?<![\w.,/:=-]){_pattern(msgid).pattern}(?![\w/=-])")


def _are_known(given: Mapping[str, str]) -> bool:
    """Whether the sentences among the texts of a match have a translation."""
    texts = (text for name, text in given.items() if name.startswith("text"))
    return not any(_PROSE.search(each) and _part(each) == each for each in texts)


def _filled(template: _Template, found: re.Match[str]) -> str:
    """The translation with the values of a text."""

    def value(placeholder: re.Match[str]) -> str:
        name, kind = placeholder.groups()
        given = found[name]
        if kind == "value" and " " in given and template.msgid.startswith("{value}"):
            given = _in_chinese(given)  # accounts, interfaces and days, and what is said of them
            return f"\0{given}\0"
        return f"\0{_part(given)}\0" if kind in _TRANSLATED else given

    return _GAP.sub("", _JOINT.sub(" ", PLACEHOLDER.sub(value, template.msgstr)))


def _part(text: str) -> str:
    """A text within another one; without the spaces around it if it is translated."""
    bare = text.strip()
    if not bare:
        return ""
    done = _catalogue().exact.get(bare) or _in_chinese(bare)
    if done == bare:
        return text
    return f" {done}" if text[0] == " " and done[0].isascii() else done


@lru_cache(maxsize=1024)
def _in_chinese(text: str) -> str:
    if len(text) > _LONGEST:
        return text
    before, bare, after = split_margins(text)
    done = _known(bare) if " " in bare else None
    if done is None and "\n" in bare:
        done = "\n".join(map(_in_chinese, bare.split("\n")))
    if done is None:
        done = _divided(bare)
    if done == bare:
        return text
    return _SIGNS.get(f"{before.strip()} ", before) + done + _SIGNS.get(f"{after.strip()} ", after)


def split_margins(text: str) -> tuple[str, str, str]:
    """A text without the separators and spaces before and after it, and these."""
    found = _MARGINS.fullmatch(text)
    return ("", text, "") if found is None else (found[1], found[2], found[3])


@lru_cache(maxsize=1024)
def _known(text: str) -> str | None:
    """The translation of a whole text, None if there is none."""
    exact, templates, _ = _catalogue()
    if text in exact:
        return exact[text]
    for template in templates:
        found = template.match(text)
        if found is not None:
            return _filled(template, found)
    return None


def _divided(text: str) -> str:
    """A text that is put together: its parts translated, as far as they are known.

    The longest part that is known at its beginning comes first, then the longest at its end.
    """
    marks = list(_SEPARATOR.finditer(text))
    if len(marks) > _PARTS:
        return _with_narrow(text)
    for mark in reversed(marks):
        left, right = text[: mark.start()], text[mark.end() :]
        done = _known(left) if " " in left else None
        if done is not None:
            return done + _SIGNS.get(mark[0], "") + _in_chinese(right)
    for mark in marks:
        left, right = text[: mark.start()], text[mark.end() :]
        done = _known(right) if mark[0] == " and " else _in_chinese(right)
        if done not in (None, right):
            first = _with_narrow(left)
            between_values = first == left and mark[0] == ", " and not _begins_new(done, right)
            return first + (", " if between_values else _SIGNS.get(mark[0], "")) + str(done)
    return _with_narrow(text)


def _begins_new(done: str, text: str) -> bool:
    """Whether the first part of a text was translated."""
    return not done.startswith(_SEPARATOR.split(text, 1)[0])


def _with_narrow(text: str) -> str:
    """The numbers with their nouns, the dates and the times of a text translated."""
    for template in _catalogue().narrow:
        if template.anchor in text:

            def filled(found: re.Match[str], template: _Template = template) -> str:
                return _filled(template, found)

            text = _within(template.msgid).sub(filled, text)
    return _GAP.sub("", text.replace(" （", " \0（")) if " （" in text else text
