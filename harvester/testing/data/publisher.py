"""What an account earns as a traffic owner: by slot and day, by goods sold, by settlement.

Rule: pure functions of seed, account and day; money is in fen (1/100 yuan), and the newest row
is first, as in WeChat's answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from harvester.testing.data.draw import chance, days, growth, month, size

SLOTS = {
    "SLOT_ID_BIZ_BOTTOM": 2030046212907003,
    "SLOT_ID_BIZ_MID_CONTEXT": 1030436212907001,
    "SLOT_ID_BIZ_VIDEO_END": 4071202390577885,
    "SLOT_ID_BIZ_SPONSOR": 5060180989186180,
    "SLOT_ID_BIZ_CPS": 8010453071122043,
    "SLOT_ID_WEAPP_BANNER": 8040321819858439,
    "SLOT_ID_WEAPP_REWARD_VIDEO": 8090824889201066,
    "SLOT_ID_WEAPP_INTERSTITIAL": 3030046789020061,
    "SLOT_ID_WEAPP_VIDEO_FEEDS": 1050160211807025,
    "SLOT_ID_WEAPP_VIDEO_BEGIN": 7080264231908012,
    "SLOT_ID_WEAPP_BOX": 4010071822506094,
    "SLOT_ID_WEAPP_TEMPLATE": 9060382117504086,
    "SLOT_ID_WEAPP_COVER": 6020593018204037,
}
"""The thirteen slots of WeChat's page, five of them of official accounts.  It shows one slot_id,
that of an interstitial; the others are chosen here."""
UNITS = {
    "adunit-0123456789abcdef": ("首页横幅", "SLOT_ID_WEAPP_BANNER", "AD_UNIT_TYPE_BANNER"),
    "adunit-1123456789abcdef": ("激励视频", "SLOT_ID_WEAPP_REWARD_VIDEO",
                                "AD_UNIT_TYPE_REWARED_VIDEO"),
    "adunit-2123456789abcdef": ("插屏", "SLOT_ID_WEAPP_INTERSTITIAL", "AD_UNIT_TYPE_INTERSTITIAL"),
}  # fmt: skip
"""Ad units of a mini-program: name, kind of slot, kind of unit; one is misspelt on WeChat's page,
too."""

BODY = "示例科技有限公司"
NOTHING = {"penalty_all": 0, "revenue_all": 0, "settled_revenue_all": 0}


def slot_day(seed: int, appid: str, day: date, slot: str) -> dict[str, Any]:
    """Publisher_adpos_general's row of one slot and day, slot_id and ad_slot included."""
    figures = _drawn(seed, appid, day, slot)
    return {
        "slot_id": SLOTS[slot],
        "ad_slot": slot,
        "date": day.isoformat(),
        **_with_rates(figures),
    }


def _drawn(seed: int, appid: str, day: date, what: str) -> dict[str, int]:
    draw = chance(seed, appid, day, what)
    asked = int(size(seed, appid) * growth(day) * draw.uniform(0.5, 2.0))
    shown = int(asked * draw.uniform(0.3, 0.6))
    clicked = int(shown * draw.uniform(0.01, 0.06))
    return {
        "req_succ_count": asked,
        "exposure_count": shown,
        "click_count": clicked,
        "income": int(clicked * draw.uniform(20, 90)),
    }


def slots_day(seed: int, appid: str, day: date) -> dict[str, Any]:
    """The row of a day when no slot was asked for: all slots, which are not named."""
    rows = [slot_day(seed, appid, day, slot) for slot in SLOTS]
    return {"date": day.isoformat(), **slots_summary(rows)}


def slots_summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums of rows of slots, with rates of their own."""
    names = ("req_succ_count", "exposure_count", "click_count", "income")
    return _with_rates({name: sum(row[name] for row in rows) for name in names})


def _with_rates(sums: dict[str, int]) -> dict[str, Any]:
    return {
        "req_succ_count": sums["req_succ_count"],
        "exposure_count": sums["exposure_count"],
        "exposure_rate": _rate(sums["exposure_count"], sums["req_succ_count"]),
        "click_count": sums["click_count"],
        "click_rate": _rate(sums["click_count"], sums["exposure_count"]),
        "income": sums["income"],
        "ecpm": _rate(sums["income"] * 1000, sums["exposure_count"]),
    }


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 9) if whole else 0.0


def goods_day(seed: int, appid: str, day: date) -> dict[str, Any]:
    """Publisher_cps_general's row of a day."""
    draw = chance(seed, appid, day, "goods")
    shown = int(size(seed, appid) * growth(day) * draw.uniform(0.2, 0.8))
    clicked = int(shown * draw.uniform(0.01, 0.05))
    orders = int(clicked * draw.uniform(0.0, 0.05))
    fee = orders * draw.randrange(1000, 30_000)
    figures = {
        "exposure_count": shown,
        "click_count": clicked,
        "order_count": orders,
        "total_fee": fee,
        "total_commission": int(fee * 0.15),
    }
    return {"date": day.isoformat(), **goods_summary([figures])}


def goods_summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums of rows of goods, with rates of their own."""
    names = ("exposure_count", "click_count", "order_count", "total_fee", "total_commission")
    sums = {name: sum(row[name] for row in rows) for name in names}
    return {
        "exposure_count": sums["exposure_count"],
        "click_count": sums["click_count"],
        "click_rate": _rate(sums["click_count"], sums["exposure_count"]),
        "order_count": sums["order_count"],
        "order_rate": _rate(sums["order_count"], sums["click_count"]),
        "total_fee": sums["total_fee"],
        "total_commission": sums["total_commission"],
    }


def units_day(seed: int, appid: str, day: date) -> list[dict[str, Any]]:
    """Publisher_adunit_general's rows of a day, which is within their figures."""
    found = []
    for unit, (name, slot, _) in UNITS.items():
        figures = _drawn(seed, appid, day, unit)
        item = {"ad_slot": slot, "date": day.isoformat(), **_with_rates(figures)}
        found.append({"ad_unit_id": unit, "ad_unit_name": name, "stat_item": item})
    return found


def units(_seed: int, appid: str, *_days: date) -> list[dict[str, Any]]:
    """Get_adunit_list's rows: what there is, whenever it is asked."""
    return [
        {
            "ad_slot": slot,
            "ad_unit_id": unit,
            "ad_unit_name": name,
            "ad_unit_size": [{"height": 166, "width": 582}],
            "ad_unit_status": "AD_UNIT_STATUS_ON",
            "ad_unit_type": kind,
            "appid": appid,
            "video_duration_max": 30,
            "video_duration_min": 6,
        }
        for unit, (name, slot, kind) in UNITS.items()
    ]


def halves(begin: date, end: date) -> Iterator[tuple[date, date, date, int]]:
    """Half months that have days from ``begin`` to ``end``.

    Of each: the day of settling, its first day, its last day, 1 or 2.  The first half is settled on
    the 25th, the second on the 10th of the month that follows.
    """
    first = month(begin)[0]
    while first <= end:
        until = month(first)[1]
        middle = first + timedelta(days=14)
        parts = (
            (first.replace(day=25), first, middle, 1),
            (until + timedelta(days=10), middle + timedelta(days=1), until, 2),
        )
        yield from (part for part in parts if part[1] <= end and begin <= part[2])
        first = until + timedelta(days=1)


PAID_AFTER = timedelta(days=20)
"""From the day of settling on: until then an entry is marked as being settled."""


def settled(
    seed: int, appid: str, on: date, first: date, until: date, order: int, *, paid: bool = True
) -> dict[str, Any]:
    """Publisher_settlement's row of half a month; mail_send_cnt and slot_id are strings."""
    revenue = {
        slot: sum(slot_day(seed, appid, day, slot)["income"] for day in days(first, until))
        for slot in SLOTS
    }
    return {
        "date": on.isoformat(),
        "zone": f"{first.year}年{first.month}月{first.day}日至{until.day}日",
        "month": f"{first:%Y%m}",
        "order": order,
        "sett_status": 5 if paid else 1,
        "settled_revenue": sum(revenue.values()),
        "sett_no": f"{first:%Y%m}{order:02}{chance(seed, appid, on).randrange(10**8):08}",
        "mail_send_cnt": "0",
        "slot_revenue": [
            {"slot_id": slot, "slot_settled_revenue": income} for slot, income in revenue.items()
        ],
    }


def slot_of(query: Mapping[str, str]) -> str:
    """The slot that is asked for, by its name or its number; empty if none is."""
    number = query.get("slot_id", "")
    named = {str(given): slot for slot, given in SLOTS.items()}.get(number, number)
    return query.get("ad_slot", named)


def of_unit(rows: Sequence[dict[str, Any]], slot: str, unit: str | None) -> list[dict[str, Any]]:
    """The rows of ad units that are of a slot, or of one unit, if one is asked for."""
    return [
        row
        for row in rows
        if unit in (None, row["ad_unit_id"]) and slot in ("", row.get("stat_item", row)["ad_slot"])
    ]


def by_slot(seed: int, appid: str, begin: date, end: date, slot: str) -> list[dict[str, Any]]:
    """Publisher_adpos_general's rows of one slot."""
    return [slot_day(seed, appid, day, slot) for day in days(begin, end)][::-1]


def by_slots(seed: int, appid: str, begin: date, end: date, last: date) -> list[dict[str, Any]]:
    """Publisher_adpos_general's rows if no slot is asked for."""
    return [slots_day(seed, appid, day) for day in days(begin, min(end, last))][::-1]


def by_units(seed: int, appid: str, begin: date, end: date, last: date) -> list[dict[str, Any]]:
    """Publisher_adunit_general's rows."""
    found = [units_day(seed, appid, day) for day in days(begin, min(end, last))][::-1]
    return [row for rows in found for row in rows]


def by_goods(seed: int, appid: str, begin: date, end: date, last: date) -> list[dict[str, Any]]:
    """Publisher_cps_general's rows."""
    return [goods_day(seed, appid, day) for day in days(begin, min(end, last))][::-1]


def unsettled(seed: int, appid: str, begin: date, end: date, last: date) -> dict[str, Any]:
    """Publisher_settlement's sums of days of which nothing is settled."""
    known = days(begin, min(end, last))
    return {**NOTHING, "revenue_all": sum(slots_day(seed, appid, day)["income"] for day in known)}


def settlements(seed: int, appid: str, begin: date, end: date, last: date) -> list[dict[str, Any]]:
    """Publisher_settlement's rows of half months that have days of these and are settled.

    While none is settled, the sums of the answer are the one row, see `unsettled`.
    """
    found = [
        settled(seed, appid, *half, paid=half[0] + PAID_AFTER <= last)
        for half in halves(begin, end)
        if half[0] <= last
    ]
    rows = sorted(found, key=lambda row: row["date"], reverse=True)
    return rows or [unsettled(seed, appid, begin, end, last)]
