"""Figures that are late, and figures that still grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.fast import harvest_at
from tests.scenarios.server import APPID, Call, Server, rows
from tests.support import stored

pytestmark = pytest.mark.thorough

DAY, YESTERDAY = "2026-03-11", "2026-03-10"


class Late:
    """A WeChat that has no row for yesterday until it is told."""

    def __init__(self) -> None:
        self.there = False

    def __call__(self, call: Call) -> dict[str, Any]:
        found = rows(call)
        kept = [row for row in found["list"] if self.there or row["ref_date"] != YESTERDAY]
        return {"list": kept}


def asked(server: Server, out: Path, name: str, *more: str, start: str = YESTERDAY) -> list[Any]:
    return [
        "run", name, "--appid", APPID, "--start", start, "--end", YESTERDAY, "--base-url",
        server.url, "--rate", "200/s", "--out", out, "--json", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("start", [YESTERDAY, "2026-02-20"])
@pytest.mark.parametrize(("day", "hour"), [(DAY, 15.0), ("2026-03-12", 9.0), ("2026-03-13", 9.0)])
def test_a_row_that_appears_after_noon_or_days_later_is_stored(
    day: str, hour: float, start: str, tmp_path: Path
) -> None:
    with Server(Late()) as server:
        ended = harvest_at(DAY, 12.1, *asked(server, tmp_path, "getusersummary", start=start))
        assert (ended.status, ended.report["provisional"]) == (0, 1), ended.err
        server.answer.there = True  # type: ignore[attr-defined]
        ended = harvest_at(day, hour, *asked(server, tmp_path, "getusersummary", start=start))
    assert (ended.status, ended.report["requests"]) == (0, 1), ended.err
    found = [row["ref_date"] for row in stored(tmp_path, "getusersummary")]
    assert len(found) == len(set(found))
    assert YESTERDAY in found


def test_a_day_that_stays_empty_is_final_after_three_days(tmp_path: Path) -> None:
    requests = []
    with Server(Late()) as server:
        for day in (DAY, "2026-03-12", "2026-03-13", "2026-03-14", "2026-03-15"):
            ended = harvest_at(day, 9, *asked(server, tmp_path, "getusersummary"))
            requests.append(ended.report["requests"])
    assert requests == [1, 1, 1, 1, 0]


def test_an_interface_with_a_row_for_every_day_waits_for_the_last_one(tmp_path: Path) -> None:
    with Server(Late()) as server:
        ended = harvest_at(
            DAY, 12.1, *asked(server, tmp_path, "getusercumulate", start="2026-03-05")
        )
        assert (ended.status, ended.report["state"]) == (3, "waiting"), ended.err
        server.answer.there = True  # type: ignore[attr-defined]
        ended = harvest_at(
            DAY, 12.2, *asked(server, tmp_path, "getusercumulate", start="2026-03-05")
        )
    assert ended.status == 0, ended.err
    found = [row["ref_date"] for row in stored(tmp_path, "getusercumulate")]
    assert (len(found), len(set(found))) == (6, 6)


def test_figures_that_grow_are_not_asked_for_again_within_hours(tmp_path: Path) -> None:
    requests = []
    with Server() as server:
        for hour, more in ((9.0, ()), (9.1, ()), (14.9, ()), (15.1, ()), (15.2, ("--refresh",))):
            arguments = asked(server, tmp_path, "getarticletotaldetail", *more, start="2026-03-01")
            ended = harvest_at(DAY, hour, *arguments)
            assert ended.status == 0, ended.err
            requests.append(ended.report["requests"])
    assert requests == [10, 0, 0, 10, 10]


def test_what_answered_late_may_be_asked_for_by_any_run(tmp_path: Path) -> None:
    with Server(lambda call: {**rows(call), "is_delay": True}) as server:
        for hour in (9.0, 9.01):
            ended = harvest_at(DAY, hour, *asked(server, tmp_path, "getarticleread"))
            assert (ended.status, ended.report["requests"]) == (3, 1), ended.err
