"""A service is killed at each step from a decision to the note that its messages were sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from harvester.base.secrets import Secret
from harvester.ledger import open_ledger
from harvester.service.mail import LEASE
from harvester.service.state import State
from tests.chaos.forks import KILLED, Forks
from tests.postgres_server import PostgresServer

NOW = 1_772_323_500.0


STEPS = ("decision", "claim", "sending", "settling", "claim", "sending", "settling")
KILLS = [f"killed {when} a {step}" for step in STEPS for when in ("before", "after")]
TWICE = ("killed after a sending", "killed before a settling")


@pytest.mark.thorough
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def test_a_message_is_sent_twice_only_by_who_dies_between_its_answer_and_the_swap(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with Forks("tests.service.lives") as forks:
        for number in range(len(KILLS) + 1):
            if kind == "sqlite":
                place = str(tmp_path / f"{number}.sqlite")
            else:
                postgres: PostgresServer = request.getfixturevalue("postgres")
                place = postgres.url(postgres.new_database())
            received = tmp_path / f"{number}.txt"
            asyncio.run(_made(place))
            job = {"ledger": place, "received": str(received), "kill": number, "now": NOW}
            ended = forks.run(job)
            lines = received.read_text().splitlines() if received.exists() else []
            messages = {"digest 1 env:A", "digest 1 env:B"}
            if not number:
                assert (ended, sorted(lines)) == (0, sorted(messages))
                continue
            assert (ended, lines[-1]) == (KILLED, KILLS[number - 1])
            assert forks.run({**job, "kill": 0, "now": NOW + LEASE + 1}) == 0
            got = Counter(received.read_text().splitlines()) - Counter(lines[-1:])
            twice = lines[-2:-1] if lines[-1] in TWICE else []
            assert got == Counter(messages) + Counter(twice)
            assert asyncio.run(_left(place)).mail == ()


async def _made(place: str) -> None:
    async with open_ledger(Secret(place)):
        pass


async def _left(place: str) -> State:
    async with open_ledger(Secret(place), readonly=True) as ledger:
        return State.read(await ledger.service_state())
