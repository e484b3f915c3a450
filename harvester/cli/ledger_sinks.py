"""The sinks of a ledger, with the specs that reach them from here.

Rule: opens nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from harvester.config import plugins
from harvester.errors import UsageError
from harvester.ledger import PostgresLedger, SqliteLedger
from harvester.sinks.base import Sink, name_in, spec_of


def as_known(
    ledger: SqliteLedger | PostgresLedger, known: Collection[str], given: Sequence[Sink]
) -> dict[str, Sink]:
    """The given sinks by their names in the ledger; raises `UsageError` for another one."""
    named = {name_in(sink, ledger.path): sink for sink in given}
    if strange := sorted(named.keys() - known):
        raise UsageError("{} knows nothing of {}", ledger.where, strange[0])
    return named


def sink_named(
    ledger: SqliteLedger | PostgresLedger, name: str, given: Mapping[str, Sink]
) -> Sink | None:
    """The sink of a name in the ledger: a given one, or the one that its spec names.

    None if that is no spec, or if it was in the memory of a process.  Raises `UsageError` if it
    cannot be made here.
    """
    sink, spec = given.get(name), spec_of(name, ledger.path)
    scheme = spec.partition(":")[0]
    if sink is None and scheme in plugins.sink_schemes() and scheme != "memory":
        sink = plugins.sink(spec)
    return sink
