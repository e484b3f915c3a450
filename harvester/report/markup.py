"""HTML and SVG as text: elements are nested calls, and all that is not an element is escaped.

Rule: the only module that writes a tag or an attribute; no caller escapes by itself.
"""

from __future__ import annotations

import re

_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_STEERS = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
    "\ud800-\udfff]"
)
"""Control characters, those that turn the direction of writing, and halves of characters."""
_VOID = frozenset(("input", "meta", "path", "use", "rect", "circle"))


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def harmless(text: str) -> str:
    """Text without characters that steer how the text around them is shown."""
    return _STEERS.sub("\ufffd", text)


def escape(text: str) -> Html:
    """Any text as content, or as the value of an attribute."""
    if isinstance(text, Html):
        return text
    return Html("".join([_SPECIAL.get(char, char) for char in harmless(text)]))


def el(name: str, /, *children: str, **attributes: str | float | bool | None) -> Html:
    """An element; ``class_`` stands for class, ``data_state`` for data-state.

    A value of None or False leaves the attribute out, True gives it without a value.
    """
    head = name
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        head += f" {key}" if value is True else f' {key}="{escape(str(value))}"'
    if name in _VOID and not children:
        return Html(f"<{head}/>")
    return Html(f"<{head}>{''.join(map(escape, children))}</{name}>")


def join(parts: list[Html], between: str = "") -> Html:
    """Pieces of markup, one after the other."""
    return Html(escape(between).join(parts))
