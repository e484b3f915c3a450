"""The command in Chinese: its catalogue, and what it prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from harvester.cli import language
from harvester.cli.commands import invoke
from harvester.cli.language import CATALOGUE, choose, label, read_catalogue, translated
from harvester.errors import UsageError
from tests.texts import PLACEHOLDER, missing, texts
from tests.texts import catalogue as read

HAN = re.compile(r"[\u4e00-\u9fff]")
APPID = "wx0123456789abcdef"


@pytest.fixture(autouse=True)
def _english_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "HARVESTER_LANG"):
        monkeypatch.delenv(name, raising=False)
    yield
    choose("en")


@pytest.fixture
def _chinese() -> None:
    choose("zh")


# the catalogue


@cache
def catalogue() -> Catalog:
    return read()


@pytest.mark.thorough
def test_every_text_has_a_translation() -> None:
    """Run ``python -m tests.texts`` for the list, with ``--update`` to add it to the catalogue."""
    found, wanted = catalogue(), texts()
    known = {each.id for each in found if each.id} - {each.id for each in missing(found)}
    assert [text for text in wanted if text not in known] == []
    assert known == wanted.keys(), "texts that are gone"


def test_the_catalogue_is_read_as_an_independent_reader_of_gettext_reads_it() -> None:
    with CATALOGUE.open(encoding="utf-8") as file:
        ours = dict(read_catalogue(file))
    assert ours == {each.id: each.string for each in catalogue() if each.id}
    assert len(ours) > 1000


def test_an_entry_in_doubt_and_one_without_a_translation_are_not_read() -> None:
    text = r"""
#, fuzzy
msgid "a b"
msgstr "甲"
msgid "c d"
msgstr ""
msgid ""
"e "
"f\n"
msgstr "乙\"\n"
#~ msgid "g"
#~ msgstr "丙"
"""
    assert dict(read_catalogue(text.splitlines())) == {"e f\n": '乙"\n'}


def test_a_translation_has_the_values_of_its_text_and_is_chinese() -> None:
    for each in catalogue():
        if each.id:
            values = [sorted(m[0] for m in PLACEHOLDER.finditer(t)) for t in (each.id, each.string)]
            assert values[0] == values[1], each.id
            same = each.id.startswith(("errcode", "harvester rebuild"))
            assert same or HAN.search(each.string) or "（" in each.string, each.id
            assert not re.search(r"[\u4e00-\u9fff] ?[,;:?](?: |$)", each.string), each.id


def test_the_terms_of_the_readme_are_used() -> None:
    strings = " ".join(str(each.string) for each in catalogue())
    for term in (
        "不重不漏，只入库一次",
        "只能通过环境变量传入，不支持命令行参数",
        "台账",
        "写入目标",
    ):
        assert term in strings
    for other in ("账本", "数据槽", "接收器"):
        assert other not in strings


# what is printed


TRANSLATED = {
    "complete: 0 windows harvested, 4 changed, 2 still provisional, 10 done before":
    "全部完成：已入库 0 个窗口，有变动 4，仍为暂定 2，之前已完成 10",
    f"{APPID}, a: 10 windows 2026-11-01 to 2026-11-28 failed, in the run before too: WeChat is"
    " busy": f"{APPID}, a：2026-11-01 至 2026-11-28 的 10 个窗口失败，上次运行中也失败：系统繁忙",
    "nothing was sent": "没有发出任何请求",
    "  nothing needs attention": "  没有待处理的事项",
    "needs attention:": "待处理：",
    f"{APPID} getusersummary: 2 windows 2024-01-01 to 2024-01-09 failed: errcode 61500 (date range"
    " error): WeChat refused the date, or the range [rid: 1-2]": f"{APPID} getusersummary："
    "2024-01-01 至 2024-01-09 的 2 个窗口失败：errcode 61500 (date range error)："
    "微信不接受这个日期或日期范围 [rid: 1-2]",
    f"{APPID} waits, 2.0 s of 8 h 05 min (and 3 more): the daily quota of this interface is used"
    " up": f"{APPID} 等待中，已等 2.0 秒，共 8 小时 05 分钟（另有 3 个）：这个接口今天的限额已用完",
    "partial: 1,200 windows harvested, 3 of them empty, 12 failed, 8,000 records, 1,220 requests"
    " (20 retries) in 3 min": "部分失败：已入库 1,200 个窗口，其中 3 个没有数据，失败 12，"
    "8,000 条记录，1,220 个请求（重试 20 次），用时 3 分钟",
    "there is no interface 'user', and no group (did you mean users?); harvester endpoints lists"
    " them": "没有名为 'user' 的接口或分组（是不是 users？）；harvester endpoints 会列出全部接口",
    "a and b.toml cannot be read (Permission denied)": "无法读取 a and b.toml（没有权限）",
    f"{APPID} getusersummary: 12 of 31 days harvested, 3 waiting, 16 missing, stale":
    f"{APPID} getusersummary：31 天中已入库 12 天，等待 3，缺失 16，未更新",
    "run the same command again from 2024-01-02 08:00 China time, or with --wait":
    "请从北京时间 2024-01-02 08:00 起再次执行同一条命令，或加上 --wait",
    "the directory /data/the directory holds a harvest that this ledger does not know; use the"
    " ledger that filled it (--ledger), or choose another directory; if that ledger is lost,"
    " harvester rebuild --out x makes one from what is stored": "目录 /data/the directory "
    "里的采集数据不在这个台账里；请用写入它的台账（--ledger），或换一个目录；如果台账已丢失，"
    "harvester rebuild --out x 会根据已入库的数据重建",
}  # fmt: skip


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize(("text", "chinese"), TRANSLATED.items())
def test_what_is_put_together_is_translated_and_its_values_stay(text: str, chinese: str) -> None:
    assert translated(text) == chinese
    assert translated(chinese) == chinese


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "failed", "waiting", "users", "interface", "/data/failed/missing", "{}", "{value}",
        "jsonl:failed", "a sentence of somebody else, which nobody knows; it stays: as it is",
        "relation x has no column which the query asks for", '{"state":"failed"}', "1 2 3",
        "could not connect: is the server running on that host?", "a: b; c, d and e",
    ],
)  # fmt: skip
def test_a_value_and_a_text_of_others_stay_as_they_are(text: str) -> None:
    assert translated(text) == text


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize(
    "text", ["a is missing; " * 100_000, "x, " * 1000 + "y", "1 day of " * 300]
)
def test_a_long_text_takes_neither_long_nor_the_stack(text: str) -> None:
    begun = time.monotonic()
    assert len(translated(text)) >= len(text) / 2
    assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("_chinese")
def test_a_word_is_translated_where_the_code_asks_for_it() -> None:
    assert (label("failed"), label("getusersummary")) == ("失败", "getusersummary")


# which language


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, {}, "en"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        (None, {"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW.UTF-8"}, "zh"),
        (None, {"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "HARVESTER_LANG": "en"}, "en"),
        (None, {"HARVESTER_LANG": " zh "}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "HARVESTER_LANG": ""}, "zh"),
        ("en", {"HARVESTER_LANG": "zh", "LANG": "zh_CN.UTF-8"}, "en"),
        ("zh", {"HARVESTER_LANG": "klingon"}, "zh"),
    ],
)
def test_the_option_wins_over_the_variable_and_that_over_the_locale(
    given: str | None, environment: dict[str, str], expected: str
) -> None:
    choose(given, environment)
    assert language.language() == expected


def test_another_language_in_the_variable_is_refused() -> None:
    with pytest.raises(UsageError, match=r"invalid HARVESTER_LANG: 'fr' is not one of zh, en"):
        choose(None, {"HARVESTER_LANG": "fr"})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (None, [])),
        (["--lang", "zh", "run", "--lang", "en"], ("zh", ["run", "--lang", "en"])),
        (["--lang=zh", "--lang=en", "run"], ("en", ["run"])),
        (["--lang"], (None, [])),
        (["-h", "--lang", "zh"], ("zh", [])),
        (["status", "--lang", "zh"], (None, ["status", "--lang", "zh"])),
    ],
)
def test_the_option_is_read_before_the_command(
    arguments: list[str], expected: tuple[str | None, list[str]]
) -> None:
    assert language.typed(arguments) == expected


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit status, and what the command printed."""
    status = invoke(arguments)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "expected"),
    [
        (("--lang", "fr", "status"), {}, 2, "Invalid value for '--lang': 'fr' is not one of"),
        (("status",), {"HARVESTER_LANG": "fr"}, 2, "invalid HARVESTER_LANG: 'fr' is not one of"),
        (("status",), {"HARVESTER_LANG": "fr", "LANG": "zh_CN"}, 2, "HARVESTER_LANG 无效：'fr' "),
        (("status", "--lang", "zh"), {}, 2, "It comes before the command: harvester --lang zh|en"),
        (("--lang", "zh", "run"), {}, 2, "缺少 ENDPOINT（接口名或分组名，例如 users）"),
        (("--lang", "zh", "run", "x", "--secret", "s"), {}, 2, "只能通过环境变量传入"),
        (("--lang", "zh", "run", "--rate", "5"), {}, 2, "--rate '5' 无效：应为大于 0 的数字加单位"),
        (("--lang", "zh", "nothing"), {}, 2, "没有命令 'nothing'。"),
        (("--lang", "zh", "simulate", "--port", "x"), {}, 2, "'--port' 的值无效：'x' 不是整数。"),
        (("status", "--out", "no"), {"LANG": "zh_CN.UTF-8"}, 2, "no/ledger.sqlite 没有台账"),
        (("--lang", "en", "status", "--out", "no"), {"LANG": "zh_CN"}, 2, "there is no ledger at"),
    ],
)  # fmt: skip
def test_messages_are_in_the_language_that_was_chosen(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    variables: dict[str, str],
    status: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ended, _, err = said(capsys, *arguments)
    assert ended == status
    assert expected in err
    assert len(err.splitlines()) == 1


def test_json_and_logs_as_json_are_english(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "s")
    asked = ("run", "user", "--appid", APPID, "--start", "2024-01-01", "--end", "2024-01-02")
    status, out, err = said(capsys, "--lang", "zh", *asked, "--json")
    assert status == 2
    [note] = json.loads(out)["notes"]
    assert note.startswith("there is no interface 'user'")
    assert "没有名为 'user' 的接口" in err
    _, _, err = said(capsys, "--lang", "zh", *asked, "--log-format", "json")
    assert json.loads(err)["message"] == note


def test_a_command_in_english_reads_no_catalogue() -> None:
    program = (
        "import sys; from harvester.cli import language, commands;"
        "commands.invoke(['run', '--help']); print(language._catalogue.cache_info().misses)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("\n0\n")


def test_an_interface_is_described_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said(capsys, "--lang", "zh", "endpoints", "getusersummary")
    assert status == 0
    assert out.startswith("getusersummary: 用户增减\n")
    for expected in ("每次天数       7\n", "新增关注人数", "1 搜索公众号", "状态           在用\n"):
        assert expected in out
