"""Messages that followers send: by kind, by hour, week and month, and by how many each sent.

Rule: pure functions of seed, account and day.  Times add up from hours to days to weeks and months;
people do not, since the same person writes on many days.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from harvester.testing.data.draw import HOURS, chance, days, growth, shaken, size, spread

KINDS = {1: 70.0, 2: 18.0, 3: 6.0, 4: 2.0, 6: 4.0}
"""Kinds of messages (text, picture, voice, video, link) and how common they are."""

INTERVALS = {1: 0.86, 2: 0.1, 3: 0.04}
"""One to five messages, six to ten, more than ten; and the share of people who do."""


def _people(times: int, draw_name: str) -> int:
    return min(times, round(times * chance(draw_name).uniform(0.5, 0.8)) or 1)


def _times(seed: int, appid: str, day: date) -> dict[int, int]:
    draw = chance(seed, appid, day, "messages")
    total = int(size(seed, appid) * growth(day) * draw.uniform(0.03, 0.09))
    return dict(zip(KINDS, spread(total, shaken(draw, list(KINDS.values()))), strict=True))


def _row(ref_date: date, kind: int, times: int, name: str, **more: int) -> dict[str, Any]:
    return {
        "ref_date": ref_date.isoformat(),
        **more,
        "msg_type": kind,
        "msg_user": _people(times, f"{name}/{ref_date}/{kind}/{more}"),
        "msg_count": times,
    }


def by_day(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getupstreammsg's rows of a day, one a kind."""
    times = _times(seed, appid, day)
    return [_row(day, kind, n, f"{seed}/{appid}/day") for kind, n in times.items() if n]


def by_hour(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getupstreammsghour's rows of a day, one an hour and kind."""
    rows = []
    for kind, total in _times(seed, appid, day).items():
        weights = shaken(chance(seed, appid, day, kind, "hours"), HOURS)
        for hour, times in enumerate(spread(total, weights)):
            if times:
                rows.append(_row(day, kind, times, f"{seed}/{appid}/hour", ref_hour=hour * 100))
    return sorted(rows, key=lambda row: (row["ref_hour"], row["msg_type"]))


def by_period(seed: int, appid: str, begin: date, end: date) -> list[dict[str, Any]]:
    """Getupstreammsgweek's or -month's rows of one period, dated its first day."""
    times: Counter[int] = Counter()
    for day in days(begin, end):
        times.update(_times(seed, appid, day))
    return [_row(begin, kind, n, f"{seed}/{appid}/{end}") for kind, n in times.items() if n]


def distribution(seed: int, appid: str, begin: date, end: date) -> list[dict[str, Any]]:
    """Getupstreammsgdist's rows, or of the week or month from ``begin`` to ``end``."""
    rows = by_period(seed, appid, begin, end)
    people = max((row["msg_user"] for row in rows), default=0)
    draw = chance(seed, appid, begin, end, "distribution")
    parts = spread(people, shaken(draw, list(INTERVALS.values())))
    return [
        {"ref_date": begin.isoformat(), "count_interval": interval, "msg_user": number}
        for interval, number in zip(INTERVALS, parts, strict=True)
        if number
    ]
