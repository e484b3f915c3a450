"""A progress bar below the cell of a notebook.

Rule: imports nothing of IPython's: what a notebook has loaded is found, or there is no bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable
from html import escape
from typing import Any

from harvester import events
from harvester.events import Bookkeeper, Event, Observer
from harvester.model import many

EVERY = 0.2
"""Seconds between two pictures at the least."""


def with_bar(observer: Observer | None) -> Observer | None:
    """The observer, and before it a bar if this process is a notebook's."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    display = getattr(sys.modules.get("IPython.display"), "display", None)
    if not hasattr(shell, "kernel") or display is None:
        return observer
    if observer is not None and not callable(observer):
        return observer  # it is refused where the options are checked
    bar = _Bar(display)

    def observe(event: Event) -> Awaitable[None] | None:
        bar(event)
        return observer(event) if observer is not None else None

    return observe


class _Picture:
    """What is shown at one moment."""

    def __init__(self, done: int, planned: int, text: str) -> None:
        self._done, self._planned, self._text = done, planned, text

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        most = max(self._planned, 1)
        return (
            f"<progress value='{self._done}' max='{most}' style='width:16em'></progress>"
            f" {escape(self._text)}"
        )


class _Bar:
    """An observer that shows how far a run is."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None
        self._shown = 0.0
        self._book = Bookkeeper()

    def __call__(self, event: Event) -> None:
        self._book(event)
        now = time.monotonic()
        if now - self._shown < EVERY and not isinstance(event, events.Ended):
            return
        self._shown = now
        if self._handle is None:
            self._handle = self._display(self._picture(), display_id=True)
        else:
            self._handle.update(self._picture())

    def _picture(self) -> _Picture:
        report, windows = self._book.report, self._book.report.windows
        planned = many(windows.planned, "window")
        parts = [f"{windows.settled:,}/{planned}", many(report.records, "record")]
        parts += [f"{windows.failed:,} failed"] if windows.failed else []
        parts += [f"{windows.waiting:,} waiting"] if windows.waiting else []
        return _Picture(windows.settled, windows.planned, ", ".join(parts))
