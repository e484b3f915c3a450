"""The interface of a store through which programs share the token of an account.

Rule: compare and set only.  A token is replaced only by a program that knows the stored one, so
that a late refusal cannot discard a token that another program has just fetched.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from harvester.base.codec import MalformedError, encode, parse
from harvester.model import Stored

LEASE = 90.0
"""Seconds of a lease that is not renewed: longer than a request can take."""

POLL = 0.05
"""Seconds between two checks of a lease that another program holds."""


class TokenStore(Protocol):
    """Tokens by key: the appid of an account, or of a platform.

    Under ``<appid>.refresh`` is the refresh token of a platform's account, once WeChat has given
    out a new one.

    Each method raises `harvester.AttemptError` if the store cannot be reached now: that is tried
    again, up to ``attempts`` times, while a token that is valid is used.  It raises
    `harvester.UsageError` if it is not a store, or if others can read it: that stops the account.
    Any other exception is taken for an `AttemptError`, and shown by the name of its class only.
    No message holds what is stored.
    """

    async def load(self, key: str) -> Stored | None:
        """The stored token, expired or not; None if there is none."""
        ...

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        """Store ``new`` if the stored token is still ``former`` (None: nothing).

        Atomic, and durable if the store is durable; returns whether it was stored.  Two are
        the same token if their values are.
        """
        ...

    def lease(self, key: str) -> AbstractAsyncContextManager[None]:
        """A lease on fetching: one task holds it, all others wait on entering, in any process.

        It ends with its block, or within some seconds after its process ends; if its holder is
        stopped for longer, another one gets it.  It only saves fetches; correctness depends on
        `replace`.
        """
        ...

    async def close(self) -> None:
        """Close connections and files; stored tokens stay."""
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


def to_bytes(stored: Stored) -> bytes:
    """As JSON bytes."""
    return encode(to_object(stored))


def from_bytes(content: bytes) -> Stored | None:
    """The token written by `to_bytes`; None for anything else."""
    try:
        return from_object(parse(content))
    except MalformedError:
        return None


def same(one: Stored | None, other: Stored | None) -> bool:
    """Whether two are the same token."""
    return (one and one.value) == (other and other.value)
