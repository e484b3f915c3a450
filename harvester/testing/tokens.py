"""Tokens: classic and stable ones, and those of a platform and its accounts.

Rule: issues tokens and knows which are valid; other modules decide what they permit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date

from harvester.base.codec import encode
from harvester.base.dates import china
from harvester.testing.replies import Desk, Refused, Reply, object_in

STABLE_OVERLAP = 300.0
"""Seconds before its end at which stable_token hands out a new token; both serve until then."""

FORCED_A_DAY = 20
FORCED_APART = 30.0
"""Forced refreshes of a stable token: how many a day, and the seconds between them."""


class Token:
    """One token: its account, its expiry, and its kind."""

    __slots__ = ("appid", "ends", "line", "void")

    def __init__(self, appid: str, ends: float, line: str) -> None:
        self.appid = appid
        self.ends = ends
        self.line = line
        self.void = False


class Tokens:
    """All tokens that were given out.

    refuse: appid to the errcode with which its token calls are answered.
    """

    def __init__(
        self, desk: Desk, secret: str, lifetime: float, grace: float, refuse: Mapping[str, int]
    ) -> None:
        self._desk = desk
        self._secret = secret
        self._lifetime = lifetime
        self._grace = grace
        self._refuse = refuse
        self._tokens: dict[str, Token] = {}
        self._current: dict[tuple[str, str], str] = {}
        self._forced: Counter[tuple[str, date]] = Counter()
        self._forced_at: dict[str, float] = {}

    def values(self) -> list[str]:
        """All of them."""
        return list(self._tokens)

    def find(self, value: str) -> Token | None:
        """The token of a value that was once given out."""
        return self._tokens.get(value)

    def fault_of(self, token: Token | None, now: float) -> int:
        """Why a token does not serve, as an errcode; 0 if it does."""
        if token is None:
            return 40014
        if token.void:
            return 40001
        return 42001 if now >= token.ends else 0

    def issue(self, line: str, appid: str, now: float) -> tuple[str, float]:
        """A new token and the seconds that it lives."""
        serial, noise = self._desk.noise()
        self._desk.counts["tokens made"] += 1
        value = f"{line[0]}{serial:06}_{noise}"
        self._tokens[value] = Token(appid, now + self._lifetime, line)
        self._current[line, appid] = value
        return value, self._lifetime

    def revoke(self, appid: str) -> None:
        """Invalidate all tokens of an account."""
        for token in self._tokens.values():
            if token.appid == appid:
                token.void = True

    def classic(self, method: str, query: Mapping[str, str]) -> Reply:
        """GET /cgi-bin/token: a new token each time; the former ends after the grace."""
        self._desk.counts["token"] += 1
        if method != "GET":
            return self._desk.error(43001)
        appid = query.get("appid", "")
        self._check(query.get("grant_type"), appid, query.get("secret"))
        now = self._desk.wall()
        former = self._tokens.get(self._current.get(("classic", appid), ""))
        if former is not None:
            former.ends = min(former.ends, now + self._grace)
        return token_reply("access_token", *self.issue("classic", appid, now))

    def stable(self, method: str, body: bytes) -> Reply:
        """POST /cgi-bin/stable_token: the same token until shortly before its end."""
        self._desk.counts["token"] += 1
        given = object_in(method, body)
        appid = str(given.get("appid") or "")
        self._check(given.get("grant_type"), appid, given.get("secret"))
        now = self._desk.wall()
        value = self._current.get(("stable", appid), "")
        token = self._tokens.get(value)
        if token is None or token.void or now >= token.ends - self._overlap:
            return token_reply("access_token", *self.issue("stable", appid, now))
        if given.get("force_refresh") is True and self._may_force(appid, now):
            token.void = True
            return token_reply("access_token", *self.issue("stable", appid, now))
        return token_reply("access_token", value, token.ends - now)

    @property
    def _overlap(self) -> float:
        return min(STABLE_OVERLAP, self._lifetime / 2)

    def _may_force(self, appid: str, now: float) -> bool:
        key = appid, china(now).date()
        if self._forced[key] >= FORCED_A_DAY:
            return False
        if now - self._forced_at.get(appid, -FORCED_APART) < FORCED_APART:
            return False
        self._forced[key] += 1
        self._forced_at[appid] = now
        return True

    def _check(self, grant: object, appid: str, secret: object) -> None:
        if grant != "client_credential":
            raise Refused(40002)
        self.check_secret(appid, secret)
        if appid in self._refuse:
            raise Refused(self._refuse[appid])

    def check_secret(self, appid: str, secret: object) -> None:
        """Raise `Refused` unless there is such an account and this is its secret."""
        if not appid:
            raise Refused(41002)
        if not appid.startswith("wx"):
            raise Refused(40013)
        if not secret:
            raise Refused(41004)
        if secret != self._secret:
            raise Refused(40125)


def token_reply(name: str, value: str, lifetime: float, **more: str) -> Reply:
    """A token and its lifetime in seconds."""
    return Reply(200, encode({name: value, "expires_in": seconds(lifetime), **more}))


def seconds(lifetime: float) -> float:
    """A lifetime as written in an answer: whole, unless it is very short."""
    return int(lifetime) if lifetime >= 10 else round(lifetime, 3)
