"""Faults on request.

Rule: shares and counts, and the reply that a fault returns instead of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

from harvester.testing.replies import Desk, Reply


def _share(help_: str) -> Any:
    """A field that is a share of the answers, 0 to 1."""
    return _fault(0.0, help_, is_share=True)


def _fault(default: Any, help_: str, *, is_share: bool = False) -> Any:
    return field(default=default, metadata={"help": help_, "is_share": is_share})


@dataclass
class Faults:
    """What goes wrong with the data requests; a share is 0 to 1."""

    busy: float = _share("Share of answers that are -1.")
    first_busy: int = _fault(0, "The first N of each account are -1.")
    http_500: float = _share("Share of answers that are a 502.")
    html: float = _share("Share of answers that are HTML.")
    empty: float = _share("Share of answers without a body.")
    cut: float = _share("Share of answers cut in the middle.")
    reset: float = _share("Share of connections that are reset.")
    slow: float = _share("Share of answers that are slow.")
    slow_seconds: float = _fault(5.0, "How slow.")
    revoke_every: int = _fault(0, "Tokens become invalid after N requests.")
    control: float = _share("Share with a raw control character.")
    neighbours: float = _share(
        "Share of answers to a single day with rows of the day before and the day after."
    )

    @property
    def any(self) -> bool:
        """Whether anything can go wrong at all."""
        return any([getattr(self, name) for name in _NAMES])


FAULTS = fields(Faults)
"""The name, the default and the help of each: `harvester simulate` has an option for each."""
_NAMES = tuple(each.name for each in FAULTS if each.name != "slow_seconds")
Faults.__doc__ = f"{Faults.__doc__}\n\n" + "\n".join(
    f"{each.name}: {each.metadata['help']}" for each in FAULTS
)


def drawn(faults: Faults, draw: Random, desk: Desk) -> Reply | None:
    """What goes wrong this time, if anything does: a reply, or its delay and fault alone."""
    number = draw.random()
    kinds: tuple[tuple[float, Callable[[], Reply]], ...] = (
        (faults.busy, lambda: desk.error(-1)),
        (faults.http_500, lambda: Reply(502, b"<html>bad gateway</html>")),
        (faults.html, lambda: Reply(200, b"<!DOCTYPE html><html><body>hello</body></html>")),
        (faults.empty, lambda: Reply(200, b"")),
        (faults.reset, lambda: Reply(200, b"", fault="reset")),
        (faults.cut, lambda: Reply(200, b"", fault="cut")),
        (faults.slow, lambda: Reply(200, b"", delay=faults.slow_seconds)),
    )
    for share, make in kinds:
        if number < share:
            desk.counts["faults"] += 1
            return make()
        number -= share
    return None
