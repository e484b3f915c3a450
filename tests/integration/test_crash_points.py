"""A process is killed before and after each durable step; the next ones bring every record once.

A few points of each sink are drawn.  ``HARVESTER_CRASH_POINTS`` is another number of them, or
``all``: then the first test takes every step at every time that it is taken, and the others, which
differ in what becomes of the ledger and not in the steps, draw sixty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.crash.points import (
    Case,
    Drivers,
    broken,
    clean_life,
    deaths,
    live_again,
    try_points,
)
from tests.crash.sinks import SERVERS, SINKS

ASKED = os.environ.get("HARVESTER_CRASH_POINTS", "3")
MOST = None if ASKED == "all" else int(ASKED)
SOME = 60 if MOST is None else MOST
BEFORE_A_LEDGER = ("make directory of the ledger", "make ledger")


@pytest.fixture(scope="module", params=SINKS)
def sink(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def drivers(sink: str, request: pytest.FixtureRequest) -> Iterator[Drivers]:
    """Processes that die, and the server that they use."""
    name, environment = SINKS[sink].server, {}
    if name:
        environment = SERVERS[name].environment(request.getfixturevalue(name))
    with Drivers(sink, environment) as made:
        yield made


@pytest.fixture(scope="module")
def steps(drivers: Drivers) -> dict[str, int]:
    """The durable steps of a life that nothing ends, and how often each is taken."""
    return clean_life(drivers)


def of_the_sink(steps: dict[str, int]) -> dict[str, int]:
    """Those of the sink and the ledger, without those of the tokens' store."""
    return {
        step: times
        for step, times in steps.items()
        if not any(word in step for word in ("lease", "private", *BEFORE_A_LEDGER))
    }


@pytest.mark.timeout(3600)
def test_a_kill_at_any_durable_step_loses_and_doubles_nothing(drivers: Drivers, sink: str) -> None:
    tried = try_points(drivers, MOST, sink)
    assert not tried.broken
    print(f"{sink}: {tried.points} crash points of {tried.steps} steps")


@pytest.mark.timeout(900)
def test_a_kill_of_a_run_without_a_ledger_doubles_nothing(drivers: Drivers, sink: str) -> None:
    steps = of_the_sink(clean_life(drivers, ledger=False))
    cases = [Case((death,), ledger=False) for death in deaths(steps, SOME, sink)]
    assert not broken(drivers.live(cases))


@pytest.mark.timeout(900)
def test_a_kill_before_the_ledger_was_lost_doubles_nothing(
    drivers: Drivers, steps: dict[str, int], sink: str
) -> None:
    cases = [Case((death,), loses=True) for death in deaths(of_the_sink(steps), SOME, sink)]
    assert not broken(drivers.live(cases))


@pytest.mark.timeout(900)
def test_a_ledger_that_a_dead_process_left_damaged_is_made_anew_whatever_kills_that(
    drivers: Drivers, steps: dict[str, int], sink: str
) -> None:
    chosen = deaths(of_the_sink(steps), SOME, sink)
    first = drivers.live([Case((death,), damages=True) for death in chosen])
    assert not broken(first)
    second, new = live_again(drivers, first, steps, SOME, sink)
    assert {"rename damaged ledger", "rename rebuilt ledger"} <= new
    assert not broken(second)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("sink", [name for name, row in SINKS.items() if row.tear], indirect=True)
def test_a_write_that_was_torn_in_its_midst_leaves_no_half_record(
    drivers: Drivers, steps: dict[str, int], sink: str
) -> None:
    cases = [
        Case((death,), torn=True, loses=loses)
        for death in deaths(of_the_sink(steps), SOME, sink)
        for loses in (False, True)
    ]
    assert not broken(drivers.live(cases))
