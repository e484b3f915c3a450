"""Finds the interface or the sink of a name.

Built-in interfaces are in `harvester.wechat.interfaces`; others, and all sinks, are entry points.
The group ``harvester.endpoints`` holds objects that are an `Endpoint`, and a built-in interface
takes precedence over one of the same name.  The group ``harvester.sinks`` holds classes with a
``from_spec(rest)`` that makes the sink of ``scheme:rest``.  A name that does not begin with a
letter, as ``-``, is a complete spec; its rest is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from harvester.base.dates import nearest
from harvester.base.secrets import Secret
from harvester.errors import UsageError
from harvester.model import Endpoint, Find
from harvester.sinks.base import Sink
from harvester.texts import say
from harvester.wechat.interfaces import INTERFACES

EXPORTS = {
    "parquet": "polars.scan_parquet('{}/TABLE/*.parquet')",
    "duckdb": "duckdb.connect('{}', read_only=True)",
    "csv": "pandas.read_csv('{}/TABLE.csv')",
    "xlsx": "pandas.read_excel('{}', sheet_name=None)",
}
"""The kinds of exports, which are not sinks, and the code that reads each."""
ALL = "all"
"""The group of everything that is not retired."""


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def endpoint_names() -> list[str]:
    """The interfaces that are known, sorted."""
    return sorted({*INTERFACES, *_points("harvester.endpoints")})


def _is_endpoint(name: str) -> bool:
    """Search installed distributions only for a name that is not built in: that is slow."""
    return name in INTERFACES or name in _points("harvester.endpoints")


def endpoint(name: str) -> Endpoint:
    """The interface of that name; raises `UsageError` that names the nearest one."""
    if name in INTERFACES:
        return INTERFACES[name]
    point = _points("harvester.endpoints").get(name)
    if point is None:
        raise UsageError(
            "there is no interface {!r}{}; harvester endpoints lists them",
            name,
            nearest(name, endpoint_names()),
        )
    return cast("Endpoint", point.load())


def known_endpoint(name: str) -> Endpoint | None:
    """The interface of that name, None if there is none."""
    return endpoint(name) if _is_endpoint(name) else None


def finder(own: Iterable[Endpoint]) -> Find:
    """Finds an interface by its name: one of these, or an installed one; None if there is none."""
    mine = {each.name: each for each in own}
    return lambda name: mine.get(name) or known_endpoint(name)


def endpoint_groups() -> dict[str, list[str]]:
    """The names of the interfaces of each group, and of ``all``, without retired ones.

    Installed interfaces are included, in these groups or their own.
    """
    groups: dict[str, list[str]] = {ALL: []}
    for made in map(endpoint, endpoint_names()):
        if not made.retired:
            groups[ALL].append(made.name)
            if made.group and made.group != ALL:
                groups.setdefault(made.group, []).append(made.name)
    return dict(sorted(groups.items()))


def endpoints_of(name: str) -> list[Endpoint]:
    """The interface of that name, or those of the group of that name that are not retired.

    A name that is both is the interface's.  Raises `UsageError` that names the nearest of either.
    """
    if _is_endpoint(name):
        return [endpoint(name)]
    groups = endpoint_groups()
    if name not in groups:
        parts = [part for part in re.split(r"[,;、，\s]+", name) if part]
        if parts and parts != [name]:
            raise UsageError(
                "there is no interface {!r}; separate names by spaces: {}", name, " ".join(parts)
            )
        raise UsageError(
            "there is no interface {!r}, and no group{}; harvester endpoints lists them",
            name,
            nearest(name, [*groups, *endpoint_names()]),
        )
    return [endpoint(each) for each in groups[name]]


def interfaces_of(given: Iterable[str | Endpoint]) -> list[Endpoint]:
    """The interfaces of names and groups, and given interfaces; each once, in this order.

    Raises `UsageError` as `endpoints_of` does.
    """
    found = [
        each for item in given for each in (endpoints_of(item) if isinstance(item, str) else [item])
    ]
    return [*{each.name: each for each in found}.values()]


def retired_of(name: str) -> list[str]:
    """The interfaces of a group that are retired; none if the name is an interface's."""
    if _is_endpoint(name):
        return []
    made = map(endpoint, endpoint_names())
    return [each.name for each in made if each.retired and name in (each.group, ALL)]


def sink_schemes() -> list[str]:
    """The kinds of sinks that are known, sorted."""
    return sorted(_points("harvester.sinks"))


def sink(spec: str | Secret) -> Sink:
    """The sink that a spec, as ``jsonl:DIR`` or ``-``, names; raises `UsageError`."""
    spec = Secret(spec)  # a URL may hold a password
    made = _maker(spec).from_spec(spec.value.partition(":")[2])
    if not isinstance(made, Sink):
        raise UsageError("{}: {} is not derived from Sink", _shown(spec), type(made).__name__)
    return made


def _maker(spec: Secret) -> Any:
    """The class of the sinks of a spec's scheme."""
    scheme, colon = spec.value.partition(":")[:2]
    point = _points("harvester.sinks").get(scheme)
    if point is None and scheme in EXPORTS:
        place = spec.value.partition(":")[2].partition("?")[0]
        raise UsageError(
            "{}: is an export, not a sink: it is made from a sink, as jsonl:DIR, by --export"
            " {}:… or `harvester export {}:…`; it is read by {}",
            scheme,
            scheme,
            scheme,
            EXPORTS[scheme].format(place or "…"),
        )
    if point is None or bool(colon) != _takes_a_place(scheme):
        known = ", ".join(f"{name}:…" if _takes_a_place(name) else name for name in sink_schemes())
        raise UsageError(
            "no sink for {!r}{}: these are known: {}", _shown(spec), _instead_of(spec), known
        )
    return point.load()


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
"""What users type, and what they mean."""
_DATABASES = (".db", ".db3", ".sqlite", ".sqlite3")
"""Usual endings of an SQLite database file."""


def _instead_of(spec: Secret) -> str:
    """A hint for a spec of no sink, or an empty string."""
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
        return say(" (did you mean jsonl: and that path?)") if name else ""
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
