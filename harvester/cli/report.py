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
from harvester.cli.screen import plain, tell
from harvester.endpoint import Endpoint
from harvester.errors import UsageError
from harvester.ledger import PostgresLedger, SqliteLedger
from harvester.report import card, overview, page, verdict


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
    names: Mapping[str, str] | None = None,
    disabled: Collection[str] = (),
) -> int:
    """Write the page, and the card if it is wanted.

    own: interfaces of the configuration.  names, disabled: of accounts, as of `overview`.
    """
    endpoints = {name: plugins.endpoint(name) for name in plugins.endpoint_names()}
    endpoints.update({endpoint.name: endpoint for endpoint in own})
    async with ledger:
        where = ledger.where.removeprefix("the ledger ")
        seen = await overview(
            ledger, now, endpoints=endpoints, names=names, disabled=disabled, where=where
        )
    _write(html, page(seen, lang, endpoints=endpoints))
    if svg is not None:
        _write(svg, card(seen, lang))
    tell(plain(verdict.headline(seen)[lang == "en"]))
    tell(plain(", ".join(str(path) for path in (html, svg) if path is not None)))
    return COMPLETE


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
