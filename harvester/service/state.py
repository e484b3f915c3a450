"""The state of the daily service: a row of the ledger, replaced by compare and swap.

Rule: a change is decided from the state that it replaces.  Services that share a ledger need no
other agreement: of two that decide at the same time one has replaced the state, and the other one
reads that and decides again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, NamedTuple

from harvester.base import codec
from harvester.errors import RunError
from harvester.ledger import Ledger
from harvester.service.mail import Mail, Message, Sent, forgotten

TURNS = 20
"""Attempts at replacing a state that other processes change, too."""
OF_RUNS: Final = "run"
"""The kind of alert that is about no account: runs that end with an error."""


class Alert(NamedTuple):
    """What a person was alerted to; as text, in the ledger: its parts with a space between them.

    kind: of a cause.  about: the address, the day, or (`OF_RUNS`) the machine.  error: of runs, its
    kind.
    """

    kind: str
    about: str = ""
    error: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self))


class Subject(NamedTuple):
    """What an alert concerns: an account, an interface of it, or (`OF_RUNS`) what an error said."""

    appid: str = ""
    interface: str = ""
    said: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self))


Alerts = Mapping[Alert, tuple[Subject, ...]]


def parsed(texts: Mapping[str, Iterable[str]]) -> Alerts:
    """The alerts from their text."""

    def subject(alert: Alert, text: str) -> Subject:
        return Subject(said=text) if alert.kind == OF_RUNS else Subject(*text.split(" ", 1))

    named = {Alert(*text.split(" ", 2)): whom for text, whom in texts.items()}
    return {alert: tuple(subject(alert, each) for each in whom) for alert, whom in named.items()}


def texts_of(alerts: Alerts) -> dict[str, list[str]]:
    """The alerts as text."""
    return {str(alert): [*map(str, whom)] for alert, whom in alerts.items()}


@dataclass(frozen=True)
class State:
    """What the service keeps from run to run, in the ledger.

    day: the last day in China whose harvest was made, None before the first one.  ended: the Unix
    time of the last run's end.  until: from when the next run can get more, 0 if it cannot.
    pinged: the last day that was reported as good.  alerts: those that are not over.
    mail: what is to be sent.  sent: when each target had its last message.
    number: one more each time that it is replaced, so that no two states are the same.
    """

    day: date | None = None
    ended: float = 0.0
    until: float = 0.0
    pinged: date | None = None
    alerts: Alerts = field(default_factory=dict)
    mail: Mail = ()
    sent: Sent = field(default_factory=dict)
    number: int = 0

    @classmethod
    def read(cls, text: str) -> State:
        """From the text of `write`, or an empty one."""
        if not text:
            return cls()
        values = codec.parse(text.encode())
        return cls(
            day=_day(values["day"]),
            ended=float(values["ended"]),
            until=float(values["until"]),
            pinged=_day(values["pinged"]),
            alerts=parsed(values["causes"]),
            mail=tuple([Message(*each) for each in values["mail"]]),
            sent={target: float(moment) for target, moment in values["sent"].items()},
            number=int(values["number"]),
        )

    def write(self) -> str:
        return codec.encode(
            {
                "day": _text(self.day),
                "ended": self.ended,
                "until": self.until,
                "pinged": _text(self.pinged),
                "causes": texts_of(self.alerts),
                "mail": [list(each) for each in self.mail],
                "sent": dict(self.sent),
                "number": self.number,
            }
        ).decode()


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if text else None


def _text(day: date | None) -> str:
    return "" if day is None else day.isoformat()


Change = Callable[[State], Awaitable[State]]
"""The state to store instead of a given one; the same object for no change."""


async def update(ledger: Ledger, change: Change) -> State:
    """Replace the state in an entered ledger; returns what is stored then.

    If another process replaces it first, it is read and changed again.  Raises `LedgerError`, and
    `RunError` if that happens repeatedly.
    """
    for _ in range(TURNS):
        text = await ledger.service_state()
        before = State.read(text)
        after = await change(before)
        if after == before:
            return before
        after = replace(after, number=before.number + 1)
        if await ledger.swap_state(text, after.write()):
            return after
    raise RunError("other processes change the state of the service all the time")


async def forget(
    ledger: Ledger,
    appid: str,
    names: Collection[str],
    words: Collection[str],
) -> None:
    """Remove an account from the state, or interfaces of it.

    names: these interfaces, none for the whole account; words: what messages call them.
    """

    def left(each: Subject) -> Subject | None:
        if each.appid == appid and (not names or each.interface in names):
            return None
        return each if names else each._replace(said=each.said.replace(appid, "…"))

    async def change(state: State) -> State:
        alerts = {
            alert: tuple(filter(None, map(left, whom))) for alert, whom in state.alerts.items()
        }
        alerts = {alert: whom for alert, whom in alerts.items() if whom}
        return replace(state, alerts=alerts, mail=forgotten(state.mail, appid, [*names, *words]))

    await update(ledger, change)


class StateRow:
    """The state as this process has read or stored it last.

    opened: returns the ledger, not entered.  renewed: set when the state has changed.
    """

    def __init__(self, opened: Callable[[], Ledger]) -> None:
        self.opened = opened
        self.state = State()
        self.renewed = asyncio.Event()
        self._one = asyncio.Lock()  # what was stored first is kept first

    async def update(self, ledger: Ledger, change: Change) -> bool:
        """Replace it as `update` does; returns whether it is another one than before."""
        async with self._one:
            before, self.state = self.state, await update(ledger, change)
        if self.state != before:
            self.renewed.set()
        return self.state != before
