"""What was asked for, and how; checked when it is made."""

from datetime import date
from typing import Any

import pytest

from harvester.datacube import INTERFACES
from harvester.errors import UsageError
from harvester.limiter import Rate
from harvester.scope import Options, Scope


def test_without_options_a_run_is_careful() -> None:
    assert Options() == Options(
        "300/min", 1, 64, 8, 600.0, None, None, False, 0, "newest", False, False
    )


@pytest.mark.parametrize(
    "options",
    [
        {"rate": "10/s"},
        {"rate": 0.5},
        {"rate": Rate(600, 60.0)},
        {"burst": 10},
        {"concurrency": 1},
        {"attempts": 1},
        {"daily_quota": 1},
        {"daily_quota": 10, "reserve": 9},
        {"ask_quota": True, "reserve": 9},
        {"account_concurrency": 1},
        {"order": "oldest"},
    ],
)
def test_options_that_can_be_are_taken(options: dict[str, Any]) -> None:
    Options(**options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rate": "fast"}, "rate"),
        ({"rate": 0}, "rate"),
        ({"burst": 0}, "burst"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 2.0}, "concurrency"),
        ({"attempts": -1}, "attempts"),
        ({"daily_quota": 0}, "daily quota"),
        ({"daily_quota": "1000"}, "daily quota"),
        ({"account_concurrency": 0}, "account concurrency"),
        ({"order": "random"}, "order"),
        ({"reserve": -1, "daily_quota": 9}, "reserve"),
        ({"reserve": True, "daily_quota": 9}, "reserve"),
        ({"reserve": 5}, "reserve"),
        ({"reserve": 9, "daily_quota": 9}, "reserve"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"^{named}: "):
        Options(**options)


def test_an_interface_has_the_days_of_the_range_that_it_has_data_for() -> None:
    scope = Scope({}, (INTERFACES["getarticlesummary"],), date(2014, 1, 1), date(2020, 1, 1))
    assert scope.range_of(INTERFACES["getarticlesummary"]) == (date(2014, 12, 1), date(2020, 1, 1))


def test_a_range_within_an_interfaces_days_is_left_as_it_is() -> None:
    scope = Scope({}, (INTERFACES["getarticlesummary"],), date(2019, 1, 1), date(2020, 1, 1))
    assert scope.range_of(INTERFACES["getarticlesummary"]) == (date(2019, 1, 1), date(2020, 1, 1))
