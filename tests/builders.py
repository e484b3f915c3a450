"""What many tests are made of: batches of records, harvests without sockets, tokens and sinks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harvester.model import Account, Request, Response, Send, Token, Verdict
from harvester.tokens.official import provider_for
from harvester.tokens.shared import SharedToken, TokenRefusedError

# tokens


async def no_sending(request: Request) -> Response:
    """What a provider sends through that needs no request."""
    raise AssertionError("nothing is sent here")


class Given:
    """A provider that gives what it was given, in turn; each fetch takes a second."""

    def __init__(self, *tokens: Token | Exception) -> None:
        self.tokens = list(tokens)
        self.fetches = 0

    async def fetch(self, send: Send) -> Token:
        self.fetches += 1
        given = self.tokens.pop(0)
        await asyncio.sleep(1.0)
        if isinstance(given, Exception):
            raise given
        return given


class Lasting:
    """A provider whose token lasts for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def fetch(self, send: Send) -> Token:
        return Token("t", self._seconds)


def given(spec: str, folder: Path | None = None, send: Send = no_sending) -> Token:
    """The token of an account whose source is this one."""
    provider = provider_for(Account("wx1", token=spec), folder)
    return asyncio.run(provider.fetch(send))


async def refusal_of(token: SharedToken) -> Verdict:
    """Why no token can be had."""
    with pytest.raises(TokenRefusedError) as caught:
        await token.get()
    assert str(caught.value) == caught.value.verdict.message
    return caught.value.verdict


def wall() -> float:
    """The wall clock of the virtual time that runs."""
    loop: Any = asyncio.get_running_loop()
    return loop.wall()  # type: ignore[no-any-return]
