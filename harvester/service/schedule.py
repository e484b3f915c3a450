"""When the daily service harvests next.

Rule: pure; takes the time as an argument, reads no clock and never waits.

A day's harvest is due at a stated time in China, and at once if the service was down then.  After
it the service runs again when a run reported that figures or a quota will be available.  From
midnight in China to the stated time it does not: the new day's quota is reserved for the newest
figures.
"""

from __future__ import annotations

from datetime import date, datetime, time

from harvester.base.dates import CHINA, ONE_DAY, china, next_midnight
from harvester.service.state import State

ROUND = 3600.0
"""The most seconds of one run: then the next one goes on, with what has changed meanwhile."""
PAUSE = 60.0
"""The least seconds between two runs of which the first one ended by itself."""
RETRY, RETRY_AT_MOST = 300.0, 3600.0
"""Seconds after a run that stopped until the next one: twice as many each time."""
AGAIN = 3600.0
"""The least seconds until windows that failed after all attempts are asked for again."""
QUIET = 300.0
"""Seconds after which a morning in which nothing was stored is concluded."""
AHEAD = 3600.0
"""The most seconds by which the end of a run may be in the future; beyond that the clock was
wrong."""


def moment(day: date, at: time) -> float:
    """The Unix time at which a day's harvest is due."""
    return datetime.combine(day, at, CHINA).timestamp()


def due_day(now: float, at: time) -> date:
    """The day in China whose harvest was due last."""
    today = china(now).date()
    return today if now >= moment(today, at) else today - ONE_DAY


def following(now: float, at: time) -> float:
    """The Unix time at which the next day's harvest is due."""
    return moment(due_day(now, at) + ONE_DAY, at)


def is_made(state: State, now: float, at: time) -> bool:
    """Whether the harvest that was due last was made.

    Before the first one, a harvest due before today was not missed: it was not requested.
    """
    due = due_day(now, at)
    if state.day is None:
        return due < china(now).date()
    return state.day >= due and state.ended <= now + AHEAD


def next_run(state: State, now: float, at: time) -> float:
    """The Unix time of the next run; now, or before it, if that is due."""
    if not is_made(state, now, at):
        return now
    if state.until:
        due = due_day(now, at)
        midnight = next_midnight(moment(due, at))
        if max(state.until, now) < midnight:
            return state.until
    return following(now, at)


def latest_end(now: float, at: time) -> float:
    """The Unix time by which a run that begins now is to end, so that the next one continues."""
    return min(now + ROUND, following(now, at), next_midnight(now))


def again_after(now: float, at: time) -> float:
    """Seconds until what was tried in vain is asked for again: twice as many each time."""
    return max(AGAIN, now - moment(due_day(now, at), at))


def retry_after(failures: int) -> float:
    """Seconds until the next run after so many in a row that were stopped by an error."""
    return float(min(RETRY * 2 ** (failures - 1), RETRY_AT_MOST))
