"""The messages of the daily service: the digest of a day, what a person must do, what is over.

Rule: pure; from an `Overview` to texts in one language, short enough for a chat robot.

A cause is alerted once for each account that it concerns, or for each interface of it if it is
about that, and again only for others; its end is also reported once.  An interface that has its
newest figures is fine, even if a former cause remains: days that failed once are requested again
later.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from itertools import chain
from typing import NamedTuple

from harvester.base.chinese import Titled, series, shown
from harvester.base.dates import ONE_DAY
from harvester.errors import without_passwords
from harvester.ledger.reach import LATE
from harvester.model import Endpoint, many
from harvester.report import Overview
from harvester.report import summary as verdict
from harvester.report.causes import KINDS, WHAT_IS_MISSING, Cause, Kind
from harvester.report.days import stale_since
from harvester.report.missing import NOT_ASKED
from harvester.report.overview import AccountView, Row
from harvester.report.texts import moment as moment_of
from harvester.report.texts import title_of
from harvester.service.mail import MORE
from harvester.service.schedule import moment
from harvester.service.state import OF_RUNS, Alert, Alerts, Subject
from harvester.texts import Text, joined, say

LONGEST = 1900
"""Bytes of a body: WeCom's robot takes 2,048."""
LONGEST_REASON = 300
"""Characters of a message that is passed on."""
NAMED = 3
"""Accounts of a cause that are named."""
STALE, NEVER = "stale", "never"
OF_TIME = Alert(STALE), Alert(NEVER)
"""What time alone makes: figures that are too old, and interfaces that never had any."""

_ALERTS = {
    **KINDS,
    STALE: Kind(
        STALE,
        True,
        ("未更新", "stale"),
        ("数据未更新", "Stale figures"),
        (
            "超过规定时间没有新数据，请查看状态页。",
            "Nothing new for longer than allowed; see the page.",
        ),
        command=WHAT_IS_MISSING,
        level="warning",
    ),
    NEVER: Kind(
        NEVER,
        True,
        ("从未取到", "never came"),
        ("从未取到数据：{interfaces}", "No figures so far: {interfaces}"),
        (
            "超过规定时间仍没有任何数据，请查看状态页。",
            "None came for longer than allowed; see the page.",
        ),
        command=WHAT_IS_MISSING,
        level="warning",
    ),
    OF_RUNS: Kind(
        OF_RUNS,
        True,
        ("运行出错", "runs fail"),
        ("运行出错（{since}）", "Runs end with an error ({since})"),
        ("", ""),
        command="run --config {config}",
    ),
}


class Notification(NamedTuple):
    """A message; level: ``failure``, ``warning`` or ``success``, as Apprise has it."""

    title: str
    body: str
    level: str = "success"


class Where(NamedTuple):
    """Where the recipient continues: the pages, and the configuration of the commands.

    url: empty if there is none.  lists: whether the configuration has a file of accounts.
    """

    url: str = ""
    config: str = "harvester.toml"
    lists: bool = True


NOWHERE = Where()


class Problem(NamedTuple):
    """Why a run ended with an error; false if it did not; kind: independent of the text."""

    kind: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.kind)


def alerts_of(seen: Overview, at: time, stale_after: float) -> Alerts:
    """What a person must act on now."""
    found: defaultdict[Alert, set[Subject]] = defaultdict(set)
    endpoints = {view.name: view.endpoint for view in seen.interfaces}
    for account in seen.accounts:
        explained = set[str]()
        for reason in account.reasons:  # of one that is here what it lacks of the past is no alert
            if reason.mine and (account.late or reason.since):
                alert = Alert(reason.kind, reason.ip or reason.since)
                names = [*reason.days] if KINDS[reason.kind].of_interfaces else [""]
                found[alert].update(Subject(account.appid, name) for name in names)
                explained.update(reason.days)
        if _is_barred(account):
            continue
        for row in account.rows:
            if row.endpoint in explained or row.late is None:
                continue
            if not _is_overdue(seen, row, endpoints.get(row.endpoint), at, stale_after):
                continue
            if row.late and row.reach.answered is None:
                found[Alert(NEVER)].add(Subject(account.appid, row.endpoint))
            else:
                found[Alert(STALE)].add(Subject(account.appid))
    return {alert: tuple(sorted(whom)) for alert, whom in sorted(found.items())}


def barred(seen: Overview) -> frozenset[str]:
    """The accounts of which nothing can be harvested before a person acts.

    Also one whose every interface that lacks days is refused by itself.
    """
    return frozenset(
        each.appid
        for each in seen.accounts
        if each.late and (_is_barred(each) or all(reason.mine for reason in each.reasons))
    )


def tried(seen: Overview) -> frozenset[str]:
    """The accounts that lack only what was asked for several times without success."""
    return frozenset(
        each.appid
        for each in seen.accounts
        if each.late and all(reason.kind == "retry" for reason in each.reasons)
    )


def _is_barred(account: AccountView) -> bool:
    return any(each.mine and not KINDS[each.kind].of_interfaces for each in account.reasons)


def _is_overdue(
    seen: Overview, row: Row, endpoint: Endpoint | None, at: time, stale_after: float
) -> bool:
    """Whether figures are missing though they were due long ago.

    A harvest a day is 24 hours behind the one before: what is more than that, of ``stale_after``,
    is the time that the missing one has.  Figures that WeChat calls late have all of it.
    """
    since = stale_since(
        row.reach,
        endpoint,
        seen.made,
        newest=max(stale_after - 86_400.0, 0.0),
        late=stale_after,
        at=lambda day: moment(day + ONE_DAY, at),
    )
    return since > 0


class Change(NamedTuple):
    """What is new, what is over, and what is alerted from now on."""

    raised: Alerts
    over: Alerts
    alerts: Alerts


def change(before: Alerts, now: Alerts, seen: Overview) -> Change:
    """What has changed.

    An alert is over for an interface once its newest figures are there, and for an account once
    those of any interface are.  Until then it is kept, and not reported; neither is anything that
    is no longer harvested.
    """
    accounts = {each.appid: each for each in seen.expected}
    raised, over, alerts = {}, {}, {alert: set(whom) for alert, whom in now.items()}
    for alert, whom in now.items():
        if new := tuple(each for each in whom if each not in before.get(alert, ())):
            raised[alert] = new
    for alert, whom in before.items():
        gone = [each for each in whom if each not in now.get(alert, ())]
        late = {each: _is_late(alert.kind, each, accounts) for each in gone}
        if ended := tuple(each for each in gone if late[each] is False):
            over[alert] = ended
        if kept := [each for each in gone if late[each]]:
            alerts.setdefault(alert, set()).update(kept)
    return Change(
        raised, over, {alert: tuple(sorted(whom)) for alert, whom in sorted(alerts.items())}
    )


def _is_late(kind: str, whom: Subject, accounts: Mapping[str, AccountView]) -> bool | None:
    """Whether what an alert is about lacks its newest figures; None if it is not harvested."""
    if kind == OF_RUNS:
        return False
    account = accounts.get(whom.appid)
    if account is None:
        return None
    if kind == STALE:  # an account that cannot be harvested at all is not called stale
        return bool(account.late) and _is_barred(account)
    late = {row.endpoint: row.late for row in account.rows}
    return late.get(whom.interface) if whom.interface else False not in late.values()


def of_runs(before: Alerts, host: str, reported: Problem | None) -> Alerts:
    """The alerts that are about runs: those of other machines are unchanged.

    reported: why runs end with an error on this machine, None if unknown.  A kind of error keeps
    its first text.
    """
    found = {alert: whom for alert, whom in before.items() if alert.kind == OF_RUNS}
    if reported is None:
        return found
    if reported:
        found.setdefault(Alert(OF_RUNS, host, reported.kind), (Subject(said=reported.text),))
        return found
    return {alert: whom for alert, whom in found.items() if alert.about != host}


def of_machine(host: str, now: Problem, before: Problem) -> Change:
    """What has changed between two problems of a machine of which the ledger knows nothing."""
    raised, over = of_runs({}, host, now), of_runs({}, host, before)
    return Change(raised, over if not now else {}, {})


def message_of(
    changed: Change, seen: Overview, lang: str, where: Where = NOWHERE
) -> Notification | None:
    """The message about a change; None if there is none."""
    raised = [
        line
        for alert, whom in changed.raised.items()
        for line in (_raised(alert, whom, seen), *_explained(alert, whom, seen, where))
    ]
    over = dict.fromkeys([_over(alert, whom, seen) for alert, whom in changed.over.items()])
    if not raised and not over:
        return None
    whom = _accounts(chain(*(changed.raised or changed.over).values()))
    accounts = many(len(whom), "account")
    if raised and whom:
        title = say("{} needs action" if len(whom) == 1 else "{} need action", accounts)
    elif whom:
        title = say("Recovered: {}", accounts)
    else:
        title = say("Runs end with an error" if raised else "Runs succeed again")
    levels = {_ALERTS[alert.kind].level for alert in changed.raised}
    level = next((each for each in ("failure", "warning") if each in levels), "success")
    return notification(title, [*raised, *over], lang, where, level)


def _raised(alert: Alert, whom: tuple[Subject, ...], seen: Overview) -> str:
    known, title = _ALERTS[alert.kind], _title(alert, whom)
    if alert.kind == OF_RUNS:
        return say("● {}: {}", title, without_passwords(whom[0].said))
    said = _said_by_wechat(alert.kind, whom, seen) if known.quoted else ""
    advice = said or Titled(*known.advice)
    return say("● {}: {}.  {}", title, _named(_accounts(whom), seen), advice)


def _explained(
    alert: Alert, whom: tuple[Subject, ...], seen: Overview, where: Where
) -> Iterable[str]:
    kind, known = alert.kind, _ALERTS[alert.kind]
    if kind != OF_RUNS:
        rows = _lacking(kind, whom, seen)
        yield MORE + _since_when([row for _, row in rows])
        if kind in (STALE, NEVER) and (why := _why(rows, len(_accounts(whom)))):
            yield MORE + why
        said_already = known.quoted or kind == NOT_ASKED  # by the line above
        if not said_already and (said := _said_by_wechat(kind, whom, seen)):
            yield MORE + said
    first = whom[0]
    only = f" --only {first.appid}" if where.lists else ""
    shown = known.command.format(
        config=shlex.quote(where.config), only=only, interface=first.interface
    )
    yield f"{MORE}$ harvester {shown}"


def _lacking(kind: str, whom: Iterable[Subject], seen: Overview) -> list[tuple[AccountView, Row]]:
    appids = {each.appid for each in whom}
    named = {each.interface for each in whom} - {""}
    return [
        (account, row)
        for account in seen.accounts
        if account.appid in appids
        for row in account.rows
        if (row.endpoint in named if named else row.late or (kind == STALE and _late_day(row)))
    ]


def _since_when(rows: Iterable[Row]) -> str:
    found = {row.endpoint: _since(row) for row in rows}
    days = {name: day for name, day in found.items() if day is not None}
    titles = _cut_short([title_of(name) for name in sorted(days or found)])
    if not days:
        return say("Never arrived: {}", titles)
    return say("Missing since {}: {}", min(days.values()), titles)


def _cut_short(texts: Sequence[str]) -> str:
    shown, more = series(texts[:NAMED]), len(texts) - NAMED
    return say("{} and {}", shown, many(more, "other")) if more > 0 else shown


def _since(row: Row) -> date | None:
    """From which day on figures are lacking; None if none were ever answered."""
    reach = row.reach
    if (answered := reach.answered) is None:
        return None
    if late := _late_day(row):
        return late
    return reach.since(answered) if reach.at(answered) == LATE else answered + ONE_DAY


def _late_day(row: Row) -> date | None:
    """The first late day of an interface that has its newest figures; None if there is none."""
    return None if row.late is not False else next(row.reach.runs(LATE), (None,))[0]


def _why(rows: Iterable[tuple[AccountView, Row]], count: int) -> str:
    """Why these figures are lacking, if that is known of most of so many accounts; else empty."""
    found: defaultdict[str, list[Subject]] = defaultdict(list)
    for account, row in rows:
        since = _since(row) or date.min  # what is lacking before it is no alert
        for reason in account.reasons:
            known = not reason.mine and reason.kind != "missing"
            if known and row.endpoint in reason.days and reason.end >= since:
                found[reason.kind].append(Subject(account.appid, row.endpoint))
    if 2 * len(_accounts(chain(*found.values()))) <= count:
        return ""
    return say("Reason: {}", series(_title(Alert(kind), whom) for kind, whom in found.items()))


def _said_by_wechat(kind: str, whom: Iterable[Subject], seen: Overview) -> str:
    """The first message of a cause, unless it only states that the cause exists."""
    appids = {each.appid for each in whom}
    found = (
        reason.reason
        for account in seen.accounts
        if account.appid in appids
        for reason in account.reasons
        if reason.kind == kind
    )
    return without_passwords(next(found, ""))[:LONGEST_REASON]


def _over(alert: Alert, whom: Iterable[Subject], seen: Overview) -> str:
    title = _title(alert, whom)
    if alert.kind == OF_RUNS:
        return say("○ Resolved: {}", title)
    return say("○ Resolved: {}, {}", title, _named(_accounts(whom), seen))


def _title(alert: Alert, whom: Iterable[Subject]) -> str:
    names = dict.fromkeys(each.interface for each in whom)
    named = series(title_of(name) for name in names if name)
    return _ALERTS[alert.kind].said(named, ip=alert.about, since=alert.about)


def _accounts(whom: Iterable[Subject]) -> list[str]:
    return [*dict.fromkeys(each.appid for each in whom if each.appid)]


def _named(appids: Iterable[str], seen: Overview) -> str:
    names = {account.appid: account.name for account in seen.accounts if account.name}
    return _cut_short([f"{names[a]} ({a})" if a in names else a for a in appids])


def digest(
    seen: Overview, due: date, again: float, lang: str, where: Where = NOWHERE
) -> Notification:
    """The message after the harvest of a day; again: a Unix time, 0 if nothing must wait."""
    total = len(seen.expected)
    day = Titled(f"{due.month}月{due.day}日", f"{due:%Y-%m-%d}")
    title = say("{}: {}", day, verdict.headline(seen))
    lines = [say("Arrived: {:,} of {}", seen.fresh, many(total, "account"))]
    if empty := _empty(seen):
        lines.append(empty)
    lines += [_missing(cause, seen) for cause in seen.causes]
    if again > seen.made:
        lines.append(say("Next automatic attempt: {}", moment_of(again, seen.made)))
    if seen.quotas:
        lines.append(_quotas(seen))
    if seen.accounts:
        lines += map(_figure, verdict.figures(seen)[1:3])
    return notification(title, lines, lang, where, "success" if seen.fresh == total else "warning")


def _empty(seen: Overview) -> str:
    found: defaultdict[str, int] = defaultdict(int)
    for account in seen.expected:
        for row in account.rows:
            found[row.endpoint] += row.empty
    named = [say("{} ({:,})", title_of(name), count) for name, count in found.items() if count]
    return (
        say("No record yet, will be requested again (number of accounts): {}", _cut_short(named))
        if named
        else ""
    )


def _missing(cause: Cause, seen: Overview) -> str:
    title = verdict.cause_title(cause, seen)
    if cause.kind == "retry":
        title = say("Not finished yet, will be retried automatically")
    days, shape = sum(cause.days.values()), "●" if cause.mine else "○"
    line = say("{} {}: {}", shape, title, _named(cause.appids, seen))
    if cause.since or not days:  # nothing was asked for, and so it is not missing
        return line
    return say("{} ({} missing)", line, many(days, "interface-day"))


def _figure(figure: verdict.Figure) -> str:
    text = figure.value
    if figure.unit:
        text = joined(", " if isinstance(text, Text) else " ", [text, figure.unit])
    line = say("{}: {}", figure.label, text)
    return say("{} ({})", line, figure.note) if figure.note else line


def _quotas(seen: Overview) -> str:
    known = [quota for quota in seen.quotas if quota.left is not None]
    used = sum(quota.used for quota in seen.quotas)
    if not known:
        return say("Calls today: {:,}; how many are left is not known", used)
    left = sum(quota.left or 0 for quota in known)
    least = min(known, key=lambda quota: quota.left or 0)
    return say(
        "Calls today: {:,}; left: {:,}, fewest for {} ({:,})",
        used,
        left,
        title_of(least.endpoint),
        least.left or 0,
    )


def notification(title: str, lines: list[str], lang: str, where: Where, level: str) -> Notification:
    """A message in one language, with as many lines as fit, and with the address of the pages."""
    room = LONGEST - len(where.url.encode())
    body = _cut([shown(line, lang) for line in lines], lang, room)
    if where.url:
        body += f"\n{where.url}"
    return Notification(f"harvester: {shown(title, lang)}", body, level)


def _cut(lines: list[str], lang: str, room: int) -> str:
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line.encode()) + 1
        if size > room - 60:
            kept.append(shown(say("… and {:,} more", len(lines) - len(kept)), lang))
            break
        kept.append(line)
    return "\n".join(kept)
