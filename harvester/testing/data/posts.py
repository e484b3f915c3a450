"""What an account posts, and how each article is read from day to day.

Rule: no state and no clock; the same question always gets the same answer.

An account posts in a weekly rhythm and rests in the first week of October.  An article is read most
on its first day, then less each day for a month; its readers are drawn from a long tail and grow
with the years.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from harvester.testing.data.draw import EPOCH, growth, size

READ_DAYS = 7
"""getarticlesummary covers an article's first seven days."""

LIFE_DAYS = 30
"""The interfaces of November 2025 follow an article for thirty days."""

THRESHOLD = 3
"""Articles with fewer readers on a day are left out."""

_POSTS = (0.95, 0.9, 0.92, 0.9, 0.97, 0.55, 0.45)  # Monday to Sunday
_WEEK_DECAY = (1.0, 0.42, 0.19, 0.11, 0.07, 0.05, 0.035)
_DECAY = (*_WEEK_DECAY, *(0.03 * 0.9 ** (age - READ_DAYS) for age in range(READ_DAYS, LIFE_DAYS)))

_SUBJECTS = (
    "早安", "今日要闻", "周末去哪儿", "一杯咖啡的时间", "城市漫步", "老照片里的故事", "厨房实验室",
    "深夜书单", "春天的第一场雨", "地铁里的陌生人", "父亲的菜园", "如何好好睡一觉", "三分钟读懂",
    "年终盘点", "新手必看", "我们采访了", "关于预算这件小事", "宠物医院的一天",
)  # fmt: skip
_TAILS = (
    "你最想知道的都在这里", "读者来信精选", "附清单", "建议收藏", "答案出乎意料", "下篇", "上篇",
    "看完我沉默了", "一图看懂", "文末有礼", "写给十年后的自己", "第{n}期", "“慢”下来的理由",
)  # fmt: skip
_EMOJI = ("", "", "", "", "🌸", "☕️", "📚", "🎉", "👨‍👩‍👧", "🔥")


class Article(NamedTuple):
    """One article and how many people would read it on its first day."""

    msgid: str
    title: str
    readers: float
    has_original: bool


@lru_cache(maxsize=65_536)
def published(seed: int, appid: str, day: date) -> tuple[Article, ...]:
    """The articles that an account posts on a day."""
    draw = Random(f"{seed}/{appid}/{day}")
    if (day.month == 10 and day.day <= 8) or draw.random() > _POSTS[day.weekday()]:
        return ()
    common = size(seed, appid) * growth(day)
    message = 1_000_000_000 + (day - EPOCH).days * 1000 + draw.randrange(1000)
    articles = []
    for index in range(1, 1 + min(8, 1 + int(draw.expovariate(0.6)))):
        readers = common * math.exp(draw.gauss(0.0, 0.9)) / index**1.3
        title = f"{draw.choice(_SUBJECTS)}{draw.choice(_EMOJI)}｜{draw.choice(_TAILS)}"
        articles.append(
            Article(
                f"{message}_{index}",
                title.format(n=(day - EPOCH).days),
                readers,
                draw.random() < 0.3,
            )
        )
    return tuple(articles)


def articles(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """The records of ``getarticlesummary`` for a day: one per article that was read on that day."""
    records = []
    for age in range(READ_DAYS):
        for article in published(seed, appid, day - timedelta(days=age)):
            record = read_on(article, day, age)
            if record["int_page_read_user"] >= THRESHOLD:
                records.append(record)
    return records


def read_on(article: Article, day: date, age: int) -> dict[str, Any]:
    """How an article was read on a day, a number of days after it was posted."""
    draw = Random(f"{article.msgid}/{age}")
    readers = int(article.readers * _DECAY[age] * draw.uniform(0.8, 1.25))
    original = int(readers * draw.uniform(0.005, 0.03)) if article.has_original else 0
    shares = int(readers * draw.uniform(0.01, 0.08))
    favourites = int(readers * draw.uniform(0.002, 0.02))
    return {
        "ref_date": day.isoformat(),
        "msgid": article.msgid,
        "title": article.title,
        "int_page_read_user": readers,
        "int_page_read_count": int(readers * draw.uniform(1.0, 1.6)),
        "ori_page_read_user": original,
        "ori_page_read_count": int(original * draw.uniform(1.0, 1.4)),
        "share_user": shares,
        "share_count": int(shares * draw.uniform(1.0, 1.3)),
        "add_to_fav_user": favourites,
        "add_to_fav_count": favourites,
        "user_source": 0,
    }
