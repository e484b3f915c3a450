"""Peers side by side: whose figure counts, who is left out, and what the table says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks import peers, turns
from benchmarks.peers import HARVESTER, PEERS, Row, Taken
from benchmarks.turns import LeftOutError, Peer

DAYS = ["2015-01-01", "2015-01-02", "2015-01-03"]
JOB = {"tokens": {"wx1": "one", "wx2": "two"}, "days": DAYS}
WRITER = """
import json
from pathlib import Path

def harvest(job):
    records = [
        {{"_appid": appid, "ref_date": day}}
        for appid in job["tokens"] for day in job["days"] for _ in range(8)
    ]
    {after}
    lines = "".join([json.dumps(record) + "\\n" for record in records])
    (Path(job["folder"]) / "records.jsonl").write_text(lines)
"""
Write = Callable[[str], Peer]


@pytest.fixture
def writer(tmp_path: Path) -> Write:
    """A peer that asks nobody and writes what there is, after something was done to it."""

    def making(after: str = "") -> Peer:
        driver = tmp_path / "with_writer.py"
        driver.write_text(WRITER.format(after=after))
        return Peer("writer", str(driver), "pytest", (), "All of it.")

    return making


def take(peer: Peer) -> dict[str, Any]:
    """A turn in this Python."""
    return turns.turn(peer, Path(sys.executable), JOB, here=True)


def test_each_peer_has_a_driver_a_name_of_its_own_and_pinned_packages() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    for peer in PEERS:
        driver = turns.FOLDER / peer.driver
        assert driver.is_file()
        assert "def harvest(" in driver.read_text(encoding="utf-8")
        assert peer.lacks.endswith(".")
        if peer is not HARVESTER:
            assert all("==" in requirement for requirement in peer.requirements)


def test_no_driver_but_harvesters_imports_the_project() -> None:
    for path in turns.FOLDER.glob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith(("from benchmarks", "import bench"))]
        ours = [line for line in lines if line.startswith(("from harvester", "import harvester"))]
        assert not ours or path.name == HARVESTER.driver


def test_peers_of_this_python_are_measured_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "peers.json"
    asked = ["aiohttp-by-hand", "--here", "--days", "3", "--rounds", "2", "--in-flight", "8"]
    assert peers.main([*asked, "--json", str(told)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(told.read_text(encoding="utf-8"))
    rows = {row["taken"]["peer"]["name"]: row for row in found["peers"]}
    assert set(rows) == {"harvester", "aiohttp-by-hand"}
    assert found["left_out"] == {}
    for name, row in rows.items():
        assert f"\n{name} " in printed
        assert row["taken"]["peer"]["lacks"] in printed
        assert row["taken"]["peer"]["in_flight"] == 8
        assert len(row["taken"]["seconds"]) == 2
        assert min(row["speed"], row["cpu"], row["memory"]) > 0


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("records.pop()", "wrote 47 records where there are 48"),
        ("records.append(records[0])", "wrote 49 records where there are 48"),
        ("records[-1] = records[0]", "wrote other records where there are 48"),
    ],
)
def test_a_peer_that_did_not_write_what_there_is_is_refused(
    writer: Write, after: str, said: str
) -> None:
    with pytest.raises(LeftOutError, match=said):
        take(writer(after))


def test_a_peer_that_wrote_what_there_is_is_taken_at_its_word(writer: Write) -> None:
    told = take(writer())
    assert told["version"] == pytest.__version__
    assert 0 < told["seconds"] < 60
    assert told["memory"] > 1


def test_what_others_write_is_understood() -> None:
    record = {"ref_date": DAYS[0], "_appid": "wx1"}
    understood = {
        json.dumps(record): ("wx1", DAYS[0]),
        json.dumps({"ref_date": DAYS[0], "_windows_appid": "wx1"}): ("wx1", DAYS[0]),
        json.dumps({"type": "RECORD", "record": {"data": record}}): ("wx1", DAYS[0]),
        json.dumps({"type": "STATE", "state": {}}): None,
    }
    for line, found in understood.items():
        assert turns._stored(line.encode()) == found


def test_a_peer_that_fails_is_said_and_left_out_with_its_reason(
    writer: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    measurement = peers.Measurement(JOB, here=True)
    measurement.enter(writer("import no_such_module"), Path(sys.executable))
    measurement.round(Random(1))
    assert measurement.taken == {}
    reason = "status 1: ModuleNotFoundError: No module named 'no_such_module'"
    assert measurement.left_out == {"writer": reason}
    assert capsys.readouterr().out == f"left out: writer: {reason}\n"


def test_what_pip_refuses_is_told_in_a_line_and_tried_again_the_next_time(tmp_path: Path) -> None:
    missing = tmp_path / "nothing-1.0-py3-none-any.whl"
    peer = Peer("nothing", "with_nothing.py", "nothing", (str(missing),), "All of it.")
    with pytest.raises(LeftOutError, match=r"^cannot be installed: [^\n]+$"):
        turns.environment(peer, tmp_path)
    assert not list(tmp_path.glob("*/finished"))


def test_an_environment_that_is_finished_is_used_again_until_what_it_wants_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Any] = []

    def run(command: Any) -> None:
        if "venv" in command:
            Path(command[-1]).mkdir()
        commands.append(command)

    monkeypatch.setattr(turns, "_run", run)
    (project := tmp_path / "project").mkdir()
    (project / "pyproject.toml").write_text("one")
    peer = Peer("it", "with_it.py", "it", ("-e", str(project)), "All of it.")
    assert turns.environment(peer, tmp_path) == turns.environment(peer, tmp_path)
    assert len(commands) == 2
    (project / "pyproject.toml").write_text("two")
    turns.environment(peer, tmp_path)
    assert len(commands) == 4


def test_the_rest_go_on_without_a_peer_that_cannot_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def environment(peer: Peer, home: Path) -> Path:
        if peer.name == "scrapy":
            raise LeftOutError("cannot be installed: no package index")
        return Path(sys.executable)

    monkeypatch.setattr(peers, "environment", environment)
    assert peers.main(["scrapy", "--days", "2", "--rounds", "1", "--home", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "left out: scrapy: cannot be installed: no package index\n" in printed
    assert "\nharvester " in printed
    assert "\nscrapy " not in printed


def test_without_harvester_there_is_no_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "turn", lambda *_, **__: take_no_turn())
    assert peers.main(["harvester", "--here", "--days", "1", "--rounds", "1"]) == 1
    assert "nothing to compare with" in capsys.readouterr().out


def take_no_turn() -> None:
    """As a peer does that takes too long."""
    raise LeftOutError("took longer than 120 s")


@pytest.mark.parametrize(
    "given", [["nobody"], ["--days", "0"], ["--rounds", "0"], ["--in-flight", "0"]]
)
def test_what_cannot_be_measured_is_a_usage_error(given: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_status:
        peers.main(given)
    assert exit_status.value.code == 2


@pytest.mark.parametrize(
    ("speed", "cpu", "memory", "ahead"),
    [(2.0, 0.5, 0.5, "speed, CPU, memory"), (0.5, 2.0, 0.9, "memory"), (1.0, 1.0, 1.0, "")],
)
def test_where_a_peer_is_ahead_is_said(speed: float, cpu: float, memory: float, ahead: str) -> None:
    row = Row(Taken(PEERS[1], "1.0"), 1, 1, 1, speed, cpu, memory)
    assert row.ahead == ahead
    assert str(row).endswith(ahead)
