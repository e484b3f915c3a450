"""One job, killed at random moments, again and again.

Rule: after each kill every record that the ledger calls stored is there; at the end every record,
once.
"""

from __future__ import annotations

import time
from random import Random
from typing import Any, NamedTuple

from tests.chaos.crash import job
from tests.chaos.crash.points import KILLED, Case, Driver, Scene, Stage

LONGEST = 1.3
"""A process lives at the most so much longer than a day's run takes."""


class Killed(NamedTuple):
    """kills: how often; windows: how many the job has."""

    kills: int
    windows: int
    broken: list[str]


def kill_often(driver: Driver, stage: Stage, kills: int, draw: Random) -> Killed:
    """Kill the job so often, then let it come to its end, and compare with the truth."""
    most = LONGEST * _seconds_of_a_day(driver, stage)
    with driver.scene(stage, Case(())) as scene:
        scene.begin()
        broken: list[str] = []
        for number in range(1, kills + 1):
            after = draw.uniform(0.0, most)
            status = _one(driver, scene, life="toil", after=after)
            if status != KILLED:
                broken.append(f"kill {number}: the process ended {status} by itself")
            broken += [f"kill {number}: {text}" for text in _looked(driver, scene)]
            if broken:
                break
        else:
            broken += _lived(driver, scene)
    return Killed(number, sum(1 for _ in job.windows(len(job.DAYS) - 1)), broken)


def _seconds_of_a_day(driver: Driver, stage: Stage) -> float:
    with driver.scene(stage, Case(())) as scene:
        scene.begin()
        started = time.monotonic()
        broken = _lived(driver, scene)
        assert not broken, broken
        return (time.monotonic() - started) / len(job.DAYS)


def _looked(driver: Driver, scene: Scene) -> list[str]:
    status = _one(driver, scene, life="look")
    return [f"verify ended {status}"] if status else scene.end["broken"][:3]


def _lived(driver: Driver, scene: Scene) -> list[str]:
    status = _one(driver, scene)
    return [f"the last process ended {status}"] if status else scene.end["broken"][:3]


def _one(driver: Driver, scene: Scene, **more: Any) -> int:
    return driver.one({**scene.told_to_a_process(None), **more})
