"""The report page: what stands in it, how large it is, and that nothing runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import zlib
from collections import Counter
from datetime import date, timedelta
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from typing import Any

import pytest

from harvester.base.dates import ONE_DAY
from harvester.ledger.base import Exhausted, WorkerState
from harvester.ledger.coverage import Calendar
from harvester.report import Overview, page
from harvester.report.causes import Cause
from harvester.report.charts import DAYS, Figures
from harvester.report.drawing import week_cards
from harvester.report.overview import AccountView
from harvester.report.page import harmless
from harvester.report.yearly import Article, Month, Together, Yearly
from tests.report_data import (
    BEGIN,
    HOSTILE,
    NOW,
    YESTERDAY,
    KnownLedger,
    agency,
    largest,
    some_figures,
)
from tests.support import A, B, at

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
                "等待限额，今晚 24:00 恢复",
                "用户增减", "8 个账号需要处理")),
        ("en", ("Yesterday is incomplete for 8 of 120 accounts", "For you to do",
                "IP 203.0.113.7 is not on the allow list", "Resolves by itself",
                "Waiting for quota until midnight in China", "Followers gained, lost",
                "8 accounts need action: secret 2, IP list 2, permission 2, refused 2")),
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
    for word in ("final", "provisional", "waiting", "failed", "missing", "Arrived"):
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
            runs = content["shapes"][shape]
            assert first == row.reach.first.isoformat()
            assert "".join(letter * count for letter, count in runs) == row.reach.letters.decode()


def test_workers_that_are_at_work_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("harvester.report.overview"), "shared", lambda ledger: ledger)

    class Shared(KnownLedger):
        async def workers(self) -> list[WorkerState]:
            return [WorkerState("a", 0.0, 0.0, 1, 1, alive) for alive in (True, False)]

    ledger = Shared()
    ledger.harvested("wx1", "getusersummary", BEGIN, YESTERDAY)
    assert " · 1 worker running" in Read(page(ledger.seen(), "en")).said("en")


# curves


@pytest.mark.thorough
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


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_the_articles_of_accounts_are_in_the_page() -> None:
    """Of 120 accounts sixteen of each: those of the newest year first."""
    seen, drawn = many(), some_figures(many())
    content = data_in(page(seen, "en", figures=drawn), "curves")
    for account, (counts, kept) in zip(seen.accounts, content["articles"], strict=True):
        assert counts == [[2026, 30], [2025, 30], [2024, 30]]
        known = drawn.yearly.articles[account.appid]
        assert len(known) == len(kept) == 16
        for article, (readers, day, title, _, reads, until, added, published) in zip(
            known, kept, strict=True
        ):
            assert (readers, day, title) == (article.readers, str(article.day), article.title)
            assert (reads, until, added, published) == (None, str(article.until), 0, 1)
    links = [one[3] for _, kept in content["articles"] for one in kept]
    assert {link[:25] for link in links} == {"", "https://mp.weixin.qq.com/"}


@pytest.mark.thorough
def test_years_are_in_the_page_without_the_script() -> None:
    drawn = some_figures(many())
    read = Read(page(many(), "en", figures=drawn))
    said = read.said("en")
    chosen = [each for each in read.of("input") if each.get("name") == "year"]
    assert [each["aria-label"] for each in chosen] == ["2026", "2025", "2024"]
    assert ["checked" in each for each in chosen] == [True, False, False]
    for year in (2026, 2025, 2024):
        assert len(drawn.yearly.top[year]) == 20
        for article in drawn.yearly.top[year]:
            assert article.title in said
            assert f"{article.readers:,}" in said
        for month in drawn.yearly.months_of(year):
            assert f"{month.gained:,}{month.lost:,}{month.net:+,}{month.followers:,}" in said
    assert "2026 · 20 of 3,600" in said
    assert "running total; where none is stored, the readers of the stored days added up" in said
    assert "Nov 25" in said  # the last day of November with a figure
    links = [each for each in read.of("a") if (each["href"] or "").startswith("http")]
    assert {each["rel"] for each in links} == {"noopener noreferrer"}
    assert {(each["href"] or "")[:25] for each in links} == {"https://mp.weixin.qq.com/"}


def one_year(*articles: Article, months: dict[int, Month] | None = None) -> str:
    """The text of a page of one account, of which August to November were asked for."""
    ledger = KnownLedger()
    ledger.harvested("wx1", "getusersummary", date(2026, 9, 16), YESTERDAY)
    drawn = Figures(YESTERDAY)
    drawn.yearly = Yearly({2026: [*articles]} if articles else {}, months={"wx1": months or {}})
    return Read(page(ledger.seen(), "en", figures=drawn)).said("en")


def test_what_a_month_lacks_is_named() -> None:
    at = 12 * 2026
    known = {at + 8: Month(7, 9, 500, 30), at + 9: Month(None, None, 600, 29), at + 10: Month(5, 5)}
    said = one_year(months=known)
    assert "Sep50.0% of days stored79-2500Year" in said  # 15 of 30 days
    assert "Oct–––600Oct 29Sep" in said
    assert "Nov83.3% of days stored550–Oct" in said
    assert "Year19.5% of days stored1214-2" in said  # 71 of 365 days
    assert "No article published in this year is stored" in said


def test_how_an_article_was_counted_is_named() -> None:
    day, until = date(2026, 3, 1), date(2026, 3, 30)
    said = one_year(
        Article(9_000, day, "A", "", None, until),
        Article(80, day, "B", "", 1_234, until, 1, True),
        Article(7, day, "C", "", None, until, 12, False),
    )
    assert "ArticleReadersTimes read" in said
    assert "Apublished 2026-03-01 · counted to 2026-03-309,000–" in said
    assert "Bpublished 2026-03-01 · 1 day added up · counted to 2026-03-30801,234" in said
    assert "Cfirst read 2026-03-01 · 12 days added up · counted to 2026-03-307–" in said
    assert "Nothing of this year is stored of getusersummary" in said
    assert "Times read" not in one_year(Article(9, day, "A", "", None, until)).split("Old inter")[0]


def test_how_many_articles_have_a_title_and_what_names_the_others() -> None:
    drawn = Figures(YESTERDAY)
    drawn.yearly = Yearly(
        {2026: []}, counted={A: Counter({2026: 2, 2025: 1}), B: Counter({2026: 1})}
    )
    drawn.yearly.named = 3
    read = Read(page(many(), "en", figures=drawn))
    assert "3 of 4 articles with reader figures have a title. A harvest of" in read.said("en")
    assert "有阅读数据的 4 篇文章中，3 篇有标题。采集" in read.said("zh")
    drawn.yearly.named = 4
    assert "have a title" not in Read(page(many(), "en", figures=drawn)).said("en")


def test_a_page_whose_figures_hold_nothing_by_year_says_so() -> None:
    assert "By yearNo figures of followers and articles are stored." in one_year()


def test_why_nothing_could_be_read_stands_in_the_section() -> None:
    said = Read(page(many(), "en", no_figures="the sink is away")).said("en")
    assert "By yearNo figures are shown: the sink is away" in said
    assert "By year" not in Read(page(many(), "en")).said("en")  # they were not wanted


@pytest.mark.thorough
def test_of_very_many_accounts_the_newest_months_are_in_the_page() -> None:
    accounts = [AccountView(f"wx{number}") for number in range(1000)]
    drawn = Figures(YESTERDAY)
    drawn.yearly.months = {"wx0": {12 * 2024 + 11: Month(1, 1), 12 * 2025: Month(2, 0, 9, 30)}}
    text = page(Overview(0.0, YESTERDAY, accounts=accounts), figures=drawn)
    content = data_in(text, "curves")
    assert content["months"][0] == [12 * 2025, [[2], [0], [9], [30]]]
    assert content["since"] == 2025
    assert drawn.yearly.months_of(2024) == [Together(12 * 2024 + 11, 1, 1, None, 0, (0, 0))]


@pytest.mark.thorough
def test_a_line_of_weeks_is_broken_where_there_are_no_figures() -> None:
    seen = many()
    drawn = some_figures(seen)
    for curves in drawn.curves.values():
        curves["readers"] = [*[None] * 189, *[0] * 112, *[None] * 14, *[8] * 56]
    text = page(seen, figures=drawn)
    line = "".join(f"{'L' if at else 'M'}{at * 4} 19" for at in range(16))
    assert f'd="{line}M72 1L76 1L80 1L84 1L88 1L92 1L96 1L100 1"' in text


def test_days_without_figures_are_hatched_and_not_0() -> None:
    seen = agency(5, ill=False)[0].seen()
    drawn = some_figures(seen)
    for curves in drawn.curves.values():
        for curve in curves.values():
            curve[:7], curve[14:28] = [None] * 7, [None] * 14
            curve[7:14] = [5] * 7
    assert [value is None for value in drawn.weeks("readers")[:4]] == [True, False, True, True]
    text = page(seen, figures=drawn)
    assert 'd="M10 0h10v60h-10zM20 0h10v60h-10z" fill="url(#hatch)"' in text  # not the first week


def test_weeks_that_lack_days_or_in_which_an_account_begins_are_hatched() -> None:
    ledger, days = (
        KnownLedger(),
        [YESTERDAY - timedelta(7 * n - 1) for n in range(DAYS // 7, 0, -1)],
    )
    for appid in ("wx1", "wx2", "wx3"):
        ledger.asked_for(appid, "getbizsummary", days[0], YESTERDAY)
        ledger.put(appid, "getbizsummary", days[0], days[40], "final")
        ledger.put(appid, "getbizsummary", days[42], YESTERDAY - ONE_DAY, "final")
        ledger.put(appid, "getbizsummary", YESTERDAY, YESTERDAY, "open")
    ledger.known["wx2", "getbizsummary"] = Calendar()  # it may not use the interface
    del ledger.known["wx3", "getbizsummary"]
    ledger.harvested("wx3", "getbizsummary", days[20] + 2 * ONE_DAY, YESTERDAY)
    drawn = Figures(YESTERDAY)
    drawn.curves = {appid: {"readers": [5] * DAYS} for appid in ("wx1", "wx3")}
    assert cards_of(ledger, drawn) == [20, 40, 41]
    drawn.curves["wx1"]["readers"][-1] = None  # an open day may be stored without a record
    assert cards_of(ledger, drawn) == [20, 40, 41, 52]
    text = page(ledger.seen(), "en", figures=drawn)
    assert 'class="track" d="M50 0h4v20h-4zM54 0h4v20h-4zM98 0h4v20h-4z"' in text


def test_a_curve_and_a_table_of_months_name_the_accounts_that_begin_later() -> None:
    ledger, drawn = KnownLedger(), Figures(YESTERDAY)
    began = {
        f"wx{number}": date(2026, 9, 1) + number * ONE_DAY if number else date(2025, 1, 1)
        for number in range(5)
    }
    drawn.yearly = Yearly(months={"wx0": {2026 * 12 + 1: Month(gained=1)}})
    for appid, first in began.items():
        drawn.curves[appid] = {"readers": [5] * DAYS, "gained": [5] * DAYS, "lost": [1] * DAYS}
        for name in ("getbizsummary", "getusersummary"):
            ledger.harvested(appid, name, first, YESTERDAY)
    said = Read(page(ledger.seen(), "en", figures=drawn)).said("en")
    named = "wx4 2026-09-05, wx3 2026-09-04, wx2 2026-09-03 and others"
    assert said.count(f"4 accounts begin later, and earlier sums do not include them: {named}") == 3
    for appid in ("wx1", "wx2", "wx3"):
        for name in ("getbizsummary", "getusersummary"):
            ledger.harvested(appid, name, began["wx0"], YESTERDAY)
    text = page(ledger.seen(), "en", figures=drawn)
    assert Read(text).said("en").count("1 account begins later") == 3
    assert Read(text).said("zh").count("1 个账号开始得更晚，此前的合计不含它们：wx4 2026-") == 3
    del drawn.curves["wx4"]
    ledger.harvested("wx4", "getbizsummary", YESTERDAY - 400 * ONE_DAY, YESTERDAY)
    ledger.harvested("wx4", "getusersummary", date(2026, 2, 1), YESTERDAY)
    said = Read(page(ledger.seen(), "en", figures=drawn)).said("en")
    assert (
        said.count("later, and earlier sums") == 1
    )  # of the weeks that gained followers, not of the months


def cards_of(ledger: KnownLedger, drawn: Figures) -> list[int]:
    """The weeks that are hatched, each with a bar."""
    [card] = week_cards(drawn, ledger.seen().accounts)
    assert card.up.count("M") == DAYS // 7
    return [int(place) // 10 for place in re.findall(r"M(\d+) 0h10v60", card.hatched)]


@pytest.mark.thorough
def test_links_and_weeks_at_their_edges() -> None:
    seen = many()
    drawn = some_figures(seen)
    appid = seen.accounts[0].appid
    there = "mp.weixin.qq.com/s?a=1&b=http://x.com/"
    day = date(2026, 1, 1)
    article = Article(1, day, "t" * 300, f"http://{there}", None, day)
    elsewhere = ("https://example.com/", "javascript:alert(1)", f"https://mp.weixin.qq.com.x/{there}",
                 "https://mp.weixin.qq.com/" + "s" * 500)  # fmt: skip
    drawn.yearly.articles[appid] = [article, *(article._replace(url=url) for url in elsewhere)]
    for curves in drawn.curves.values():
        curves["gained"] = [*[0] * 370, 1]
        curves["lost"] = [*[0] * 370, 1_000]
    text = page(seen, figures=drawn)
    kept = data_in(text, "curves")["articles"][0][1]
    assert [one[3] for one in kept] == [f"https://{there}", "", "", "", ""]
    assert kept[0][2] == "t" * 200 + "…"
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


@pytest.mark.thorough
def test_of_many_accounts_fewer_days_are_drawn() -> None:
    accounts = [AccountView(f"wx{number}") for number in range(1000)]
    seen = Overview(0.0, YESTERDAY, accounts=accounts)
    drawn = some_figures(Overview(0.0, YESTERDAY, accounts=accounts[:1]))
    content = data_in(page(seen, figures=drawn), "curves")
    assert [len(curve) for curve in content["curves"][0]] == [69] * 4  # and the months of one
    assert content["curves"][1] == [None] * 4


# quota


@pytest.mark.parametrize(
    ("calls", "refused", "daily", "expected"),
    [
        ((0, 0), 0, None, "No call was sent today, and the daily quota is not known"),
        ((3, 4), 0, None, "Used|Followers gained, lost getusersummary|7|Accounts"),
        (
            (3, 4),
            0,
            99,
            "Left|A day, each account|Followers gained, lost getusersummary|7|191|99 × 2",
        ),
        (
            (30, 4),
            1,
            None,
            "Used up|Followers gained, lost getusersummary|34| 1 of 2 accounts, until",
        ),
        ((30, 4), 2, None, "|34|0| 2 of 2 accounts, until midnight in China"),
    ],
)
def test_the_quota_used_and_left_by_interface(
    calls: tuple[int, int], refused: int, daily: int | None, expected: str
) -> None:
    ledger, midnight = KnownLedger(), at("2026-11-27", 0.02)
    for appid, sent in zip("ab", calls, strict=True):
        ledger.harvested(appid, "getusersummary", BEGIN, YESTERDAY)
        ledger.calls[appid, "getusersummary"] = sent
    for appid in "ab"[:refused]:
        key = appid, "getusersummary"
        ledger.used_up[key] = Exhausted(*key, midnight, NOW - 60)
    said = Read(page(ledger.seen(daily_quota=daily), "en")).said("en")
    assert expected.replace("|", "") in said


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


@pytest.mark.thorough
@pytest.mark.parametrize("alike", [20, pytest.param(1, marks=pytest.mark.thorough)])
def test_a_thousand_accounts_over_twelve_years_are_small_and_soon_there(alike: int) -> None:
    """alike: so many accounts have the same gaps; at the worst each has its own."""
    ledger, names = largest(alike=alike)
    drawn = some_figures(ledger.seen(), years=12, articles=2) if alike == 1 else None
    began = time.process_time()
    seen = ledger.seen(names=names)
    text = page(seen, figures=drawn)
    took = time.process_time() - began
    assert (len(seen.accounts), len(seen.interfaces)) == (1000, 15)
    assert len(text.encode()) < 3_000_000
    assert took < 15  # seconds on a busy machine; 2.5 on an idle one


@pytest.mark.thorough
def test_a_cause_of_all_accounts_lists_a_part_and_copies_all() -> None:
    appids = {f"wx{number:016x}": None for number in range(1000)}
    cause = Cause("secret", appids=appids, messages={"no": "r1"})
    seen = Overview(0.0, YESTERDAY, causes=[cause], accounts=list(map(AccountView, appids)))
    read = Read(page(seen, "en"))
    assert "and 800 more" in read.said("en")
    (copied,) = [each["data-copy"] for each in read.of("button") if each.get("data-copy")]
    assert copied == " ".join(appids)
