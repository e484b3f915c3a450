"""The article interfaces of November 2025: people only, by source, for thirty days.

Rule: pure functions of seed, account, day and the last day that is known; running figures never
grow less.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from harvester.testing.data.draw import chance
from harvester.testing.data.posts import LIFE_DAYS, THRESHOLD, Article, published, read_on
from harvester.testing.data.totals import running

ALL = "全部"
SCENES = {
    "公众号消息": 0.45, "聊天会话": 0.15, "朋友圈": 0.2, "公众号主页": 0.07, "其他": 0.06,
    "推荐": 0.1, "搜一搜": 0.03,
}  # fmt: skip
"""Sources and the share of the readers who came from each; some came from two."""


def by_scene(readers: int, order: str) -> list[dict[str, Any]]:
    """Readers by source, in the article's own order; those without readers too."""
    rows = [
        {"user_count": int(readers * share), "scene_desc": name} for name, share in SCENES.items()
    ]
    rows.insert(0, {"user_count": readers, "scene_desc": ALL})
    turn = chance(order).randrange(len(rows))
    return rows[turn:] + rows[:turn]


def _read(seed: int, appid: str, day: date) -> Iterator[tuple[Article, dict[str, Any]]]:
    for age in range(LIFE_DAYS):
        for article in published(seed, appid, day - timedelta(days=age)):
            yield article, read_on(article, day, age)


def readers(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getarticleread's rows of a day."""
    return [
        {
            "ref_date": day.isoformat(),
            "msgid": article.msgid,
            "detail": {
                "read_user": record["int_page_read_user"],
                "read_user_source": by_scene(record["int_page_read_user"], article.msgid),
            },
        }
        for article, record in _read(seed, appid, day)
        if record["int_page_read_user"] >= THRESHOLD
    ]


def sharers(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getarticleshare's rows of a day."""
    return [
        {
            "ref_date": day.isoformat(),
            "msgid": article.msgid,
            "detail": {"share_user": record["share_user"]},
        }
        for article, record in _read(seed, appid, day)
        if record["share_user"]
    ]


def account(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getbizsummary's row of a day: the whole account, which the articles do not add up to."""
    records = [record for _, record in _read(seed, appid, day)]
    people = {
        name: int(sum(record[name] for record in records) * 0.9)
        for name in ("int_page_read_user", "share_user", "add_to_fav_user", "ori_page_read_user")
    }
    read_user = people["int_page_read_user"]
    if not read_user:
        return []
    detail = {
        "read_user": read_user,
        "read_user_source": by_scene(read_user, f"{appid}/{day}"),
        "share_user": people["share_user"],
        **_applause(f"{seed}/{appid}/{day}", read_user),
        "collection_user": people["add_to_fav_user"],
        "redirect_ori_page_user": people["ori_page_read_user"],
        "send_page_count": len(published(seed, appid, day)),
    }
    return [{"ref_date": day.isoformat(), "detail": detail}]


def _applause(name: str, read_user: int) -> dict[str, int]:
    draw = chance(name, "applause")
    return {
        "zaikan_user": int(read_user * draw.uniform(0.002, 0.02)),
        "like_user": int(read_user * draw.uniform(0.005, 0.04)),
        "comment_count": int(read_user * draw.uniform(0.0, 0.01)),
    }


def totals(seed: int, appid: str, day: date, last: date) -> list[dict[str, Any]]:
    """Getarticletotaldetail's rows of a day of posting: an entry a day for thirty days."""
    rows = []
    for article in published(seed, appid, day):
        found = list(running(article, day, last, LIFE_DAYS))
        if not found or found[-1][1]["int_page_read_user"] < THRESHOLD:
            continue
        message, _, index = article.msgid.partition("_")
        rows.append(
            {
                "ref_date": day.isoformat(),
                "msgid": article.msgid,
                "publish_type": chance(article.msgid, "type").choices((0, 1, 2), (80, 18, 2))[0],
                "title": article.title,
                "content_url": f"https://mp.weixin.qq.com/s?mid={message}&idx={index}",
                "detail_list": [_entry(article, stat_date, sums) for stat_date, sums in found],
            }
        )
    return rows


def _entry(article: Article, stat_date: date, sums: dict[str, int]) -> dict[str, Any]:
    read_user = sums["int_page_read_user"]
    draw = chance(article.msgid, "entry")
    leaving = [draw.uniform(0.1, 1.0) for _ in range(5)]
    return {
        "stat_date": stat_date.isoformat(),
        "read_user": read_user,
        "read_user_source": by_scene(read_user, article.msgid),
        "share_user": sums["share_user"],
        **_applause(article.msgid, read_user),
        "collection_user": sums["add_to_fav_user"],
        "praise_money": int(read_user * draw.uniform(0.0, 0.5)) * 100,
        "read_subscribe_user": int(read_user * draw.uniform(0.0, 0.01)),
        "read_delivery_rate": round(min(1.0, read_user / (article.readers * 12 + 1)), 6),
        "read_finish_rate": round(draw.uniform(0.2, 0.8), 6),
        "read_avg_activetime": round(draw.uniform(0.3, 4.0), 6),
        "read_jump_position": [
            {"position": place, "rate": round(part / sum(leaving), 6)}
            for place, part in enumerate(leaving, 1)
        ],
    }
