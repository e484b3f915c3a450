"""Two ledgers write one sink, with ranges that begin and end on other days of the same windows.

A destination belongs to one ledger: a run with another one is refused, or stopped if both began at
the same time.  Nothing is doubled, and nothing is lost that a run called complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.scenarios.days import RECORDS, DaysOnly, each_once
from tests.scenarios.places import SINKS, days_in, spec_of
from tests.scenarios.server import APPID, Server
from tests.scenarios.test_changed_windows import cut
from tests.support import A, harvest

Range = tuple[date, date]
OWNED = [kind for kind in SINKS if kind != "redis"]
"""All but feeds, into which any ledger may send."""
SHARED = ["sqlite", "postgresql"]
"""Those that two processes can write at the same time."""


def january(first: int, last: int) -> Range:
    return date(2024, 1, first), date(2024, 1, last)


@pytest.fixture
def server() -> Iterator[DaysOnly]:
    with DaysOnly() as one:
        yield one


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
                ledger=self.home / f"{ledger}.sqlite", **{"rate": 10_000, **options},
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


@pytest.mark.parametrize("refresh", [False, pytest.param(True, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", OWNED)
def test_two_ledgers_in_turn(
    kind: str,
    steps: str,
    refresh: bool,
    server: DaysOnly,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    two = Two(server, tmp_path, spec_of(kind, tmp_path / "there", request))
    for ledger, days in STEPS[steps]:
        two.run(ledger, days)
    for ledger, days in STEPS[steps] if refresh else ():
        two.run(ledger, days, refresh=True)
    for ledger, days in STEPS[steps]:
        two.run(ledger, days)


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
def test_two_ledgers_at_the_same_time(
    kind: str,
    ranges: tuple[Range, Range],
    order: str,
    server: DaysOnly,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    two = Two(server, tmp_path, spec_of(kind, tmp_path / "there", request))

    async def both(**options: Any) -> list[str]:
        runs = [
            two.harvested(ledger, days, order=order, **options)
            for ledger, days in zip("ab", ranges, strict=True)
        ]
        return list(await asyncio.gather(*runs))

    for turn in range(3):
        states = asyncio.run(both(refresh=turn == 1))
        assert states.count("complete") <= 1
        for days, state in zip(ranges, states, strict=True):
            two.look(days if state == "complete" else None)
    alone = [
        asyncio.run(two.harvested(ledger, days)) for ledger, days in zip("ab", ranges, strict=True)
    ]
    assert alone.count("complete") == 1
    two.look(ranges[alone.index("complete")])
    for each in two.said:
        assert "belongs to another ledger" in each


@pytest.mark.parametrize("kind", OWNED)
@pytest.mark.thorough
def test_after_a_rebuild_the_former_ledger_is_refused(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = spec_of(kind, tmp_path / "there", request)
    former, later = tmp_path / "former", tmp_path / "later"
    with Server() as server:

        def run(out: Path, end: str) -> int:
            return harvest(
                "run", "getusersummary", "--appid", APPID, "--start", "2024-01-01",
                "--end", end, "--base-url", server.url, "--rate", "500/s", "--out", out,
                "--sink", spec,
            ).returncode  # fmt: skip

        assert run(former, "2024-01-05") == 0
        done = harvest("rebuild", "--out", later, "--sink", spec)
        assert (done.returncode, done.stderr) == (0, "")
        assert run(later, "2024-01-10") == 0
        asked = len(server.data)
        assert run(former, "2024-01-08") in (2, 4)
        assert len(server.data) == asked
        assert run(later, "2024-01-10") == 0
    assert days_in(spec, "getusersummary").keys() == {f"2024-01-{day:02}" for day in range(1, 11)}
    assert harvest("verify", "--out", later, "--sink", spec).returncode == 0
