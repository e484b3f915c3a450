"""What many tests are made of: batches of records, harvests without sockets, tokens and sinks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.model import Account, Batch, Request, Response, Send, Token, Verdict, Window
from harvester.testing import FakeTransport, MemorySink, Simulator
from harvester.tokens.official import provider_for
from harvester.tokens.shared import SharedToken, TokenRefusedError
from tests.support import A

# harvests

USERS_DAYS = ("2024-01-20", "2024-02-10")
BESIDE = {
    "publisher_settlement": {"body", "penalty_all", "revenue_all", "settled_revenue_all"},
    "getweanalysisappidvisitpage": {"ref_date"},
}
"""What stands once in an answer, beside its rows, and is carried along in each record."""


def account(appid: str = A) -> harvester.Account:
    """An account of the simulated WeChat."""
    return harvester.Account(appid, secret="practice")


def harvested(
    sink: Any,
    *appids: str,
    endpoints: Any = ("getusercumulate", "getusersummary"),
    days: Sequence[str | date] = USERS_DAYS,
    simulator: Simulator | None = None,
    **options: Any,
) -> harvester.Report:
    """A run of the library, by default of account A; without a socket unless it has a URL."""
    if "base_url" not in options:
        options = {"transport": FakeTransport(simulator or Simulator()), **options}
    accounts = [account(appid) for appid in appids or (A,)]
    options = {"rate": "100000/s", **options}
    return harvester.run_sync(accounts, endpoints, *days, sink=sink, **options)


# batches and sinks


def counted(
    first: str,
    last: str = "",
    records: int = 1,
    appid: str = A,
    name: str = "",
    fetched: str = "2024-02-10T04:00:00Z",
) -> Batch:
    """So many records of a window, each with its number."""
    days = date.fromisoformat(first), date.fromisoformat(last or first)
    window = Window(appid, name or "getarticlesummary", *days)
    return Batch(window, [{"n": n, "of": str(window)} for n in range(records)], fetched)


async def filled(*batches: Batch, name: str = "") -> MemorySink:
    """A sink in memory with these batches."""
    sink = MemorySink(f"memory:{name}")
    await sink.write(batches, {})
    return sink


class Feed(MemorySink):
    """A sink that cannot be scanned."""

    scan = None  # type: ignore[assignment]


# tokens


async def no_sending(request: Request) -> Response:
    """What a provider sends through that needs no request."""
    raise AssertionError("nothing is sent here")


def answering(answer: object, sent: list[Request] | None = None) -> Send:
    """What a provider sends through; it always gets this answer."""

    async def send(request: Request) -> Response:
        if sent is not None:
            sent.append(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        return Response(200, json.dumps(answer).encode())

    return send


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
