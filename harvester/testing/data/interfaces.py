"""What an account's own server did with the messages that WeChat passed on.

Rule: pure functions of seed, account and day; a day is the sum of its hours.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from harvester.testing.data.draw import HOURS, chance, growth, shaken, size, spread


def by_hour(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getinterfacesummaryhour's rows of a day; costs are milliseconds."""
    draw = chance(seed, appid, day, "interface")
    total = int(size(seed, appid) * growth(day) * draw.uniform(0.1, 0.4))
    rows = []
    for hour, calls in enumerate(spread(total, shaken(draw, HOURS))):
        mean = draw.uniform(80.0, 400.0)
        if calls:
            row = {
                "ref_date": day.isoformat(),
                "ref_hour": hour * 100,
                "callback_count": calls,
                "fail_count": int(calls * draw.uniform(0.0, 0.05)),
                "total_time_cost": int(calls * mean),
                "max_time_cost": int(mean * draw.uniform(1.5, 12.0)),
            }
            rows.append(row)
    return rows


def by_day(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Getinterfacesummary's row of a day."""
    hours = by_hour(seed, appid, day)
    if not hours:
        return []
    row: dict[str, Any] = {"ref_date": day.isoformat()}
    for name in ("callback_count", "fail_count", "total_time_cost"):
        row[name] = sum(hour[name] for hour in hours)
    row["max_time_cost"] = max(hour["max_time_cost"] for hour in hours)
    return [row]
