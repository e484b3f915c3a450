"""The management interface: the query of quotas.

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
        now = self._desk.wall()
        try:
            appid, own = self._asking(query, now)
            if method != "POST":
                raise Refused(43002)
            path = _checked(parse_object(body))
            if own and not path.startswith("/cgi-bin/component/"):
                raise Refused(76022)
        except Refused as refused:
            return self._desk.error(refused.code)
        return self._desk.done(**self._quotas.told(appid, self._names.get(path, [path]), now))

    def _asking(self, query: Mapping[str, str], now: float) -> tuple[str, bool]:
        """Whose token it is, and whether it is a platform's own; raises `Refused`."""
        token = self._tokens.find(query.get("access_token", ""))
        if token is None or token.line != "platform":
            return self._account_of(query, now), False
        if fault := self._tokens.fault_of(token, now):
            raise Refused(fault)
        return token.appid, True


def _checked(given: Mapping[str, Any] | None) -> str:
    """The path that is asked about; raises `Refused`."""
    if given is None:
        raise Refused(47001)
    path = given.get("cgi_path")
    if not isinstance(path, str) or not path.startswith("/") or "?" in path or "//" in path:
        raise Refused(76003)
    return path
