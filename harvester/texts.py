"""The texts of the package: a text is its English sentence, and knows what it was made of.

Rule: knows no language but English, and imports nothing of the package.

A text is made once, where it is known what it says: ``say("{:,} of {} left", 3, many(5, "day"))``
is the `str` "3 of 5 days left", and what shows it to a person translates its template and those of
its values that are texts themselves (`harvester.cli.language`).  Logs and JSON use it unchanged. An
error is raised with a template and its values, as a logger takes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from string import Formatter
from typing import Any, Self


class Text(str):
    """An English sentence, its template with ``{}`` for each value, and these values.

    A value is a plain `str`, or a `Text`.  The sum of a text and another one is a text.
    """

    __slots__ = ("template", "values")

    template: str
    values: tuple[str, ...]

    def __new__(cls, template: str, values: tuple[str, ...] = ()) -> Self:
        text = super().__new__(cls, template.format(*values) if values else template)
        text.template, text.values = template, values
        return text

    def __reduce__(self) -> tuple[type[Text], tuple[str, tuple[str, ...]]]:
        return Text, (self.template, self.values)

    def __str__(self) -> Text:  # so an exception that was raised with it is this text, too
        return self

    def __add__(self, other: str) -> Text:
        return Text("{}{}", (self, other))

    def __radd__(self, other: str) -> Text:
        return Text("{}{}", (other, self))


def say(template: str, /, *values: object) -> str:
    """A `Text`; each value is formatted as its field says: ``{}``, ``{:,}``, ``{!r}``.

    Without values the template is the sentence, even if it has braces.  A value whose `str` is a
    text, as an error of this package, is that text.  Raises `ValueError` unless there is a value
    for each field.
    """
    if not values:
        return template if isinstance(template, Text) else Text(str(template))
    plain, fields = _parts_of(template)
    return Text(
        plain, tuple(_shown(*field, value) for field, value in zip(fields, values, strict=True))
    )


@lru_cache(maxsize=4096)
def _parts_of(template: str) -> tuple[str, tuple[tuple[str | None, str], ...]]:
    """A template with ``{}`` for each field, and the conversion and the format of each."""
    plain, fields = "", []
    for literal, name, spec, conversion in Formatter().parse(template):
        plain += literal.replace("{", "{{").replace("}", "}}")
        if name is not None:
            plain += "{}"
            fields.append((conversion, spec or ""))
    return plain, tuple(fields)


def fields_of(template: str) -> tuple[tuple[str | None, str], ...]:
    """The conversion and the format of each field of a template."""
    return _parts_of(template)[1]


def _shown(conversion: str | None, spec: str, value: object) -> str:
    if conversion == "r":
        value = repr(value)
    if spec:
        return format(value, spec)
    return value if isinstance(value, str) else str(value)


def of_system(exc: OSError) -> str:
    """The system's message of an error."""
    return say(exc.strerror or str(exc))


def joined(separator: str, texts: Iterable[str]) -> str:
    """Texts with a separator between them, as one `Text`."""
    found = tuple(texts)
    return Text(separator.join(["{}"] * len(found)), found)


def english(text: str) -> str:
    """The sentence alone, as a plain `str`."""
    return str.__str__(text)


def changed(text: str, change: Callable[[str], str]) -> str:
    """The result of a function that removes something; it stays a `Text` if it still is one.

    That is the same template with values that the function has changed, or one of these alone.
    """
    whole = change(english(text))
    if whole == text or not isinstance(text, Text):
        return text if whole == text else whole
    values = tuple(changed(value, change) for value in text.values)
    found = Text(text.template, values)
    return next((each for each in (found, *values) if each == whole), whole)


def pack(text: str) -> str:
    """A text as a ledger keeps it: ``["template", value, …]`` as JSON; a plain `str` unchanged."""
    if not isinstance(text, Text):
        return text
    return json.dumps(_packed(text), ensure_ascii=False, separators=(",", ":"))


def _packed(text: str) -> Any:
    return [text.template, *map(_packed, text.values)] if isinstance(text, Text) else text


def unpack(kept: str) -> str:
    """The text of `pack`; any other text is unchanged."""
    if not kept.startswith('["'):
        return kept
    try:
        return _unpacked(json.loads(kept))
    except (ValueError, LookupError, TypeError, AttributeError):
        return kept


def _unpacked(kept: Any) -> str:
    if isinstance(kept, list):
        return Text(kept[0], tuple(map(_unpacked, kept[1:])))
    if not isinstance(kept, str):
        raise TypeError(kept)
    return kept
