"""Programs that share an account through a token store: real processes, stopped and killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import harvester
from harvester.model import Send, Token
from harvester.testing import Faults, Simulator
from harvester.tokens.shared import StoredToken
from harvester.tokens.stores import FileStore, TokenStore
from harvester.tokens.stores.redis import PASSWORD_VARIABLE, RedisStore
from tests.redis_server import PASSWORD, RedisServer
from tests.scenarios.command import Done, Start, begun
from tests.support import JANUARY as JAN
from tests.support import A, B, Wechat, assert_exactly_the_truth, days, environment, harvest, stored

pytestmark = pytest.mark.thorough

PROCESSES = 8
TWO_MONTHS = ["getarticlesummary", "--start", "2024-01-01", "--end", "2024-02-29"]

STORE = """
import asyncio, sys
from harvester.tokens.shared import StoredToken
from harvester.model import Token
from harvester.tokens.stores import FileStore
from harvester.tokens.stores.redis import RedisStore
def open_store(spec, lease):
    kind = RedisStore if spec.startswith("redis") else FileStore
    return kind(spec, lease=lease)
async def line():
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
def say(text):
    print(text, flush=True)
"""

HOLD = f"""{STORE}
async def main():
    async with open_store(sys.argv[1], 1.5).lease(sys.argv[2]):
        say("held")
        await line()
asyncio.run(main())
"""

FETCH = f"""{STORE}
class Slow:
    async def fetch(self, send):
        say("fetching")
        await line()
        return Token("late-token", 7200.0)
async def main():
    store = open_store(sys.argv[1], 1.5)
    say(await StoredToken("wx1", Slow(), None, store).get())
    await store.close()
asyncio.run(main())
"""

SLEEP = f"""{STORE}
class Short:
    async def fetch(self, send):
        return Token("short-token", 1.0)
async def main():
    store = open_store(sys.argv[1], 1.5)
    token = StoredToken("wx1", Short(), None, store)
    say(await token.get())
    await line()
    say(f"{{await token.get()}} after {{token.fetches}}")
    await store.close()
asyncio.run(main())
"""


class Counting(Simulator):
    """A WeChat that counts how often it revoked all tokens."""

    def revoke(self, appid: str) -> None:
        self.counts["revoked"] += 1
        super().revoke(appid)


@pytest.fixture(params=["file", "directory", "redis"])
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A token store as a command line names it."""
    match request.param:
        case "file":
            return f"file:{tmp_path / 'tokens'}"
        case "directory":
            return f"file:{tmp_path / 'tokens'}/"
        case _:
            server: RedisServer = request.getfixturevalue("redis")
            server.empty()
            return server.url.replace(f":{PASSWORD}@", "")


def opened(spec: str, lease: float = 1.5) -> TokenStore:
    """The same store in this process."""
    if spec.startswith("file:"):
        return FileStore(spec.removeprefix("file:"), lease=lease)
    return RedisStore(spec, lease=lease)


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)


@contextmanager
def program(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another program of the account; it is gone when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def accounts(path: Path, *tables: str) -> Path:
    path.write_text("\n".join(tables))
    return path


def classic(folder: Path) -> Path:
    table = f"[[account]]\nappid = '{A}'\nsecret = 'env:HARVESTER_SECRET'\ntoken = 'classic'\n"
    return accounts(folder / "accounts.toml", table)


def run(url: str, file: Path, folder: Path, *more: str, status: int = 0) -> Done:
    """January of the accounts of a file."""
    days = ("--start", str(JAN[0]), "--end", str(JAN[1]), "--rate", "100/s")
    where = ("--accounts", file, "--base-url", url, "--out", folder / "out")
    done = harvest("run", "getarticlesummary", *days, *where, *more)
    assert done.returncode == status, done.stderr
    return done


# many processes


def test_eight_processes_fetch_one_token_for_each_revoked(tmp_path: Path, spec: str) -> None:
    # not so often that a process which waits for the processor meets refused tokens in a row only
    simulator = Counting(classic_grace=0, faults=Faults(revoke_every=96))
    file = classic(tmp_path)
    with Wechat(simulator) as wechat:
        how = ["--accounts", file, "--base-url", wechat.url, "--token-store", spec]
        outs = [tmp_path / f"out{n}" for n in range(PROCESSES)]
        running = [
            begun("run", *TWO_MONTHS, *how, "--rate", "40/s", "--out", out, "--json")
            for out in outs
        ]
        said = [process.communicate(timeout=100) for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, said
    begin, end = harvester.model.date(2024, 1, 1), harvester.model.date(2024, 2, 29)
    for out in outs:
        assert_exactly_the_truth(stored(out), simulator, [A], begin, end)
    assert simulator.counts["revoked"] >= PROCESSES * len(days(begin, end)) // 96
    assert simulator.counts["token"] == simulator.counts["revoked"] + 1
    reports = [json.loads(output.splitlines()[-1]) for output, _ in said]
    assert sum(report["token_fetches"] for report in reports) == simulator.counts["token"]


# holders of a lease that die or do not move


def test_others_go_on_after_a_kill_of_its_holder(tmp_path: Path, spec: str, wechat: Start) -> None:
    with program(HOLD, spec.removeprefix("file:"), A) as holder:
        assert heard(holder) == "held"
        holder.kill()
        holder.wait(10)
        run(wechat().url, classic(tmp_path), tmp_path, "--token-store", spec)


class Gives:
    """A provider of one token."""

    def __init__(self, value: str) -> None:
        self.value = value

    async def fetch(self, send: Send) -> Token:
        return Token(self.value, 7200.0)


def got(spec: str, value: str) -> tuple[str, int]:
    """What another program of the account gets, and how often it fetched."""

    async def main() -> tuple[str, int]:
        store = opened(spec)
        token = StoredToken("wx1", Gives(value), None, store)  # type: ignore[arg-type]
        try:
            return await asyncio.wait_for(token.get(), 30), token.fetches
        finally:
            await store.close()

    return asyncio.run(main())


def test_who_was_stopped_while_he_fetched_adopts_what_others_have_fetched(spec: str) -> None:
    with program(FETCH, spec.removeprefix("file:")) as stopped:
        assert heard(stopped) == "fetching"
        stopped.send_signal(signal.SIGSTOP)
        assert got(spec, "winner") == ("winner", 1)
        stopped.send_signal(signal.SIGCONT)
        tell(stopped)
        assert heard(stopped) == "winner"
        assert stopped.wait(10) == 0
    assert got(spec, "third") == ("winner", 0)


@pytest.mark.parametrize("other", [True, False], ids=["another is there", "there is none"])
def test_who_slept_longer_than_his_token_adopts_or_fetches(spec: str, other: bool) -> None:
    with program(SLEEP, spec.removeprefix("file:")) as sleeper:
        assert heard(sleeper) == "short-token"
        sleeper.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        if other:
            assert got(spec, "of another") == ("of another", 1)
        sleeper.send_signal(signal.SIGCONT)
        tell(sleeper)
        assert heard(sleeper) == ("of another after 1" if other else "short-token after 2")


# third-party platforms

PLATFORM = ("wx00000000000000cc", "component-s3cret-of-the-tests")

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import harvester
from harvester.tokens.official import provider_for
from harvester.transport import HttpTransport
url, ticket, refresh, when = sys.argv[1:]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
async def main():
    platform = harvester.Platform("wx00000000000000cc", "component-s3cret-of-the-tests", ticket)
    save = die if when == "before" else None
    account = platform.account("wx00000000000000aa", Path(refresh), save)
    async with HttpTransport(url) as transport:
        await provider_for(account).fetch(transport.send)
        die()
asyncio.run(main())
"""


class Platforms:
    """The files of a platform and its accounts, and a WeChat that knows it."""

    def __init__(self, folder: Path, wechat: Start) -> None:
        self.folder = folder
        self.server = wechat(component=PLATFORM)
        self.simulator = self.server.simulator
        self.write("ticket", self.simulator.ticket())
        self.write("secret", PLATFORM[1])
        keys = "secret = 'file:secret'\nticket = 'file:ticket'\n"
        tables = [f"[[platform]]\nname = 'p'\nappid = '{PLATFORM[0]}'\n{keys}"]
        for appid in (A, B):
            self.write(appid, self.simulator.refresh_token(appid))
            keys = f"platform = 'p'\nrefresh_token = 'file:{appid}'\n"
            tables.append(f"[[account]]\nappid = '{appid}'\n{keys}")
        self.file = accounts(folder / "accounts.toml", *tables)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def run(self, *more: str, status: int = 0) -> Done:
        return run(self.server.url, self.file, self.folder, *more, status=status)


def test_accounts_of_a_platform_share_its_token(tmp_path: Path, spec: str, wechat: Start) -> None:
    scene = Platforms(tmp_path, wechat)
    scene.run("--token-store", spec)
    assert_exactly_the_truth(stored(tmp_path / "out"), scene.simulator, [A, B], *JAN)
    assert scene.simulator.counts["token"] == 3  # the platform's, and one an account
    scene.run("--token-store", spec, "--refresh")
    assert scene.simulator.counts["token"] == 3


def test_a_refresh_token_that_changes_is_rewritten(tmp_path: Path, wechat: Start) -> None:
    scene = Platforms(tmp_path, wechat)
    scene.simulator.rotate_refresh(A)
    former = scene.read(A)
    scene.run()
    assert scene.read(A) == scene.simulator.refresh_token(A) != former
    assert scene.read(B) == scene.simulator.refresh_token(B)
    assert (tmp_path / A).stat().st_mode & 0o777 == 0o600
    scene.run("--refresh")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_around_the_storing_of_a_refresh_token_loses_no_account(
    tmp_path: Path, wechat: Start, when: str
) -> None:
    scene = Platforms(tmp_path, wechat)
    scene.simulator.rotate_refresh(A)
    former = scene.read(A)
    arguments = [scene.server.url, str(tmp_path / "ticket"), str(tmp_path / A), when]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    given = scene.simulator.refresh_token(A)
    assert scene.read(A) == (former if when == "before" else given)
    scene.run()
    assert scene.read(A) == given


def test_who_took_the_leave_back_must_authorise_again(tmp_path: Path, wechat: Start) -> None:
    scene = Platforms(tmp_path, wechat)
    scene.simulator.deauthorize(A)
    scene.write(B, "refreshtoken@@@an-old-one")
    done = scene.run(status=4)
    for said in (
        A,
        "ask the account's administrator to authorise it",
        B,
        "ask the account's administrator to authorise the platform again",
    ):
        assert said in done.stderr
    for secret in (scene.read(A), scene.read(B), scene.read("ticket"), PLATFORM[1]):
        assert secret not in done.stderr + done.stdout


# cloud hosting


def test_in_cloud_hosting_no_token_is_sent(tmp_path: Path, wechat: Start) -> None:
    server = wechat(cloud_appid=A)
    file = accounts(tmp_path / "a.toml", f"[[account]]\nappid = '{A}'\ntoken = 'cloud'\n")
    run(server.url, file, tmp_path)
    assert_exactly_the_truth(stored(tmp_path / "out"), server.simulator, [A], *JAN)
    assert server.simulator.counts["token"] == 0
