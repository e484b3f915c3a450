"""When the daily service harvests next.

Rule: pure; takes the time as an argument, reads no clock and never waits.

A day's harvest is due at a stated time in China, and at once if the service was down then.  After
it the service returns when a run said that figures or a quota will be there.  From midnight in
China to the stated time it does not return: the new day's quota is first for the newest figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from harvester.base import codec
from harvester.base.dates import CHINA, ONE_DAY, china, next_midnight

ROUND = 3600.0
"""The most seconds of one run: then the next one goes on, with what has changed meanwhile."""
PAUSE = 60.0
"""The least seconds between two runs of which the first one ended by itself."""
RETRY, RETRY_AT_MOST = 300.0, 3600.0
"""Seconds after a run that stopped until the next one: twice as many each time."""
AGAIN = 3600.0
"""Seconds until windows that failed after all attempts are asked for again."""
AHEAD = 3600.0
"""Seconds by which the end of a run may lie in the future: more, and the clock was wrong then."""


@dataclass(frozen=True)
class Progress:
    """What the service keeps from run to run, in the ledger.

    day: the last day in China whose harvest was made, None before the first one.  ended: the Unix
    time of the last run's end.  until: from when the next run can get more, 0 if it cannot.
    pinged: the last day that was reported as good.  causes: what was alerted and still is: the
    accounts (with an interface, if it is about that) of each cause.
    """

    day: date | None = None
    ended: float = 0.0
    until: float = 0.0
    pinged: date | None = None
    causes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Progress:
        """From the text of `write`, or an empty one."""
        if not text:
            return cls()
        values = codec.parse(text.encode())
        return cls(
            day=_day(values["day"]),
            ended=float(values["ended"]),
            until=float(values["until"]),
            pinged=_day(values["pinged"]),
            causes={name: tuple(whom) for name, whom in values["causes"].items()},
        )

    def write(self) -> str:
        """As text for the ledger."""
        return codec.encode(
            {
                "day": _text(self.day),
                "ended": self.ended,
                "until": self.until,
                "pinged": _text(self.pinged),
                "causes": {name: list(whom) for name, whom in self.causes.items()},
            }
        ).decode()


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if text else None


def _text(day: date | None) -> str:
    return "" if day is None else day.isoformat()


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


def is_made(progress: Progress, now: float, at: time) -> bool:
    """Whether the harvest that was due last was made.

    Before the first one, what was due before today is not missed: nobody has asked for it.
    """
    due = due_day(now, at)
    if progress.day is None:
        return due < china(now).date()
    return progress.day >= due and progress.ended <= now + AHEAD


def next_run(progress: Progress, now: float, at: time) -> float:
    """The Unix time of the next run; now, or before it, if that is due."""
    if not is_made(progress, now, at):
        return now
    if progress.until:
        due = due_day(now, at)
        midnight = next_midnight(moment(due, at))
        if max(progress.until, now) < midnight:
            return progress.until
    return following(now, at)


def latest_end(now: float, at: time) -> float:
    """The Unix time by which a run that begins now is to end, so that the next one goes on."""
    return min(now + ROUND, following(now, at), next_midnight(now))


def retry_after(failures: int) -> float:
    """Seconds until the next run after so many in a row that were stopped by an error."""
    return float(min(RETRY * 2 ** (failures - 1), RETRY_AT_MOST))
