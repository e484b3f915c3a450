"""Text for the terminal: one-line messages, numbers, tables.

Rule: text from outside loses its control characters before it is printed.
"""

from __future__ import annotations

import sys
from datetime import datetime

from rich.console import Console

from harvester.model import many as many
from harvester.plan import CHINA

out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, markup=False)


def harmless(text: str) -> str:
    """Text that cannot steer the terminal; its lines, and the joiners of emoji, stay."""
    return "".join(char if char.isprintable() or char in "\n\u200d\u3000" else " " for char in text)


def escaped(document: str) -> str:
    """JSON that means the same and is harmless: what is not printable stands in escapes."""
    if document.isprintable():
        return document
    return "".join(char if char.isprintable() else _escape(char) for char in document)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def plain(text: str) -> str:
    """Text on one line and without control characters: a title must not steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def say(text: str) -> None:
    """One sentence on standard error."""
    print(f"harvester: {plain(text)}", file=sys.stderr, flush=True)


def tell(text: str = "") -> None:
    """A line of the result on standard output."""
    print(harmless(text), flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def china_time(moment: float) -> str:
    """A Unix time as China's clocks show it."""
    return f"{datetime.fromtimestamp(moment, CHINA):%Y-%m-%d %H:%M} China time"
