"""Articles and followers by year: figures that were computed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from harvester.model import Batch, Window
from harvester.report import charts
from harvester.report.yearly import MOST, MOST_ARTICLES, YEARS, Article, Month, Yearly
from harvester.sinks.memory import MemorySink
from tests.report_data import YESTERDAY
from tests.support import A, B

TOTALS, OLD_TOTALS = "getarticletotaldetail", "getarticletotal"
READ, SUMMARY = "getarticleread", "getarticlesummary"
USERS, FOLLOWERS = "getusersummary", "getusercumulate"
LINK = "http://mp.weixin.qq.com/s?mid=1"

Stored = tuple[str, str, str, list[dict[str, Any]]]


def read(*stored: Stored, appids: Sequence[str] = (A, B), last: date = YESTERDAY) -> Yearly:
    """What is read of a sink with these windows: account, interface, day and records of each."""
    sink = MemorySink()
    days = [date.fromisoformat(day) for _, _, day, _ in stored]
    batches = [
        Batch(Window(appid, name, day, day), records, "2026-11-26T01:00:00Z")
        for (appid, name, _, records), day in zip(stored, days, strict=True)
    ]

    async def fill() -> None:
        await sink.open({})
        await sink.write(batches, {})

    asyncio.run(fill())
    names = {name for _, name, _, _ in stored}
    return charts.figures(sink, None, last, names, appids).yearly


def totals(day: str, *entries: tuple[str, object], msgid: str = "9_1", **more: Any) -> Stored:
    """A window of the totals of an article that was published on a day."""
    listed = [{"stat_date": stat, "read_user": readers} for stat, readers in entries]
    named = {"title": "One", "content_url": LINK}
    return (
        A,
        TOTALS,
        day,
        [{"ref_date": day, "msgid": msgid, "detail_list": listed, **named, **more}],
    )


def old_totals(day: str, *entries: tuple[str, int, int], msgid: str = "9_1") -> Stored:
    listed = [
        {"stat_date": stat, "int_page_read_user": readers, "int_page_read_count": reads}
        for stat, readers, reads in entries
    ]
    record = {"ref_date": day, "msgid": msgid, "title": "Old", "url": LINK, "details": listed}
    return A, OLD_TOTALS, day, [record]


def of_day(day: str, readers: object, msgid: str = "9_1") -> Stored:
    return A, READ, day, [{"ref_date": day, "msgid": msgid, "detail": {"read_user": readers}}]


def summary(day: str, readers: int, reads: int, msgid: str = "9_1") -> Stored:
    figures = {"int_page_read_user": readers, "int_page_read_count": reads}
    return A, SUMMARY, day, [{"ref_date": day, "msgid": msgid, "title": "Old", **figures}]


def on(day: str) -> date:
    return date.fromisoformat(day)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param(
            [totals("2026-03-01", ("2026-03-03", 70), ("2026-03-01", 90), ("2026-03-02", 95))],
            Article(70, on("2026-03-01"), "One", LINK, None, on("2026-03-03"), appid=A),
            id="the latest total counts, also a lower one, in whatever order",
        ),
        pytest.param(
            [totals("2026-03-01", ("20260301", "12"), ("2026-03-02", None), ("2026-03-03", "x"))],
            Article(12, on("2026-03-01"), "One", LINK, None, on("2026-03-01"), appid=A),
            id="the latest total that is a number, also one that came as a text",
        ),
        pytest.param(
            [totals("2026-03-01", ("2026-03-05", 50)),
             *[of_day(f"2026-03-0{day}", 40) for day in range(1, 8)]],
            Article(50, on("2026-03-01"), "One", LINK, None, on("2026-03-05"), appid=A),
            id="a total counts, and not the sum of days, also if that is higher",
        ),
        pytest.param(
            [totals("2026-03-01"), of_day("2026-03-02", 30), of_day("2026-03-04", 5)],
            Article(35, on("2026-03-01"), "One", LINK, None, on("2026-03-04"), 2, appid=A),
            id="without a total the days are added up; the list has the day it was published",
        ),
        pytest.param(
            [of_day("2026-03-02", 30), of_day("2026-03-04", 5), of_day("2026-03-05", None)],
            Article(35, on("2026-03-02"), "9_1", "", None, on("2026-03-04"), 2, False, A, False),
            id="no list has the article: its first day, and its msgid as its title",
        ),
        pytest.param(
            [summary("2025-12-31", 8, 11), summary("2026-01-01", 2, 4)],
            Article(10, on("2025-12-31"), "Old", "", 15, on("2026-01-01"), 2, False, A),
            id="times read are added up with the readers",
        ),
        pytest.param(
            [of_day("2026-03-02", 30), of_day("2026-03-03", 10),
             summary("2026-03-02", 28, 50), summary("2026-03-03", 9, 20),
             summary("2026-03-04", 1, 1)],
            Article(38, on("2026-03-02"), "Old", "", 71, on("2026-03-04"), 3, False, A),
            id="of two interfaces with days the one with more of them counts, and not both",
        ),
        pytest.param(
            [old_totals("2026-03-01", ("2026-03-06", 60, 90), ("2026-03-07", 66, 99))],
            Article(66, on("2026-03-01"), "Old", LINK, 99, on("2026-03-07"), appid=A),
            id="totals of the retired interface have times",
        ),
        pytest.param(
            [old_totals("2026-03-01", ("2026-03-07", 66, 99)),
             totals("2026-03-01", ("2026-03-07", 67), ("2026-03-30", 80))],
            Article(80, on("2026-03-01"), "One", LINK, None, on("2026-03-30"), appid=A),
            id="of two interfaces with totals the later day counts",
        ),
    ],
)  # fmt: skip
def test_the_readers_of_an_article(stored: list[Stored], expected: Article) -> None:
    made = read(*stored)
    assert made.articles == {A: [expected]}
    assert made.top == {expected.day.year: [expected]}
    assert made.count(expected.day.year) == 1


def test_how_many_articles_with_readers_have_a_title() -> None:
    made = read(
        totals("2026-03-01", ("2026-03-02", 50)), of_day("2026-03-02", 3, "8_1"),
        of_day("2025-12-31", 4, "7_1"), summary("2025-11-01", 5, 6, "6_1"),
    )  # fmt: skip
    assert (made.named, made.with_figures) == (2, 4)


def test_a_row_that_came_twice_in_a_day_counts_once() -> None:
    appid, name, day, records = of_day("2026-03-02", 30)
    (article,) = read((appid, name, day, [*records, *records])).articles[A]
    assert (article.readers, article.added) == (30, 1)


def test_the_twenty_most_read_of_each_year_of_all_accounts() -> None:
    stored = []
    for year in (2025, 2026):
        for number in range(30):
            day, msgid = f"{year}-11-{number % 20 + 1:02}", f"{year}{number}_1"
            appid = (A, B)[number % 2]
            stored.append((appid, *totals(day, (day, 100 + number), msgid=msgid)[1:]))
    merged: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for appid, name, day, records in stored:
        merged.setdefault((appid, name, day), []).extend(records)
    made = read(*[(*key, records) for key, records in merged.items()])
    for year in (2025, 2026):
        assert [each.readers for each in made.top[year]] == [*range(129, 109, -1)]
        assert {each.appid for each in made.top[year]} == {A, B}
        assert made.count(year) == 30
    assert [each.readers for each in made.articles[B]] == 2 * [*range(129, 100, -2)]
    assert made.years == [2026, 2025]
    assert MOST == 20


def test_of_many_accounts_those_of_the_newest_year_are_kept() -> None:
    days = [f"{year}-03-0{number + 1}" for year in (2024, 2026) for number in range(3)]
    stored = [totals(day, (day, 9), msgid=day) for day in days]
    many = [A, *(f"wx{number}" for number in range(MOST_ARTICLES // 4 - 1))]
    made = read(*stored, appids=many)
    assert [each.day.year for each in made.articles[A]] == [2026, 2026, 2026, 2024]
    assert made.counted[A] == {2026: 3, 2024: 3}
    assert len(made.top[2024]) == 3
    assert read(*stored, appids=[B]) == Yearly()  # of an account that the page does not have


def test_hostile_and_broken_records_cost_nothing_else() -> None:
    broken: list[dict[str, Any]] = [
        {}, {"detail_list": 3}, {"msgid": [], "title": {}, "detail_list": [None, 7, {}]},
        {"msgid": True, "title": 4, "detail_list": [{"stat_date": "soon", "read_user": 8}]},
        {"ref_date": 0, "title": "T", "detail_list": [{"stat_date": "2026-01-02", "read_user": 8}]},
    ]  # fmt: skip
    (article,) = read((A, TOTALS, "2026-01-02", broken)).articles[A]
    assert (article.title, article.readers, article.day) == ("T", 8, on("2026-01-02"))


# months


def users(day: str, *rows: tuple[object, object]) -> Stored:
    return A, USERS, day, [
        {"ref_date": day, "user_source": at, "new_user": gained, "cancel_user": lost}
        for at, (gained, lost) in enumerate(rows)
    ]  # fmt: skip


def followers(day: str, people: object, appid: str = A) -> Stored:
    return appid, FOLLOWERS, day, [{"ref_date": day, "cumulate_user": people}]


def test_the_followers_of_months() -> None:
    made = read(
        users("2025-12-31", (5, 1)),
        users("2026-01-01", (3, 1), (4, 0)),
        users("2026-01-31", (10, 20), ("2", "1")),
        users("2026-02-03", ("many", 6)),
        followers("2025-12-31", 100), followers("2026-01-30", 112), followers("2026-01-31", 97),
        followers("2026-02-01", "95"), followers("2026-02-02", None),
        followers("2026-01-15", 1_000, B),
    )  # fmt: skip
    assert made.months[A] == {
        12 * 2025 + 11: Month(5, 1, 100, 31),
        12 * 2026: Month(19, 22, 97, 31),  # running totals are not added up
        12 * 2026 + 1: Month(None, 6, 95, 1),
    }
    february, january = made.months_of(2026)
    assert january == (12 * 2026, 19, 22, 97 + 1_000, 2, (15, 31))
    assert (january.net, february.net) == (-3, None)
    assert february == (12 * 2026 + 1, None, 6, 95, 1, (1, 1))
    assert made.years == [2026, 2025]
    assert made.months_of(2024) == []


def test_a_running_total_that_came_twice_is_not_added_up() -> None:
    appid, name, day, records = followers("2026-01-31", 97)
    assert read((appid, name, day, [*records, *records])).months[A][12 * 2026].followers == 97


def test_months_are_bounded_in_number() -> None:
    late, early = YESTERDAY.year - YEARS + 1, YESTERDAY.year - YEARS
    stored = [users(f"{year}-06-01", (1, 0)) for year in (early, late)]
    stored += [totals(f"{year}-06-01", (f"{year}-06-02", 5), msgid=f"{year}_1")
               for year in (early, late)]  # fmt: skip
    made = read(*stored)
    assert made.years == [late]
    assert {*made.top} == {late}
    assert made.months[A] == {12 * late + 5: Month(1, 0)}


def test_days_after_the_newest_one_are_left_out() -> None:
    made = read(users("2026-01-01", (1, 0)), users("2026-01-02", (5, 0)), last=on("2026-01-01"))
    assert made.months[A] == {12 * 2026: Month(1, 0)}
