"""Where `run` keeps a ledger if nobody says so, and what happens where it keeps none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.postgres_server import PASSWORD
from tests.scenarios.days import RECORDS, DaysOnly
from tests.scenarios.places import spec_of
from tests.support import A, harvest

BEGIN, END = date(2024, 1, 1), date(2024, 1, 20)
LOCAL = {
    "jsonl": "there/ledger.sqlite",
    "parquet": "there/ledger.sqlite",
    "sqlite": "there.db.ledger.sqlite",
    "duckdb": "there.duckdb.ledger.sqlite",
}


@pytest.fixture
def server() -> Iterator[DaysOnly]:
    with DaysOnly() as one:
        yield one


def run(server: DaysOnly, sink: str | list[str], **options: Any) -> harvester.Report:
    account = harvester.Account(A, secret="practice")
    return asyncio.run(
        harvester.run(
            account, "getusersummary", BEGIN, END, sink=sink, base_url=server.url, rate=10_000,
            **options,
        )
    )  # fmt: skip


@pytest.mark.parametrize("kind", LOCAL)
def test_the_second_run_of_the_same_call_asks_for_nothing(
    kind: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = spec_of(kind, tmp_path / "there", request)
    first = run(server, spec)
    asked = server.requests
    again = run(server, spec)
    assert (first.state, again.state, again.notes) == ("complete", "complete", [])
    assert again.windows.skipped == again.windows.planned == first.windows.done
    assert server.requests == asked
    assert (tmp_path / LOCAL[kind]).is_file()
    stored = harvester.read(spec, "getusersummary").read_all()
    assert stored.num_rows == RECORDS * 20


def test_two_databases_of_one_folder_have_a_ledger_each(server: DaysOnly, tmp_path: Path) -> None:
    specs = [f"sqlite:{tmp_path}/a.db", f"sqlite:{tmp_path}/b.db", f"duckdb:{tmp_path}/a.duckdb"]
    for spec in specs:
        before = server.requests
        assert run(server, spec).state == "complete"
        assert server.requests > before, spec
    assert sorted(path.name for path in tmp_path.glob("*.ledger.sqlite")) == [
        "a.db.ledger.sqlite", "a.duckdb.ledger.sqlite", "b.db.ledger.sqlite"
    ]  # fmt: skip
    for spec in specs:
        assert run(server, spec).windows.done == 0


def test_of_redis_nothing_is_remembered_and_a_note_says_so(
    server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = spec_of("redis", tmp_path / "there", request)
    report = run(server, spec)
    (note,) = report.notes
    assert "no ledger was kept for redis://" in note
    assert 'ledger="sqlite:FILE"' in note
    assert run(server, spec).windows.skipped == 0
    assert run(server, spec, ledger=None).notes == []  # whoever says so knows it
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    assert run(server, spec, ledger=ledger).notes == []
    assert run(server, spec, ledger=ledger).windows.done == 0


def test_a_database_that_was_filled_without_a_ledger_gets_one_by_rebuild(
    server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = spec_of("postgresql", tmp_path / "there", request)
    assert run(server, spec, ledger=None).notes == []
    assert run(server, spec, ledger=None).windows.skipped == 0
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    with pytest.raises(harvester.UsageError, match="holds a harvest") as caught:
        run(server, spec, ledger=ledger)
    assert f"`harvester rebuild --out DIR --sink {spec.replace(f':{PASSWORD}', '')}" in str(
        caught.value
    )
    assert harvest("rebuild", "--out", tmp_path, "--sink", spec).returncode == 0
    assert run(server, spec, ledger=ledger).notes == []
    assert run(server, spec, ledger=ledger).windows.done == 0


def test_a_local_sink_beside_a_server_has_the_ledger_of_both(
    server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    specs = [spec_of(kind, tmp_path / "there", request) for kind in ("postgresql", "sqlite")]
    assert run(server, specs).notes == []
    assert run(server, specs).windows.done == 0
    assert (tmp_path / LOCAL["sqlite"]).is_file()


def test_a_ledger_is_named_by_a_path_or_a_spec(server: DaysOnly, tmp_path: Path) -> None:
    kept = tmp_path / "kept.sqlite"
    run(server, "memory:", ledger=f"sqlite:{kept}")
    assert kept.is_file()
    for ledger in (kept, str(kept), f"sqlite:{kept}"):
        with pytest.raises(harvester.SinkError, match="is gone with the process"):
            run(server, "memory:", ledger=ledger)


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ("postgresql://user:s3cret-s3cret@host/db", "cannot be written by several processes"),
        (
            "redis://user:s3cret-s3cret@host/0",
            r"redis://… is not a ledger; give a path, sqlite:FILE or p",
        ),
        ("sqlite:", "write it as sqlite:FILE"),
        ("", "its path is empty"),
        (3, "^ledger=3: expected a path, sqlite:FILE, postgresql://…, a Ledger or None$"),
    ],
)
def test_what_cannot_be_a_ledger_is_refused(
    ledger: Any, said: str, server: DaysOnly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(harvester.UsageError, match=said) as caught:
        run(server, "memory:", ledger=ledger)
    assert "s3cret" not in str(caught.value)

    async def streamed() -> None:
        async with harvester.stream(
            harvester.Account(A, secret="practice"), "getusersummary", BEGIN, END, ledger=ledger
        ):
            pass

    with pytest.raises(harvester.UsageError, match=said):
        asyncio.run(streamed())
    assert server.requests == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_the_command_finds_the_ledger_of_a_database_and_makes_it_anew(
    kind: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = spec_of(kind, tmp_path / "there", request)
    run(server, spec)
    place, kept = Path(spec.partition(":")[2]), tmp_path / LOCAL[kind]
    for command in ("verify", "status"):
        assert harvest(command, "--out", place).returncode == 0
    kept.write_bytes(b"damaged, and long enough to be looked at" * 200)
    with pytest.raises(harvester.HarvestError, match=r"harvester rebuild --out .*there") as caught:
        run(server, spec)
    assert str(place) in str(caught.value)
    assert harvest("rebuild", "--out", place).returncode == 0
    kept.unlink()
    assert harvest("rebuild", "--out", place).returncode == 0
    assert run(server, spec, refresh=True).state == "complete"
    assert harvest("verify", "--out", place).returncode == 0
    assert harvester.read(spec, "getusersummary").read_all().num_rows == RECORDS * 20
