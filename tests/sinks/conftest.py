"""Places that several sinks' tests share."""

from __future__ import annotations

from itertools import count

import pytest

from tests.s3_server import CREDENTIALS, S3Server

_numbers = count(1)


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, to which the environment leads."""
    name = f"bucket-{next(_numbers)}"
    s3.make_bucket(name)
    for variable, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.url}.items():
        monkeypatch.setenv(variable, value)
    return name
