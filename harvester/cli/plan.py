"""The command ``plan``: what a run would do."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AsyncExitStack
from datetime import timedelta
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
from harvester.cli.exit_status import COMPLETE
from harvester.cli.terminal import duration, many, show_json, show_line, show_text
from harvester.config.place import Place, outside
from harvester.engine.limiter import Rate
from harvester.engine.options import Options
from harvester.engine.planner import UsedQuota, demands, used_quota
from harvester.engine.scope import Scope
from harvester.errors import NoLedgerError
from harvester.ledger import Ledger
from harvester.texts import say
from harvester.wechat.endpoint import load_of


async def show_plan(
    place: Place, scope: Scope, options: Options, now: float, *, as_json: bool = False
) -> int:
    """Calls, days of quota and hours of what a run would do."""
    async with AsyncExitStack() as stack:
        ledger: Ledger | None
        try:
            ledger = await stack.enter_async_context(place.ledger())
        except NoLedgerError:  # the first run makes it
            ledger = None
        calls, loads, total = await _counts(scope, options, ledger, now)
        notes = [*scope.notes, *([] if ledger is None else await outside(ledger))]
    rate = options.rate
    most = min(options.account_concurrency or options.concurrency, options.concurrency)
    caps = [min(most, scope.caps.get(appid, most)) for appid in scope.accounts]
    takes = estimate(calls, rate.per_second, options.concurrency, caps)
    if as_json:
        plan = _plan_object(scope, options, now, takes, loads, total)
        show_json({**plan, "notes": notes})
        return COMPLETE
    names = ", ".join(endpoint.name for endpoint in scope.endpoints)
    show_text(
        "{}: {} to {}, {}", names, scope.begin, scope.end, many(len(scope.accounts), "account")
    )
    done = total - takes.calls
    more = say(" ({:,} are done already)", done) if done > 0 else ""
    show_line("calls   {:,}{}", takes.calls, more)
    show_line("time    {}", _time(takes, rate, options))
    show_line("quota   {}", _quota(loads, options, now))
    for note in notes:
        show_text("note    {}", note)
    hours = {endpoint.settled_hour for endpoint in scope.endpoints}
    for hour in sorted(hours):
        if scope.end > last_settled_day(now, hour):
            show_line(
                "wait    the figures of {} are not ready before {:02}:00 in China",
                scope.end,
                hour,
            )
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
    }


async def _counts(
    scope: Scope, options: Options, ledger: Ledger | None, now: float
) -> tuple[list[list[int]], set[tuple[str, Load]], int]:
    """The calls by account and interface, their load on the quotas, and the windows in all."""
    has: UsedQuota = await used_quota(ledger, now, list(scope.accounts))
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
    if takes.seconds <= takes.by_rate:
        return say(
            "{} at {} per account, all accounts at once (assumed: {} s per answer)",
            duration(takes.seconds),
            rate,
            LATENCY,
        )
    flight = many(options.concurrency, "request")
    if options.account_concurrency:
        flight += say(" in flight, {:,} per account", options.account_concurrency)
    else:
        flight += say(" in flight")
    return say(
        "{} with {} (assumed: {} s per answer); limited only by the rate of {} per account, it"
        " would take {}",
        duration(takes.seconds),
        flight,
        LATENCY,
        rate,
        duration(takes.by_rate),
    )


def _quota(loads: Collection[tuple[str, Load]], options: Options, now: float) -> str:
    daily, today = options.daily_quota, china(now).date()
    if daily is None:
        return say("WeChat publishes no daily quota; --daily-quota N shows how many days it takes")
    needed = {(name, load): quota_days(load, daily, today) for name, load in loads}
    each = say("at {:,} calls per day for each interface of each account", daily)
    never = sorted({name for (name, _), days in needed.items() if days is None})
    if never:
        return say(
            "{}: never finished {}; provisional figures alone use up these calls",
            ", ".join(never),
            each,
        )
    most = max((days or 0 for days in needed.values()), default=0)
    finished = today + timedelta(days=max(most - 1, 0))
    return say(
        "{} {}; with a run each day, everything is harvested on {}",
        many(most, "day"),
        each,
        finished,
    )
