"""The command ``endpoints``: the interfaces as a table, and one of them in full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from rich import box
from rich.table import Table

from harvester.base.dates import WindowKind, days_in, last_settled_day, recent_days
from harvester.cli.exit_status import COMPLETE
from harvester.cli.language import label, language, translated
from harvester.cli.terminal import out, padded, plain, show_json, show_line, show_table, show_text
from harvester.config import plugins
from harvester.model import ACCESS_TOKEN, Code, Endpoint, Field, Token, Window
from harvester.texts import say
from harvester.wechat import labels
from harvester.wechat.endpoint import grid
from harvester.wechat.late import Delivery, delivery
from harvester.wechat.titles import INTERFACES, field_title

WIDTH = 100
"""Columns of a table in a pipe, and at the most on a terminal."""


def show(
    name: str | None, own: Sequence[Endpoint] = (), *, now: float, as_json: bool = False
) -> int:
    """The catalogue, the table of a group, or everything about one interface."""
    known = {each: plugins.endpoint(each) for each in plugins.endpoint_names()}
    known.update({endpoint.name: endpoint for endpoint in own})
    if name is None or (name == plugins.ALL and name not in known):
        found = list(known.values())
    elif name in known:
        found = [known[name]]
    else:
        group = [endpoint for endpoint in known.values() if endpoint.group == name]
        found = group or plugins.endpoints_of(name)
    if as_json:
        show_json([as_object(endpoint, fields=name in known) for endpoint in found])
    elif name in known:
        show_endpoint(found[0], now)
    else:
        show_endpoints(found)
    return COMPLETE


def as_object(endpoint: Endpoint, *, fields: bool) -> dict[str, Any]:
    """An interface as JSON has it; fields: with those of its records."""
    found: dict[str, Any] = {
        "name": endpoint.name,
        "title": getattr(endpoint, "title", ""),
        "group": endpoint.group,
        "path": getattr(endpoint, "path", ""),
        "cut": endpoint.cut.value,
        "span": endpoint.span,
        "first_day": str(endpoint.first_day),
        "settled_hour": endpoint.settled_hour,
        "late_days": endpoint.late_days,
        "delivers": delivery(endpoint).value,
        "key": list(getattr(endpoint, "key", ())),
        "permission_set": getattr(endpoint, "permission_set", ""),
        "retired": endpoint.retired,
        "successors": list(endpoint.successors),
        "page": getattr(endpoint, "page", ""),
    }
    return {**found, "fields": [*map(_field, endpoint.fields)]} if fields else found


def _field(field: Field) -> dict[str, Any]:
    found: dict[str, Any] = {"name": field.name, "type": _type(field), "meaning": field.meaning}
    return {**found, "fields": [*map(_field, field.fields)]} if field.fields else found


def show_endpoints(endpoints: Iterable[Endpoint]) -> None:
    """The interfaces as one table, by group."""
    table = _table("interface", "days\na call", "first day", "late\ndays", "perm.\nset", "state")
    for column in table.columns[:-1]:
        column.no_wrap = True
    groups: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        groups.setdefault(endpoint.group, []).append(endpoint)
    for group in sorted(groups, key=lambda name: (not name, name)):
        table.add_row(plain(group) or label("(no group)"), style="bold")
        for endpoint in groups[group]:
            table.add_row(*_row(endpoint))
        table.add_section()
    show_table(table)
    show_text(
        "A group stands for all of its interfaces, except retired ones; name a retired one by"
        " itself."
    )


def _row(endpoint: Endpoint) -> tuple[str, ...]:
    return (
        f"  {plain(endpoint.name)}",
        days_a_call(endpoint),
        str(endpoint.first_day),
        str(endpoint.late_days or ""),
        plain(getattr(endpoint, "permission_set", "")),
        label(_state(endpoint)),
    )


def days_a_call(endpoint: Endpoint) -> str:
    """How many days a call asks for, as a table shows it."""
    if endpoint.cut is WindowKind.RECENT:
        return "/".join(map(str, sorted(recent_days(endpoint.span))))
    return str(endpoint.span) if endpoint.cut is WindowKind.DAYS else endpoint.cut.value


def _state(endpoint: Endpoint) -> str:
    if not endpoint.retired:
        return "active"
    successors = ", ".join(map(plain, endpoint.successors))
    return say("retired: {}", successors) if successors else say("retired, without a successor")


def show_endpoint(endpoint: Endpoint, now: float) -> None:
    """Everything about one interface, with its newest request as it is sent."""
    title = getattr(endpoint, "title", "")
    if language() == "zh":
        title = INTERFACES.get(endpoint.name, title)
    show_line(f"{endpoint.name}: {title}" if title else endpoint.name)
    for what, text in _about(endpoint, now):
        if text:
            show_line("  {}{}", padded(label(what), 15), plain(translated(text)))
    if endpoint.fields:
        table = _table("field", "type", "meaning")
        table.columns[0].no_wrap = table.columns[1].no_wrap = True
        for depth, each in _flat(endpoint.fields):
            table.add_row("  " * depth + plain(each.name), label(_type(each)), _meaning(each))
        show_table(table)


def _meaning(field: Field) -> str:
    """What a field means, with the labels of its codes: in English they are in the catalogue."""
    title, zh = field.label or field_title(field.name, "zh"), language() == "zh"
    lists = [
        (names, ("，" if zh else ", ").join([_code(code, zh=zh) for code in codes]))
        for codes, names in labels.listed(field.codes).items()
        if field.codes_by
    ]
    if lists:
        colon, comma, begin = ("：", "、", title) if zh else (": ", ", ", field.meaning)
        return "\n".join([begin, *[f"{comma.join(names)}{colon}{each}" for names, each in lists]])
    if not zh or title == field.name:
        return plain(field.meaning)
    codes = "，".join([_code(code, zh=zh) for code in field.codes])
    return f"{title}：{codes}" if codes else title


def _code(code: Code, *, zh: bool) -> str:
    label = code.zh if zh else code.en
    return label if code.value == label else f"{code.value} = {label}"


def newest_window(endpoint: Endpoint, now: float) -> Window | None:
    """The newest window of full length that a run up to yesterday asks for; None if none is."""
    last = last_settled_day(now, endpoint.settled_hour)
    begin = max(endpoint.first_day, last - timedelta(days=2 * max(endpoint.span, 31)))
    windows = [*grid(endpoint, last).windows(begin, last, newest=True)]
    any_length = endpoint.cut is not WindowKind.DAYS
    full = [days for days in windows if any_length or days_in(days) == endpoint.span]
    return Window("", endpoint.name, *(full or windows)[0]) if windows else None


def _about(endpoint: Endpoint, now: float) -> Iterator[tuple[str, str]]:
    def own(name: str) -> str:
        return str(getattr(endpoint, name, ""))

    late = endpoint.late_days
    if (window := newest_window(endpoint, now)) is not None:
        sent = endpoint.request(window, Token(ACCESS_TOKEN.upper()))
        query = f"?{urlencode(sent.query)}" if sent.query else ""
        yield "request", f"{sent.method} {sent.path}{query}"
        yield "body", (sent.body or b"").decode(errors="replace")
    yield "group", endpoint.group
    yield "state", label(_state(endpoint))
    yield "days a call", days_a_call(endpoint)
    yield "first day", str(endpoint.first_day)
    yield "settled", say("yesterday can be requested from {:02}:00 in China", endpoint.settled_hour)
    change = say("its figures change for {} days, counted from the last day of the window", late)
    yield "late days", change if late else ""
    yield "delivers", _delivers(endpoint)
    yield "key", ", ".join(getattr(endpoint, "key", ()))
    yield "permission set", own("permission_set")
    yield "cloud call", own("cloud_call")
    yield "page", own("page")


def _delivers(endpoint: Endpoint) -> str:
    match delivery(endpoint):
        case Delivery.DAILY:
            return say("one row per day: a day without one is late")
        case Delivery.ENTRIES:
            last = endpoint.late_days
            return say(
                "entries up to day {}: a later answer contains all entries of an earlier one", last
            )
        case Delivery.UNCERTAIN:
            return say(
                "rows are not guaranteed: a day without a record can be a day without activity"
            )


def _flat(fields: Sequence[Field], depth: int = 0) -> Iterator[tuple[int, Field]]:
    for each in fields:
        yield depth, each
        yield from _flat(each.fields, depth + 1)


def _type(field: Field) -> str:
    return say("list of {}", say(field.item)) if field.type == "list" else field.type


def _table(*titles: str) -> Table:
    width = min(out.width, WIDTH) if out.is_terminal else WIDTH
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), width=width)
    for title in titles:
        table.add_column(title, overflow="fold")
    table.columns[-1].ratio = 1  # it takes the space that the others leave
    return table
