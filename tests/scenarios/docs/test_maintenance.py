"""The steps of docs/maintenance.md, each run as it is written, by a shell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import harvester
from harvester.testing import Simulator
from tests.scenarios.command import begun, succeeded, until
from tests.support import ROOT, A, Wechat, as_multiset, bare, days, environment

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(180)]

PAGE = ROOT / "docs" / "maintenance.md"
ENDPOINT = "getusersummary"
BEGIN = date(2024, 1, 1)
FAKES = {
    "harvester": f'exec {sys.executable} -m harvester "$@"',
    "pip": "exit 0",
    "scp": 'cp "$1" ../new/',
    # the service is a run here, which a start makes
    "systemctl": f'echo "$@" >> $CALLS; [ ! -d wechat ] || cd wechat; [ "$1" = stop ] ||'
    f" exec {sys.executable} -m harvester run",
}


def steps() -> dict[str, list[str]]:
    """The commands by the heading above them."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"(?m)^## ", PAGE.read_text())[1:]:
        found[part.splitlines()[0]] = re.findall(r"```sh\n(.*?)```", part, flags=re.DOTALL)
    return found


SINKS = {"": "jsonl:harvest", 'sink = "sqlite:wechat.db"\n': "sqlite:wechat.db"}
"""A line of the configuration, and the sink that it names, in its directory."""
beside_or_within = pytest.mark.parametrize("line", SINKS)


class Machine:
    """A directory with a configuration and what it has harvested, up to a day."""

    def __init__(self, folder: Path, wechat: Wechat, line: str = "") -> None:
        self.folder, self.wechat, self.line = folder / "old" / "wechat", wechat, line
        self.bin, self.calls = folder / "bin", folder / "calls"
        self.folder.mkdir(parents=True)
        self.bin.mkdir()
        for name, text in FAKES.items():
            (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.bin / name).chmod(0o755)
        (self.folder / "accounts.toml").write_text(
            f'[[account]]\nappid = "{A}"\nsecret = "env:HARVESTER_SECRET"\n'
        )
        self.until(10)
        succeeded("run", cwd=self.folder)

    def until(self, day: int) -> None:
        """Let the configuration ask for the first days of a month."""
        (self.folder / "harvester.toml").write_text(
            f'endpoint = ["{ENDPOINT}"]\nstart = "{BEGIN}"\nend = "2024-01-{day:02}"\n'
            f'accounts = "accounts.toml"\nrate = "1000/s"\nbase-url = "{self.wechat.url}"\n'
            f"{self.line}"
        )

    def shell(self, text: str, folder: Path | None = None) -> str:
        """Run commands; each must succeed."""
        path = f"{self.bin}:{environment()['PATH']}"
        done = subprocess.run(
            ["sh", "-e", "-c", text], cwd=folder or self.folder.parent, capture_output=True,
            text=True, timeout=120, env=environment(PATH=path, CALLS=str(self.calls)), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def check(self, day: int, folder: Path | None = None) -> None:
        """Each record of the days is stored once."""
        scheme, place = SINKS[self.line].split(":")
        rows = harvester.rows(f"{scheme}:{(folder or self.folder) / place}", ENDPOINT)
        truth = self.wechat.simulator.truth_of
        assert as_multiset((A, "", bare(row)) for row in rows) == as_multiset(
            (A, "", row)
            for each in days(BEGIN, date(2024, 1, day))
            for row in truth(ENDPOINT, A, each, each)
        )


@pytest.fixture
def wechat() -> Wechat:
    return Wechat(Simulator())


@beside_or_within
def test_a_backup_is_made_and_restored(line: str, tmp_path: Path, wechat: Wechat) -> None:
    with wechat:
        machine = Machine(tmp_path, wechat, line)
        [backup], [restore, rebuild] = steps()["Backup"], steps()["Restore"]
        machine.until(15)
        said = machine.shell(backup)
        copy = machine.folder.with_name("backup")
        machine.check(15)
        machine.check(10, copy)
        shutil.rmtree(machine.folder / "harvest")
        (machine.folder / "wechat.db").unlink(missing_ok=True)
        verified = machine.shell("harvester verify --out backup/harvest")
        assert said.endswith(verified)
        assert (f"{copy}/wechat.db is outside of backup/harvest: a copy" in said) == bool(line)
        machine.check(10, copy)
        machine.shell(restore)
        machine.check(15)
        machine.shell(rebuild)
        machine.until(20)
        succeeded("run", cwd=machine.folder)
        machine.check(20)


def test_a_log_is_rotated_while_the_service_writes_it(tmp_path: Path, wechat: Wechat) -> None:
    [rotate] = steps()["Logs"]
    with wechat:
        machine = Machine(tmp_path, wechat)
        log = machine.folder / "harvester.log"
        config = machine.folder / "harvester.toml"
        text = re.sub(r'end = ".*"', 'end = "yesterday"', config.read_text())
        config.write_text(f'{text}\n[serve]\nlisten = "127.0.0.1:0"\n')
        with log.open("a") as file:
            command = ("serve", "--config", config, "--log-format", "json")
            process = begun(*command, cwd=machine.folder, err=file)
        try:
            until(lambda: "serving" in log.read_text())
            machine.shell(rotate, machine.folder)
            assert "serving" in (machine.folder / "harvester.log.1").read_text()
        finally:
            process.terminate()
            process.communicate(timeout=60)
    last = [json.loads(line) for line in log.read_text().splitlines()]
    assert last[-1]["message"] == "the service has ended"
    assert {"time", "level", "message"} <= last[-1].keys()


def test_an_upgrade(tmp_path: Path, wechat: Wechat) -> None:
    [upgrade] = steps()["Upgrade"]
    with wechat:
        machine = Machine(tmp_path, wechat)
        machine.until(20)
        assert "10" in machine.shell(upgrade, machine.folder)
        machine.check(20)
    assert machine.calls.read_text().split() == [
        "stop",
        "harvester-serve",
        "start",
        "harvester-serve",
    ]


@beside_or_within
def test_a_harvest_moves_to_another_machine(line: str, tmp_path: Path, wechat: Wechat) -> None:
    leave, arrive = steps()["Moving to another machine"]
    new = tmp_path / "new"
    new.mkdir()
    with wechat:
        machine = Machine(tmp_path, wechat, line)
        machine.until(20)
        machine.shell(leave)
        machine.folder.parent.rename(tmp_path / "gone")
        served = len(wechat.simulator.served_of)
        machine.shell(arrive, new)
        machine.check(20, new / "wechat")
        # ten days, and one call of the check
        assert len(wechat.simulator.served_of) <= served + 11


def test_each_step_of_the_page_is_run() -> None:
    assert {name: len(blocks) for name, blocks in steps().items()} == {
        "Backup": 1, "Restore": 2, "Logs": 1, "Upgrade": 1, "Moving to another machine": 2,
    }  # fmt: skip
