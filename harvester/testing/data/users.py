"""Followers: how many are new or lost by channel, and how many there are.

Rule: pure functions of seed, account and day.  The number of followers is drawn; new and lost
followers are its difference to the day before, so the two interfaces always agree.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from harvester.testing.data.draw import EPOCH, chance, shaken, size, spread

SOURCES = {
    0: 10.0, 1: 30.0, 17: 12.0, 30: 25.0, 57: 14.0, 100: 2.0, 149: 3.0, 161: 4.0, 200: 3.0,
    201: 1.0,
}  # fmt: skip
"""Channels and how common they are; 0 is "others", not the sum."""


def followers(seed: int, appid: str, day: date) -> int:
    """How many follow an account at the end of a day."""
    base = 40 * size(seed, appid)
    wave = chance(seed, appid, day, "followers").uniform(-0.002, 0.002)
    return int(base * (1 + (day - EPOCH).days / 700 + wave))


def cumulated(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getusercumulate's row of a day; user_source is on the wire, always 0."""
    return [
        {
            "ref_date": day.isoformat(),
            "user_source": 0,
            "cumulate_user": followers(seed, appid, day),
        }
    ]


def flows(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getusersummary's rows of a day, one a channel by which somebody came or went."""
    net = followers(seed, appid, day) - followers(seed, appid, day - timedelta(days=1))
    draw = chance(seed, appid, day, "flows")
    gone = max(int(40 * size(seed, appid) * draw.uniform(0.0005, 0.0015)), -net)
    weights = shaken(draw, list(SOURCES.values()))
    came, went = spread(net + gone, weights), spread(gone, shaken(draw, weights))
    return [
        {"ref_date": day.isoformat(), "user_source": source, "new_user": new, "cancel_user": lost}
        for source, new, lost in zip(SOURCES, came, went, strict=True)
        if new or lost
    ]
