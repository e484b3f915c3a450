"""Finds the interface or the sink of a name.

Built-in interfaces are in `harvester.wechat.interfaces`; others, and all sinks, are entry points.
The group ``harvester.endpoints`` holds objects that are an `Endpoint`, and a built-in interface
takes precedence over one of the same name.  The group ``harvester.sinks`` holds classes with a
``from_spec(rest)`` that makes the sink of ``scheme:rest``.

Rule: an entry point is loaded by `_loaded` alone; one that is broken fails only where it is named.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harvester.base.dates import nearest
from harvester.base.outside import guard_call
from harvester.base.secrets import Secret
from harvester.errors import HarvestError, UsageError
from harvester.model import Endpoint, Find
from harvester.sinks.base import Sink
from harvester.texts import say
from harvester.wechat.endpoint import check_endpoint
from harvester.wechat.interfaces import INTERFACES

_log = logging.getLogger("harvester")

EXPORTS = {
    "parquet": "polars.scan_parquet('{}/TABLE/*.parquet')",
    "duckdb": "duckdb.connect('{}', read_only=True)",
    "csv": "pandas.read_csv('{}/TABLE.csv')",
    "xlsx": "pandas.read_excel('{}', sheet_name=None)",
}
"""The kinds of exports, which are not sinks, and the code that reads each."""
_ENDPOINTS, _SINKS = "harvester.endpoints", "harvester.sinks"
ALL = "all"
"""The group of everything that is not retired."""


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


@cache
def _loaded(point: EntryPoint) -> Any:
    """What an entry point names; a `UsageError` that says why it cannot be used is returned."""
    try:
        return guard_call(HarvestError, _checked, point)
    except (HarvestError, SystemExit) as exc:
        source = point.dist.name if point.dist else point.value
        cause = exc if isinstance(exc, HarvestError) else repr(exc)
        return UsageError("the plug-in {} of {} cannot be used: {}", point.name, source, cause)


def _checked(point: EntryPoint) -> Any:
    made = point.load()
    if point.group == _SINKS:
        if not hasattr(made, "from_spec"):
            raise UsageError("it has no from_spec")
    elif isinstance(made, type) or not isinstance(made, Endpoint):
        raise UsageError("it is not an Endpoint")
    else:
        check_endpoint(made.name, made.first_day, made.fields)
        if made.name != point.name:
            raise UsageError("its interface is called {}", made.name)
    return made


@cache
def _installed() -> dict[str, Endpoint]:
    """The interfaces of plug-ins; one that cannot be used is left out, with a warning."""
    found = {}
    for name, point in _points(_ENDPOINTS).items():
        if name not in INTERFACES:
            found[name] = _loaded(point)
            if isinstance(found[name], UsageError):
                _log.warning(found.pop(name))
    return found


def endpoint_names() -> list[str]:
    """The interfaces that are known, sorted."""
    return sorted({*INTERFACES, *_installed()})


def endpoint(name: str) -> Endpoint:
    """The interface of that name; raises `UsageError` that names the nearest one."""
    if found := known_endpoint(name):
        return found
    if name in _points(_ENDPOINTS):
        raise _loaded(_points(_ENDPOINTS)[name])
    raise UsageError(
        "there is no interface {!r}{}; harvester endpoints lists all of them",
        name,
        nearest(name, endpoint_names()),
    )


def known_endpoint(name: str) -> Endpoint | None:
    """The interface of that name, or None; plug-ins are searched last, because that is slow."""
    return INTERFACES.get(name) or _installed().get(name)


def finder(own: Iterable[Endpoint]) -> Find:
    """Finds an interface by its name: one of these, or an installed one; None if there is none."""
    mine = {each.name: each for each in own}
    return lambda name: mine.get(name) or known_endpoint(name)


def endpoint_groups() -> dict[str, list[str]]:
    """The names of the interfaces of each group, and of ``all``, without retired ones."""
    groups: dict[str, list[str]] = {ALL: []}
    for made in map(endpoint, endpoint_names()):
        if not made.retired:
            groups[ALL].append(made.name)
            if made.group and made.group != ALL:
                groups.setdefault(made.group, []).append(made.name)
    return dict(sorted(groups.items()))


def endpoints_of(name: str) -> list[Endpoint]:
    """The interface of that name, else those of the group of that name that are not retired.

    Raises `UsageError` that names the nearest of either.
    """
    if known_endpoint(name) or name in _points(_ENDPOINTS):
        return [endpoint(name)]
    groups = endpoint_groups()
    if name not in groups:
        parts = [part for part in re.split(r"[,;、，\s]+", name) if part]
        if parts and parts != [name]:
            raise UsageError(
                "there is no interface {!r}; separate names by spaces: {}", name, " ".join(parts)
            )
        raise UsageError(
            "there is no interface or group {!r}{}; harvester endpoints lists all of them",
            name,
            nearest(name, [*groups, *endpoint_names()]),
        )
    return [endpoint(each) for each in groups[name]]


def interfaces_of(given: Iterable[str | Endpoint]) -> list[Endpoint]:
    """The interfaces of names and groups, and given ones, each once; raises `UsageError`."""
    found = [
        each for item in given for each in (endpoints_of(item) if isinstance(item, str) else [item])
    ]
    return [*{each.name: each for each in found}.values()]


def retired_of(name: str) -> list[str]:
    """The interfaces of a group that are retired; none if the name is an interface's."""
    if known_endpoint(name):
        return []
    made = map(endpoint, endpoint_names())
    return [each.name for each in made if each.retired and name in (each.group, ALL)]


def sink_schemes() -> list[str]:
    """The kinds of sinks that are known, sorted."""
    return sorted(_points(_SINKS))


def sink(spec: str | Secret) -> Sink:
    """The sink that a spec, as ``jsonl:DIR`` or ``-``, names; raises `UsageError`."""
    spec = Secret(spec)  # a URL may hold a password

    def failed(cause: str) -> UsageError:
        return UsageError("{}: no sink can be made: {}", _shown(spec), cause)

    rest = Secret(spec.value.partition(":")[2])
    made = guard_call(failed, lambda: _maker(spec).from_spec(rest.value), secret=True)
    if not isinstance(made, Sink):
        raise UsageError("{}: {} is not derived from Sink", _shown(spec), type(made).__name__)
    return made


def _maker(spec: Secret) -> Any:
    scheme, colon = spec.value.partition(":")[:2]
    point = _points(_SINKS).get(scheme)
    if point is None and scheme in EXPORTS:
        place = spec.value.partition(":")[2].partition("?")[0]
        raise UsageError(
            "{}: is an export, not a sink: --export {}:… or `harvester export {}:…` makes it from"
            " a sink such as jsonl:DIR; to read it, use {}",
            scheme,
            scheme,
            scheme,
            EXPORTS[scheme].format(place or "…"),
        )
    if point is None or bool(colon) != _takes_a_place(scheme):
        known = ", ".join(f"{name}:…" if _takes_a_place(name) else name for name in sink_schemes())
        raise UsageError(
            "there is no sink {!r}{}; the sinks are: {}", _shown(spec), _instead_of(spec), known
        )
    if isinstance(made := _loaded(point), UsageError):
        raise made
    return made


_MEANT = {
    "postgres": "postgresql://",
    "pg": "postgresql://",
    "psql": "postgresql://",
    "json": "jsonl:",
    "ndjson": "jsonl:",
    "sqlite3": "sqlite:",
    "file": "jsonl:",
    "stdout": "-",
}
_DATABASES = (".db", ".db3", ".sqlite", ".sqlite3")


def _instead_of(spec: Secret) -> str:
    scheme, colon, _ = spec.value.partition(":")
    name = scheme.lower()
    if name in _MEANT:
        return say(" (did you mean {}?)", _MEANT[name])
    if name in sink_schemes():
        right = f"{name}:…" if _takes_a_place(name) else name
        return say(" (did you mean {}?)", right)
    if not colon and name.endswith(_DATABASES):
        return say(" (did you mean sqlite:{}?)", _shown(spec))
    if not colon and (not name or set(name) & {"/", "."}):
        return say(" (did you mean jsonl: followed by this path?)") if name else ""
    return nearest(name, [f"{each}:" for each in sink_schemes() if _takes_a_place(each)])


def _shown(spec: Secret) -> str:
    """A spec without parts that may be secret: of a URL only the scheme."""
    scheme, mark, _ = spec.value.partition("://")
    if mark or "@" in spec.value:
        scheme, colon, _ = scheme.partition(":")
        return f"{scheme[:20]}{mark}…" if mark or colon else "…"
    return spec.value


def _takes_a_place(name: str) -> bool:
    """Whether a name is a scheme, which needs a place; a sign as ``-`` is a whole spec."""
    return name[:1].isalpha()
