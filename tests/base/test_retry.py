"""Whether a window is tried again, and when."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.base.retry import BUSY, UNREACHED, check_count, delay
from harvester.errors import UsageError

PROPERTY = settings(max_examples=200)


def test_a_busy_server_is_given_up_to_a_minute() -> None:
    assert [BUSY.ceiling(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_unreached_server_is_given_up_to_ten_seconds() -> None:
    assert [UNREACHED.ceiling(n) for n in range(1, 8)] == [0.25, 0.5, 1, 2, 4, 8, 10]


def test_the_ceiling_holds_after_any_number_of_failures() -> None:
    assert BUSY.ceiling(10**6) == 60.0


@PROPERTY
@given(st.integers(1, 7), st.booleans())
def test_a_delay_lies_between_nothing_and_its_ceiling(failures: int, answered: bool) -> None:
    drawn = delay(failures, answered=answered)
    assert 0.0 <= drawn <= (BUSY if answered else UNREACHED).ceiling(failures)


def test_a_server_that_answered_is_given_longer_than_one_that_did_not() -> None:
    assert max(delay(5, answered=True) for _ in range(200)) > UNREACHED.ceiling(5)


def test_windows_that_failed_together_do_not_come_back_together() -> None:
    assert len({delay(5, answered=True) for _ in range(50)}) > 40


@pytest.mark.parametrize("given", [1, 8, 10**9])
def test_a_whole_number_from_1_on_counts(given: int) -> None:
    assert check_count("burst", given) == given


@pytest.mark.parametrize("given", [0, -1, 1.0, "8", None, True])
def test_anything_else_does_not_count(given: object) -> None:
    with pytest.raises(UsageError) as caught:
        check_count("burst", given)
    assert str(caught.value) == f"burst: {given!r} is not a whole number of at least 1"
