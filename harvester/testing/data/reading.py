"""An account's readers and sharers by day and hour, all articles together.

Rule: pure functions of seed, account and day.  Times add up over channels and hours; people do not.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from harvester.testing.data.draw import HOURS, chance, shaken, spread
from harvester.testing.data.posts import LIFE_DAYS, published, read_on
from harvester.testing.data.totals import FIGURES

ALL = 99999999
BY_CHANNEL = date(2020, 2, 28)
"""The first day with rows by channel; before it there is only the row of all channels."""

CHANNELS = {0: 48.0, 1: 14.0, 2: 20.0, 4: 6.0, 5: 5.0, 6: 4.0, 7: 3.0}
"""Conversation, friends, Moments, history, other, Top Stories, Search; and how common they are."""

SCENES = {1: 45.0, 2: 38.0, 5: 2.0, 255: 15.0}
"""Friend, Moments, an undocumented one, other; and how common they are."""

_HOURLY = ("int_page_read_user", "int_page_read_count", "share_user", "share_count")


@lru_cache(maxsize=16_384)
def _day(seed: int, appid: str, day: date) -> tuple[int, ...]:
    sums = dict.fromkeys(FIGURES, 0)
    for age in range(LIFE_DAYS):
        for article in published(seed, appid, day - timedelta(days=age)):
            record = read_on(article, day, age)
            for name in FIGURES:
                sums[name] += record[name]
    return tuple(int(n * 0.88) if name.endswith("_user") else n for name, n in sums.items())


def _row(ref_date: date, source: int, figures: dict[str, int], **more: int) -> dict[str, Any]:
    return {"ref_date": ref_date.isoformat(), **more, "user_source": source, **figures}


def readers(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getuserread's rows: all channels, then each; only the first counts original pages."""
    figures = dict(zip(FIGURES, _day(seed, appid, day), strict=True))
    if not figures["int_page_read_count"]:
        return []
    rows = [_row(day, ALL, figures)]
    if day < BY_CHANNEL:
        return rows
    weights = shaken(chance(seed, appid, day, "channels"), list(CHANNELS.values()))
    parts = _split(figures, weights)
    return rows + [_row(day, source, part) for source, part in zip(CHANNELS, parts, strict=True)]


def _split(figures: dict[str, int], weights: list[float]) -> list[dict[str, int]]:
    """The figures in parts: times add up, people are somewhat more than there are."""
    found = [dict.fromkeys(FIGURES, 0) for _ in weights]
    for what in ("int_page_read", "share"):
        times = spread(figures[f"{what}_count"], weights)
        people = spread(round(figures[f"{what}_user"] * 1.06), weights)
        for part, number, persons in zip(found, times, people, strict=True):
            part[f"{what}_count"] = number
            part[f"{what}_user"] = min(number, persons)
    return found


def readers_by_hour(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getuserreadhour's rows, by hour and channel; nothing about original pages."""
    rows = []
    for row in readers(seed, appid, day):
        source = row["user_source"]
        weights = shaken(chance(seed, appid, day, source, "hours"), HOURS)
        figures = {name: row[name] for name in FIGURES}
        for hour, part in enumerate(_split(figures, weights)):
            if any(part[name] for name in _HOURLY):
                rows.append(_row(day, source, part, ref_hour=hour * 100))
    return sorted(rows, key=lambda row: row["ref_hour"])


def sharers(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getusershare's rows, one a scene."""
    figures = dict(zip(FIGURES, _day(seed, appid, day), strict=True))
    weights = shaken(chance(seed, appid, day, "scenes"), list(SCENES.values()))
    parts = zip(SCENES, _split(figures, weights), strict=True)
    return [_shared(day, scene, part) for scene, part in parts if part["share_count"]]


def sharers_by_hour(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getusersharehour's rows, by hour and scene."""
    rows = []
    for row in sharers(seed, appid, day):
        scene = row["share_scene"]
        weights = shaken(chance(seed, appid, day, scene, "share hours"), HOURS)
        figures = {**dict.fromkeys(FIGURES, 0), **{k: row[k] for k in _HOURLY if k in row}}
        for hour, part in enumerate(_split(figures, weights)):
            if part["share_count"]:
                rows.append(_shared(day, scene, part, ref_hour=hour * 100))
    return sorted(rows, key=lambda row: row["ref_hour"])


def _shared(ref_date: date, scene: int, part: dict[str, int], **more: int) -> dict[str, Any]:
    return {
        "ref_date": ref_date.isoformat(),
        **more,
        "share_scene": scene,
        "share_count": part["share_count"],
        "share_user": part["share_user"],
    }
