"""When the daily service harvests next, as a table."""

from __future__ import annotations

from datetime import date, time

import pytest

from harvester.service.mail import Message
from harvester.service.schedule import (
    due_day,
    latest_end,
    moment,
    next_run,
    retry_after,
)
from harvester.service.state import OF_RUNS, Alert, State, Subject
from tests.support import at

AT = time(8, 5)
FIRST, SECOND, THIRD = (date(2026, 3, day) for day in (1, 2, 3))
EIGHT_FIVE = 8 + 5 / 60


def on(day: date, hour: float) -> float:
    return at(str(day), hour)


NEVER = State()
MADE = State(SECOND, on(SECOND, 8.2))


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        (NEVER, on(SECOND, 3), on(SECOND, EIGHT_FIVE)),
        (NEVER, on(SECOND, EIGHT_FIVE), on(SECOND, EIGHT_FIVE)),
        (NEVER, on(SECOND, 15), on(SECOND, 15)),
        (MADE, on(SECOND, 8.3), on(THIRD, EIGHT_FIVE)),
        (MADE, on(THIRD, 8), on(THIRD, EIGHT_FIVE)),
        (MADE, on(THIRD, EIGHT_FIVE), on(THIRD, EIGHT_FIVE)),
        (MADE, on(THIRD, 23), on(THIRD, 23)),
        (State(FIRST, on(FIRST, 8.2)), on(THIRD, 2), on(THIRD, 2)),  # down then, at once
        (State(SECOND, on(SECOND, 8.2), on(SECOND, 9)), on(SECOND, 8.3), on(SECOND, 9)),
        (State(SECOND, on(SECOND, 8.2), on(SECOND, 9)), on(SECOND, 12), on(SECOND, 9)),
        # from midnight on the new day's quota is for the newest figures
        (State(SECOND, on(SECOND, 8.2), on(THIRD, 0.1)), on(SECOND, 9), on(THIRD, EIGHT_FIVE)),
        (State(SECOND, on(SECOND, 8.2), on(SECOND, 9)), on(THIRD, 1), on(THIRD, EIGHT_FIVE)),
        # a clock that was a day ahead
        (State(THIRD, on(THIRD, 9)), on(SECOND, 12), on(SECOND, 12)),
        # a clock that was set back over the hour
        (MADE, on(SECOND, 8), on(THIRD, EIGHT_FIVE) - 86_400),
    ],
)
def test_the_next_run(state: State, now: float, expected: float) -> None:
    assert next_run(state, now, AT) == pytest.approx(expected)


def test_the_day_that_is_due() -> None:
    assert due_day(on(SECOND, 8), AT) == FIRST
    assert due_day(moment(SECOND, AT), AT) == SECOND


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (on(SECOND, 12), on(SECOND, 13)),
        (on(SECOND, 23.5), on(SECOND, 24)),
        (on(SECOND, 7.5), on(SECOND, EIGHT_FIVE)),
    ],
)
def test_a_run_ends_after_an_hour_at_midnight_and_at_the_next_harvest(
    now: float, expected: float
) -> None:
    assert latest_end(now, AT) == pytest.approx(expected)


def test_a_run_that_stops_is_tried_again_less_and_less_often() -> None:
    assert [retry_after(number) for number in (1, 2, 3, 4, 5, 99)] == [
        300, 600, 1200, 2400, 3600, 3600,
    ]  # fmt: skip


def test_what_is_kept_comes_back_as_it_was() -> None:
    mail = (Message("alert 7", "env:A", "title", "body", 3.5, 4.5, 2),)
    alerts = {
        Alert("ip", "203.0.113.7"): (Subject("wx1"), Subject("wx2")),
        Alert("permission"): (Subject("wx1", "getusersummary"),),
        Alert(OF_RUNS, "host", "SinkError"): (Subject(said="the disk is full"),),
    }
    state = State(SECOND, 1.5, 2.5, FIRST, alerts, mail, {"env:A": 3.5}, 7)
    assert State.read(state.write()) == state
    assert State.read(State().write()) == State() == State.read("")
