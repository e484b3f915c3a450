"""A process is killed before and after each durable step; the next ones bring every record once.

``HARVESTER_CRASH_POINTS=all`` takes every step at every time that it is taken; a number, so many of
its times.
"""

from __future__ import annotations

import os

import pytest

from tests.crash.points import Case, Death, Drivers, Outcome, deaths
from tests.crash.sinks import SINKS

ASKED = os.environ.get("HARVESTER_CRASH_POINTS", "1")
TEARS = ("write segment", "fsync segment", "write rewritten segment", "commit ledger")
EACH = None if ASKED == "all" else int(ASKED)


def broken(lived: list[tuple[Case, Outcome]]) -> list[str]:
    return [f"{case}: {sentence}" for case, outcome in lived for sentence in outcome.broken[:3]]


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest) -> str:
    SINKS[request.param].needs()
    return str(request.param)


@pytest.mark.timeout(900)
def test_a_kill_at_any_durable_step_loses_and_doubles_nothing(sink: str) -> None:
    with Drivers(sink) as drivers:
        [(_, clean)] = drivers.live([Case(())])
        assert not clean.broken
        first = drivers.live([Case((death,)) for death in deaths(clean.steps, EACH, sink)])
        assert not broken(first)
        # Steps that are taken only by a process that finds what a dead one has left.
        new: dict[str, Case] = {}
        for case, outcome in first:
            for step in outcome.steps.keys() - clean.steps.keys():
                new.setdefault(step, case)
        second = drivers.live(
            [
                Case((*case.deaths, Death(step, 1, done)))
                for step, case in sorted(new.items())
                for done in (False, True)
            ]
        )
        assert not broken(second)
        print(f"{sink}: {len(first) + len(second)} crash points of {len(clean.steps) + len(new)}"
              " steps")  # fmt: skip


def test_a_kill_of_a_run_without_a_ledger_or_before_it_was_lost_doubles_nothing(sink: str) -> None:
    with Drivers(sink) as drivers:
        [(_, clean)] = drivers.live([Case((), ledger=False)])
        assert not clean.broken
        [(_, other)] = drivers.live([Case(())])
        cases = [
            Case((death,), ledger=ledger, loses=ledger)
            for ledger, steps in ((False, clean.steps), (True, other.steps))
            for death in deaths(steps, EACH, sink)
            if "lease" not in death.step and "private" not in death.step
        ]
        assert not broken(drivers.live(cases))


@pytest.mark.parametrize("sink", [name for name, row in SINKS.items() if row.tear], indirect=True)
def test_a_write_that_was_torn_in_its_midst_leaves_no_half_record(sink: str) -> None:
    with Drivers(sink) as drivers:
        [(_, clean)] = drivers.live([Case(())])
        cases = [
            Case((death,), torn=True, loses=loses)
            for death in deaths(clean.steps, EACH, sink)
            if death.step in TEARS
            for loses in (False, True)
        ]
        assert not broken(drivers.live(cases))
