"""The commands that send nothing to WeChat: plan and verify.

Rule: reads the ledger and the stored data, changes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from harvester.base.dates import (
    LATENCY,
    Estimate,
    Load,
    china,
    estimate,
    last_settled_day,
    quota_days,
)
from harvester.cli import COMPLETE, FAILED_WINDOWS, STOPPED
from harvester.cli.ledger_sinks import as_known, sink_named
from harvester.cli.terminal import duration, many, notify, plain, readable, show_json, show_line
from harvester.engine.limiter import Rate
from harvester.engine.options import Options
from harvester.engine.planner import Known, demands, known
from harvester.engine.scope import Scope
from harvester.errors import NoLedgerError, UsageError
from harvester.ledger import Ledger, PostgresLedger, SqliteLedger
from harvester.sinks.base import Sink, spec_of
from harvester.texts import say
from harvester.upkeep.copy import at_ledger
from harvester.upkeep.verify import Verified, verify
from harvester.wechat.endpoint import load_of

# plan


async def show_plan(
    scope: Scope, options: Options, ledger: Ledger | None, now: float, *, as_json: bool = False
) -> int:
    """Calls, days of quota and hours of what a run would do."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(ledger or nullcontext())
        except NoLedgerError:  # the first run makes it
            ledger = None
        calls, loads, total = await _counts(scope, options, ledger, now)
    rate = Rate.parse(options.rate)
    most = min(options.account_concurrency or options.concurrency, options.concurrency)
    caps = [min(most, scope.caps.get(appid, most)) for appid in scope.accounts]
    takes = estimate(calls, rate.per_second, options.concurrency, caps)
    if as_json:
        show_json(_plan_object(scope, options, now, takes, loads, total))
        return COMPLETE
    names = ", ".join(endpoint.name for endpoint in scope.endpoints)
    show_line(
        "{}: {} to {}, {}", names, scope.begin, scope.end, many(len(scope.accounts), "account")
    )
    done = total - takes.calls
    more = say(" ({:,} are done already)", done) if done > 0 else ""
    show_line("calls   {:,}{}", takes.calls, more)
    show_line("time    {}", _time(takes, rate, options))
    show_line("quota   {}", _quota(loads, options, now))
    for note in scope.notes:
        show_line("note    {}", note)
    hours = {endpoint.settled_hour for endpoint in scope.endpoints}
    for hour in sorted(hours):
        if scope.end > last_settled_day(now, hour):
            show_line("wait    {} is not settled before {:02}:00 in China", scope.end, hour)
    show_line("nothing was sent")
    return COMPLETE


def _plan_object(
    scope: Scope,
    options: Options,
    now: float,
    takes: Estimate,
    loads: Collection[tuple[str, Load]],
    total: int,
) -> dict[str, Any]:
    """The same as JSON has it; quota_days: None without a daily quota, or if there is no end."""
    days = None
    if options.daily_quota is not None:
        needed = [quota_days(load, options.daily_quota, china(now).date()) for _, load in loads]
        days = None if None in needed else max([each or 0 for each in needed], default=0)
    return {
        "accounts": len(scope.accounts),
        "endpoints": [endpoint.name for endpoint in scope.endpoints],
        "begin_date": str(scope.begin),
        "end_date": str(scope.end),
        "calls": takes.calls,
        "done": total - takes.calls,
        "seconds": round(takes.seconds, 1),
        "seconds_by_rate": round(takes.by_rate, 1),
        "daily_quota": options.daily_quota,
        "quota_days": days,
        "notes": list(scope.notes),
    }


async def _counts(
    scope: Scope, options: Options, ledger: Ledger | None, now: float
) -> tuple[list[list[int]], set[tuple[str, Load]], int]:
    """The calls by account and interface, their load on the quotas, and the windows in all."""
    has: Known = await known(ledger, now, list(scope.accounts))
    calls, loads, total = [], set[tuple[str, Load]](), 0
    async for appid, listed in demands(scope, ledger, now, anew=options.refresh, counts_only=True):
        row = []
        for endpoint, _, _, need in listed:
            row.append(need.left)
            spent = has.spent.get((appid, endpoint.name), 0)
            loads.add((endpoint.name, load_of(endpoint, need.days[1], need.left, spent, now)))
            total += need.planned
        calls.append(row)
    return calls, loads, total


def _time(takes: Estimate, rate: Rate, options: Options) -> str:
    """How long it takes, and what decides that."""
    if takes.seconds <= takes.by_rate:
        return say(
            "{} at {} an account, all accounts at once (assumed: {} s an answer)",
            duration(takes.seconds),
            rate,
            LATENCY,
        )
    flight = many(options.concurrency, "request")
    if options.account_concurrency:
        flight += say(" in flight, {:,} an account", options.account_concurrency)
    else:
        flight += say(" in flight")
    return say(
        "{} with {} (assumed: {} s an answer); the rate of {} an account alone would allow {}",
        duration(takes.seconds),
        flight,
        LATENCY,
        rate,
        duration(takes.by_rate),
    )


def _quota(loads: Collection[tuple[str, Load]], options: Options, now: float) -> str:
    """The calls as days of the daily quota, and when they are over."""
    daily, today = options.daily_quota, china(now).date()
    if daily is None:
        return say("WeChat publishes no daily quota; --daily-quota N shows how many days it takes")
    needed = {(name, load): quota_days(load, daily, today) for name, load in loads}
    each = say("at {:,} calls a day for one interface of one account", daily)
    never = sorted({name for (name, _), days in needed.items() if days is None})
    if never:
        return say(
            "{}: never through {}; what can still change takes as many", ", ".join(never), each
        )
    most = max((days or 0 for days in needed.values()), default=0)
    finished = today + timedelta(days=max(most - 1, 0))
    return say("{} {}; run each day, it is finished on {}", many(most, "day"), each, finished)


# verify


async def show_verification(
    ledger: SqliteLedger | PostgresLedger, sinks: Sequence[Sink], *, as_json: bool = False
) -> int:
    """Compare each sink with the ledger; sinks: as they are reached from here."""
    show = _hide if as_json else _show
    async with ledger:
        known = await ledger.sinks()
        if not known:
            raise UsageError("{} knows of no sink; nothing was harvested yet", ledger.where)
        given = as_known(ledger, known, sinks)
        each_of = [
            await _verified(ledger, name, copied, given, show) for name, copied in known.items()
        ]
    found = [each for each in each_of if each is not None]
    differences = [each for each in found if each.differences]
    unread = [each for each in found if each.unread]
    for each in differences:
        shown = each.differences[: -1 if each.broken else None]  # why it is broken is shown below
        for difference in shown:
            show("{}: {}", difference.where, difference.what)
    for each in unread:
        notify(plain(say("{} was not verified: {}", each.where, each.unread)))
    if len(unread) < len(found):
        show("different from what was fetched" if differences else "exactly what was fetched")
    specs = [spec_of(name, ledger.path) for name in known]
    commands = _commands(ledger, dict(zip(specs, each_of, strict=True)), given)
    if commands:
        show("what to type, in this order; then the same run again:")
    for command in commands:
        show("  {}", command)
    if as_json:
        objects = [*map(_verified_object, specs, each_of)]
        show_json({"sinks": objects, "commands": commands})
    if unread:
        return STOPPED
    return FAILED_WINDOWS if differences else COMPLETE


def _commands(
    ledger: SqliteLedger | PostgresLedger,
    found: Mapping[str, Verified | None],
    given: Mapping[str, Sink],
) -> list[str]:
    """What to type about the differences that were found in sinks, which are named by their specs.

    A file that cannot be read is filled anew from a sink that is as it was fetched.  Else a new
    ledger is made, and a run asks again for what differs.
    """
    at = shlex.split(at_ledger(ledger))
    sound = [each for each in found.values() if each and not (each.differences or each.unread)]
    commands: list[list[str]] = []
    differ = False
    for spec, each in found.items():
        differences = each.differences if each is not None else []
        scheme, _, place = spec.partition(":")
        if each is not None and each.broken and sound and scheme == "sqlite":
            commands.append(["harvester", "sink", "remove", spec, *at])
            if Path(place).exists():
                commands.append(["mv", place, f"{place}.damaged"])
            commands.append(["harvester", "sink", "add", spec, *at])
            continue
        strangers = sorted({each.stranger for each in differences} - {""})
        commands += [["harvester", "forget", "--appid", each, "--yes", *at] for each in strangers]
        differ = differ or any(not each.stranger for each in differences)
    if differ:
        named = [] if ledger.path is not None and not given else [*found]
        sinks = [word for spec in named for word in ("--sink", spec)]
        commands.append(["harvester", "rebuild", *at, *sinks])
    return [*dict.fromkeys(map(shlex.join, commands))]


def _show(template: str, *values: object) -> None:
    indent = "  " if template.startswith("  ") else ""
    show_line(indent + readable(template, *values))


def _hide(*_: object) -> None:
    """Nothing: it is in the JSON."""


def _verified_object(name: str, found: Verified | None) -> dict[str, Any]:
    """What was found in a sink as JSON has it; state: exact, different, unread or not_verified."""
    if found is None:
        return {"sink": name, "state": "not_verified"}
    state = "different" if found.differences else "unread" if found.unread else "exact"
    return {
        "sink": name,
        "state": state,
        "records": found.records,
        "unknown_windows": found.unknown,
        "counted_windows": found.counted,
        "read_to_its_end": not (found.broken or found.unread),
        "differences": [{"where": each.where, "what": each.what} for each in found.differences],
        "unread": found.unread,
    }


async def _verified(
    ledger: SqliteLedger | PostgresLedger,
    name: str,
    copied: str,
    given: Mapping[str, Sink],
    show: Callable[..., None],
) -> Verified | None:
    """What was found in a sink, as far as that can be shown at once; None if there is no way."""
    where = spec_of(name, ledger.path)
    try:
        sink = sink_named(ledger, name, given)
    except UsageError as exc:
        return Verified(where, unread=str(exc))
    if sink is None or sink.scan is None:
        show("{} cannot be read back; it was not verified", where)
        return None
    found = await verify(ledger, name, sink, copied)
    if not found.unread:
        read = (
            say("it was not read to its end: {}", found.differences[-1].what)
            if found.broken
            else say("{} read", many(found.records, "record"))
        )
        show("{}: {}", where, read)
    if found.unknown:
        text = say("{} of which the ledger knows nothing yet", many(found.unknown, "window"))
        show("  {}; the next run replaces them", text)
    if found.counted:
        text = say("{} were copied from another sink", many(found.counted, "window"))
        show("  {}; the records of these were counted, not compared", text)
    return found
