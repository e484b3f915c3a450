"""Parses the spec of a sink or an export after the colon: a place, and options.

Rule: a spec is parsed completely before anything is opened; an unknown option is an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harvester.base.dates import nearest
from harvester.errors import UsageError
from harvester.texts import say


class Spec(NamedTuple):
    """``jsonl:DIR?compress=zstd`` in parts: the place ``DIR``, and the options."""

    place: str
    options: Mapping[str, str]


def read_spec(
    scheme: str,
    rest: str,
    options: Mapping[str, Sequence[str]],
    form: str,
    *,
    what: str = "sink",
) -> Spec:
    """The parts of what follows ``scheme:``; raises `UsageError`.

    options: those that are known, each with the values it takes (none: any value).  form: how the
    spec is written, for the message.  what: a sink or an export.
    """
    place, mark, query = rest.partition("?")
    if not place or (mark and not query):
        raise UsageError("{}: {}:{} is not valid; write it as {}", what, scheme, rest, form)
    if "://" in place and "://" not in form:
        raise UsageError(
            "{}: {}:{} is a URL, not a path; write it as {}", what, scheme, place, form
        )
    given: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        _check(f"{what}: {scheme}", name, value, options)
        if name in given:
            raise UsageError("{}: {}:…?{}= is given twice", what, scheme, name)
        given[name] = value
    if "://" not in place:
        place = os.path.expanduser(place)  # within a spec no shell does it
    return Spec(place, given)


def _check(scheme: str, name: str, value: str, options: Mapping[str, Sequence[str]]) -> None:
    if name not in options:
        known = (
            say("; its options are {}", ", ".join(sorted(options)))
            if options
            else say("; it has no options")
        )
        raise UsageError(
            "{} has no option {!r}{}{}", scheme, name, nearest(name, sorted(options)), known
        )
    taken = options[name]
    if not value or (taken and value not in taken):
        raise UsageError(
            "{}:…?{}: invalid value {!r}: expected {}",
            scheme,
            name,
            value,
            " or ".join(taken) if taken else say("a value"),
        )
