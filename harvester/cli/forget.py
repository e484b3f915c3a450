"""The command ``forget``: removes an account, or interfaces of it, from ledger and sinks."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from harvester.base.chinese import shown
from harvester.base.dates import days_in
from harvester.cli.exit_status import COMPLETE
from harvester.cli.language import label
from harvester.cli.sink import unused
from harvester.cli.terminal import many, named, plain, readable, show_line
from harvester.config.place import Place, as_known, sink_named
from harvester.errors import UsageError
from harvester.ledger import Ledger
from harvester.ledger.base import LockLostError
from harvester.report.texts import title_of
from harvester.service import state
from harvester.sinks.base import Sink, spec_of
from harvester.texts import joined, say
from harvester.upkeep.forget import Extent, forget, known_of, strange_of

ATTEMPTS = 3


async def show_what_would_go(place: Place, appid: str, endpoints: Collection[str]) -> int:
    """Print what would be removed, and raise `UsageError`, as nothing is."""
    async with place.ledger() as ledger:
        known = await _known(ledger, appid, endpoints, place.sinks)
        for each in known:
            show_line(plain(named(_line(appid, each))))
        for name in await ledger.sinks():
            show_line("  {} {}", label("in"), plain(spec_of(name, ledger.path)))
    raise UsageError("nothing was removed; --yes removes these days and records permanently")


async def show_forgetting(place: Place, appid: str, endpoints: Collection[str]) -> int:
    """Remove it, and print what was; repeat it if the lock was lost, as by a server's restart."""
    now, known, whole = time.time(), list[Extent](), not endpoints
    titles = [shown(title_of(each), lang) for each in endpoints for lang in ("zh", "en")]
    for left in reversed(range(ATTEMPTS)):
        try:
            async with unused(place) as ledger:
                known = known or [*await _known(ledger, appid, endpoints, place.sinks)]
                sinks = await _sinks(ledger, place.sinks)
                await forget(ledger, appid, known, sinks, place.find, now, whole=whole)
                await state.forget(ledger, appid, endpoints, titles)
            break
        except LockLostError:
            if not left:
                raise
    for each in known:
        show_line(readable(_line(appid, each)))
    places = joined(", ", [say("the ledger"), *[sink.identity for sink in sinks.values()]])
    show_line(
        plain(say("removed from {}; a run that requests the same again harvests it again", places))
    )
    return COMPLETE


async def _known(
    ledger: Ledger,
    appid: str,
    endpoints: Collection[str],
    given: Sequence[Sink],
) -> Sequence[Extent]:
    """What the ledger knows, or if that is nothing, what the sinks hold."""
    try:
        return await known_of(ledger, appid, endpoints)
    except UsageError:
        sinks = await _sinks(ledger, given)
        if found := await strange_of(ledger, appid, endpoints, sinks):
            return found
        raise


def _line(appid: str, known: Extent) -> str:
    days = say(", {} to {}", *known.days) if known.days else ""
    number = many(days_in(known.days), "day") if known.days else say("0 days")
    records = say("records not counted") if known.records is None else many(known.records, "record")
    return say(
        "{} {}{}: {:,} of {} stored, {}", appid, known.endpoint, days, known.stored, number, records
    )


async def _sinks(ledger: Ledger, given: Sequence[Sink]) -> Mapping[str, Sink]:
    known = await ledger.sinks()
    reached = as_known(ledger, known, given)
    found = {}
    for name in known:
        sink = sink_named(ledger, name, reached)
        if sink is None:
            raise UsageError(
                "{} has records of this ledger, but no spec can name it, so the command cannot"
                " remove them; nothing was removed",
                spec_of(name, ledger.path),
            )
        found[name] = sink
    return found
