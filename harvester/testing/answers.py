"""Which dates an interface accepts, and how its answer is built.

Rule: pure; a wrong date is an errcode, not a reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from harvester.base.dates import ONE_DAY, china, last_legal_day, settles_at
from harvester.testing.catalogue import Interface
from harvester.testing.data import miniprogram, publisher
from harvester.testing.data.draw import month, week
from harvester.testing.replies import Refused

PORTRAIT_DAYS = (1, 7, 30)
MAX_PAGE, MAX_SETTLEMENTS = 90, 100
"""Rows of a page: by the pages, and what settlements have been seen to be asked for with."""


def asked_days(
    interface: Interface, span: int, begin: object, end: object, now: float
) -> tuple[date, date] | int:
    """The first and the last day asked for, or 61500, 61501, 61503."""
    first, until = _day(begin, interface.compact), _day(end, interface.compact)
    if first is None or until is None:
        return 61500
    yesterday = last_legal_day(now)
    if first > until or until > yesterday or not _allowed(interface, span, first, until, yesterday):
        return 61501
    if until == yesterday and now < settles_at(yesterday):
        return 61503
    return first, until


def _day(given: object, compact: bool) -> date | None:
    try:
        day = date.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None
    if day is None:
        return None
    written = miniprogram.compact(day) if compact else day.isoformat()
    return day if written == given else None


def _allowed(interface: Interface, span: int, begin: date, end: date, yesterday: date) -> bool:
    if interface.rule == "days":
        return begin == end or (end - begin).days < span
    if interface.rule == "week":
        return (begin, end) == week(begin)
    if interface.rule == "month":
        return (begin, end) == month(begin)
    if interface.rule == "portrait":
        return end == yesterday and (end - begin).days + 1 in PORTRAIT_DAYS
    return True


METRIC, BY_DAY = "1000001:5", 24
GRANULARITIES = {1, 5, 60, BY_DAY, 7, 30}


def game_day(given: Mapping[str, Any], now: float) -> date:
    """The day that getgameanalysisdata is asked for; raises `Refused`."""
    if given.get("metric") != METRIC:
        raise Refused(61552)
    if given.get("granularity") not in GRANULARITIES:
        raise Refused(61553)
    if given["granularity"] != BY_DAY:
        raise Refused(61557)
    if given.get("filter_list"):
        raise Refused(61555)
    if given.get("group_list"):
        raise Refused(61559)
    start, end = given.get("start_time"), given.get("end_time")
    if not (type(start) is int and type(end) is int and 0 <= start < now):
        raise Refused(61554)
    day = china(start).date()
    if (start, end) != (settles_at(day - ONE_DAY, 0), settles_at(day, 0)) or end > now:
        raise Refused(61554)
    return day


def answer(interface: Interface, rows: list[dict[str, Any]], begin: date) -> dict[str, Any]:
    """The whole answer of an interface that has no pages."""
    if interface.shape == "game":  # WeChat has sent a row for a day without figures
        return {"data_list": rows or [miniprogram.unplayed(begin)]}
    if interface.shape == "whole":
        return rows[0] if rows else {}
    if interface.shape == "dated":
        return {"ref_date": miniprogram.compact(begin), "list": rows}
    if interface.shape == "delay":
        return {"list": rows, "is_delay": "false" if begin.toordinal() % 3 == 0 else False}
    return {"list": rows}


def late_answer(rows: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """What is answered while the figures are late: fewer rows, or smaller figures."""
    if number % 2:
        return {"list": [_less(row) for row in rows], "is_delay": "true"}
    return {"list": rows[: len(rows) // 2], "is_delay": True}


def _less(row: dict[str, Any]) -> dict[str, Any]:
    if "detail_list" in row:
        *older, newest = row["detail_list"]
        return {**row, "detail_list": [*older, _halved(newest)]}
    return {**row, "detail": _halved(row["detail"])}


def _halved(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: each if key == "position" else _halved(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_halved(each) for each in value]
    return value // 2 if isinstance(value, int) else value


def page_of(query: Mapping[str, str], most: int = MAX_PAGE) -> tuple[int, int] | None:
    """The page (from 1) and its size, or None if they are not valid."""
    number, size = query.get("page", ""), query.get("page_size", "")
    if not (number.isdecimal() and size.isdecimal()):
        return None
    page = int(number), int(size)
    return page if page[0] >= 1 and 1 <= page[1] <= most else None


def publisher_answer(
    interface: Interface, rows: Sequence[dict[str, Any]], page: tuple[int, int]
) -> dict[str, Any]:
    """One page of a publisher interface's answer; the sums are those of all pages."""
    number, size = page
    listed = rows[(number - 1) * size : number * size]
    fine = {"base_resp": {"err_msg": "ok", "ret": 0}}
    if interface.rule == "now":
        return {**fine, "ad_unit": listed, "total_num": len(rows)}
    if interface.name == "publisher_adunit_general":
        return {**fine, "list": listed, "total_num": len(rows)}
    if interface.name == "publisher_settlement" and not (rows and "month" in rows[0]):
        # as observed: no list, no body, and an unsettled income
        return {**fine, **(rows[0] if rows else publisher.NOTHING), "total_num": 0}
    if interface.name == "publisher_settlement":
        revenue = sum(row["settled_revenue"] for row in rows)
        return {
            **fine,
            "body": publisher.BODY,
            "penalty_all": 0,
            "revenue_all": revenue,
            "settled_revenue_all": revenue,
            "settlement_list": listed,
            "total_num": len(rows),
        }
    goods = interface.name == "publisher_cps_general"
    summary = publisher.goods_summary(rows) if goods else publisher.slots_summary(rows)
    return {**fine, "list": listed, "summary": summary, "total_num": len(rows)}
