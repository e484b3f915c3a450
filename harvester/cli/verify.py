"""The command ``verify``: compares what is stored with the ledger."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS, STOPPED
from harvester.cli.terminal import many, notify, plain, readable, show_json, show_line
from harvester.config.place import Place, as_known, outside, sink_named
from harvester.engine.sink_list import at_ledger
from harvester.errors import UsageError
from harvester.ledger import Ledger
from harvester.sinks.base import Sink, spec_of
from harvester.texts import say
from harvester.upkeep.rebuild import away
from harvester.upkeep.verify import Verified, verify


async def show_verification(place: Place, *, as_json: bool = False) -> int:
    """Compare each sink with the ledger."""
    show = _hide if as_json else _show
    async with place.ledger() as ledger:
        known = await ledger.sinks()
        if not known:
            raise UsageError("{} lists no sink; nothing was harvested yet", ledger.where)
        given = as_known(ledger, known, place.sinks)
        each_of = [
            await _verified(ledger, name, copied, given, show) for name, copied in known.items()
        ]
        notes = await outside(ledger)
    for note in notes:
        show("{}", note)
    found = [each for each in each_of if each is not None]
    differences = [each for each in found if each.differences]
    unread = [each for each in found if each.unread]
    _show_differences(found, show)
    specs = [spec_of(name, ledger.path) for name in known]
    commands = _commands(ledger, dict(zip(specs, each_of, strict=True)), given)
    if commands:
        show("run these commands in this order, then the same run again:")
    for command in commands:
        show("  {}", command)
    if as_json:
        objects = [*map(_verified_object, specs, each_of)]
        show_json({"sinks": objects, "notes": notes, "commands": commands})
    if unread:
        return STOPPED
    return FAILED_WINDOWS if differences else COMPLETE


def _show_differences(found: Sequence[Verified], show: Callable[..., None]) -> None:
    for each in found:
        shown = each.differences[: -1 if each.broken else None]  # why it is broken is shown below
        for difference in shown:
            show("{}: {}", difference.where, difference.what)
    for each in found:
        if each.unread:
            notify(plain(say("{} was not verified: {}", each.where, each.unread)))
    if not all(each.unread for each in found):
        differ = any(each.differences for each in found)
        show("different from what was fetched" if differ else "exactly what was fetched")


def _commands(
    ledger: Ledger,
    found: Mapping[str, Verified | None],
    given: Mapping[str, Sink],
) -> list[str]:
    """The commands that resolve the differences found in sinks, which are named by their specs.

    A file that cannot be read is refilled from a sink whose records are unchanged, and a sink
    without records from any other.  Else a new ledger is made, and a run asks again for what
    differs; where no sink has records, the ledger is put away.
    """
    at = shlex.split(at_ledger(ledger))
    readable = {spec: each for spec, each in found.items() if each and not each.unread}
    sound = any(not each.differences for each in readable.values())
    filled = any(not each.bare for each in readable.values())
    commands: list[list[str]] = []
    refilled: list[str] = []
    differ = False
    for spec, each in readable.items():
        scheme, _, place = spec.partition(":")
        if each.bare or (each.broken and sound and scheme == "sqlite"):
            refilled.append(spec)
            if filled:
                commands.append(["harvester", "sink", "remove", spec, *at])
            if each.broken and Path(place).exists():
                commands.append(["mv", place, f"{place}.damaged"])
            continue
        strangers = sorted({one.stranger for one in each.differences} - {""})
        commands += [["harvester", "forget", "--appid", one, "--yes", *at] for one in strangers]
        differ = differ or any(not one.stranger for one in each.differences)
    if not filled:  # one that cannot be read now may have them
        lost = ledger.path is not None and len(readable) == len([*filter(None, found.values())])
        return [*map(shlex.join, commands), *away(ledger.path)] if ledger.path and lost else []
    if differ:
        named = [] if ledger.path is not None and not given else {*found} - {*refilled}
        sinks = [word for spec in sorted(named) for word in ("--sink", spec)]
        commands.append(["harvester", "rebuild", *at, *sinks])
    commands += [["harvester", "sink", "add", spec, *at] for spec in refilled]
    return [*dict.fromkeys(map(shlex.join, commands))]


def _show(template: str, *values: object) -> None:
    indent = "  " if template.startswith("  ") else ""
    show_line(indent + readable(template, *values))


def _hide(*_: object) -> None:
    """Nothing: it is in the JSON."""


def _verified_object(name: str, found: Verified | None) -> dict[str, Any]:
    if found is None:
        return {"sink": name, "state": "not_verified"}
    state = "different" if found.differences else "unread" if found.unread else "exact"
    return {
        "sink": name,
        "state": state,
        "records": found.records,
        "unknown_windows": found.unknown,
        "counted_windows": found.counted,
        "read_to_its_end": not (found.broken or found.unread),
        "differences": [{"where": each.where, "what": each.what} for each in found.differences],
        "unread": found.unread,
    }


async def _verified(
    ledger: Ledger,
    name: str,
    copied: str,
    given: Mapping[str, Sink],
    show: Callable[..., None],
) -> Verified | None:
    """What was found in a sink, as far as that can be shown at once; None if there is none."""
    where = spec_of(name, ledger.path)
    try:
        sink = sink_named(ledger, name, given)
    except UsageError as exc:
        return Verified(where, unread=str(exc))
    if sink is None or sink.scan is None:
        show("{} cannot be read back; it was not verified", where)
        return None
    found = await verify(ledger, name, sink, copied)
    if not found.unread:
        read = (
            say("it was not read to its end: {}", found.differences[-1].what)
            if found.broken
            else say("{} read", many(found.records, "record"))
        )
        show("{}: {}", where, read)
    if found.unknown:
        text = say("{} not yet in the ledger", many(found.unknown, "window"))
        show("  {}; the next run replaces them", text)
    if found.counted:
        text = say("{} were copied from another sink", many(found.counted, "window"))
        show("  {}; their records were counted, not compared", text)
    return found
