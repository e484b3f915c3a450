"""A simulated WeChat whose clock is set by hand, and the requests that the tests send it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import date, timedelta
from typing import Any

from harvester.base.dates import last_legal_day
from harvester.testing import Reply, Simulator, VirtualTimeLoop, run_virtual
from harvester.testing.catalogue import INTERFACES, Interface

DATA = "/datacube/getarticlesummary"
DAY = date(2023, 6, 1)
START = 1_700_000_000.0  # 2023-11-15 06:13:20 in China
GRANT = {"grant_type": "client_credential", "appid": "wx1", "secret": "practice"}

LIST = [each for each in INTERFACES.values() if each.shape not in ("publisher", "game")]
PUBLISHER = [interface for interface in INTERFACES.values() if interface.shape == "publisher"]


def virtual(test: Callable[[VirtualTimeLoop], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that is a coroutine function runs in virtual time."""
    return lambda: run_virtual(test)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Wechat(Simulator):
    """A simulator whose clock is set by hand, and the requests that the tests send."""

    def __init__(self, now: float = START, **how: Any) -> None:
        self.clock = Clock()
        self.clock.now = now
        super().__init__(wall=self.clock, **how)

    def stable(self, **changed: object) -> dict[str, Any]:
        body = json.dumps({**GRANT, **changed}).encode()
        return read(self.handle("POST", "/cgi-bin/stable_token", {}, body))

    def classic(self, **changed: str) -> dict[str, Any]:
        return read(self.handle("GET", "/cgi-bin/token", {**GRANT, **changed}, b""))

    def token(self, appid: str = "wx1") -> str:
        return str(self.stable(appid=appid)["access_token"])

    def reply(self, token: str, begin: date = DAY, end: date | None = None) -> Reply:
        body = json.dumps({"begin_date": str(begin), "end_date": str(end or begin)}).encode()
        return self.handle("POST", DATA, {"access_token": token}, body)

    def ask(self, token: str, begin: date = DAY, end: date | None = None) -> dict[str, Any]:
        return read(self.reply(token, begin, end))

    def call(self, path: str, token: str | None = None, **given: object) -> dict[str, Any]:
        """POST an object; with the token of wx1 unless another is given."""
        query = {"access_token": self.token() if token is None else token}
        return read(self.handle("POST", path, query, json.dumps(given).encode()))

    def data(
        self, name: str, begin: date, end: date | None = None, appid: str = "wx1"
    ) -> dict[str, Any]:
        """What an interface answers, asked as its page says."""
        interface, end = INTERFACES[name], end or begin
        token = self.token(appid)
        if interface.shape == "publisher":
            return self.stat(name, begin, end, token=token)
        dates = {"begin_date": written(interface, begin), "end_date": written(interface, end)}
        return self.call(interface.path, token, **dates)

    def stat(
        self, action: str, begin: date, end: date, *, token: str | None = None, **more: object
    ) -> dict[str, Any]:
        """What the publisher interface answers."""
        query = {
            "action": action, "access_token": self.token() if token is None else token,
            "page": 1, "page_size": 90, "start_date": begin, "end_date": end, **more,
        }  # fmt: skip
        strings = {key: str(value) for key, value in query.items() if value is not None}
        return read(self.handle("GET", "/publisher/stat", strings, b""))


def written(interface: Interface, day: date) -> str:
    return f"{day:%Y%m%d}" if interface.compact else day.isoformat()


def legal(interface: Interface, now: float) -> tuple[date, date]:
    """Dates that an interface accepts and that have been over for a while."""
    monday = date(2026, 3, 2)
    if interface.rule == "week":
        return monday, monday + timedelta(days=6)
    if interface.rule == "month":
        return date(2026, 3, 1), date(2026, 3, 31)
    if interface.rule == "portrait":
        return last_legal_day(now), last_legal_day(now)
    return monday, monday


def read(reply: Reply) -> dict[str, Any]:
    assert (reply.status, reply.fault) == (200, "")
    answer = json.loads(reply.body)
    assert isinstance(answer, dict)
    return answer


def code(answer: Mapping[str, Any]) -> int | None:
    return answer.get("errcode")
