"""What a page is made of in the tests: a ledger in memory, and harvests of many accounts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, cast

from harvester.base.dates import WindowKind, period_of
from harvester.ledger import Ledger
from harvester.ledger.base import Exhausted, Key, Ranges
from harvester.ledger.coverage import Calendar, Outcome
from harvester.model import Tally, Window
from harvester.report import Overview, overview
from harvester.report.charts import DAYS, Figures
from harvester.report.yearly import Yearly, read_articles
from harvester.sinks.base import StoredWindow
from harvester.wechat.interfaces import INTERFACES as ALL
from tests.support import at

NOW = at("2026-11-26", 16.5)
FIRST = date(2014, 12, 1)
BEGIN = date(2026, 1, 1)
YESTERDAY = date(2026, 11, 25)
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\"'&<!--\u2028\ud800"


class KnownLedger:
    """A ledger that is only read."""

    def __init__(self) -> None:
        self.known: dict[Key, Calendar] = {}
        self.ranges: dict[Key, Ranges] = {}
        self.calls: dict[Key, int] = {}
        self.used_up: dict[Key, Exhausted] = {}
        self.known_sinks: dict[str, str] = {}

    def harvested(self, appid: str, endpoint: str, begin: date, end: date) -> Calendar:
        """It was asked for, and all of it is there; gives its calendar."""
        self.asked_for(appid, endpoint, begin, end)
        return self.put(appid, endpoint, begin, end, "final")

    def asked_for(self, appid: str, endpoint: str, *days: date) -> None:
        """It was asked for in ranges, and never in others; days: the first and last of each."""
        self.ranges[appid, endpoint] = tuple(zip(days[::2], days[1::2], strict=True))

    def put(
        self, appid: str, endpoint: str, begin: date, end: date, state: str, **more: Any
    ) -> Calendar:
        calendar = self.known.setdefault((appid, endpoint), Calendar())
        window = Window(appid, endpoint, begin, end)
        calendar.apply(Outcome(window, state, Tally(), **more))
        return calendar

    def seen(self, now: float = NOW, **more: Any) -> Overview:
        """What the page shows of it; nothing is waited for, so that it takes no loop."""
        made = overview(cast("Ledger", self), now, **more)
        try:
            made.send(None)
        except StopIteration as ended:
            return cast("Overview", ended.value)
        raise AssertionError("it waited")

    async def asked(self) -> dict[Key, Ranges]:
        return self.ranges

    async def accounts(self) -> list[str]:
        return sorted({appid for appid, _ in (*self.ranges, *self.known)})

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        some = {*appids}
        return {key: calendar for key, calendar in self.known.items() if key[0] in some}

    async def spent(self, day: date, appids: Sequence[str] | None = None) -> Mapping[Key, int]:
        return self.calls

    async def exhausted(
        self, now: float, appids: Sequence[str] | None = None
    ) -> Mapping[Key, Exhausted]:
        return {key: one for key, one in self.used_up.items() if one.until > now}

    async def sinks(self) -> dict[str, str]:
        return self.known_sinks


_SECRET = "errcode 40001 (invalid credential): the secret is wrong [rid: 6a1]"
_IP = "errcode 40164 (invalid ip 203.0.113.7, not in whitelist): add it"
_DATE = "errcode 61500 (date format error): WeChat refused the date, or the range [rid: 6a5-11]"
FAILURES = (
    (40001, f"{{}}: no access token: {_SECRET}"),
    (40164, f"{{}}: no access token: {_IP}"),
    (
        48001,
        ("errcode 48001 (api unauthorized): the account is not allowed to use this interface"),
    ),
    (61500, _DATE),
)
INTERFACES = {
    "getusersummary": date(2022, 12, 1),
    "getusercumulate": date(2022, 12, 1),
    "getarticletotaldetail": date(2025, 11, 1),
    "getbizsummary": date(2025, 11, 1),
    "getupstreammsg": date(2021, 12, 1),
    "getinterfacesummary": date(2025, 11, 1),
}


def agency(accounts: int, *, ill: bool = True, seed: int = 1) -> tuple[KnownLedger, dict[str, str]]:
    """An agency's accounts, and their names: some need a person, most wait for quota."""
    ledger, names = KnownLedger(), {}
    chance = random.Random(seed)
    for number in range(accounts):
        appid = f"wx{chance.getrandbits(64):016x}"
        names[appid] = (
            chance.choice(("海岸", "江南", "光明", "深夜", "一本", "文艺", "云上", "科技", "北方"))
            + chance.choice(["研究所", "电台", "观察", "书房", "快讯", "课堂", "笔记"])
            + chance.choice(("", "", "·上海", "·杭州", "·成都"))
        )
        failure = number if ill and number < len(FAILURES) * max(accounts // 60, 1) else None
        for endpoint, first in INTERFACES.items():
            _fill(ledger, appid, endpoint, first, failure, chance)
    return ledger, names


def _fill(
    ledger: KnownLedger, appid: str, endpoint: str, first: date, failure: int | None,
    chance: random.Random,
) -> None:  # fmt: skip
    ledger.harvested(appid, endpoint, first, YESTERDAY)
    if endpoint == "getarticletotaldetail":
        for back in range(29, -1, -1):
            day = YESTERDAY - timedelta(days=back)
            ledger.put(appid, endpoint, day, day, "open", detail=f"its figures grow until {day}")
    if endpoint == "getupstreammsg":
        middle, due = date(2025, 9, 1), at("2026-11-27", 0.02)
        ledger.known[appid, endpoint] = Calendar()
        ledger.put(appid, endpoint, middle, YESTERDAY, "final")
        ledger.put(
            appid, endpoint, first, middle - timedelta(days=1), "waiting",
            code=45009, due=due, detail="errcode 45009 (reach max api daily quota limit)",
        )  # fmt: skip
        ledger.calls[appid, endpoint] = 60
    if failure is None:
        return
    code, detail = FAILURES[failure % len(FAILURES)]
    if code == 48001 and endpoint not in ("getbizsummary", "getarticletotaldetail"):
        return
    if code == 61500 and chance.random() < 0.5:
        return
    begin = YESTERDAY - timedelta(days=chance.choice((0, 3, 30)))
    begin = first if code == 48001 else begin
    ledger.known[appid, endpoint] = Calendar()
    if begin > first:
        ledger.put(appid, endpoint, first, begin - timedelta(days=1), "final")
    ledger.put(appid, endpoint, begin, YESTERDAY, "failed", code=code, detail=detail.format(appid),
               rid="6a5e2f1c-0a7b1c2d-3e4f", fetched_at=f"{YESTERDAY}T00:05:00Z")  # fmt: skip


def some_figures(
    seen: Overview, days: int = DAYS, *, years: int = 3, articles: int = 30
) -> Figures:
    """Figures for each account, with days that were not harvested; so many articles a year."""
    made = Figures(YESTERDAY, days)
    chance = random.Random(3)
    for account in seen.accounts:
        gap = days - chance.randrange(DAYS)
        made.curves[account.appid] = {
            name: [None if gap <= day < gap + 9 else chance.randrange(most) for day in range(days)]
            for name, most in (("readers", 20_000), ("gained", 900), ("lost", 300))
        }
        made.curves[account.appid]["followers"] = [
            None if gap <= day < gap + 9 else 300_000 + 40 * day for day in range(days)
        ]
        made.sources[account.appid] = {
            "readers": Counter({"公众号消息": 42_000, "朋友圈": 19_000, "搜一搜": 2_800}),
            "gained": Counter({"1": 2_900, "30": 2_500, "4711": 300, "17": 0}),
        }
    some_years(made.yearly, [account.appid for account in seen.accounts], years, articles)
    return made


def some_years(made: Yearly, appids: Sequence[str], years: int, articles: int) -> None:
    """Followers of each month of so many years, and articles of each, of each account."""
    chance = random.Random(4)
    first = 12 * (YESTERDAY.year + 1 - years)
    for appid in appids:
        for number in range(first, 12 * YESTERDAY.year + YESTERDAY.month):
            day = min(
                period_of(date(number // 12, number % 12 + 1, 1), WindowKind.MONTH)[1], YESTERDAY
            )
            for series, most in (("gained", 9_000), ("lost", 3_000), ("followers", 900_000)):
                made.add_people(appid, day, series, chance.randrange(most))

    def scan(name: str, some: Sequence[str]) -> Iterator[StoredWindow]:
        for appid in some:
            records = [article(chance, year, n) for year in range(years) for n in range(articles)]
            window = Window(appid, name, BEGIN, YESTERDAY)
            yield StoredWindow(window, Tally(), "", lambda records=records: records)

    read_articles(made, scan, ["getarticletotaldetail"], appids, YESTERDAY)


def article(chance: random.Random, year: int, number: int) -> dict[str, Any]:
    """A record of ``getarticletotaldetail``, of some year before this one; every third is long."""
    published = date(YESTERDAY.year - year, 1, 3) + timedelta(days=10 * number)
    letters = "城市早春旧书店里的午后与人间烟火慢生活指南读者来信深夜食堂"
    title = "".join(chance.choices(letters, k=16 + 40 * (number % 3 == 0)))
    sn, checksum = (f"{chance.getrandbits(4 * digits):0{digits}x}" for digits in (32, 72))
    mid = chance.randrange(10**9, 10**10)
    return {
        "ref_date": str(published),
        "msgid": f"{mid}_1",
        "title": title,
        "content_url": f"http://mp.weixin.qq.com/s?__biz=MzA5{chance.randrange(10**8)}A==&mid={mid}"
        f"&idx=1&sn={sn}&chksm={checksum}#rd" if number % 7 else "https://example.com/",
        "detail_list": [{"stat_date": str(published + timedelta(days=n)), "read_user": readers}
                        for n, readers in enumerate(sorted(chance.choices(range(90_000), k=3)))],
    }  # fmt: skip


def largest(accounts: int = 1000, *, alike: int = 1) -> tuple[KnownLedger, dict[str, str]]:
    """Twelve years of fifteen interfaces; so many accounts have the same gaps."""
    ledger, names = KnownLedger(), {}
    chance = random.Random(2)
    for number in range(accounts):
        appid, model = f"wx{number:016x}", f"wx{number - number % alike:016x}"
        names[appid] = f"第 {number} 个账号"
        for endpoint in list(ALL)[:15]:
            ledger.asked_for(appid, endpoint, FIRST, YESTERDAY)
            if appid == model:
                _with_gaps(ledger, appid, endpoint, chance)
            ledger.known[appid, endpoint] = ledger.known[model, endpoint]
    return ledger, names


def _with_gaps(ledger: KnownLedger, appid: str, endpoint: str, chance: random.Random) -> None:
    day = FIRST
    for length in (chance.randrange(2000), chance.randrange(2000)):
        last = day + timedelta(days=length)
        ledger.put(appid, endpoint, day, last, "final")
        day = last + timedelta(days=chance.randrange(1, 30))
        gap = last + timedelta(days=1), day
        ledger.put(appid, endpoint, *gap, "failed", code=61500, detail=_DATE, rid=f"{day}")
    ledger.put(appid, endpoint, day + timedelta(days=1), YESTERDAY, "final")
