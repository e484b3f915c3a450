"""Every simulated interface as a table: its path, its dates, its data, the shape of its answer.

Rule: written from WeChat's pages, not from `harvester.wechat`, so that each can be checked
against the other.

Where the pages disagree on how many days a call may ask for, the smaller number is used.  Chosen
here, because it is not documented: mini-programs have data from the day they were introduced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from harvester.testing.data import (
    details,
    messages,
    miniprogram,
    posts,
    publisher,
    reading,
    totals,
    users,
)
from harvester.testing.data import interfaces as servers
from harvester.testing.data.draw import days, month, week

FIRST_DAY = date(2014, 12, 1)
NEW_FIRST_DAY = date(2025, 11, 1)
MINI_FIRST_DAY = date(2017, 1, 9)
PUBLISHER_FIRST_DAY = date(2016, 1, 1)

Rows = list[dict[str, Any]]
Period = Callable[[date], tuple[date, date]]


class Interface(NamedTuple):
    """One interface.

    rows: (seed, appid, begin, end, last known day) to rows; begin lies after the first day.
    span: the most days of a call, or 0 where ``rule`` is another: ``"week"``, ``"month"`` (exactly
    one), ``"portrait"`` (1, 7 or 30 days up to yesterday), ``"open"`` (any number),
    ``"now"`` (none).
    shape: ``"list"``, ``"delay"`` (a list with is_delay), ``"dated"`` (a list with ref_date),
    ``"whole"`` (the one row is the answer), ``"game"`` (getgameanalysisdata), ``"publisher"``.
    grows: for how many days after the end of its dates an answer can still change.
    compact: dates are YYYYMMDD.  by_day: each row has its day, and an answer can hold any days.
    """

    name: str
    first_day: date
    rows: Callable[[int, str, date, date, date], Rows]
    span: int = 1
    rule: str = "days"
    shape: str = "list"
    grows: int = 0
    compact: bool = False
    retired: bool = False
    by_day: bool = True

    @property
    def path(self) -> str:
        """Where it is asked."""
        return "/publisher/stat" if self.shape == "publisher" else f"/datacube/{self.name}"

    @property
    def grown(self) -> timedelta:
        """How long after the end of its dates an answer can still change."""
        return timedelta(days=self.grows)

    def of(self, seed: int, appid: str, begin: date, end: date, last: date) -> Rows:
        """What it has of these days on the evening of ``last``."""
        since = max(begin, self.first_day)
        if since <= min(end, last):
            return self.rows(seed, appid, since, end, last)
        nobody = self.shape == "whole" and end < self.first_day
        return [_nobody(self.rule, begin, end)] if nobody else []


def _nobody(rule: str, begin: date, end: date) -> dict[str, Any]:
    """The answer without a list of days before the first one."""
    ref_date = miniprogram.named(begin, end) if rule != "month" else f"{begin:%Y%m}"
    return {"ref_date": ref_date, "visit_uv_new": [], "visit_uv": []}


def _daily(of_day: Callable[[int, str, date], Rows]) -> Callable[..., Rows]:
    def rows(seed: int, appid: str, begin: date, end: date, last: date) -> Rows:
        return [row for day in days(begin, min(end, last)) for row in of_day(seed, appid, day)]

    return rows


def _growing(of_day: Callable[[int, str, date, date], Rows]) -> Callable[..., Rows]:
    def rows(seed: int, appid: str, begin: date, end: date, last: date) -> Rows:
        return [
            row for day in days(begin, min(end, last)) for row in of_day(seed, appid, day, last)
        ]

    return rows


def _ended(period: Period, begin: date, end: date, last: date) -> Iterator[tuple[date, date]]:
    """The periods that touch the days and are over."""
    for first, until in dict.fromkeys(period(day) for day in days(begin, end)):
        if until <= last:
            yield first, until


def _periodic(
    period: Period, of_period: Callable[[int, str, date, date], Rows]
) -> Callable[..., Rows]:
    def rows(seed: int, appid: str, begin: date, end: date, last: date) -> Rows:
        return [
            row
            for first, until in _ended(period, begin, end, last)
            for row in of_period(seed, appid, first, until)
        ]

    return rows


def _retained(
    period: Period, of_period: Callable[[int, str, date, date, date], dict[str, Any]]
) -> Callable[..., Rows]:
    def rows(seed: int, appid: str, begin: date, end: date, last: date) -> Rows:
        return [of_period(seed, appid, *dates, last) for dates in _ended(period, begin, end, last)]

    return rows


def _one(day: date) -> tuple[date, date]:
    return day, day


def _retained_daily(seed: int, appid: str, day: date, _until: date, last: date) -> dict[str, Any]:
    return miniprogram.daily_retained(seed, appid, day, last)


def _distribution_of_day(seed: int, appid: str, day: date) -> Rows:
    return messages.distribution(seed, appid, day, day)


def _portrait(seed: int, appid: str, begin: date, end: date, last: date) -> Rows:
    return [miniprogram.portrait(seed, appid, begin, end)] if end <= last else []


def _old(name: str, rows: Callable[..., Rows], span: int, **more: Any) -> Interface:
    return Interface(name, FIRST_DAY, rows, span, **more)


def _new(name: str, rows: Callable[..., Rows], span: int = 1, **more: Any) -> Interface:
    return Interface(name, NEW_FIRST_DAY, rows, span, shape="delay", **more)


def _mini(name: str, rows: Callable[..., Rows], **more: Any) -> Interface:
    by_day = not more
    return Interface(
        f"getweanalysisappid{name}", MINI_FIRST_DAY, rows, compact=True, by_day=by_day, **more
    )


def _ads(
    name: str, rows: Callable[..., Rows], span: int = 0, rule: str = "days", grows: int = 0
) -> Interface:
    return Interface(
        name, PUBLISHER_FIRST_DAY, rows, span, rule, shape="publisher", by_day=False, grows=grows
    )


_WEEKS, _MONTHS = {"grows": 7, "by_day": False}, {"grows": 31, "by_day": False}

TABLE: tuple[Interface, ...] = (
    _old("getusersummary", _daily(users.flows), 7),
    _old("getusercumulate", _daily(users.cumulated), 7),
    _old("getarticlesummary", _daily(posts.articles), 1, retired=True),
    _old("getarticletotal", _growing(totals.totals), 1, retired=True, grows=posts.READ_DAYS - 1),
    _old("getuserread", _daily(reading.readers), 3, retired=True),
    _old("getuserreadhour", _daily(reading.readers_by_hour), 1, retired=True),
    _old("getusershare", _daily(reading.sharers), 7, retired=True),
    _old("getusersharehour", _daily(reading.sharers_by_hour), 1, retired=True),
    _new("getarticleread", _daily(details.readers)),
    _new("getarticleshare", _daily(details.sharers)),
    _new("getbizsummary", _daily(details.account), 30),
    _new("getarticletotaldetail", _growing(details.totals), grows=posts.LIFE_DAYS - 1),
    _old("getupstreammsg", _daily(messages.by_day), 7),
    _old("getupstreammsghour", _daily(messages.by_hour), 1),
    _old("getupstreammsgweek", _periodic(week, messages.by_period), 1, **_WEEKS),
    _old("getupstreammsgmonth", _periodic(month, messages.by_period), 1, **_MONTHS),
    _old("getupstreammsgdist", _daily(_distribution_of_day), 15),
    _old("getupstreammsgdistweek", _periodic(week, messages.distribution), 1, **_WEEKS),
    _old("getupstreammsgdistmonth", _periodic(month, messages.distribution), 1, **_MONTHS),
    _old("getinterfacesummary", _daily(servers.by_day), 30),
    _old("getinterfacesummaryhour", _daily(servers.by_hour), 1),
    _mini("dailysummarytrend", _daily(miniprogram.summary)),
    _mini("dailyvisittrend", _daily(miniprogram.daily_visits)),
    _mini("weeklyvisittrend", _periodic(week, miniprogram.weekly_visits), rule="week"),
    _mini("monthlyvisittrend", _periodic(month, miniprogram.monthly_visits), rule="month"),
    _mini("dailyretaininfo", _retained(_one, _retained_daily), shape="whole", grows=30),
    _mini(
        "weeklyretaininfo", _retained(week, miniprogram.weekly_retained),
        rule="week", shape="whole", grows=28,
    ),
    _mini(
        "monthlyretaininfo", _retained(month, miniprogram.monthly_retained),
        rule="month", shape="whole", grows=31,
    ),
    _mini("visitpage", _daily(miniprogram.pages), shape="dated"),
    _mini("visitdistribution", _daily(miniprogram.distribution), shape="dated"),
    _mini("userportrait", _portrait, rule="portrait", shape="whole"),
    Interface(
        "getgameanalysisdata", MINI_FIRST_DAY, _daily(miniprogram.players), shape="game",
        by_day=False,
    ),
    _ads("publisher_adpos_general", publisher.by_slots, 90),
    _ads("publisher_cps_general", publisher.by_goods, 60),
    _ads("publisher_adunit_general", publisher.by_units, 90),
    _ads("publisher_settlement", publisher.settlements, rule="open", grows=30),
    _ads("get_adunit_list", publisher.units, rule="now"),
)  # fmt: skip
"""All interfaces."""

INTERFACES: Mapping[str, Interface] = {interface.name: interface for interface in TABLE}
