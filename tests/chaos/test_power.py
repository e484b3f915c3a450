"""The power is cut at each durable step; what was not synced is lost, kept, or partly lost.

``HARVESTER_CRASH_POINTS`` is how many steps of each sink are drawn (2), or ``all``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.crash.points import Case, Death, Drivers, Stage, broken, clean_life, deaths
from tests.chaos.crash.power import library
from tests.chaos.crash.sinks import FILES
from tests.chaos.test_crash_points import MOST

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    """Processes whose power can be cut."""
    with Drivers(library(tmp_path_factory.mktemp("power"))) as made:
        yield made


@pytest.mark.sampled
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sink", FILES)
def test_a_power_cut_at_any_durable_step_loses_and_doubles_nothing(
    drivers: Drivers, sink: str
) -> None:
    stage = Stage(sink)
    chosen = deaths(clean_life(drivers, stage), MOST, f"power {sink}")
    cases = [
        Case((death,), power=number * by_half)
        for number, death in enumerate(chosen, 1)
        for by_half in ((False, True) if MOST is None else (number % 2 == 0,))
    ]
    assert not broken(drivers.live(stage, cases))


@pytest.mark.parametrize("careless", ["_sync_data", "sync_directory"])
def test_a_sync_that_is_left_out_is_found(drivers: Drivers, careless: str) -> None:
    cases = [
        Case((Death("commit ledger", number, True),), power=0, careless=(careless,))
        for number in (2, 9, 16)
    ]
    assert broken(drivers.live(Stage("jsonl"), cases))
