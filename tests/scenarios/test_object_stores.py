"""There is no sink for object stores; whoever names one is told so before anything is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import harvester
from tests.scenarios.days import DaysOnly
from tests.support import A, harvest

KEY = "AKIAIOSFODNN7EXAMPLE"
URLS = [
    f"{scheme}://{rest}"
    for scheme in ("s3", "gs", "az", "abfs", "file")
    for rest in (f"bucket/{KEY}", f"user:{KEY}@bucket/prefix", f"bucket/prefix?key={KEY}")
]


@pytest.mark.parametrize("url", URLS)
def test_the_library_refuses_an_object_store(url: str) -> None:
    account = harvester.Account(A, secret="practice")
    scheme = url.partition(":")[0]
    with DaysOnly() as server:
        run = harvester.run(
            account, "users", "2025-01-01", "2025-01-02", sink=url, base_url=server.url
        )
        with pytest.raises(harvester.UsageError, match=f"^no sink for '{scheme}://…': ") as caught:
            asyncio.run(run)
        assert KEY not in str(caught.value)
        assert server.requests == 0


@pytest.mark.parametrize("url", URLS[1::3])
def test_the_command_refuses_an_object_store(url: str, tmp_path: Path) -> None:
    with DaysOnly() as server:
        done = harvest(
            "run", "getusersummary", "--appid", A, "--start", "2025-01-01", "--end", "2025-01-02",
            "--base-url", server.url, "--out", tmp_path / "out", "--sink", url,
        )  # fmt: skip
        assert server.requests == 0
    assert done.returncode == 2
    assert f"no sink for '{url.partition(':')[0]}://…': " in done.stderr
    assert KEY not in done.stderr + done.stdout


@pytest.mark.parametrize("url", URLS[1::3])
def test_what_stands_in_an_object_store_is_not_read(url: str) -> None:
    with pytest.raises(harvester.UsageError, match="no sink for ") as caught:
        harvester.read(url, "getusersummary")
    assert KEY not in str(caught.value)
