"""The report page: what stands in it, how large it is, and that nothing runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import zlib
from datetime import timedelta
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest

from harvester.ledger.base import WorkerState
from harvester.report import Overview, page
from harvester.report.causes import Cause
from harvester.report.charts import Article, Figures
from harvester.report.overview import AccountView
from harvester.report.page import harmless
from tests.report_data import BEGIN, HOSTILE, YESTERDAY, KnownLedger, agency, largest, some_figures

FIXED = {
    "all", "one", "data", "zh", "en", "light", "dark", "todo", "todo-h", "itself", "itself-h",
    "coverage", "coverage-h", "accounts", "accounts-h", "rows", "nobody", "more", "found", "search",
}  # fmt: skip
VOID = {"meta", "input"}


class Read(HTMLParser):
    """A page as a parser sees it: elements with their attributes, text by language."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.texts: list[tuple[str, str | None, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("lang") if tag != "html" else None))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        language = next((lang for _, lang in reversed(self.open) if lang), None)
        self.texts.append((self.open[-1][0] if self.open else "", language, data))

    def said(self, lang: str) -> str:
        """What somebody reads who has chosen a language."""
        return "".join(
            text
            for tag, language, text in self.texts
            if tag not in ("script", "style") and language in (None, lang)
        )

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@cache
def many() -> Overview:
    ledger, names = agency(120)
    return ledger.seen(names=names, where="the ledger harvest/ledger.sqlite")


def data_in(text: str, name: str = "data") -> dict[str, Any]:
    found = re.search(rf'id="{name}">([^<]*)<', text)
    assert found is not None
    content: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(found[1])))
    return content


def test_characters_that_steer_are_not_shown() -> None:
    assert harmless("a\u202eb\x1b\u2028\ud800c") == "a\ufffdb\ufffd\ufffd\ufffdc"
    assert harmless("👩\u200d💻\u3000ok") == "👩\u200d💻\u3000ok"


def test_all_that_is_not_the_templates_own_is_escaped() -> None:
    text = "<a&\"'>"
    ledger = KnownLedger()
    ledger.harvested("wx1", "getusersummary", BEGIN, YESTERDAY)
    made = page(ledger.seen(names={"wx1": text}, where=text), no_figures=text)
    assert made.count("<bdi>&lt;a&amp;&#34;&#39;&gt;</bdi>") == 3
    assert text not in made


# what stands there


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("zh", ("120 个账号中，有 8 个昨天的数据未到齐", "需要你处理",
                "本机 IP 203.0.113.7 不在白名单", "无需处理，会自动恢复",
                "等待额度，今晚 24:00 恢复",
                "用户增减", "8 个账号需要处理")),
        ("en", ("Yesterday is incomplete for 8 of 120 accounts", "For you to do",
                "IP 203.0.113.7 is not on the white list", "Resolves by itself",
                "Waiting for quota until midnight in China", "Followers gained, lost",
                "8 accounts need you: secret 2, IP list 2, permission 2, refused 2")),
    ],
)  # fmt: skip
def test_what_matters_stands_there_without_the_script(lang: str, expected: tuple[str, ...]) -> None:
    read = Read(page(many(), lang))
    text = read.said(lang)
    for sentence in expected:
        assert sentence in text
    for account in many().accounts:
        assert account.name in text
    (checked,) = [each["id"] for each in read.of("input") if "checked" in each]
    assert (checked, read.of("html")[0]["lang"]) == (lang, {"zh": "zh-CN", "en": "en"}[lang])


def test_english_has_no_chinese_but_names() -> None:
    text = Read(page(many(), "en")).said("en")
    for name in sorted((account.name for account in many().accounts), key=len, reverse=True):
        text = text.replace(name, "")
    assert set(re.findall(r"[\u4e00-\u9fff]+", text)) == {"中"}  # the switch of the language


def test_states_are_told_in_words_beside_their_colours() -> None:
    read = Read(page(many(), "en"))
    text = read.said("en")
    for word in ("final", "provisional", "waiting", "failed", "missing", "Here"):
        assert word in text
    assert "AppSecret is wrong or frozen" in text
    pictures = [each for each in read.of("svg") if each.get("class") != "axis"]
    hidden = [each for each in pictures if each.get("aria-hidden") == "true"]
    assert len(pictures) - len(hidden) == 1  # the wall, within what is hidden as a whole


def test_tables_have_heads_and_inputs_have_names() -> None:
    read = Read(page(many()))
    assert {each["scope"] for each in read.of("th")} == {"row", "col"}
    assert all(each.get("aria-label") for each in read.of("input") if each["type"] == "radio")
    assert len(read.of("h1")) == 1
    ids = [each["id"] for _, each in read.tags if each.get("id")]
    assert len(ids) == len({*ids})
    for attributes in read.of("section"):
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def colours() -> list[dict[str, str]]:
    """The colours of the page: light, dark if the system is, dark if it is chosen."""
    (style,) = [text for tag, _, text in Read(page(many())).texts if tag == "style"]
    blocks = [dict(re.findall(r"--([\w-]+):(#\w{6})", block)) for block in style.split("}")]
    return [block for block in blocks if block]


def test_text_has_a_contrast_of_four_and_a_half() -> None:
    light, dark, chosen = colours()
    assert dark == chosen
    assert light.keys() == dark.keys()
    pairs = [(text, ground) for text in ("text", "muted", "link") for ground in ("bg", "surface")]
    pairs += [("on", "link"), ("on", "failed"), ("on-waiting", "waiting"), ("text", "line")]
    for scheme in (light, dark):
        for text, ground in pairs:
            assert contrast(scheme[text], scheme[ground]) >= 4.5, text


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_days_of_every_account_are_in_the_page() -> None:
    seen = many()
    content = data_in(page(seen))
    for account, (appid, name, rows, *_) in zip(seen.accounts, content["accounts"], strict=True):
        assert (appid, name) == (account.appid, account.name)
        for row, (place, first, shape) in zip(account.rows, rows, strict=True):
            assert content["interfaces"][place][0] == row.endpoint
            runs = re.findall(r"([a-z. ])(\d+)", content["shapes"][shape])
            assert first == row.first.isoformat()
            assert sum(int(count) for _, count in runs) == (YESTERDAY - row.first).days + 1


def test_workers_that_are_at_work_are_told() -> None:
    class Shared(KnownLedger):
        claim = None

        async def workers(self) -> list[WorkerState]:
            return [WorkerState("a", 0.0, 0.0, 1, 1, alive) for alive in (True, False)]

    ledger = Shared()
    ledger.harvested("wx1", "getusersummary", BEGIN, YESTERDAY)
    assert " · 1 process at work" in Read(page(ledger.seen(), "en")).said("en")


# curves


def test_curves_are_in_the_page_as_they_were_read() -> None:
    seen, drawn = many(), some_figures(many())
    text = page(seen, "en", figures=drawn)
    content = data_in(text, "curves")
    assert content["last"] == str(YESTERDAY)
    for account, curves in zip(seen.accounts, content["curves"], strict=True):
        for name, curve in zip(content["names"], curves, strict=True):
            assert curve == drawn.of(account.appid, name)
    said = Read(text).said("en")
    assert "All accounts together" in said
    assert "daily readers added up" in said
    assert "data-followers" in text


def test_sources_and_articles_of_each_account_are_in_the_page() -> None:
    seen = many()
    content = data_in(page(seen, "en", figures=some_figures(seen)), "curves")
    named = [text[1] for text in content["sources_named"]]
    readers, gained = content["sources"][0]
    assert [named[source] for source, _ in readers] == ["account message", "Moments", "search"]
    assert [(named[source], people) for source, people in gained][1:] == [
        ("QR code", 2_500),
        ("4711", 300),
    ]
    first, second, third = content["articles"][0][:3]
    assert first[:2] == [50_000, str(YESTERDAY - timedelta(days=31))]
    assert second[3] == "https://mp.weixin.qq.com/s?mid=2"
    assert third[3] == ""  # it lies elsewhere


def test_a_line_of_weeks_is_broken_where_there_are_no_figures() -> None:
    seen = many()
    drawn = some_figures(seen)
    for curves in drawn.curves.values():
        curves["readers"] = [*[None] * 189, *[0] * 112, *[None] * 14, *[8] * 56]
    text = page(seen, figures=drawn)
    line = "".join(f"{'L' if at else 'M'}{at * 4} 19" for at in range(16))
    assert f'd="{line}M72 1L76 1L80 1L84 1L88 1L92 1L96 1L100 1"' in text


def test_days_without_figures_are_hatched_and_not_0() -> None:
    drawn = some_figures(many())
    for curves in drawn.curves.values():
        for curve in curves.values():
            curve[:14] = [None] * 14
    assert drawn.weeks("readers")[:3].count(None) == 2
    text = page(many(), figures=drawn)
    assert 'd="M0 0h10v60h-10zM10 0h10v60h-10z" fill="url(#hatch)"' in text


def test_links_and_weeks_at_their_edges() -> None:
    seen = many()
    drawn = some_figures(seen)
    appid = seen.accounts[0].appid
    there = "mp.weixin.qq.com/s?a=1&b=http://x.com/"
    drawn.articles[appid] = [Article(1, "2026-01-01", "one", f"http://{there}")]
    for curves in drawn.curves.values():
        curves["gained"] = [*[0] * 370, 1]
        curves["lost"] = [*[0] * 370, 1_000]
    text = page(seen, figures=drawn)
    assert data_in(text, "curves")["articles"][0][0][3] == f"https://{there}"
    assert "M520 0.1h8v59.9h-8z" in text  # what was lost fills the card, and no more
    few = Figures(YESTERDAY, 10, {appid: {"readers": [1] * 10}})
    assert few.weeks_of(appid, "readers")[-3:] == [None, 3, 7]


def test_a_page_without_curves_has_no_place_for_them() -> None:
    text = page(many(), "en")
    assert 'id="curves"' not in text
    assert "Followers</button>" not in text
    assert "All accounts together" not in text


def test_with_one_account_there_is_no_table_of_accounts() -> None:
    ledger, names = agency(1, ill=False)
    read = Read(page(ledger.seen(names=names), "en"))
    ids = {each.get("id") for _, each in read.tags}
    assert "coverage" in ids
    assert "accounts" not in ids


def test_a_page_of_nothing_says_how_to_begin() -> None:
    text = Read(page(KnownLedger().seen(), "en")).said("en")
    assert "Nothing was harvested yet" in text
    assert "harvester demo" in text


def test_of_many_accounts_fewer_days_are_drawn() -> None:
    accounts = [AccountView(f"wx{number}") for number in range(1000)]
    seen = Overview(0.0, YESTERDAY, accounts=accounts)
    drawn = some_figures(Overview(0.0, YESTERDAY, accounts=accounts[:1]))
    content = data_in(page(seen, figures=drawn), "curves")
    assert [len(curve) for curve in content["curves"][0]] == [87] * 4
    assert content["curves"][1] == [None] * 4


# what is never in it


def test_it_needs_no_network_and_runs_its_own_script_alone() -> None:
    text = page(many())
    read = Read(text)
    (policy,) = [each["content"] for each in read.of("meta") if "http-equiv" in each]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    (style,) = [body for at, _, body in read.texts if at == "style"]
    _, script = [body for at, _, body in read.texts if at == "script"]
    for kind, body in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    for _, attributes in read.tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert (attributes.get("href") or "#").startswith("#")


def hostile() -> Overview:
    """Whatever can come from outside is hostile."""
    ledger, names = KnownLedger(), {}
    for number in range(2):
        appid = f"{HOSTILE}{number}"
        names[appid] = HOSTILE
        for endpoint in ("getusersummary", HOSTILE):
            ledger.asked_for(appid, endpoint, BEGIN, YESTERDAY)
            ledger.put(appid, endpoint, BEGIN, YESTERDAY, "failed", code=40164,
                       detail=f"{HOSTILE} 203.0.113.7 {{ip}}", rid=HOSTILE)  # fmt: skip
    return ledger.seen(names=names, where=HOSTILE)


def test_nothing_that_a_title_smuggles_in_runs() -> None:
    tame = Read(page(many()))
    text = page(hostile())
    read = Read(text)
    assert {tag for tag, _ in read.tags} <= {tag for tag, _ in tame.tags}
    assert len(read.of("script")) == 2
    known = {name for _, attributes in tame.tags for name in attributes}
    assert {name for _, attributes in read.tags for name in attributes} <= known
    for steering in "\u202e\u2028\ud800":
        assert steering not in text
    assert "</script><img src=x onerror=alert(1)>" in read.said("en")  # as text
    text.encode()
    assert "\ufffd" in data_in(text)["accounts"][0][1]


def test_an_account_may_be_named_as_a_part_of_the_page() -> None:
    for appid in FIXED:
        seen = Overview(0.0, YESTERDAY, accounts=[AccountView(appid), AccountView("wx")])
        ids = [each["id"] for _, each in Read(page(seen)).tags if each.get("id")]
        assert len(ids) == len({*ids}), appid


# how large, how fast


@pytest.mark.parametrize("alike", [20, pytest.param(1, marks=pytest.mark.thorough)])
def test_a_thousand_accounts_over_twelve_years_are_small_and_soon_there(alike: int) -> None:
    """alike: so many accounts have the same gaps; at the worst each has its own."""
    ledger, names = largest(alike=alike)
    drawn = some_figures(ledger.seen()) if alike == 1 else None
    began = time.process_time()
    seen = ledger.seen(names=names)
    text = page(seen, figures=drawn)
    took = time.process_time() - began
    assert (len(seen.accounts), len(seen.interfaces)) == (1000, 15)
    assert len(text.encode()) < 3_000_000
    assert took < 15  # seconds on a busy machine; 2.5 on an idle one


def test_a_cause_of_all_accounts_lists_a_part_and_copies_all() -> None:
    appids = {f"wx{number:016x}": None for number in range(1000)}
    cause = Cause("secret", appids=appids, messages={"no": "r1"})
    seen = Overview(0.0, YESTERDAY, causes=[cause], accounts=list(map(AccountView, appids)))
    read = Read(page(seen, "en"))
    assert "and 800 more" in read.said("en")
    (copied,) = [each["data-copy"] for each in read.of("button") if each.get("data-copy")]
    assert copied == " ".join(appids)
