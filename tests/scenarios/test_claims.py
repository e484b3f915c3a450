"""One run a directory: what keeps the claim of a run, what does not, and a link in its place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import A, Wechat, harvest

pytestmark = pytest.mark.thorough

DAYS = ("--start", "2024-01-01", "--end", "2024-01-31")

CHILDREN = {
    "fork": """
child = os.fork()
if not child:
    os.closerange(0, 3)
    time.sleep(600)
    os._exit(0)
""",
    "multiprocessing": """
process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
process.start()
child = process.pid
""",
    "program": """
nothing = subprocess.DEVNULL
child = subprocess.Popen(["sleep", "600"], stdin=nothing, stdout=nothing, stderr=nothing).pid
""",
    "program that closes nothing": """
nothing = subprocess.DEVNULL
child = subprocess.Popen(
    ["sleep", "600"], stdin=nothing, stdout=nothing, stderr=nothing, close_fds=False
).pid
""",
}
RUN = """
import asyncio, multiprocessing, os, subprocess, sys, time
import harvester

url, out, ends, make = sys.argv[1:]
begun = False

def on_event(event):
    global begun
    if not begun:
        begun = True
        scope = {"multiprocessing": multiprocessing, "os": os, "subprocess": subprocess,
                 "time": time}
        exec(make, scope)
        print(scope["child"], flush=True)
        if ends == "killed":
            time.sleep(600)

asyncio.run(harvester.run(
    harvester.Account("wx00000000000000aa", secret="practice"), "getusersummary", "2024-01-01",
    "2024-01-31", sink=f"jsonl:{out}", base_url=url, rate=1000, on_event=on_event,
))
print("ended", flush=True)
sys.stdin.read()
"""


@contextmanager
def run_with_child(url: str, out: Path, ends: str, child: str) -> Iterator[int]:
    """A run that starts a child in its midst, and has come to its end; the child lives on."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, url, str(out), ends, CHILDREN[child]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        started = int(process.stdout.readline())
        try:
            if ends == "killed":
                process.kill()
                process.wait(10)
            else:
                assert process.stdout.readline() == b"ended\n"
            yield started
        finally:
            os.kill(started, signal.SIGKILL)
            process.kill()


@pytest.mark.parametrize("ends", ["returned", "killed"])
@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_that_outlives_a_run_does_not_keep_its_directory(
    wechat: Callable[..., Wechat], tmp_path: Path, ends: str, child: str
) -> None:
    server = wechat()
    with run_with_child(server.url, tmp_path / "out", ends, child) as started:
        args = ("--appid", A, *DAYS, "--base-url", server.url, "--rate", "1000/s")
        done = harvest("run", "getusersummary", *args, "--out", tmp_path / "out")
        os.kill(started, 0)  # it lives
    assert done.returncode == 0, done.stderr


DURING = """
import asyncio, os, subprocess, sys
import harvester

url, out, *command = sys.argv[1:]
said = []

def on_event(event):
    if not said:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        done = subprocess.run([*command, "--out", out], capture_output=True, text=True)
        said.append((done.returncode, done.stderr))

asyncio.run(harvester.run(
    harvester.Account("wx00000000000000aa", secret="practice"), "getusersummary", "2024-01-01",
    "2024-01-31", sink=f"jsonl:{out}", base_url=url, rate=1000, on_event=on_event,
))
print(*said[0])
"""


def test_a_child_that_ends_during_a_run_does_not_give_its_directory_to_others(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    other = [sys.executable, "-m", "harvester", "run", "getusersummary", "--appid", A, *DAYS]
    done = subprocess.run(
        [sys.executable, "-c", DURING, server.url, str(tmp_path / "out"), *other,
         "--base-url", server.url],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "HARVESTER_SECRET": "practice"},
    )  # fmt: skip
    assert done.stdout.startswith("2 harvester: the directory ")
    assert "is in use by another harvester" in done.stdout


TWICE = """
import asyncio, sys
import harvester

async def go(days):
    return await harvester.run(
        harvester.Account("wx00000000000000aa", secret="practice"), "getusersummary",
        "2024-01-01", days, sink=f"jsonl:{sys.argv[2]}", base_url=sys.argv[1], rate=1000)

async def main():
    done = await asyncio.gather(go("2024-01-20"), go("2024-01-31"), return_exceptions=True)
    print(sorted(getattr(one, "state", str(one).partition(";")[0]) for one in done))

asyncio.run(main())
"""


def test_of_two_runs_in_one_process_on_one_directory_the_second_is_refused(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", TWICE, wechat(latency=0.1).url, str(out)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    said = f"the directory {out} is in use by another harvester"
    assert done.stdout.strip() == str(["complete", said])


def test_a_link_in_the_place_of_a_lock_file_is_refused_and_not_followed(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("precious")
    server = wechat()
    args = ("run", "getusersummary", "--appid", A, *DAYS, "--base-url", server.url, "--out", out)
    assert harvest(*args, "--rate", "1000/s").returncode == 0
    locks = [path for path in out.iterdir() if path.is_file() and path.suffix != ".sqlite"]
    assert len(locks) >= 2
    for path in locks:
        kept = path.read_bytes()
        path.unlink()
        path.symlink_to(victim)
        done = harvest(*args, "--refresh")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines() == [
            f"harvester: {path} is a symbolic link in the place of a lock file; remove it"
        ]
        assert victim.read_text() == "precious"
        path.unlink()
        path.write_bytes(kept)


@pytest.mark.parametrize("name", ["tokens.json.lock", f"tokens.json.{A}.lock"])
def test_a_link_in_the_place_of_a_token_stores_lock_is_refused_and_not_followed(
    wechat: Callable[..., Wechat], tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / name).symlink_to(victim)
    done = harvest(
        "run", "getusersummary", "--appid", A, *DAYS, "--base-url", wechat().url,
        "--rate", "1000/s", "--token-store", f"file:{tmp_path}/tokens.json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"{tmp_path / name} is a symbolic link in the place of a lock file" in done.stderr
    assert victim.read_text() == "precious"
