"""The accounts and interfaces that lack one day: why, since when, and what to do.

Rule: decides from what a ledger knows of one interface of one account; prints nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any, NamedTuple

from harvester.base.chinese import Titled, series
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
from harvester.report.causes import KINDS, ip_in, kind_of
from harvester.report.days import Reader, Stream, covering, cut_of, hour_of
from harvester.texts import english, say

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

_ADVICE = {
    NOT_ASKED: say("Run with a --start and --end that include this day."),
    NEVER_HARVESTED: say("Run with this accounts file."),
    NOT_DUE: say("Nothing to do: run again after that time."),
    NO_FIGURES: say("Nothing to do."),
    NEVER_DELIVERED: say("Nothing to do; --refresh requests these figures once more."),
    CANNOT_BE_ASKED: say("Run once a day, so that no further day is lost."),
}
_UNDELIVERED = {
    NEVER_DELIVERED: say("WeChat should have these figures, but 30 days of requests returned none"),
    CANNOT_BE_ASKED: say(
        "Not harvested in time: the interface answers only for periods that end yesterday"
    ),
}
_TO_DO = (NOT_ASKED, NEVER_HARVESTED, STATE_OF[MISSING].name)
"""States for which somebody must do something, whatever the reason."""
MOST_RANGES = 3
"""Ranges that were asked for, the last ones, that a reason names."""


class Lack(NamedTuple):
    """An interface of an account that lacks the day.

    endpoint: empty for an account of which nothing is known.  state: one of `STATES`.  advice: what
    to do.  code: WeChat's errcode; detail: the message of the failure or wait; rid: WeChat's
    request id.  since: the first of the days up to this one that are all in this state; None if
    nothing before it was asked for.  until: the Unix time from which it can be asked for; 0 if
    there is none.
    """

    appid: str
    endpoint: str
    state: str
    reason: str
    advice: str
    code: int | None = None
    detail: str = ""
    rid: str = ""
    since: date | None = None
    until: float = 0.0
    mine: bool = False

    @property
    def to_do(self) -> bool:
        return self.mine or self.state in _TO_DO

    def to_dict(self) -> dict[str, Any]:
        return {
            "appid": self.appid,
            "endpoint": self.endpoint,
            "state": self.state,
            "reason": english(self.reason),
            "code": self.code,
            "detail": english(self.detail),
            "since": str(self.since) if self.since else None,
            "until": rfc3339(self.until) if self.until else None,
            "what_to_do": english(self.advice),
            "rid": self.rid,
        }


async def lacks_of(reader: Reader, day: date) -> AsyncIterator[Lack | None]:
    """What lacks a day, of each interface of each account that a prepared reader shows.

    None: the day is stored.  Raises `LedgerError`.
    """
    exhausted = await reader.ledger.exhausted(reader.now)
    for appid in reader.never_harvested():
        reason = say("In the accounts file, but never harvested")
        yield Lack(appid, "", NEVER_HARVESTED, reason, _ADVICE[NEVER_HARVESTED])
    async for stream, calendar in reader.streams():
        endpoint = reader.endpoint(stream.key[1])
        of_day = _OfDay(stream, calendar, endpoint, day, reader.now)
        yield of_day.lack(exhausted.get(stream.key))


class _OfDay:
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
        state = state_on(self._stream.reach, self._day, self._endpoint, self._now)
        if state.held:
            return None
        if state.lacking:
            return self._undelivered(state, exhausted)
        if self._endpoint is not None and self._day < self._endpoint.first_day:
            begins = self._endpoint.first_day
            return self._made(NO_FIGURES, say("The interface has figures from {} on", begins))
        if state.letter == UNDUE:
            until = settles_at(self._period[1], hour_of(self._endpoint))
            reason = say(
                "WeChat does not have these figures before {:%Y-%m-%d %H:%M} (China time)",
                china(until),
            )
            return self._made(NOT_DUE, reason)._replace(until=until)
        if state.letter == UNASKED:
            return self._not_asked()
        return self._made(state.name, _UNDELIVERED[state.name])

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
        return period_of(self._day, cut_of(self._endpoint))

    def _not_asked(self) -> Lack:
        day, (first, last) = (self._day, self._day), self._period
        if meets(day, self._stream.asked):
            period = (
                "Never asked for: the range does not contain the whole week {} to {}"
                if cut_of(self._endpoint) is WindowKind.WEEK
                else "Never asked for: the range does not contain the whole month {} to {}"
            )
            return self._made(NOT_ASKED, say(period, first, last))
        ranges = series(say("{} to {}", *each) for each in self._stream.asked[-MOST_RANGES:])
        if len(self._stream.asked) > MOST_RANGES:
            ranges = say("… {}", ranges)
        is_one = len(self._stream.asked) == 1
        asked = (
            "Never asked for: the range is {}" if is_one else "Never asked for: the ranges are {}"
        )
        return self._made(NOT_ASKED, say(asked, ranges))

    def _of_kind(self, kind: str, state: State, **more: Any) -> Lack:
        appid, name = self._stream.key
        found = KINDS[kind]
        reason, advice = found.said(name, ip=ip_in(more.get("detail", ""))), Titled(*found.advice)
        if kind == "quota" and more["until"] <= self._now:
            reason = say("The quota has been reset: run again")
        since, mine = self._since(), found.mine
        return Lack(appid, name, state.name, reason, advice, since=since, mine=mine, **more)

    def _made(self, state: str, reason: str) -> Lack:
        since = None if state in (NOT_DUE, NO_FIGURES) else self._since()
        return Lack(*self._stream.key, state, reason, _ADVICE[state], since=since)

    def _since(self) -> date | None:
        """From which day on it is so without interruption; None before all requested days."""
        reach = self._stream.reach
        if reach.at(self._day) is not None:
            return reach.since(self._day)
        return reach.last + ONE_DAY if self._day > reach.last else None
