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
    last_settled_day,
    period_of,
    rfc3339,
    settles_at,
)
from harvester.events import reason_of
from harvester.ledger.base import Exhausted
from harvester.ledger.coverage import EMPTY, FINAL, NEVER, OPEN, Calendar, OpenWindow
from harvester.ledger.reach import GONE, UNASKED
from harvester.ledger.reach import LATE as IS_LATE
from harvester.model import Endpoint
from harvester.report.causes import KINDS, Text, ip_in, kind_of
from harvester.report.days import Reader, Stream, covering
from harvester.texts import english

FAILED, WAITING, LATE, MISSING = "failed", "waiting", "late", "missing"
NOT_ASKED, NEVER_HARVESTED = "not_asked", "never_harvested"
NOT_DUE, NO_FIGURES = "not_due", "no_figures"
NEVER_DELIVERED, CANNOT_BE_ASKED = "never_delivered", "cannot_be_asked"
UNDELIVERED = (FAILED, LATE, MISSING, WAITING)
"""The states of a day that was asked for and lacks figures, as `harvester status` counts them."""
LACKING = (FAILED, LATE, MISSING, NOT_ASKED, NEVER_HARVESTED, WAITING)
"""The states of a day that WeChat can give."""
STATES = (*LACKING, NOT_DUE, NEVER_DELIVERED, CANNOT_BE_ASKED, NO_FIGURES)
"""All states, also of a day that WeChat does not deliver yet, or ever."""
OTHERS = tuple(each for each in STATES if each not in UNDELIVERED)

_STORED = (FINAL, EMPTY, OPEN)
_MADE = {NEVER: NEVER_DELIVERED, GONE: CANNOT_BE_ASKED}
_NOTHING: Text = ("不用处理。", "Nothing to do.")
_TEXTS: Mapping[str, tuple[Text, Text]] = {
    NOT_ASKED: (
        (
            "没有要求采集过这一天：采集范围是 {begin} 至 {end}",
            "Never asked for: the range is {begin} to {end}",
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
_TO_DO = (NOT_ASKED, NEVER_HARVESTED, MISSING)
"""States for which somebody must do something, whatever the reason."""
_QUOTA_IS_BACK: Text = ("限额已恢复，运行即可", "The quota is back: run again")
_PERIODS = {"week": ("周", "week"), "month": ("月", "month")}


class Lack(NamedTuple):
    """An interface of an account that lacks the day.

    endpoint: empty for an account of which nothing is known.  state: one of the names of this
    module.  reason, advice: in Chinese and in English.  code: WeChat's errcode; detail: the message
    of the failure or wait; rid: WeChat's request id.  since: the first of the days up to this one
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
        asked = reader.asked.get(stream.key, stream.days)
        of_day = _OfDay(stream, calendar, endpoint, asked, day, reader.now)
        yield of_day.lack(exhausted.get(stream.key))


class _OfDay:
    """A day of one interface of one account."""

    def __init__(
        self,
        stream: Stream,
        calendar: Calendar,
        endpoint: Endpoint | None,
        asked: Days,
        day: date,
        now: float,
    ) -> None:
        self._stream, self._calendar, self._endpoint = stream, calendar, endpoint
        self._asked, self._day, self._now = asked, day, now

    def lack(self, exhausted: Exhausted | None) -> Lack | None:
        """Why it is missing; None if it is stored."""
        letter = self._stream.reach.at(self._day)
        window = covering(self._calendar, self._day)
        if letter in _STORED:
            return None
        if letter in _MADE:
            return self._made(_MADE[letter], _TEXTS[_MADE[letter]])
        if window is not None:
            return self._of_window(window)
        if letter == IS_LATE:  # stored as final before it was known that it must be there
            return self._of_kind("late", LATE)
        if (never := self._impossible()) is not None:
            return never
        if letter is None or letter == UNASKED:
            return self._not_asked()
        if exhausted is not None:
            return self._of_kind("quota", MISSING, until=exhausted.until)
        return self._of_kind("missing", MISSING)

    def _of_window(self, window: OpenWindow) -> Lack:
        kind = kind_of(window)
        state = LATE if window.stored else window.state
        return self._of_kind(
            kind,
            state,
            code=window.code,
            detail=reason_of(self._stream.key[0], window.detail),
            rid=window.rid,
            until=window.due if state != FAILED else 0.0,
        )

    def _impossible(self) -> Lack | None:
        """Whether WeChat does not have the day, or not yet."""
        endpoint = self._endpoint
        if endpoint is None:
            return None
        if self._day < endpoint.first_day:
            return self._made(NO_FIGURES, _TEXTS[NO_FIGURES], begin=endpoint.first_day)
        last = self._period[1]
        if last <= last_settled_day(self._now, endpoint.settled_hour):
            return None
        begins = settles_at(last, endpoint.settled_hour)
        made = self._made(NOT_DUE, _TEXTS[NOT_DUE], time=f"{china(begins):%Y-%m-%d %H:%M}")
        return made._replace(until=begins)

    @property
    def _period(self) -> Days:
        """The day, or the week or the month of it that WeChat gives as a whole."""
        if self._cut in (WindowKind.WEEK, WindowKind.MONTH):
            return period_of(self._day, self._cut)
        return self._day, self._day

    @property
    def _cut(self) -> WindowKind:
        return WindowKind.DAYS if self._endpoint is None else self._endpoint.cut

    def _not_asked(self) -> Lack:
        begin, end = self._asked
        if not begin <= self._day <= end:
            return self._made(NOT_ASKED, _TEXTS[NOT_ASKED], begin=begin, end=end)
        (first, last), names = self._period, _PERIODS.get(self._cut.value, ("", ""))
        (zh, en), advice = _TEXTS["period"]
        reason = (
            zh.format(begin=first, end=last, period=names[0]),
            en.format(begin=first, end=last, period=names[1]),
        )
        return self._made(NOT_ASKED, (reason, advice))

    def _of_kind(self, kind: str, state: str, **more: Any) -> Lack:
        """For a cause as of `harvester.report.causes`."""
        appid, name = self._stream.key
        values = {"ip": ip_in(more.get("detail", "")), "interfaces": name}
        zh, en = (" ".join(text.format(**values).split()) for text in KINDS[kind].title)
        reason = zh, en
        if kind == "quota" and more["until"] <= self._now:
            reason = _QUOTA_IS_BACK
        advice, mine = KINDS[kind].advice, KINDS[kind].mine
        return Lack(appid, name, state, reason, advice, since=self._since(), mine=mine, **more)

    def _made(self, state: str, texts: tuple[Text, Text], **values: object) -> Lack:
        (zh, en), advice = texts
        reason = zh.format(**values), en.format(**values)
        since = None if state in (NOT_DUE, NO_FIGURES) else self._since()
        return Lack(*self._stream.key, state, reason, advice, since=since)

    def _since(self) -> date | None:
        """From which day on it is so without interruption; None before all requested days."""
        begin, end = self._stream.days
        if self._stream.reach.at(self._day) is not None:
            return self._stream.reach.since(self._day)
        if self._day > end:
            return end + ONE_DAY
        return max(self._period[0], begin) if begin <= self._day else None
