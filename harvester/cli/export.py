"""The command ``export``: makes targets equal to what is stored.

Rule: `harvester.exports` does the work; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS
from harvester.cli.ledger_sinks import as_known, sink_named
from harvester.cli.terminal import plain, show_line
from harvester.config.place import Place, ledger_beside
from harvester.errors import UsageError
from harvester.exports.base import Exported, Target
from harvester.exports.coverage import coverage_in
from harvester.exports.run import described, differing, export_all
from harvester.exports.source import NO_COVERAGE, Source
from harvester.ledger import PostgresLedger, SqliteLedger, checkpoint_in, named_sinks
from harvester.model import Account, Find
from harvester.sinks.base import Sink, name_in, spec_of
from harvester.texts import say


async def show_exporting(
    place: Place,
    targets: Sequence[Target],
    names: Collection[str],
    *,
    replace: bool,
    check: bool,
) -> int:
    """Export what a ledger knows, or a sink without one; returns the exit status."""
    find = place.find
    whole = any(each.whole for each in targets)
    source = await source_of(place.ledger(), place.sinks, find if whole else None)
    source.accounts = [
        Account(each.appid, name=each.name, group=each.group) for each in place.listed or ()
    ]
    if check:
        differ = await differing(source, targets, names, find)
        for target in targets:
            name, sink = target.identity, source.sink.identity
            differs = name in differ
            show_line(
                say("{} differs from {}", name, sink)
                if differs
                else say("{} is equal to {}", name, sink)
            )
        return FAILED_WINDOWS if differ else COMPLETE
    await export_all(source, targets, names, find, replace=replace, done=_show)
    return COMPLETE


def _show(target: Target, done: Exported) -> None:
    show_line(plain(described(target, done)))


async def source_of(
    ledger: SqliteLedger | PostgresLedger, given: Sequence[Sink], find: Find | None = None
) -> Source:
    """The sink to export, with the checkpoint that the ledger has for it.

    find: finds an interface, if what the ledger knows of them is to be read, too.
    """
    if given and ledger.path is not None and not ledger.path.exists():
        place = ledger_beside(given[0])  # as `harvester.export` finds it
        if place is None or name_in(given[0], place) not in named_sinks(place):
            return Source(given[0], lambda: None)
        ledger = SqliteLedger(place, readonly=True)
    async with ledger:
        known = await ledger.sinks()
        named = as_known(ledger, known, given) if known else {}
        for name in named or known:
            sink = sink_named(ledger, name, named)
            if sink is not None and sink.scan is not None:
                coverage = await coverage_in(ledger, find) if find is not None else NO_COVERAGE
                if ledger.path is not None:  # read anew: a run may replace files meanwhile
                    return Source(sink, partial(checkpoint_in, ledger.path, name), coverage)
                return Source(sink, partial(dict, await ledger.checkpoint(name)), coverage)
        places = ", ".join(spec_of(name, ledger.path) for name in known)
    raise UsageError(
        "no sink of this ledger can be read back ({}), so nothing can be exported; harvester"
        " sink add SPEC copies what is stored only from one that can",
        places or say("none is listed"),
    )
