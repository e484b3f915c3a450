"""The figures of the page: those that are stored, for the days of its curves."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

from harvester.model import Batch, Window
from harvester.report.charts import DAYS as DAYS_OF_CURVES
from harvester.report.charts import days_for, figures
from harvester.sinks.memory import MemorySink
from tests.report_data import YESTERDAY
from tests.support import A, B

USERS, FOLLOWERS = "getusersummary", "getusercumulate"
BEGIN = date(2026, 1, 1)


def sink_with(*windows: tuple[str, str, list[dict[str, object]]]) -> MemorySink:
    """A sink that holds a window of yesterday for each account, interface and its records."""
    sink = MemorySink()
    batches = [
        Batch(Window(appid, name, YESTERDAY, YESTERDAY), records, "2026-11-26T01:00:00Z")
        for appid, name, records in windows
    ]

    async def fill() -> None:
        await sink.open({})
        await sink.write(batches, {})

    asyncio.run(fill())
    return sink


def test_figures_are_those_that_are_stored() -> None:
    day = str(YESTERDAY)
    sink = sink_with(
        (A, USERS, [{"ref_date": day, "user_source": 0, "new_user": 3, "cancel_user": 1},
                    {"ref_date": day, "user_source": 1, "new_user": 4, "cancel_user": 0}]),
        (A, FOLLOWERS, [{"ref_date": day, "cumulate_user": 700}]),
        (B, "getbizsummary", [{"ref_date": day, "detail": {"read_user": 9}}]),
        (B, FOLLOWERS, [{"ref_date": day, "cumulate_user": "many"}]),
    )  # fmt: skip
    found = figures(sink, None, YESTERDAY, [USERS, FOLLOWERS, "getbizsummary"], [A, B])
    assert [found.latest(A, name) for name in ("gained", "lost", "followers")] == [7, 1, 700]
    assert found.of(A, "gained")[:-1] == [None] * (DAYS_OF_CURVES - 1)
    assert (found.latest(B, "readers"), found.latest(B, "followers")) == (9, None)
    assert found.weeks("gained")[-2:] == [None, 7]
    assert figures(sink, None, YESTERDAY, [USERS], [A]).latest(A, "followers") is None
    assert figures(sink, None, YESTERDAY, [USERS], [B]).latest(A, "gained") is None
    assert figures(sink, None, BEGIN, [USERS], [A]).latest(A, "gained") is None


def test_people_are_counted_by_source_over_the_last_year() -> None:
    def read(day: date, *sources: object) -> dict[str, object]:
        return {"ref_date": str(day), "detail": {"read_user": 9, "read_user_source": [*sources]}}

    def by(scene: object, people: object) -> dict[str, object]:
        return {"scene_desc": scene, "user_count": people}

    before = YESTERDAY - timedelta(days=DAYS_OF_CURVES)
    sink = sink_with(
        (A, "getbizsummary", [
            read(YESTERDAY, by("全部", 9), by("朋友圈", 5), by("聊天会话", 6)),
            read(YESTERDAY, by("搜一搜", None), 7),
            read(YESTERDAY, by("朋友圈", 1)),
            read(before, by("朋友圈", 100)),
            {"ref_date": str(YESTERDAY), "detail": {"read_user": 1}},
        ]),
        (A, USERS, [{"ref_date": str(YESTERDAY), "user_source": 30, "new_user": 4},
                    {"ref_date": str(YESTERDAY), "user_source": 17, "new_user": "many"}]),
    )  # fmt: skip
    found = figures(sink, None, YESTERDAY, [USERS, "getbizsummary"], [A], DAYS_OF_CURVES + 1)
    assert found.sources[A] == {"readers": {"朋友圈": 6, "聊天会话": 6}, "gained": {"30": 4}}
    assert found.of(A, "readers")[0] == 9  # the day before the last year has a place


def test_of_few_accounts_all_days_are_read() -> None:
    first = YESTERDAY - timedelta(days=3_999)
    assert days_for(1, first, YESTERDAY) == 4_000
    assert days_for(100, first, YESTERDAY) == 700
    assert days_for(1_000, first, YESTERDAY) == DAYS_OF_CURVES
    assert days_for(1, YESTERDAY, YESTERDAY) == DAYS_OF_CURVES
