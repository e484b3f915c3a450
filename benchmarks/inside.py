"""The engine without sockets: what several questions ask of it in memory.

Rule: only what two of them need.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from harvester import datacube
from harvester.endpoint import Endpoint
from harvester.model import Account, Batch
from harvester.scope import Scope
from harvester.sinks.base import Receipt, Written

NOW = 1_764_072_000.0  # long after the days that are harvested
SECRET = "practice"


class Nowhere:
    """A sink that keeps nothing."""

    identity = "nowhere"

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Nothing to get ready."""
        return {}

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Nothing to keep."""
        return Written({})

    async def settle(self) -> None:
        """Nothing to put in place."""

    async def close(self) -> None:
        """Nothing to let go."""


def appids(number: int) -> list[str]:
    """So many accounts."""
    return [f"wx{n:016x}" for n in range(1, number + 1)]


def scope(
    number: int, days: int, endpoints: Sequence[Endpoint], first: date = date(2024, 1, 1)
) -> Scope:
    """So many days of so many accounts, from a day on that all interfaces have."""
    providers = {appid: datacube.provider_for(Account(appid, SECRET)) for appid in appids(number)}
    begin = max([endpoint.first_day for endpoint in endpoints] + [first])
    return Scope(providers, tuple(endpoints), begin, begin + timedelta(days=days - 1))
