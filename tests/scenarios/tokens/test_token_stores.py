"""Token stores: who holds a lease, for how long, and what the event loop does meanwhile."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as library

from tests.redis_server import RedisServer
from tests.scenarios.command import Start, asked, begun, program, succeeded, until
from tests.support import harvest

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
            base_url=server.url, token_store=store, rate="1000/s")
        watching = False
        await store.close()
    print(report.state, report.token_fetches, len(here), len(there) > 600)

asyncio.run(main())
"""


@pytest.mark.thorough
def test_no_file_of_a_token_store_is_touched_on_the_loops_thread(tmp_path: Path) -> None:
    assert program(MANY, tmp_path).stdout.strip() == "complete 200 0 True"


def other(url: str, store: str, *more: str) -> list[str]:
    days = ("2024-01-01", "2024-01-02", "--token-store", store)
    return asked(url, "getusersummary", *days, *more)


@pytest.fixture
def holding(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[str]]:
    """A run that holds a lease, since its token request is never answered."""
    redis.empty()
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with begun(*other(url, redis.url, "--out", "held")) as process:
            try:
                with library.Redis.from_url(redis.url) as client:
                    until(lambda: client.keys("harvester:lease:*"), 20)
                yield process
            finally:
                process.kill()


def test_the_lease_of_a_killed_holder_in_redis_passes_on_within_seconds(
    wechat: Start, redis: RedisServer, holding: subprocess.Popen[str]
) -> None:
    holding.kill()
    started = time.monotonic()
    succeeded(*other(wechat().url, redis.url))
    assert time.monotonic() - started < 20


@pytest.mark.thorough
def test_a_slow_holder_of_a_lease_in_redis_keeps_it(
    wechat: Start, redis: RedisServer, holding: subprocess.Popen[str]
) -> None:
    server = wechat()
    with begun(*other(server.url, redis.url)) as waiting:
        time.sleep(25)
        assert waiting.poll() is None
        assert not server.simulator.counts
        holding.kill()
        assert waiting.wait(30) == 0


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("/0?x=1", "the URL of redis://h:1 has an unknown option; it has no options"),
        ("/0?socket_timeout=abc", "the URL of redis://h:1 has an unknown option"),
        ("/0?decode_responses=true", "the URL of redis://h:1 has an unknown option"),
        ("/0?retry=", "the URL of redis://h:1 has an unknown option"),
        ("/zero", "redis://h:1 has no such database"),
        ("/0/1", "redis://h:1 has no such database"),
    ],
)
def test_what_a_redis_url_cannot_say_is_one_sentence(tmp_path: Path, rest: str, said: str) -> None:
    done = harvest(*other("http://127.0.0.1:1", f"redis://h:1{rest}"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"harvester: token store: {said}")


def test_a_database_of_redis_that_does_not_exist_ends_in_a_sentence(
    redis: RedisServer, wechat: Start, tmp_path: Path
) -> None:
    run = other(wechat().url, f"{redis.url[:-1]}9999", "--attempts", "1")
    done = harvest(*run, cwd=tmp_path)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert f"redis://127.0.0.1:{redis.port}" in done.stderr
