"""Token stores: who holds a lease, for how long, and what the event loop does meanwhile."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis as library

from tests.redis_server import RedisServer
from tests.support import A, Wechat, command, environment, harvest

DAYS = ("--start", "2024-01-01", "--end", "2024-01-02")

MANY = """
import asyncio, sys, threading
import harvester
from harvester.testing import Simulator, serve

folder = sys.argv[1]
here, there = [], []
watching = False

def hook(event, args):
    if not watching:
        return
    if event == "fcntl.flock" or (
        event in ("open", "os.rename", "os.remove") and str(args[0]).startswith(folder)
    ):
        (here if threading.current_thread() is threading.main_thread() else there).append(event)

sys.addaudithook(hook)

async def main():
    global watching
    accounts = [harvester.Account(f"wx{n:016x}", secret="practice") for n in range(200)]
    async with serve(Simulator()) as server:
        store = harvester.FileStore(f"{folder}/tokens/")
        watching = True
        report = await harvester.run(
            accounts, "getusersummary", "2024-01-01", "2024-01-01", sink="memory:",
            base_url=server.url, token_store=store, rate=1000)
        watching = False
        await store.close()
    print(report.state, report.token_fetches, len(here), len(there) > 600)

asyncio.run(main())
"""


def test_no_file_of_a_token_store_is_touched_on_the_loops_thread(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "complete 200 0 True"


@contextmanager
def held(store: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run that holds a lease, since its token request is never answered."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            command("run", "getusersummary", "--appid", A, *DAYS, "--base-url", url,
                    "--out", "held", "--token-store", store),
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()


def other(server: Wechat, store: str) -> list[str]:
    return command(
        "run", "getusersummary", "--appid", A, *DAYS, "--base-url", server.url, "--out", "other",
        "--rate", "1000/s", "--token-store", store,
    )  # fmt: skip


@pytest.fixture
def holding(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    redis.empty()
    monkeypatch.chdir(tmp_path)
    with held(redis.url) as process, library.Redis.from_url(redis.url) as client:
        ends = time.monotonic() + 20
        while not client.keys("harvester:lease:*"):
            assert time.monotonic() < ends, "it takes no lease"
            time.sleep(0.05)
        yield process


def test_the_lease_of_a_killed_holder_in_redis_passes_on_within_seconds(
    wechat: Callable[..., Wechat], redis: RedisServer, holding: subprocess.Popen[bytes]
) -> None:
    holding.kill()
    started = time.monotonic()
    done = subprocess.run(
        other(wechat(), redis.url), capture_output=True, text=True, timeout=60, check=False,
        env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20


@pytest.mark.thorough
def test_a_slow_holder_of_a_lease_in_redis_keeps_it(
    wechat: Callable[..., Wechat], redis: RedisServer, holding: subprocess.Popen[bytes]
) -> None:
    server = wechat()
    with subprocess.Popen(
        other(server, redis.url), env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as waiting:  # fmt: skip
        time.sleep(25)
        assert waiting.poll() is None
        assert not server.simulator.counts
        holding.kill()
        assert waiting.wait(30) == 0


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("/0?x=1", "the URL of redis://h:1 has an option that is not one; it has none"),
        ("/0?socket_timeout=abc", "the URL of redis://h:1 has an option that is not one"),
        ("/0?decode_responses=true", "the URL of redis://h:1 has an option that is not one"),
        ("/0?retry=", "the URL of redis://h:1 has an option that is not one"),
        ("/zero", "redis://h:1 has no such database"),
        ("/0/1", "redis://h:1 has no such database"),
    ],
)
def test_what_a_redis_url_cannot_say_is_one_sentence(tmp_path: Path, rest: str, said: str) -> None:
    done = harvest(
        "run", "getusersummary", "--appid", A, *DAYS, "--base-url", "http://127.0.0.1:1",
        "--token-store", f"redis://h:1{rest}", cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"harvester: token store: {said}")


def test_a_database_of_redis_that_does_not_exist_ends_in_a_sentence(
    redis: RedisServer, wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    done = harvest(
        "run", "getusersummary", "--appid", A, *DAYS, "--base-url", wechat().url, "--attempts",
        "1", "--token-store", f"{redis.url[:-1]}9999", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert f"redis://127.0.0.1:{redis.port}" in done.stderr
