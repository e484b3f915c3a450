"""The command ``report``: the page and the card, as files.

Rule: reads the ledger; a file that was there is replaced as a whole, or stays.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from harvester import plugins
from harvester.cli import COMPLETE
from harvester.cli.known import as_known
from harvester.cli.screen import plain, say, tell
from harvester.endpoint import Endpoint
from harvester.errors import SinkError, UsageError
from harvester.ledger import PostgresLedger, SqliteLedger
from harvester.ledger.base import place_of
from harvester.report import Overview, card, overview, page, verdict
from harvester.report.figures import Figures, days_for, figures
from harvester.sinks.base import Sink, keep_with, scan_of, spec_of


def language() -> str:
    """That of the environment: ``zh`` if it is Chinese, else ``en``."""
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if named.lower().startswith("zh") else "en"


async def write_report(
    ledger: SqliteLedger | PostgresLedger,
    html: Path,
    svg: Path | None,
    lang: str,
    now: float,
    own: Sequence[Endpoint] = (),
    *,
    given: Sequence[Sink] = (),
    curves: bool = True,
    names: Mapping[str, str] | None = None,
    disabled: Collection[str] = (),
) -> int:
    """Write the page, and the card if it is wanted.

    own: interfaces of the configuration.  given: sinks as they are reached from here.  curves:
    whether figures are read as well.
    names, disabled: of accounts, as of `overview`.
    """
    endpoints = {name: plugins.endpoint(name) for name in plugins.endpoint_names()}
    endpoints.update({endpoint.name: endpoint for endpoint in own})
    async with ledger:
        where = ledger.where.removeprefix("the ledger ").removeprefix("in ")
        seen = await overview(
            ledger, now, endpoints=endpoints, names=names, disabled=disabled, where=where
        )
        drawn = await _figures(ledger, seen, given) if curves and seen.accounts else None
    _write(html, page(seen, lang, figures=drawn, endpoints=endpoints))
    if svg is not None:
        _write(svg, card(seen, lang))
    tell(plain(verdict.headline(seen)[lang == "en"]))
    tell(plain(", ".join(str(path) for path in (html, svg) if path is not None)))
    return COMPLETE


async def _figures(
    ledger: SqliteLedger | PostgresLedger, seen: Overview, given: Sequence[Sink]
) -> Figures | None:
    """The figures of the first destination that can be read; says why if there is none."""
    known = await ledger.sinks()
    named = as_known(ledger, known, given)
    why = "no destination can be read back"
    endpoints = [view.name for view in seen.interfaces]
    first = min(row.first for account in seen.accounts for row in account.rows)
    days = days_for(len(seen.accounts), first, seen.day)
    for name, state in known.items():
        spec = spec_of(name, ledger.path)
        scheme = spec.partition(":")[0]
        if not state.whole or (name not in named and scheme not in plugins.sink_schemes()):
            continue
        try:
            sink = named.get(name) or plugins.sink(spec)
            if scan_of(sink) is None or scheme == "memory":
                continue
            keep_with(sink, place_of(ledger))
            return figures(sink, await ledger.checkpoint(name), seen.day, endpoints, days)
        except (SinkError, UsageError) as exc:
            why = str(exc)
    say(f"the page has no curves: {why}")
    return None


def _write(path: Path, text: str) -> None:
    """The whole file, or the former one."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as exc:
        raise UsageError(f"{path} cannot be written ({exc.strerror})") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
