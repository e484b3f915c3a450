"""WeChat as a function from request to reply: tokens, dates, quotas, and faults on request.

Rule: no sockets and no waiting here; the clock is an argument of the constructor.

What is simulated follows WeChat's pages where they have an answer.  Chosen here, because they do
not: a quota is reset at midnight in China; a call that is refused for its dates has
been counted; yesterday's entries of figures that grow are there from eight in the morning; the
publisher interface answers ``ret`` 1701 to wrong pages, and the errcode of wrong dates as ``ret``;
getgameanalysisdata knows one metric, by day and without dimensions; a quota is cleared for the
account whose token it is, and another appid is 40013.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache, partial
from random import Random
from typing import Any

from harvester.base.codec import encode
from harvester.base.dates import ONE_DAY, china, last_legal_day, last_settled_day
from harvester.testing.answers import (
    MAX_PAGE,
    MAX_SETTLEMENTS,
    answer,
    asked_days,
    game_day,
    late_answer,
    page_of,
    publisher_answer,
)
from harvester.testing.callers import Callers
from harvester.testing.catalogue import FIRST_DAY, INTERFACES, Interface
from harvester.testing.component import CALLS, Component
from harvester.testing.data import articles, publisher
from harvester.testing.data.draw import days
from harvester.testing.error_messages import TEXTS
from harvester.testing.faults import Faults, drawn
from harvester.testing.management import Management
from harvester.testing.quotas import Quotas
from harvester.testing.replies import Desk, Refused, Reply, object_in
from harvester.testing.tokens import Tokens

__all__ = ["FIRST_DAY", "Faults", "Reply", "Simulator"]

Handler = Callable[[str, Mapping[str, str], bytes], Reply]

PUBLISHER_CODES = {1701, 2009, 45010, 61500, 61501, 61503}
"""What the publisher interface reports by ret and err_msg; the rest comes from before it."""


class Simulator:
    """A simulated WeChat.

    seed: the seed of the random figures.
    secret: every appid that begins with ``wx`` exists and has this secret.
    latency: seconds by which each reply is delayed.
    token_lifetime: the lifetime of a token in seconds.
    classic_grace: for how many seconds a classic token stays valid after the next one was issued.
    daily_quota: data calls per day (in China) for each interface of each account; one number, or a
    number by interface.
    minute_limit: (calls, seconds): the most calls of one account in any such period.
    retired: the six old article interfaces return errcode 47009.
    spans: by interface the most days of a call, instead of the documented number.
    range_code: the errcode for a wrong range, 61501 or 61500.
    delay_until_hour: until this hour in China (for example 9.5) yesterday's figures of the article
    interfaces of 2025 are late: is_delay is true and the figures are incomplete.
    refuse: the errcode for data calls, by (appid, interface), interface or appid.
    refuse_token: the errcode for token calls, by appid.
    texts: errmsg by errcode, instead of the usual texts.
    component: appid and secret of a third-party platform that every account has authorised.
    cloud_appid: the account of calls without a token, as in cloud hosting, and of calls whose
    ``cloudbase_access_token`` equals cloud_token.
    faults, faults_of: the `Faults` of data requests, and other ones by appid.
    wall: a function that returns the Unix time.

    served: by (appid, day), how often data of getarticlesummary were returned.
    served_of: by (interface, appid, first day, last day), how often its data were returned.
    counts: numbers of requests by kind, of refusals by errcode, and of ``late`` answers.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        secret: str = "practice",
        latency: float = 0.0,
        token_lifetime: float = 7200.0,
        classic_grace: float = 300.0,
        daily_quota: int | Mapping[str, int] | None = None,
        minute_limit: tuple[int, float] | None = None,
        retired: bool = False,
        spans: Mapping[str, int] | None = None,
        range_code: int = 61501,
        delay_until_hour: float | None = None,
        refuse: Mapping[tuple[str, str] | str, int] | None = None,
        refuse_token: Mapping[str, int] | None = None,
        texts: Mapping[int, str] | None = None,
        component: tuple[str, str] | None = None,
        cloud_appid: str | None = None,
        cloud_token: str | None = None,
        faults: Faults | None = None,
        faults_of: Mapping[str, Faults] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.seed = seed
        self.secret = secret
        self.latency = latency
        self.token_lifetime = token_lifetime
        self.retired = retired
        self.delay_until_hour = delay_until_hour
        self.refuse = dict(refuse or {})
        self.refuse_token = dict(refuse_token or {})
        self.faults = faults or Faults()
        self.faults_of = dict(faults_of or {})
        self.wall = wall
        self.served: Counter[tuple[str, date]] = Counter()
        self.served_of: Counter[tuple[str, str, date, date]] = Counter()
        self.counts: Counter[str] = Counter()
        self._spans = _checked_spans(spans or {})
        self._range_code = range_code
        self._desk = Desk(seed, lambda: self.wall(), self.counts, texts or {})
        self._tokens = Tokens(self._desk, secret, token_lifetime, classic_grace, self.refuse_token)
        self._quotas = Quotas(daily_quota, minute_limit)
        self.departures = self._quotas.departures
        self._component = (
            Component(self._desk, self._tokens, component, self.refuse_token) if component else None
        )
        self._callers = Callers(self._tokens, self._component, cloud_appid, cloud_token)
        self._management = Management(
            self._desk, self._quotas, self._tokens, self._callers.account_of
        )
        self._draw = Random(seed)
        self._asked: Counter[str] = Counter()
        self._body = lru_cache(maxsize=16_384)(self._make_body)
        self._other_body = lru_cache(maxsize=1024)(self._make_body)  # by the hour they are large
        self._routes = self._make_routes()

    # what there is

    def truth(self, appid: str, day: date) -> list[dict[str, Any]]:
        """The rows of ``getarticlesummary`` for a day."""
        return articles(self.seed, appid, day)

    def truth_of(self, endpoint: str, appid: str, begin: date, end: date) -> list[dict[str, Any]]:
        """The rows that an interface has at present for these days.

        If the answers of the interface have no list, the only row is the complete answer.  For the
        publisher interface, the rows of all pages are returned.  Late figures have their later
        values.  Raises `KeyError` for an unknown interface.
        """
        interface = INTERFACES[endpoint]
        return self._rows(interface, appid, begin, end, last_settled_day(self.wall()))

    def _rows(
        self, interface: Interface, appid: str, begin: date, end: date, last: date
    ) -> list[dict[str, Any]]:
        if interface.name == "getarticlesummary":
            known = days(max(begin, FIRST_DAY), min(end, last))
            return [row for day in known for row in self.truth(appid, day)]
        return interface.of(self.seed, appid, begin, end, last)

    # requests

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        """The reply to one request."""
        route = self._routes.get(path)
        if route is None:
            self.counts["404"] += 1
            reply = Reply(404, b"")
        else:
            self._desk.rid = ""
            try:
                reply = route(method, query, body)
            except Refused as refused:
                reply = self._desk.error(refused.code, refused.text)
            if self._desk.rid:
                self._management.note(path, query, body, reply, self.latency)
        return reply._replace(delay=reply.delay + self.latency) if self.latency else reply

    def _make_routes(self) -> dict[str, Handler]:
        management = self._management
        routes: dict[str, Handler] = {
            "/cgi-bin/token": lambda method, query, _body: self._tokens.classic(method, query),
            "/cgi-bin/stable_token": lambda method, _query, body: self._tokens.stable(method, body),
            "/cgi-bin/openapi/quota/get": management.quota,
            "/cgi-bin/openapi/rid/get": management.rid,
            "/cgi-bin/clear_quota": management.clear,
            "/cgi-bin/clear_quota/v2": management.clear_by_secret,
            "/publisher/stat": self._publisher,
        }
        for interface in INTERFACES.values():
            if interface.shape != "publisher":
                routes[interface.path] = partial(self._data, interface)
        if self._component is not None:
            for name in CALLS:
                routes[f"/cgi-bin/component/{name}"] = partial(self._component.handle, name)
        return routes

    @property
    def daily_quota(self) -> int | Mapping[str, int] | None:
        """The argument ``daily_quota``; it can be changed."""
        return self._quotas.daily

    @daily_quota.setter
    def daily_quota(self, daily: int | Mapping[str, int] | None) -> None:
        self._quotas.daily = daily

    @property
    def tokens(self) -> list[str]:
        """All access tokens that were issued."""
        return self._tokens.values()

    def issue_token(self, appid: str) -> str:
        """Issue a stable token of an account, as if another program had fetched it; not counted."""
        return self._tokens.issue("stable", appid, self.wall())[0]

    def revoke(self, appid: str) -> None:
        """Invalidate all tokens of an account."""
        self._tokens.revoke(appid)

    # the platform; each raises `ValueError` if there is none

    def ticket(self) -> str:
        """The verify ticket that WeChat would push now: every ten minutes a new one, for 12 h."""
        return self._platform.ticket()

    def refresh_token(self, appid: str) -> str:
        """The newest refresh token of an account."""
        return self._platform.refresh_token(appid)

    def rotate_refresh(self, appid: str) -> None:
        """Give a new refresh token in the next token answer; the old one is valid until its use."""
        self._platform.rotate_refresh(appid)

    def authorize(self, appid: str) -> None:
        """Let an account authorise the platform again, which gives a new refresh token."""
        self._platform.authorize(appid)

    def deauthorize(self, appid: str) -> None:
        """Let an account withdraw its authorisation: from now on its calls get errcode 61003."""
        self._platform.deauthorize(appid)

    @property
    def _platform(self) -> Component:
        if self._component is None:
            raise ValueError("this simulator has no platform; pass component=(appid, secret)")
        return self._component

    # data

    def _data(
        self, interface: Interface, method: str, query: Mapping[str, str], body: bytes
    ) -> Reply:
        now = self.wall()
        appid, faults = self._admit(interface.name, query, now)
        if self.retired and interface.retired:
            raise Refused(47009)
        given = object_in(method, body)
        if interface.shape == "game":
            begin = end = game_day(given, now)
        else:
            asked = given.get("begin_date"), given.get("end_date")
            begin, end = self._dates(interface, *asked, now)
        return self._through(
            faults, appid, lambda: self._answer(interface, appid, begin, end, faults, now)
        )

    def _publisher(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        now = self.wall()
        action = query.get("action", "")
        try:
            appid, faults = self._admit(action, query, now)
            if method != "GET":
                raise Refused(43001)
            interface = INTERFACES.get(action)
            if interface is None or interface.shape != "publisher":
                raise Refused(45010)
            most = MAX_SETTLEMENTS if action == "publisher_settlement" else MAX_PAGE
            page, slot = page_of(query, most), publisher.slot_of(query)
            if page is None or (slot and slot not in publisher.SLOTS):
                raise Refused(1701)
            unit = query.get("ad_unit_id")
            if interface.rule == "now":
                begin = end = last_settled_day(now)
            else:
                given = query.get("start_date"), query.get("end_date")
                begin, end = self._dates(interface, *given, now)
        except Refused as refused:
            if refused.code in PUBLISHER_CODES:
                return self._desk.publisher_error(refused.code, refused.text)
            raise

        def page_body() -> bytes:
            self._serve(interface.name, appid, begin, end)
            rows = self._slot_rows(interface, appid, begin, end, slot)
            rows = publisher.of_unit(rows, slot, unit) if "adunit" in action else rows
            return encode(publisher_answer(interface, rows, page))

        return self._through(faults, appid, page_body)

    def _slot_rows(
        self, interface: Interface, appid: str, begin: date, end: date, slot: str | None
    ) -> list[dict[str, Any]]:
        begin = max(begin, interface.first_day)
        if slot and interface.name == "publisher_adpos_general":
            return publisher.by_slot(self.seed, appid, begin, end, slot)
        last = last_settled_day(self.wall()) if interface.grows else end
        return self._rows(interface, appid, begin, end, last)

    def _admit(self, name: str, query: Mapping[str, str], now: float) -> tuple[str, Faults]:
        """The account of a call, and its fault, if any; raises `Refused`."""
        self.counts["data"] += 1
        appid = self._callers.account_of(query, now)
        self._asked[appid] += 1
        faults = self.faults_of.get(appid, self.faults)
        if faults.revoke_every and self._asked[appid] % faults.revoke_every == 0:
            self.revoke(appid)
            raise Refused(40001)
        if self.refuse:
            for key in ((appid, name), name, appid):
                if key in self.refuse:
                    raise Refused(self.refuse[key])
        refused = self._quotas.refusal(appid, name, now)
        if refused:
            raise Refused(refused)
        return appid, faults

    def _dates(
        self, interface: Interface, begin: object, end: object, now: float
    ) -> tuple[date, date]:
        span = self._spans.get(interface.name, interface.span) if self._spans else interface.span
        dates = asked_days(interface, span, begin, end, now)
        if not isinstance(dates, int):
            return dates
        if dates == 61501:
            raise Refused(self._range_code, TEXTS[61501])
        raise Refused(dates)

    def _answer(
        self, interface: Interface, appid: str, begin: date, end: date, faults: Faults, now: float
    ) -> bytes:
        last = min(last_settled_day(now), end + interface.grown) if interface.grows else end
        if interface.shape == "delay" and self._late(interface, end, now):
            self.counts["late"] += 1
            rows = self._rows(interface, appid, begin, end, last)
            return encode(late_answer(rows, self.counts["late"]))
        self._serve(interface.name, appid, begin, end)
        if faults.neighbours and begin == end and self._draw.random() < faults.neighbours:
            wider = self._neighbours(interface, appid, begin, last, now)
            if wider is not None:
                return wider
        cached = self._body if interface.name == "getarticlesummary" else self._other_body
        return cached(interface.name, appid, begin, end, last)

    def _late(self, interface: Interface, end: date, now: float) -> bool:
        """Whether the figures of yesterday are not complete yet."""
        if self.delay_until_hour is None:
            return False
        moment = china(now)
        hour = moment.hour + moment.minute / 60 + moment.second / 3600
        return hour < self.delay_until_hour and end + interface.grown >= last_legal_day(now)

    def _neighbours(
        self, interface: Interface, appid: str, day: date, last: date, now: float
    ) -> bytes | None:
        """The answer with the rows of the day before and after; None where rows have no day."""
        if not interface.by_day:
            return None
        self.counts["neighbours"] += 1
        until = min(day + ONE_DAY, last_settled_day(now))
        rows = self._rows(interface, appid, day - ONE_DAY, until, max(last, until))
        return encode(answer(interface, rows, day))

    def _make_body(self, name: str, appid: str, begin: date, end: date, last: date) -> bytes:
        interface = INTERFACES[name]
        return encode(answer(interface, self._rows(interface, appid, begin, end, last), begin))

    def _serve(self, name: str, appid: str, begin: date, end: date) -> None:
        self.served_of[name, appid, begin, end] += 1
        if name == "getarticlesummary":
            self.served[appid, begin] += 1
            if begin != end:
                self.served.update((appid, day) for day in days(begin + ONE_DAY, end))

    # faults

    def _through(self, faults: Faults, appid: str, make: Callable[[], bytes]) -> Reply:
        """The reply with what goes wrong on its way."""
        fault = None
        if faults.any:
            first = self._asked[appid] <= faults.first_busy
            fault = self._desk.error(-1) if first else drawn(faults, self._draw, self._desk)
        if fault is not None and fault.fault != "cut" and not fault.delay:
            return fault
        reply = Reply(200, make())
        if fault is not None:
            return reply._replace(delay=fault.delay, fault=fault.fault)
        if faults.control and self._draw.random() < faults.control:
            return reply._replace(body=reply.body.replace(b'"title":"', b'"title":"\x07', 1))
        return reply


def _checked_spans(spans: Mapping[str, int]) -> dict[str, int]:
    for name, span in spans.items():
        if name not in INTERFACES or INTERFACES[name].rule != "days":
            raise ValueError(f"{name!r} is no interface whose days can be counted")
        if span < 1:
            raise ValueError(f"a call of {name} has a day at least, not {span}")
    return dict(spans)
