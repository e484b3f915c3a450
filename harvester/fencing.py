"""The rules by which several workers share accounts.

Rule: pure; ledgers, sinks, the engine and the model in the tests use the same functions.

Each claim of an account raises its epoch.  A worker that was frozen, or cut off from the ledger,
does not know that somebody else has claimed its accounts.  It may write late; what it writes is
refused, because the epoch that it names is not the account's any more.  Time decides who may claim
an account and who may send; it plays no part in what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping

EPOCH = 1
"""The epoch of an account that one worker alone writes.  Claims of a shared ledger begin above."""


def claimable(until: float | None, now: float) -> bool:
    """Whether an account may be claimed.

    until: when the lease of its holder ends, None if nobody holds it; now: the ledger's time.
    """
    return until is None or until < now


def may_send(deadline: float, now: float) -> bool:
    """Whether a request may leave; deadline: when the lease ends, as the worker knows it."""
    return now < deadline


def is_current(epoch: int, held: Mapping[str, int], appid: str) -> bool:
    """Whether what was fetched under an epoch may still be stored.

    held: the epochs of the accounts that this worker holds now.  An account that was lost and
    claimed again has another epoch: somebody else may have stored newer figures in between.
    """
    return held.get(appid) == epoch


def lost(held: Mapping[str, int], known: Mapping[str, int]) -> set[str]:
    """The accounts of a commit that somebody else has claimed.

    held: the epochs that the worker has; known: those in the ledger, locked until the commit.
    """
    return {appid for appid, epoch in held.items() if known.get(appid) != epoch}


def refused(fence: Mapping[str, int], known: Mapping[str, int]) -> set[str]:
    """The accounts of a write that a later epoch has written already.

    fence: the epochs of the write; known: those in the sink, locked until the write is committed.
    """
    return {appid for appid, epoch in fence.items() if known.get(appid, 0) > epoch}


def raised(fence: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """The accounts whose epoch in the sink a write raises, and to what."""
    return {appid: epoch for appid, epoch in fence.items() if known.get(appid, 0) < epoch}


def wait_after(idle: float, period: float) -> float:
    """Seconds for which nothing is sent for an account that was claimed.

    idle: seconds since somebody else held it; period: of its rate.  Who held it may have sent until
    then as many requests as the rate allows.
    """
    return max(period - idle, 0.0)
