"""A client that others wrote, wechatpy, talks to the simulated WeChat over a socket."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from wechatpy import WeChatClient, WeChatClientException, WeChatComponent
from wechatpy.client.api import WeChatDataCube
from wechatpy.exceptions import APILimitedException

from harvester.plan import CHINA
from tests.support import Wechat

DAY = date(2024, 3, 4)
PLATFORM = ("wxcomponent1", "platform secret")
METHODS = {
    "get_user_summary": "getusersummary",
    "get_user_cumulate": "getusercumulate",
    "get_interface_summary": "getinterfacesummary",
    "get_interface_summary_hour": "getinterfacesummaryhour",
    "get_article_summary": "getarticlesummary",
    "get_article_total": "getarticletotal",
    "get_user_read": "getuserread",
    "get_user_read_hour": "getuserreadhour",
    "get_user_share": "getusershare",
    "get_user_share_hour": "getusersharehour",
    "get_upstream_msg": "getupstreammsg",
    "get_upstream_msg_hour": "getupstreammsghour",
    "get_upstream_msg_week": "getupstreammsgweek",
    "get_upstream_msg_month": "getupstreammsgmonth",
    "get_upstream_msg_dist": "getupstreammsgdist",
    "get_upstream_msg_dist_week": "getupstreammsgdistweek",
    "get_upstream_msg_dist_month": "getupstreammsgdistmonth",
}
PEERS = pytest.mark.parametrize(("method", "endpoint"), METHODS.items(), ids=list(METHODS))


class Client(WeChatClient):
    """wechatpy's client with the one address that it does not let one change."""

    def fetch_access_token(self) -> Any:
        given = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(f"{self.token_base}/cgi-bin/token", given)


@pytest.fixture
def start(wechat: Callable[..., Wechat], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Wechat]:
    """Start a simulated WeChat and turn wechatpy's addresses to it."""

    def starting(**how: Any) -> Wechat:
        server = wechat(**how)
        monkeypatch.setattr(WeChatDataCube, "API_BASE_URL", f"{server.url}/datacube/")
        monkeypatch.setattr(WeChatClient, "API_BASE_URL", f"{server.url}/cgi-bin/")
        monkeypatch.setattr(WeChatComponent, "API_BASE_URL", f"{server.url}/cgi-bin")
        monkeypatch.setattr(Client, "token_base", server.url, raising=False)
        return server

    return starting


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """Close the connections of clients when a test ends."""
    clients: list[Any] = []

    def opening(client: Any) -> Any:
        clients.append(client)
        return client

    yield opening
    for client in clients:
        client._http.close()


def platform(server: Wechat, opened: Callable[[Any], Any]) -> Any:
    """wechatpy's platform client after a ticket was pushed to it."""
    component = opened(WeChatComponent(*PLATFORM, "token", "a" * 43))
    component.session.set("component_verify_ticket", server.simulator.ticket())
    return component


def test_all_methods_of_the_peer_are_asked() -> None:
    public = {name for name, _ in inspect.getmembers(WeChatDataCube, inspect.isfunction)}
    assert {name for name in public if name.startswith("get_")} == set(METHODS)


@PEERS
def test_a_peer_reads_what_there_is(
    start: Callable[..., Wechat], opened: Callable[[Any], Any], method: str, endpoint: str
) -> None:
    server = start()
    client = opened(Client("wx1", "practice"))
    rows = getattr(client.datacube, method)(DAY, DAY)
    assert rows == server.simulator.truth_of(endpoint, "wx1", DAY, DAY) != []


def test_a_peer_takes_a_new_token_when_its_own_is_void(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    server = start()
    client = opened(Client("wx1", "practice"))
    client.datacube.get_user_summary(DAY, DAY)
    server.simulator.revoke("wx1")
    assert client.datacube.get_user_summary(DAY, DAY)
    assert server.simulator.counts["tokens made"] == 2


def test_a_peer_understands_refusals(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    start(daily_quota={"getusercumulate": 0}, retired=True)
    client = opened(Client("wx1", "practice"))
    with pytest.raises(WeChatClientException) as offline:
        client.datacube.get_article_summary(DAY, DAY)
    assert (offline.value.errcode, "rid: " in offline.value.errmsg) == (47009, True)
    with pytest.raises(WeChatClientException) as wide:
        client.datacube.get_user_summary(DAY, DAY + timedelta(days=7))
    assert wide.value.errcode == 61501
    with pytest.raises(APILimitedException):
        client.datacube.get_user_cumulate(DAY, DAY)


def test_a_peer_reads_the_publisher_interface(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    server = start()
    client = opened(Client("wx1", "practice"))
    params = {
        "action": "publisher_cps_general", "page": 1, "page_size": 90, "start_date": str(DAY),
        "end_date": str(DAY + timedelta(days=2)),
    }  # fmt: skip
    params["access_token"] = client.access_token
    answer = client.get(f"{server.url}/publisher/stat", params=params)
    rows = server.simulator.truth_of("publisher_cps_general", "wx1", DAY, DAY + timedelta(days=2))
    assert (answer["ret"], answer["list"]) == (0, rows)


def test_a_peer_reads_mini_program_statistics(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    server = start()
    client = opened(Client("wx1", "practice"))
    name = "getweanalysisappiddailyretaininfo"
    dates = {"begin_date": f"{DAY:%Y%m%d}", "end_date": f"{DAY:%Y%m%d}"}
    answer = client.post(f"{server.url}/datacube/{name}", data=dates)
    assert [answer] == server.simulator.truth_of(name, "wx1", DAY, DAY)


# the platform


def test_a_peers_platform_reads_an_accounts_data(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    server = start(component=PLATFORM)
    component = platform(server, opened)
    component.session.set("wx1_refresh_token", server.simulator.refresh_token("wx1"))
    client = opened(component.get_client_by_appid("wx1"))
    rows = client.datacube.get_user_summary(DAY, DAY)
    assert rows == server.simulator.truth_of("getusersummary", "wx1", DAY, DAY)


def test_a_peers_platform_refreshes_an_accounts_token(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    server = start(component=PLATFORM)
    component = platform(server, opened)
    component.session.set("wx1_refresh_token", server.simulator.refresh_token("wx1"))
    client = opened(component.get_client_by_appid("wx1"))
    assert client.datacube.get_user_summary(DAY, DAY)
    server.simulator.revoke("wx1")
    assert client.datacube.get_user_cumulate(DAY, DAY)


def test_a_peers_platform_is_told_of_a_withdrawal_and_a_wrong_ticket(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    server = start(component=PLATFORM)
    component = platform(server, opened)
    server.simulator.deauthorize("wx1")
    with pytest.raises(WeChatClientException) as withdrawn:
        component.refresh_authorizer_token("wx1", server.simulator.refresh_token("wx1"))
    assert withdrawn.value.errcode == 61003
    component.session.set("component_verify_ticket", "ticket@@@1_wrong")
    with pytest.raises(WeChatClientException) as ticket:
        component.fetch_access_token()
    assert ticket.value.errcode == 61006


def test_yesterday_is_read_by_a_peer_when_it_is_there(
    start: Callable[..., Wechat], opened: Callable[[Any], Any]
) -> None:
    noon = datetime.combine(datetime.now(CHINA).date(), datetime.min.time(), CHINA)
    offset = noon.timestamp() + 12 * 3600 - time.time()
    start(wall=lambda: time.time() + offset)
    client = opened(Client("wx1", "practice"))
    yesterday = noon.date() - timedelta(days=1)
    rows = client.datacube.get_user_cumulate(yesterday, yesterday)
    assert [row["ref_date"] for row in rows] == [str(yesterday)]
