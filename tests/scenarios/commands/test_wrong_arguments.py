"""A value of a wrong type in the library: one sentence says what is expected."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import FakeTransport, Simulator
from tests.support import A


class Half:
    """An object that has some methods of a sink."""

    identity = "half"

    async def write(self, *_: object) -> None:
        pass


class Nameless(harvester.Sink):
    """A sink without an identity."""

    async def open(self, *_: object) -> dict[str, str]:
        return {}

    async def write(self, *_: object) -> harvester.Written:
        return harvester.Written()

    async def close(self) -> None:
        pass


RIGHT: dict[str, Any] = {
    "accounts": harvester.Account(A, secret="practice"),
    "endpoints": "getusersummary",
    "start": "2024-01-01",
    "end": "2024-01-02",
    "sink": "memory:",
    "base_url": "http://127.0.0.1:1",
}
SINK = "sink: expected a spec such as 'jsonl:DIR', an object derived from Sink, or a list"
NAMES = "endpoints: expected the name of an interface or a group, an Endpoint, or an iterable of"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "accounts",
            {A: "s3cret"},
            "accounts: expected an Account, or an iterable of them, not",
        ),
        ("accounts", "s3cret", "accounts: expected an Account, or an iterable of them, not str"),
        ("accounts", [A], "accounts: expected an Account, or an iterable of them, not str"),
        ("endpoints", 3, f"{NAMES} these, not int"),
        ("endpoints", {"users": 1}, f"{NAMES} these, not dict"),
        ("endpoints", b"users", f"{NAMES} these, not bytes"),
        ("sink", Path("x"), f"{SINK} of these, not PosixPath"),
        ("sink", [Path("x")], f"{SINK} of these, not PosixPath"),
        ("sink", {"jsonl": "x"}, f"{SINK} of these, not dict"),
        ("sink", harvester.MemorySink, f"{SINK} of these, not type"),
        ("sink", Half(), f"{SINK} of these, not Half"),
        ("sink", Nameless(), "sink: Nameless has no attribute identity"),
        ("transport", FakeTransport, "transport=<type>: expected a Transport, e.g. harvester"),
        (
            "transport",
            FakeTransport(Simulator()),
            "transport: it replaces the network",
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_told_what_is_expected(name: str, value: Any, said: str) -> None:
    with pytest.raises(harvester.UsageError) as caught:
        asyncio.run(harvester.run(**{**RIGHT, name: value}))
    assert str(caught.value).startswith(said)
    assert "s3cret" not in str(caught.value)
