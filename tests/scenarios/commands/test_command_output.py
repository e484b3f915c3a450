"""What the command writes where, what it tells once, and what it shows while it waits."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from select import select
from subprocess import DEVNULL

import pytest

from harvester import Job
from harvester.testing import Faults
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import Done, Ended, Start, asked, begun, harvest_at, succeeded, until
from tests.support import A, B, Wechat, harvest, stored

pytestmark = pytest.mark.thorough

ENDPOINT = "getinterfacesummaryhour"
DAYS = ("--start", "2024-01-01", "--end", "2024-01-05")
MOMENT = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
ELSEWHERE = "harvester: requests, and the secrets in them, go to http://127.0.0.1:"


def run(server: Wechat, folder: Path, *arguments: str | Path, **env: str) -> Done:
    given = () if "--accounts" in arguments else ("--appid", A)
    more = ("--base-url", server.url, "--rate", "1000/s", "--out", folder / "out")
    return harvest("run", ENDPOINT, *DAYS, *given, *more, *arguments, **env)


def test_lines_of_the_log_and_the_last_line_have_dates(wechat: Start, tmp_path: Path) -> None:
    result = run(wechat(), tmp_path)
    assert result.returncode == 0
    server, *lines = result.stderr.splitlines()
    assert server.startswith(ELSEWHERE)
    assert len(lines) == 2
    assert all(re.match(MOMENT + " ", line) for line in lines)
    (last,) = result.stdout.splitlines()
    assert re.fullmatch(
        r"complete: 5 windows harvested, 120 records, 5 requests in .* s, stored in .*/out;"
        rf" 2024-01-01 to 2024-01-05, ended {MOMENT}",
        last,
    )


def test_quietly_only_what_is_wrong_is_said(wechat: Start, tmp_path: Path) -> None:
    result = run(wechat(), tmp_path, "--quiet")
    assert (result.returncode, result.stdout) == (0, "")
    (server,) = result.stderr.splitlines()  # that of WeChat is not said
    assert server.startswith(ELSEWHERE)
    result = run(wechat(), tmp_path / "2", "--quiet", "--json", "--daily-quota", "2")
    assert result.returncode == 3
    assert json.loads(result.stdout)["state"] == "waiting"
    assert "must wait until" in result.stderr.splitlines()[1]


def test_messages_as_json_are_an_object_a_line(wechat: Start, tmp_path: Path) -> None:
    result = run(wechat(), tmp_path, "--log-format", "json")
    assert (result.returncode, result.stdout) == (0, "")
    server, *lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert (server["level"], "which is not WeChat" in server["message"]) == ("warning", True)
    assert [line["event"] for line in lines] == ["RunStarted", "TokenFetched", "Summary"]
    refused = run(wechat(), tmp_path / "2", "--log-format", "json", HARVESTER_SECRET="wrong")
    _, *told = [json.loads(line) for line in refused.stderr.splitlines()]
    error = told[0]
    assert error.keys() >= {"time", "level", "message"}
    assert {line["level"] for line in lines} == {"info"}
    levels = {line["event"]: line["level"] for line in told if "event" in line}
    assert levels == {"RunStarted": "info", "Summary": "warning"}
    stopped, *reasons = [line["level"] for line in told if "event" not in line]
    assert (stopped, {*reasons}) == ("error", {"warning"})  # the account, and what the report says
    assert refused.returncode == 4
    assert harvest("run", "--log-format", "xml").stderr == (
        "harvester: invalid --log-format 'xml': expected text or json\n"
    )


def test_a_disabled_account_is_left_out_and_names_are_told(wechat: Start, tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text(
        "appid,name,group,enabled,secret\n"
        f"{A},Teahouse,north,true,env:WX_SECRET\n"
        f"{B},Book shop,north,false,env:WX_SECRET\n"
        "wx00000000000000cc,Gone,south,,env:NOT_SET\n"
    )
    server = wechat()
    result = run(server, tmp_path, "--accounts", file, WX_SECRET="practice")
    assert result.returncode == 1
    assert "wx00000000000000cc (Gone) " in result.stderr
    assert {appid for _, appid, *_ in server.simulator.served_of} == {A}
    result = run(server, tmp_path, "--accounts", file, "--only", "north", WX_SECRET="practice")
    assert result.returncode == 0
    assert "5 done before" in result.stdout
    status = harvest("status", "--out", tmp_path / "out", "--accounts", file)
    assert f"{A} (Teahouse) {ENDPOINT}, 2024-01-01" in status.stdout
    assert len(stored(tmp_path / "out", ENDPOINT)) == 120


def test_verify_is_json_too(wechat: Start, tmp_path: Path) -> None:
    assert run(wechat(), tmp_path).returncode == 0
    verify = ("verify", "--json", "--out", tmp_path / "out")
    result = harvest(*verify)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "sinks": [{
            "sink": f"jsonl:{tmp_path / 'out'}", "state": "exact", "records": 120,
            "unknown_windows": 0, "counted_windows": 0, "read_to_its_end": True,
            "differences": [], "unread": "",
        }],
        "notes": [], "commands": [],
    }  # fmt: skip
    (segment,) = (tmp_path / "out" / ENDPOINT).iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"callback_count":', b'"callback_cxunt":', 1))
    result = harvest(*verify)
    assert result.returncode == 1
    (sink,) = json.loads(result.stdout)["sinks"]
    assert sink["state"] == "different"
    assert sink["differences"][0].keys() == {"where", "what"}


def test_a_file_that_is_used_unasked_is_mentioned_by_a_run(wechat: Start, tmp_path: Path) -> None:
    (tmp_path / "harvester.toml").write_text(f'base-url = "{wechat().url}"\nrate = "1000/s"\n')
    given = ("run", ENDPOINT, "--appid", A, *DAYS)
    result = harvest(*given, cwd=tmp_path)
    assert result.returncode == 0
    said = "harvester: using ./harvester.toml, which is in this directory"
    assert result.stderr.splitlines()[0] == said
    result = harvest(*given, "--config", "harvester.toml", cwd=tmp_path)
    assert said not in result.stderr


def test_a_file_elsewhere_means_the_same_to_every_command(wechat: Start, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    (there / "accounts.csv").write_text(f"appid,secret\n{A},env:HARVESTER_SECRET\n")
    (there / "harvester.toml").write_text(
        f'endpoint = "{ENDPOINT}"\naccounts = "accounts.csv"\nstart = "2024-01-01"\n'
        f'end = "2024-01-31"\nbase-url = "{wechat().url}"\nrate = "1000/s"\nout = "kept"\n'
        'export = "csv:tables"\n'
    )
    file = ("--config", "../there/harvester.toml")
    assert harvest("run", *file, cwd=here).returncode == 0
    assert {each.name for each in there.iterdir()} == {
        "accounts.csv", "harvester.toml", "kept", "tables",
    }  # fmt: skip
    for arguments in (("verify",), ("status",), ("export", "--check", f"csv:{there}/tables")):
        done = harvest(*arguments, *file, cwd=here)
        assert done.returncode == 0, done.stdout + done.stderr
    again = harvest("run", "--json", cwd=here, HARVESTER_CONFIG=file[1])
    assert json.loads(again.stdout)["requests"] == 0
    text = (
        (there / "harvester.toml")
        .read_text()
        .replace('out = "kept"\n', "")
        .replace("export", "# export")
    )
    (there / "harvester.toml").write_text(text + 'only = ["nobody"]\n')
    alone = harvest("run", *file, "--appid", A, cwd=here)  # what the file selects is not asked for
    assert alone.returncode == 0, alone.stderr
    assert Job.load(there / "harvester.toml").out == str(there / "harvest")
    assert (there / "harvest" / "ledger.sqlite").exists()
    assert not list(here.iterdir())


# What failed and what must wait is told once, summed, with how many windows and which days.


def run_january(server: Wechat, folder: Path, *arguments: str | Path, **env: str) -> Done:
    days = ("--start", "2024-01-01", "--end", "2024-01-31", "--base-url", server.url)
    more = ("--rate", "1000/s", "--out", folder / "out")
    return harvest("run", *arguments, *days, *more, **env)


def told(result: Done | Ended, text: str) -> list[str]:
    """The lines of either output that hold a text."""
    both = (result.out, result.err) if isinstance(result, Ended) else (result.stdout, result.stderr)
    return [line for line in "".join(both).splitlines() if text in line]


def accounts(folder: Path, *rows: str) -> Path:
    path = folder / "accounts.csv"
    path.write_text("\n".join(["appid,secret", *rows, ""]))
    return path


def test_a_spent_quota_is_one_line_an_interface(wechat: Start, tmp_path: Path) -> None:
    server = wechat(daily_quota=5)
    january = asked(server.url, ENDPOINT, "2024-01-01", "2024-01-31", "--out", tmp_path)
    result = harvest_at("2024-03-10", 12, *january)
    assert result.status == 3, result.err
    (line,) = told(result, "must wait")
    # which of the last days came first is chance
    assert line.startswith(f"harvester: {A} {ENDPOINT}: 26 windows 2024-01-01 to 2024-01-")
    assert " must wait until 2024-03-11 00:01" in line
    assert "45009" in line
    assert len(told(result, "45009")) == 1
    assert len(told(result, "run the same command again at ")) == 1
    assert "waiting until" in harvest("status", "--out", tmp_path).stdout


def test_windows_that_failed_alike_are_one_line(wechat: Start, tmp_path: Path) -> None:
    result = run_january(wechat(refuse={ENDPOINT: 61500}), tmp_path, ENDPOINT, "--appid", A)
    assert result.returncode == 1
    (line,) = told(result, "61500")
    assert f"{A} {ENDPOINT}: 31 windows 2024-01-01 to 2024-01-31 failed: errcode 61500" in line


def test_a_wrong_secret_of_one_account_is_one_line(wechat: Start, tmp_path: Path) -> None:
    result = run_january(wechat(secret="right"), tmp_path, "users", "interface", "--appid", A)
    assert result.returncode == 4
    (line,) = told(result, "40125")
    assert line.startswith(
        f"harvester: {A}, getinterfacesummary, getinterfacesummaryhour, getusercumulate and 1 more"
        " interface: 43 windows 2024-01-01 to 2024-01-31 failed: "
    )


def test_a_wrong_secret_of_a_hundred_accounts_is_one_line(wechat: Start, tmp_path: Path) -> None:
    file = accounts(tmp_path, *[f"wx{each:016x},env:WX_SECRET" for each in range(100)])
    result = run_january(wechat(), tmp_path, ENDPOINT, "--accounts", file, WX_SECRET="wrong")
    assert result.returncode == 4
    (line,) = told(result, "40125")
    assert (
        f"and 97 more accounts, {ENDPOINT}: 3,100 windows 2024-01-01 to 2024-01-31 failed: " in line
    )


def test_twenty_reasons_are_told_and_the_others_counted(wechat: Start, tmp_path: Path) -> None:
    rows = [f"wx{each:016x},env:NOT_SET_{each}" for each in range(25)]
    path = accounts(tmp_path, *rows, f"{A},env:WX_SECRET")
    result = run_january(wechat(), tmp_path, ENDPOINT, "--accounts", path, WX_SECRET="practice")
    assert result.returncode == 1
    assert len(told(result, "NOT_SET_")) == 20
    assert told(result, "and 5 more; ") == ["harvester: and 5 more; harvester status lists them"]
    status = harvest("status", "--out", tmp_path / "out").stdout
    assert all(f"NOT_SET_{each} is not set" in status for each in range(25))


def test_a_storm_that_ends_well_tells_no_failure(wechat: Start, tmp_path: Path) -> None:
    result = run_january(wechat(faults=Faults(first_busy=3)), tmp_path, ENDPOINT, "--appid", A)
    assert result.returncode == 0, result.stderr
    assert not told(result, "failed")


# A run that waits shows that it is alive: on a terminal, and in a log.


def job(server: Wechat, folder: Path) -> list[str]:
    january = ("2024-01-01", "2024-01-31", "--out", folder, "--wait")
    return asked(server.url, "getinterfacesummaryhour", *january)


def shown(terminal: int, seconds: float, enough: Callable[[str], bool]) -> str:
    """What a terminal was sent, until it is enough or the time is up."""
    text, end = "", time.monotonic() + seconds
    while time.monotonic() < end and not enough(text):
        if select([terminal], [], [], 0.2)[0]:
            try:
                text += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the process has ended, and nobody else writes there
                break
    return text


def test_on_a_terminal_the_time_waited_goes_on(wechat: Start, tmp_path: Path) -> None:
    terminal, slave = pty.openpty()
    process = begun(
        *job(wechat(daily_quota=5), tmp_path), out=DEVNULL, err=slave, TERM="xterm", COLUMNS="120"
    )
    os.close(slave)

    def ticks(text: str) -> list[str]:
        return re.findall(r"getinterfacesummaryhour waits, ([\d.]+) s of", text)

    try:
        text = shown(terminal, 30.0, lambda text: len(set(ticks(text))) >= 5)
    finally:
        process.send_signal(signal.SIGINT)
        shown(terminal, 10.0, lambda _: process.poll() is not None)
        process.kill()
        process.wait()
        os.close(terminal)
    assert len(set(ticks(text))) >= 5, text
    assert process.returncode == 130
    assert text.count("pauses for") == 1


def test_in_a_log_lines_come_at_growing_intervals(wechat: Start, tmp_path: Path) -> None:
    server = wechat(daily_quota=5)
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = begun(*job(server, tmp_path / "out"), out=DEVNULL, err=file)
        try:
            until(lambda: log.read_text().count("no progress for") >= 2)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)
    lines = [line for line in log.read_text().splitlines() if "no progress for" in line]
    waited = [int(re.findall(r"no progress for (\d+) s: wx", line)[0]) for line in lines]
    assert len(waited) == 2
    assert 10 <= waited[0] < 20 <= waited[1]
    assert all("45009" in line and "rid" not in line for line in lines)


# What verify says of a destination that it cannot open: that, and no difference.


SAME, OTHER = "exactly what was fetched", "different from what was fetched"


def run_into(wechat: Start, folder: Path, *more: str | Path) -> None:
    """A run of five days."""
    given = asked(wechat().url, "getusersummary", "2024-01-01", "2024-01-05", *more)
    succeeded(*given, cwd=folder)


def test_a_missing_password_is_no_difference(
    wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.url(postgres.new_database())
    run_into(wechat, tmp_path, "--sink", url)
    for password, said in (("", "no password was given"), ("wr0ng", "authentication failed")):
        done = harvest("verify", cwd=tmp_path, PGPASSWORD=password)
        assert (done.returncode, done.stdout) == (4, "")
        (line,) = done.stderr.splitlines()
        assert "was not verified: " in line
        assert said in line
    done = harvest("verify", cwd=tmp_path, PGPASSWORD=PASSWORD)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, SAME)


def test_a_library_that_is_missing_is_no_difference_and_no_agreement(
    wechat: Start, tmp_path: Path
) -> None:
    run_into(wechat, tmp_path, "--sink", "jsonl:harvest/p?compress=zstd")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules.update(dict.fromkeys(['backports', 'compression']))\n"
    )
    done = harvest("verify", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (4, "")
    assert "pip install" in done.stderr


def test_what_can_be_read_is_verified_beside_what_cannot(
    wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.url(postgres.new_database())
    sinks = ("--sink", url, "--sink", f"jsonl:{tmp_path / 'lines'}")
    run_into(wechat, tmp_path, *sinks)
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (4, SAME)
    [segment] = (tmp_path / "lines" / "getusersummary").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"new_user":', b'"now_user":', 1))
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, OTHER in done.stdout.splitlines()) == (4, True)
    assert "no password was given" in done.stderr


def test_a_database_that_is_gone_is_a_difference(wechat: Start, tmp_path: Path) -> None:
    run_into(wechat, tmp_path, "--sink", "sqlite:x.db")
    (tmp_path / "x.db").unlink()
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, OTHER in done.stdout.splitlines()) == (1, True)
    assert "is gone" in done.stdout
