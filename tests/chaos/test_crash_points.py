"""A process is killed before and after durable steps, and more is lost than the process.

Kills with nothing else lost: ``python -m tests.chaos.crash``.  One step of each sink is drawn; with
``HARVESTER_CRASH_POINTS`` half of that number, or sixty for ``all``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.chaos.crash.points import (
    Case,
    Drivers,
    Stage,
    broken,
    clean_life,
    deaths,
    live_again,
)
from tests.chaos.crash.sinks import SERVERS, SINKS

pytestmark = pytest.mark.thorough

ASKED = os.environ.get("HARVESTER_CRASH_POINTS", "2")
MOST = None if ASKED == "all" else int(ASKED)
SOME = 60 if MOST is None else (MOST + 1) // 2
BEFORE_A_LEDGER = ("make directory of the ledger", "make ledger")


@pytest.fixture(scope="module")
def drivers() -> Iterator[Drivers]:
    """Processes that die."""
    with Drivers() as made:
        yield made


@pytest.fixture(scope="module", params=SINKS)
def stage(request: pytest.FixtureRequest) -> Stage:
    """A sink, and its server if it needs one."""
    name = SINKS[request.param].server
    told = SERVERS[name].environment(request.getfixturevalue(name)) if name else {}
    return Stage(request.param, told)


@pytest.fixture(scope="module")
def steps(drivers: Drivers, stage: Stage) -> dict[str, int]:
    """The durable steps of a life that nothing ends, and how often each is taken."""
    return clean_life(drivers, stage)


def of_the_sink(steps: dict[str, int]) -> dict[str, int]:
    """Those of the sink and the ledger, without those of the tokens' store."""
    return {
        step: times
        for step, times in steps.items()
        if not any(word in step for word in ("lease", "private", *BEFORE_A_LEDGER))
    }


@pytest.mark.sampled
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["no ledger", "lost ledger", "torn"])
def test_a_kill_beside_which_more_is_lost_leaves_no_record_doubled_or_halved(
    drivers: Drivers, stage: Stage, steps: dict[str, int], what: str
) -> None:
    ledger = what != "no ledger"
    taken = of_the_sink(steps if ledger else clean_life(drivers, stage, ledger=False))
    torn = what == "torn"
    cases = [
        Case((death,), torn, ledger, loses=what == "lost ledger" or (torn and bool(number % 2)))
        for number, death in enumerate(deaths(taken, SOME, f"{what} {stage.sink}"))
    ]
    assert not broken(drivers.live(stage, cases))


@pytest.mark.sampled
@pytest.mark.timeout(900)
def test_a_ledger_that_a_dead_process_left_damaged_is_made_anew_whatever_kills_that(
    drivers: Drivers, stage: Stage, steps: dict[str, int]
) -> None:
    chosen = deaths(of_the_sink(steps), SOME, f"damaged {stage.sink}")
    first = drivers.live(stage, [Case((death,), damages=True) for death in chosen])
    assert not broken(first)
    second, new = live_again(drivers, stage, first, steps, SOME)
    assert {"link former ledger", "rename rebuilt ledger"} <= new
    assert not broken(second)
