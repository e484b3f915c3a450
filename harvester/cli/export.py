"""The command ``export``: makes targets equal to what is stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS
from harvester.cli.terminal import plain, show_line
from harvester.config.place import Place
from harvester.exports.base import Exported, Target
from harvester.exports.coverage import coverage_in, shows_coverage
from harvester.exports.run import described, differing, export_all
from harvester.exports.source import Limits
from harvester.model import Account
from harvester.reading import source_of
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
    covers = any(map(shows_coverage, targets))
    coverage = partial(coverage_in, find=find, days=limits.days, only=limits.appids)
    accounts = [
        Account(each.appid, name=each.name, group=each.group) for each in place.listed or ()
    ]
    source = await source_of(
        place.ledger(),
        place.sinks,
        coverage if covers else None,
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
