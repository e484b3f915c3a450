"""The rules by which several workers share accounts.

Rule: pure; ledgers, sinks, the engine and the model in the tests use the same functions.

Each claim of an account raises its epoch.  A worker that was frozen, or cut off from the ledger,
may write late; its write is refused, because it names an epoch that is no longer the account's.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence


class Epochs(dict[str, int]):
    """The epochs under which a worker writes accounts.

    marks: of each account, the mark of this write, and the ledger's mark that it follows (`fits`).
    """

    __slots__ = ("marks",)

    def __init__(self, epochs: Mapping[str, int], marks: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(epochs)
        self.marks = marks


EPOCH = 1
"""The epoch of an account without a shared ledger.  Claims of a shared ledger use higher epochs."""


def may_send(deadline: float, now: float) -> bool:
    """Whether a request may leave; deadline: the end of the lease on the worker's clock."""
    return now < deadline


def is_current(epoch: int, held: Mapping[str, int], appid: str) -> bool:
    """Whether what was fetched under an epoch may still be stored.

    An account that was lost and claimed again has another epoch: another worker may have stored
    newer figures in between.
    """
    return held.get(appid) == epoch


def lost(held: Mapping[str, int], known: Mapping[str, int]) -> set[str]:
    """The accounts of a commit that another worker has claimed; known: locked until the commit."""
    return {appid for appid, epoch in held.items() if known.get(appid) != epoch}


def refused(fence: Mapping[str, int], known: Mapping[str, int]) -> set[str]:
    """The accounts of a write that a later epoch has written; known: in the sink, locked."""
    return {appid for appid, epoch in fence.items() if known.get(appid, 0) > epoch}


def raised(fence: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """The accounts whose epoch in the sink a write raises, and to what."""
    return {appid: epoch for appid, epoch in fence.items() if known.get(appid, 0) < epoch}


def new_mark() -> str:
    """A mark that was never given before."""
    return secrets.token_hex(6)


def fits(marks: Collection[str], wrote: str, followed: str) -> bool:
    """Whether what a ledger knows of an account is what a sink has.

    marks: of the ledger's last commit that followed a write, and of the changes since then that
    make stored days open or missing; none in a ledger that knows of no such commit.  wrote,
    followed: in the sink, of the last write, and the ledger's mark that it followed.  A write comes
    before its commit: one whose commit was lost is healthy.  A ledger that has lost more, as it was
    restored or came back from a standby, may call final what is not there any more.
    """
    return not marks or not wrote or wrote in marks or followed in marks


def wait_after(idle: float, period: float) -> float:
    """Seconds for which nothing is sent for an account that was claimed.

    idle: seconds since another worker held it, which may have sent as many requests as the rate
    allows; period: of that rate.
    """
    return max(period - idle, 0.0)


# the commits of a database, which may fail over to an older copy

COMMIT = "commit "
"""How the key of a checkpoint begins that names a commit of a database by its number.  The value is
its mark, which is drawn at random: the same number under another mark is another history."""
KEPT_MARKS = 10_000
"""Commits whose marks a ledger keeps: more than are made while any lease lasts."""


def commit_entries(number: int, marks: Sequence[str]) -> dict[str, str]:
    """The entries of a checkpoint after a commit, and of the commit that it follows.

    marks: of this commit and those before it, the latest first.  The mark of a much older commit is
    removed.
    """
    found = {f"{COMMIT}{number - back}": mark for back, mark in enumerate(marks[:2])}
    return {**found, f"{COMMIT}{number - KEPT_MARKS}": ""} if number > KEPT_MARKS else found


def latest_commit(checkpoint: Mapping[str, str]) -> tuple[int, str]:
    """The number and the mark of the latest commit that a ledger knows; 0 if it knows none."""
    numbers = [int(key.removeprefix(COMMIT)) for key in checkpoint if key.startswith(COMMIT)]
    latest = max(numbers, default=0)
    return latest, checkpoint.get(f"{COMMIT}{latest}", "")


def is_in_history(number: int, mark: str, commits: int, marks: Sequence[str]) -> bool:
    """Whether a database with this number of commits has made this one.

    marks: of its last commits, the latest first; of an older commit it is not known, and assumed.
    """
    back = commits - number
    return back >= 0 and (not mark or back >= len(marks) or marks[back] == mark)


def contradicted(entries: Mapping[str, str], known: Mapping[str, str]) -> bool:
    """Whether a ledger knows a commit of these entries by another mark."""
    return any(
        mark and key.startswith(COMMIT) and known.get(key, mark) != mark
        for key, mark in entries.items()
    )
