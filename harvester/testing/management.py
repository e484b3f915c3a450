"""The management interfaces: query and reset of quotas, and the look-up of request ids.

Rule: no data and no tokens; a function that finds the account of a token is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harvester.testing.catalogue import TABLE
from harvester.testing.desk import Desk, Refused, Reply, parse_object
from harvester.testing.quotas import Quotas
from harvester.testing.tokens import Tokens

AccountOf = Callable[[Mapping[str, str], float], str]

Call = Callable[[str, dict[str, Any]], dict[str, Any]]
"""From an account and its request to the answer; raises `Refused`."""


class Management:
    """account_of: from a query and the time to the account of its token; raises `Refused`."""

    def __init__(self, desk: Desk, quotas: Quotas, tokens: Tokens, account_of: AccountOf) -> None:
        self._desk = desk
        self._quotas = quotas
        self._tokens = tokens
        self._account_of = account_of
        self._names: dict[str, list[str]] = {}
        for interface in TABLE:
            self._names.setdefault(interface.path, []).append(interface.name)

    def quota(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/openapi/quota/get {cgi_path}: of any path.

        With a platform's own token it answers for the platform's own interfaces.
        """
        self._desk.counts["quota/get"] += 1
        token = self._tokens.find(query.get("access_token", ""))
        if token is None or token.line != "platform":
            return self._reply(self._quota, method, query, body)
        given = parse_object(body) or {}
        refused = self._tokens.fault_of(token, self._desk.wall())
        if refused or not str(given.get("cgi_path")).startswith("/cgi-bin/component/"):
            return self._desk.error(refused or 76022)
        return self._desk.done(**self._quota(token.appid, given))

    def clear_path(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/openapi/quota/clear {cgi_path}: one interface."""
        return self._reply(self._clear_path, method, query, body)

    def clear(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/clear_quota {appid}: all interfaces of the token's account."""
        return self._reply(self._clear, method, query, body)

    def request(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/openapi/rid/get {rid}: only of the same account, for seven days."""
        return self._reply(self._request, method, query, body)

    def clear_by_secret(self, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """POST /cgi-bin/clear_quota/v2?appid=&appsecret=: the same as clear, without a token."""
        if method != "POST":
            return self._desk.error(43002)
        given = {**(parse_object(body) or {}), **query}
        appid = str(given.get("appid") or "")
        refused = self._tokens.refusal_of(appid, given.get("appsecret"))
        if not refused and not self._quotas.clear(appid, None, self._desk.wall()):
            refused = 48006
        return self._desk.error(refused) if refused else self._desk.done()

    def _reply(self, call: Call, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        try:
            appid = self._account_of(query, self._desk.wall())
            if method != "POST":
                raise Refused(43002)
            given = parse_object(body)
            if given is None:
                raise Refused(47001)
            return self._desk.done(**call(appid, given))
        except Refused as refused:
            return self._desk.error(refused.code)

    def _quota(self, appid: str, given: dict[str, Any]) -> dict[str, Any]:
        path = _checked(given)
        return self._quotas.told(appid, self._names.get(path, [path]), self._desk.wall())

    def _clear_path(self, appid: str, given: dict[str, Any]) -> dict[str, Any]:
        return self._cleared(appid, self._path(given))

    def _clear(self, appid: str, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("appid") != appid:
            raise Refused(40013)
        return self._cleared(appid, None)

    def _request(self, appid: str, given: dict[str, Any]) -> dict[str, Any]:
        told = self._desk.told(given.get("rid"))
        if told is None or not self._mine(told[0], appid):
            raise Refused(76001)
        return {"request": told[1]}

    def _mine(self, query: Mapping[str, str], appid: str) -> bool:
        token = self._tokens.find(query.get("access_token", ""))
        return appid == (token.appid if token is not None else query.get("appid", appid))

    def _path(self, given: dict[str, Any]) -> list[str]:
        path = _checked(given)
        if path not in self._names:
            raise Refused(76021)
        return self._names[path]

    def _cleared(self, appid: str, names: list[str] | None) -> dict[str, Any]:
        if not self._quotas.clear(appid, names, self._desk.wall()):
            raise Refused(48006)
        return {}


def _checked(given: Mapping[str, Any]) -> str:
    """The path that is asked about; raises `Refused`."""
    path = given.get("cgi_path")
    if not isinstance(path, str) or not path.startswith("/") or "?" in path or "//" in path:
        raise Refused(76003)
    return path
