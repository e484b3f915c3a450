"""How an article's figures add up from the day it was posted.

Rule: pure functions of seed, account, day and the last day that is known.  Times are the sums of
the daily figures; people are fewer than their sum, because some come back, but never grow less.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from harvester.testing.data.draw import chance, shaken, spread
from harvester.testing.data.posts import READ_DAYS, THRESHOLD, Article, published, read_on

FIGURES = (
    "int_page_read_user", "int_page_read_count", "ori_page_read_user", "ori_page_read_count",
    "share_user", "share_count", "add_to_fav_user", "add_to_fav_count",
)  # fmt: skip
RETURNING = 0.85
"""The share of a later day's people who are counted for the first time."""

_ENTRANCES = {
    "session": 50.0, "hist_msg": 6.0, "feed": 22.0, "friends": 12.0, "other": 4.0, "kanyikan": 4.0,
    "souyisou": 2.0,
}  # fmt: skip
_SHARED_FROM = {"session": 60.0, "feed": 30.0, "other": 10.0}


def running(
    article: Article, posted: date, last: date, for_days: int
) -> Iterator[tuple[date, dict[str, int]]]:
    """The figures from the day of posting to the end of each day, no later than ``last``."""
    sums = dict.fromkeys(FIGURES, 0)
    for age in range(min(for_days, (last - posted).days + 1)):
        day = posted + timedelta(days=age)
        record = read_on(article, day, age)
        for name in FIGURES:
            new = record[name]
            sums[name] += int(new * RETURNING) if age and name.endswith("_user") else new
        yield day, dict(sums)


def totals(seed: int, appid: str, day: date, last: date) -> list[dict[str, Any]]:
    """Getarticletotal's rows of a day of posting: an article, in it an entry a day for a week."""
    rows = []
    for article in published(seed, appid, day):
        found = list(running(article, day, last, READ_DAYS))
        if not found or found[-1][1]["int_page_read_user"] < THRESHOLD:
            continue
        message, _, index = article.msgid.partition("_")
        rows.append(
            {
                "ref_date": day.isoformat(),
                "msgid": article.msgid,
                "title": article.title,
                "user_source": 0,
                "url": f"https://mp.weixin.qq.com/s?mid={message}&idx={index}",
                "details": [_entry(article, stat_date, sums) for stat_date, sums in found],
            }
        )
    return rows


def _entry(article: Article, stat_date: date, sums: dict[str, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "stat_date": stat_date.isoformat(),
        "target_user": int(article.readers * 12) + 1,
        **sums,
    }
    weights = shaken(chance(article.msgid, "entrances"), list(_ENTRANCES.values()))
    readers = _overlapping(sums["int_page_read_user"], weights)
    times = spread(sums["int_page_read_count"], weights)
    for name, people, number in zip(_ENTRANCES, readers, times, strict=True):
        entry[f"int_page_from_{name}_read_user"] = min(people, number)
        entry[f"int_page_from_{name}_read_count"] = number
    weights = list(_SHARED_FROM.values())
    sharers = _overlapping(sums["share_user"], weights)
    times = spread(sums["share_count"], weights)
    for name, people, number in zip(_SHARED_FROM, sharers, times, strict=True):
        entry[f"feed_share_from_{name}_user"] = min(people, number)
        entry[f"feed_share_from_{name}_cnt"] = number
    return entry


def _overlapping(people: int, weights: list[float]) -> list[int]:
    """People by source: some had two, so that they are more than there are."""
    whole = sum(weights)
    return [min(people, round(people * 1.08 * weight / whole)) for weight in weights]
