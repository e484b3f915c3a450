"""The command ``mcp``: answers the questions of an MCP client about what is stored.

Rule: standard output holds the protocol alone; messages go to standard error.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import harvester
from harvester.cli.exit_status import COMPLETE
from harvester.cli.terminal import LibraryLog, notify
from harvester.config.place import Place
from harvester.errors import NoLedgerError
from harvester.ledger import Ledger
from harvester.mcp.flat_copy import Copy
from harvester.mcp.server import closable_stdin, make_server, serve
from harvester.mcp.tools import Answers


def serve_answers(place: Place) -> int:
    """Serve until the client leaves, or a signal comes."""
    logging.getLogger("mcp").addHandler(LibraryLog(logging.WARNING))

    async def main() -> None:
        end = closable_stdin()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, end)
        with TemporaryDirectory(prefix="harvester-mcp-") as made:
            if not place.sinks:
                await _say_if_nothing(place.ledger())
            async with Copy(Path(made), place) as copy:
                await serve(make_server(Answers(place, copy), harvester.__version__))

    if sys.stdin is None:  # it is closed: there is no client
        return COMPLETE
    if sys.stdin.isatty():
        notify(
            "waiting for an MCP client on standard input; normally the client starts this command"
            " itself",
            level="info",
        )
    asyncio.run(main())
    return COMPLETE


async def _say_if_nothing(ledger: Ledger) -> None:
    """Say if nothing is stored yet: the first run may come later."""
    if ledger.path is not None:  # a server may be unreachable, and the client waits
        with suppress(NoLedgerError):
            async with ledger:
                return
        notify("nothing is stored at {} yet; harvest first (harvester run)", ledger.path)
