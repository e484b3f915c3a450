"""The command ``maintain``: sinks are made as small as they can be, now.

Rule: as a run opens a sink, and under the same locks; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from harvester.cli import COMPLETE
from harvester.cli.known import as_known, sink_named
from harvester.cli.screen import plain, tell
from harvester.errors import UsageError
from harvester.ledger import Ledger, PostgresLedger, SqliteLedger
from harvester.ledger.base import shared
from harvester.sinks.base import Sink, maintain_of, spec_of


async def show_maintenance(ledger: SqliteLedger | PostgresLedger, given: Sequence[Sink]) -> int:
    """Maintain the sinks that are given, or those that the ledger knows."""
    if ledger.path is not None and not ledger.path.exists():
        raise UsageError(f"there is no ledger at {ledger.path.parent}")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ledger)
        if (common := shared(ledger)) is not None:
            await stack.enter_async_context(common.alone())
            if any(worker.alive for worker in await common.workers()):
                raise UsageError(
                    f"workers of {ledger.where} are running; wait until they have ended"
                )
        known = await ledger.sinks()
        if not known:
            raise UsageError(f"{ledger.where} knows of no sink; nothing was harvested yet")
        named = as_known(ledger, known, given)
        for name in named or known:
            sink = sink_named(ledger, name, named)
            said = (
                " cannot be reached by its name; give it with --sink"
                if sink is None
                else f": {await _maintained(ledger, name, sink)}"
            )
            tell(plain(spec_of(name, ledger.path) + said))
    return COMPLETE


async def _maintained(ledger: Ledger, name: str, sink: Sink) -> str:
    """What was done to a sink."""
    maintain = maintain_of(sink)
    if maintain is None:
        return "nothing to do"
    try:
        entries = await sink.open(await ledger.checkpoint(name))
        await ledger.commit([], {name: entries})
        return await maintain()
    finally:
        await sink.close()
