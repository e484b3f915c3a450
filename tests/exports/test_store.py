"""The program that sends a store its requests, run as it is by an export."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

from harvester.exports import store as program
from tests.object_store import KEYS, REGION, object_store

pytestmark = pytest.mark.thorough


def answers(endpoint: str, *calls: tuple[str, tuple[Any, ...]]) -> list[tuple[Any, str]]:
    """What it answers to calls, and that it ends with its input."""
    options = {"endpoint_override": endpoint, "region": REGION}
    asked = b"".join(map(pickle.dumps, [("", options), *calls]))
    done = subprocess.run(
        [sys.executable, "-P", program.__file__], input=asked, capture_output=True, check=True,
        env={**os.environ, **KEYS}, timeout=60,
    )  # fmt: skip
    found, rest = [], memoryview(done.stdout)
    while rest:
        answer = pickle.loads(rest)
        rest = rest[len(pickle.dumps(answer)) :]
        found.append(answer)
    return found[1:]


def test_it_answers_each_call_and_ends_with_its_input() -> None:
    with object_store() as store:
        store.spec("bucket/x")
        found = answers(
            store.endpoint,
            ("has_bucket", ("bucket",)),
            ("has_bucket", ("nowhere",)),
            ("get", ("bucket/a/b",)),
            ("put", ("bucket/a/b", b"rows")),
            ("get", ("bucket/a/b",)),
            ("listed", ("bucket/a",)),
            ("listed", ("bucket/c",)),
            ("remove", ("bucket/a/b",)),
            ("remove", ("bucket/a/b",)),
            ("get", ("bucket/a/b",)),
            ("get", ("nowhere/a",)),
        )
    assert [error for _, error in found if error] == []
    values = [value for value, _ in found]
    assert values[:5] == [True, False, None, None, b"rows"]
    assert values[5:] == [["bucket/a/b"], [], None, None, None, None]


def test_an_error_is_told_and_the_next_call_answered() -> None:
    found = answers("http://127.0.0.1:9", ("get", ("bucket/a",)), ("nothing", ()))
    assert [value for value, _ in found] == [None, None]
    assert "bucket" in found[0][1]  # also of the client that names no host
    assert "nothing" in found[1][1]
