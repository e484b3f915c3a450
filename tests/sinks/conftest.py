"""Servers that several sinks' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.s3_server import CREDENTIALS, S3Server, s3_server

_numbers = count(1)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 that runs."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, to which the environment leads."""
    name = f"bucket-{next(_numbers)}"
    s3.make_bucket(name)
    for variable, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.url}.items():
        monkeypatch.setenv(variable, value)
    return name
