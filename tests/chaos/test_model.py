"""The protocol of several workers holds in every state of the model, and no rule can be left out.

The whole exploration takes some minutes: ``python -m tests.chaos.model``.
"""

from __future__ import annotations

import pytest

from tests.chaos.model import (
    RANDOM,
    Limits,
    Rules,
    explore,
    finished,
    start,
    successors,
    walk,
)

QUICK = {
    (1, 2): Limits(changes=1, crashes=0, expiries=1, cuts=1, opens=1),
    (2, 1): Limits(changes=1, crashes=1, expiries=1, cuts=1),
    (2, 2): Limits(changes=1, expiries=1),
    (3, 1): Limits(changes=1, crashes=1, expiries=1),
}


@pytest.mark.parametrize(
    ("workers", "windows"),
    [(1, 2), *(pytest.param(*each, marks=pytest.mark.thorough) for each in [*QUICK][1:])],
)
def test_it_holds_in_every_state(workers: int, windows: int) -> None:
    found = explore(start(workers, windows, QUICK[workers, windows]))
    assert not found.wrong, str(found)


@pytest.mark.parametrize("seed", range(40))
def test_it_holds_on_random_ways_through_what_is_too_large(seed: int) -> None:
    found = walk(start(3, 2, RANDOM), seed, 400)
    assert not found.wrong, str(found)


SMALL = Limits(changes=1, expiries=2, cuts=1)
"""With these most faults show; whether windows become final is known when all states are."""
TWO_SEND = "A and B may send requests for the account at the same time"
FORMER = "what an earlier epoch has fetched is committed"
STUCK = "the windows do not become final any more"


def stale(ledger: int, sink: str) -> str:
    return f"window 0 is final with figure {ledger} in the ledger, and {sink} in the sink"


@pytest.mark.parametrize(
    ("rules", "wrong", "limits"),
    [
        (Rules(refused=lambda held, known: set()), stale(1, "figure 0"), SMALL),
        (Rules(lost=lambda held, known: set()), TWO_SEND, SMALL),
        (Rules(abandons=False), "window 0 became final twice", SMALL),
        (Rules(claimable=lambda until, now: True), TWO_SEND, SMALL),
        (Rules(claim_renews=False), TWO_SEND, SMALL),
        (Rules(plans_anew=False), stale(0, "figure 1"), SMALL),
        (Rules(is_current=lambda epoch, held, appid: True), FORMER, SMALL),
        (Rules(sink_first=False), stale(0, "nothing"), SMALL),
        (Rules(commits_as_fetched=False), FORMER, SMALL),
        (Rules(drops_at_once=False), TWO_SEND, SMALL),
        (Rules(renews_ended=True), TWO_SEND, SMALL),
        (Rules(renews_in_turn=False), TWO_SEND, SMALL),
        (Rules(loses_by_epoch=False), STUCK, Limits(changes=0, expiries=2)),
        (Rules(waits_for_claims=False), STUCK, Limits(changes=0, expiries=0, cuts=1)),
    ],
)
def test_a_rule_that_is_left_out_is_found(rules: Rules, wrong: str, limits: Limits) -> None:
    found = explore(start(2, 1, limits), rules)
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
