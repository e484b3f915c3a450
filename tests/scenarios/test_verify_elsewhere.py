"""What verify says of a destination that it cannot open: that, and no difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.postgres_server import PASSWORD, PostgresServer
from tests.redis_server import RedisServer
from tests.support import A, Wechat, harvest

pytestmark = pytest.mark.thorough

RUN = ("run", "getusersummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-01-05",
       "--rate", "1000/s")  # fmt: skip
SAME, OTHER = "exactly what was fetched", "different from what was fetched"


def test_a_password_that_is_missing_is_no_difference(
    wechat: Callable[..., Wechat], postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.url(postgres.new_database())
    done = harvest(*RUN, "--base-url", wechat().url, "--sink", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for password, said in (("", "no password was given"), ("wr0ng", "authentication failed")):
        done = harvest("verify", cwd=tmp_path, PGPASSWORD=password)
        assert (done.returncode, done.stdout) == (4, "")
        (line,) = done.stderr.splitlines()
        assert "was not verified: " in line
        assert said in line
    done = harvest("verify", cwd=tmp_path, PGPASSWORD=PASSWORD)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, SAME)


def test_a_feed_cannot_be_verified_and_agrees_with_nothing(
    wechat: Callable[..., Wechat], redis: RedisServer, tmp_path: Path
) -> None:
    redis.empty()
    for more in ((), ("--sink", f"jsonl:{tmp_path / 'lines'}")):
        ledger = tmp_path / f"out{len(more)}"
        done = harvest(
            *RUN, "--base-url", wechat().url, "--sink", redis.url, *more, "--out", ledger
        )
        assert done.returncode == 0, done.stderr
        done = harvest("verify", "--out", ledger)
        assert done.returncode == 0, done.stderr
        assert "cannot be read back; it was not verified" in done.stdout
        assert (SAME in done.stdout) == bool(more)


@pytest.mark.parametrize(("sink", "library"), [("duckdb:x.db", "duckdb"), ("parquet:p", "pyarrow")])
def test_a_library_that_is_missing_is_no_difference_and_no_agreement(
    wechat: Callable[..., Wechat], tmp_path: Path, sink: str, library: str
) -> None:
    done = harvest(*RUN, "--base-url", wechat().url, "--sink", sink, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules['{library}'] = None\n")
    done = harvest("verify", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (4, "")
    assert "pip install" in done.stderr


def test_what_can_be_read_is_verified_beside_what_cannot(
    wechat: Callable[..., Wechat], postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.url(postgres.new_database())
    sinks = ("--sink", url, "--sink", f"jsonl:{tmp_path / 'lines'}")
    done = harvest(*RUN, "--base-url", wechat().url, *sinks, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (4, SAME)
    [segment] = (tmp_path / "lines" / "getusersummary").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"new_user":', b'"now_user":', 1))
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (4, OTHER)
    assert "no password was given" in done.stderr


def test_a_database_that_is_gone_is_a_difference(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    done = harvest(*RUN, "--base-url", wechat().url, "--sink", "sqlite:x.db", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "x.db").unlink()
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, OTHER)
    assert "is gone" in done.stdout
