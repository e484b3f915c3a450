"""Messages on the screen and as JSON: text from outside cannot steer a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harvester.base.codec import encode
from harvester.cli import terminal as screen
from harvester.cli.terminal import (
    escaped,
    fitted,
    harmless,
    log_as,
    name_accounts,
    notify,
    plain,
    show_line,
    wrapped,
)
from tests.support import A, Wechat, harvest

Output = pytest.CaptureFixture[str]
HOSTILE = (
    "a\x1b]8;;http://x\x1b\\b\x1b[2Jc\x9b31md\u202ee\u2066f\r\ng\x07h\u2028i\U000e0041j\x00k\x7f"
)


def test_a_message_is_one_harmless_line() -> None:
    assert plain(HOSTILE).isprintable()
    assert "abc" not in plain(HOSTILE)
    assert plain(" 早上好 ██ é ") == "早上好 ██ é"


def test_a_result_keeps_its_lines_and_the_joiners_of_emoji(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert harmless("  a\nb\u200dc\u3000d") == "  a\nb\u200dc\u3000d"
    show_line(HOSTILE)
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert len(out.splitlines()) == 2


def test_json_on_the_screen_is_harmless_and_means_the_same() -> None:
    document = encode({"errmsg": HOSTILE, "title": "早"}).decode()
    assert escaped(document).isprintable()
    assert json.loads(escaped(document)) == {"errmsg": HOSTILE, "title": "早"}
    assert escaped('{"a":1}') == '{"a":1}'


@pytest.mark.thorough
def test_what_a_server_says_reaches_no_terminal_as_it_came(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(refuse={"getarticlesummary": 61500}, texts={61500: HOSTILE})
    arguments = ("run", "getarticlesummary", "--appid", A, "--start", "2024-01-01", "--end",
                 "2024-01-02", "--base-url", server.url, "--out", tmp_path)  # fmt: skip
    run = harvest(*arguments, "--json")
    assert run.returncode == 1
    for result in (run, harvest("status", "--out", tmp_path), harvest(*arguments)):
        shown = result.stdout + result.stderr
        assert "errcode 61500 (a" in shown
        assert shown.replace("\n", "").isprintable()
        assert len(shown.splitlines()) < 20


# the log


@pytest.fixture
def _plainly() -> None:
    log_as("text")
    name_accounts({})


@pytest.mark.usefixtures("_plainly")
def test_messages_as_json_have_a_time_a_level_and_a_text(capsys: Output) -> None:
    log_as("json")
    notify("something\x1b[31m\nelse", level="error")
    screen.log("done", event="Committed")
    log_as("text")
    one, other = map(json.loads, capsys.readouterr().err.splitlines())
    assert one.keys() == {"time", "level", "message"}
    assert (one["level"], one["message"]) == ("error", "something [31m else")
    assert (other["level"], other["event"], other["message"]) == ("info", "Committed", "done")
    assert one["time"][:2] == "20"
    assert one["time"][-6] in "+-"


@pytest.mark.usefixtures("_plainly")
def test_messages_have_the_names_of_accounts(capsys: Output) -> None:
    name_accounts({A: "茶馆"})
    notify(f"{A}: wrong, {A}x: not it")
    name_accounts({})
    assert capsys.readouterr().err == f"harvester: {A} (茶馆): wrong, {A}x: not it\n"


def test_lines_are_broken_by_the_width_of_characters_and_not_before_a_full_stop() -> None:
    assert wrapped("已入库，还有 12 个窗口。", 8) == ["已入库，", "还有 12", "个窗口。"]
    assert wrapped("one two three four", 9) == ["one two", "three", "four"]
    assert wrapped("one two three four", 9, most=2) == ["one two", "three …"]
    assert wrapped("", 9) == []


def test_a_sentence_is_broken_between_words_on_a_terminal_alone() -> None:
    text = "complete: 14 windows harvested, 451 records, 14 requests in 0.7 s, stored in harvest"
    for width in (20, 40, 80):
        lines = fitted(text, Console(force_terminal=True, width=width)).split("\n")
        assert " ".join(lines) == text
        assert max(map(len, lines)) <= width
    assert fitted(text, Console(force_terminal=False, width=20)) == text
