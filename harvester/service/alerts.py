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
from collections.abc import Collection, Iterable, Mapping
from datetime import date, time
from itertools import chain
from typing import NamedTuple

from harvester.base.dates import ONE_DAY
from harvester.errors import without_passwords
from harvester.ledger.reach import LATE
from harvester.model import Endpoint
from harvester.report import Overview
from harvester.report import summary as verdict
from harvester.report.causes import KINDS, WHAT_IS_MISSING, Cause, Kind, Text
from harvester.report.days import stale_since
from harvester.report.missing import NOT_ASKED
from harvester.report.overview import AccountView, Row
from harvester.report.texts import moment as moment_of
from harvester.report.texts import number, plural, title_of
from harvester.service.mail import MORE
from harvester.service.schedule import moment
from harvester.service.state import OF_RUNS, Alert, Alerts, Subject

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
        ("过期", "stale"),
        ("数据过期", "Stale figures"),
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
    """Why a run ended with an error; false if it did not.

    kind: of the error, independent of its text.
    """

    kind: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.kind)


# which causes there are


def alerts_of(seen: Overview, at: time, stale_after: float) -> Alerts:
    """What a person must act on now."""
    found: defaultdict[Alert, set[Subject]] = defaultdict(set)
    endpoints = {view.name: view.endpoint for view in seen.interfaces}
    for account in seen.accounts:
        explained = set[str]()
        for reason in account.reasons:  # of one that is here what it lacks of the past is no alert
            if reason.mine and (account.late or reason.since):
                alert = Alert(reason.kind, reason.ip or reason.since)
                found[alert].update(_whom(account, reason))
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


def _whom(account: AccountView, reason: Cause) -> Iterable[Subject]:
    if KINDS[reason.kind].of_interfaces:
        return [Subject(account.appid, name) for name in reason.days]
    return [Subject(account.appid)]


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
    """Whether a person must act before any interface of an account can be harvested."""
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


# texts


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
    concerned = _accounts(chain(*(changed.raised or changed.over).values()))
    count = len(concerned)
    if not raised:
        title = f"已恢复：{number(count)} 个账号", f"Recovered: {plural(count, 'account')}"
    else:
        needs = "needs" if count == 1 else "need"
        title = (
            f"需要处理：{number(count)} 个账号",
            f"{plural(count, 'account')} {needs} you",
        )
    if not count:
        title = "运行出错", "Runs end with an error"
        if not raised:
            title = "运行已恢复", "Runs end well again"
    levels = {_ALERTS[alert.kind].level for alert in changed.raised}
    level = next((each for each in ("failure", "warning") if each in levels), "success")
    return notification(title, [*raised, *over], lang, where, level)


def _raised(alert: Alert, whom: tuple[Subject, ...], seen: Overview) -> Text:
    known, title = _ALERTS[alert.kind], _title(alert, whom)
    if alert.kind == OF_RUNS:
        said = without_passwords(whom[0].said)
        return f"● {title[0]}：{said}", f"● {title[1]}: {said}"
    zh, en = _named(_accounts(whom), seen)
    said = f" {_said_by_wechat(alert.kind, whom, seen)}" if known.quoted else ""
    return (
        f"● {title[0]}：{zh}。{said or known.advice[0]}",
        f"● {title[1]}: {en}.  {said.strip() or known.advice[1]}",
    )


def _explained(
    alert: Alert, whom: tuple[Subject, ...], seen: Overview, where: Where
) -> Iterable[Text]:
    """What is missing since when, WeChat's message, and the command that shows more."""
    kind, known = alert.kind, _ALERTS[alert.kind]
    if kind != OF_RUNS:
        rows = _lacking(kind, whom, seen)
        yield _since_when([row for _, row in rows])
        yield from _why(rows, len(_accounts(whom))) if kind in (STALE, NEVER) else ()
        said_already = known.quoted or kind == NOT_ASKED  # by the line above
        if not said_already and (said := _said_by_wechat(kind, whom, seen)):
            yield f"{MORE}{said}", f"{MORE}{said}"
    first = whom[0]
    only = f" --only {first.appid}" if where.lists else ""
    shown = known.command.format(
        config=shlex.quote(where.config), only=only, interface=first.interface
    )
    yield f"{MORE}$ harvester {shown}", f"{MORE}$ harvester {shown}"


def _lacking(kind: str, whom: Iterable[Subject], seen: Overview) -> list[tuple[AccountView, Row]]:
    """The interfaces of these accounts that lack figures."""
    appids = {each.appid for each in whom}
    named = {each.interface for each in whom} - {""}
    return [
        (account, row)
        for account in seen.accounts
        if account.appid in appids
        for row in account.rows
        if (row.endpoint in named if named else row.late or (kind == STALE and _late_day(row)))
    ]


def _since_when(rows: Iterable[Row]) -> Text:
    """The interfaces, and since when their figures are lacking."""
    found = {row.endpoint: _since(row) for row in rows}
    days = {name: day for name, day in found.items() if day is not None}
    titles = [title_of(name) for name in sorted(days or found)]
    zh, en = "、".join([t[0] for t in titles[:NAMED]]), "; ".join([t[1] for t in titles[:NAMED]])
    if (more := len(titles) - NAMED) > 0:
        zh, en = f"{zh} 等 {number(len(titles))} 个接口", f"{en} and {plural(more, 'other')}"
    if not days:
        return f"{MORE}从未有过：{zh}", f"{MORE}Never had: {en}"
    since = min(days.values())
    return f"{MORE}自 {since} 起缺：{zh}", f"{MORE}Lacking since {since}: {en}"


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


def _why(rows: Iterable[tuple[AccountView, Row]], count: int) -> Iterable[Text]:
    """Why these figures are lacking, if that is known of most of so many accounts."""
    found: defaultdict[str, list[Subject]] = defaultdict(list)
    for account, row in rows:
        since = _since(row) or date.min  # what is lacking before it is no alert
        for reason in account.reasons:
            known = not reason.mine and reason.kind != "missing"
            if known and row.endpoint in reason.days and reason.end >= since:
                found[reason.kind].append(Subject(account.appid, row.endpoint))
    if 2 * len(_accounts(chain(*found.values()))) > count:
        titles = [_title(Alert(kind), whom) for kind, whom in found.items()]
        zh, en = "、".join([t[0] for t in titles]), "; ".join([t[1] for t in titles])
        yield f"{MORE}原因：{zh}", f"{MORE}Reason: {en}"


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


def _over(alert: Alert, whom: Iterable[Subject], seen: Overview) -> Text:
    title = _title(alert, whom)
    if alert.kind == OF_RUNS:
        return f"○ 已恢复：{title[0]}", f"○ Over: {title[1]}"
    zh, en = _named(_accounts(whom), seen)
    return f"○ 已恢复：{title[0]}，{zh}", f"○ Over: {title[1]}, {en}"


def _title(alert: Alert, whom: Iterable[Subject]) -> Text:
    names = dict.fromkeys(each.interface for each in whom)
    titles = [title_of(name) for name in names if name]
    named = "、".join(t[0] for t in titles), ", ".join(t[1] for t in titles)
    return _ALERTS[alert.kind].said(named, ip=alert.about, since=alert.about)


def _accounts(whom: Iterable[Subject]) -> list[str]:
    """The accounts that an alert concerns; none if it is about runs."""
    return [*dict.fromkeys(each.appid for each in whom if each.appid)]


def _named(appids: Collection[str], seen: Overview) -> Text:
    """The first accounts by name and appid, and how many others."""
    names = {account.appid: account.name for account in seen.accounts if account.name}
    shown = [f"{names[a]} ({a})" if a in names else a for a in [*appids][:NAMED]]
    more = len(appids) - NAMED
    zh, en = "、".join(shown), ", ".join(shown)
    if more > 0:
        return f"{zh} 等 {number(len(appids))} 个账号", f"{en} and {plural(more, 'other')}"
    return zh, en


def digest(
    seen: Overview, due: date, again: float, lang: str, where: Where = NOWHERE
) -> Notification:
    """The message after the harvest of a day.

    again: the Unix time at which the service returns for what must wait, 0 if nothing must.
    """
    label = f"{due.month}月{due.day}日", f"{due:%Y-%m-%d}"
    headline = verdict.headline(seen)
    title = f"{label[0]} {headline[0]}", f"{label[1]}: {headline[1]}"
    lines: list[Text] = []
    total = len(seen.expected)
    lines.append(
        (
            f"到齐：{number(seen.fresh)} / {number(total)} 个账号",
            f"Here: {number(seen.fresh)} of {plural(total, 'account')}",
        )
    )
    lines += _empty(seen)
    lines += [_missing(cause, seen) for cause in seen.causes]
    if again > seen.made:
        zh, en = moment_of(again, seen.made)
        lines.append((f"{zh} 自动再取", f"Asks again by itself: {en}"))
    lines += _quotas(seen)
    history, finish = verdict.figures(seen)[1:3] if seen.accounts else (None, None)
    for figure in (history, finish):
        if figure is not None:
            lines.append((_figure(figure, 0), _figure(figure, 1)))
    return notification(title, lines, lang, where, "success" if seen.fresh == total else "warning")


def _empty(seen: Overview) -> list[Text]:
    """The interfaces that have no record of their newest day so far, and can still get some."""
    found: defaultdict[str, int] = defaultdict(int)
    for account in seen.expected:
        for row in account.rows:
            found[row.endpoint] += row.empty
    named = [(*title_of(name), number(count)) for name, count in found.items() if count]
    if not named:
        return []
    more = len(named) - NAMED
    zh = "、".join(f"{title}（{count}）" for title, _, count in named[:NAMED])
    en = ", ".join(f"{title} ({count})" for _, title, count in named[:NAMED])
    return [
        (
            f"暂无记录，以后会再取（账号数）：{zh}"
            + (f" 等 {len(named)} 个接口" if more > 0 else ""),
            f"No record yet, asked for again (accounts): {en}"
            + (f" and {plural(more, 'other')}" if more > 0 else ""),
        )
    ]


def _missing(cause: Cause, seen: Overview) -> Text:
    """What is missing, and why; days that are not requested are not missing."""
    title, named = verdict.cause_title(cause, seen), _named(cause.appids, seen)
    if cause.kind == "retry":
        title = "仍在取数，自动重试", "Still under way, tried again by itself"
    days = sum(cause.days.values())
    shape = "●" if cause.mine else "○"
    if cause.since or not days:  # nothing was asked for, and so it is not missing
        return f"{shape} {title[0]}：{named[0]}", f"{shape} {title[1]}: {named[1]}"
    return (
        f"{shape} {title[0]}：{named[0]}（缺 {number(days)} 接口日）",
        f"{shape} {title[1]}: {named[1]} ({plural(days, 'interface-day')} missing)",
    )


def _figure(figure: verdict.Figure, lang: int) -> str:
    value, unit = figure.value[lang], figure.unit[lang]
    comma = {"还有": "，", "in": ","}.get(unit.partition(" ")[0], "")
    text = f"{value}{comma} {unit}" if lang else f"{value}{comma or ' '}{unit}"
    text = text.strip()
    note = figure.note[lang]
    if lang:
        return f"{figure.label[1]}: {text}" + (f" ({note})" if note else "")
    return f"{figure.label[0]}：{text}" + (f"（{note}）" if note else "")


def _quotas(seen: Overview) -> list[Text]:
    """The calls that are left today."""
    known = [quota for quota in seen.quotas if quota.left is not None]
    used = sum(quota.used for quota in seen.quotas)
    if not seen.quotas:
        return []
    if not known:
        return [(f"今天调用 {number(used)} 次，剩余限额未知",
                 f"Calls today: {number(used)}; what is left is not known")]  # fmt: skip
    left = number(sum(quota.left or 0 for quota in known))
    least = min(known, key=lambda quota: quota.left or 0)
    zh, en = title_of(least.endpoint)
    few = number(least.left or 0)
    return [
        (
            f"今天调用 {number(used)} 次，剩 {left} 次，最少的是{zh}（{few}）",
            f"Calls today: {number(used)}; left: {left}, the least of {en} ({few})",
        )
    ]


def notification(
    title: Text, lines: list[Text], lang: str, where: Where, level: str
) -> Notification:
    """A message in one language, with as many lines as fit, and with the address of the pages."""
    place = 0 if lang == "zh" else 1
    body = _cut([line[place] for line in lines], place, LONGEST - len(where.url.encode()))
    if where.url:
        body += f"\n{where.url}"
    return Notification(f"harvester: {title[place]}", body, level)


def _cut(lines: list[str], place: int, room: int) -> str:
    """The lines that fit into so many bytes, and how many do not."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line.encode()) + 1
        if size > room - 60:
            more = len(lines) - len(kept)
            kept.append((f"……另有 {more} 条", f"… and {more} more")[place])
            break
        kept.append(line)
    return "\n".join(kept)
