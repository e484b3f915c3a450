"""Which windows stand in a sink that keeps them by name.

Rule: windows only; what stands in them is kept elsewhere.
"""

from __future__ import annotations

from collections import defaultdict

from harvester.model import Window


class Standing:
    """Windows by account and interface; finds those that lie in another one."""

    def __init__(self) -> None:
        self._by_key: defaultdict[tuple[str, str], set[Window]] = defaultdict(set)

    def add(self, window: Window) -> None:
        self._by_key[window.appid, window.endpoint].add(window)

    def discard(self, window: Window) -> None:
        self._by_key[window.appid, window.endpoint].discard(window)

    def within(self, window: Window) -> list[Window]:
        """The windows that stand and lie in this one, itself among them, in order."""
        known = self._by_key.get((window.appid, window.endpoint), set())
        if window.begin == window.end:
            return [window] if window in known else []
        return sorted(
            each for each in known if window.begin <= each.begin and each.end <= window.end
        )
