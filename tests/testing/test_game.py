"""The mini-games' interface: one metric a call, and a day by its midnights."""

from datetime import date
from typing import Any

import pytest

from tests.support import noon
from tests.testing.support import Wechat, code

NOW = noon("2026-06-01")
DAY, START = date(2026, 5, 31), 1_780_156_800
ASKED = {
    "metric": "1000001:5", "granularity": 24, "start_time": START, "end_time": START + 86400,
}  # fmt: skip


def ask(**changed: object) -> dict[str, Any]:
    given = {key: value for key, value in {**ASKED, **changed}.items() if value is not None}
    return Wechat(NOW).call("/datacube/getgameanalysisdata", **given)


def test_a_day_has_one_figure() -> None:
    answer = ask()
    assert set(answer) == {"data_list"}
    [row] = answer["data_list"]
    assert row == Wechat(NOW).truth_of("getgameanalysisdata", "wx1", DAY, DAY)[0]
    assert (row["timestamp"], row["time_label"]) == (START, "2026-05-31")
    assert row["metric_value"] > 0


def test_a_day_without_a_figure_has_a_row_without_it() -> None:
    start = 1_451_577_600
    assert ask(start_time=start, end_time=start + 86400) == {
        "data_list": [{"timestamp": start, "time_label": "2016-01-01", "group_dimension_list": []}]
    }


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"metric": None}, 61552),
        ({"metric": "1"}, 61552),
        ({"granularity": 23}, 61553),
        ({"granularity": 30}, 61557),
        ({"filter_list": [{"dimension": "1", "value": "1"}]}, 61555),
        ({"group_list": ["1"]}, 61559),
        ({"start_time": "2026-05-31"}, 61554),
        ({"start_time": START + 1}, 61554),
        ({"start_time": START + 28800, "end_time": START + 28800 + 86400}, 61554),
        ({"end_time": START + 2 * 86400}, 61554),
        ({"start_time": START - 86400}, 61554),
        ({"start_time": START + 86400, "end_time": START + 2 * 86400}, 61554),
    ],
)
def test_what_cannot_be_asked_for_is_refused(changed: dict[str, object], expected: int) -> None:
    assert code(ask(**changed)) == expected
