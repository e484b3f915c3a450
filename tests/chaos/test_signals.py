"""Ctrl-C and SIGTERM, once and several times, typed and sent; a process that is stopped."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.cli import main
from harvester.cli.exit_status import UNUSABLE
from tests.chaos.harvests import assert_the_truth, job, started
from tests.support import A, Wechat, command, environment, harvest

pytestmark = pytest.mark.thorough

ROOT = Path(harvester.__file__).parents[1]
RANGE = {"begin": date(2023, 1, 1), "end": date(2023, 6, 30)}
IN_FLIGHT = 10
"""At 50 a second and 0.2 s an answer."""


def _started(wechat: Wechat, todo: list[str], after: int = 5) -> subprocess.Popen[str]:
    return started(todo, lambda: wechat.simulator.counts["data"] >= after)


def _job(wechat: Wechat, home: Path, rate: str = "50/s") -> list[str]:
    return job(wechat, home, rate=rate, **RANGE)


def _ended(process: subprocess.Popen[str], status: int, state: str) -> tuple[dict[str, Any], str]:
    """The report of a process, and what it said."""
    out, err = process.communicate(timeout=40)
    assert process.returncode == status, err
    assert "Traceback" not in err
    report = json.loads(out.splitlines()[-1])
    assert report["state"] == state
    return report, err


def _finish(wechat: Wechat, home: Path) -> None:
    wechat.simulator.latency = 0.0
    result = harvest(*_job(wechat, home, "5000/s"))
    assert result.returncode == 0, result.stderr
    assert_the_truth(wechat, home, **RANGE)


STUCK = """
import asyncio, time
from harvester.cli import session, signals
from harvester.base.threads import Thread

signals.LONGEST_END = 0.5

async def harvest(observe, stop):
    await Thread("stuck").call(lambda: (print("up", flush=True), time.sleep(60)))

session.conduct(harvest)
"""


def test_a_driver_that_does_not_return_is_not_waited_for_after_an_interrupt() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (
        said == "harvester: a call did not return within 0.5 s; the process ends without waiting"
        " for it\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_is_in_flight(
    wechat: Callable[..., Wechat], tmp_path: Path, number: signal.Signals
) -> None:
    server = wechat(latency=0.3)
    process = _started(server, _job(server, tmp_path))
    process.send_signal(number)
    report, err = _ended(process, 130, "interrupted")
    assert "in flight are answered and stored" in err
    # Nothing that was asked for was thrown away.
    assert report["windows"]["done"] == report["requests"] == server.simulator.counts["data"] > 0
    _finish(server, tmp_path)
    assert set(server.simulator.served.values()) == {1}


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("number", "signals", "apart"),
    [(signal.SIGINT, 2, 0.3), (signal.SIGINT, 2, 0.0), (signal.SIGINT, 2, 0.001),
     (signal.SIGINT, 30, 0.002), (signal.SIGTERM, 3, 0.001)],
)  # fmt: skip
def test_more_signals_stop_at_once_and_lose_nothing(
    wechat: Callable[..., Wechat],
    tmp_path: Path,
    number: signal.Signals,
    signals: int,
    apart: float,
) -> None:
    slow = apart == 0.3
    server = wechat(latency=3.0 if slow else 0.2)
    process = _started(server, _job(server, tmp_path))
    began = time.monotonic()
    for _ in range(signals):  # the kernel may make one of two that come together
        process.send_signal(number)
        time.sleep(apart)
    report, err = _ended(process, 130, "interrupted")
    assert time.monotonic() - began < 2.5
    assert err.count("run the same command again to resume") == 1
    # What left just before the cut may not have come there: it is counted, since it may have.
    difference = report["requests"] - server.simulator.counts["data"]
    assert 0 <= difference <= (0 if slow else IN_FLIGHT)
    assert report["token_fetches"] == 1
    assert report["seconds"] > 0
    assert harvest("verify", "--out", tmp_path).returncode in (0, 2)  # 2: nothing is there yet
    _finish(server, tmp_path)


def test_ctrl_c_before_a_run_has_begun_is_130_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("harvester.cli.commands.invoke", interrupted)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # the command sets its own
    former = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as caught:
            main([])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")


# At its end the interpreter removes our handler: an alarm after that would kill the process.
SOON = """
import atexit, signal, sys
from harvester.cli import main
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
signal.setitimer(signal.ITIMER_REAL, float(sys.argv.pop(1)))
main()
"""


@pytest.mark.timeout(400)
def test_ctrl_c_while_the_command_is_imported_is_130_and_nothing_else() -> None:
    for number in range(40):
        todo = [sys.executable, "-c", SOON, f"{0.0005 + number * 0.006:f}", "run", "users"]
        ended = subprocess.run(todo, capture_output=True, text=True, env=environment(), timeout=60)
        if ended.returncode != UNUSABLE:  # it was faster than the signal
            assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (130, "", "")


def test_the_command_imports_next_to_nothing_before_it_listens_to_ctrl_c() -> None:
    code = "import sys; was = {*sys.modules}; import harvester.cli; print({*sys.modules} - was)"
    todo = [sys.executable, "-S", "-c", f"import __future__, os; {code}"]
    ended = subprocess.run(todo, capture_output=True, text=True, check=True, cwd=ROOT)
    ours = {"harvester", "harvester.cli", "harvester.cli.exit_status"}  # numbers alone
    assert eval(ended.stdout) == ours


def _in_a_terminal(todo: list[str]) -> tuple[int, int]:
    """The command with a terminal of its own, whose Ctrl-C it hears: its pid, our end of it."""
    pid, terminal = pty.fork()
    if pid:
        return pid, terminal
    try:
        os.execve(sys.executable, command(*todo), environment(TERM="xterm", LC_ALL="C.UTF-8"))
    finally:
        os._exit(1)


def _shown(terminal: int, until: str = "at its end") -> str:
    """What a terminal shows until that is among it, or nobody writes to it any more."""
    shown = b""
    with suppress(OSError):  # which is how the end of a terminal is told
        while until.encode() not in shown and (part := os.read(terminal, 65536)):
            shown += part
    return shown.decode(errors="replace")


@pytest.mark.parametrize("typed", [1, 2])
def test_ctrl_c_in_a_terminal_leaves_it_as_it_was_and_loses_nothing(
    wechat: Callable[..., Wechat], tmp_path: Path, typed: int
) -> None:
    server = wechat(latency=3.0 if typed == 2 else 0.3)
    pid, terminal = _in_a_terminal(_job(server, tmp_path))
    try:
        before = termios.tcgetattr(terminal)
        while server.simulator.counts["data"] < 5:
            time.sleep(0.01)
        began = time.monotonic()
        os.write(terminal, b"\x03")
        shown = _shown(terminal, "interrupt again to stop at once")
        if typed == 2:
            os.write(terminal, b"\x03")
        shown += _shown(terminal)
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert time.monotonic() - began < 2.5
    assert before[3] & termios.ECHO
    assert shown.rfind("\x1b[?25l") < shown.rfind("\x1b[?25h"), "the cursor stays hidden"
    assert "interrupt again to stop at once" in shown
    assert "run the same command again to resume" in shown
    assert "Traceback" not in shown
    _finish(server, tmp_path)
    if typed == 1:
        assert set(server.simulator.served.values()) == {1}


# a process that is stopped for a while


def test_a_process_that_was_stopped_for_longer_than_its_token_lives_goes_on(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=0.05, token_lifetime=2.0)
    process = _started(server, _job(server, tmp_path))
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    report, _ = _ended(process, 0, "complete")
    # It noticed by itself; only what was just being sent when it was stopped can be refused.
    assert report["retries"] <= 3
    assert report["token_fetches"] == server.simulator.counts["token"] > 1
    assert_the_truth(server, tmp_path, **RANGE)
    assert set(server.simulator.served.values()) == {1}


def test_of_two_that_share_a_token_the_one_that_was_stopped_adopts_the_others_new_one(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=0.02, token_lifetime=2.4, classic_grace=1.0)
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(
        f"[[account]]\nappid = '{A}'\nsecret = 'env:HARVESTER_SECRET'\ntoken = 'classic'\n"
    )

    def shared(name: str) -> list[str]:
        run, endpoint, _, _, *rest = _job(server, tmp_path / name, "80/s")
        store = f"file:{tmp_path / 'tokens'}"
        return [run, endpoint, "--accounts", str(accounts), "--token-store", store, *rest]

    one = _started(server, shared("one"))
    other = _started(server, shared("other"), after=15)
    one.send_signal(signal.SIGSTOP)
    before = server.simulator.counts["token"]
    reports = [_ended(other, 0, "complete")[0]]
    meanwhile = server.simulator.counts["token"] - before
    one.send_signal(signal.SIGCONT)
    reports.append(_ended(one, 0, "complete")[0])
    assert meanwhile >= 1
    # Only what was just being sent when it was stopped can have been refused.
    counts = server.simulator.counts
    assert sum(counts[name] for name in counts if name.startswith("errcode 4")) <= 3
    assert sum(each["token_fetches"] for each in reports) == counts["token"]
    for name in ("one", "other"):
        assert_the_truth(server, tmp_path / name, **RANGE)


IMPATIENT = """
import asyncio, sys
from datetime import date
from pathlib import Path
from harvester.engine.run import Engine
from harvester.ledger import SqliteLedger
from harvester.config.settings import engine_options
from harvester.sinks.jsonl.sink import JsonLines
from harvester.transport import HttpTransport
from tests.support import scope
url, home, begin, end = sys.argv[1:]
async def main():
    asked = scope(date.fromisoformat(begin), date.fromisoformat(end))
    transport = HttpTransport(url, timeout=0.6)
    sinks, ledger = [JsonLines(home)], SqliteLedger(Path(home) / "ledger.sqlite")
    options = engine_options(rate="100/s")
    async with transport, Engine(asked, options, transport, sinks, ledger) as engine:
        report = await engine.run()
    print(report.state, report.retries)
asyncio.run(main())
"""


def test_a_process_that_was_stopped_for_longer_than_it_waits_for_an_answer_asks_again(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=0.1)
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, server.url, tmp_path, "2023-01-01", "2023-06-30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while server.simulator.counts["data"] < 10 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=30)
    assert out.startswith("complete "), err
    assert_the_truth(server, tmp_path, **RANGE)
