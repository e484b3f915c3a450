"""The command: argv, environment, TOML, signals, progress and exit codes.

Rule: the only room that prints, and the only one that ends the process.  Standard output holds
results, standard error holds progress and messages.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

COMPLETE, FAILED_WINDOWS, UNUSABLE, MUST_WAIT, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    try:
        import click
        import rich
    except ImportError:
        print(
            "harvester: the command line needs its libraries: pip install 'wechat-harvester[cli]'",
            file=sys.stderr,
        )
        sys.exit(UNUSABLE)
    del click, rich
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Chinese is no reason to end
    try:
        from harvester.cli.commands import invoke

        status = invoke(arguments)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one while Python takes its leave
        status = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone; nothing more can be said
        status = FAILED_WINDOWS
    out: TextIO | None = sys.stdout  # None if we were started with it closed
    try:
        if out is not None:
            out.flush()
    except OSError:
        status = status or FAILED_WINDOWS
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
