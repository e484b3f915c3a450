"""The interface of a store through which programs share the token of an account.

Rule: compare and set only.  A token is replaced only by a program that knows the stored one, so
that a late refusal cannot discard a token that another program has just fetched.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from harvester.model import Stored

LEASE = 90.0
"""Seconds of a lease that is not renewed: longer than a request can take."""

POLL = 0.05
"""Seconds between two checks of a lease that another program holds."""


class TokenStore(Protocol):
    """A store for tokens; the key is the appid of an account or of a platform.

    The key ``<appid>.refresh`` has the refresh token of a platform's account, if WeChat has issued
    a new one.

    A method raises `harvester.AttemptError` if the store cannot be reached at the moment.  The run
    then calls the method again, up to ``attempts`` times, and meanwhile uses a token that is still
    valid.  A method raises `harvester.UsageError` if the place is not a token store, or if other
    users can read it; this stops the account.  Any other exception counts as an `AttemptError`;
    messages show only its class.  Messages must not contain a stored token.
    """

    async def load(self, key: str) -> Stored | None:
        """The stored token, expired or not; None if there is none."""
        ...

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        """Store ``new`` if the stored token is still ``former`` (None: no token); atomic.

        Returns whether ``new`` was stored.  If the store is durable, the token is then durable.
        Two tokens are the same if their values are equal.
        """
        ...

    def lease(self, key: str) -> AbstractAsyncContextManager[None]:
        """A lease for fetching a token: one task holds it; tasks of all processes wait for it.

        The lease ends with its block, or some seconds after its process has ended or was stopped;
        then another task gets it.  It only avoids needless fetches; correctness needs `replace`.
        """
        ...

    async def close(self) -> None:
        """Close connections and files; tokens stay stored."""
        ...


def to_object(stored: Stored) -> dict[str, object]:
    """As a JSON object."""
    return {"token": stored.value, "ends": stored.ends, "lifetime": stored.lifetime}


def from_object(given: object) -> Stored | None:
    """The token written by `to_object`; None for anything else."""
    if not isinstance(given, dict):
        return None
    value, ends, lifetime = given.get("token"), given.get("ends"), given.get("lifetime")
    if not (isinstance(value, str) and value):
        return None
    if not (isinstance(ends, int | float) and isinstance(lifetime, int | float)):
        return None
    return Stored(value, float(ends), float(lifetime))


def same(one: Stored | None, other: Stored | None) -> bool:
    """Whether two are the same token."""
    return (one and one.value) == (other and other.value)
