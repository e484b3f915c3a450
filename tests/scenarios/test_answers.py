"""What passes for an empty day, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.wire import harvested
from tests.support import bare, stored

FINE = {"err_msg": "ok", "ret": 0}
LISTS = ("getusersummary", "getarticleread")
WHOLE = "getweanalysisappiddailyretaininfo"
NO_FIGURES = [
    {}, {"ret": -1}, {"error": "unauthorized"}, {"code": 500, "message": "gateway"},
    {"errcode": 0, "errmsg": "ok"},
]  # fmt: skip
NO_LIST = [*NO_FIGURES[1:], {"list": {}}]


@pytest.mark.parametrize(
    "answer",
    [{}, {"list": None}, *[pytest.param(each, marks=pytest.mark.thorough) for each in NO_LIST]],
    ids=str,
)
@pytest.mark.parametrize("endpoint", LISTS)
def test_an_answer_without_its_list_fails_its_window_after_the_attempts(
    endpoint: str, answer: dict[str, Any], tmp_path: Path
) -> None:
    report = harvested(lambda *_: answer, endpoint, "2026-03-02", "2026-03-02", tmp_path)
    assert (report.state, report.windows.done, report.windows.failed) == ("partial", 0, 1)
    assert report.requests == 2
    assert "list" in report.failures[0].error
    assert "2 attempts" in report.failures[0].error


@pytest.mark.parametrize("endpoint", LISTS)
def test_an_empty_list_is_an_empty_day(endpoint: str, tmp_path: Path) -> None:
    report = harvested(lambda *_: {"list": []}, endpoint, "2026-03-02", "2026-03-02", tmp_path)
    assert (report.state, report.windows.empty, report.requests) == ("complete", 1, 1)


@pytest.mark.parametrize("answer", NO_FIGURES, ids=str)
def test_a_whole_answer_without_a_known_field_fails_its_window(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    report = harvested(lambda *_: answer, WHOLE, "2026-03-02", "2026-03-02", tmp_path)
    assert (report.state, report.windows.done, report.windows.failed) == ("partial", 0, 1)
    assert "visit_uv_new" in report.failures[0].error


def test_a_whole_answer_without_visitors_is_a_record(tmp_path: Path) -> None:
    answer = {"ref_date": "20260302", "visit_uv_new": [], "visit_uv": []}
    report = harvested(lambda *_: answer, WHOLE, "2026-03-02", "2026-03-02", tmp_path)
    assert report.state == "complete"
    assert [bare(row) for row in stored(tmp_path, WHOLE)] == [answer]


def test_an_answer_of_other_days_alone_fails_its_window(tmp_path: Path) -> None:
    row = {"ref_date": "2026-02-01", "user_source": 0, "new_user": 1, "cancel_user": 0}
    report = harvested(
        lambda *_: {"list": [row]}, "getusersummary", "2026-03-02", "2026-03-08", tmp_path
    )
    assert (report.state, report.windows.failed, report.records) == ("partial", 1, 0)
    assert "days that were not asked for" in report.failures[0].error


def test_what_was_wrong_at_first_is_stored_when_it_comes_right(tmp_path: Path) -> None:
    row = {"ref_date": "2026-03-02", "user_source": 0, "new_user": 1, "cancel_user": 0}
    answers = iter([{"ret": -1}, {"list": [row]}])
    report = harvested(
        lambda *_: next(answers), "getusersummary", "2026-03-02", "2026-03-02", tmp_path
    )
    assert (report.state, report.retries) == ("complete", 1)
    assert [bare(each) for each in stored(tmp_path, "getusersummary")] == [row]


@pytest.mark.parametrize("endpoint", ["publisher_cps_general", "publisher_adpos_general"])
def test_a_publishers_answer_is_empty_only_if_it_shows_it(endpoint: str, tmp_path: Path) -> None:
    for number, (more, state) in enumerate(
        [({"total_num": 0}, "complete"), ({"list": []}, "complete"), ({}, "partial")]
    ):
        answer = {"base_resp": FINE, **more}
        report = harvested(
            lambda *_, answer=answer: answer,
            endpoint, "2026-03-01", "2026-03-31", tmp_path / str(number),
        )  # fmt: skip
        assert (report.state, report.records) == (state, 0)


@pytest.mark.parametrize("late", [True, "true", "True", 1])
@pytest.mark.parametrize("where", ["answer", "row"])
def test_late_figures_are_provisional_wherever_they_say_so(
    where: str, late: object, tmp_path: Path
) -> None:
    row: dict[str, Any] = {"ref_date": "2026-03-02", "msgid": "1_1", "detail": {"read_user": 3}}
    answer: dict[str, Any] = {"list": [row]}
    (row if where == "row" else answer)["is_delay"] = late
    report = harvested(lambda *_: answer, "getarticleread", "2026-03-02", "2026-03-02", tmp_path)
    assert report.provisional == 1
    assert [bare(each) for each in stored(tmp_path, "getarticleread")] == [row]
