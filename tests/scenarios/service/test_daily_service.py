"""``harvester serve`` as real processes: killed, frozen, stopped, reloaded, with a webhook away."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.base.dates import china
from harvester.base.secrets import Secret
from harvester.ledger import open_ledger
from harvester.service.state import State
from harvester.testing import Simulator
from harvester.wechat.interfaces import INTERFACES
from tests.own_server import free_port
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import begun, started, until
from tests.support import Wechat, as_multiset, at, bare, days, harvest, stored
from tests.webhook import TOKEN, Webhook

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(180)]

DAY = "2026-03-10"
APPIDS = [f"wx{number:016x}" for number in range(4)]
ENDPOINT = "getarticleread"


Process = subprocess.Popen[str]
Start = Callable[[Process], Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Takes processes that end with the test, however that ends."""
    processes: list[Process] = []

    def start(process: Process) -> Process:
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


class Clock:
    """A clock from an hour in China on a day, so many times as fast as ours."""

    def __init__(self, hour: float, factor: float) -> None:
        self.start, self.factor, self.began = at(DAY, hour), factor, time.time()

    def __call__(self) -> float:
        return self.start + (time.time() - self.began) * self.factor

    @property
    def hour(self) -> float:
        return (self() - at(DAY, 0)) / 3600


def configured(folder: Path, url: str, hook: Webhook, **more: Any) -> int:
    """Write a configuration; gives the port of the pages."""
    secret = folder / "hook"
    secret.write_text(f"json://{hook.url}")
    secret.chmod(0o600)
    port = free_port()
    options = {"start": "2026-02-01", "rate": "1000/s", "concurrency": 4, "sink": ["jsonl:data"]}
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**options, **more}.items()]
    (folder / "harvester.toml").write_text(
        f'endpoint = ["{ENDPOINT}"]\nend = "yesterday"\naccounts = "accounts.csv"\n'
        f'base-url = "{url}"\n'
        + "\n".join(lines)
        + f"""
[serve]
at = "08:05"
listen = "127.0.0.1:{port}"
alerts = ["file:hook"]
lang = "en"
"""
    )
    rows = "".join(f"{each},env:HARVESTER_SECRET\n" for each in APPIDS)
    (folder / "accounts.csv").write_text("appid,secret\n" + rows)
    return port


def got(port: int, path: str) -> Any:
    """The answer of a page, None if there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.URLError):
        return None


def status(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(got(port, "/status.json") or '{"service": {}}')
    return found


def ended(process: Process, how: signal.Signals = signal.SIGTERM) -> str:
    """End it; gives its log, in which there is no secret."""
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 0), err
    assert TOKEN not in err
    assert "practice" not in err
    assert "Traceback" not in err, err
    return err


def test_started_before_its_hour_killed_in_the_middle_and_started_again(
    tmp_path: Path, hook: Webhook, start: Start
) -> None:
    clock = Clock(8, 60)
    simulator = Simulator(wall=clock, latency=0.1)
    with Wechat(simulator) as wechat:
        port = configured(tmp_path, wechat.url, hook)
        command = "serve", "--config", tmp_path / "harvester.toml"
        first = start(started(DAY, clock.hour, *command, factor=60))
        until(lambda: got(port, "/healthz"))
        if clock.hour < 8 + 4.5 / 60:
            assert not simulator.counts["data"]
        until(lambda: len(simulator.served_of) >= 20)
        assert clock.hour >= 8 + 5 / 60
        ended(first, signal.SIGKILL)
        assert len(simulator.served_of) < 4 * len(INTERFACES)
        second = start(started(DAY, clock.hour, *command, factor=60))
        until(lambda: hook.titled("Yesterday is complete"))
        until(lambda: status(port)["service"].get("day") == DAY)
        assert status(port)["accounts"] == 4
        until(lambda: clock.hour > 9)
        err = ended(second)
        last = max(begin for _, _, begin, _ in simulator.served_of)
        found = as_multiset(
            (each["_appid"], "", bare(each)) for each in stored(tmp_path / "data", ENDPOINT)
        )
        truth = as_multiset(
            (appid, "", record)
            for appid in APPIDS
            for day in days(date(2026, 2, 1), last)
            for record in simulator.truth_of(ENDPOINT, appid, day, day)
        )
    assert found == truth
    assert len(hook.got) == 1, hook.got
    assert err.count("begins") == 1


def test_a_webhook_that_is_away_for_an_hour_gets_each_message_once(
    tmp_path: Path, hook: Webhook, start: Start
) -> None:
    clock = Clock(8.05, 600)
    simulator = Simulator(wall=clock, refuse_token={APPIDS[0]: 40125})
    hook.status = 503
    with Wechat(simulator) as wechat:
        port = configured(tmp_path, wechat.url, hook)
        log = ["--log-format", "json"]
        command = "serve", "--config", tmp_path / "harvester.toml", *log
        process = start(started(DAY, 8.05, *command, factor=600))
        until(lambda: status(port)["service"].get("day") == DAY)  # the harvest did not wait
        harvested = clock()
        until(lambda: clock() > harvested + 3600)
        assert len(hook.refused) >= 2
        hook.status = 200
        until(lambda: len(hook.got) == 2)
        time.sleep(1)  # ten minutes
        err = ended(process)
    assert len(hook.titled("needs action")) == len(hook.titled("incomplete for 1 of 4")) == 1
    lines = [json.loads(line) for line in err.splitlines()]
    refused = [each for each in lines if "file:hook did not take the message" in each["message"]]
    assert {each["level"] for each in refused} == {"warning"}


def test_two_on_one_ledger_one_of_them_frozen(
    tmp_path: Path, hook: Webhook, postgres: PostgresServer, start: Start
) -> None:
    url = postgres.url(postgres.new_database()).replace(f":{PASSWORD}", "")
    simulator = Simulator(latency=0.1, refuse_token={APPIDS[0]: 40125})
    with Wechat(simulator) as wechat:
        folders = [tmp_path / name for name in ("one", "two")]
        ports = []
        for folder in folders:
            folder.mkdir()
            more = {"start": "yesterday-40d", "ledger": url, "sink": [url], "lease": "2s"}
            ports.append(configured(folder, wechat.url, hook, **more))
        _due(url)
        processes = [
            start(begun("serve", "--config", folder / "harvester.toml", PGPASSWORD=PASSWORD))
            for folder in folders
        ]
        until(lambda: simulator.counts["data"] >= 10)
        processes[0].send_signal(signal.SIGSTOP)
        # The digest and the alert.  One that was frozen while it wrote the sink keeps its locks for
        # the first 20 seconds.
        until(lambda: len(told(hook)) == 2, 20 + 60)
        served = status(ports[1])
        assert served["accounts"] == 4
        assert served["service"]["alerted"] == {"secret": [APPIDS[0]]}
        processes[0].send_signal(signal.SIGCONT)
        until(lambda: status(ports[0])["service"].get("running") is False, 90)
        time.sleep(2)
        for process in processes:
            ended(process)
    assert len(told(hook)) == 2, hook.got
    rows = postgres.execute(
        f"SELECT _appid, _begin_date, _row FROM {ENDPOINT}", url.rpartition("/")[2]
    )
    assert len(rows) == len({*rows})
    assert len({(appid, day) for appid, day, _ in rows}) == 3 * 41
    contents = str(postgres.execute("SELECT * FROM harvester.checkpoint", url.rpartition("/")[2]))
    assert "alerted" not in contents
    assert APPIDS[0] in contents
    assert TOKEN not in contents


def told(hook: Webhook) -> list[Any]:
    """The messages, without that of a week, which depends on the day of this test."""
    return [each for each in hook.got if "The week" not in each.body["title"]]


def _due(url: str) -> None:
    """Let a day's harvest be due now, whatever the hour: the last one was made days ago."""

    async def main() -> None:
        spec = Secret(url.replace("harvester@", f"harvester:{PASSWORD}@"))
        async with open_ledger(spec) as ledger:
            day = china(time.time()).date() - timedelta(days=3)
            assert await ledger.swap_state("", State(day, number=1).write())

    asyncio.run(main())


def test_a_reload_and_an_orderly_end(tmp_path: Path, hook: Webhook, start: Start) -> None:
    clock = Clock(9, 60)
    simulator = Simulator(wall=clock, latency=0.1)
    with Wechat(simulator) as wechat:
        port = configured(tmp_path, wechat.url, hook)
        command = "serve", "--config", tmp_path / "harvester.toml"
        process = start(started(DAY, 9, *command, factor=60))
        until(lambda: len(simulator.served_of) >= 20)
        before = (tmp_path / "accounts.csv").read_text()
        (tmp_path / "accounts.csv").write_text("appid,sekret\n")
        process.send_signal(signal.SIGHUP)
        (tmp_path / "accounts.csv").write_text(before + f"{'wx' + 'f' * 16},env:HARVESTER_SECRET\n")
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        until(lambda: status(port).get("accounts") == 5, 90)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "reloaded: 5 accounts" in err
    assert "Traceback" not in err


def test_it_waits_for_a_database_that_is_away_and_ends_at_once_when_asked(
    tmp_path: Path, hook: Webhook, start: Start
) -> None:
    url = f"postgresql://harvester@127.0.0.1:{free_port()}/harvester"
    port = configured(tmp_path, "http://127.0.0.1:1", hook, ledger=url, sink=[url])
    process = start(begun("serve", "--config", tmp_path / "harvester.toml", PGPASSWORD=PASSWORD))
    until(lambda: got(port, "/healthz") == "ok\n")
    assert got(port, "/readyz") is None  # 503
    began = time.monotonic()
    ended(process)
    assert time.monotonic() - began < 15


def test_a_log_on_a_full_disk_ends_neither_the_service_nor_its_harvest(
    tmp_path: Path, hook: Webhook, start: Start
) -> None:
    simulator = Simulator(wall=Clock(9, 1))
    with Wechat(simulator) as wechat, Path("/dev/full").open("w") as full:
        port = configured(tmp_path, wechat.url, hook)
        command = "serve", "--config", tmp_path / "harvester.toml"
        process = start(started(DAY, 9, *command, err=full))
        until(lambda: hook.titled("Yesterday is complete"))
        assert status(port)["service"]["day"] == DAY
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_connections_of_strangers_hold_up_neither_the_harvest_nor_the_probes(
    tmp_path: Path, hook: Webhook, start: Start
) -> None:
    """1,142 half requests, some malformed, others that come slowly, and 300 descriptors."""
    head = f"GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}".encode()
    simulator = Simulator(wall=Clock(8 + 4.75 / 60, 1))
    with Wechat(simulator) as wechat, ExitStack() as opened:
        port = configured(tmp_path, wechat.url, hook)
        log = ["--log-format", "json"]
        command = "serve", "--config", tmp_path / "harvester.toml", *log
        process = start(started(DAY, 8 + 4.75 / 60, *command))
        until(lambda: got(port, "/healthz"))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (300, 300))

        def connected(sent: bytes) -> socket.socket:
            made = opened.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            with suppress(OSError):
                made.sendall(sent)
            return made

        slow = [connected(head) for _ in range(20)]
        waited = 0.0
        for number in range(1142):
            connected(head + (b"\x00\r\n\r\n" if number % 10 == 0 else b""))
            if number % 100 == 0:
                begun = time.monotonic()
                assert got(port, "/healthz") == "ok\n"
                waited = max(waited, time.monotonic() - begun)
                slow += [connected(head[:10]) for _ in range(5)]
        while not hook.titled("Yesterday is complete"):
            for each in slow:
                with suppress(OSError):
                    each.sendall(b"x")
            assert got(port, "/healthz") == "ok\n"
            time.sleep(0.2)
        assert status(port)["service"]["day"] == DAY
        assert waited < 5
        err = ended(process)
    assert len(err) < 10_000
    assert {"time", "level", "message"} <= {
        key for line in err.splitlines() for key in json.loads(line)
    }


def test_a_second_service_of_a_ledger_is_refused_until_the_first_has_ended(
    tmp_path: Path, hook: Webhook, start: Start
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    ports = []
    for folder in folders:
        folder.mkdir()
        more = {"ledger": str(tmp_path / "ledger.sqlite")}
        ports.append(configured(folder, "http://127.0.0.1:1", hook, **more))
    command = [("serve", "--config", folder / "harvester.toml") for folder in folders]
    first = start(started(DAY, 7, *command[0]))
    until(lambda: got(ports[0], "/healthz"))
    done = started(DAY, 7, *command[1])
    _, err = start(done).communicate(timeout=60)
    assert (done.returncode, err.count("\n")) == (2, 2)
    assert "which is not WeChat" in err.splitlines()[0]
    assert f"is already served by process {first.pid} on {socket.gethostname()}" in err
    assert (tmp_path / "ledger.sqlite").exists()
    ended(first, signal.SIGKILL)
    second = start(started(DAY, 7, *command[1]))
    until(lambda: got(ports[1], "/healthz"))
    ended(second)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('alerts = ["wecombot://t0ken-of-the-robot"]', "a secret must be a reference"),
        ('listen = "0.0.0.0:8605"', "so a token is needed"),
        ("alert = 1", "has no key 'alert' (did you mean alerts?)"),
    ],
)
def test_what_is_refused_at_the_start(more: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = ["users"]\nstart = "2024-01-01"\nend = "yesterday"\nappid = "wx1"\n'
        f"[serve]\n{more}\n"
    )
    done = harvest("serve", "--config", tmp_path / "harvester.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert TOKEN not in done.stderr
