"""The rules by which workers share accounts; what they are for is shown by `tests.chaos.model`."""

from __future__ import annotations

import pytest

from harvester.base.fencing import (
    EPOCH,
    KEPT_MARKS,
    commit_entries,
    contradicted,
    fits,
    is_current,
    is_in_history,
    latest_commit,
    lost,
    may_send,
    new_mark,
    raised,
    refused,
    wait_after,
)
from tests.chaos.model import claimable

RECHECK_INTERVAL = {"a": 2, "b": 3, "c": 4}


@pytest.mark.parametrize(
    ("until", "expected"), [(None, True), (9.9, True), (10.0, False), (10.1, False)]
)
def test_an_account_is_claimed_that_nobody_holds_or_whose_lease_has_ended(
    until: float | None, expected: bool
) -> None:
    assert claimable(until, 10.0) is expected


def test_a_request_leaves_before_the_lease_ends_and_not_at_its_end() -> None:
    assert may_send(10.0, 9.9)
    assert not may_send(10.0, 10.0)
    assert not may_send(10.0, 10.1)


def test_at_no_moment_may_one_send_and_another_claim() -> None:
    times = (9.0, 10.0, 11.0)
    assert not any(
        may_send(until, now) and claimable(until, now) for until in times for now in times
    )


def test_what_was_fetched_under_the_present_epoch_is_current() -> None:
    assert is_current(2, RECHECK_INTERVAL, "a")
    assert not is_current(1, RECHECK_INTERVAL, "a")
    assert not is_current(3, RECHECK_INTERVAL, "a")
    assert not is_current(EPOCH, RECHECK_INTERVAL, "of nobody")


def test_accounts_of_another_epoch_and_those_that_are_not_known_are_lost() -> None:
    assert lost(RECHECK_INTERVAL, {"a": 2, "b": 4, "c": 3, "d": 1}) == {"b", "c"}
    assert lost(RECHECK_INTERVAL, {"a": 2}) == {"b", "c"}
    assert lost(RECHECK_INTERVAL, RECHECK_INTERVAL) == lost({}, RECHECK_INTERVAL) == set()


def test_a_sink_refuses_lower_epochs_and_raises_to_higher_ones() -> None:
    known = {"a": 3, "b": 3, "c": 3, "d": 9}
    assert refused(RECHECK_INTERVAL, known) == {"a"}
    assert raised(RECHECK_INTERVAL, known) == {"c": 4}


def test_a_sink_refuses_no_account_that_it_does_not_know() -> None:
    assert refused(RECHECK_INTERVAL, {}) == set()
    assert raised(RECHECK_INTERVAL, {}) == RECHECK_INTERVAL


def test_what_is_refused_raises_nothing() -> None:
    epochs = range(4)
    for fence in ({"a": here} for here in epochs):
        for known in ({"a": there} for there in epochs):
            assert not refused(fence, known) & raised(fence, known).keys()


def test_nothing_is_sent_for_a_period_after_another_worker_held_the_account() -> None:
    assert wait_after(0.0, 1.0) == 1.0
    assert wait_after(0.25, 1.0) == 0.75
    assert wait_after(2.0, 1.0) == 0.0
    assert wait_after(float("inf"), 60.0) == 0.0


# commits of a database


def test_a_commit_is_noted_with_its_mark_and_the_mark_of_the_one_before() -> None:
    assert commit_entries(0, ()) == {}
    assert commit_entries(1, ("a",)) == {"commit 1": "a"}
    assert commit_entries(9, ("c", "b", "a")) == {"commit 9": "c", "commit 8": "b"}
    old = commit_entries(KEPT_MARKS + 9, ("c", "b"))
    assert old["commit 9"] == ""
    assert len(old) == 3


def test_the_latest_commit_is_the_one_with_the_highest_number() -> None:
    assert latest_commit({}) == latest_commit({"owner": "x"}) == (0, "")
    assert latest_commit({"commit 9": "a", "commit 10": "b", "epoch": "11"}) == (10, "b")


@pytest.mark.parametrize(
    ("number", "mark", "expected"),
    [
        (5, "c", True),
        (4, "b", True),
        (3, "a", True),
        (2, "z", True),  # too old to be known
        (5, "b", False),
        (4, "c", False),
        (6, "c", False),
        (5, "", True),  # of a checkpoint without marks
    ],
)
def test_a_commit_is_in_the_history_under_its_own_mark(
    number: int, mark: str, expected: bool
) -> None:
    assert is_in_history(number, mark, 5, ("c", "b", "a")) is expected


def test_a_ledger_contradicts_a_known_number_under_another_mark() -> None:
    known = {"commit 1": "a", "owner": "x"}
    assert not contradicted({"commit 1": "a", "commit 2": "b", "owner": "y"}, known)
    assert contradicted({"commit 1": "b"}, known)
    assert not contradicted({"commit 1": ""}, known)


def test_a_ledger_fits_a_sink_that_is_one_write_ahead_and_no_other() -> None:
    for marks, wrote, followed, fit in (
        ("b", "b", "a", True),  # as the last commit left both
        ("b", "c", "b", True),  # a process was killed between the sink and the ledger
        ("cb", "b", "a", True),  # days were opened again since
        ("cb", "d", "c", True),
        ("ecb", "d", "c", True),  # killed, and opened once more
        ("a", "c", "b", False),  # it lacks a commit
        ("b", "c", "a", False),  # another ledger has written, without the last commit of this one
        ("b", "d", "c", False),  # another has opened days again, and written
        ("", "c", "b", True),  # it knows of no write
        ("b", "", "", True),  # a former version has written
    ):
        assert fits([*marks], wrote, followed) is fit
    assert new_mark() != new_mark()
