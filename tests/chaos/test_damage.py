"""A ledger that is damaged, lost, or newer: detected, refused, and rebuilt from the records."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from harvester.cli.commands import invoke
from harvester.ledger import FILE_NAME, VERSION
from harvester.ledger.sqlite_tables import RELEASED
from tests.chaos.crash.sinks import FILES, SINKS, stored
from tests.chaos.harvests import NAME, Sudden, assert_the_truth, job
from tests.support import A, Wechat, harvest, sentences

pytestmark = pytest.mark.thorough

FLIPS = {"jsonl": 20, "sqlite": 8}
FEW_FLIPS = 3


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wechat]:
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    with Wechat(Sudden()) as server:
        yield server


def data(home: Path) -> dict[str, bytes]:
    """All that is stored there, but for ledgers."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.name.startswith(FILE_NAME)
    }


def harvested(server: Wechat, folder: Path, sink: str) -> list[Path]:
    """What a killed run leaves, and one that ended; copies of what stood at one place."""
    home = folder / "home"
    simulator = server.simulator
    assert isinstance(simulator, Sudden)
    simulator.happens = lambda: shutil.copytree(home, folder / "killed")
    assert invoke(job(server, home, sink, "400/s")) == 0
    home.rename(folder / "ended")
    return [folder / "killed", folder / "ended"]


def damage(home: Path, draw: Random) -> str:
    """Turn over a few bits of the ledger, or of its log; gives where."""
    names = [each for each in (FILE_NAME, f"{FILE_NAME}-wal") if (home / each).exists()]
    path = home / draw.choice([each for each in names if (home / each).stat().st_size])
    content = bytearray(path.read_bytes())
    places = [draw.randrange(len(content)) for _ in range(draw.choice((1, 1, 1, 2, 40)))]
    if draw.random() < 0.2:
        places = [draw.randrange(100)]  # the head of the file
    for place in places:
        content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f"{path.name} {places[:3]}"


@pytest.mark.sampled
@pytest.mark.parametrize("sink", FILES)
def test_bits_that_turned_over_are_found_or_harmless_and_rebuilding_loses_nothing(
    server: Wechat, tmp_path: Path, sink: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = Random(sink)
    images = harvested(server, tmp_path, sink)
    home, refused = tmp_path / "home", 0
    for number in range(FLIPS.get(sink, FEW_FLIPS)):
        image = images[number % len(images)]
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(image, home)
        before = data(home)
        where = damage(home, draw)
        capsys.readouterr()
        status = invoke(job(server, home, sink))
        said = capsys.readouterr().err
        assert "Traceback" not in said
        if status != 0:
            refused += 1
            assert status in (2, 4), (where, said)  # 2: it has lost all, and knows no sink
            [sentence] = sentences(said)
            assert "harvester rebuild --out" in sentence, where
            assert status == 2 or data(home) == before, where
            assert (
                invoke(["rebuild", "--out", str(home), "--sink", SINKS[sink].spec.format(home)])
                == 0
            ), where
            assert "record" in capsys.readouterr().out
            asked = server.simulator.counts["data"]
            assert invoke(job(server, home, sink)) == 0, where
            if image.name == "ended":  # the last one may not be whole: all others are known
                assert server.simulator.counts["data"] - asked <= 1, where
        assert_the_truth(server, home, sink)
    assert refused or sink not in FLIPS


# the command


def smash(home: Path) -> None:
    """Leave nothing of a ledger that could be read."""
    for each in home.glob(f"{FILE_NAME}*"):
        each.unlink()
    (home / FILE_NAME).write_bytes(b"no ledger at all" * 500)


@pytest.mark.parametrize("what", ["status", "verify", "plan", "run"])
def test_every_command_that_meets_a_damaged_ledger_names_the_way_out(
    server: Wechat, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "my harvest"
    assert invoke(job(server, home)) == 0
    smash(home)
    capsys.readouterr()
    todo = {
        "run": job(server, home),
        "plan": ["plan", NAME, "--start", "2024-01-01", "--end", "2024-01-31", "--out", str(home)],
    }
    assert invoke(todo.get(what, [what, "--out", str(home)])) == 4
    said = capsys.readouterr().err
    [line] = sentences(said)
    assert "is damaged (file is not a database)" in line
    assert line.endswith(
        f"harvester rebuild --out '{home}' makes a new ledger from the stored records"
    )


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("content", [b"", b'{"format":3,"owner":"'])
def test_a_damaged_state_of_the_lines_is_mended_by_the_command_that_is_printed(
    server: Wechat, tmp_path: Path, content: bytes, elsewhere: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    home = tmp_path / "my harvest"
    ledger = ["--ledger", str(tmp_path / "ledger.sqlite")] if elsewhere else []
    todo = [*job(server, home), *ledger]
    verify = ["verify", "--out", str(home), *ledger]
    assert invoke(todo) == invoke(verify) == 0
    (home / ".jsonl.state").write_bytes(content)
    before = data(home)
    for each, status in ((todo, 4), (verify, 1)):
        capsys.readouterr()
        assert invoke(each) == status
        said = "".join(capsys.readouterr())
        found = re.search(
            r"jsonl\.state is damaged; harvester (rebuild .*) \(with --ledger if", said
        )
        assert found, said
    assert data(home) == before
    assert invoke([*shlex.split(found[1]), *ledger]) == 0
    assert data(home) == before
    assert invoke(todo) == invoke(verify) == 0
    if not elsewhere:
        assert_the_truth(server, home)


def test_a_rebuilding_tells_what_it_found_and_where_the_former_ledger_is(
    server: Wechat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    assert invoke(job(server, home)) == 0
    smash(home)
    records = stored("jsonl", home).total()
    capsys.readouterr()
    assert invoke(["rebuild", "--out", str(home)]) == 0
    said = capsys.readouterr()
    found, compared, empty, former = said.out.splitlines()
    assert said.err == ""
    assert found.startswith(f"jsonl:{home}: {records:,} records of 31 windows of 1 account; 1 of")
    assert compared.startswith("the former ledger could not be read: records that are missing")
    assert empty.startswith("days without a record are no longer known")
    [place] = home.glob(f"{FILE_NAME}.former*")
    assert former == f"the former ledger is now {place}"
    assert place.read_bytes().startswith(b"no ledger at all")
    asked = server.simulator.counts["data"]
    assert invoke(job(server, home)) == 0
    assert server.simulator.counts["data"] == asked + 1
    assert_the_truth(server, home)


def test_a_ledger_of_a_newer_version_is_left_alone_and_can_be_made_anew(
    server: Wechat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    assert invoke(job(server, home, "sqlite")) == 0
    with closing(sqlite3.connect(home / FILE_NAME)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (home / FILE_NAME).read_bytes()
    capsys.readouterr()
    for todo in (job(server, home, "sqlite"), ["status", "--out", str(home)]):
        assert invoke(todo) == 4
        said = capsys.readouterr().err
        assert f"has format version {VERSION + 1}, but this harvester needs {VERSION}" in said
        assert (
            "a newer version of harvester wrote it: use that version; if there is none,"
            " harvester rebu"
        ) in said
        assert (home / FILE_NAME).read_bytes() == before
    # It still names the sinks: nobody has to.
    assert invoke(["rebuild", "--out", str(home)]) == 0
    assert "sqlite:" in capsys.readouterr().out
    assert invoke(job(server, home, "sqlite")) == 0
    assert_the_truth(server, home, "sqlite")


def test_for_a_ledger_before_the_first_release_no_command_is_named(
    server: Wechat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    assert invoke(job(server, home, "sqlite")) == 0
    with closing(sqlite3.connect(home / FILE_NAME)) as database:
        database.execute(f"PRAGMA user_version = {RELEASED - 1}")
    for todo in (job(server, home, "sqlite"), ["status", "--out", str(home)]):
        assert invoke(todo) == 4
        said = capsys.readouterr().err
        assert "a harvester older than the first release wrote it; what to do: https://" in said
        assert "rebuild" not in said


def test_a_sink_whose_kind_is_not_known_here_is_left_out_and_told(
    server: Wechat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    assert invoke(job(server, home)) == 0
    with closing(sqlite3.connect(home / FILE_NAME)) as database, database:
        database.execute("INSERT INTO checkpoint VALUES ('cloud:place', 'a', 'b')")
    capsys.readouterr()
    assert invoke(["rebuild", "--out", str(home)]) == 0
    said = capsys.readouterr().out.splitlines()
    left_out = (
        f"cloud:{home / 'place'} is left out; if runs have written to it, name it with --sink"
    )
    assert said[0] == left_out
    assert said[1].startswith(f"jsonl:{home}: ")
    assert invoke(["verify", "--out", str(home)]) == 0


@pytest.mark.parametrize("sink", [[], ["--sink", "nonsense:x"], ["--sink", "jsonl:"]])
def test_what_cannot_be_rebuilt_is_one_sentence(
    tmp_path: Path, sink: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path if sink else tmp_path / "nowhere"
    assert invoke(["rebuild", "--out", str(home), *sink]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("harvester: ")
    assert list(tmp_path.iterdir()) == []


def test_during_a_run_no_other_command_may_change_anything_and_looking_is_allowed(
    server: Wechat, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    said: list[tuple[int, str]] = []

    def others() -> None:
        for todo in (["rebuild", "--out", home], job(server, home), ["status", "--out", home]):
            found = harvest(*todo)
            said.append((found.returncode, found.stderr))

    simulator = server.simulator
    assert isinstance(simulator, Sudden)
    simulator.happens = others
    assert invoke(job(server, home)) == 0
    in_use = f"the directory {home} is in use by another harvester"
    assert [status for status, _ in said] == [2, 2, 0]
    assert in_use in said[0][1]
    told = sentences(said[1][1])
    assert told == [f"harvester: {in_use}; wait until it has ended, or choose another directory"]
    assert len(said[1][1].splitlines()) == 2
    assert not list(home.glob("*.former*"))


def test_own_interfaces_of_a_configuration_are_known_when_a_ledger_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("harvester.toml").write_text(
        "[[interface]]\nname = 'getmine'\npath = '/datacube/getmine'\nfirst_day = '2024-01-01'\n"
        "late_days = 3000\n"
    )
    Path("harvest/getmine").mkdir(parents=True)
    record = {
        "ref_date": "2024-01-01", "_appid": A, "_endpoint": "getmine", "_begin_date": "2024-01-01",
        "_end_date": "2024-01-01", "_fetched_at": "2024-02-01T00:00:00Z",
    }  # fmt: skip
    later = {**record, "_begin_date": "2024-01-02", "_end_date": "2024-01-02"}
    lines = "".join(json.dumps(each) + "\n" for each in (record, later))
    Path("harvest/getmine/2024-01.jsonl").write_text(lines)
    assert invoke(["rebuild"]) == 0
    assert "2 of these might be incomplete or not final" in capsys.readouterr().out
