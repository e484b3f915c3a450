"""The interfaces: what is told of them, and those that a user describes in TOML.

Rule: reads the catalogue, changes nothing; whatever a table says is checked before it is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from rich import box
from rich.table import Table

from harvester import plugins
from harvester.cli import COMPLETE
from harvester.cli.screen import out, plain, tell
from harvester.codec import encode
from harvester.datacube import ERRORS, PUBLISHER_ERRORS, PublisherEndpoint
from harvester.endpoint import UNIX, Endpoint, Field, JsonEndpoint
from harvester.errors import UsageError
from harvester.plan import Cut, nearest, recent_days

WIDTH = 100
"""Columns of a table in a pipe, and at the most on a terminal."""

# what is told


def show(name: str | None, own: Sequence[Endpoint] = ()) -> int:
    """The catalogue, the table of a group, or everything about one interface.

    own: those that the configuration describes.
    """
    known = {each: plugins.endpoint(each) for each in plugins.endpoint_names()}
    known.update({endpoint.name: endpoint for endpoint in own})
    if name is None or (name == plugins.ALL and name not in known):
        show_endpoints(known.values())
        return COMPLETE
    group = [endpoint for endpoint in known.values() if endpoint.group == name]
    if name not in known and group:
        show_endpoints(group)
    else:
        show_endpoint(known.get(name) or plugins.endpoints_of(name)[0])
    return COMPLETE


def show_endpoints(endpoints: Iterable[Endpoint]) -> None:
    """The interfaces as one table, by group."""
    table = _table("interface", "days a call", "first day", "late days", "permission set", "state")
    for column in table.columns[:-1]:
        column.no_wrap = True
    for number, heading in ((1, "days\na call"), (3, "late\ndays"), (4, "perm.\nset")):
        table.columns[number].header = heading
    groups: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        groups.setdefault(endpoint.group, []).append(endpoint)
    for group in sorted(groups, key=lambda name: (not name, name)):
        table.add_row(plain(group) or "(no group)", style="bold")
        for endpoint in groups[group]:
            table.add_row(*_row(endpoint))
        table.add_section()
    out.print(table)
    tell("A group is asked for by its name as its interfaces are; a retired one by its own alone.")


def _row(endpoint: Endpoint) -> tuple[str, ...]:
    return (
        f"  {plain(endpoint.name)}",
        days_a_call(endpoint),
        str(endpoint.first_day),
        str(endpoint.late_days or ""),
        plain(getattr(endpoint, "permission_set", "")),
        _state(endpoint),
    )


def days_a_call(endpoint: Endpoint) -> str:
    """How many days a call asks for, as a table says it."""
    if endpoint.cut is Cut.RECENT:
        return "/".join(map(str, sorted(recent_days(endpoint.span))))
    return str(endpoint.span) if endpoint.cut is Cut.DAYS else endpoint.cut.value


def _state(endpoint: Endpoint) -> str:
    if not endpoint.retired:
        return "active"
    successors = ", ".join(map(plain, endpoint.successors))
    return f"retired: {successors}" if successors else "retired, without a successor"


def show_endpoint(endpoint: Endpoint) -> None:
    """Everything about one interface."""
    title = getattr(endpoint, "title", "")
    tell(f"{endpoint.name}: {title}" if title else endpoint.name)
    for what, said in _about(endpoint):
        if said:
            tell(f"  {what:<15}{plain(said)}")
    if endpoint.fields:
        table = _table("field", "type", "meaning")
        table.columns[0].no_wrap = table.columns[1].no_wrap = True
        for depth, each in _flat(endpoint.fields):
            table.add_row("  " * depth + plain(each.name), _type(each), plain(each.meaning))
        out.print(table)


def _about(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    def own(name: str) -> str:
        return str(getattr(endpoint, name, ""))

    late = endpoint.late_days
    yield "request", f"{own('method')} {own('path')}".strip()
    if isinstance(endpoint, JsonEndpoint) and endpoint.method == "POST":
        body = f", {encode(endpoint.body).decode()}" if endpoint.body else ""
        yield "body", f"the days as {endpoint.begin_key} and {endpoint.end_key}{body}"
    yield "group", endpoint.group
    yield "state", _state(endpoint)
    yield "days a call", days_a_call(endpoint)
    yield "first day", str(endpoint.first_day)
    yield "settled", f"yesterday can be asked for from {endpoint.settled_hour:02}:00 in China"
    grow = f"its figures grow for {late} days, the last day of a window counted"
    yield "late days", grow if late else ""
    yield "daily", "a row for every day: an empty last day is late" if endpoint.daily else ""
    yield "key", ", ".join(getattr(endpoint, "key", ()))
    yield "permission set", own("permission_set")
    yield "cloud call", own("cloud_call")
    yield "page", own("page")


def _flat(fields: Sequence[Field], depth: int = 0) -> Iterator[tuple[int, Field]]:
    for each in fields:
        yield depth, each
        yield from _flat(each.fields, depth + 1)


def _type(field: Field) -> str:
    return f"list of {field.item}" if field.type == "list" else field.type


def _table(*titles: str) -> Table:
    width = min(out.width, WIDTH) if out.is_terminal else WIDTH
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), width=width)
    for title in titles:
        table.add_column(title, overflow="fold")
    table.columns[-1].ratio = 1  # it takes what the others leave
    return table


# what a user describes

_CUTS = {cut.value: cut for cut in Cut}
_DATES = {"YYYY-MM-DD": "%Y-%m-%d", "YYYYMMDD": "%Y%m%d", "unix": UNIX}
_TYPES = ("date", "int", "float", "str", "bool", "object", "list")
_ENDPOINT: Mapping[str, type | tuple[type, ...]] = {
    "name": str, "path": str, "first_day": (date, str), "span": int, "cut": str, "dates": str,
    "begin_key": str, "end_key": str, "body": dict, "group": str, "settled_hour": int,
    "late_days": int, "daily": bool, "rows": str, "lifts": list, "day_field": str, "key": list,
    "title": str, "fields": list, "asks_first_day": bool, "retired": bool, "successors": list,
    "permission_set": str, "cloud_call": str, "page": str, "publisher": bool, "dated": bool,
}  # fmt: skip
_FIELD: Mapping[str, type | tuple[type, ...]] = {
    "name": str, "type": str, "meaning": str, "fields": list, "item": str,
}  # fmt: skip
_SAID: Mapping[Any, str] = {
    str: "a string", int: "a whole number", list: "a list", (date, str): "a date",
    bool: "true or false", dict: "a table",
}  # fmt: skip
_OF_A_BODY = ("begin_key", "end_key", "body")
_PATH = re.compile(r"/[^\s?#]*")


def read_interfaces(tables: list[dict[str, Any]], where: str) -> list[JsonEndpoint]:
    """The interfaces that ``[[interface]]`` tables describe; raises `UsageError`.

    where: what the tables stand in, as a message names it.
    """
    taken = set(plugins.endpoint_names())
    groups = {*plugins.endpoint_groups(), *(str(each.get("group")) for each in tables
                                            if isinstance(each, dict))}  # fmt: skip
    found: list[JsonEndpoint] = []
    for number, table in enumerate(tables, 1):
        made = _interface(table, f"{where}, interface {number}")
        if made.name in taken:
            raise UsageError(
                f"{where}, interface {number}: there is an interface {made.name} already; take"
                " another name"
            )
        if made.name in groups:
            raise UsageError(
                f"{where}, interface {number}: {made.name} is the name of a group; take another"
            )
        if made.group in plugins.endpoint_names():
            raise UsageError(
                f"{where}, interface {number}: group {made.group!r} is the name of an interface;"
                " take another"
            )
        taken.add(made.name)
        found.append(made)
    return found


def _interface(table: object, where: str) -> JsonEndpoint:
    given = _checked(table, _ENDPOINT, ("name", "path", "first_day"), where)
    if not _PATH.fullmatch(given["path"]):
        raise UsageError(
            f"{where}: path {given['path']!r} is not one; it begins with / and has no query"
        )
    given["first_day"] = _day(given["first_day"], where)
    for name, choices in (("cut", _CUTS), ("dates", _DATES)):
        if name in given:
            given[name] = _one_of(given[name], choices, f"{where}: {name}")
    for name in ("lifts", "key", "successors"):
        if name in given:
            given[name] = _strings(given[name], f"{where}: {name}")
    given["fields"] = _fields(given.get("fields", []), where)
    try:
        if given.pop("publisher", False):
            if not given.keys().isdisjoint(_OF_A_BODY):
                raise UsageError(f"{', '.join(_OF_A_BODY)} do not go with publisher = true")
            return PublisherEndpoint(**given, errors=PUBLISHER_ERRORS)
        if "dated" in given:
            raise UsageError("dated goes with publisher = true")
        return JsonEndpoint(**given, errors=ERRORS)
    except UsageError as exc:
        raise UsageError(f"{where}: {exc}") from None


def _checked(
    table: object,
    kinds: Mapping[str, type | tuple[type, ...]],
    needed: Sequence[str],
    where: str,
) -> dict[str, Any]:
    """A table whose keys are known and whose values have their types."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a table")
    for key, value in table.items():
        if key not in kinds:
            raise UsageError(f"{where}: unknown key {key!r}{nearest(key, kinds)}")
        kind = kinds[key]
        odd = isinstance(value, datetime) or (isinstance(value, bool) and kind is not bool)
        if odd or not isinstance(value, kind):
            raise UsageError(f"{where}: {key} takes {_SAID[kind]}, not {value!r}")
    for key in needed:
        if not table.get(key):
            raise UsageError(f"{where} has no {key}")
    return dict(table)


def _day(given: date | str, where: str) -> date:
    if isinstance(given, date):
        return given
    try:
        day = date.fromisoformat(given)
    except ValueError:
        day = None
    if day is None or given != day.isoformat():
        raise UsageError(f"{where}: first_day {given!r} is not a day; write YYYY-MM-DD")
    return day


def _one_of(given: str, choices: Mapping[str, Any], what: str) -> Any:
    if given not in choices:
        raise UsageError(f"{what} {given!r} is not one of {', '.join(choices)}")
    return choices[given]


def _strings(given: list[Any], what: str) -> tuple[str, ...]:
    for each in given:
        if not isinstance(each, str):
            raise UsageError(f"{what} takes a list of strings, not {each!r} in it")
    return tuple(given)


def _fields(given: list[Any], where: str) -> tuple[Field, ...]:
    return tuple(_field(each, f"{where}, field {number}") for number, each in enumerate(given, 1))


def _field(table: object, where: str) -> Field:
    given = _checked(table, _FIELD, ("name", "type"), where)
    _one_of(given["type"], dict.fromkeys(_TYPES), f"{where}: type")
    _one_of(given.get("item", "object"), dict.fromkeys(_TYPES), f"{where}: item")
    given["fields"] = _fields(given.get("fields", []), where)
    return Field(**given)
