"""The command ``maintain``: sinks are made as small as they can be, now.

Rule: as a run opens a sink, and under the same locks; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from harvester import plugins
from harvester.cli import COMPLETE
from harvester.cli.known import as_known
from harvester.cli.screen import plain, tell
from harvester.errors import UsageError
from harvester.ledger import Ledger, PostgresLedger, SqliteLedger
from harvester.ledger.base import place_of, shared
from harvester.sinks.base import Sink, keep_with, maintain_of, spec_of


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
            where = spec_of(name, ledger.path)
            if name not in named and where.partition(":")[0] not in plugins.sink_schemes():
                tell(plain(f"{where} is somebody's own; name it with --sink"))
                continue
            said = await _maintained(ledger, name, named.get(name) or plugins.sink(where))
            tell(plain(f"{where}: {said}"))
    return COMPLETE


async def _maintained(ledger: Ledger, name: str, sink: Sink) -> str:
    """What was done to a sink."""
    maintain = maintain_of(sink)
    if maintain is None:
        return "nothing to do"
    keep_with(sink, place_of(ledger))
    try:
        entries = await sink.open(await ledger.checkpoint(name))
        await ledger.commit([], {name: entries})
        return await maintain()
    finally:
        await sink.close()
