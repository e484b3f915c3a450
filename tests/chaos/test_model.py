"""The protocol of several workers holds in every state of the model, and no rule can be left out.

The whole exploration takes some minutes: ``python -m tests.chaos.model``.
"""

from __future__ import annotations

import pytest

from tests.chaos.model import (
    FAULTS,
    RANDOM,
    SMALL,
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


EXPECTED = {
    "the sink has no fence": "window 0 is final with figure 1 in the ledger, and figure 0",
    "the ledger does not compare epochs": "A and B may send requests for the account at the same",
    "the same epoch after a lost connection": "window 0 became final twice",
    "a claim does not look at the lease": "A and B may send requests for the account at the same",
    "a claim is no heartbeat": "A and B may send requests for the account at the same time",
    "the plan of a former claim": "window 0 is final with figure 0 in the ledger, and figure 1",
    "what an earlier epoch fetched is written": "what an earlier epoch has fetched is committed",
    "the ledger before the sink": "window 0 is final with figure 0 in the ledger, and nothing",
    "a commit under the epoch of a later claim": "what an earlier epoch has fetched is committed",
    "requests after a loss is known": "A and B may send requests for the account at the same time",
    "a claim renews a lease that has ended": "A and B may send requests for the account at the",
    "a renewal does not know of the claim before it": "A and B may send requests for the account",
    "a former loss drops a later claim": "the windows do not become final any more",
    "a claim lands after its worker has started anew": "the windows do not become final any more",
}


LESS = {
    "a former loss drops a later claim": Limits(changes=0, expiries=2),
    "a claim lands after its worker has started anew": Limits(changes=0, expiries=0, cuts=1),
}
"""Whether windows become final is known when all states are."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_rule_that_is_left_out_is_found(name: str) -> None:
    found = explore(start(2, 1, LESS.get(name, SMALL)), FAULTS[name])
    assert found.wrong.startswith(EXPECTED[name])
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
    found = explore(start(2, 1, SMALL), FAULTS["a claim does not look at the lease"])
    assert str(found).splitlines()[1:] == [
        "   1. A claims the account: epoch 2",
        "   2. B claims the account: epoch 3",
        "   3. A reads what is stored, and plans",
        "   4. B reads what is stored, and plans",
    ]


def test_a_worker_to_whom_nothing_happens_makes_every_window_final() -> None:
    state = start(1, 2, Limits(changes=0, expiries=0))
    for _ in range(40):
        if finished(state):
            break
        _, state = next(successors(state, Rules()))
    assert finished(state)
    assert state.stored == (0, 0)
