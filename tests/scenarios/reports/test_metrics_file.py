"""``--metrics FILE``: what a run leaves for the textfile collector of node_exporter."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from harvester.cli.commands import invoke
from tests.scenarios.command import Start, asked, begun, until
from tests.service.test_metrics import values
from tests.support import A, harvest

E = "getusersummary"
DONE = f"harvester_windows_total{{endpoint={E},state=done}}"
FAILED = f"harvester_windows_total{{endpoint={E},state=failed}}"
FIRST, LAST = "2024-01-01", "2024-01-05"
Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def secret(monkeypatch: Patch) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "practice")


def read(path: Path) -> dict[str, float]:
    return values(path.read_bytes())


@pytest.mark.thorough
def test_a_run_leaves_its_metrics_and_the_next_one_counts_on(wechat: Start, tmp_path: Path) -> None:
    path, url = tmp_path / "harvester.prom", wechat().url
    given = asked(url, E, FIRST, LAST, "--out", tmp_path / "out", "--metrics", path, "--quiet")
    former = os.umask(0o077)
    try:
        assert invoke(given) == 0
    finally:
        os.umask(former)
    assert path.stat().st_mode & 0o777 == 0o644
    first = read(path)
    assert first["harvester_accounts{state=fresh}"] == 1
    assert first[f"harvester_requests_total{{endpoint={E},errcode=0}}"] == first[DONE] > 0
    assert not any(A in name for name in first)

    assert invoke([*given, "--end", "2024-01-12", "--metrics-appid"]) == 0
    labelled = read(path)
    assert labelled[f"harvester_windows_total{{appid={A},endpoint={E},state=done}}"] > 0
    path.unlink()
    assert invoke([*given, "--end", "2024-01-19"]) == 0
    once = read(path)[DONE]
    assert invoke([*given, "--end", "2024-01-26"]) == 0
    assert read(path)[DONE] > once
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["harvester.prom"]


@pytest.mark.thorough
def test_a_run_that_fails_leaves_them_too(wechat: Start, tmp_path: Path) -> None:
    path = tmp_path / "harvester.prom"
    given = [
        "--out", tmp_path / "out", "--metrics", path, "--quiet", "--attempts", "1"
    ]  # fmt: skip
    assert invoke(asked(wechat().url, E, FIRST, LAST, *given)) == 0
    before = read(path)
    assert invoke(asked(wechat(secret="x").url, E, FIRST, "2024-01-12", *given)) == 4
    found = read(path)
    assert found[FAILED] >= 1
    assert found["harvester_accounts{state=failed}"] == 1
    assert found["harvester_oldest_gap_seconds{endpoint=getusersummary}"] > 600 * 86_400
    success = "harvester_last_success_timestamp_seconds{endpoint=getusersummary}"
    assert found[success] == before[success]
    path.unlink()
    assert invoke(asked("http://127.0.0.1:9", E, FIRST, "2024-01-20", *given)) == 4
    assert path.exists()


@pytest.mark.thorough
def test_a_run_that_is_interrupted_leaves_them_too(wechat: Start, tmp_path: Path) -> None:
    path, server = tmp_path / "harvester.prom", wechat(latency=0.5)
    given = asked(server.url, E, "2015-01-01", LAST, "--out", tmp_path / "out", "--metrics", path)
    process = begun(*given)
    until(lambda: server.simulator.counts["data"] >= 3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert read(path)[DONE] >= 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--metrics", "m.txt"], "node_exporter reads files named *.prom only"),
        (["--metrics", "nowhere/m.prom"], "cannot be created in"),
        (["--metrics", "folder.prom"], "is a directory"),
        (["--metrics-appid"], "--metrics-appid requires --metrics FILE"),
        (["--metrics", "m.prom", "--rate", "10"], "expected"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_sent(
    more: list[str], said: str, tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.prom").mkdir()
    assert invoke(asked("http://127.0.0.1:9", E, FIRST, LAST, *more)) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("m.*"))


def test_an_older_file_stays_if_nothing_was_sent(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "m.prom"
    path.write_text("harvester_accounts 1.0\n")
    given = asked("http://127.0.0.1:9", E, FIRST, "2012-01-01", "--metrics", path)
    assert invoke(given) == 2
    assert path.read_text() == "harvester_accounts 1.0\n"
    assert capsys.readouterr().err


def test_without_the_library_it_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "harvester.service.metrics", None)
    given = asked("http://127.0.0.1:9", E, FIRST, LAST, "--metrics", tmp_path / "m.prom")
    assert invoke([*given, "--out", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        "harvester: --metrics needs a library: pip install 'wechat-harvester[serve]', or"
        " pipx inject wechat-harvester 'wechat-harvester[serve]'"
    )


@pytest.mark.thorough
def test_a_damaged_file_is_replaced_and_that_is_said(
    wechat: Start, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "m.prom"
    path.write_bytes(b"{{{\xff")
    given = asked(wechat().url, E, FIRST, LAST, "--metrics", path, "--out", tmp_path / "out")
    assert invoke(given) == 0
    assert (
        "m.prom cannot be read as metrics; its counters restart at zero" in capsys.readouterr().err
    )
    assert read(path)[DONE] == 1


@pytest.mark.thorough
def test_a_file_that_cannot_be_written_in_the_end_is_a_note(wechat: Start, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    server = wechat(latency=1.0)
    given = asked(server.url, E, FIRST, LAST, "--metrics", folder / "m.prom", "--json")
    process = begun(*given, "--out", tmp_path / "out")
    until(lambda: server.simulator.counts["data"] >= 1)
    folder.rmdir()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "m.prom cannot be written (No such file or directory)" in err
    assert "cannot be written" in out


@pytest.mark.thorough
def test_the_options_are_in_the_help() -> None:
    said = harvest("run", "--help").stdout
    for option in ("--metrics FILE", "--metrics-appid", "--allow-failed N|P%"):
        assert option in said
