"""The accounts and interfaces that lack one day: why, since when, and what to do.

Rule: decides from what a ledger knows of one interface of one account; prints nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from harvester.base.dates import (
    ONE_DAY,
    Days,
    WindowKind,
    china,
    meets,
    period_of,
    rfc3339,
    settles_at,
)
from harvester.events import reason_of
from harvester.ledger.base import Exhausted
from harvester.ledger.coverage import FAILED, MISSING, NEVER, Calendar
from harvester.ledger.reach import GONE, STATE_OF, UNASKED, State, state_on
from harvester.ledger.reach import NOT_DUE as UNDUE
from harvester.ledger.reach import STATES as DAY_STATES
from harvester.model import Endpoint
from harvester.report.causes import KINDS, Text, ip_in, kind_of
from harvester.report.days import Reader, Stream, covering, hour_of
from harvester.texts import english

NO_FIGURES, NEVER_HARVESTED = "no_figures", "never_harvested"
"""Beside the states of a day: it lies before the interface's first day; the account is unknown."""
NOT_ASKED, NOT_DUE = STATE_OF[UNASKED].name, STATE_OF[UNDUE].name
NEVER_DELIVERED, CANNOT_BE_ASKED = STATE_OF[NEVER].name, STATE_OF[GONE].name
UNDELIVERED = tuple(sorted(state.name for state in DAY_STATES if state.lacking))
"""The states of a day that was asked for and lacks figures, as `harvester status` counts them."""
OTHERS = (NOT_ASKED, NEVER_HARVESTED, NOT_DUE, NEVER_DELIVERED, CANNOT_BE_ASKED, NO_FIGURES)
LACKING = (*UNDELIVERED, *OTHERS[:2])
"""The states of a day that WeChat can give."""
STATES = (*UNDELIVERED, *OTHERS)
"""All states, also of a day that WeChat does not deliver yet, or ever."""

_NOTHING: Text = ("不用处理。", "Nothing to do.")
_TEXTS: Mapping[str, tuple[Text, Text]] = {
    NOT_ASKED: (
        (
            "没有要求采集过这一天：采集范围是 {ranges}",
            "Never asked for: the {what} {ranges}",
        ),
        ("运行时用 --start 和 --end 包含这一天。", "Run with a --start and --end that include it."),
    ),
    "period": (
        (
            "采集范围没有整个包含 {begin} 至 {end} 这一{period}",
            "Never asked for: the range does not have all of the {period} {begin} to {end}",
        ),
        ("运行时用 --start 和 --end 包含这整段。", "Run with a --start and --end that include it."),
    ),
    NEVER_HARVESTED: (
        ("账号文件里有，但从未采集过", "In the accounts file, and never harvested"),
        ("用这个账号文件运行一次。", "Run with this accounts file."),
    ),
    NOT_DUE: (
        ("微信 {time} 起才有（北京时间）", "WeChat has it from {time} (China time) on"),
        ("不用处理：到时再运行。", "Nothing to do: run again after that time."),
    ),
    NO_FIGURES: (
        ("这个接口从 {begin} 起才有数据", "The interface has figures from {begin} on"),
        _NOTHING,
    ),
    NEVER_DELIVERED: (
        (
            "应有数据而始终没有：30 天内多次请求都没有给出",
            "Its figures must be there, and never came: they were requested again for 30 days",
        ),
        (
            "不用处理；仍要再试时用 --refresh。",
            "Nothing to do; --refresh requests them once more.",
        ),
    ),
    CANNOT_BE_ASKED: (
        (
            "当时没有采集，已无法再请求：这个接口只给截至昨天的数据",
            "Not harvested when it could be: the interface gives only days that end yesterday",
        ),
        ("每天运行一次，以后就不会缺。", "Run once a day, so that no other day is lost."),
    ),
}
_TO_DO = (NOT_ASKED, NEVER_HARVESTED, STATE_OF[MISSING].name)
"""States for which somebody must do something, whatever the reason."""
_QUOTA_IS_BACK: Text = ("限额已恢复，运行即可", "The quota is back: run again")
MOST_RANGES = 3
"""Ranges that were asked for, the last ones, that a reason names."""
_PERIODS = {"week": ("周", "week"), "month": ("月", "month")}


class Lack(NamedTuple):
    """An interface of an account that lacks the day.

    endpoint: empty for an account of which nothing is known.  state: one of `STATES`.  reason,
    advice: in Chinese and in English.  code: WeChat's errcode; detail: the message of the failure
    or wait; rid: WeChat's request id.  since: the first of the days up to this one
    that are all in this state; None if nothing before it was asked for.  until: the Unix time from
    which it can be asked for; 0 if there is none.
    """

    appid: str
    endpoint: str
    state: str
    reason: Text
    advice: Text
    code: int | None = None
    detail: str = ""
    rid: str = ""
    since: date | None = None
    until: float = 0.0
    mine: bool = False

    @property
    def to_do(self) -> bool:
        """Whether somebody must do something, so that the day is there."""
        return self.mine or self.state in _TO_DO

    def to_dict(self, language: int = 1) -> dict[str, Any]:
        """As JSON and CSV have it; language: 0 for Chinese, 1 for English."""
        return {
            "appid": self.appid,
            "endpoint": self.endpoint,
            "state": self.state,
            "reason": self.reason[language],
            "code": self.code,
            "detail": english(self.detail),
            "since": str(self.since) if self.since else None,
            "until": rfc3339(self.until) if self.until else None,
            "what_to_do": self.advice[language],
            "rid": self.rid,
        }


async def lacks_of(reader: Reader, day: date) -> AsyncIterator[Lack | None]:
    """What lacks a day, of each interface of each account that a prepared reader shows.

    None: the day is stored.  Raises `LedgerError`.
    """
    exhausted = await reader.ledger.exhausted(reader.now)
    for appid in reader.never_harvested():
        yield Lack(appid, "", NEVER_HARVESTED, *_TEXTS[NEVER_HARVESTED])
    async for stream, calendar in reader.streams():
        endpoint = reader.endpoint(stream.key[1])
        of_day = _OfDay(stream, calendar, endpoint, day, reader.now)
        yield of_day.lack(exhausted.get(stream.key))


class _OfDay:
    """A day of one interface of one account."""

    def __init__(
        self,
        stream: Stream,
        calendar: Calendar,
        endpoint: Endpoint | None,
        day: date,
        now: float,
    ) -> None:
        self._stream, self._calendar, self._endpoint = stream, calendar, endpoint
        self._day, self._now = day, now

    def lack(self, exhausted: Exhausted | None) -> Lack | None:
        """Why it is missing; None if it is stored."""
        state = state_on(self._stream.reach, self._day, self._endpoint, self._now)
        if state.held:
            return None
        if state.lacking:
            return self._undelivered(state, exhausted)
        if self._endpoint is not None and self._day < self._endpoint.first_day:
            return self._made(NO_FIGURES, _TEXTS[NO_FIGURES], begin=self._endpoint.first_day)
        if state.letter == UNDUE:
            begins = settles_at(self._period[1], hour_of(self._endpoint))
            time = f"{china(begins):%Y-%m-%d %H:%M}"
            return self._made(NOT_DUE, _TEXTS[NOT_DUE], time=time)._replace(until=begins)
        if state.letter == UNASKED:
            return self._not_asked()
        return self._made(state.name, _TEXTS[state.name])

    def _undelivered(self, state: State, exhausted: Exhausted | None) -> Lack:
        window = covering(self._calendar, self._day)
        if state.letter == MISSING:
            if exhausted is not None:
                return self._of_kind("quota", state, until=exhausted.until)
            return self._of_kind("missing", state)
        if window is None:  # it was stored as final before it was known that it must be there
            return self._of_kind("late", state)
        return self._of_kind(
            kind_of(window),
            state,
            code=window.code,
            detail=reason_of(self._stream.key[0], window.detail),
            rid=window.rid,
            until=window.due if state.letter != FAILED else 0.0,
        )

    @property
    def _period(self) -> Days:
        """The day, or the week or the month of it that WeChat gives as a whole."""
        return period_of(self._day, self._cut)

    @property
    def _cut(self) -> WindowKind:
        return WindowKind.DAYS if self._endpoint is None else self._endpoint.cut

    def _not_asked(self) -> Lack:
        day, (first, last) = (self._day, self._day), self._period
        if not meets(day, self._stream.asked):
            zh, en = ("、", "{} 至 {}"), (", ", "{} to {}")
            listed = [
                comma.join([text.format(*each) for each in self._stream.asked[-MOST_RANGES:]])
                for comma, text in (zh, en)
            ]
            more = "… " if len(self._stream.asked) > MOST_RANGES else ""
            (zh_reason, en_reason), advice = _TEXTS[NOT_ASKED]
            reason = (
                zh_reason.format(ranges=more + listed[0]),
                en_reason.format(
                    what="ranges are" if len(self._stream.asked) > 1 else "range is",
                    ranges=more + listed[1],
                ),
            )
            return self._made(NOT_ASKED, (reason, advice))
        names = _PERIODS.get(self._cut.value, ("", ""))
        (zh_reason, en_reason), advice = _TEXTS["period"]
        reason = (
            zh_reason.format(begin=first, end=last, period=names[0]),
            en_reason.format(begin=first, end=last, period=names[1]),
        )
        return self._made(NOT_ASKED, (reason, advice))

    def _of_kind(self, kind: str, state: State, **more: Any) -> Lack:
        """For a cause as of `harvester.report.causes`."""
        appid, name = self._stream.key
        found = KINDS[kind]
        reason = found.said((name, name), ip=ip_in(more.get("detail", "")))
        if kind == "quota" and more["until"] <= self._now:
            reason = _QUOTA_IS_BACK
        since, mine = self._since(), found.mine
        return Lack(appid, name, state.name, reason, found.advice, since=since, mine=mine, **more)

    def _made(self, state: str, texts: tuple[Text, Text], **values: object) -> Lack:
        (zh, en), advice = texts
        reason = zh.format(**values), en.format(**values)
        since = None if state in (NOT_DUE, NO_FIGURES) else self._since()
        return Lack(*self._stream.key, state, reason, advice, since=since)

    def _since(self) -> date | None:
        """From which day on it is so without interruption; None before all requested days."""
        reach = self._stream.reach
        if reach.at(self._day) is not None:
            return reach.since(self._day)
        return reach.last + ONE_DAY if self._day > reach.last else None
