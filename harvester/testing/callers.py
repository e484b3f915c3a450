"""Finds the account of a call: by its token, or in cloud hosting without one.

Rule: reads tokens, issues none.
"""

from __future__ import annotations

from collections.abc import Mapping

from harvester.testing.component import Component
from harvester.testing.replies import Refused
from harvester.testing.tokens import Tokens


class Callers:
    """cloud_appid, cloud_token: see `harvester.testing.Simulator`; component: if there is one."""

    def __init__(
        self,
        tokens: Tokens,
        component: Component | None,
        cloud_appid: str | None,
        cloud_token: str | None,
    ) -> None:
        if cloud_token is not None and cloud_appid is None:
            raise ValueError("cloud_token needs cloud_appid, the account that it is for")
        self._tokens = tokens
        self._component = component
        self._cloud_appid = cloud_appid
        self._cloud_token = cloud_token

    def account_of(self, query: Mapping[str, str], now: float) -> str:
        """The account whose token a query carries; raises `Refused`."""
        value = query.get("access_token")
        if not value:
            return self._cloud_account(query)
        token = self._tokens.find(value)
        refused = self._tokens.fault_of(token, now)
        if refused or token is None:
            raise Refused(refused)
        if self._component is not None:
            if token.line == "platform":
                raise Refused(48001)
            if token.line == "authorizer" and self._component.withdrawn(token.appid):
                raise Refused(61003)
        return token.appid

    def _cloud_account(self, query: Mapping[str, str]) -> str:
        given = query.get("cloudbase_access_token")
        if given and given != self._cloud_token:
            raise Refused(40014)
        if self._cloud_appid is None:
            raise Refused(41001)
        return self._cloud_appid
