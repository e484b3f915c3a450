"""The command ``rebuild``: finds the sinks, and prints the result.

Rule: `harvester.upkeep.rebuild` does the work.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from harvester.base.files import make_directory
from harvester.cli.exit_status import COMPLETE
from harvester.cli.terminal import many, plain, show_line
from harvester.config import plugins
from harvester.config.place import Place, unnamed
from harvester.errors import UsageError
from harvester.ledger import FILE_NAME, PostgresLedger, named_sinks
from harvester.model import NAMES, listed
from harvester.sinks.base import Sink, spec_of
from harvester.texts import of_system, say
from harvester.upkeep.rebuild import Rebuilt, rebuild, rebuild_shared


async def show_rebuilding(place: Place, now: float) -> int:
    """Make a new ledger, and show its sources."""
    ledger, sinks = place.ledger(readonly=False), place.sinks
    if isinstance(ledger, PostgresLedger):
        if not sinks:
            raise UsageError("name the sink that was harvested into: --sink SPEC")
        found = await rebuild_shared(ledger, sinks, place.find, now)
    else:
        folder = ledger.path.parent
        if not sinks and not folder.is_dir():
            raise UsageError("there is no directory {}", folder)
        _check_place(ledger.path)
        sinks = sinks or _sinks(ledger.path)
        try:
            make_directory(folder, "directory of the ledger")
        except OSError as exc:
            raise UsageError(
                "the directory {} cannot be made ({})", folder, of_system(exc)
            ) from None
        found = await rebuild(ledger.path, sinks, place.find, now)
    for line in _lines(found):
        show_line(plain(line))
    return COMPLETE


def _lines(found: Rebuilt) -> Iterator[str]:
    """The result of the rebuild, and what the next run does."""
    text = say(
        "{}: {} of {} of {}",
        found.sink.identity,
        many(found.records, "record"),
        many(found.windows, "window"),
        many(found.accounts, "account"),
    )
    if found.again:
        text += say(
            "; {:,} of these may not be whole or final, and are asked for again", found.again
        )
    yield text
    if found.differing:
        yield say(
            "{} of years that differ from the former ledger: the next run asks for them again",
            many(found.differing, "window"),
        )
    if found.apart:
        yield say(
            "{} not the same in every sink: the next run asks for them again",
            many(found.apart, "window"),
        )
    yield from _no_more(found)
    for sink in found.unlisted:
        yield say("{} cannot be read back, and is not listed: harvester sink add", sink.identity)
    for appid in found.strange[:NAMES]:
        yield say(
            "the former ledger does not know the account {}; if it was never"
            " harvested, `harvester forget --appid {} --yes` removes it",
            appid,
            shlex.quote(appid),
        )
    if not found.compared:
        yield say(
            "the former ledger could not be read: records that are missing within a"
            " window are not noticed; a run with --refresh asks for everything again"
        )
    yield say("days without a record are not known any more: the next run asks for them again")
    if found.former:
        yield say("the former ledger is now {}", found.former)


def _no_more(found: Rebuilt) -> Iterator[str]:
    """What became of windows that WeChat does not answer any more."""
    if found.kept:
        yield say(
            "not the same in every sink, and cannot be asked for any more; kept in"
            " all of them, as in the sink that is named: {}",
            listed(found.kept, "window"),
        )
    if found.doubtful:
        yield say(
            "of a year that differs from the former ledger, and cannot be asked for"
            " any more; kept as stored: {}",
            listed(found.doubtful, "window"),
        )
    if found.lost:
        yield say(
            "lost: the former ledger knows records of these days, no sink has them,"
            " and they cannot be asked for any more: {}",
            listed(found.lost, "window"),
        )


def _check_place(path: Path) -> None:
    """Raise `UsageError` for a directory of lines whose ledger is in a directory above it."""
    folder = path.parent.resolve()
    if path.exists() or path.name != FILE_NAME:
        return
    for above in (*path.parent.parents[:2], Path(f"harvest/{FILE_NAME}").parent):
        other = above / FILE_NAME
        if not other.exists() or other.resolve() == folder / FILE_NAME:
            continue
        places = {spec_of(name, other).partition(":")[2] for name in named_sinks(other)}
        if folder in {Path(each.partition("?")[0]).resolve() for each in places}:
            raise UsageError(
                "the JSON lines in {} belong to the ledger {}; to make a new one: `harvester "
                "rebuild"
                " --out {}`",
                path.parent,
                other,
                shlex.quote(str(above)),
            )


def _sinks(path: Path) -> list[Sink]:
    """The sinks that the ledger still names, and the JSON lines beside it."""
    named = [spec_of(name, path) for name in named_sinks(path)]
    sinks = {sink.identity: sink for spec in named if (sink := _sink(spec)) is not None}
    if path.name != FILE_NAME:  # of one file
        if not sinks:
            database = path.with_name(path.name.removesuffix(f".{FILE_NAME}"))
            return [plugins.sink(f"sqlite:{database}")]
        return list(sinks.values())
    lines = plugins.sink(f"jsonl:{path.parent}")
    if not sinks or any(path.parent.glob(".jsonl.lock")):
        sinks.setdefault(lines.identity, lines)
    return list(sinks.values())


def _sink(spec: str) -> Sink | None:
    try:
        return unnamed(plugins.sink(spec))
    except UsageError:
        show_line(plain(say("{} is left out; if it was harvested into, name it with --sink", spec)))
        return None
