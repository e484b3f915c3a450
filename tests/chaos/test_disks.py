"""A disk that is full, or turns read-only: status 4, one sentence, and nothing is lost."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.testing import Simulator
from harvester.testing.simulator import Reply
from tests.chaos.small_disks import (
    Ext4,
    LongestFile,
    SmallDisk,
    Tmpfs,
    read_only_disk,
    small_disk,
)
from tests.support import A, Wechat, days

pytestmark = pytest.mark.thorough

BEGIN, END = date(2024, 1, 1), date(2024, 1, 31)
NAME = "getarticlesummary"
COLUMNS = ("_appid", "_begin_date", "msgid", "title", "int_page_read_user")
TABLE = f"SELECT {', '.join(COLUMNS)} FROM {NAME}"
FULL = re.compile(r"the disk is full|disk I/O error")  # SQLite does not tell a limit by its name
READ_ONLY = re.compile(
    r"Read-only file system|Input/output error|disk I/O error|readonly|the disk is full"
)
ROOM = {Tmpfs: (4, 64, 92, 108, 160, 240), LongestFile: (0, 40, 56, 72, 120, 240)}
"""Kilobytes; between them lie the making of the ledger, that of the sink, and its growth."""
Key = tuple[Any, ...]


def of_lines(home: Path) -> Iterator[Key]:
    for path in sorted(home.glob(f"**/{NAME}/*.jsonl*")):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        for line in content.splitlines():
            record = json.loads(line)
            yield tuple(str(record[name]) for name in COLUMNS)


def read(home: Path) -> Iterator[Key]:
    for row in harvester.read(home, NAME).read_all().to_pylist():
        yield tuple(str(row[name]) for name in COLUMNS)


def of_sqlite(home: Path) -> Iterator[Key]:
    with closing(sqlite3.connect(home / "db")) as database:
        for row in database.execute(TABLE):
            yield tuple(map(str, row))


def of_duckdb(home: Path) -> Iterator[Key]:
    with duckdb.connect(str(home / "db")) as database:
        for row in database.execute(TABLE).fetchall():
            yield tuple(map(str, row))


def of_iceberg(home: Path) -> Iterator[Key]:
    stored = harvester.read(f"iceberg:{home / 'lake'}", NAME, ledger=home)
    for row in stored.read_all().to_pylist():
        yield tuple(str(row[name]) for name in COLUMNS)


SINKS: dict[str, Callable[[Path], Iterator[Key]]] = {
    "jsonl:{}": of_lines,
    "jsonl:{}?compress=gzip": of_lines,
    "jsonl:{}?compress=zstd": read,
    "parquet:{}": read,
    "sqlite:{}/db": of_sqlite,
    "duckdb:{}/db": of_duckdb,
    "iceberg:{}/lake": of_iceberg,
}


def job(wechat: Wechat, home: Path, spec: str, rate: str = "10000/s") -> list[str]:
    return [
        "run", NAME, "--appid", A, "--start", str(BEGIN), "--end", str(END),
        "--base-url", wechat.url, "--rate", rate, "--out", str(home), "--sink", spec.format(home),
    ]  # fmt: skip


def truth(wechat: Wechat) -> Counter[Key]:
    """What must be stored in the end."""
    return Counter(
        (A, str(day), *(str(record[name]) for name in COLUMNS[2:]))
        for day in days(BEGIN, END)
        for record in wechat.simulator.truth(A, day)
    )


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "practice")


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of which one can say how much room it has."""
    with small_disk(request.param, tmp_path) as made:
        yield made


def full(
    disk: SmallDisk, job: list[str], kilobytes: int, capsys: pytest.CaptureFixture[str]
) -> bool:
    """Whether a run with so much room came to an end for want of it, as it should."""
    disk.leave(kilobytes)
    try:
        status = invoke(job)
    finally:
        disk.free()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if status == 0:
        return False
    assert status == 4, said
    [sentence] = [line for line in said.splitlines() if line.startswith("harvester: ")]
    assert FULL.search(sentence)
    assert "is lost: " in sentence
    assert sentence.endswith("run the same command again")
    return True


@pytest.mark.parametrize("spec", SINKS)
def test_a_full_disk_ends_with_4_wherever_it_is_met_and_nothing_is_lost(
    wechat: Callable[..., Wechat], disk: SmallDisk, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = wechat()
    wanted = truth(server)
    met = 0
    for kilobytes in ROOM[type(disk)]:
        home = disk.place / str(kilobytes)
        todo = job(server, home, spec)
        if not full(disk, todo, kilobytes, capsys):
            break
        met += 1
        full(disk, todo, kilobytes // 2, capsys)  # another one, which may have enough
        if (home / "ledger.sqlite").exists():
            assert invoke(["status", "--out", str(home)]) == 0
            assert invoke(["verify", "--out", str(home)]) in (0, 2)  # nothing to verify, perhaps
        assert invoke(todo) == 0, capsys.readouterr().err
        assert Counter(SINKS[spec](home)) == wanted
        assert invoke(["verify", "--out", str(home)]) == 0
        capsys.readouterr()
    assert met >= 3


def test_no_room_for_a_new_ledger_leaves_the_former_one_and_all_that_is_stored(
    wechat: Callable[..., Wechat], disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    server = wechat()
    home, spec = disk.place / "harvest", "jsonl:{}"
    assert invoke(job(server, home, spec)) == 0
    before = (home / "ledger.sqlite").read_bytes()
    capsys.readouterr()
    statuses = set()
    for kilobytes in (0, 12, 40, 64, 4000):
        disk.leave(kilobytes)
        try:
            status = invoke(["rebuild", "--out", str(home)])
        finally:
            disk.free()
        statuses.add(status)
        if status:
            assert status == 4
            assert FULL.search(capsys.readouterr().err)
            assert (home / "ledger.sqlite").read_bytes() == before
    assert statuses == {0, 4}
    assert invoke(job(server, home, spec)) == 0
    assert Counter(SINKS[spec](home)) == truth(server)
    assert invoke(["verify", "--out", str(home)]) == 0


# a disk that turns read-only


class Sudden(Simulator):
    """A WeChat that lets something happen at its twentieth data answer."""

    happens: Callable[[], None] | None = None

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        if self.counts["data"] == 20 and self.happens is not None:
            happens, self.happens = self.happens, None
            time.sleep(0.6)  # in which what came until now is committed
            happens()
        return super().handle(method, path, query, body)


@pytest.mark.parametrize(
    "spec",
    [
        "jsonl:{}",
        "jsonl:{}?compress=gzip",
        "parquet:{}",
        "sqlite:{}/db",
        "duckdb:{}/db",
        "iceberg:{}/lake",
    ],
)
def test_a_disk_that_turns_read_only_in_the_midst_of_a_run_loses_nothing(
    tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = Sudden()
    with read_only_disk(tmp_path) as disk, Wechat(simulator) as server:
        home = disk.place / "harvest"
        simulator.happens = disk.turn_read_only
        assert invoke(job(server, home, spec, "100/s")) == 4
        said = capsys.readouterr().err
        [sentence] = [line for line in said.splitlines() if line.startswith("harvester: ")]
        assert READ_ONLY.search(sentence)
        assert sentence.endswith("run the same command again")
        assert "Traceback" not in said
        # Looking is allowed; nothing can be done.
        assert invoke(["status", "--out", str(home)]) == 0
        if isinstance(disk, Ext4):
            assert invoke(job(server, home, spec)) == 2
            assert "cannot be written (Read-only file system)" in capsys.readouterr().err
        disk.mend()
        assert invoke(["verify", "--out", str(home)]) == 0
        assert sum(1 for _ in SINKS[spec](home)) > 0
        assert invoke(job(server, home, spec)) == 0
        assert Counter(SINKS[spec](home)) == truth(server)
        assert invoke(["verify", "--out", str(home)]) == 0
