"""Texts: what they say, what they are made of, and that they stay texts on their way."""

from __future__ import annotations

import ast
import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import harvester
from harvester.base.codec import encode
from harvester.errors import AccountError, UsageError
from harvester.events import Report, without_appid
from harvester.model import many, with_rid, without_rid
from harvester.texts import Text, changed, english, joined, of_system, pack, say, unpack


def made_of(text: str) -> object:
    """A text with its template and values."""
    return [text.template, *map(made_of, text.values)] if isinstance(text, Text) else text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (say("nothing was sent"), "nothing was sent"),
        (say("{:,} of {} left", 1234, many(1, "day")), "1,234 of 1 day left"),
        (say("{!r} is {:.1f} {{}}", "a", 0.25), "'a' is 0.2 {}"),
        (say("a {} and {1}"), "a {} and {1}"),
        (say("{}: {}", "a {} b", ValueError("{0}")), "a {} b: {0}"),
        (joined("; ", ["a", say("b {}", 1)]), "a; b 1"),
        (joined("; ", []), ""),
        (say("a") + ", b", "a, b"),
        ("a, " + say("b"), "a, b"),
    ],
)
def test_a_text_is_its_english_sentence(text: str, expected: str) -> None:
    assert isinstance(text, Text)
    assert text == expected
    assert hash(text) == hash(expected)
    assert encode({"a": text}) == encode({"a": expected})
    assert json.dumps(text) == json.dumps(expected)
    assert type(english(text)) is str


def test_a_text_has_its_template_and_its_values_as_they_are_shown() -> None:
    text = say("{}: {:,} of {}", "wx1", 1234, many(2, "day"))
    assert made_of(text) == ["{}: {} of {}", "wx1", "1,234", ["{} days", "2"]]


@pytest.mark.parametrize("values", [(1,), (1, 2, 3)])
def test_there_is_a_value_for_each_field(values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        say("{} of {}", *values)


def test_an_error_is_a_text_with_its_values() -> None:
    error = UsageError("there is no ledger at {} ({:,} bytes)", "/a", 1000)
    assert made_of(str(error)) == ["there is no ledger at {} ({} bytes)", "/a", "1,000"]
    assert made_of(say("{}: {}", "x", error)) == ["{}: {}", "x", made_of(str(error))]
    assert repr(error) == "UsageError('there is no ledger at /a (1,000 bytes)')"


def test_an_error_whose_values_hold_a_password_is_a_text_without_it() -> None:
    error = UsageError("{} cannot be read: {}", "mysql://user:secret@host/db", many(1, "row"))
    assert made_of(str(error)) == [
        "{} cannot be read: {}", "mysql://…@host/db", ["{} row", "1"],
    ]  # fmt: skip


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_text_and_an_error_stay_what_they_are_in_another_process(copied: object) -> None:
    assert callable(copied)
    text = say("{}: {}", "wx1", many(2, "day"))
    assert made_of(copied(text)) == made_of(text)
    error = copied(AccountError("{}: {}", "wx1", text))
    assert made_of(str(error)) == ["{}: {}", "wx1", made_of(text)]


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "errcode 1 (x)", '["a"', '["a", 1]', "[1, 2]", '{"a": 1}',
        say("a"), say("{}: {}", "a\n'\"\\", many(2, "day")), joined("; ", ["[", say("b")]),
    ],
)  # fmt: skip
def test_what_a_ledger_keeps_is_read_as_it_was(text: str) -> None:
    kept = pack(text)
    assert type(kept) is str
    assert made_of(unpack(kept)) == made_of(text)


def test_a_text_stays_one_without_its_request_id_and_its_account() -> None:
    why = say("errcode {} ({})", 61500, "x")
    text = say("{}: {}", "wx1", say("no access token{}: {}", "", with_rid(why, "a-b")))
    assert text.endswith("(x) [rid: a-b]")
    bare = without_appid("wx1", without_rid(text))
    assert made_of(bare) == ["no access token{}: {}", "", made_of(why)]
    assert made_of(without_rid(with_rid(why, "a-b"))) == made_of(why)
    assert made_of(without_rid(with_rid(why, "a-b") + "; more")) == made_of(why)
    assert made_of(without_rid("plain [rid: 1]")) == "plain"


def test_a_change_across_values_gives_the_sentence_alone() -> None:
    text = say("{} and {}", "ab", "cd")
    found = changed(text, lambda it: it.replace("b and c", "…"))
    assert made_of(found) == "a…d"
    assert made_of(changed(text, str.upper)) == "AB AND CD"
    assert made_of(changed(text, lambda it: it.replace("b", "…"))) == ["{} and {}", "a…", "cd"]


def test_what_the_system_says_is_a_text() -> None:
    assert made_of(of_system(OSError(28, "No space left on device"))) == ["No space left on device"]
    assert made_of(of_system(OSError("odd"))) == ["odd"]


def test_a_report_as_an_object_has_plain_texts() -> None:
    report = Report(notes=[say("{} left", 1)], stopped={"wx1": say("{}: {}", "wx1", "x")})
    found = report.to_dict()
    assert [type(found["notes"][0]), type(found["stopped"]["wx1"])] == [str, str]


TEXTS = {
    "detail",
    "error",
    "message",
    "note",
    "notes",
    "problem",
    "reason",
    "said",
    "sentence",
    "why",
}
"""Names of what holds a text of the program."""
SEARCHES = {
    "count", "endswith", "find", "index", "partition", "removeprefix", "rfind", "rpartition",
    "rsplit", "split", "startswith",
}  # fmt: skip
MATCHES = {"findall", "finditer", "fullmatch", "match", "search"}
ALLOWED = {
    ("cli/progress.py", "_is_new"): "one line for each reason",
    ("config/files.py", "_hint"): "what the parser of TOML says",
    ("engine/window_queue.py", "window_refused"): "how often the same comes in a row",
    ("engine/writer.py", "report_drift"): "one line for each sentence",
    ("events.py", "__call__"): "one note for each sentence",
    ("events.py", "_note_gap"): "the note that is put in place of the former one",
    ("events.py", "recount"): "the notes that are made anew",
    ("report/causes.py", "ip_in"): "the address that WeChat names",
    ("sinks/jsonl/stored.py", "*"): "the note of a directory, which is no text",
    ("sinks/rows.py", "*"): "one line for each sentence",
}
"""Where a text is a key, or another program's; never is its sense read."""


def is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return is_text(node.func) or (
            isinstance(node.func, ast.Name) and node.func.id == "english" and bool(node.args)
        )
    return getattr(node, "attr", getattr(node, "id", None)) in TEXTS


def reads_text(node: ast.AST) -> bool:
    """Whether it compares or searches a text."""
    if isinstance(node, ast.Compare):
        by_value = not all(isinstance(each, ast.Is | ast.IsNot) for each in node.ops)
        return by_value and any(map(is_text, [node.left, *node.comparators]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        searched = node.func.attr in SEARCHES and is_text(node.func.value)
        return searched or (node.func.attr in MATCHES and any(map(is_text, node.args)))
    return False


def readers(tree: ast.AST, function: str = "") -> Iterator[str]:
    """The functions in which a text is compared or searched."""
    for node in ast.iter_child_nodes(tree):
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if reads_text(node):
            yield function
        yield from readers(node, node.name if inner else function)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code",
    [
        'def f(): return "quota" in window.detail', 'def f(): return found.reason == "x"',
        'def f(): return _VOIDED.search(window.detail)',
        'def f(): return note.startswith(f"{a}: ")',
        'def f(): return english(text).partition(" until ")',
    ],
)  # fmt: skip
def test_a_reader_of_a_text_is_found(code: str) -> None:
    assert [*readers(ast.parse(code))] == ["f"]


@pytest.mark.thorough
def test_no_module_compares_or_searches_a_text_of_the_program() -> None:
    package = Path(harvester.__file__).parent
    found = {
        (str(path.relative_to(package)), function)
        for path in package.rglob("*.py")
        for function in readers(ast.parse(path.read_text()))
    }
    several = {path for path, function in ALLOWED if function == "*"}
    assert {each for each in found if each[0] not in several} == {
        each for each in ALLOWED if each[1] != "*"
    }
