"""The list of sinks of a ledger, as a run needs it; `harvester.upkeep.copy` changes it.

Rule: a run writes to all sinks of its ledger, and to no others that are listed.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path

from harvester.errors import UsageError
from harvester.ledger import FILE_NAME, Ledger, place_of
from harvester.ledger.base import account_groups
from harvester.sinks.base import Sink, spec_of
from harvester.sinks.scan import call
from harvester.texts import joined, say


def check_list(ledger: Ledger, known: Collection[str], mine: Collection[str]) -> None:
    """Raise `UsageError` unless the sinks of a run are those of the ledger, by their names."""
    new, gone = {*mine} - {*known}, {*known} - {*mine}
    if not new and not gone:
        return

    def specs(names: Collection[str]) -> list[str]:
        return [shlex.quote(spec_of(name, ledger.path)) for name in sorted(names)]

    at = at_ledger(ledger)
    ways = [
        say("`harvester sink add {}{}` copies the stored records into this sink", spec, at)
        for spec in specs(new)
    ]
    ways += [
        say("`harvester sink remove {}{}` removes this sink from the list", spec, at)
        for spec in specs(gone)
    ]
    if new and gone and all([_is_away(name, ledger.path) for name in gone]):
        at += "".join([f" --sink {spec}" for spec in specs(mine)])
        ways = [say("`harvester rebuild{}` makes a ledger from the data that was moved there", at)]
    raise UsageError(
        "the sinks of this ledger are {}, but the sinks of this run are {}; {}",
        joined(" and ", specs(known)) or say("none"),
        joined(" and ", specs(mine)) or say("none"),
        joined("; ", ways),
    )


def _is_away(name: str, ledger: Path | None) -> bool:
    """Whether a local sink is not where the ledger says."""
    spec = spec_of(name, ledger and ledger.resolve())
    return spec != name and not Path(spec.partition(":")[2].partition("?")[0]).exists()


def at_ledger(ledger: Ledger) -> str:
    """The option by which a command names a ledger; empty for a user's own ledger."""
    place = place_of(ledger)
    if isinstance(place, Path):
        if place.name == FILE_NAME:
            return f" --out {shlex.quote(str(place.parent))}"
        return f" --ledger {shlex.quote(str(place))}"
    identity = getattr(ledger, "identity", "")
    return f" --ledger {shlex.quote(identity)}" if identity else ""


async def holds_records(ledger: Ledger) -> bool:
    """Whether the ledger records any window with records as stored."""
    for some in account_groups(await ledger.accounts()):
        for calendar in (await ledger.calendars(some)).values():
            tally = calendar.stored_tally()
            if tally is None or tally.records:
                return True
    return False


async def finish(ledger: Ledger | None, name: str, sink: Sink) -> None:
    """Let a sink complete its writes, which the ledger has stored, and store what it returns."""
    entries = await call(sink, sink.finish)
    if entries and ledger is not None:
        await ledger.commit([], {name: entries})
