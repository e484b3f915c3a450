"""What is left of a day's quota."""

import pytest

from harvester.base.dates import QUOTA_MARGIN, next_quota_day
from harvester.engine.quota import NEVER, Budget

NOW = 1_700_000_000.0


def test_without_a_quota_a_budget_never_ends() -> None:
    budget = Budget(None, 10**9, NOW)
    budget.spend()
    assert budget.left(NOW) == NEVER


def test_a_budget_is_what_is_left_of_the_day() -> None:
    budget = Budget(10, 7, NOW)
    budget.spend()
    assert budget.left(NOW) == 2


def test_a_budget_begins_anew_at_midnight_in_china() -> None:
    budget = Budget(10, 10, NOW)
    begins = next_quota_day(NOW)
    closes = begins + 86_400 - QUOTA_MARGIN - 1
    assert [budget.left(at) for at in (begins - 1, begins, closes)] == [0, 10, 10]
    budget.spend()
    # Nothing is left in the first minute of a day, whose calls may count as either day's.
    moments = (closes, closes + 1, begins + 86_399, begins + 86_400)
    assert [budget.left(at) for at in moments] == [9, 0, 0, 10]


@pytest.mark.parametrize(("quota", "limited"), [(None, False), (10**9, True), (1, True)])
def test_only_a_quota_limits_a_budget(quota: int | None, limited: bool) -> None:
    assert Budget(quota, 0, NOW).limited is limited
