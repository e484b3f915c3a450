"""The command ``report``: the page, as a file.

Rule: reads the ledger; a file that was there is replaced as a whole, or stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import harvester
from harvester.base.files import replace_file
from harvester.cli.exit_status import COMPLETE
from harvester.cli.language import language
from harvester.cli.ledger_sinks import as_known, sink_named
from harvester.cli.terminal import notify, plain, show_line
from harvester.config.place import Place
from harvester.errors import SinkError, UsageError
from harvester.ledger import Ledger, PostgresLedger, SqliteLedger
from harvester.report import Overview, overview, page
from harvester.report import summary as verdict
from harvester.report.charts import Figures, days_for, figures
from harvester.report.page import template
from harvester.sinks.base import Sink, spec_of
from harvester.texts import joined, of_system, say
from harvester.upkeep.verify import TURNS


async def write_report(
    place: Place,
    html: Path,
    lang: str,
    now: float,
    *,
    curves: bool = True,
    daily_quota: int | None = None,
) -> int:
    """Write the page.

    curves: whether figures are read as well.  daily_quota: as of `overview`.
    """
    template()  # before anything is read, if its library is missing
    _check_target(html)
    async with place.ledger() as ledger:
        where = ledger.where.removeprefix("the ledger ").removeprefix("in ")
        seen = await overview(
            ledger,
            now,
            own=place.own,
            names=place.names,
            disabled=place.disabled,
            where=where,
            daily_quota=daily_quota,
        )
        named = as_known(ledger, known := await ledger.sinks(), place.sinks)
        wanted = [*(named or known)]
        drawn, why = None, ""
        if curves and seen.accounts:
            drawn, why = await _figures(ledger, seen, wanted, named)
    if why:
        notify("the page has no curves: {}", why)
    _write(html, page(seen, lang, figures=drawn, no_figures=why, version=harvester.__version__))
    show_line(plain(verdict.headline(seen)[language() == "en"]))
    show_line(plain(str(html)))
    return COMPLETE


async def _figures(
    ledger: SqliteLedger | PostgresLedger,
    seen: Overview,
    wanted: Sequence[str],
    given: Mapping[str, Sink],
) -> tuple[Figures | None, str]:
    """The figures of the first sink that can be read; or why there are none.

    wanted: names of sinks; given: some of them.
    """
    reasons: list[str] = []
    endpoints = [view.name for view in seen.interfaces]
    appids = [account.appid for account in seen.accounts]
    firsts = [row.reach.first for account in seen.accounts for row in account.rows]
    days = days_for(len(seen.accounts), min(firsts, default=seen.day), seen.day)
    for name in wanted:
        where = spec_of(name, ledger.path)
        try:
            sink = sink_named(ledger, name, given)
            if sink is None or sink.scan is None:
                continue
            read = partial(figures, sink)
            found = await _read(ledger, name, read, seen.day, endpoints, appids, days)
        except OSError as exc:
            reasons.append(say("{} cannot be read ({})", exc.filename or where, of_system(exc)))
        except (SinkError, UsageError) as exc:
            reasons.append(str(exc))
        else:
            return found, ""
    return None, joined("; ", reasons) or say("no destination can be read back")


async def _read(ledger: Ledger, name: str, read: Callable[..., Figures], *what: object) -> Figures:
    """Read a sink; again if a run may have replaced meanwhile what was read."""
    before: object = None
    for _ in range(TURNS):
        checkpoint = await ledger.checkpoint(name)
        try:
            return read(checkpoint, *what)
        except (SinkError, OSError):
            if checkpoint == before:  # and so it was no run
                raise
            before = checkpoint
    return read(checkpoint, *what)


_BEGINNING = b"<!doctype html>"


def _check_target(html: Path) -> None:
    """Raise `UsageError` if a file would be lost that is no page of ours."""
    if str(html) == "-":
        raise UsageError("the page is a file; name one")
    if html.is_file() and html.stat().st_size:
        with html.open("rb") as file:
            if file.read(len(_BEGINNING)).lower() != _BEGINNING:
                raise UsageError("{} is there and is no page; choose another file", html)


def _write(path: Path, text: str) -> None:
    """The whole file, or the former one."""
    try:
        replace_file(path, text.encode(), "page")
    except OSError as exc:
        raise UsageError("{} cannot be written ({})", path, of_system(exc)) from None
