"""The pages of ``--help`` and the messages of click in the language of the command.

Rule: knows no command; click makes the pages and messages, and this module replaces its texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import Formatter

import click

from harvester.base.chinese import is_known
from harvester.cli.language import label, language
from harvester.cli.terminal import padded, wrapped
from harvester.config.settings import OPTIONS
from harvester.texts import changed, joined, say


class _Template(str):
    __slots__ = ()

    def format(self, *_: object, **values: object) -> str:
        fields = [name for _, name, _, _ in Formatter().parse(self) if name is not None]
        if "number_type" in values:
            values["number_type"] = say(str(values["number_type"]))
        return say(_NAME.sub("{", self), *[values[name] for name in fields])


_NAME = re.compile(r"\{\w+")


def _plural(one: str, more: str, number: int) -> _Template:
    return _Template(one if number == 1 else more)


for _module in (click.core, click.exceptions, click.parser, click.types):
    for _name, _ours in (("_", _Template), ("ngettext", _plural)):
        if hasattr(_module, _name):  # click takes its texts from gettext by these names
            setattr(_module, _name, _ours)


def message_of(exc: click.ClickException) -> str:
    """Click's message about a wrong argument, on one line."""
    said: list[str] = [exc.message]
    near = getattr(exc, "possibilities", None)
    whole = exc.format_message()
    if near:
        shown = ", ".join(map(repr, sorted(near)))
        said.append(
            say("Did you mean {}?" if len(near) == 1 else "(Did you mean one of: {}?)", shown)
        )
    elif isinstance(exc, click.MissingParameter) and exc.param is not None:
        missing = exc.param.param_type_name == "argument"
        hint = exc.param.get_error_hint(exc.ctx)
        said = [say("Missing argument {}." if missing else "Missing option {}.", hint)]
    text = joined(" ", said)
    text = joined(" ", [text if text == whole else whole, *_what_to_write(exc)])
    return changed(text, lambda text: " ".join(text.split()))


_EXAMPLES = {
    "'TARGET...'": "harvester export xlsx:harvest.xlsx",
    "'SPEC'": "harvester sink add sqlite:harvest.db",
    "'--appid'": "--appid wx0123456789abcdef",
}


def _what_to_write(exc: click.ClickException) -> list[str]:
    if isinstance(exc, click.MissingParameter) and exc.param is not None:
        example = _EXAMPLES.get(exc.param.get_error_hint(exc.ctx))
        return [say("For example: {}", example)] if example else []
    if isinstance(exc, click.BadOptionUsage):
        name = exc.option_name.strip("-").replace("-", "_")
        if name in OPTIONS:
            return [say("Expected {}.", say(OPTIONS[name].kind.expected))]
    return []


_EXTRA = re.compile(r"(?P<help>.*?) *\[(?P<extra>[^\[\]]*)\]", re.DOTALL)
"""The help of an option, and what click adds: its default, its range."""


class _Formatter(click.HelpFormatter):
    """Writes Chinese: its texts, and lines by the width of their characters."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        chinese = None if language() == "en" else label("Usage:")
        super().write_usage(prog, args, prefix or chinese)

    def write_heading(self, heading: str) -> None:
        if language() == "en":
            super().write_heading(heading)
        else:
            self.write(f"{'':{self.current_indent}}{label(heading)}：\n")

    def write_text(self, text: str) -> None:
        if language() == "en":
            super().write_text(text)
            return
        indent = " " * self.current_indent
        shown = []
        for paragraph in text.strip().split("\n\n"):
            as_it_is = paragraph.removeprefix("\b\n")
            if as_it_is != paragraph:
                lines = label(as_it_is).split("\n")
            else:
                text = paragraph if is_known(paragraph) else " ".join(paragraph.split())
                lines = wrapped(label(text), self.width - len(indent))
            shown.append("".join(f"{indent}{line}\n" for line in lines))
        self.write("\n".join(shown))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        if language() == "en":
            super().write_dl(rows, col_max, col_spacing)
            return
        rows = list(rows)
        column = min(max(len(term) for term, _ in rows), col_max) + col_spacing
        indent = " " * (self.current_indent + column)
        for term, text in rows:
            lines = wrapped(_described(text), max(self.width - column - self.current_indent, 20))
            if len(term) > column - col_spacing:
                self.write(f"{'':{self.current_indent}}{term}\n{indent}")
            else:
                self.write(f"{'':{self.current_indent}}{padded(term, column)}")
            self.write(f"\n{indent}".join(lines) + "\n")


def _described(text: str) -> str:
    found = _EXTRA.fullmatch(text)
    if found is None or is_known(text):
        return label(text)
    extra = "；".join(map(_extra, found["extra"].split("; ")))
    return f"{label(found['help'])}  [{extra}]".lstrip()


def _extra(text: str) -> str:
    """``default: 5``, ``required`` or a range."""
    name, colon, value = text.partition(": ")
    return f"{label(name)}：{value}" if colon else label(name)


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command whose help is shown in the language of the command."""

    context_class = _Context


class Group(click.Group):
    """A group of such commands."""

    context_class = _Context
    command_class = Command
    group_class = type
