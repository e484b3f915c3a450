"""The management interface: the query and the clearing of quotas, and the query of request ids.

Rule: no data and no tokens; a function that finds the account of a token is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from harvester.testing.catalogue import TABLE
from harvester.testing.error_messages import CLIENT_IP
from harvester.testing.quotas import Quotas
from harvester.testing.replies import Desk, Refused, Reply, object_in
from harvester.testing.tokens import Tokens

AccountOf = Callable[[Mapping[str, str], float], str]

RID_KEPT = 7 * 86_400.0
"""Seconds for which a request can be looked up by its id."""
RIDS = 10_000
"""The most requests that are remembered."""
_RID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}")


class Management:
    """account_of: from a query and the time to the account of its token; raises `Refused`."""

    def __init__(self, desk: Desk, quotas: Quotas, tokens: Tokens, account_of: AccountOf) -> None:
        self._desk = desk
        self._quotas = quotas
        self._tokens = tokens
        self._account_of = account_of
        self._requests: dict[str, tuple[str, dict[str, Any]]] = {}
        self._names: dict[str, list[str]] = {}
        for interface in TABLE:
            self._names.setdefault(interface.path, []).append(interface.name)

    def quota(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/openapi/quota/get {cgi_path}: of any path.

        With a platform's own token it answers for the platform's own interfaces.
        """
        self._desk.counts["quota/get"] += 1
        now = self._desk.wall()
        appid, own = self._asking(query, now)
        path = _checked(object_in(method, body))
        if own and not path.startswith("/cgi-bin/component/"):
            raise Refused(76022)
        return self._desk.done(**self._quotas.answer(appid, self._names.get(path, [path]), now))

    def clear(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/clear_quota {appid}: the calls of today, of all interfaces."""
        appid = self._account_of(query, self._desk.wall())
        if object_in(method, body).get("appid") != appid:
            raise Refused(40013)
        return self._cleared(appid)

    def clear_by_secret(self, method: str, query: Mapping[str, str], _body: bytes) -> Reply:
        """POST /cgi-bin/clear_quota/v2?appid=&appsecret=: the same without a token."""
        if method != "POST":
            raise Refused(43002)
        appid = query.get("appid", "")
        self._tokens.check_secret(appid, query.get("appsecret"))
        return self._cleared(appid)

    def _cleared(self, appid: str) -> Reply:
        if not self._quotas.clear(appid, self._desk.wall()):
            raise Refused(48006)
        return self._desk.done()

    def rid(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/openapi/rid/get {rid}: a refused request of the same account."""
        now = self._desk.wall()
        appid = self._account_of(query, now)
        rid = object_in(method, body).get("rid")
        if not isinstance(rid, str) or not _RID.fullmatch(rid):
            raise Refused(76002)
        whose, request = self._requests.get(rid, ("", {}))
        if whose != appid or now - request["invoke_time"] > RID_KEPT:
            raise Refused(76001)
        return self._desk.done(request=request)

    def note(
        self, path: str, query: Mapping[str, str], body: bytes, reply: Reply, seconds: float
    ) -> None:
        """Remember the request that was refused last."""
        token = self._tokens.find(query.get("access_token", ""))
        if token is None:
            return
        if len(self._requests) >= RIDS:
            del self._requests[next(iter(self._requests))]
        self._requests[self._desk.rid] = (
            token.appid,
            {
                "invoke_time": int(self._desk.wall()),
                "cost_in_ms": int(seconds * 1000),
                "request_url": f"{path}?{urlencode(query)}",
                "request_body": body.decode(errors="replace"),
                "response_body": reply.body.decode(),
                "client_ip": CLIENT_IP,
            },
        )

    def _asking(self, query: Mapping[str, str], now: float) -> tuple[str, bool]:
        """Whose token it is, and whether it is a platform's own; raises `Refused`."""
        token = self._tokens.find(query.get("access_token", ""))
        if token is None or token.line != "platform":
            return self._account_of(query, now), False
        if fault := self._tokens.fault_of(token, now):
            raise Refused(fault)
        return token.appid, True


def _checked(given: Mapping[str, Any]) -> str:
    """The path that is asked about; raises `Refused`."""
    path = given.get("cgi_path")
    if not isinstance(path, str) or not path.startswith("/") or "?" in path or "//" in path:
        raise Refused(76003)
    return path
