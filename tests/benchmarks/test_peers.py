"""Peers: whose figures count, and who is left out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers, pipeline
from benchmarks.peer import with_aiohttp, with_harvester
from benchmarks.peers import HARVESTER, PEERS, LeftOutError
from benchmarks.server import serving

pytestmark = pytest.mark.thorough

DRIVERS = Path(peers.__file__).parent / "peer"
DAYS = ["2015-01-01", "2015-01-02", "2015-01-03"]
JOB = {"tokens": {"wx1": "one", "wx2": "two"}, "days": DAYS}
TAKEN = {"wall": 2.0, "cpu": 1.0, "memory": 50.0, "version": "1.0"}


def test_each_peer_has_a_driver_of_at_most_forty_lines_and_pinned_packages() -> None:
    for name, peer in PEERS.items():
        text = (DRIVERS / f"{peer.driver}.py").read_text(encoding="utf-8")
        assert "def harvest(" in text
        assert text.count("\n") <= 40
        if name != HARVESTER:
            assert all("==" in requirement for requirement in peer.requirements)


def test_the_loops_write_the_lines_that_harvester_writes(tmp_path: Path) -> None:
    written = []
    with serving() as server:
        job = pipeline.job(server.url, 3)
        for driver in (with_harvester.harvest, with_aiohttp.harvest, pipeline.tightest):
            folder = tmp_path / driver.__module__
            folder.mkdir()
            driver({**job, "folder": str(folder)})
            peers.check(folder, job)
            lines = b"".join([path.read_bytes() for path in folder.rglob("*.jsonl")]).splitlines()
            records = [{**json.loads(line), "_fetched_at": ""} for line in lines]
            written.append(sorted(records, key=json.dumps))
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("appid", ["_appid", "_windows_appid"])
@pytest.mark.parametrize("change", ["none", "lost", "doubled", "other"])
def test_a_turn_counts_only_if_each_record_was_written_once(
    tmp_path: Path, appid: str, change: str
) -> None:
    records = [
        {appid: account, "ref_date": day}
        for account in JOB["tokens"]
        for day in DAYS
        for _ in range(8)
    ]
    if change == "lost":
        records.pop()
    elif change == "doubled":
        records.append(records[0])
    elif change == "other":
        records[-1] = records[0]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    if change == "none":
        peers.check(tmp_path, JOB)
    else:
        with pytest.raises(LeftOutError, match="records, not each of 48"):
            peers.check(tmp_path, JOB)


def test_a_peer_that_fails_is_left_out_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def turn(peer: peers.Peer, python: str, job: Any) -> dict[str, Any]:
        if peer is PEERS["pycurl"]:
            raise LeftOutError("status 1: no server")
        return TAKEN

    monkeypatch.setattr(peers, "turn", turn)
    pythons = {HARVESTER: sys.executable, "pycurl": sys.executable}
    assert peers.compare(pythons, JOB, 2) == {HARVESTER: [TAKEN, TAKEN]}
    assert capsys.readouterr().out == "left out: pycurl: status 1: no server\n"


def test_speed_is_told_beside_harvesters() -> None:
    turns = {HARVESTER: [TAKEN], "pycurl": [{**TAKEN, "wall": 1.0, "cpu": 0.5}]}
    values = {figure.name: figure.value for figure in peers.figures_of(turns, 1_000)}
    assert values["peers, pycurl 1.0: windows a second ÷ harvester's"] == 2.0
    assert values["peers, pycurl 1.0: CPU a window"] == 500.0


def test_without_harvester_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(LeftOutError, match="harvester itself was not measured"):
        peers.figures_of({"pycurl": [TAKEN]}, 1_000)


def test_what_pip_refuses_is_told_in_a_line_and_tried_again_the_next_time(tmp_path: Path) -> None:
    missing = tmp_path / "nothing-1.0-py3-none-any.whl"
    peer = peers.Peer("nothing", "with_nothing", (str(missing),))
    with pytest.raises(LeftOutError, match=r"^status \d+: [^\n]+$"):
        peers.environment(peer, tmp_path)
    assert not list(tmp_path.glob("*/finished"))
