"""Where a ledger is kept, and two ledgers of one sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.ledger import SqliteLedger
from tests.postgres_server import PASSWORD
from tests.scenarios.command import asked
from tests.scenarios.days import RECORDS, DaysOnly, each_once
from tests.scenarios.places import SINKS, days_in, spec_of
from tests.scenarios.runs.test_changed_windows import cut
from tests.scenarios.server import Server
from tests.support import A, harvest

ASKED = (
    harvester.Account(A, secret="practice"), "getusersummary", date(2024, 1, 1), date(2024, 1, 20),
)  # fmt: skip
LOCAL = {
    "jsonl": "there/ledger.sqlite",
    "sqlite": "there.db.ledger.sqlite",
}
Run = Callable[..., harvester.Report]


@pytest.fixture
def run(server: DaysOnly) -> Run:
    """Run into a sink, or several: ``run(sink, ledger=None)``."""
    where = {"base_url": server.url, "rate": "10000/s"}
    return lambda sink, **how: asyncio.run(harvester.run(*ASKED, sink=sink, **where, **how))


@pytest.mark.parametrize("kind", LOCAL)
def test_the_second_run_of_the_same_call_asks_for_nothing(
    kind: str, spec: str, server: DaysOnly, run: Run, tmp_path: Path
) -> None:
    first = run(spec)
    asked = server.requests
    again = run(spec)
    assert (first.state, again.state, again.notes) == ("complete", "complete", [])
    assert again.windows.skipped == again.windows.planned == first.windows.done
    assert server.requests == asked
    assert (tmp_path / LOCAL[kind]).is_file()
    assert harvester.read(spec, "getusersummary").read_all().num_rows == RECORDS * 20


def test_two_databases_of_one_folder_have_a_ledger_each(run: Run, tmp_path: Path) -> None:
    specs = [f"sqlite:{tmp_path}/a.db", f"sqlite:{tmp_path}/b.db", f"sqlite:{tmp_path}/a.sqlite"]
    for spec in specs:
        first = run(spec)
        assert (first.state, first.requests > 0) == ("complete", True), spec
    assert sorted(path.name for path in tmp_path.glob("*.ledger.sqlite")) == [
        "a.db.ledger.sqlite", "a.sqlite.ledger.sqlite", "b.db.ledger.sqlite"
    ]  # fmt: skip
    for spec in specs:
        assert run(spec).windows.done == 0


@pytest.mark.parametrize("kind", ["mysql"])
def test_of_mysql_nothing_is_kept_and_a_note_says_so(spec: str, run: Run) -> None:
    (note,) = run(spec).notes
    assert "no ledger was kept for mysql://" in note
    assert 'ledger="sqlite:FILE"' in note
    assert run(spec).windows.skipped == 0
    assert run(spec, ledger=None).notes == []  # whoever says so knows it


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_database_that_was_filled_without_a_ledger_gets_one_by_rebuild(
    spec: str, run: Run, tmp_path: Path
) -> None:
    assert run(spec, ledger=None).notes == []
    assert run(spec, ledger=None).windows.skipped == 0
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    with pytest.raises(harvester.UsageError, match="contains a harvest") as caught:
        run(spec, ledger=ledger)
    rebuild = f"`harvester rebuild --out DIR --sink {spec.replace(f':{PASSWORD}', '')}"
    assert rebuild in str(caught.value)
    assert harvest("rebuild", "--out", tmp_path, "--sink", spec).returncode == 0
    assert run(spec, ledger=ledger).notes == []
    assert run(spec, ledger=ledger).windows.done == 0


@pytest.mark.thorough
def test_a_local_sink_beside_a_server_has_the_ledger_of_both(
    run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    specs = [spec_of(kind, tmp_path / "there", request) for kind in ("postgresql", "sqlite")]
    assert run(specs).notes == []
    assert run(specs).windows.done == 0
    assert (tmp_path / LOCAL["sqlite"]).is_file()


def test_a_ledger_is_named_by_a_path_or_a_spec(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept.sqlite"
    run("memory:", ledger=f"sqlite:{kept}")
    assert kept.is_file()
    for ledger in (kept, str(kept), f"sqlite:{kept}"):
        with pytest.raises(harvester.SinkError, match="were lost when their process"):
            run("memory:", ledger=ledger)


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
        (3, "^ledger=3: expected a path, sqlite:FILE, postgresql://… or None$"),
        (SqliteLedger("l"), "^ledger=<SqliteLedger>: expected a path, sqlite:FILE, post"),
    ],
)
def test_what_cannot_be_a_ledger_is_refused(
    ledger: Any, said: str, server: DaysOnly, run: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def streamed() -> None:
        async with harvester.stream(*ASKED, ledger=ledger):
            pass

    monkeypatch.chdir(tmp_path)
    with pytest.raises(harvester.UsageError, match=said) as caught:
        run("memory:", ledger=ledger)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(harvester.UsageError, match=said):
        asyncio.run(streamed())
    assert server.requests == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["sqlite"])
def test_the_command_finds_the_ledger_of_a_database_and_makes_it_anew(
    kind: str, spec: str, run: Run, tmp_path: Path
) -> None:
    run(spec)
    place, kept = Path(spec.partition(":")[2]), tmp_path / LOCAL[kind]
    for command in ("verify", "status"):
        assert harvest(command, "--out", place).returncode == 0
    kept.write_bytes(b"damaged, and long enough to be looked at" * 200)
    with pytest.raises(harvester.HarvestError, match=r"harvester rebuild --out .*there") as caught:
        run(spec)
    assert str(place) in str(caught.value)
    assert harvest("rebuild", "--out", place).returncode == 0
    kept.unlink()
    assert harvest("rebuild", "--out", place).returncode == 0
    assert run(spec, refresh=True).state == "complete"
    assert harvest("verify", "--out", place).returncode == 0
    assert harvester.read(spec, "getusersummary").read_all().num_rows == RECORDS * 20


# Two ledgers write one sink, with ranges that begin and end on other days of the same windows.


Range = tuple[date, date]
SHARED = ["sqlite", "postgresql"]
"""Those that two processes can write at the same time."""


def january(first: int, last: int) -> Range:
    return date(2024, 1, first), date(2024, 1, last)


class Two:
    """Two ledgers, ``a`` and ``b``, and one sink."""

    def __init__(self, server: DaysOnly, home: Path, spec: str) -> None:
        self.server, self.home, self.spec = server, home / "ledgers", spec
        self.home.mkdir()
        self.said: list[str] = []

    async def harvested(self, ledger: str, days: Range, **options: Any) -> str:
        """The state in which the run ended."""
        account = harvester.Account(A, secret="practice")
        try:
            report = await harvester.run(
                account, cut(7), *days, sink=self.spec, base_url=self.server.url,
                ledger=self.home / f"{ledger}.sqlite", **{"rate": "10000/s", **options},
            )  # fmt: skip
        except harvester.UsageError:
            return "refused"
        except harvester.SinkError as exc:
            self.said.append(str(exc))
            return "stopped"
        return report.state

    def run(self, ledger: str, days: Range, **options: Any) -> None:
        """One run; what it calls complete is complete, and nothing is ever doubled."""
        state = asyncio.run(self.harvested(ledger, days, **options))
        self.look(days if state == "complete" else None)

    def look(self, complete: Range | None) -> None:
        found = days_in(self.spec, cut(7))
        assert max(found.values(), default=0) <= RECORDS, "doubled records"
        wanted = each_once(*complete) if complete else {}
        assert {day: found[day] for day in wanted} == wanted


@pytest.fixture
def two(server: DaysOnly, tmp_path: Path, spec: str) -> Two:
    return Two(server, tmp_path, spec)


STEPS = {
    "one after the other": [("a", january(1, 20)), ("b", january(5, 25))],
    "the other way": [("b", january(5, 25)), ("a", january(1, 20))],
    "in turn": [("a", january(1, 20)), ("b", january(5, 25)), ("a", january(1, 25)),
                ("b", january(3, 27))],
    "within": [("a", january(3, 20)), ("b", january(5, 9)), ("a", january(1, 21)),
               ("b", january(5, 10))],
    "a day more": [("a", january(1, 20)), ("b", january(5, 21)), ("a", january(1, 21))],
    "a day more at the begin": [("a", january(9, 28)), ("b", january(8, 20)),
                                ("a", january(8, 28))],
    "edges of one window": [("a", january(1, 3)), ("b", january(5, 7)), ("a", january(2, 6)),
                            ("b", january(1, 7)), ("a", january(1, 7))],
}  # fmt: skip


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", SINKS)
def test_two_ledgers_in_turn(two: Two, steps: str, refresh: bool) -> None:
    for ledger, days in STEPS[steps]:
        two.run(ledger, days)
    for ledger, days in STEPS[steps] if refresh else ():
        two.run(ledger, days, refresh=True)
    for ledger, days in STEPS[steps]:
        two.run(ledger, days)


@pytest.mark.thorough
@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize(
    "ranges",
    [
        (january(1, 20), january(5, 25)),
        (january(3, 30), january(1, 28)),
        (january(6, 27), january(4, 26)),
    ],
)
@pytest.mark.parametrize("kind", SHARED)
def test_two_ledgers_at_the_same_time(two: Two, ranges: tuple[Range, Range], order: str) -> None:
    pairs = [*zip("ab", ranges, strict=True)]

    async def both(**options: Any) -> list[str]:
        return await asyncio.gather(
            *[two.harvested(*each, order=order, **options) for each in pairs]
        )

    for turn in range(3):
        states = asyncio.run(both(refresh=turn == 1))
        assert states.count("complete") <= 1
        for days, state in zip(ranges, states, strict=True):
            two.look(days if state == "complete" else None)
    alone = [asyncio.run(two.harvested(*each)) for each in pairs]
    assert alone.count("complete") == 1
    two.look(ranges[alone.index("complete")])
    for each in two.said:
        assert "belongs to another ledger" in each


@pytest.mark.sampled
@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.thorough
def test_after_a_rebuild_the_former_ledger_is_refused(spec: str, tmp_path: Path) -> None:
    former, later = tmp_path / "former", tmp_path / "later"
    with Server() as server:

        def run(out: Path, end: str) -> int:
            days = asked(server.url, "getusersummary", "2024-01-01", end, "--sink", spec)
            return harvest(*days, "--out", out).returncode

        assert run(former, "2024-01-05") == 0
        done = harvest("rebuild", "--out", later, "--sink", spec)
        assert (done.returncode, done.stderr) == (0, "")
        assert run(later, "2024-01-10") == 0
        before = len(server.data)
        assert run(former, "2024-01-08") in (2, 4)
        assert len(server.data) == before
        assert run(later, "2024-01-10") == 0
    assert days_in(spec, "getusersummary").keys() == {f"2024-01-{day:02}" for day in range(1, 11)}
    assert harvest("verify", "--out", later, "--sink", spec).returncode == 0
