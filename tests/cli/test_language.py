"""The command in Chinese: its catalogue, and what it prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path

import pytest

from harvester.base.chinese import CATALOGUE
from harvester.base.dates import nearest
from harvester.cli import language
from harvester.cli.commands import invoke
from harvester.cli.language import choose, label, translated
from harvester.cli.session import summarize
from harvester.cli.terminal import china_time
from harvester.errors import UsageError
from harvester.events import Failure, Report, Wait, Windows, causes
from harvester.model import duration, many, span, with_rid
from harvester.texts import joined, of_system, pack, say, unpack
from tests import texts
from tests.texts import HAN

APPID = "wx0123456789aabbcc"


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


@pytest.mark.thorough
def test_every_text_has_a_translation() -> None:
    """Run ``python -m tests.texts`` for the list, with ``--update`` to add it to the catalogue."""
    wanted, known = texts.found(), texts.catalogue()
    assert texts.missing(wanted, known) == []
    assert texts.gone(wanted, known) == [], "texts that are gone"
    assert wanted.wrong == []
    assert len(known) > 1000


def test_the_catalogue_has_a_line_an_entry_in_order() -> None:
    known = texts.catalogue()
    assert CATALOGUE.read_text(encoding="utf-8") == texts.written(known)
    assert len(CATALOGUE.read_text(encoding="utf-8").splitlines()) == len(known) + 2


def test_a_translation_has_the_values_of_its_text_and_is_chinese() -> None:
    for text, chinese in texts.catalogue().items():
        values = [f"<{number}>" for number in range(text.count("{}"))]
        shown = chinese.format(*values) if values else chinese
        assert sorted(re.findall(r"<\d+>", shown)) == sorted(values), text
        same = text.startswith(
            ("errcode", "harvester rebuild", "an aiohttp", "--metrics: ", "--span: ")
        )
        assert same or HAN.search(chinese) or "（" in chinese, text
        assert not re.search(r"[\u4e00-\u9fff] ?[,;:?](?: |$)", chinese), text


def test_a_scheme_has_no_wide_colon_and_a_thing_has_one_name() -> None:
    for text, chinese in texts.catalogue().items():
        for scheme in re.findall(r"\b[a-z]+:(?=[A-Z{…/])", text):
            assert scheme in chinese, text
        assert not re.search(r"(?:jsonl|sqlite|postgresql|mysql|parquet|https?)：", chinese)
        assert "图文" not in chinese
        assert not re.search("未采(?!集)", chinese)


def test_the_terms_of_the_readme_are_used() -> None:
    strings = " ".join(texts.catalogue().values())
    for term in (
        "不重不漏，只入库一次",
        "不能写在命令行里",
        "台账",
        "写入目标",
    ):
        assert term in strings
    for other in ("账本", "数据槽", "接收器"):
        assert other not in strings


# what is printed


def _causes(*found: Failure | Wait) -> list[str]:
    return [cause.failed for cause in causes(found)]


FAILURE = Failure(
    APPID, "a", date(2026, 11, 1), date(2026, 11, 28), "WeChat is busy", windows=10, new=False
)
REFUSED = with_rid(
    say(
        "{}: {}",
        say("errcode {} ({})", 61500, "date range error"),
        say("WeChat refused the date, or the range"),
    ),
    "1-2",
)
TRANSLATED = [
    (
        say(
            "{} {}: {} {} failed: {}", APPID, "getusersummary", many(2, "window"),
            span(date(2024, 1, 1), date(2024, 1, 9)), REFUSED,
        ),
        (f"{APPID} getusersummary: 2 windows 2024-01-01 to 2024-01-09 failed: errcode 61500 (date"
        " range error): WeChat refused the date, or the range [rid: 1-2]"),
        (f"{APPID} getusersummary：2024-01-01 至 2024-01-09 的 2 个窗口失败：errcode 61500"
        " (date range error)：微信不接受这个日期或日期范围 [rid: 1-2]"),
    ),
    (
        say("there is no interface or group {!r}{}; harvester endpoints lists all of them", "user",
        nearest("user", ["users"])),
        ("there is no interface or group 'user' (did you mean users?); harvester endpoints"
         " lists all of them"),
        "没有名为 'user' 的接口或分组（是不是 users？）；harvester endpoints 会列出全部接口",
    ),
    (
        say("{} cannot be read ({})", "a and b.toml", of_system(PermissionError(13,
        "Permission denied"))),
        "a and b.toml cannot be read (Permission denied)",
        "无法读取 a and b.toml（没有权限）",
    ),
    (
        say("run the same command again at {} or later, or now with --wait",
            china_time(1704153600.0)),
        ("run the same command again at 2024-01-02 08:00 China time or later, or now with"
         " --wait"),
        "请在北京时间 2024-01-02 08:00 或之后再次执行同一条命令，或现在加上 --wait 执行",
    ),
    (
        say("{}: {}", say("{} waits{}", APPID, ""), say("it has more than {} pages", 1000)),
        f"{APPID} waits: it has more than 1000 pages",
        f"{APPID} 等待中：超过 1000 页",
    ),
    (joined("; ", ["failed", "a: b, c and d"]), "failed; a: b, c and d", "failed; a: b, c and d"),
    (many(1, "day"), "1 day", "1 天"),
    (duration(29_100), "8 h 05 min", "8 小时 05 分钟"),
]  # fmt: skip


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize(("text", "english", "chinese"), TRANSLATED)
def test_what_is_put_together_is_translated_and_its_values_stay(
    text: str, english: str, chinese: str
) -> None:
    assert (text, translated(text)) == (english, chinese)
    assert translated(unpack(pack(text))) == chinese, "as a ledger keeps it"


@pytest.mark.usefixtures("_chinese")
def test_a_cause_is_translated_whole() -> None:
    [text] = _causes(FAILURE)
    assert translated(text) == (
        f"{APPID} a：2026-11-01 至 2026-11-28 的 10 个窗口失败，上次运行也失败了：WeChat is busy"
    )


ENGLISH_WORD = re.compile("[A-Za-z]+")
COUNTS = ("changed", "provisional")
WINDOWS = ("empty", "skipped", "waiting", "failed")


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize("state", ["complete", "waiting", "partial", "failed", "interrupted"])
def test_each_form_of_a_summary_is_chinese(state: str) -> None:
    forms = set()
    for given in product((0, 1, 1200), repeat=len(COUNTS) + len(WINDOWS)):
        numbers = dict(zip((*COUNTS, *WINDOWS), given, strict=True))
        windows = Windows(done=2, **{name: numbers[name] for name in WINDOWS})
        counted = {name: numbers[name] for name in COUNTS}
        report = Report(state, windows, 3, 4, retries=1, seconds=70.0, foreign=1, **counted)
        text = translated(joined(", ", [*summarize(report), say("stored in {}", "/")]))
        assert ENGLISH_WORD.findall(text) == [], text
        assert not re.search("[,:;] ", text), text
        forms.add(re.sub("[0-9,]+", "0", text))
    assert len(forms) == 64


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "failed", "waiting", "users", "interface", "/data/failed/missing", "{}", "{value}",
        "jsonl:failed", "a sentence of somebody else, which nobody knows; it stays: as it is",
        "relation x has no column which the query asks for", '{"state":"failed"}', "1 2 3",
        "could not connect: is the server running on that host?", "a: b; c, d and e",
        "nothing was sent", "3 of 5 days left",
    ],
)  # fmt: skip
def test_a_value_and_a_text_of_others_stay_as_they_are(text: str) -> None:
    assert translated(text) == text
    assert translated(say("{} is not a table", text)) == f"{text} 不是表"


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
        (("status", "--lang", "zh"), {}, 2, "Write it before the command: harvester --lang zh|en"),
        (("--lang", "zh", "run"), {}, 2, "缺少 ENDPOINT（接口名或分组名，例如 users）"),
        (("--lang", "zh", "run", "x", "--secret", "s"), {}, 2, "不能写在命令行里"),
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
    assert note.startswith("there is no interface or group 'user'")
    assert "没有名为 'user' 的接口" in err
    _, _, err = said(capsys, "--lang", "zh", *asked, "--log-format", "json")
    assert json.loads(err)["message"] == note


@pytest.mark.thorough
def test_a_command_in_english_reads_no_catalogue() -> None:
    program = (
        "import sys; from harvester.base import chinese; from harvester.cli import commands;"
        "commands.invoke(['run', '--help']); print(chinese._catalogue.cache_info().misses)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("\n0\n")


def test_an_interface_is_described_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said(capsys, "--lang", "zh", "endpoints", "getusersummary")
    assert status == 0
    assert out.startswith("getusersummary: 用户增减\n")
    for expected in ("每次天数       7\n", "新增关注人数", "1 = 搜索", "状态           在用\n"):
        assert expected in out
