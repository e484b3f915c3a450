"""Text from outside cannot steer a terminal, and names from outside cannot leave their folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import harvester
from harvester.base.codec import encode
from harvester.cli.terminal import escaped, harmless, plain, tell
from harvester.tokens.official import provider_for
from harvester.wechat.endpoint import check_name
from harvester.wechat.interfaces import INTERFACES
from tests.support import A, Wechat, harvest

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
    tell(HOSTILE)
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert len(out.splitlines()) == 2


def test_json_on_the_screen_is_harmless_and_means_the_same() -> None:
    document = encode({"errmsg": HOSTILE, "title": "早"}).decode()
    assert escaped(document).isprintable()
    assert json.loads(escaped(document)) == {"errmsg": HOSTILE, "title": "早"}
    assert escaped('{"a":1}') == '{"a":1}'


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


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "a\\b", ".hidden", "..", "CON", "nul", "com1", "", "x" * 101, "x" * 300, "a b",
     "早", "1st", "-x", "a\n", "a.b", None, 3],
)  # fmt: skip
def test_an_interface_whose_name_is_no_folders_is_refused(name: object) -> None:
    with pytest.raises(harvester.UsageError, match="cannot be the name of its folder") as caught:
        replace(INTERFACES["getarticlesummary"], name=name)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 250


def test_names_as_wechat_gives_them_are_taken() -> None:
    for name in ("getarticlesummary", "get_user-2", "x" * 100, "Console", "com10"):
        assert check_name(name) == name


@pytest.mark.parametrize("appid", ["", "../x", "wx 1", "wx1\n", "wx" + "0" * 63, "早", "wx-1"])
def test_an_appid_that_is_none_is_refused(appid: str) -> None:
    with pytest.raises(harvester.UsageError, match="appid") as caught:
        provider_for(harvester.Account(appid, secret="s"))
    assert len(str(caught.value)) < 150
