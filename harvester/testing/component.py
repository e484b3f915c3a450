"""A third-party platform: its ticket, its token, and the accounts that authorised it.

Rule: no data here; an account's token from here opens the data interfaces like any other.

Every appid that begins with ``wx`` has authorised the platform until `Component.deauthorize`.  As
chosen here, tickets and refresh tokens follow from the seed, and the list of authorised accounts
has those that have been mentioned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harvester.base.codec import encode
from harvester.testing.data.draw import chance
from harvester.testing.replies import Desk, Refused, Reply, object_in
from harvester.testing.tokens import Tokens, token_reply

TICKET_PERIOD = 600
TICKET_LIFETIME = 12 * 3600
CALLS = (
    "api_component_token",
    "api_authorizer_token",
    "api_get_authorizer_list",
    "api_get_authorizer_info",
    "api_get_authorizer_option",
)
"""Under ``/cgi-bin/component/``."""
TOKEN_CALLS = CALLS[:2]
MOST_LISTED = 500
"""Accounts of one answer of api_get_authorizer_list, by its page."""
OPTIONS = ("location_report", "voice_recognize", "customer_service")
SETS = (1, 2, 3, 7, 18)
"""The permission sets that every account has granted."""
_PREFIX = "ticket@@@"


class _Authorised:
    """An account that authorised the platform, and when.

    former: serves until ``refresh`` was used.
    """

    def __init__(self, refresh: str, since: float) -> None:
        self.refresh = refresh
        self.since = int(since)
        self.former: str | None = None
        self.rotate = False
        self.withdrawn = False


class Component:
    """The platform: appid and secret, and the state of its accounts."""

    def __init__(
        self, desk: Desk, tokens: Tokens, identity: tuple[str, str], refuse: Mapping[str, int]
    ) -> None:
        self.appid, self._secret = identity
        self._desk = desk
        self._tokens = tokens
        self._refuse = refuse
        self._accounts: dict[str, _Authorised] = {}

    # what a test does

    def ticket(self) -> str:
        """The verify ticket that WeChat would push now; another every ten minutes."""
        return self._ticket(int(self._desk.wall() // TICKET_PERIOD))

    def refresh_token(self, appid: str) -> str:
        """The newest refresh token of an account."""
        return self._account(appid).refresh

    def rotate_refresh(self, appid: str) -> None:
        """Let the next token answer carry a new refresh token."""
        self._account(appid).rotate = True

    def authorize(self, appid: str) -> None:
        """Let an account authorise the platform again; it has a new refresh token then."""
        account = self._account(appid)
        if account.withdrawn:
            account.withdrawn = False
            account.refresh, account.former = self._new_refresh(), None
            account.since = int(self._desk.wall())

    def deauthorize(self, appid: str) -> None:
        """Let an account withdraw what it authorised."""
        self._account(appid).withdrawn = True

    def withdrawn(self, appid: str) -> bool:
        """Whether an account has withdrawn what it authorised."""
        account = self._accounts.get(appid)
        return account is not None and account.withdrawn

    def _ticket(self, number: int) -> str:
        noise = chance(self._desk.seed, self.appid, number, "ticket").getrandbits(256)
        return f"{_PREFIX}{number}_{noise:064x}"

    def _account(self, appid: str) -> _Authorised:
        if appid not in self._accounts:
            noise = chance(self._desk.seed, appid, "refresh token").getrandbits(160)
            refresh = f"refreshtoken@@@{noise:040x}"
            self._accounts[appid] = _Authorised(refresh, self._desk.wall())
        return self._accounts[appid]

    def _new_refresh(self) -> str:
        return f"refreshtoken@@@{self._desk.noise(160)[1]}"

    # requests

    def handle(self, name: str, method: str, query: Mapping[str, str], body: bytes) -> Reply:
        """The reply to a call of ``/cgi-bin/component/<name>``; raises `Refused`."""
        self._desk.counts["token"] += name in TOKEN_CALLS
        given = object_in(method, body)
        now = self._desk.wall()
        if name == "api_component_token":
            return self._component_token(given, now)
        value = query.get("component_access_token") or query.get("access_token", "")
        if refused := self._fault_of(value, given, now):
            raise Refused(refused)
        if name == "api_get_authorizer_list":
            return self._list(given)
        appid = str(given.get("authorizer_appid") or "")
        if refused := self._account_fault(appid):
            raise Refused(refused)
        if name == "api_get_authorizer_info":
            return self._info(appid)
        if name == "api_get_authorizer_option":
            return self._option(appid, given.get("option_name"))
        return self._authorizer_token(appid, given, now)

    def _fault_of(self, value: str, given: dict[str, Any], now: float) -> int:
        if not value:
            return 41001
        token = self._tokens.find(value)
        if token is not None and token.line != "platform":
            return 48001
        if given.get("component_appid") != self.appid:
            return 61011
        return self._tokens.fault_of(token, now)

    def _component_token(self, given: dict[str, Any], now: float) -> Reply:
        if given.get("component_appid") != self.appid:
            raise Refused(61011)
        if given.get("component_appsecret") != self._secret:
            raise Refused(40125)
        refused = self._refuse.get(self.appid) or self._ticket_fault(
            given.get("component_verify_ticket"), now
        )
        if refused:
            raise Refused(refused)
        value, lifetime = self._tokens.issue("platform", self.appid, now)
        return token_reply("component_access_token", value, lifetime)

    def _ticket_fault(self, ticket: object, now: float) -> int:
        text = str(ticket or "")
        number = text.removeprefix(_PREFIX).partition("_")[0]
        if not number.isdecimal() or text != self._ticket(int(number)):
            return 61006
        pushed = int(number) * TICKET_PERIOD
        if pushed > now:
            return 61006
        return 61005 if now >= pushed + TICKET_LIFETIME else 0

    def _authorizer_token(self, appid: str, given: dict[str, Any], now: float) -> Reply:
        account = self._account(appid)
        offered = given.get("authorizer_refresh_token")
        if not offered or offered not in (account.refresh, account.former):
            raise Refused(61023)
        if offered == account.refresh:
            account.former = None
            if account.rotate:
                account.former, account.refresh = account.refresh, self._new_refresh()
                account.rotate = False
        value, lifetime = self._tokens.issue("authorizer", appid, now)
        return token_reply(
            "authorizer_access_token", value, lifetime, authorizer_refresh_token=account.refresh
        )

    def _account_fault(self, appid: str) -> int:
        if not appid.startswith("wx"):
            return 40013
        if self.withdrawn(appid):
            return 61003
        return self._refuse.get(appid, 0)

    # the accounts that authorised it, as the pages of these interfaces describe them

    def _list(self, given: dict[str, Any]) -> Reply:
        offset, count = given.get("offset"), given.get("count")
        if type(offset) is not int or type(count) is not int or not 0 < count <= MOST_LISTED:
            raise Refused(40097)
        known = [
            {"authorizer_appid": appid, "refresh_token": each.refresh, "auth_time": each.since}
            for appid, each in self._accounts.items()
            if not each.withdrawn
        ]
        found = {"total_count": len(known), "list": known[max(offset, 0) :][:count]}
        return Reply(200, encode(found))

    def _info(self, appid: str) -> Reply:
        account = {
            "nick_name": f"account {appid}",
            "service_type_info": {"id": 2},
            "verify_type_info": {"id": 0},
            "user_name": f"gh_{appid[2:]}",
            "alias": "",
        }
        granted = {
            "authorizer_appid": appid,
            "authorizer_refresh_token": self._account(appid).refresh,
            "func_info": [{"funcscope_category": {"id": number}} for number in SETS],
        }
        return Reply(200, encode({"authorizer_info": account, "authorization_info": granted}))

    def _option(self, appid: str, name: object) -> Reply:
        if name not in OPTIONS:
            raise Refused(61012, "invalid option name")
        found = {"authorizer_appid": appid, "option_name": name, "option_value": "0"}
        return Reply(200, encode(found))
