"""The promise of a store that the programs of an account share their token through.

Rule: nothing is ever just set.  A token is replaced only by somebody who knows which one stands
there, so that a late refusal cannot throw away the token that somebody else has just fetched.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from harvester.codec import MalformedError, encode, parse
from harvester.model import Stored

LEASE = 90.0
"""Seconds that a lease lasts if nobody renews it: longer than a request can take."""

POLL = 0.05
"""Seconds between two looks at a lease that somebody else holds."""


class TokenStore(Protocol):
    """Tokens by key: the appid of an account, or of a platform.

    Each verb raises `AttemptError` if the store cannot be reached just now, and `UsageError` if
    what is there is not a store or is open to others.  No message holds what is stored.
    """

    async def load(self, key: str) -> Stored | None:
        """What is stored, ended or not; None if that is nothing."""
        ...

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        """Store ``new`` if the token that stands there still is ``former`` (None: nothing).

        All at once, and durably if the store is durable; returns whether it was stored.  Two are
        the same token if their values are.
        """
        ...

    def lease(self, key: str) -> AbstractAsyncContextManager[None]:
        """The right to fetch: one has it, all others wait on entering, in any process.

        It ends with its block, and with its process however that ends, within some seconds; and
        if its holder does not move for longer, it passes on.  It saves fetches, and what must be
        right is left to `replace`.
        """
        ...

    async def close(self) -> None:
        """Let go of what is open; what is stored stays."""
        ...


def to_object(stored: Stored) -> dict[str, object]:
    """As it is written."""
    return {"token": stored.value, "ends": stored.ends, "lifetime": stored.lifetime}


def from_object(given: object) -> Stored | None:
    """What was written; None if it was not by `to_object`."""
    if not isinstance(given, dict):
        return None
    value, ends, lifetime = given.get("token"), given.get("ends"), given.get("lifetime")
    if not (isinstance(value, str) and value):
        return None
    if not (isinstance(ends, int | float) and isinstance(lifetime, int | float)):
        return None
    return Stored(value, float(ends), float(lifetime))


def to_bytes(stored: Stored) -> bytes:
    """As it is written where it stands alone."""
    return encode(to_object(stored))


def from_bytes(content: bytes) -> Stored | None:
    """What was written by `to_bytes`; None if it was not."""
    try:
        return from_object(parse(content))
    except MalformedError:
        return None


def same(one: Stored | None, other: Stored | None) -> bool:
    """Whether two are the same token."""
    return (one and one.value) == (other and other.value)
