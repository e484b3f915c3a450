"""The command ``export``: makes targets equal to what is stored.

Rule: `harvester.exports` does the work; nothing is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS
from harvester.cli.ledger_sinks import as_known, sink_named
from harvester.cli.terminal import plain, show_line
from harvester.config.place import Place, ledger_beside
from harvester.errors import UsageError
from harvester.exports.base import Exported, Target
from harvester.exports.coverage import Coverage, coverage_in
from harvester.exports.run import described, differing, export_all
from harvester.exports.source import NO_COVERAGE, NO_LIMITS, NO_NAMES, Limits, Source
from harvester.ledger import Ledger, PostgresLedger, SqliteLedger, checkpoint_in, named_sinks
from harvester.ledger.base import check_known
from harvester.model import Account
from harvester.sinks.base import Sink, name_in, spec_of
from harvester.texts import say


async def show_exporting(
    place: Place,
    targets: Sequence[Target],
    names: Collection[str],
    *,
    limits: Limits,
    replace: bool,
    check: bool,
) -> int:
    """Export what a ledger knows, or a sink without one; returns the exit status."""
    find = place.find
    whole = any(each.whole for each in targets)
    coverage = partial(coverage_in, find=find, days=limits.days, only=limits.appids)
    accounts = [
        Account(each.appid, name=each.name, group=each.group) for each in place.listed or ()
    ]
    source = await source_of(
        place.ledger(),
        place.sinks,
        coverage if whole else None,
        accounts=accounts,
        limits=limits,
    )
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
    ledger: SqliteLedger | PostgresLedger,
    given: Sequence[Sink],
    coverage: Callable[[Ledger], Awaitable[Mapping[str, Coverage]]] | None = None,
    *,
    accounts: Collection[Account] = (),
    names: Mapping[str, str] = NO_NAMES,
    limits: Limits = NO_LIMITS,
) -> Source:
    """The sink to export, with the checkpoint that the ledger has for it.

    coverage: gives what the ledger knows of interfaces, if that is to be read, too.  accounts,
    names, limits: as of `Source`.  Raises `UsageError` for an account that is unknown.
    """
    made: Callable[..., Source] = partial(Source, accounts=accounts, names=names, limits=limits)
    if given and ledger.path is not None and not ledger.path.exists():
        place = ledger_beside(given[0])  # as `harvester.export` finds it
        if place is None or name_in(given[0], place) not in named_sinks(place):
            return made(given[0], lambda: None)
        ledger = SqliteLedger(place, readonly=True)
    async with ledger:
        check_known(limits.appids or (), await ledger.accounts(), [each.appid for each in accounts])
        known = await ledger.sinks()
        named = as_known(ledger, known, given) if known else {}
        for name in named or known:
            sink = sink_named(ledger, name, named)
            if sink is not None and sink.scan is not None:
                covered = await coverage(ledger) if coverage is not None else NO_COVERAGE
                if ledger.path is not None:  # read again: a run may have replaced files
                    return made(sink, partial(checkpoint_in, ledger.path, name), covered)
                return made(sink, partial(dict, await ledger.checkpoint(name)), covered)
        places = ", ".join(spec_of(name, ledger.path) for name in known)
    raise UsageError(
        "no sink of this ledger can be read back ({}), so nothing can be exported; harvester"
        " sink add SPEC copies what is stored only from one that can",
        places or say("none is listed"),
    )
