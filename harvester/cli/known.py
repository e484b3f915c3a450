"""The sinks that a ledger knows, as they are reached from here.

Rule: opens nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harvester.errors import UsageError
from harvester.ledger import PostgresLedger, SqliteLedger
from harvester.sinks.base import Sink, name_in


def as_known(
    ledger: SqliteLedger | PostgresLedger, known: Collection[str], given: Sequence[Sink]
) -> dict[str, Sink]:
    """The given sinks by their names in the ledger; raises `UsageError` for another one."""
    named = {name_in(sink, ledger.path): sink for sink in given}
    if strange := sorted(named.keys() - known):
        raise UsageError(f"{ledger.where} knows nothing of {strange[0]}")
    return named
