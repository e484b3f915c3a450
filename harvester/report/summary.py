"""The first screen in words: the badge, one sentence, a few clauses, four figures.

Rule: pure; from an `Overview` to pairs of texts.
"""

from __future__ import annotations

from typing import NamedTuple

from harvester.base.dates import ONE_DAY, china
from harvester.report.causes import KINDS, Cause, Text
from harvester.report.overview import Overview
from harvester.report.texts import (
    TEXTS,
    long_day,
    moment,
    number,
    plural,
    share,
    short_day,
    title_of,
)

NAMED = 3
"""How many names of a list are shown."""


class Clause(NamedTuple):
    """A line below the sentence, with the state whose shape precedes it."""

    state: str
    text: Text


class Figure(NamedTuple):
    """One of the four figures."""

    label: Text
    value: Text
    unit: Text
    note: Text


def badge(seen: Overview) -> str:
    """``needed``, ``waiting`` or ``well``; empty if there is nothing to judge."""
    if not seen.accounts:
        return ""
    if any(cause.mine for cause in seen.causes):
        return "needed"
    return "waiting" if seen.causes else "well"


def day_of(seen: Overview) -> Text:
    """The newest day, in words."""
    today = china(seen.made).date()
    if seen.day == today - ONE_DAY:
        return "昨天", "Yesterday"
    zh, en = short_day(seen.day)
    year = seen.day.year
    return (zh, en) if year == today.year else (f"{year}年{zh}", f"{en}, {year},")


def subject(seen: Overview) -> Text:
    """Which day is judged, and why this one."""
    zh, en = long_day(seen.day)
    if seen.archive:
        return f"{zh}（采到这一天为止）", f"Figures up to {en}: nothing later was asked for"
    return (
        f"{zh} 的数据（现在能取到的最近一天）",
        f"Figures of {en}: the newest that WeChat gives now",
    )


def headline(seen: Overview) -> Text:
    """Whether everything is there, in one sentence."""
    if not seen.accounts:
        return "还没有数据", "Nothing was harvested yet"
    if seen.last is None:
        return "尚未取到任何一天的数据", "Not one day was harvested"
    if seen.behind > 1 and not seen.archive:
        zh, en = short_day(seen.last)
        return (
            f"已经 {number(seen.behind)} 天没有新数据，上次采到 {zh}",
            f"No new data for {number(seen.behind)} days; the last is of {en}",
        )
    zh, en = day_of(seen)
    total, late = len(seen.expected), len(seen.expected) - seen.fresh
    if not total:
        return "现在没有应到的数据", "Nothing is due now"
    if total == 1:
        if late:
            return f"{zh}的数据未到齐", f"{en} is incomplete"
        return f"{zh}的数据已到齐", f"{en} is complete"
    if late:
        return (
            f"{number(total)} 个账号中，有 {number(late)} 个{zh}的数据未到齐",
            f"{en} is incomplete for {number(late)} of {plural(total, 'account')}",
        )
    return (
        f"{number(total)} 个账号{zh}的数据全部到齐",
        f"{en} is complete for {'both' if total == 2 else f'all {number(total)}'} accounts",
    )


def clauses(seen: Overview) -> list[Clause]:
    """What needs attention, what waits, what is left; at most five."""
    found: list[Clause] = []
    if seen.silent > 1:
        zh, en = (text.format(days=number(seen.silent)) for text in KINDS["ended"].title)
        found.append(Clause("failed", (zh, en)))
    mine = [cause for cause in seen.causes if cause.mine and cause.kind != "ended"]
    if mine:
        accounts = len({appid for cause in mine for appid in cause.appids})
        parts = _shorts(mine)
        found.append(Clause("failed", (
            f"{number(accounts)} 个账号需要处理：" + "，".join(zh for zh, _ in parts),
            f"{plural(accounts, 'account')} {'needs' if accounts == 1 else 'need'} you: "
            + ", ".join(en for _, en in parts),
        )))  # fmt: skip
    found += [_clause(cause, seen.made) for cause in seen.causes if not cause.mine]
    if provisional := seen.counts.provisional:
        found.append(Clause("provisional", (
            f"{number(provisional)} 天的数据（按接口计）仍可能变动，已先入库",
            f"{plural(provisional, 'day')} can still change; they are stored as provisional",
        )))  # fmt: skip
    if seen.accounts and not seen.causes and not found:
        found.append(Clause("final", TEXTS["all_there"]))
    return found[:5]


def _shorts(causes: list[Cause]) -> list[Text]:
    counted: dict[str, set[str]] = {}
    for cause in causes:
        counted.setdefault(cause.kind, set()).update(cause.appids)
    shorts = {kind: KINDS[kind].short for kind in counted}
    return [
        (f"{shorts[kind][0]} {number(len(appids))}", f"{shorts[kind][1]} {number(len(appids))}")
        for kind, appids in counted.items()
    ]


def _clause(cause: Cause, now: float) -> Clause:
    count = len(cause.appids)
    zh, en = number(count), plural(count, "account")
    if cause.kind == "quota":
        until = moment(cause.latest, now)
        waits = "waits" if count == 1 else "wait"
        if cause.latest <= now:
            text = f"{zh} 个账号的限额已恢复，运行即可", f"The quota of {en} is back: run again"
        else:
            text = (
                f"{zh} 个账号在等限额，{until[0]} 恢复",
                f"{en} {waits} for quota, until {until[1]}",
            )
        return Clause("waiting", text)
    days = sum(cause.days.values())
    texts: dict[str, Text] = {
        "blocked": (
            f"{zh} 个账号有接口被微信暂时封禁，下次运行会再试",
            f"WeChat has blocked interfaces of {en} for a time; the next run tries again",
        ),
        "month": (f"{zh} 个账号的本月限额已用完", f"The month's quota of {en} is used up"),
        "late": (f"{zh} 个账号的数字微信还没有算出", f"WeChat is late with figures of {en}"),
        "retry": (
            f"{zh} 个账号有失败的日子，下次运行会再试",
            f"{en} {'has' if count == 1 else 'have'} failed days; the next run tries again",
        ),
        "missing": (
            f"{number(days)} 个接口日还没有采（{zh} 个账号）",
            f"{plural(days, 'day')} of {en} not harvested yet",
        ),
    }
    shapes = {"retry": "failed", "missing": "missing"}
    return Clause(shapes.get(cause.kind, "waiting"), texts[cause.kind])


def figures(seen: Overview) -> list[Figure]:
    """The four figures: fresh, complete, when, and for how many accounts."""
    total = len(seen.expected)
    interfaces = len(seen.interfaces)
    have, whole = seen.counts.stored, seen.counts.asked
    mine = [cause for cause in seen.causes if cause.mine]
    concerned = len({appid for cause in mine for appid in cause.appids})
    day = day_of(seen)
    percent = share(have, whole)
    return [
        Figure(
            (f"{day[0]}到齐", f"{day[1]} is here"),
            (number(seen.fresh), number(seen.fresh)),
            (f"/ {number(total)} 个账号", f"/ {plural(total, 'account')}"),
            (
                f"{number(interfaces)} 个接口都到齐才算",
                f"once all {number(interfaces)} interfaces are",
            )
            if interfaces > 1
            else ("", ""),
        ),
        Figure(
            TEXTS["history"],
            (percent, percent),
            ("", ""),
            (
                f"缺 {number(whole - have)}，共 {number(whole)} 个接口日",
                f"{number(whole - have)} of {number(whole)} interface-days missing",
            )
            if whole > have
            else (f"共 {number(whole)} 个接口日", f"{number(whole)} interface-days"),
        ),
        _finish(seen),
        Figure(
            TEXTS["person"],
            (number(len(mine)),) * 2,
            ("件事", "thing" if len(mine) == 1 else "things"),
            (f"涉及 {number(concerned)} 个账号", plural(concerned, "account"))
            if mine
            else ("无需处理", "nothing to do"),
        ),
    ]


def _finish(seen: Overview) -> Figure:
    """When all days are stored that no person must unblock."""
    label = TEXTS["finished"]
    calls, blocked = number(seen.calls), number(seen.blocked)
    then = (
        (f"处理好后再加 {blocked}", f"{blocked} more once that is done") if seen.blocked else None
    )
    if seen.silent > 1:
        return Figure(label, ("—", "—"), ("先运行", "run it first"), ("", ""))
    if not seen.calls and not seen.blocked:
        return Figure(
            label, ("已补齐", "Complete"), ("", ""), ("无需再调用", "nothing left to call")
        )
    if not seen.calls:
        unit = ("先处理问题", "first see to the causes")
        return Figure(label, ("—", "—"), unit, (
            f"处理后还需 {blocked} 次调用", f"then {plural(seen.blocked, 'call')}"))  # fmt: skip
    note = (f"还需 {calls} 次调用", f"{plural(seen.calls, 'call')} to make")
    if then:
        note = f"{note[0]}；{then[0]}", f"{note[1]}; {then[1]}"
    days = seen.days_left
    if seen.finished is None or days is None:
        return Figure(label, ("—", "—"), ("限额未知", "the quota is not known"), note)
    if not days:
        return Figure(label, ("下次运行", "Next run"), ("", ""), note)
    return Figure(
        label,
        short_day(seen.finished),
        (f"还有 {number(days)} 天", f"in {plural(days, 'day')}"),
        note,
    )


def cause_title(cause: Cause, seen: Overview) -> Text:
    """What a cause is, in one line."""
    names = [title_of(name) for name, _ in cause.days.most_common(NAMED)]
    more = len(cause.days) - NAMED
    zh = "、".join(zh for zh, _ in names) + (f" 等 {len(cause.days)} 个" if more > 0 else "")
    en = ", ".join(en for _, en in names) + (f" and {more} more" if more > 0 else "")
    if cause.kind == "quota" and cause.latest <= seen.made:
        return "限额已恢复，运行即可", "The quota is back: run again"
    days = number(seen.silent)
    said = KINDS[cause.kind].said((zh, en), ip=cause.ip, since=cause.since, days=days)
    if cause.kind != "quota":
        return said
    until = moment(cause.latest, seen.made)
    return f"{said[0]}，{until[0]} 恢复", f"{said[1]} until {until[1]}"
