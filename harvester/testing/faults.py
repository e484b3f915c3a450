"""What can go wrong on request.

Rule: shares and counts only; the simulator draws and acts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Faults:
    """What goes wrong, each as a share of the data requests (0 to 1) unless said otherwise.

    busy: errcode -1; first_busy: the first so many data requests of each account answer -1;
    http_500, html, empty, cut, reset: a 502, a page of HTML, no body, half a body, a connection
    reset in place of an answer; slow: an answer that takes ``slow_seconds``; revoke_every: after so
    many data requests of an account its tokens are void; control: a raw control character in the
    first title; neighbours: rows of the day before and the day after in the answer to a single day.
    """

    busy: float = 0.0
    first_busy: int = 0
    http_500: float = 0.0
    html: float = 0.0
    empty: float = 0.0
    cut: float = 0.0
    reset: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 5.0
    revoke_every: int = 0
    control: float = 0.0
    neighbours: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anything can go wrong at all."""
        return any([getattr(self, name) for name in _NAMES])


_NAMES = tuple(field.name for field in fields(Faults) if field.name != "slow_seconds")
