"""The command ``report``: the page, as a file; or the figures of a week.

Rule: reads the ledger; an existing file is replaced as a whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import harvester
from harvester.base.dates import last_settled_day
from harvester.base.files import replace_file
from harvester.cli.exit_status import COMPLETE
from harvester.cli.language import label
from harvester.cli.terminal import notify, plain, show_json, show_line, show_rows, show_text
from harvester.config.place import Place, as_known, sink_named
from harvester.errors import SinkError, UsageError
from harvester.ledger import Ledger
from harvester.reading import source_of
from harvester.report import Overview, overview, page
from harvester.report import summary as verdict
from harvester.report.charts import Figures, days_for, figures
from harvester.report.page import template
from harvester.report.texts import with_title
from harvester.report.week import ALL, FIGURES, GROUP, Week, WeekFigures, week_before
from harvester.service.week import read_week
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
    """Write the page; curves: with the figures of a sink."""
    template()  # before anything is read, if its library is missing
    _check_target(html)
    async with place.ledger() as ledger:
        seen = await overview(
            ledger,
            now,
            own=place.own,
            names=place.names,
            disabled=place.disabled,
            where=ledger.place,
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
    show_line(plain(verdict.headline(seen)))
    if drawn and (titled := with_title(drawn.yearly.named, drawn.yearly.with_figures)):
        show_line(plain(titled))
    show_line(plain(str(html)))
    return COMPLETE


async def show_week(place: Place, now: float, *, as_json: bool) -> int:
    """Print the figures of the last whole week; raises `UsageError` and `SinkError`."""
    week = await week_at(place, now)
    if as_json:
        show_json(week.to_dict(place.names))
        return COMPLETE
    names = place.names
    rows = [[label(title) for title in ("week", "account", *FIGURES.values())]]
    for appid, each in week.accounts.items():
        rows += _rows_of(names.get(appid, appid), each, week.days[0])
    for group, each in week.groups.items():
        rows += _rows_of(label(say(GROUP, group)), each, week.days[0])
    rows += _rows_of(label(ALL), week.total, week.days[0])
    show_text("{} to {}, and the week before", *week.days)
    show_rows(rows)
    for number, article in enumerate(week.articles, 1):
        account = names.get(article.appid, article.appid)
        show_text("{}. {} ({}): {:,}", number, plain(article.title), plain(account), article.reads)
    if week.is_provisional:
        show_text("*: some days are missing, or their figures can still change")
    return COMPLETE


def _rows_of(name: str, figures: WeekFigures, begin: date) -> Iterator[list[str]]:
    for week, first, title in (
        (figures.now, begin, plain(name)),
        (figures.before, begin - timedelta(7), ""),
    ):
        values, mark = map(week.of, FIGURES), "*" if week.provisional else ""
        cells = ["" if value is None else f"{value:,}{mark}" for value in values]
        yield [f"{first:%m-%d}", title, *cells]


async def week_at(place: Place, now: float) -> Week:
    """The figures of the last whole week; raises `UsageError` and `SinkError`."""
    days = week_before(last_settled_day(now))
    source = await source_of(place.ledger(), place.sinks)
    async with place.ledger() as ledger:
        seen = await overview(
            ledger, now, own=place.own, names=place.names, disabled=place.disabled
        )
    week = read_week(source, days, [account.appid for account in seen.accounts])
    week.conclude(seen, {each.appid: each.group for each in place.listed or ()})
    return week


async def _figures(
    ledger: Ledger,
    seen: Overview,
    wanted: Sequence[str],
    given: Mapping[str, Sink],
) -> tuple[Figures | None, str]:
    """The figures of the first sink that can be read; or why there are none."""
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
    return None, joined("; ", reasons) or say("no sink can be read back")


async def _read(ledger: Ledger, name: str, read: Callable[..., Figures], *what: object) -> Figures:
    """Read a sink; repeat it if a run may have replaced what was read."""
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
    if str(html) == "-":
        raise UsageError("the page must be a file; give its name")
    if html.is_dir():
        raise UsageError("{} is a directory; name a file: {}", html, "report.html")
    if html.is_file() and html.stat().st_size:
        with html.open("rb") as file:
            if file.read(len(_BEGINNING)).lower() != _BEGINNING:
                raise UsageError("{} exists and is not a report page; choose another file", html)


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode(), "page")
    except OSError as exc:
        raise UsageError("{} cannot be written ({})", path, of_system(exc)) from None
