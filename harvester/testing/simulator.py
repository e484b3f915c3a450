"""WeChat as a function from request to reply: tokens, dates, quotas, and faults on request.

Rule: no sockets and no waiting here; the clock comes in as an argument of the constructor.

What is simulated follows WeChat's pages where they say something.  Chosen here, because they do
not: the quota of a day begins anew at midnight in China, and the minute limit counts any sixty
seconds, the strictest reading.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from harvester.codec import encode
from harvester.plan import china, last_legal_day, settles_at
from harvester.testing.data import articles

FIRST_DAY = date(2014, 12, 1)
STABLE_OVERLAP = 300.0
"""Seconds before its end at which stable_token hands out a new token; both serve until then."""


@dataclass
class Faults:
    """What goes wrong, each as a share of the data requests (0 to 1) unless said otherwise.

    busy: errcode -1; first_busy: the first so many data requests of each account answer -1;
    http_500, html, empty, cut, reset: a 502, a page of HTML, no body, half a body, a connection
    reset in place of an answer; slow: an answer that takes ``slow_seconds``; revoke_every: after so
    many data requests of an account its tokens are void; control: a raw control character in the
    first title.
    """

    busy: float = 0.0
    first_busy: int = 0
    http_500: float = 0.0
    html: float = 0.0
    empty: float = 0.0
    cut: float = 0.0
    reset: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 5.0
    revoke_every: int = 0
    control: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anything can go wrong at all."""
        names = [field.name for field in fields(self) if field.name != "slow_seconds"]
        return any(getattr(self, name) for name in names)


class Reply(NamedTuple):
    """One HTTP answer.

    delay: seconds until it is sent.  fault: ``"reset"`` (the connection is reset instead),
    ``"cut"`` (only half of the body is sent), or nothing.
    """

    status: int
    body: bytes
    delay: float = 0.0
    fault: str = ""


class _Token:
    __slots__ = ("appid", "ends", "line", "void")

    def __init__(self, appid: str, ends: float, line: str) -> None:
        self.appid = appid
        self.ends = ends
        self.line = line
        self.void = False


class Simulator:
    """A simulated WeChat.

    secret: every appid that begins with ``wx`` exists and has this secret.
    token_lifetime: seconds; classic_grace: how long a classic token outlives its successor.
    daily_quota: data calls of one account and day in China; minute_limit: (calls, seconds) of one
    account in any such period; retired: getarticlesummary answers 47009.
    wall: the clock.  served: how often each day of each account was answered with its data;
    counts: requests by kind, refusals by errcode.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        secret: str = "practice",
        latency: float = 0.0,
        token_lifetime: float = 7200.0,
        classic_grace: float = 300.0,
        daily_quota: int | None = None,
        minute_limit: tuple[int, float] | None = None,
        retired: bool = False,
        faults: Faults | None = None,
        faults_of: Mapping[str, Faults] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.seed = seed
        self.secret = secret
        self.latency = latency
        self.token_lifetime = token_lifetime
        self.classic_grace = classic_grace
        self.daily_quota = daily_quota
        self.minute_limit = minute_limit
        self.retired = retired
        self.faults = faults or Faults()
        self.faults_of = dict(faults_of or {})
        self.wall = wall
        self.served: Counter[tuple[str, date]] = Counter()
        self.counts: Counter[str] = Counter()
        self.departures: defaultdict[str, deque[float]] = defaultdict(deque)
        self._draw = Random(seed)
        self._tokens: dict[str, _Token] = {}
        self._current: dict[tuple[str, str], str] = {}
        self._calls: Counter[tuple[str, date]] = Counter()
        self._asked: Counter[str] = Counter()
        self._serial = 0
        self._body = lru_cache(maxsize=16_384)(self._make_body)

    def truth(self, appid: str, day: date) -> list[dict[str, Any]]:
        """What getarticlesummary has of a day."""
        return articles(self.seed, appid, day)

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        """The reply to one request."""
        if path == "/datacube/getarticlesummary":
            reply = self._data(method, query, body)
        elif path == "/cgi-bin/stable_token":
            reply = self._stable_token(method, body)
        elif path == "/cgi-bin/token":
            reply = self._classic_token(query)
        else:
            self.counts["404"] += 1
            reply = Reply(404, b"")
        return reply._replace(delay=reply.delay + self.latency) if self.latency else reply

    # tokens

    def _stable_token(self, method: str, body: bytes) -> Reply:
        self.counts["token"] += 1
        if method != "POST":
            return self._error(43002, "require POST method")
        given = _json(body)
        if given is None:
            return self._error(47001, "data format error")
        appid = str(given.get("appid") or "")
        refused = self._refuse_grant(given.get("grant_type"), appid, given.get("secret"))
        if refused is not None:
            return refused
        now = self.wall()
        value = self._current.get(("stable", appid), "")
        token = self._tokens.get(value)
        if (
            token is None
            or token.void
            or now >= token.ends - min(STABLE_OVERLAP, self.token_lifetime / 2)
        ):
            value = self._new_token("stable", appid, now)
            token = self._tokens[value]
        return self._token_reply(value, token.ends - now)

    def _classic_token(self, query: Mapping[str, str]) -> Reply:
        self.counts["token"] += 1
        appid = query.get("appid", "")
        refused = self._refuse_grant(query.get("grant_type"), appid, query.get("secret"))
        if refused is not None:
            return refused
        now = self.wall()
        former = self._tokens.get(self._current.get(("classic", appid), ""))
        if former is not None:
            former.ends = min(former.ends, now + self.classic_grace)
        return self._token_reply(self._new_token("classic", appid, now), self.token_lifetime)

    def _refuse_grant(self, grant: object, appid: str, secret: object) -> Reply | None:
        if grant != "client_credential":
            return self._error(40002, "invalid grant_type")
        if not appid:
            return self._error(41002, "appid missing")
        if not appid.startswith("wx"):
            return self._error(40013, "invalid appid")
        if not secret:
            return self._error(41004, "appsecret missing")
        if secret != self.secret:
            return self._error(40125, "invalid appsecret")
        return None

    def _new_token(self, line: str, appid: str, now: float) -> str:
        self._serial += 1
        self.counts["tokens made"] += 1
        noise = Random(f"{self.seed}/{self._serial}").getrandbits(512)
        value = f"{line[0]}{self._serial:06}_{noise:0128x}"
        self._tokens[value] = _Token(appid, now + self.token_lifetime, line)
        self._current[line, appid] = value
        return value

    @staticmethod
    def _token_reply(value: str, lifetime: float) -> Reply:
        seconds = int(lifetime) if lifetime >= 10 else round(lifetime, 3)
        return Reply(200, encode({"access_token": value, "expires_in": seconds}))

    def revoke(self, appid: str) -> None:
        """Make all tokens of an account void."""
        for token in self._tokens.values():
            if token.appid == appid:
                token.void = True

    # data

    def _data(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        self.counts["data"] += 1
        now = self.wall()
        token = self._tokens.get(query.get("access_token", ""))
        refused = self._refuse_token(query, token, now)
        if refused is not None or token is None:
            return refused or Reply(500, b"")
        appid = token.appid
        self._asked[appid] += 1
        faults = self.faults_of.get(appid, self.faults)
        if faults.revoke_every and self._asked[appid] % faults.revoke_every == 0:
            self.revoke(appid)
            return self._error(40001, "invalid credential, access_token is invalid or not latest")
        refused = self._refuse_call(appid, now)
        if refused is not None:
            return refused
        if self.retired:
            return self._error(47009, "this api is offline, please use the new api")
        if method != "POST":
            return self._error(43002, "require POST method")
        days = self._days(body, now)
        if isinstance(days, Reply):
            return days
        fault = self._fault(faults, appid) if faults.any else None
        if fault is not None and fault.fault != "cut" and not fault.delay:
            return fault
        self.served[appid, days] += 1
        reply = Reply(200, self._body(appid, days))
        if fault is not None:
            return reply._replace(delay=fault.delay, fault=fault.fault)
        if faults.control and self._draw.random() < faults.control:
            return reply._replace(body=reply.body.replace(b'"title":"', b'"title":"\x07', 1))
        return reply

    def _refuse_token(
        self, query: Mapping[str, str], token: _Token | None, now: float
    ) -> Reply | None:
        if not query.get("access_token"):
            return self._error(41001, "access_token missing")
        if token is None:
            return self._error(40014, "invalid access_token")
        if token.void:
            return self._error(40001, "invalid credential, access_token is invalid or not latest")
        if now >= token.ends:
            return self._error(42001, "access_token expired")
        return None

    def _refuse_call(self, appid: str, now: float) -> Reply | None:
        if self.minute_limit is not None:
            calls, period = self.minute_limit
            recent = self.departures[appid]
            while recent and recent[0] <= now - period:
                recent.popleft()
            if len(recent) >= calls:
                return self._error(
                    45011, "api minute-quota reach limit, must slower, retry next minute"
                )
            recent.append(now)
        if self.daily_quota is not None:
            today = china(now).date()
            if self._calls[appid, today] >= self.daily_quota:
                return self._error(45009, "reach max api daily quota limit")
            self._calls[appid, today] += 1
        return None

    def _days(self, body: bytes, now: float) -> date | Reply:
        given = _json(body)
        if given is None:
            return self._error(47001, "data format error")
        begin, end = _day(given.get("begin_date")), _day(given.get("end_date"))
        if begin is None or end is None:
            return self._error(61500, "date format error")
        last = last_legal_day(now)
        if begin != end or end > last:
            return self._error(61501, "date range error")
        if end == last and now < settles_at(last):
            return self._error(61503, "data not ready")
        return begin

    def _fault(self, faults: Faults, appid: str) -> Reply | None:
        if self._asked[appid] <= faults.first_busy:
            return self._error(-1, "system error")
        drawn = self._draw.random()
        kinds: tuple[tuple[float, Callable[[], Reply]], ...] = (
            (faults.busy, lambda: self._error(-1, "system error")),
            (faults.http_500, lambda: Reply(502, b"<html>bad gateway</html>")),
            (faults.html, lambda: Reply(200, b"<!DOCTYPE html><html><body>hello</body></html>")),
            (faults.empty, lambda: Reply(200, b"")),
            (faults.reset, lambda: Reply(200, b"", fault="reset")),
            (faults.cut, lambda: Reply(200, b"", fault="cut")),
            (faults.slow, lambda: Reply(200, b"", delay=faults.slow_seconds)),
        )
        for share, make in kinds:
            if drawn < share:
                self.counts["faults"] += 1
                return make()
            drawn -= share
        return None

    def _make_body(self, appid: str, day: date) -> bytes:
        if day < FIRST_DAY:
            return b'{"list":[]}'
        return encode({"list": self.truth(appid, day)})

    def _error(self, code: int, text: str) -> Reply:
        self._serial += 1
        self.counts[f"errcode {code}"] += 1
        rid = f"{self._serial:08x}-{self.seed & 0xFFFFFFFF:08x}-{code & 0xFFFFFFFF:08x}"
        return Reply(200, encode({"errcode": code, "errmsg": f"{text} rid: {rid}"}))


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _day(given: object) -> date | None:
    try:
        day = date.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None
    return day if day is not None and day.isoformat() == given else None
