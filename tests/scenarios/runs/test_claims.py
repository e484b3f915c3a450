"""One run a directory: what keeps the claim of a run, what does not, and a link in its place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.command import Start, asked, program
from tests.support import A, Wechat, command, harvest

pytestmark = pytest.mark.thorough


def january(server: Wechat) -> list[str]:
    return asked(server.url, "getusersummary", "2024-01-01", "2024-01-31")


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
HEAD = """
import asyncio, multiprocessing, os, subprocess, sys, time
import harvester

url, out, *more = sys.argv[1:]

def harvested(end, on_event=None):
    return harvester.run(
        harvester.Account("wx00000000000000aa", secret="practice"), "getusersummary", "2024-01-01",
        end, sink=f"jsonl:{out}", base_url=url, rate="1000/s", on_event=on_event)
"""
RUN = f"""{HEAD}
ends, make = more
begun = False

def on_event(event):
    global begun
    if not begun:
        begun = True
        scope = {{"multiprocessing": multiprocessing, "os": os, "subprocess": subprocess,
                 "time": time}}
        exec(make, scope)
        print(scope["child"], flush=True)
        if ends == "killed":
            time.sleep(600)

asyncio.run(harvested("2024-01-31", on_event))
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


@pytest.mark.sampled
@pytest.mark.parametrize("ends", ["returned", "killed"])
@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_that_outlives_a_run_does_not_keep_its_directory(
    wechat: Start, tmp_path: Path, ends: str, child: str
) -> None:
    server = wechat()
    with run_with_child(server.url, tmp_path / "out", ends, child) as started:
        done = harvest(*january(server), "--out", tmp_path / "out")
        os.kill(started, 0)  # it lives
    assert done.returncode == 0, done.stderr


DURING = f"""{HEAD}
said = []

def on_event(event):
    if not said:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        done = subprocess.run([*more, "--out", out], capture_output=True, text=True)
        said.append((done.returncode, done.stderr))

asyncio.run(harvested("2024-01-31", on_event))
print(*said[0])
"""


def test_a_child_that_ends_does_not_give_the_directory_away(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    done = program(DURING, server.url, tmp_path / "out", *command(*january(server)))
    assert done.stdout.startswith("2 harvester: "), done.stderr
    assert "harvester: the directory " in done.stdout
    assert "is in use by another harvester" in done.stdout


TWICE = f"""{HEAD}
async def main():
    both = harvested("2024-01-20"), harvested("2024-01-31")
    done = await asyncio.gather(*both, return_exceptions=True)
    print(sorted(str(getattr(one, "state", one)).partition(";")[0] for one in done))

asyncio.run(main())
"""


def test_of_two_runs_in_one_process_one_is_refused(wechat: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = program(TWICE, wechat(latency=0.1).url, out)
    said = f"the directory {out} is in use by another harvester"
    assert done.stdout.strip() == str(["complete", said]), done.stderr


def test_a_link_in_place_of_a_lock_file_is_not_followed(wechat: Start, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("precious")
    args = (*january(wechat()), "--out", out)
    assert harvest(*args).returncode == 0
    locks = [path for path in out.iterdir() if path.suffix == ".lock"]
    assert len(locks) >= 2
    for path in locks:
        kept = path.read_bytes()
        path.unlink()
        path.symlink_to(victim)
        done = harvest(*args, "--refresh")
        assert (done.returncode, done.stdout) == (2, "")
        server, *said = done.stderr.splitlines()
        assert server.endswith("which is not WeChat")
        assert said == [f"harvester: {path} is a symbolic link instead of a lock file; remove it"]
        assert victim.read_text() == "precious"
        path.unlink()
        path.write_bytes(kept)


@pytest.mark.parametrize("name", ["tokens.json.lock", f"tokens.json.{A}.lock"])
def test_a_link_in_the_place_of_a_token_stores_lock_is_refused_and_not_followed(
    wechat: Start, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / name).symlink_to(victim)
    store = f"file:{tmp_path}/tokens.json"
    done = harvest(*january(wechat()), "--token-store", store, cwd=tmp_path)
    assert done.returncode != 0
    assert f"{tmp_path / name} is a symbolic link instead of a lock file" in done.stderr
    assert victim.read_text() == "precious"
