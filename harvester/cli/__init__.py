"""The command: argv, environment, TOML, signals, progress and exit codes.

Rule: the only package that prints, and the only one that ends the process.  Standard output holds
results, standard error holds progress and messages.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from harvester.cli.language import VARIABLE, choose, translated, typed
from harvester.errors import needs

FILES = 32
"""Files and sockets that the command must be able to open at once."""

COMPLETE, FAILED_WINDOWS, UNUSABLE, MUST_WAIT, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    sys.unraisablehook = _unraisable
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Chinese is no reason to end
    try:
        status = _status(arguments)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one while Python takes its leave
        exec("")  # clears what Python keeps of an interrupt in one: it would end by the signal
        status = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone; nothing more can be written
        status = FAILED_WINDOWS
    out: TextIO | None = sys.stdout  # None if we were started with it closed
    try:
        if out is not None:
            out.flush()
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):
            if not status:
                problem = translated(f"the output cannot be written ({exc.strerror})")
                print(f"harvester: {problem}", file=sys.stderr)
            status = STOPPED
        status = status or FAILED_WINDOWS
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _unraisable(problem: sys.UnraisableHookArgs) -> None:
    """End by an interrupt in a callback that cannot raise it: Python would print and forget it."""
    if issubclass(problem.exc_type, KeyboardInterrupt):
        os._exit(INTERRUPTED)  # as if killed, which loses nothing
    sys.__unraisablehook__(problem)


def _status(arguments: Sequence[str] | None) -> int:
    """Run the command; gives its status."""
    if problem := _missing():
        choose(
            typed(sys.argv[1:] if arguments is None else arguments)[0], {**os.environ, VARIABLE: ""}
        )
        print(f"harvester: {translated(problem)}", file=sys.stderr)
        return UNUSABLE
    from harvester.cli.commands import invoke

    return invoke(arguments)


def _missing() -> str:
    """What the command cannot do without and does not have; empty if it has all."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < FILES:
        return f"this process may open {allowed} files; raise the limit: ulimit -n {FILES} or more"
    try:
        import click
        import rich
    except ImportError:
        return needs("the command line needs its libraries", "cli")
    del click, rich
    return ""
