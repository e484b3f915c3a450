"""Colours, and the shapes that stand beside them, for the page.

Rule: data.  Text on its background has a contrast of 4.5 at least; no state is told by its colour
alone.
"""

from __future__ import annotations

COLOURS: dict[str, tuple[str, str]] = {
    "bg": ("#f7f7f5", "#0e1116"),
    "surface": ("#ffffff", "#161a21"),
    "text": ("#16191d", "#e7eaee"),
    "muted": ("#5d6570", "#a0a8b3"),
    "line": ("#dfe1e4", "#2a303a"),
    "link": ("#1d68a7", "#7cb8ee"),
    "on": ("#ffffff", "#0e1116"),
    "final": ("#2f80c6", "#3f8ed6"),
    "provisional": ("#9dc6ea", "#27557f"),
    "empty": ("#dde9f4", "#1c3043"),
    "empty-edge": ("#9dc6ea", "#27557f"),
    "waiting": ("#d9920a", "#e3a634"),
    "on-waiting": ("#16191d", "#0e1116"),
    "failed": ("#b42810", "#ff7b5a"),
    "lost": ("#e07b39", "#f0965a"),
    "missing": ("#a9afb8", "#5b6572"),
}
"""Each colour in light and in dark; ``on``: text on ``link`` and ``failed``."""

SYMBOLS = {
    "final": '<path class="final" d="M.5 .5h9v9h-9z"/>',
    "provisional": '<path class="provisional" d="M.5 .5h9v9h-9z"/>',
    "empty": '<path class="empty" d="M1 1h8v8h-8z"/>',
    "waiting": '<path class="waiting" d="M4 .5h5.5v9h-9v-5.5z"/>',
    "failed": '<path class="failed" d="M.5 .5h9v9h-9z"/><path class="dot" d="M3.5 3.5h3v3h-3z"/>',
    "missing": '<path class="missing" d="M1 1h8v8h-8z"/>',
}
"""What a square of 10 by 10 looks like, by state."""

STATES = {"todo": "failed", "late": "waiting", "here": "final", "old": "missing"}
"""The state of an account as that of a day."""


def variables(scheme: int) -> str:
    """The colours as CSS variables; scheme: 0 light, 1 dark."""
    return "".join(f"--{name}:{both[scheme]};" for name, both in COLOURS.items())
