"""Every text of the command that a person may read, found in the source, and the catalogue of them.

    python -m tests.texts            # the texts without a translation, as they stand in a catalogue
    python -m tests.texts --update   # adds them to the catalogue, and removes what nothing says

A text is written in the code, in English; a value within it becomes a placeholder that says what
it is: ``{value}`` is shown as it is, ``{text}`` may have a translation of its own, and the other
kinds of `harvester.cli.language.KINDS` match what they are called.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

import harvester
from harvester.cli.language import PLACEHOLDER, split_margins

PACKAGE = Path(harvester.__file__).parent
PATH = PACKAGE / "locale" / "zh" / "LC_MESSAGES" / "harvester.po"
HEADER = rb"""# The texts of the command in Chinese.  python -m tests.texts prints what is missing.
msgid ""
msgstr ""
"Project-Id-Version: harvester\n"
"Language: zh\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=utf-8\n"
"Content-Transfer-Encoding: 8bit\n"

"""
MARK = "\0"
"""Around the kind of a placeholder, as long as it has no number."""

ELSEWHERE = (
    "base/fencing.py",  # keys
    "distributed.py",
    "ledger/sqlite_tables.py",
    "ledger/statements.py",
    "report/charts.py",
    "report/drawing.py",
    "report/page.py",
    "report/summary.py",
    "report/texts.py",
    "service/alerts.py",
    "testing/",
    "mcp/tools.py",  # for the client of an MCP server
    "mcp/flat_copy.py",
    "mcp/server.py",
    "service/metrics.py",
    "mcp/query.py",
    "wechat/interfaces.py",
    "wechat/labels.py",
    "tables.py",
    "wechat/titles.py",
    "wechat/types.py",
)
"""Modules whose texts the command does not print, or that have them in both languages."""
OURS = ("testing/faults.py",)
"""Those among them that have texts of the command."""

NO_TEXT = re.compile(
    r"\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|PRAGMA|BEGIN|COMMIT|FROM|WHERE|GRANT|LOCK|AND|AS"
    r"|SET|VALUES|COPY|ORDER BY|NOT NULL|ROLLBACK|TRANSACTION|ATTACH|CONFLICT|CASE|COLUMNS|CROSS|IN"
    r"|INDEX|ENGINE=InnoDB DEFAULT|PRIMARY KEY)\b|set_config\(|redis\.call|json_each|CONCAT\("
    r"|%\(|\\d[-{+?)]|\(\?|^<|[\u4e00-\u9fff]|\]\.?\||^\w+ \| None$|sheet_name|timestamp\["
    r"|_only=True"
    r"|HTTP/1\.1|yyyy|, state, records|run --help$|^users --appid|^HARVESTER_SECRET=|gone\."
    r"|^\{value\} (?:plan|simulate|status|report|verify)|ISO, YMD|READ|SCHEMA|COLUMN|^TABLE|COMMENT"
    r"|ORDINALITY|substr\(|IS NULL$|NESTED|UNION|WHEN|NULL ON|COLLATE |^HTTP \S+$"
)
"""SQL, patterns, HTML, commands, and what is Chinese already."""

NOT_SHOWN = frozenset(
    """\
1 day
a connection that would not be kept
a new {value} is empty; pass the sink that was filled
a year's letters are damaged
account {value}: concurrency
already exists
an attempt that is done has its window
another aiohttp
Awaitable[Token | str] | Token | str
broken pipe
control character in a target
could not receive
could not send
csv {value} {value2}
damaged ledger
Default: {quoted}.
directory of an export
directory of lines
directory of the ledger
disk I/O
double precision
draft of a ledger
draft of an export
Errcode: 28
fail window
file of a table
file of an export
file without a checkpoint
First day
folder of a table
folder of lines
goes on from
harvester {value}:{value2}
harvester: {text}
harvester: {value}
Last day
lease of a process that does not move
draft of lines
module {quoted} has no attribute {quoted2}
msgid ""
name resolution
no address
no password supplied
no permission
no route to host
no such column
no such file
no such table
no window is given out without a token
not a database
not connected
not known
not open
not yet accepting
note of an export
of the window's records and of the row
pack has made the lines
permission denied
private file
public 公众号 AppID
query parameter
rebuilt ledger
renew token
shutting down
slow down
starting up
state of lines
stop account
stop endpoint
support ssl
table file
the account
the caller's
the first day of the request's window
the interface
the last day of the request's window
the ledger is not entered
the place of the record in its window, from 0
the schema {value}
the sink is not open
the transport is not entered
there are no windows to be read
timed out
timestamp with time zone
token store
too many
tried again
unable to open
unsupported file format
using password: NO
WeChat has taken
what the catalogue does not know, or not so
when it was fetched
xlsx {value}
{quoted} is not pickled; pass on where it comes from
{value} min
done before
still provisional
key = excluded.key
Basic realm="harvester"
digest {value}
alert {value}
ping {value}
[rid: {value}]
{count}, {count2}, {text} to {text2}
stored in {text}
({number} a day
for each of {number} accounts)
{}: label
{text} · the label of {value}
a part of the msgid, as in the article's link
{number} {value}s
{value} DATE
{text} [rid: {value}]
{value} windows
{value}: {value2}  Default: {quoted}.
""".splitlines()
)
"""Words of drivers that are looked for, names of steps, comments of columns, parts of others."""

LINKS = frozenset(
    [
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "it",
        "its",
        "not",
        "of",
        "on",
        "or",
        "the",
        "to",
        "with",
        "{}",
    ]
)
"""Words that say nothing by themselves: a template of such words alone would match anything."""

TEXTS = frozenset(
    """\
adverb advice after also cause causes daily days detail due ends error errors exc expected hint
how message more note once opening other problem problems reason reasons rest retries said SAID
says shown_why span state strerror text texts tried unread until used_up what what_it_is when
where which who why wrong
""".split()  # noqa: SIM905
)
"""Names of variables and attributes that hold a text."""

TYPED_CALLS = {"many": "count", "duration": "duration", "china_time": "time", "len": "number"}
TEXT_CALLS = frozenset(
    [
        "describe",
        "described",
        "explain",
        "listed",
        "listing",
        "named",
        "nearest",
        "needs",
        "plain",
        "removeprefix",
        "said",
        "says",
        "str",
    ]
) | {*TYPED_CALLS, "without_rid"}
"""Functions whose result is a text."""

CLICK = """\
Usage:
Options
Commands
Show this message and exit.
Show the version and exit.
No such option: {value}
No such option {quoted}.
Did you mean {value}?
Did you mean {quoted}?
(Did you mean one of: {value}?)
(Possible options: {value})
Missing argument {quoted}.
Missing option {quoted}.
Missing command.
No such command {quoted}.
Got unexpected extra argument ({value})
Got unexpected extra arguments ({value})
Option {quoted} requires an argument.
Option {quoted} does not take a value.
Option {quoted} requires {number} arguments.
Invalid value: {text}
Invalid value for {value}: {text}
Invalid value for {quoted}: {text}
{quoted} is not a valid integer.
{quoted} is not a valid float.
{quoted} is not a valid integer range.
{quoted} is not a valid float range.
{quoted} is not a valid boolean.
{quoted} is not one of {value}.
{quoted} is not in the range {value}.
{value} is not in the range {value2}.
File {quoted} does not exist.
default: {value}
required
""".splitlines()
"""What click says."""

PHRASES = [
    *"""\
{date} to {date2}
and {count}
until {time}
waiting until {time}
must wait until {time}
{count} {date} to {date2}
{number} done before
{number} changed
{number} still provisional
the MCP server needs its library
stored in {value}
{date} to {date2}, ended {clock}
{date} ({count})
{date} to {date2} ({count})
for {number} of {count}
{number} late
{number} not asked
{number} never harvested
{number} not due
{number} no figures
({number} a day)
({number} a day for each of {number2} accounts)
--start DATE and --end DATE
no connection to the proxy {value}:{value2} ({text})
of {value}, {value2} are retired and left out
of {value}, {value2} is retired and left out
invalid {value} {value2}: expected {text}
{value}: invalid {value2} {value3}: expected {text}
{text} is empty
{text} is not text
{text} cannot be read ({text2})
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
{number} missing
invalid {value} {quoted}: expected {text}
Next:
in
{clock} China time
{number} s
{number} min
{number} h {number2} min
complete
waiting
partial
failed
interrupted
paused
missing
provisional
stale
final
empty
late
active
field
type
meaning
interface
first day
state
request
body
group
settled
late days
delivers
key
permission set
cloud call
page
gained
came
left
at its end
messages
sink
ledger
export
written
opened
week
month
account
since
reason
not asked
never harvested
not due
no figures
semicolons
tabs
bars
""".splitlines(),
    "days\na call",
    "late\ndays",
    "perm.\nset",
]
"""What the code puts together from words and numbers, and single words."""

NO_TEXTS = frozenset(
    [
        "compile",
        "durable",
        "execute",
        "fullmatch",
        "getLogger",
        "make_directory",
        "query",
        "remove",
        "replace_file",
        "search",
        "step",
        "sub",
        "sync",
        "write",
        "write_pieces",
    ]
)
"""Functions that take no text: names of steps, patterns, statements."""


class _Module(ast.NodeVisitor):
    """Collects the texts of a module."""

    def __init__(self, name: str, constants: dict[str, ast.expr]) -> None:
        self.name, self.constants = name, constants
        self.found: list[tuple[str, str]] = []
        self.texts: list[frozenset[str]] = []
        self.inner: set[int] = set()

    # where texts are

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # no docstring
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for paragraph in _help_of(node):
            self.found.append((paragraph, self.name))
        named = {
            target.id
            for each in ast.walk(node)
            if isinstance(each, ast.Assign | ast.AugAssign) and _is_text(each.value)
            for target in (each.targets if isinstance(each, ast.Assign) else [each.target])
            if isinstance(target, ast.Name)
        }
        self.texts.append(frozenset(named))
        for each in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults, *node.body]:
            if each is not None:
                self.visit(each)
        self.texts.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  (the name that ast gives it)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.annotation, ast.Constant):  # an option has its help in it
            self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        """Visit what is in it, unless it is a text in Chinese and the same in English."""
        if not (len(node.elts) == 2 and _is_chinese(node.elts[0])):
            self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        """Visit what is in it, unless it has texts by language."""
        keys = {each.value for each in node.keys if isinstance(each, ast.Constant)}
        if not {"zh", "en"} <= keys:
            self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        """What is asserted is not shown."""

    def visit_Call(self, node: ast.Call) -> None:
        name = _name(node.func)
        if name in ("many", "listed", "listing") and len(node.args) == 2:
            for noun in self._templates(node.args[1]):
                before, more = ("", "") if name == "many" else ("and ", "more ")
                if MARK not in noun:
                    self.found += [
                        (f"{before}{MARK}number{MARK} {more}{noun}{end}", self.name)
                        for end in ("", "s")
                    ]
            self.visit(node.args[0])
            return
        if name in NO_TEXTS:
            return
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._add(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._add(node)
        for each in node.values:
            if isinstance(each, ast.FormattedValue):
                self.visit(each.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add) and _is_text(node):
            self._add(node)
            for each in _operands(node):
                if not isinstance(each, ast.Constant):
                    for inner in ast.iter_child_nodes(each):
                        self.visit(inner)
            return
        self.generic_visit(node)

    def _add(self, node: ast.expr) -> None:
        self.found += [(text, self.name) for text in self._templates(node)]

    # what they are

    def _templates(self, node: ast.expr) -> list[str]:
        """The forms that a text may have, with the kinds of its values between marks."""
        if isinstance(node, ast.Constant):
            text = node.value if isinstance(node.value, str) else ""
            text = re.sub(r"%\.\df", f"{MARK}number{MARK}", text)
            text = re.sub(r"\{[a-z]+\}", f"{MARK}value{MARK}", text)  # of str.format
            return [re.sub(r"%[sd]", f"{MARK}text{MARK}", text)]
        if isinstance(node, ast.JoinedStr):
            return self._joined([self._templates(each) for each in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([self._templates(each) for each in (node.left, node.right)])
        if isinstance(node, ast.FormattedValue):
            return self._of_value(node)
        if isinstance(node, ast.IfExp) and _is_text(node.body) and _is_text(node.orelse):
            return [*self._templates(node.body), *self._templates(node.orelse)]
        return [f"{MARK}{self._kind(node)}{MARK}"]

    def _joined(self, parts: list[list[str]]) -> list[str]:
        return ["".join(each) for each in product(*parts)][:16]

    def _of_value(self, node: ast.FormattedValue) -> list[str]:
        if node.conversion == ord("r"):
            return [f"{MARK}quoted{MARK}"]
        if node.format_spec is not None:
            spec = ast.unparse(node.format_spec)
            if "%H" in spec:
                return [f"{MARK}clock{MARK}"]
            if re.search(r"[,fgd%]['\"]$|:?0\d", spec):
                return [f"{MARK}number{MARK}"]
            return [f"{MARK}{self._kind(node.value)}{MARK}"]
        constant = self.constants.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if constant is not None:
            return self._templates(constant)
        return self._templates(node.value)

    def _kind(self, node: ast.expr) -> str:
        if isinstance(node, ast.Call):
            name = _name(node.func)
            if name == "join" and isinstance(node.func, ast.Attribute):
                joint = node.func.value
                return "text" if isinstance(joint, ast.Constant) and ";" in joint.value else "value"
            if name.startswith("_"):
                return "text"
            return TYPED_CALLS.get(name, "text" if name in TEXT_CALLS else "value")
        if isinstance(node, ast.IfExp | ast.JoinedStr | ast.BoolOp):
            return "text"
        name = _name(node)
        local = isinstance(node, ast.Name) and any(name in names for names in self.texts)
        return "text" if local or name.lstrip("_") in TEXTS else "value"


def _is_chinese(node: ast.expr) -> bool:
    parts = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return any(isinstance(each, str) and re.search(r"[\u4e00-\u9fff]", each) for each in parts)


def _operands(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        yield from _operands(node.left)
        yield from _operands(node.right)
    else:
        yield node


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.id if isinstance(node, ast.Name) else ""


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) or _is_text(node.orelse)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and any(map(_is_text, _operands(node)))
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Call) and _name(node.func) in TEXT_CALLS
    )


def _help_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The paragraphs of the help of a command."""
    decorators = (each.func for each in node.decorator_list if isinstance(each, ast.Call))
    if any(_name(each) in ("command", "group") for each in decorators):
        yield from paragraphs(ast.get_docstring(node) or "")


def paragraphs(text: str) -> Iterator[str]:
    """Those of a help as click shows them; one that begins with \\b keeps its lines."""
    for each in text.split("\n\n"):
        yield each.removeprefix("\b\n") if each.startswith("\b") else " ".join(each.split())


def _numbered(text: str) -> str:
    """A template, its placeholders named by kind, and numbered from the second of a kind on."""
    seen: Counter[str] = Counter()

    def name(found: re.Match[str]) -> str:
        seen[found[1]] += 1
        return f"{{{found[1]}{seen[found[1]] if seen[found[1]] > 1 else ''}}}"

    text = re.sub(f"(?<=[A-Za-z]){MARK}value{MARK}", f"{MARK}text{MARK}", text)  # an ending
    return re.sub(f"{MARK}(\\w+){MARK}", name, text)


def _is_text_of_ours(template: str) -> bool:
    """Whether a text has words of its own, and somebody may read it."""
    words = PLACEHOLDER.sub(" {} ", template).replace("\n", " ").split(" ")
    prose = [each.strip("(),.;:?![]") for each in words]
    plain = [each for each in prose if re.fullmatch(r"[A-Za-z][A-Za-z'-]*", each)]
    return (
        template not in NOT_SHOWN
        and not NO_TEXT.search(template)
        and " " in template
        and (not LINKS.issuperset(plain) or (bool(plain) and _is_typed(template)))
    )


def _is_typed(template: str) -> bool:
    """Whether the values of a text of small words are enough to know it by."""
    kinds = [kind for _, kind in PLACEHOLDER.findall(template)]
    narrow = [kind for kind in kinds if kind not in ("value", "text", "quoted")]
    return len(narrow) > (1 if "value" in kinds else 0)


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """The texts that a module has by a name in capitals."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and _is_text(node.value)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def texts() -> dict[str, list[str]]:
    """Each text, with the modules that say it."""
    found: dict[str, dict[str, None]] = {}
    for text in (*CLICK, *PHRASES):
        found.setdefault(text, {})
    trees = {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    shared: dict[str, ast.expr] = {}
    for tree in trees.values():
        shared |= _constants(tree)
    for name, tree in trees.items():
        if name.startswith(ELSEWHERE) and name not in OURS:
            continue
        module = _Module(name, shared | _constants(tree))
        module.visit(tree)
        for raw, where in module.found:
            text = split_margins(_numbered(raw))[1]
            if _is_text_of_ours(text):
                found.setdefault(text, {})[where] = None
    return {text: [*where] for text, where in found.items()}


def catalogue() -> Catalog:
    """The catalogue as Babel reads it."""
    with PATH.open("rb") as file:
        return read_po(file)


def template() -> Catalog:
    """A catalogue of the texts of the code, without translations."""
    made = Catalog(locale="zh", project="harvester", copyright_holder="", fuzzy=False)
    for text, modules in texts().items():
        made.add(text, locations=[(name, None) for name in modules])
    return made


def updated() -> Catalog:
    """The catalogue with the texts of the code; what has changed keeps its translation as fuzzy."""
    found = catalogue()
    found.update(template(), no_fuzzy_matching=False)
    found.obsolete.clear()
    return found


def missing(found: Catalog) -> list[Message]:
    """The texts that have no translation, or one that somebody must look at."""
    return [each for each in found if each.id and (each.fuzzy or not each.string)]


def written(found: Catalog) -> bytes:
    """A catalogue as a file."""
    for each in found:
        each.flags.discard("python-format")  # a text with a percentage is no format
    file = io.BytesIO(HEADER)
    file.seek(0, io.SEEK_END)
    write_po(file, found, width=100, omit_header=True, ignore_obsolete=True)
    return file.getvalue()


def main(arguments: list[str]) -> int:
    """Print the texts that lack a translation, or write them into the catalogue."""
    found = updated()
    left = missing(found)
    if arguments == ["--update"]:
        PATH.write_bytes(written(found))
    elif left:
        shown = Catalog(locale="zh")
        for each in left:
            shown[each.id] = each
        print(written(shown).decode())
    print(f"{len(left)} of {len(found)} texts lack a translation", file=sys.stderr)
    return bool(left)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
