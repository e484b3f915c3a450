"""Databases of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres_server import PostgresServer
from tests.sinks.sql.test_base import SINKS, Target, target_of


@pytest.fixture(params=SINKS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """One of each kind."""
    return target_of(request.param, tmp_path, request)


@pytest.fixture
def lite(tmp_path: Path) -> Target:
    """One of SQLite."""
    return Target("sqlite", tmp_path, None)


@pytest.fixture
def pg(postgres: PostgresServer, tmp_path: Path) -> Target:
    """One of PostgreSQL."""
    return Target("postgresql", tmp_path, postgres)
