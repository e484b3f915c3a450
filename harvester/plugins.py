"""From a name to what it stands for, through entry points.

Rule: the built-in interfaces and sinks come in by the same door as anybody's.

``harvester.endpoints`` holds objects that are an `Endpoint`; ``harvester.sinks`` holds classes with
a ``from_spec(rest)`` that makes the sink of ``scheme:rest``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from harvester.endpoint import Endpoint
from harvester.errors import UsageError
from harvester.plan import nearest
from harvester.sinks.base import Sink


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def endpoint_names() -> list[str]:
    """The interfaces that are known, sorted."""
    return sorted(_points("harvester.endpoints"))


def endpoint(name: str) -> Endpoint:
    """The interface of that name; raises `UsageError` that names the nearest one."""
    point = _points("harvester.endpoints").get(name)
    if point is None:
        raise UsageError(
            f"there is no interface {name!r}{nearest(name, endpoint_names())};"
            " harvester endpoints lists them"
        )
    return cast("Endpoint", point.load())


def sink_schemes() -> list[str]:
    """The kinds of sinks that are known, sorted."""
    return sorted(_points("harvester.sinks"))


def sink(spec: str) -> Sink:
    """The sink that a spec, as ``jsonl:DIR``, names; raises `UsageError`."""
    scheme, colon, rest = spec.partition(":")
    point = _points("harvester.sinks").get(scheme)
    if point is None or not colon:
        known = ", ".join(f"{name}:…" for name in sink_schemes())
        raise UsageError(f"sink: {spec!r} is not one; these are known: {known}")
    maker: Any = point.load()
    return cast("Sink", maker.from_spec(rest))
