"""The protocol of several workers holds in every state of the model, and no rule can be left out.

The whole exploration takes some minutes: ``python -m tests.chaos.model``.
"""

from __future__ import annotations

import pytest

from tests.chaos.model import RANDOM, Limits, Rules, explore, finished, start, successors, walk

NOTHING = Limits(changes=0, expiries=0)
REFRESH = NOTHING._replace(changes=1, refreshes=1)
ADDED = NOTHING._replace(changes=1, expiries=1, cuts=1, adds=1)
BACK = NOTHING._replace(changes=1, cuts=1, backs=1)
FAILS_OVER = NOTHING._replace(cuts=1, backs=1, others=1)
CLOCKS = NOTHING._replace(steps=1, days=1)
DAY = NOTHING._replace(days=1)
LEDGER = NOTHING._replace(changes=1, fails=2)
AGAIN = NOTHING._replace(changes=1, crashes=2, refreshes=2, fails=1)
"""A refresh that is killed, and one more, beside a standby."""
AND_BACK = NOTHING._replace(changes=1, fails=3)

QUICK = {
    (1, 2): Limits(changes=1, crashes=0, expiries=1, cuts=1, opens=1),
    (2, 1): Limits(changes=1, crashes=1, expiries=1, cuts=1),
    (2, 2): Limits(changes=1, expiries=1),
    (3, 1): Limits(changes=1, crashes=1, expiries=1),
}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("workers", "windows"),
    [(1, 2), *(pytest.param(*each, marks=pytest.mark.thorough) for each in [*QUICK][1:])],
)
def test_it_holds_in_every_state(workers: int, windows: int) -> None:
    found = explore(start(workers, windows, QUICK[workers, windows]))
    assert not found.wrong, str(found)


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("workers", "windows", "limits", "quota"),
    [
        (1, 1, ADDED, 0),
        (1, 2, BACK, 0),
        (1, 2, FAILS_OVER, 0),
        (2, 1, REFRESH._replace(expiries=1), 0),
        (2, 1, LEDGER, 0),
        (1, 2, AND_BACK, 0),
        (1, 1, AND_BACK._replace(refreshes=1), 0),
        (2, 1, LEDGER._replace(expiries=1), 0),
        (2, 1, AGAIN, 0),
        (2, 2, CLOCKS, 1),
        pytest.param(2, 1, ADDED._replace(crashes=1), 0, marks=pytest.mark.thorough),
        pytest.param(2, 1, BACK, 0, marks=pytest.mark.thorough),
        pytest.param(2, 1, FAILS_OVER._replace(changes=1), 0, marks=pytest.mark.thorough),
        pytest.param(3, 1, REFRESH, 0, marks=pytest.mark.thorough),
        pytest.param(3, 3, CLOCKS._replace(steps=2), 2, marks=pytest.mark.thorough),
    ],
)
def test_it_holds_with_sinks_that_change_a_refresh_and_the_days_end(
    workers: int, windows: int, limits: Limits, quota: int
) -> None:
    found = explore(start(workers, windows, limits, quota))
    assert not found.wrong, str(found)


@pytest.mark.parametrize(
    ("workers", "plain", "limits"),
    [
        (1, 1, DAY),
        (2, 1, DAY._replace(crashes=1)),
        (3, 2, DAY),
        pytest.param(2, 1, DAY._replace(expiries=1, cuts=1), marks=pytest.mark.thorough),
        pytest.param(3, 1, DAY._replace(crashes=1, expiries=1), marks=pytest.mark.thorough),
    ],
)
def test_it_holds_with_workers_that_may_not_wait(workers: int, plain: int, limits: Limits) -> None:
    found = explore(start(workers, 2, limits, 1, plain))
    assert not found.wrong, str(found)


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        (Rules(leaves_to_waiting=False), "the windows do not become final any more"),
        (Rules(ends=False), "a worker that may not wait does not end"),
    ],
)
def test_a_rule_about_waiting_that_is_left_out_is_found(rules: Rules, wrong: str) -> None:
    found = explore(start(2, 2, DAY, 1, 1), rules)
    assert found.wrong == wrong
    assert found.steps


@pytest.mark.parametrize("seed", range(40))
def test_it_holds_on_random_ways_through_what_is_too_large(seed: int) -> None:
    found = walk(start(3, 2, RANDOM), seed, 400)
    assert not found.wrong, str(found)


SMALL = Limits(changes=1, expiries=2, cuts=1)
"""With these most faults show; whether windows become final is known when all states are."""
TWO_SEND = "A and B may send requests for the account at the same time"
FORMER = "what an earlier epoch has fetched is committed"
LACKS = "window 0 is final, and the second sink lacks it"
TOO_MANY = "more calls have arrived on a day than the quota allows"
STUCK = "the windows do not become final any more"


def stale(ledger: int, sink: str) -> str:
    return f"window 0 is final with figure {ledger} in the ledger, and {sink} in the sink"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rules", "wrong", "limits"),
    [
        (Rules(refused=lambda held, known: set()), stale(1, "figure 0"), SMALL),
        (Rules(lost=lambda held, known: set()), FORMER, SMALL),
        (Rules(anew=False), TWO_SEND, SMALL),
        (Rules(claimable=lambda until, now: True), TWO_SEND, SMALL),
        (Rules(claim_renews=False), TWO_SEND, SMALL),
        (Rules(claim_raises=False), stale(0, "figure 1"), SMALL),
        (Rules(plans_anew=False), stale(0, "figure 1"), SMALL),
        (Rules(is_current=lambda epoch, held, appid: True), FORMER, SMALL),
        (Rules(sink_first=False), stale(0, "nothing"), SMALL),
        (Rules(commits_as_fetched=False), FORMER, REFRESH),
        (Rules(drops_at_once=False), "B serves the account twice, under two epochs", REFRESH),
        (Rules(opens_marked=False), STUCK, REFRESH),
        (Rules(takes_marked=False), STUCK, REFRESH),
        (Rules(finishes_held=False), STUCK, REFRESH),
        (Rules(awaits_former=False), TWO_SEND, REFRESH),
        (Rules(loses_by_epoch=False), STUCK, Limits(changes=0, expiries=2)),
        (Rules(refuses_late_claims=False), STUCK, Limits(changes=0, expiries=0, cuts=1)),
        (Rules(never_twice=False), stale(0, "figure 1"), LEDGER),
        (Rules(fits=lambda *marks: True), stale(0, "figure 1"), AND_BACK),
        (Rules(keeps_marks=False), "a ledger that has lost nothing is refused", AGAIN),
        (Rules(reopening_marks=False), stale(0, "figure 1"), AND_BACK._replace(refreshes=1)),
    ],
)
def test_a_rule_that_is_left_out_is_found(rules: Rules, wrong: str, limits: Limits) -> None:
    found = explore(start(2, 1, limits), rules)
    assert found.wrong == wrong
    assert found.steps


@pytest.mark.parametrize(
    ("rules", "wrong", "windows", "limits", "quota"),
    [
        (Rules(renews_ended=True), LACKS, 1, ADDED, 0),
        (Rules(dismisses=False), LACKS, 1, ADDED, 0),
        (Rules(compares=False), "a sink that went back is written", 2, BACK, 0),
        (Rules(marks=False), stale(0, "nothing"), 1, FAILS_OVER, 0),
        (Rules(ledgers_day=False), TOO_MANY, 2, CLOCKS, 1),
    ],
)
def test_a_rule_of_sinks_and_days_that_is_left_out_is_found(
    rules: Rules, wrong: str, windows: int, limits: Limits, quota: int
) -> None:
    found = explore(start(1, windows, limits, quota), rules)
    assert found.wrong == wrong
    assert found.steps


def test_the_ledger_compares_epochs_although_accounts_that_were_lost_are_noticed() -> None:
    """What is late in the ledger is refused there, whatever a renewal says."""

    def only_renewals_see_it(held: dict[str, int], known: dict[str, int]) -> set[str]:
        return {*held} - {*known}

    found = explore(start(2, 1, SMALL), Rules(lost=only_renewals_see_it))
    assert found.wrong in (
        "window 0 became final twice",
        "what an earlier epoch has fetched is committed",
    )


def test_the_way_to_a_fault_is_a_list_of_steps() -> None:
    found = explore(start(2, 1, SMALL), Rules(claimable=lambda until, now: True))
    assert found.steps == ("A claims", "B claims", "A plans", "B plans")


def test_a_worker_to_whom_nothing_happens_makes_every_window_final() -> None:
    state = start(1, 2, Limits(changes=0, expiries=0))
    for _ in range(40):
        if finished(state):
            break
        _, state = next(successors(state, Rules()))
    assert finished(state)
    assert state.stored == (0, 0)
