"""Why days are missing, who can act on it, and the days of each cause together.

Rule: tables and pure functions.  What a code asks of the engine is in `harvester.wechat.codes`;
this module has what it asks of a person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from harvester.base.chinese import Titled, shown
from harvester.base.dates import Days, days_in, rfc3339
from harvester.engine.parts import NO_ROW
from harvester.events import reason_of
from harvester.ledger.coverage import MISSING, Calendar, OpenWindow
from harvester.model import Action
from harvester.report.days import Stream
from harvester.texts import english, say
from harvester.wechat.codes import BLOCKED, ERRORS, KIND_OF

Text = tuple[str, str]
"""A text in Chinese and in English."""


@dataclass(frozen=True)
class Kind:
    """A kind of cause.

    mine: whether a person must act.  short: in a list of counts; title: one line, with ``{ip}``,
    ``{since}``, ``{interfaces}`` or ``{days}`` where they are known; advice: what to do, and where.
    of_interfaces: whether each interface has the cause by itself, and not the account as a whole.
    quoted: whether WeChat's message is what a person needs, in place of the advice.
    command: what shows more, with ``{config}``, ``{only}`` (the account, where there can be others)
    and ``{interface}``; level: of its alert, as Apprise has it.
    """

    name: str
    mine: bool
    short: Text
    title: Text
    advice: Text
    of_interfaces: bool = False
    quoted: bool = False
    command: str = "check --config {config}{only}"
    level: str = "failure"

    def said(self, interfaces: str = "", **known: object) -> str:
        values = {"ip": "", "since": "", "days": "", **known}
        chinese, english = (
            title.format(**values, interfaces=shown(interfaces, lang))
            for title, lang in zip(self.title, ("zh", "en"), strict=True)
        )
        return Titled(" ".join(chinese.split()), " ".join(english.split()))


WHAT_IS_MISSING = "status --config {config} --missing yesterday"
"""The command of the kinds that are about days, and not about a refusal."""

_CONSOLE_ZH = "公众平台「设置与开发 → 开发接口管理」"

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "ended",
            True,
            ("范围已结束", "range ended"),
            ("最近 {days} 天没有采集过", "None of the last {days} days was asked for"),
            (
                "检查定时任务（crontab、systemd 等），用 --end yesterday 再运行。",
                "Check the schedule (crontab, systemd, …), and run with --end yesterday.",
            ),
        ),
        Kind(
            "not_asked",
            True,
            ("未请求", "not asked for"),
            ("{since} 起未请求：{interfaces}", "Not asked for since {since}: {interfaces}"),
            (
                "运行时请包含这些接口和账号；不再需要的，用 harvester forget 移除。",
                "Run with these interfaces and accounts; harvester forget removes what is done.",
            ),
            of_interfaces=True,
            command=WHAT_IS_MISSING,
        ),
        Kind(
            "secret",
            True,
            ("密钥", "secret"),
            ("AppSecret 不正确或已冻结", "AppSecret is wrong or frozen"),
            (
                f"在{_CONSOLE_ZH}核对或重置，更新密钥后重新运行。",
                "Check or reset it in the account's console, update the secret, run again.",
            ),
        ),
        Kind(
            "appid",
            True,
            ("AppID", "AppID"),
            ("AppID 不正确", "The AppID is wrong"),
            (
                f"在{_CONSOLE_ZH}核对并更正，再运行；用 harvester forget --appid 移除写错的。",
                "Compare it with the console, correct it, run again; harvester forget removes it.",
            ),
        ),
        Kind(
            "ip",
            True,
            ("IP 白名单", "IP list"),
            ("本机 IP {ip} 不在白名单", "IP {ip} is not on the allow list"),
            (
                f"把 IP 加进这些账号的白名单（{_CONSOLE_ZH}）。",
                "Add it to the allow list of each account, in its console.",
            ),
        ),
        Kind(
            "permission",
            True,
            ("权限", "permission"),
            ("没有接口权限：{interfaces}", "No permission for the interface: {interfaces}"),
            (
                "完成微信认证，或让管理员把这项权限授权给平台；不需要的接口请不要再采集。",
                "Have the account verified or the permission set granted, or leave it out.",
            ),
            of_interfaces=True,
        ),
        Kind(
            "authorisation",
            True,
            ("平台授权", "authorisation"),
            ("第三方平台的授权已失效", "The platform's authorisation is not valid"),
            (
                "让账号的管理员重新授权，或检查平台的 ticket。",
                "Let the account authorise the platform again, or check the platform's ticket.",
            ),
        ),
        Kind(
            "frozen",
            True,
            ("账号受限", "account limited"),
            ("账号被限制、冻结或封禁", "The account is limited, frozen or banned"),
            ("登录公众平台查看通知。", "See the notices in the account's console."),
        ),
        Kind(
            "retired",
            True,
            ("接口下线", "retired"),
            ("接口已被微信下线：{interfaces}", "Taken offline by WeChat: {interfaces}"),
            (
                "请采集替代接口；harvester endpoints 接口名 会列出替代接口。",
                "Harvest its successors; harvester endpoints NAME lists them.",
            ),
            of_interfaces=True,
            command="endpoints {interface}",
        ),
        Kind(
            "token",
            True,
            ("凭据", "credentials"),
            ("没有可用的 access token", "There is no access token that can be used"),
            (
                "见下方消息：账号文件引用的密钥或 token 不可用，或其他程序使 token 失效。",
                "See the message: the secret cannot be used, or another program ends the token.",
            ),
            quoted=True,
        ),
        Kind(
            "refused",
            True,
            ("被拒", "refused"),
            ("微信拒绝了请求", "WeChat refused the request"),
            (
                "见下方微信的消息；再次执行同一条命令会重试。若仍被拒绝，请带 rid 报告。",
                "See its message; the same command tries again. If it stays, report the rid.",
            ),
            of_interfaces=True,
            quoted=True,
        ),
        Kind(
            "quota",
            False,
            ("限额", "quota"),
            ("等待限额", "Waiting for quota"),
            ("不用处理：到时再运行即可。", "Nothing to do: run again after that time."),
        ),
        Kind(
            "blocked",
            False,
            ("暂时封禁", "blocked"),
            ("接口被微信暂时封禁：{interfaces}", "Blocked by WeChat for a time: {interfaces}"),
            ("不用处理：下次运行会再试。", "Nothing to do: the next run tries again."),
        ),
        Kind(
            "month",
            False,
            ("本月限额", "month's quota"),
            ("本月限额已用完", "The month's quota is used up"),
            ("不用处理：下个月再运行。", "Nothing to do: run again next month."),
        ),
        Kind(
            "late",
            False,
            ("微信未出数", "not ready"),
            ("微信还没有算出这些数据", "WeChat does not have the figures yet"),
            ("不用处理：下次运行会再次请求。", "Nothing to do: the next run asks again."),
        ),
        Kind(
            "retry",
            False,
            ("重试", "retry"),
            ("多次重试未成功", "No success after several attempts"),
            ("不用处理：下次运行会再试。", "Nothing to do: the next run tries again."),
        ),
        Kind(
            "missing",
            False,
            ("未请求", "not harvested"),
            ("还没有采集", "Not harvested yet"),
            ("再次执行同一条命令。", "Run the same command again."),
        ),
    )
}
"""By name, in the order in which they are shown."""

_TRIED = (Action.RETRY, Action.SLOW_DOWN)
_IP = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")


def kind_of(window: OpenWindow) -> str:
    """The kind of cause for which a window waits or failed, or is stored and late."""
    if window.stored:
        return "late"
    return window.kind if window.kind in KINDS else _derived(window)


def _derived(window: OpenWindow) -> str:
    """The kind of a window that the first released version stored, by its state and code alone.

    Without a code it is *retry*: mostly no answer came, and the next run says what else it is.
    """
    if window.state == "waiting":
        return {BLOCKED: "blocked", 45009: "quota"}.get(window.code or 0, "late")
    if window.code is None:
        return "retry"
    if window.code in KIND_OF:
        return KIND_OF[window.code]
    return "retry" if window.code in ERRORS and ERRORS[window.code].action in _TRIED else "refused"


def ip_in(detail: str) -> str:
    """The address that WeChat does not know; empty if it named none."""
    found = _IP.search(detail)
    return found[0] if found else ""


MOST_MESSAGES = 5
"""Different messages that are kept of a cause."""
OVERDUE = say("due for more than a day, but no run has requested it")


@dataclass(slots=True)
class Cause:
    """Why days of any accounts and interfaces are missing.

    kind: a name of `KINDS`, empty if something due was not asked for.  state: ``failed``,
    ``waiting``, ``missing``, ``stale``, or ``late``.  resting: of accounts that are not harvested
    now.  since: from which day on they are not requested, of that kind alone.  broke: since when
    windows fail (`Outcome.fetched_at`), empty if that is not known.  days: by interface.
    earliest, latest: the Unix times that are waited for, 0 if none.  messages: a few different
    ones, less account and request id, each with one request id.
    """

    kind: str
    ip: str = ""
    state: str = ""
    resting: bool = False
    since: str = ""
    broke: str = ""
    appids: dict[str, None] = field(default_factory=dict)
    days: Counter[str] = field(default_factory=Counter)
    begin: date = date.max
    end: date = date.min
    earliest: float = 0.0
    latest: float = 0.0
    messages: dict[str, str] = field(default_factory=dict)

    @property
    def mine(self) -> bool:
        return KINDS[self.kind].mine

    @property
    def reason(self) -> str:
        """The first message; empty if there is none."""
        return next(iter(self.messages), "")

    def to_dict(self, most: int) -> dict[str, Any]:
        return {
            "state": self.state,
            "reason": english(self.reason),
            "accounts": len(self.appids),
            "appids": [*self.appids][:most],
            "endpoints": sorted(self.days),
            "days": sum(self.days.values()),
            "begin_date": str(self.begin),
            "end_date": str(self.end),
            "until": rfc3339(self.earliest) if self.earliest else None,
        }

    def add(self, other: Cause) -> None:
        self.appids |= other.appids
        for name, days in other.days.items():
            self.days[name] += days
        self.begin, self.end = min(self.begin, other.begin), max(self.end, other.end)
        self.earliest = min(filter(None, (self.earliest, other.earliest)), default=0.0)
        self.latest = max(self.latest, other.latest)
        self.broke = min(filter(None, (self.broke, other.broke)), default="")
        for text, rid in other.messages.items():
            if len(self.messages) < MOST_MESSAGES:
                self.messages.setdefault(text, rid)


def causes_of(stream: Stream, calendar: Calendar, *, resting: bool = False) -> Iterable[Cause]:
    """Why days of one interface of one account are missing; each such day once."""
    appid, name = stream.key

    def cause(kind: str, state: str, count: int, span: Days, **more: Any) -> Cause:
        days = Counter({name: count})
        return Cause(kind, state=state, resting=resting, appids={appid: None}, days=days,
                     begin=span[0], end=span[1], **more)  # fmt: skip

    for window, found in stream.windows(calendar, ("late", "waiting", "failed")):
        days, span = sum(map(days_in, found)), (found[0][0], found[-1][1])
        text, kind, due = reason_of(appid, window.detail), kind_of(window), window.due
        yield cause(kind, window.state, days, span, earliest=due, latest=due,
                    ip=ip_in(window.detail) if kind == "ip" else "",
                    broke=window.fetched_at if window.state == "failed" else "",
                    messages={text: window.rid} if text else {})  # fmt: skip
    if stream.counts.late and (holes := stream.holes(calendar)):
        span = holes[0][0], holes[-1][1]
        yield cause("late", "late", sum(map(days_in, holes)), span, messages={NO_ROW: ""})
    if days := stream.counts.missing:
        missing = [*stream.reach.runs(MISSING)]
        yield cause("missing", "missing", days, (missing[0][0], missing[-1][1]))
    if nobody := stream.unasked:
        since = str(nobody[0])
        yield cause("not_asked", "stale", days_in(nobody), nobody, since=since,
                    messages={say("not asked for since {}", since): ""})  # fmt: skip
    elif stream.overdue:
        yield cause("", "stale", days_in(stream.days), stream.days, messages={OVERDUE: ""})


def grouped(causes: Iterable[Cause], key: Callable[[Cause], Hashable]) -> list[Cause]:
    """The causes, those with the same key as one."""
    found: dict[Hashable, Cause] = {}
    add_to(found, causes, key)
    return list(found.values())


def add_to(
    found: dict[Hashable, Cause], causes: Iterable[Cause], key: Callable[[Cause], Hashable]
) -> None:
    """Add causes to those that are known by their key."""
    for cause in causes:
        known = found.get(key(cause))
        if known is None:
            known = Cause(cause.kind, cause.ip, cause.state, cause.resting, cause.since)
            found[key(cause)] = known
        known.add(cause)
