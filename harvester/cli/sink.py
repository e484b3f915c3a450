"""The command ``sink``: the sinks of a ledger are listed, added and removed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harvester.cli.exit_status import COMPLETE
from harvester.cli.terminal import many, plain, show_line
from harvester.config.place import Place, as_known, sink_named
from harvester.errors import UsageError
from harvester.ledger import Ledger
from harvester.sinks.base import Sink, name_in, spec_of
from harvester.texts import say
from harvester.upkeep.copy import add_sink, exclusively, remove_sink


async def show_sinks(place: Place) -> int:
    """Print the listed sinks, one per line."""
    async with place.ledger() as ledger:
        for name in await ledger.sinks():
            show_line(plain(spec_of(name, ledger.path)))
    return COMPLETE


async def show_adding(place: Place, sink: Sink) -> int:
    """Add a sink, and print what was copied."""
    async with unused(place) as ledger:
        named = as_known(ledger, await ledger.sinks(), place.sinks)
        windows = await add_sink(
            ledger,
            sink,
            lambda name: sink_named(ledger, name, named),
            place.find,
            time.time(),
        )
    show_line(
        plain(say("{}: {} copied; the sink is listed now", sink.identity, many(windows, "window")))
    )
    return COMPLETE


async def show_removal(place: Place, sink: Sink) -> int:
    """Remove a sink from the list."""
    async with unused(place) as ledger:
        await remove_sink(ledger, name_in(sink, ledger.path))
    show_line(plain(say("{} is no longer listed; its records are kept", sink.identity)))
    return COMPLETE


@asynccontextmanager
async def unused(place: Place) -> AsyncIterator[Ledger]:
    """The ledger, entered, while no run uses it."""
    ledger = place.ledger(readonly=False)
    if ledger.path is not None and not ledger.path.exists():
        raise UsageError(
            "there is no ledger at {}; name its directory with --out, or harvest first",
            ledger.path.parent,
        )
    async with ledger, exclusively(ledger):
        yield ledger
