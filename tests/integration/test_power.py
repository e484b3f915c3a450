"""The power is cut at each durable step; what was not synced is lost, or not, or by half.

``HARVESTER_CRASH_POINTS`` as for `test_crash_points`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.points import Case, Death, Drivers, broken, clean_life, deaths
from tests.crash.power import library
from tests.crash.sinks import SINKS
from tests.integration.test_crash_points import MOST

FILES = [name for name, row in SINKS.items() if row.on_disk]


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("power"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sink", FILES)
@pytest.mark.parametrize("half", [False, True])
def test_a_power_cut_at_any_durable_step_loses_and_doubles_nothing(
    sink: str, preloaded: Path, half: bool
) -> None:
    with Drivers(sink, preload=preloaded) as drivers:
        chosen = deaths(clean_life(drivers), MOST, f"{sink} {half}")
        cases = [Case((death,), power=n * half) for n, death in enumerate(chosen, 1)]
        assert not broken(drivers.live(cases))


@pytest.mark.parametrize("careless", ["_sync_data", "sync_directory"])
def test_a_sync_that_is_left_out_is_found(preloaded: Path, careless: str) -> None:
    with Drivers("jsonl", preload=preloaded) as drivers:
        cases = [
            Case((Death("commit ledger", number, True),), power=0, careless=(careless,))
            for number in (2, 9, 16)
        ]
        assert broken(drivers.live(cases))
