"""The first screen in words: the badge, one sentence, a few clauses, four figures.

Rule: pure; from an `Overview` to texts.
"""

from __future__ import annotations

from typing import NamedTuple

from harvester.base.chinese import Titled, series
from harvester.base.dates import ONE_DAY, china
from harvester.model import many
from harvester.report.causes import KINDS, Cause
from harvester.report.overview import Overview
from harvester.report.texts import TEXTS, long_day, moment, number, share, short_day, title_of
from harvester.texts import say

NAMED = 3
"""How many names of a list are shown."""


class Clause(NamedTuple):
    """A line below the sentence, with the state whose shape precedes it."""

    state: str
    text: str


class Figure(NamedTuple):
    """One of the four figures."""

    label: str
    value: str
    unit: str
    note: str


def badge(seen: Overview) -> str:
    """``needed``, ``waiting`` or ``well``; empty if there is nothing to judge."""
    if not seen.accounts:
        return ""
    if any(cause.mine for cause in seen.causes):
        return "needed"
    return "waiting" if seen.causes else "well"


def day_of(seen: Overview) -> str:
    """The newest day, in words."""
    today = china(seen.made).date()
    if seen.day == today - ONE_DAY:
        return say("Yesterday")
    return short_day(seen.day, year=seen.day.year != today.year)


def subject(seen: Overview) -> str:
    """Which day is judged, and why this one."""
    day = long_day(seen.day)
    if seen.archive:
        return say("Figures up to {}: no later day was requested", day)
    return say("Figures of {}: the newest that WeChat gives now", day)


def headline(seen: Overview) -> str:
    """Whether everything is there, in one sentence."""
    if not seen.accounts:
        return say("Nothing was harvested yet")
    if seen.last is None:
        return say("No day was harvested yet")
    if seen.behind > 1 and not seen.archive:
        last = short_day(seen.last)
        return say("No new data for {:,} days; the last data is of {}", seen.behind, last)
    day, total, late = day_of(seen), len(seen.expected), len(seen.expected) - seen.fresh
    if not total:
        return say("Nothing is due now")
    if total == 1:
        return say("{} is incomplete" if late else "{} is complete", day)
    if late:
        return say("{} is incomplete for {:,} of {}", day, late, many(total, "account"))
    if total == 2:
        return say("{} is complete for both accounts", day)
    return say("{} is complete for all {:,} accounts", day, total)


def clauses(seen: Overview) -> list[Clause]:
    """What needs attention, what waits, what is left; at most five."""
    found: list[Clause] = []
    if seen.silent > 1:
        found.append(Clause("failed", KINDS["ended"].said(days=number(seen.silent))))
    mine = [cause for cause in seen.causes if cause.mine and cause.kind != "ended"]
    if mine:
        accounts = len({appid for cause in mine for appid in cause.appids})
        needs = "{} needs action: {}" if accounts == 1 else "{} need action: {}"
        found.append(Clause("failed", say(needs, many(accounts, "account"), _shorts(mine))))
    found += [_clause(cause, seen.made) for cause in seen.causes if not cause.mine]
    if provisional := seen.counts.provisional:
        text = "the figures of {} can still change; they are stored as provisional"
        found.append(Clause("provisional", say(text, many(provisional, "interface-day"))))
    if seen.accounts and not seen.causes and not found:
        found.append(Clause("final", Titled(*TEXTS["all_there"])))
    return found[:5]


def _shorts(causes: list[Cause]) -> str:
    counted: dict[str, set[str]] = {}
    for cause in causes:
        counted.setdefault(cause.kind, set()).update(cause.appids)
    return series(
        say("{} {:,}", Titled(*KINDS[kind].short), len(appids)) for kind, appids in counted.items()
    )


def _clause(cause: Cause, now: float) -> Clause:
    count, until = len(cause.appids), moment(cause.latest, now)
    who, is_one = many(count, "account"), count == 1
    match cause.kind:
        case "quota" if cause.latest <= now:
            text = say("The quota of {} has been reset: run again", who)
        case "quota":
            waits = "{} waits for quota, until {}" if is_one else "{} wait for quota, until {}"
            text = say(waits, who, until)
        case "blocked":
            text = say(
                "WeChat has temporarily blocked interfaces of {}; the next run tries again", who
            )
        case "month":
            text = say("The monthly quota of {} is used up", who)
        case "late":
            text = say("WeChat is late with figures of {}", who)
        case "retry":
            has = (
                "{} has failed days; the next run tries again"
                if is_one
                else "{} have failed days; the next run tries again"
            )
            text = say(has, who)
        case _:
            days = many(sum(cause.days.values()), "interface-day")
            text = say("{} of {} not harvested yet", days, who)
    shapes = {"retry": "failed", "missing": "missing"}
    return Clause(shapes.get(cause.kind, "waiting"), text)


def figures(seen: Overview) -> list[Figure]:
    """The four figures: fresh, complete, when, and for how many accounts."""
    accounts = many(len(seen.expected), "account")
    interfaces = len(seen.interfaces)
    have, whole = seen.counts.stored, seen.counts.asked
    mine = [cause for cause in seen.causes if cause.mine]
    concerned = many(len({appid for cause in mine for appid in cause.appids}), "account")
    once_all = say("an account needs all {:,} interfaces", interfaces) if interfaces > 1 else ""
    missing = (
        say("{:,} of {:,} interface-days missing", whole - have, whole)
        if whole > have
        else say("{:,} interface-days", whole)
    )
    return [
        Figure(
            say("{} has arrived", day_of(seen)), number(seen.fresh), say("/ {}", accounts), once_all
        ),
        Figure(Titled(*TEXTS["history"]), share(have, whole), "", missing),
        _finish(seen),
        Figure(
            Titled(*TEXTS["person"]),
            number(len(mine)),
            say("thing" if len(mine) == 1 else "things"),
            say("of {}", concerned) if mine else say("nothing to do"),
        ),
    ]


def _finish(seen: Overview) -> Figure:
    """When all days are stored that no person must unblock."""
    label = Titled(*TEXTS["finished"])
    calls, blocked = many(seen.calls, "call"), many(seen.blocked, "call")
    if seen.silent > 1:
        return Figure(label, "—", say("run it first"), "")
    if not seen.calls and not seen.blocked:
        return Figure(label, say("Complete"), "", say("nothing left to call"))
    if not seen.calls:
        return Figure(label, "—", say("first remove the causes"), say("then {}", blocked))
    note = say("{} to make", calls)
    if seen.blocked:
        note = say("{}; {:,} more after the causes are removed", note, seen.blocked)
    if seen.finished is None or seen.days_left is None:
        return Figure(label, "—", say("the quota is not known"), note)
    if not seen.days_left:
        return Figure(label, say("Next run"), "", note)
    return Figure(label, short_day(seen.finished), say("in {}", many(seen.days_left, "day")), note)


def cause_title(cause: Cause, seen: Overview) -> str:
    """What a cause is, in one line."""
    if cause.kind == "quota" and cause.latest <= seen.made:
        return say("The quota has been reset: run again")
    names = series([title_of(name) for name, _ in cause.days.most_common(NAMED)])
    if (more := len(cause.days) - NAMED) > 0:
        names = say("{} and {:,} more", names, more)
    said = KINDS[cause.kind].said(names, ip=cause.ip, since=cause.since, days=number(seen.silent))
    return (
        said if cause.kind != "quota" else say("{} until {}", said, moment(cause.latest, seen.made))
    )
