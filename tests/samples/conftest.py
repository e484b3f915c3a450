"""The fixture `sample`: a copy of the sample that a test's parameter names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import mysql_server, postgres_server
from tests.samples.places import Sample, copied

PASSWORDS = {"PGPASSWORD": postgres_server.PASSWORD, "MYSQL_PWD": mysql_server.PASSWORD}


@pytest.fixture
def sample(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Sample:  # fmt: skip
    """The copy, with the passwords of its server in the environment."""
    for variable, password in PASSWORDS.items():
        monkeypatch.setenv(variable, password)
    return copied(name, tmp_path, request)
