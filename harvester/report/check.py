"""What accounts may do, from one answer of each interface: token, IP address, permission, quota.

Rule: reads the events of a run; sends nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harvester import events
from harvester.base.chinese import Titled
from harvester.base.dates import china, rfc3339
from harvester.events import Code, Event, reason_of
from harvester.ledger.base import Key
from harvester.model import Action, listed
from harvester.report.causes import KINDS, Cause, grouped, ip_in
from harvester.texts import english, say
from harvester.wechat.codes import BLOCKED, ERRORS

USABLE, WAITING, UNKNOWN, UNUSABLE = "usable", "waiting", "unknown", "unusable"
"""The states of an interface and of an account, the most severe last."""

PROVING = frozenset({Action.DONE, Action.NOT_READY})
"""What follows from codes that only an account which may use the interface gets."""
AGAIN = say("WeChat did not accept the access token; a new one is fetched at the next call")


@dataclass
class InterfaceAccess:
    """One interface of one account.

    kind: a name of `KINDS`, empty if it is usable.  error, code, rid: of the answer.  until: the
    Unix time until which it must wait, 0 if it need not.  calls: those left today and those of a
    day, as WeChat says; None if it does not.
    """

    endpoint: str
    state: str = UNKNOWN
    kind: str = ""
    error: str = ""
    code: int | None = None
    rid: str = ""
    until: float = 0.0
    calls: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        left, daily = self.calls or (None, None)
        return {
            "endpoint": self.endpoint,
            "state": self.state,
            "kind": self.kind or None,
            "code": self.code,
            "rid": self.rid or None,
            "error": english(self.error) or None,
            "until": rfc3339(self.until) if self.until else None,
            "calls_left": left,
            "daily_quota": daily,
        }


@dataclass
class AccountAccess:
    """An account.

    token: ``ok``, ``none`` or ``unknown``.  allow_list: ``ok``, ``missing`` or ``unknown``; ip:
    the address that WeChat names, if it names one.
    """

    appid: str
    name: str = ""
    token: str = "unknown"
    allow_list: str = "unknown"
    ip: str = ""
    interfaces: list[InterfaceAccess] = field(default_factory=list)

    @property
    def state(self) -> str:
        return gravest([each.state for each in self.interfaces])

    @property
    def usable(self) -> int:
        return sum(each.state == USABLE for each in self.interfaces)

    @property
    def left(self) -> int | None:
        """The fewest calls that an interface has left today; None if that is not known."""
        return min([each.calls[0] for each in self.interfaces if each.calls], default=None)

    def causes(self) -> list[Cause]:
        found = [
            Cause(
                each.kind,
                self.ip if each.kind == "ip" else "",
                appids={self.appid: None},
                days=Counter({each.endpoint: 1}),
                latest=each.until,
                messages={each.error: each.rid},
            )
            for each in self.interfaces
            if each.kind
        ]
        return by_kind(found)

    def to_dict(self) -> dict[str, Any]:
        return {
            "appid": self.appid,
            "name": self.name or None,
            "state": self.state,
            "token": self.token,
            "allow_list": self.allow_list,
            "ip": self.ip or None,
            "calls_left": self.left,
            "to_do": [
                {"kind": cause.kind, "text": english(text), "advice": english(advice)}
                for cause in self.causes()
                for text, advice in [words(cause)]
            ],
            "interfaces": [each.to_dict() for each in self.interfaces],
        }


def by_kind(causes: Iterable[Cause]) -> list[Cause]:
    """The causes of one kind, and one IP address, together; the most urgent kind first."""
    order = [*KINDS]
    found = grouped(causes, lambda cause: (cause.kind, cause.ip))
    return sorted(found, key=lambda cause: order.index(cause.kind))


def words(cause: Cause) -> tuple[str, str]:
    """What a cause is, and what to do about it."""
    if cause.kind == "retry":
        return say("No answer has shown whether it is usable"), say("Check again.")
    kind = KINDS[cause.kind]
    said = kind.said(listed(sorted(cause.days), "interface"), ip=cause.ip)
    if cause.latest:
        said = say("{} until {:%Y-%m-%d %H:%M} China time", said, china(cause.latest))
    return said, Titled(*kind.advice)


def gravest(states: Iterable[str]) -> str:
    """The most severe of some states; usable if there are none."""
    order = (USABLE, WAITING, UNKNOWN, UNUSABLE)
    return max(states, key=order.index, default=USABLE)


class Access:
    """The observer of runs that sent one request per interface; then tells what they show."""

    def __init__(self) -> None:
        self._codes: dict[Key, int | None] = {}
        self._failed: dict[Key, events.Failed | events.AccountStopped] = {}
        self._stopped: dict[str, events.AccountStopped] = {}
        self._waits: dict[Key, events.Deferred] = {}
        self._calls: dict[Key, tuple[int, int]] = {}
        self._split: set[Key] = set()  # refused for its length: so the interface may be used
        self._fetched: set[str] = set()
        self._refused: dict[str, str] = {}  # by account, of a token that was fetched before

    def __call__(self, event: Event) -> None:
        match event:
            case events.Requested():
                for appid, name, code, _ in event.answers:
                    self._codes[appid, name] = code
            case events.Failed():
                self._failed.setdefault((event.appid, event.endpoint), event)
            case events.AccountStopped():
                self._stopped[event.appid] = event
            case events.Split():
                self._split.add((event.appid, event.endpoint))
            case events.Deferred():
                self.wait(event)
            case events.Notice(code=Code.TOKEN_FETCHED):
                self._fetched.add(event.account)
            case events.Notice(code=Code.TOKEN_REFUSED) if event.account in self._fetched:
                self._refused.setdefault(event.account, event.text)
            case events.Notice(code=Code.QUOTA) if event.calls is not None:
                self._calls[event.account, event.interface] = event.calls

    def wait(self, event: events.Deferred) -> None:
        """An interface must wait; of several reasons the first one counts."""
        self._waits.setdefault((event.appid, event.endpoint), event)

    @property
    def answered(self) -> int:
        """Interfaces of accounts of which something is known."""
        return len({*self._codes, *self._failed})

    def accounts(
        self, asked: Mapping[str, Sequence[str]], names: Mapping[str, str]
    ) -> list[AccountAccess]:
        return [self._account(appid, asked[appid], names.get(appid, "")) for appid in asked]

    def _account(self, appid: str, endpoints: Sequence[str], name: str) -> AccountAccess:
        interfaces = [self._interface((appid, each)) for each in endpoints]
        account = AccountAccess(appid, name, interfaces=interfaces)
        for each in interfaces:
            if each.kind == "ip":
                account.allow_list = "missing"
                account.ip = account.ip or ip_in(each.error)
        codes = [self._codes[appid, each] for each in endpoints if (appid, each) in self._codes]
        accepted = [code for code in codes if code is not None and not _refuses_token(code)]
        in_vain = any(each.kind == "token" for each in interfaces)
        if accepted or (appid in self._fetched and not codes and not in_vain):
            account.token = "ok"
        elif any(each.state == UNUSABLE for each in interfaces):
            account.token = "none"
        if account.token == "ok" and account.allow_list == "unknown":
            account.allow_list = "ok"
        return account

    def _interface(self, key: Key) -> InterfaceAccess:
        code, waits = self._codes.get(key), self._waits.get(key)
        failed = self._failed.get(key) or self._stopped.get(key[0])
        found = InterfaceAccess(key[1], calls=self._calls.get(key))
        action = Action.DONE if code == 0 else None
        if code is not None and code in ERRORS:
            action = ERRORS[code].action
        if action in PROVING or key in self._split:
            found.state = USABLE
        elif failed is not None:
            found.error, found.code = reason_of(key[0], failed.error), failed.code
            found.rid = failed.rid
            found.kind = failed.kind
            found.state = UNKNOWN if found.kind == "retry" else UNUSABLE
        elif code is not None and _refuses_token(code):
            refused = self._refused.get(key[0])
            found.code, found.error = code, AGAIN if refused is None else reason_of(key[0], refused)
            found.kind = "retry" if refused is None else "token"
            found.state = UNKNOWN if refused is None else UNUSABLE
        elif waits is not None:
            found.state, found.code = WAITING, code
            found.kind = "blocked" if code == BLOCKED else "quota"
            found.error, found.until = reason_of(key[0], waits.reason), waits.until
        return found


def _refuses_token(code: int) -> bool:
    return code in ERRORS and ERRORS[code].action is Action.RENEW_TOKEN
