"""Every text of the package that the command may show, and the catalogue of them.

    python -m tests.texts            # what lacks a translation, what nothing says, what is no text
    python -m tests.texts --update   # adds the first of these to the catalogue, removes the second

A text is made by `harvester.texts.say`, by what shows one or by an error of the package, each with
a template and its values; or it is one of a table, as the help of an option.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import harvester
from harvester.base.chinese import CATALOGUE
from harvester.texts import fields_of

PACKAGE = Path(harvester.__file__).parent

ELSEWHERE = (
    "report/causes.py",
    "mcp/tools.py",
    "mcp/flat_copy.py",
    "mcp/server.py",
    "testing/",
)
"""Modules that have their texts in both languages, or whose texts nobody reads in Chinese."""
OURS = ("testing/faults.py",)
"""Those among them that have texts of the command."""

MAKERS = {
    "say",
    "show_line",
    "show_text",
    "notify",
    "log",
    "readable",
    "plain_row",
    "show",
    "label",
    "error",
}
"""Functions whose first argument is a template, and the others its values; so are errors."""

TABLES: dict[str, int | None] = {
    "Rule": 1,
    "needs": 0,
    "_share": 0,
    "_fault": 1,
    "Kind": 0,
    "Option": 2,
    "sink_option": 0,
    "_table": None,
    "_bars": 0,
}
"""Calls that hold texts: at which place of the arguments; None: all of them."""

COUNTED = {"many": "{{}} {}s", "listed": "{{}} more {}s", "listing": "{{}} more {}s"}
HELP = ("help", "short_help", "epilog")
"""Arguments of click's that are texts."""

CLICK = """\
Usage:
Options
Commands
Show this message and exit.
Show the version and exit.
No such option {}.
No such option: {}
Did you mean {}?
(Did you mean one of: {}?)
Missing argument {}.
Missing option {}.
Missing command.
No such command {}.
Got unexpected extra argument ({})
Got unexpected extra arguments ({})
Option {} requires an argument.
Option {} does not take a value.
Invalid value: {}
Invalid value for {}: {}
{} is not a valid {}.
{} is not one of {}.
{} is not in the range {}.
integer
float
integer range
float range
default
required
""".splitlines()
"""What click says."""

WORDS = """\
complete, waiting, partial, failed, interrupted, paused, missing, provisional, stale, final, empty,
late, active, field, type, meaning, interface, state, request, body, group, settled, delivers, key,
page, week, month, account, since, reason, not asked, never harvested, not due, no figures,
never delivered, cannot be asked""".replace("\n", " ").split(", ")
"""What the code has as values, and shows with `label` or `say`."""

SYSTEM = """\
No such file or directory
Permission denied
Not a directory
Is a directory
File exists
File name too long
No space left on device
Disk quota exceeded
Read-only file system
Input/output error
Address already in use
Connection refused
Too many open files
Bad file descriptor
Operation not permitted
Operation not supported
""".splitlines()
"""What the system says."""


HAN = re.compile("[\u4e00-\u9fff]")
FIELD = re.compile(r"\{(?:![rs])?(?::[^{}]*)?\}")


class Found:
    """templates: with the modules that say them.  wrong: calls without a template."""

    def __init__(self) -> None:
        self.templates: dict[str, set[str]] = {
            text: {"elsewhere"} for text in (*CLICK, *WORDS, *SYSTEM)
        }
        self.wrong: list[str] = []
        self.strings: set[str] = set()


def found() -> Found:
    """The texts of all modules."""
    result = Found()
    trees = {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    makers = MAKERS | errors(trees.values())
    shared: dict[str, str] = {}
    for tree in trees.values():
        shared |= constants(tree, shared)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                result.strings |= {plain(node.value), *paragraphs(node.value)}
    for name, tree in trees.items():
        if not name.startswith(ELSEWHERE) or name in OURS:
            of_module(tree, name, makers, shared | constants(tree, shared), result)
    template = (PACKAGE / "report" / "page.html").read_text(encoding="utf-8")
    for text in re.findall(r'\bsay\("([^"]+)"', template):
        add(text, "report/page.html", result)
    for noun in re.findall(r'\bmany\([^,]+, "([^"]+)"', template):
        add(COUNTED["many"].format(noun), "report/page.html", result)
    return result


def of_module(
    tree: ast.Module, name: str, makers: set[str], names: dict[str, str], result: Found
) -> None:
    """Add the texts of a module."""
    both = in_both_languages(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            of_call(node, name, makers, names, result)
        elif isinstance(node, ast.Tuple | ast.Dict) and id(node) not in both:
            values = node.elts if isinstance(node, ast.Tuple) else node.values
            for text in (text for each in values for text in strings_of(each, names)):
                if FIELD.search(text):  # a table of templates
                    add(text, name, result)
        elif isinstance(node, ast.FunctionDef):
            for text in help_of(node):
                result.templates.setdefault(text, set()).add(name)


def in_both_languages(tree: ast.Module) -> set[int]:
    """The nodes of tables that have a text for each language."""
    tables = [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.Dict) and "zh" in keys_of(node))
        or (isinstance(node, ast.Tuple) and HAN.search(ast.unparse(node)))
    ]
    return {id(node) for table in tables for node in ast.walk(table)}


def keys_of(node: ast.Dict) -> list[object]:
    """The keys that are constants."""
    return [each.value for each in node.keys if isinstance(each, ast.Constant)]


def constants(tree: ast.Module, names: dict[str, str]) -> dict[str, str]:
    """The texts that a module has by a name."""
    known: dict[str, str] = dict(names)
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Call) and name_of(value.func) == "say":
                value = value.args[0]
            if (text := text_of(value, known)) is not None:
                known[node.targets[0].id] = text
    return known


def text_of(node: ast.expr, names: dict[str, str]) -> str | None:
    """The text of an expression of constants, None if it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return names.get(node.id) if node.id.lstrip("_").isupper() else None
    if not isinstance(node, ast.JoinedStr):
        return None
    parts = [
        text_of(each.value if isinstance(each, ast.FormattedValue) else each, names)
        for each in node.values
    ]
    return None if None in parts else "".join(map(str, parts))


def errors(trees: Iterable[ast.Module]) -> set[str]:
    """The names of the errors that are raised with a template."""
    bases = {
        node.name: {each.id for each in node.bases if isinstance(each, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"HarvestError"}
    while new := {name for name, of in bases.items() if of & known} - known:
        known |= new
    own = {"IncompleteError", "NoAccountError", "InvalidOptionError", "TokenRefusedError"}
    return known - own - {"_CannotExportError"}


def of_call(
    node: ast.Call, module: str, makers: set[str], names: dict[str, str], result: Found
) -> None:
    """Add the texts of a call."""
    name = name_of(node.func)
    texts: list[ast.expr] = []
    if name in makers and node.args and not is_a_logger(node.func):
        texts = node.args[:1]
        check(node, module, names, result)
    elif name in TABLES:
        at = TABLES[name]
        texts = node.args if at is None else node.args[at : at + 1]
    elif name in COUNTED and len(node.args) == 2:
        for noun in strings_of(node.args[1], names):
            add(COUNTED[name].format(noun), module, result)
    texts += [each.value for each in node.keywords if each.arg in HELP]
    for each in texts:
        if isinstance(each, ast.JoinedStr) and text_of(each, names) is None:
            result.wrong.append(f"{module}:{each.lineno}: an f-string is no template")
        for text in strings_of(each, names):
            add(text, module, result)


def add(template: str, module: str, result: Found) -> None:
    """Add a template that has words."""
    bare = plain(template)
    is_code = re.match(r"\w+\.\w+\(|\{\}::", bare)
    if re.search(r"[A-Za-z]{2}", bare.replace("{}", "")) and bare not in NO_TEXT and not is_code:
        result.templates.setdefault(bare, set()).add(module)


SIMULATE = (
    "HARVESTER_SECRET={} {} run users --appid {} --start 2024-01-01 --end 2024-03-31"
    " --base-url {} --out practice"
)
NO_TEXT = {
    "{} [rid: {}]",
    "harvester",
    "serving http://{}/",
    "HTTP {}",
    "HTTP 429",
    " COMMENT '{}'",
    SIMULATE,
}
"""The same in both languages."""


def check(node: ast.Call, module: str, names: dict[str, str], result: Found) -> None:
    """Note a call whose template is put together, or has not a field for each value."""
    first = node.args[0]
    if any(isinstance(each, ast.Starred) for each in node.args):
        return
    for text in strings_of(first, names):
        fields = len(fields_of(text)) if len(node.args) > 1 else 0
        if fields != len(node.args) - 1:
            result.wrong.append(f"{module}:{node.lineno}: {fields} fields, {len(node.args) - 1}")


def strings_of(node: ast.expr, names: dict[str, str]) -> Iterator[str]:
    """The text of constants, or those of a choice."""
    if isinstance(node, ast.IfExp):
        yield from strings_of(node.body, names)
        yield from strings_of(node.orelse, names)
    elif isinstance(node, ast.Tuple):
        for each in node.elts:
            yield from strings_of(each, names)
    elif (text := text_of(node, names)) is not None:
        yield text


def plain(template: str) -> str:
    """A template as the catalogue has it: with ``{}`` for each value."""
    return FIELD.sub("{}", template)


def name_of(node: ast.expr) -> str:
    """The last name of a function."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def is_a_logger(node: ast.expr) -> bool:
    """Whether it is a method of another object."""
    return isinstance(node, ast.Attribute) and name_of(node.value) not in ("self", "screen")


def help_of(node: ast.FunctionDef) -> Iterator[str]:
    """The paragraphs of the help of a command."""
    made = (each.func for each in node.decorator_list if isinstance(each, ast.Call))
    if any(name_of(each) in ("command", "group") for each in made):
        yield from paragraphs(ast.get_docstring(node) or "")


def paragraphs(text: str) -> Iterator[str]:
    """Those of a help as click shows them; one that begins with \\b keeps its lines."""
    for each in text.split("\n\n"):
        yield each.removeprefix("\b\n") if each.startswith("\b") else " ".join(each.split())


def catalogue() -> dict[str, str]:
    """Each template with its translation, empty if it has none yet."""
    read: dict[str, str] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return read


def written(entries: dict[str, str]) -> str:
    """A catalogue as a file: an entry a line, in order."""
    return json.dumps(dict(sorted(entries.items())), ensure_ascii=False, indent=0) + "\n"


def missing(texts: Found, known: dict[str, str]) -> list[str]:
    """The texts that have no translation."""
    return sorted(text for text in texts.templates if not known.get(text))


def gone(texts: Found, known: dict[str, str]) -> list[str]:
    """The entries that nothing says."""
    return sorted(
        text
        for text, chinese in known.items()
        if text not in texts.templates and (text not in texts.strings or not chinese)
    )


def main(arguments: list[str]) -> int:
    """Print what is wrong, or update the catalogue."""
    texts, known = found(), catalogue()
    lacking, unsaid = missing(texts, known), gone(texts, known)
    if arguments == ["--update"]:
        kept = {text: known.get(text, "") for text in [*known, *lacking] if text not in unsaid}
        CATALOGUE.write_text(written(kept), encoding="utf-8")
    else:
        for heading, lines in (("no translation", lacking), ("nothing says", unsaid)):
            for line in lines:
                print(f"{heading}: {json.dumps(line, ensure_ascii=False)}")
    for line in texts.wrong:
        print(line)
    print(f"{len(lacking)} of {len(texts.templates)} texts lack a translation", file=sys.stderr)
    return bool(lacking or texts.wrong or unsaid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
