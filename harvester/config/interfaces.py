"""The interfaces that a user describes: the ``[[interface]]`` tables of a configuration.

Rule: every value of a table is checked before it is used; every error names the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from harvester.base.dates import WindowKind, nearest
from harvester.config import plugins
from harvester.errors import UsageError
from harvester.model import Field
from harvester.texts import say
from harvester.wechat.endpoint import UNIX, JsonEndpoint
from harvester.wechat.publisher import PublisherEndpoint

_CUTS = {cut.value: cut for cut in WindowKind}
_DATES = {"YYYY-MM-DD": "%Y-%m-%d", "YYYYMMDD": "%Y%m%d", "unix": UNIX}
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
    str: say("a string"), int: say("a whole number"), list: say("a list"),
    (date, str): say("a date"), bool: say("true or false"), dict: say("a table"),
}  # fmt: skip
_OF_A_BODY = ("begin_key", "end_key")
_PATH = re.compile(r"/[^\s?#]*")


def read_interfaces(tables: list[dict[str, Any]], where: str) -> list[JsonEndpoint]:
    """The interfaces that ``[[interface]]`` tables describe; raises `UsageError`."""
    taken = set(plugins.endpoint_names())
    groups = {*plugins.endpoint_groups(), *(str(each.get("group")) for each in tables
                                            if isinstance(each, dict))}  # fmt: skip
    found: list[JsonEndpoint] = []
    for number, table in enumerate(tables, 1):
        made = _interface(table, say("{}, interface {}", where, number))
        if made.name in taken:
            raise UsageError(
                "{}, interface {}: there is an interface {} already; take another name",
                where,
                number,
                made.name,
            )
        if made.name in groups:
            raise UsageError(
                "{}, interface {}: {} is the name of a group; take another",
                where,
                number,
                made.name,
            )
        if made.group in plugins.endpoint_names():
            raise UsageError(
                "{}, interface {}: group {!r} is the name of an interface; take another",
                where,
                number,
                made.group,
            )
        taken.add(made.name)
        found.append(made)
    return found


def choose_interfaces(
    names: Iterable[str], own: Sequence[JsonEndpoint]
) -> list[str | JsonEndpoint]:
    """Replace names by the interfaces of a configuration (``own``), where they mean these."""
    found: list[str | JsonEndpoint] = []
    for name in names:
        mine = [
            each
            for each in own
            if name == each.name or (not each.retired and name in (each.group, plugins.ALL))
        ]
        if not any(each.name == name for each in mine) and (
            not mine or name in plugins.endpoint_groups()
        ):
            found.append(name)
        found += mine
    return found


def _interface(table: object, where: str) -> JsonEndpoint:
    given = _checked(table, _ENDPOINT, ("name", "path", "first_day"), where)
    if not _PATH.fullmatch(given["path"]):
        raise UsageError(
            "{}: {!r} is not a path; it begins with / and has no query", where, given["path"]
        )
    given["first_day"] = _day(given["first_day"], where)
    for name, choices in (("cut", _CUTS), ("dates", _DATES)):
        if name in given:
            given[name] = _one_of(given[name], choices, say("{}: {}", where, name))
    for name in ("lifts", "key", "successors"):
        if name in given:
            given[name] = _strings(given[name], say("{}: {}", where, name))
    given["fields"] = _fields(given.get("fields", []), where)
    try:
        if given.pop("publisher", False):
            if not given.keys().isdisjoint(_OF_A_BODY):
                raise UsageError(
                    "{} cannot be combined with publisher = true", ", ".join(_OF_A_BODY)
                )
            return PublisherEndpoint(**given)
        if "dated" in given:
            raise UsageError("dated requires publisher = true")
        return JsonEndpoint(**given)
    except UsageError as exc:
        raise UsageError("{}: {}", where, exc) from None


def _checked(
    table: object,
    kinds: Mapping[str, type | tuple[type, ...]],
    needed: Sequence[str],
    where: str,
) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError("{} is not a table", where)
    for key, value in table.items():
        if key not in kinds:
            raise UsageError("{}: unknown key {!r}{}", where, key, nearest(key, kinds))
        kind = kinds[key]
        odd = isinstance(value, datetime) or (isinstance(value, bool) and kind is not bool)
        if odd or not isinstance(value, kind):
            raise UsageError("{}: {} takes {}, not {!r}", where, key, _SAID[kind], value)
    for key in needed:
        if not table.get(key):
            raise UsageError("{} has no {}", where, key)
    return dict(table)


def _day(given: date | str, where: str) -> date:
    if isinstance(given, date):
        return given
    try:
        day = date.fromisoformat(given)
    except ValueError:
        day = None
    if day is None or given != day.isoformat():
        raise UsageError("{}: first_day {!r} is not a day; write YYYY-MM-DD", where, given)
    return day


def _one_of(given: str, choices: Mapping[str, Any], what: str) -> Any:
    if given not in choices:
        raise UsageError("{} {!r} is not one of {}", what, given, ", ".join(choices))
    return choices[given]


def _strings(given: list[Any], what: str) -> tuple[str, ...]:
    for each in given:
        if not isinstance(each, str):
            raise UsageError("{} must be a list of strings, without {!r}", what, each)
    return tuple(given)


def _fields(given: list[Any], where: str) -> tuple[Field, ...]:
    found = []
    for number, table in enumerate(given, 1):
        place = say("{}, field {}", where, number)
        values = _checked(table, _FIELD, ("name", "type"), place)
        values["fields"] = _fields(values.get("fields", []), place)
        found.append(Field(**values))
    return tuple(found)
