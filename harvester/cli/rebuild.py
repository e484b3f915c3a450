"""The command ``rebuild``: finds the sinks, and prints the result."""

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
            raise UsageError("name the sink that has the records: --sink SPEC")
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
                "the directory {} cannot be created ({})", folder, of_system(exc)
            ) from None
        found = await rebuild(ledger.path, sinks, place.find, now)
    for line in _lines(found):
        show_line(plain(line))
    return COMPLETE


def _lines(found: Rebuilt) -> Iterator[str]:
    text = say(
        "{}: {} of {} of {}",
        found.sink.identity,
        many(found.records, "record"),
        many(found.windows, "window"),
        many(found.accounts, "account"),
    )
    if found.again:
        text += say(
            "; {:,} of these might be incomplete or not final, and will be requested again",
            found.again,
        )
    yield text
    if found.differing:
        yield say(
            "{} in years that differ from the former ledger: the next run requests these windows"
            " again",
            many(found.differing, "window"),
        )
    if found.apart:
        yield say(
            "{} with differences between the sinks: the next run requests these windows again",
            many(found.apart, "window"),
        )
    yield from _no_more(found)
    for sink in found.unlisted:
        yield say(
            "{} cannot be read back, so it is not listed; add it with `harvester sink add`",
            sink.identity,
        )
    for appid in found.strange[:NAMES]:
        yield say(
            "the former ledger does not know the account {}; if this account was never harvested,"
            " `harvester forget --appid {} --yes` removes it",
            appid,
            shlex.quote(appid),
        )
    if not found.compared:
        yield say(
            "the former ledger could not be read: records that are missing within a window cannot"
            " be detected; a run with --refresh requests everything again"
        )
    yield say("days without a record are no longer known: the next run requests them again")
    if found.former:
        yield say("the former ledger is now {}", found.former)


def _no_more(found: Rebuilt) -> Iterator[str]:
    """What became of windows that WeChat does not answer any more."""
    if found.kept:
        yield say(
            "these windows differ between the sinks and can no longer be requested; all sinks now"
            " have the records of the sink in brackets: {}",
            listed(found.kept, "window"),
        )
    if found.doubtful:
        yield say(
            "these windows are in a year that differs from the former ledger, and can no longer be"
            " requested; their stored records are kept: {}",
            listed(found.doubtful, "window"),
        )
    if found.lost:
        yield say(
            "lost: the former ledger lists records of these days, but no sink has them, and they"
            " can no longer be requested: {}",
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
                "the JSON lines in {} belong to the ledger {}; to make a new ledger, run"
                " `harvester rebuild --out {}`",
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
        show_line(
            plain(say("{} is left out; if runs have written to it, name it with --sink", spec))
        )
        return None
