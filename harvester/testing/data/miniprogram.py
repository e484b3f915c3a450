"""Visits to a mini-program: by day, week and month, who came again, which pages, who they are.

Rule: pure functions of seed, account, day and the last day that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from harvester.base.dates import settles_at
from harvester.testing.data.draw import chance, days, growth, month, shaken, size, spread

DAYS_AFTER = (0, 1, 2, 3, 4, 5, 6, 7, 14, 30)
WEEKS_AFTER = (0, 1, 2, 3, 4)
MONTHS_AFTER = (0, 1)

_PAGES = (
    "pages/index/index", "pages/list/list", "pages/article/detail", "pages/search/search",
    "pages/user/center", "pages/order/list", "pages/order/detail", "pages/about/about",
)  # fmt: skip
_PROVINCES = ((31, "广东省"), (2, "北京市"), (9, "上海市"), (11, "浙江省"), (10, "江苏省"))
_CITIES = ((3102, "广州"), (3103, "深圳"), (201, "北京"), (901, "上海"), (1101, "杭州"))
_GENDERS = ((1, "男"), (2, "女"), (0, "未知"))
_PLATFORMS = ((1, "iPhone"), (2, "Android"), (3, "其他"))
_DEVICES = ("OPPO R9", "iPhone 13", "HUAWEI P40", "Xiaomi 12", "vivo X80")
_AGES = (
    (1, "17岁以下"), (2, "18-24岁"), (3, "25-29岁"), (4, "30-39岁"), (5, "40-49岁"),
    (6, "50岁以上"),
)  # fmt: skip


def compact(day: date) -> str:
    """A day as mini-program interfaces write it."""
    return f"{day:%Y%m%d}"


def named(begin: date, end: date) -> str:
    """A day, or some, as mini-program interfaces write them."""
    return compact(end) if begin == end else f"{compact(begin)}-{compact(end)}"


def _visitors(seed: int, appid: str, day: date) -> int:
    draw = chance(seed, appid, day, "visitors")
    return 1 + int(size(seed, appid) * growth(day) * draw.uniform(0.4, 1.2))


def summary(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getweanalysisappiddailysummarytrend's row of a day."""
    draw = chance(seed, appid, day, "summary")
    visitors = _visitors(seed, appid, day)
    shares = int(visitors * draw.uniform(0.02, 0.1))
    return [
        {
            "ref_date": compact(day),
            "visit_total": int(60 * size(seed, appid) * (1 + (day - date(2017, 1, 9)).days / 500)),
            "share_pv": int(shares * draw.uniform(1.0, 1.8)),
            "share_uv": shares,
        }
    ]


def unplayed(day: date) -> dict[str, Any]:
    """Getgameanalysisdata's row of a day without a figure."""
    start = int(settles_at(day - timedelta(days=1), 0))
    return {"timestamp": start, "time_label": str(day), "group_dimension_list": []}


def players(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getgameanalysisdata's row of a day."""
    return [{**unplayed(day), "metric_value": _visitors(seed, appid, day)}]


def visits(seed: int, appid: str, begin: date, end: date, ref_date: str) -> dict[str, Any]:
    """A row of the visit trends: a day, a week or a month."""
    each = [_visitors(seed, appid, day) for day in days(begin, end)]
    draw = chance(seed, appid, begin, end, "visits")
    people = max(max(each), int(sum(each) * (1.0 if len(each) == 1 else draw.uniform(0.4, 0.7))))
    sessions = int(sum(each) * draw.uniform(1.1, 1.8))
    pages = int(sessions * draw.uniform(2.0, 5.0))
    seconds = draw.uniform(40.0, 240.0)
    return {
        "ref_date": ref_date,
        "session_cnt": sessions,
        "visit_pv": pages,
        "visit_uv": people,
        "visit_uv_new": int(people * draw.uniform(0.1, 0.4)),
        "stay_time_uv": round(seconds * sessions / people, 4),
        "stay_time_session": round(seconds, 4),
        "visit_depth": round(pages / sessions, 4),
    }


def daily_visits(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getweanalysisappiddailyvisittrend's row of a day."""
    return [visits(seed, appid, day, day, compact(day))]


def weekly_visits(seed: int, appid: str, begin: date, end: date) -> list[dict[str, Any]]:
    """Getweanalysisappidweeklyvisittrend's row of a week."""
    return [visits(seed, appid, begin, end, named(begin, end))]


def monthly_visits(seed: int, appid: str, begin: date, end: date) -> list[dict[str, Any]]:
    """Getweanalysisappidmonthlyvisittrend's row of a month."""
    return [visits(seed, appid, begin, end, f"{begin:%Y%m}")]


def daily_retained(seed: int, appid: str, day: date, last: date) -> dict[str, Any]:
    """Getweanalysisappiddailyretaininfo's answer: who came again after a number of days."""
    row = daily_visits(seed, appid, day)[0]
    return _retained(row, [key for key in DAYS_AFTER if day + timedelta(days=key) <= last])


def weekly_retained(seed: int, appid: str, begin: date, end: date, last: date) -> dict[str, Any]:
    """Getweanalysisappidweeklyretaininfo's answer: who came again after a number of weeks."""
    row = weekly_visits(seed, appid, begin, end)[0]
    return _retained(row, [key for key in WEEKS_AFTER if end + timedelta(weeks=key) <= last])


def monthly_retained(seed: int, appid: str, begin: date, end: date, last: date) -> dict[str, Any]:
    """Getweanalysisappidmonthlyretaininfo's answer: who came again in the next month."""
    row = monthly_visits(seed, appid, begin, end)[0]
    following = month(end + timedelta(days=1))[1]
    return _retained(row, [key for key in MONTHS_AFTER if key == 0 or following <= last])


def _retained(row: dict[str, Any], keys: Sequence[int]) -> dict[str, Any]:
    answer: dict[str, Any] = {"ref_date": row["ref_date"]}
    for name in ("visit_uv_new", "visit_uv"):
        answer[name] = [
            {"key": key, "value": int(row[name] * (0.3 * 0.8**key if key else 1.0))} for key in keys
        ]
    return answer


def pages(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getweanalysisappidvisitpage's rows of a day, the most visited page first."""
    row = daily_visits(seed, appid, day)[0]
    draw = chance(seed, appid, day, "pages")
    weights = shaken(draw, [2.0**-place for place in range(len(_PAGES))])
    shares = zip(
        _PAGES,
        spread(row["visit_pv"], weights),
        spread(row["session_cnt"], weights),
        spread(row["session_cnt"], weights[::-1]),
        strict=True,
    )
    found = [
        {
            "page_path": path,
            "page_visit_pv": times,
            "page_visit_uv": min(times, int(times * draw.uniform(0.3, 0.7)) + 1),
            "page_staytime_pv": round(draw.uniform(2.0, 60.0), 6),
            "entrypage_pv": entries,
            "exitpage_pv": exits,
            "page_share_pv": times // 40,
            "page_share_uv": times // 50,
        }
        for path, times, entries, exits in shares
        if times
    ]
    return sorted(found, key=lambda page: -page["page_visit_pv"])


def distribution(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getweanalysisappidvisitdistribution's rows of a day: where from, how long, how deep."""
    row = daily_visits(seed, appid, day)[0]
    draw = chance(seed, appid, day, "distribution")
    sessions, people = row["session_cnt"], row["visit_uv"]
    sources = _items(draw.uniform, sessions, 10)
    by_people = [{**item, "access_source_visit_uv": item["value"]} for item in sources]
    for item in by_people:
        item["value"] = item["access_source_visit_uv"] = item["value"] * people // sessions
    return [
        {"index": "access_source_session_cnt", "item_list": sources},
        {"index": "access_source_visit_uv", "item_list": by_people},
        {"index": "access_staytime_info", "item_list": _items(draw.uniform, sessions, 8)},
        {"index": "access_depth_info", "item_list": _items(draw.uniform, sessions, 5)},
    ]


def _items(uniform: Any, total: int, kinds: int) -> list[dict[str, int]]:
    parts = spread(total, [uniform(0.2, 1.0) for _ in range(kinds)])
    found = [{"key": key, "value": part} for key, part in enumerate(parts, 1) if part]
    return found[::-1]


def portrait(seed: int, appid: str, begin: date, end: date) -> dict[str, Any]:
    """Getweanalysisappiduserportrait's answer: who the visitors of 1, 7 or 30 days are."""
    ref_date = named(begin, end)
    row = visits(seed, appid, begin, end, ref_date)
    answer: dict[str, Any] = {"ref_date": ref_date}
    for name in ("visit_uv_new", "visit_uv"):
        draw = chance(seed, appid, begin, end, name)
        people = row[name]
        answer[name] = {
            "province": _named(people, _PROVINCES, shaken(draw, [1.0] * len(_PROVINCES))),
            "city": _named(people // 2, _CITIES, shaken(draw, [1.0] * len(_CITIES))),
            "genders": _named(people, _GENDERS, shaken(draw, (48.0, 50.0, 2.0))),
            "platforms": _named(people, _PLATFORMS, shaken(draw, (40.0, 58.0, 2.0))),
            "devices": [
                {"name": device, "value": value}
                for device, value in zip(
                    _DEVICES, spread(people, shaken(draw, [1.0] * len(_DEVICES))), strict=True
                )
            ],
            "ages": _named(people, _AGES, shaken(draw, (5.0, 25.0, 22.0, 28.0, 12.0, 8.0))),
        }
    return answer


def _named(
    people: int, kinds: Sequence[tuple[int, str]], weights: Sequence[float]
) -> list[dict[str, Any]]:
    parts = spread(people, weights)
    return [
        {"id": number, "name": name, "value": value}
        for (number, name), value in zip(kinds, parts, strict=True)
    ]
