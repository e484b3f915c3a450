"""The command: argv, environment, TOML, signals, progress and exit codes.

Rule: the only room that prints, and the only one that ends the process.  Standard output holds
results, standard error holds progress and messages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

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
    from harvester.cli.commands import invoke

    sys.exit(invoke(arguments))
