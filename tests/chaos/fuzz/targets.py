"""What any bytes at all must not break: each function takes bytes, and raises if they did.

An answer gives a verdict, and its records give lines that hold the same again; a token answer gives
a token or a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from harvester.base.codec import MalformedError, encode, own_fields, parse
from harvester.model import (
    Action,
    Batch,
    Request,
    Response,
    Secret,
    Token,
    Verdict,
    Window,
    metadata,
)  # fmt: skip
from harvester.tokens.external import LONGEST_TOKEN
from harvester.tokens.official import ClassicToken, StableToken
from harvester.tokens.shared import TokenRefusedError
from harvester.wechat.interfaces import INTERFACES

DAY = date(2024, 1, 1)
WINDOW = Window("wx00000000000000aa", "getarticlesummary", DAY, DAY)
STAMP = "2024-01-02T00:00:00Z"
META = metadata(WINDOW, STAMP)
SHAPES = (
    INTERFACES["getarticlesummary"],
    INTERFACES["getweanalysisappidvisitdistribution"],
    INTERFACES["getweanalysisappidvisitpage"],
    INTERFACES["publisher_settlement"],
)
"""A list, a whole answer, a list with what stands beside it, pages."""
SECRET = "f" * 32
TOKEN = Secret("t" * 40)


def value(body: bytes) -> None:
    """A body is malformed, or a value; what can be written again is read as the same."""
    try:
        found = parse(body)
        written = encode(found)
    except MalformedError:
        return
    assert b"\n" not in written
    assert parse(written) == found


def answer(body: bytes) -> None:
    """Any status and any body give a verdict whose text is one harmless line."""
    for endpoint in SHAPES:
        for status in (200, 404, 502):
            verdict = endpoint.verdict(Response(status, body), WINDOW)
            _check(verdict)
            if verdict.action is Action.DONE:
                _check_records(verdict.records)
        _check(endpoint.verdict(Response(200, TOKEN.cut_from_body(body)), WINDOW))


def _check(verdict: Verdict) -> None:
    assert isinstance(verdict, Verdict)
    assert isinstance(verdict.action, Action)
    assert (verdict.message + verdict.rid).isprintable()
    assert len(verdict.message) < 1000
    assert len(verdict.rid) <= 100
    assert SECRET not in verdict.message + verdict.rid


def _check_records(records: list[dict[str, Any]]) -> None:
    try:
        batch = Batch(WINDOW, own_fields(records), STAMP)
        encoded = batch.lines().splitlines(keepends=True)
    except MalformedError:
        return
    assert len(encoded) == len(records) == batch.tally.records
    assert 0 <= batch.tally.checksum < 1 << 63
    for line, record in zip(encoded, records, strict=True):
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert parse(line) == {**record, **META}


def token(body: bytes) -> None:
    """A token answer is a token that can be used, or a refusal; neither shows the secret."""

    async def send(_: Request) -> Response:
        return Response(200, body)

    for provider in (StableToken("wx1", SECRET), ClassicToken("wx1", SECRET)):
        try:
            found = _finished(provider.fetch(send))
        except TokenRefusedError as exc:
            _check(exc.verdict)
        else:
            assert isinstance(found, Token)
            assert 0 < len(found.value) <= LONGEST_TOKEN
            assert 0 < found.lifetime < float("inf")


def _finished(coroutine: Any) -> Any:
    """The result of a coroutine that never waits; a loop for each input would be slow."""
    try:
        coroutine.send(None)
    except StopIteration as exc:
        return exc.value
    raise AssertionError("it waits")


TARGETS: tuple[Callable[[bytes], None], ...] = (value, answer, token)


def everything(body: bytes) -> None:
    """All of it."""
    for target in TARGETS:
        target(body)
