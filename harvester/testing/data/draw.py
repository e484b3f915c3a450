"""Random numbers that are the same for the same arguments, and parts that add up to a sum.

Rule: no shared generator; each call makes its own from its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from random import Random

EPOCH = date(2014, 12, 1)
HOURS = (
    1.6, 0.8, 0.5, 0.3, 0.3, 0.6, 1.8, 4.0, 5.5, 5.2, 4.8, 5.0,
    6.5, 5.6, 4.6, 4.3, 4.4, 4.9, 5.6, 6.2, 7.6, 8.6, 7.4, 4.2,
)  # fmt: skip
"""How a day's people are spread over its hours."""


def chance(*question: object) -> Random:
    """The generator of one question."""
    return Random("/".join(map(str, question)))


@lru_cache(maxsize=4096)
def size(seed: int, appid: str) -> float:
    """How many readers an account's article has on an average first day in 2014."""
    return float(10 ** Random(f"{seed}/{appid}").uniform(2.2, 4.2))


def growth(day: date) -> float:
    """How much larger an account is on a day than it was in 2014."""
    return 1 + (day - EPOCH).days / 2000


def spread(total: int, weights: Sequence[float]) -> list[int]:
    """Whole parts in about these proportions; together they are the total."""
    parts, running, done = [], 0.0, 0
    whole = sum(weights)
    for weight in weights:
        running += weight
        upto = round(total * running / whole)
        parts.append(upto - done)
        done = upto
    return parts


def shaken(draw: Random, weights: Sequence[float]) -> list[float]:
    """The weights, each somewhat more or less."""
    return [weight * draw.uniform(0.7, 1.3) for weight in weights]


def days(begin: date, end: date) -> Iterator[date]:
    """Every day of a range."""
    for number in range((end - begin).days + 1):
        yield begin + timedelta(days=number)


def week(day: date) -> tuple[date, date]:
    """The Monday and the Sunday of a day's week."""
    monday = day - timedelta(days=day.weekday())
    return monday, monday + timedelta(days=6)


def month(day: date) -> tuple[date, date]:
    """The first and the last day of a day's month."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
