"""Text for the terminal: one-line messages, numbers, tables.

Rule: text from outside loses its control characters, and the passwords of its URLs, before it is
printed.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from harvester.base import codec
from harvester.base.dates import CHINA
from harvester.cli.language import label, translated
from harvester.errors import without_passwords
from harvester.model import duration as duration
from harvester.model import many as many
from harvester.texts import changed, say

out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, markup=False)


@dataclass
class _Manner:
    names: Mapping[str, str] = field(default_factory=dict)
    as_json: bool = False


_manner = _Manner()
_WORD = re.compile(r"(?<![^\s(：，；（、])(?<!--appid )[0-9A-Za-z]{3,64}(?![^\s,:;)：，；。）、])")
"""A separate word, not part of a path or a command, which users paste."""


def name_accounts(names: Mapping[str, str]) -> None:
    """From now on messages show these names beside the appids."""
    _manner.names = names


def log_as(log_format: str) -> None:
    """Messages and progress as ``text``, or as ``json``: one object per line."""
    _manner.as_json = log_format == "json"


def named(text: str) -> str:
    """A text in which each appid has the name of its account beside it, where it is first read."""
    names = dict(_manner.names)
    if not names:
        return text

    def beside(found: re.Match[str]) -> str:
        name = names.pop(found[0], "")
        return f"{found[0]} ({name})" if name else found[0]

    prose, mark, command = text.partition("run: ")
    return _WORD.sub(beside, prose) + mark + command


def log(template: str, *values: object, level: str = "info", event: str = "") -> None:
    """A line of the log on standard error: with its date and time, or as JSON."""
    moment = datetime.now().astimezone()
    text: str = say(template, *values)
    text = plain(named(text)) if _manner.as_json else readable(text)
    if _manner.as_json:
        entry = {"time": moment.isoformat(timespec="milliseconds"), "level": level}
        entry |= {"event": event, "message": text} if event else {"message": text}
        print(escaped(codec.encode(entry).decode()), file=sys.stderr, flush=True)
    else:
        print(f"{moment:%Y-%m-%d %H:%M:%S} {text}", file=sys.stderr, flush=True)


def logs_json() -> bool:
    """Whether messages are JSON."""
    return _manner.as_json


def harmless(text: str) -> str:
    """Text that cannot control the terminal; its lines, and the joiners of emoji, stay."""
    text = without_passwords(text)
    return "".join(char if char.isprintable() or char in "\n\u200d\u3000" else " " for char in text)


def escaped(document: str) -> str:
    """Equivalent JSON that is harmless: unprintable characters are escaped."""
    if document.isprintable():
        return document
    return "".join(char if char.isprintable() else _escape(char) for char in document)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def plain(text: str) -> str:
    """Text on one line and without control characters: a title must not control the terminal."""
    return changed(without_passwords(text), _on_one_line)


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def notify(template: str, *values: object, level: str = "warning") -> None:
    """One sentence on standard error."""
    if _manner.as_json:
        log(template, *values, level=level)
        return
    print(f"harvester: {readable(template, *values)}", file=sys.stderr, flush=True)


class _Messages(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno < logging.ERROR:
            notify(text)
        elif _manner.as_json:  # as text, it is shown by the display and the summary
            log(text, level="error")


class LibraryLog(logging.Handler):
    """The messages of another library, each on a line of the log, without tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the disk of the log may be full
            log(record.getMessage(), level=record.levelname.lower())


_messages = _Messages()


def listen() -> None:
    """Show the messages of the library's logger from now on."""
    logging.getLogger("harvester").addHandler(_messages)  # the same one is added once


def show_json(content: object, *, aside: bool = False) -> None:
    """A line of JSON on standard output; aside: on standard error."""
    text = escaped(codec.encode(content).decode())
    print(text, file=sys.stderr if aside else sys.stdout, flush=True)


def show_line(template: str = "", *values: object) -> None:
    """A line of the result on standard output."""
    print(harmless(translated(say(template, *values))), flush=True)


def readable(template: str, *values: object) -> str:
    """A text on one line, as a person reads it: in their language, with the names of accounts."""
    return plain(named(translated(say(template, *values))))


def show_table(table: Table) -> None:
    """A table on standard output; its titles and its caption are texts, its cells are values."""
    for column in table.columns:
        column.header = label(str(column.header))
    if table.caption:
        table.caption = label(str(table.caption))
    out.print(table)


def padded(text: str, width: int) -> str:
    """A text and spaces up to a width in columns: a Chinese character takes two of them."""
    return text + " " * (width - cell_len(text))


_WORDS = re.compile(r"(\s*)([（「《“]*(?:[^\s\u2e80-\uffef]+|\S)[，。；：、）」》”！？…]*)")
"""Where a line may be broken: after a word, and after each Chinese character."""


def wrapped(text: str, width: int, most: int | None = None) -> list[str]:
    """A text on a limited number of lines of a width in columns."""
    lines, line, used = [], "", 0
    for space, word in _WORDS.findall(text):
        takes = cell_len(word)
        if line and used + len(space) + takes > width:
            lines.append(line)
            line, used = word, takes
        else:
            line += (space if line else "") + word
            used = cell_len(line)
    lines += [line] if line else []
    if most is not None and len(lines) > most:
        last = lines[most - 1]
        while cell_len(last) > width - 2:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last.rstrip()} …"]
    return lines


def fitted(text: str, console: Console) -> str:
    """A sentence, on as many lines of a terminal as it needs, broken between words."""
    return "\n".join(wrapped(text, console.width)) if console.is_terminal else text


def width() -> int | None:
    """The columns of the terminal; None if standard output is none: then no line is wrapped."""
    return out.width if out.is_terminal else None


def show_text(template: str, *values: object) -> None:
    """A line of the result, on as many lines of the terminal as it needs, broken between words."""
    text = harmless(translated(say(template, *values)))
    if (columns := width()) is None or cell_len(text) <= columns:
        print(text, flush=True)
        return
    bare = text.lstrip(" ")
    indent = " " * (len(text) - len(bare))
    first, *rest = wrapped(bare, columns - len(indent) - 2)
    print("\n".join([indent + first, *(f"{indent}  {line}" for line in rest)]), flush=True)


NARROWEST = 32, 12
"""The fewest columns of a row's last cell and of its second one, where they are wrapped."""


def show_rows(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Rows of cells, each column as wide as its widest cell; an empty column is left out."""
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(cell_len, column)) for column in kept]
    if (columns := width()) is not None:
        for at, least in zip((-1, min(1, len(kept) - 1)), NARROWEST, strict=True):
            over = sum(widths) + 2 * (len(widths) - 1) + len(indent) - columns
            widths[at] = max(widths[at] - max(over, 0), min(widths[at], least))
    for row in zip(*kept, strict=True):
        cells = [wrapped(cell, widths[at]) or [""] for at, cell in enumerate(row)]
        for line in range(max(map(len, cells))):
            parts = [cell[line] if line < len(cell) else "" for cell in cells]
            shown = "  ".join(map(padded, parts, widths))
            print(f"{indent}{shown}".rstrip(), flush=True)


def china_time(moment: float) -> str:
    """A Unix time as local time in China."""
    return say("{:%Y-%m-%d %H:%M} China time", datetime.fromtimestamp(moment, CHINA))
