"""The command ``check``: what each account may do, from one call of each interface.

Rule: stores nothing; sends as a run does, with the same pace and the same tokens.

A range of many days is asked for with a quota of one call a day: so the engine sends the newest
window of each interface, and no other request of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from harvester import events
from harvester.api import Harvest, resolve
from harvester.base.chinese import Titled
from harvester.base.dates import next_quota_day, quota_day
from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS, INTERRUPTED, MUST_WAIT, STOPPED
from harvester.cli.language import label
from harvester.cli.session import conduct
from harvester.cli.terminal import (
    many,
    notify,
    plain,
    show_json,
    show_line,
    show_rows,
    show_text,
)
from harvester.config.place import Place
from harvester.config.settings import Keywords
from harvester.errors import NoLedgerError, RunError, UsageError
from harvester.events import Code, Event, Observer, Report, State
from harvester.ledger.base import Key
from harvester.model import Account, Batch, with_rid
from harvester.report.causes import KINDS, Cause
from harvester.report.check import (
    UNKNOWN,
    USABLE,
    WAITING,
    Access,
    AccountAccess,
    by_kind,
    gravest,
    words,
)
from harvester.sinks.base import Checkpoint, Fence, Sink, Written
from harvester.texts import say

START = "yesterday-62d"
"""From here on to yesterday there is a whole month, whatever the day."""
SAID_EVERY = 10.0
"""Seconds between two lines of progress."""

STATUS = {USABLE: COMPLETE, WAITING: MUST_WAIT}
COLUMNS = say("account"), say("name"), say("token"), say("IP list"), say("usable"), say("left")
SIGNS = {"ok": say("ok"), "none": say("no"), "missing": say("no"), "unknown": ""}


class _Nothing(Sink):
    identity = "nothing"
    listed = False

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        return {}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        return Written()

    async def close(self) -> None:
        """Nothing to release."""


class Asked(NamedTuple):
    """What is to be checked; usual: the interfaces that the configuration names."""

    accounts: Sequence[Account]
    typed: Sequence[str]
    usual: Sequence[str]
    daily_quota: int | None = None


def show_check(
    place: Place,
    asked: Asked,
    options: Mapping[str, Any],
    *,
    as_json: bool,
    everything: bool = False,
) -> int:
    """Check the accounts, show what is wrong with which, and return the exit status."""
    access = Access()
    wanted, spent = asyncio.run(_plan(place, asked))
    for event in spent:
        access.wait(event)
    waiting = {(event.appid, event.endpoint) for event in spent}
    groups = _groups(asked.accounts, wanted, waiting)
    harvests = _harvests(place, groups, options)

    async def begin(observe: Observer, stop: asyncio.Event) -> Report:
        progress = _Progress(access, sum(map(len, wanted.values())))

        def observed(event: Event) -> None:
            for each in (observe, access, progress):
                each(event)

        return await _sent(harvests, observed, stop)

    ending = conduct(begin, quiet=True)
    if ending.problem:
        notify(ending.problem, level="error")
    accounts = access.accounts(wanted, {each.appid: each.name for each in asked.accounts})
    if as_json:
        state = gravest([each.state for each in accounts])
        content = {"state": state, "accounts": [each.to_dict() for each in accounts]}
        show_json({**content, "notes": [ending.problem] if ending.problem else []})
    elif not ending.problem:
        _show(accounts, everything=everything)
    if ending.problem or ending.report.state == State.INTERRUPTED:
        return STOPPED if ending.problem else INTERRUPTED
    return STATUS.get(gravest([each.state for each in accounts]), FAILED_WINDOWS)


async def _sent(harvests: Sequence[Harvest], observe: Observer, stop: asyncio.Event) -> Report:
    report = Report()
    for harvest in harvests:
        try:
            report = await harvest.run(observe, stop)
        except RunError:
            if not stop.is_set():
                raise
            report = Report(state=State.INTERRUPTED)
        if report.state == State.INTERRUPTED:
            break
    return report


async def _plan(place: Place, asked: Asked) -> tuple[dict[str, list[str]], list[events.Deferred]]:
    now = time.time()
    known: dict[str, list[str]] = {}
    spent: dict[Key, int] = {}
    used_up: dict[Key, float] = {}
    try:
        async with place.ledger() as ledger:
            for appid, name in await ledger.asked():
                known.setdefault(appid, []).append(name)
            spent = await ledger.spent(quota_day(now))
            used_up = {key: said.until for key, said in (await ledger.exhausted(now)).items()}
    except NoLedgerError:
        pass
    if asked.daily_quota is not None:
        full = [key for key, calls in spent.items() if calls >= asked.daily_quota]
        used_up = {**dict.fromkeys(full, next_quota_day(now)), **used_up}
    wanted = {
        each.appid: [made.name for made in place.interfaces(_names(each.appid, asked, known))]
        for each in asked.accounts
    }
    today = quota_day(now)
    why = say("the ledger shows that today's quota is used up; no call was sent")
    waits = [
        events.Deferred(appid, name, today, today, 1, used_up[appid, name], why)
        for appid, names in wanted.items()
        for name in names
        if (appid, name) in used_up
    ]
    return wanted, waits


def _names(appid: str, asked: Asked, known: Mapping[str, Sequence[str]]) -> Sequence[str]:
    names = asked.typed or known.get(appid) or asked.usual
    if not names:
        raise UsageError(
            "no interface was named, and the ledger has none for {}; name interfaces or groups,"
            " for example: harvester check users --appid {}",
            appid,
            appid,
        )
    return names


def _groups(
    accounts: Sequence[Account], wanted: Mapping[str, Sequence[str]], without: Collection[Key]
) -> dict[tuple[str, ...], list[Account]]:
    """The accounts by the interfaces that they are asked for: each group is a run."""
    groups: dict[tuple[str, ...], list[Account]] = {}
    for account in accounts:
        appid = account.appid
        names = tuple(name for name in wanted[appid] if (appid, name) not in without)
        if names:
            groups.setdefault(names, []).append(account)
    return groups


def _harvests(
    place: Place, groups: Mapping[tuple[str, ...], Sequence[Account]], options: Mapping[str, Any]
) -> list[Harvest]:
    """Runs that send one request for each interface of each account of a group."""
    given = {
        **options,
        "attempts": 1,
        "ask_quota": True,
        "daily_quota": 1,
        "ledger": None,
        "order": "newest",
    }
    keywords, found = cast("Keywords", given), []
    for names, accounts in groups.items():
        endpoints = place.interfaces(names)
        asked = resolve(accounts, endpoints, START, "yesterday", keywords)
        found.append(Harvest(*asked, [_Nothing()], keywords))
    return found


class _Progress:
    """A line now and then on standard error; total: account–interface pairs."""

    def __init__(self, access: Access, total: int) -> None:
        self._access, self._total = access, total
        self._said = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.Notice) and event.code in (
            Code.UNREACHABLE,
            Code.REACHABLE,
        ):
            notify(event.text)
        now = time.monotonic()
        if now - self._said >= SAID_EVERY:
            self._said = now
            notify(
                "{:,} of {} answered",
                self._access.answered,
                many(self._total, "call"),
                level="info",
            )


def _show(accounts: Sequence[AccountAccess], *, everything: bool) -> None:
    """What is wrong, with the accounts that somebody must see to; then how many are usable."""
    known = {each.appid: each for each in accounts}
    for cause in by_kind([cause for each in accounts for cause in each.causes()]):
        _show_cause(cause)
        if cause.mine or everything:
            _show_accounts([known[appid] for appid in sorted(cause.appids)])
        show_line()
    if everything and (usable := [each for each in accounts if not each.causes()]):
        show_line("usable")
        _show_accounts(usable)
        show_line()
    numbers = Counter([each.state for each in accounts])
    text = say("{:,} of {} usable", numbers[USABLE], many(len(accounts), "account"))
    text += say(", {:,} must wait", numbers[WAITING]) if numbers[WAITING] else ""
    show_text(
        text + (say(", {:,} not known: check again", numbers[UNKNOWN]) if numbers[UNKNOWN] else "")
    )


def _show_accounts(accounts: Sequence[AccountAccess]) -> None:
    rows = [[label(title) for title in COLUMNS]]
    for each in accounts:
        left = "" if each.left is None else f"{each.left:,}"
        usable = f"{each.usable}/{len(each.interfaces)}"
        signs = (label(SIGNS[sign]) for sign in (each.token, each.allow_list))
        rows.append([each.appid, plain(each.name), *signs, usable, left])
    show_rows(rows, "  ")


def _show_cause(cause: Cause) -> None:
    text, advice = words(cause)
    short = say("check again") if cause.kind == "retry" else Titled(*KINDS[cause.kind].short)
    show_text("{}: {} ({})", short, text, many(len(cause.appids), "account"))
    show_text("  {}", advice)
    for message, rid in cause.messages.items():
        show_text("  {}", with_rid(message, rid))
