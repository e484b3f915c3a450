"""The command: argv, environment, TOML, signals, progress and exit codes.

Rule: the only package that prints, and the only one that ends the process.  Standard output holds
results, standard error holds progress and messages.
"""

from __future__ import annotations

import os
import sys

from harvester.cli.exit_status import FAILED_WINDOWS, INTERRUPTED, STOPPED, UNUSABLE

TYPE_CHECKING = False  # an interrupt in an import out here would be a traceback
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

FILES = 32
"""Files and sockets that the command must be able to open at once."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    try:
        status = _status(arguments)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it
        status = FAILED_WINDOWS
    out: TextIO | None = sys.stdout  # None if we were started with it closed
    try:
        if out is not None:
            out.flush()
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):
            if not status:
                from harvester.cli.language import translated
                from harvester.texts import of_system, say

                problem = translated(say("the output cannot be written ({})", of_system(exc)))
                print(f"harvester: {problem}", file=sys.stderr)
            status = STOPPED
        status = status or FAILED_WINDOWS
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:  # the disk of the log is full; Python would end with a status of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    ours = arguments is None or status == INTERRUPTED  # nothing is left while Python takes leave
    _on_interrupt("SIG_IGN" if ours else "default_int_handler")
    exec("")  # Python notes an interrupt of executed text, and would end by the signal
    sys.exit(status)


def _on_interrupt(name: str = "") -> None:
    """Give Ctrl-C the handler of this name in `signal`; without one the process ends at once.

    Nothing changes where our parent, or the program that we are in, has decided what it does.
    """
    import signal

    handler = getattr(signal, name) if name else _leave
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _leave):
        signal.signal(signal.SIGINT, handler)


def _leave(*_: object) -> None:
    os._exit(INTERRUPTED)


def _unraisable(problem: sys.UnraisableHookArgs) -> None:
    """End by an interrupt in a callback that cannot raise it: Python would print and forget it."""
    if issubclass(problem.exc_type, KeyboardInterrupt):
        os._exit(INTERRUPTED)  # as if killed, which loses nothing
    sys.__unraisablehook__(problem)


def _status(arguments: Sequence[str] | None) -> int:
    _on_interrupt()  # an exception would be lost or printed in an import
    import warnings

    try:
        sys.unraisablehook = _unraisable
        # what an interrupt stops before it has begun is not told apart from a forgotten await
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        for stream in (sys.stdout, sys.stderr):
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="replace")  # a terminal without Chinese must not end it
        if problem := _missing():
            from harvester.cli.language import VARIABLE, choose, translated, typed

            given = sys.argv[1:] if arguments is None else arguments
            choose(typed(given)[0], {**os.environ, VARIABLE: ""})
            print(f"harvester: {translated(problem)}", file=sys.stderr)
            return UNUSABLE
        from harvester.cli.commands import invoke

        _on_interrupt("default_int_handler")
        return invoke(arguments)
    finally:
        _on_interrupt()


def _missing() -> str:
    """What the command cannot do without and does not have; empty if it has all."""
    from harvester.errors import POSIX, needs
    from harvester.texts import say

    try:
        import resource
    except ImportError:
        return POSIX
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < FILES:
        return say(
            "this process can open only {} files; raise the limit: ulimit -n {} or more",
            allowed,
            FILES,
        )
    try:
        import click
        import rich
    except ImportError:
        return needs("the command line needs more libraries", "cli")
    del click, rich
    return ""
