"""A client that others wrote, wechatpy, talks to the simulated WeChat over a socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from wechatpy import WeChatClient, WeChatClientException, WeChatComponent
from wechatpy.client.api import WeChatDataCube
from wechatpy.exceptions import APILimitedException

from harvester.base.dates import CHINA
from tests.support import Wechat

DAY = date(2024, 3, 4)
PLATFORM = ("wxcomponent1", "platform secret")
METHODS = [name for name in vars(WeChatDataCube) if name.startswith("get_")]


class Client(WeChatClient):
    """wechatpy's client with the one address that it does not let one change."""

    def fetch_access_token(self) -> Any:
        given = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(f"{self.token_base}/cgi-bin/token", given)


class Peer:
    """wechatpy with its addresses turned to a simulated WeChat."""

    def __init__(self, wechat: Callable[..., Wechat], patch: pytest.MonkeyPatch) -> None:
        self.wechat = wechat
        self.patch = patch
        self.made: list[Any] = []

    def start(self, **how: Any) -> Wechat:
        self.server = self.wechat(**how)
        url = self.server.url
        self.patch.setattr(WeChatDataCube, "API_BASE_URL", f"{url}/datacube/")
        self.patch.setattr(WeChatClient, "API_BASE_URL", f"{url}/cgi-bin/")
        self.patch.setattr(WeChatComponent, "API_BASE_URL", f"{url}/cgi-bin")
        self.patch.setattr(Client, "token_base", url, raising=False)
        return self.server

    def opened(self, client: Any) -> Any:
        self.made.append(client)
        return client

    def client(self) -> Any:
        return self.opened(Client("wx1", "practice"))

    def platform(self) -> Any:
        """wechatpy's platform client after a ticket was pushed to it."""
        component = self.opened(WeChatComponent(*PLATFORM, "token", "a" * 43))
        component.session.set("component_verify_ticket", self.server.simulator.ticket())
        return component


@pytest.fixture
def peer(wechat: Callable[..., Wechat], monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    made = Peer(wechat, monkeypatch)
    yield made
    for client in made.made:
        client._http.close()


@pytest.mark.parametrize("method", METHODS)
def test_a_peer_reads_what_there_is(peer: Peer, method: str) -> None:
    server, endpoint = peer.start(), method.replace("_", "")
    rows = getattr(peer.client().datacube, method)(DAY, DAY)
    assert rows == server.simulator.truth_of(endpoint, "wx1", DAY, DAY) != []


def test_a_peer_takes_a_new_token_when_its_own_is_void(peer: Peer) -> None:
    server, client = peer.start(), peer.client()
    client.datacube.get_user_summary(DAY, DAY)
    server.simulator.revoke("wx1")
    assert client.datacube.get_user_summary(DAY, DAY)
    assert server.simulator.counts["tokens made"] == 2


def test_a_peer_understands_refusals(peer: Peer) -> None:
    peer.start(daily_quota={"getusercumulate": 0}, retired=True)
    client = peer.client()
    with pytest.raises(WeChatClientException) as offline:
        client.datacube.get_article_summary(DAY, DAY)
    assert (offline.value.errcode, "rid: " in offline.value.errmsg) == (47009, True)
    with pytest.raises(WeChatClientException) as wide:
        client.datacube.get_user_summary(DAY, DAY + timedelta(days=7))
    assert wide.value.errcode == 61501
    with pytest.raises(APILimitedException):
        client.datacube.get_user_cumulate(DAY, DAY)


def test_a_peer_reads_the_publisher_interface(peer: Peer) -> None:
    server, client, end = peer.start(), peer.client(), DAY + timedelta(days=2)
    params = {
        "action": "publisher_cps_general", "page": 1, "page_size": 90, "start_date": str(DAY),
        "end_date": str(end), "access_token": client.access_token,
    }  # fmt: skip
    answer = client.get(f"{server.url}/publisher/stat", params=params)
    rows = server.simulator.truth_of("publisher_cps_general", "wx1", DAY, end)
    assert (answer["ret"], answer["list"]) == (0, rows)


def test_a_peer_reads_mini_program_statistics(peer: Peer) -> None:
    server = peer.start()
    name = "getweanalysisappiddailyretaininfo"
    dates = {"begin_date": f"{DAY:%Y%m%d}", "end_date": f"{DAY:%Y%m%d}"}
    answer = peer.client().post(f"{server.url}/datacube/{name}", data=dates)
    assert [answer] == server.simulator.truth_of(name, "wx1", DAY, DAY)


# the platform


def test_a_peers_platform_reads_an_accounts_data(peer: Peer) -> None:
    server = peer.start(component=PLATFORM)
    component = peer.platform()
    component.session.set("wx1_refresh_token", server.simulator.refresh_token("wx1"))
    client = peer.opened(component.get_client_by_appid("wx1"))
    rows = client.datacube.get_user_summary(DAY, DAY)
    assert rows == server.simulator.truth_of("getusersummary", "wx1", DAY, DAY)


def test_a_peers_platform_refreshes_an_accounts_token(peer: Peer) -> None:
    server = peer.start(component=PLATFORM)
    component = peer.platform()
    component.session.set("wx1_refresh_token", server.simulator.refresh_token("wx1"))
    client = peer.opened(component.get_client_by_appid("wx1"))
    client.datacube.get_user_summary(DAY, DAY)
    server.simulator.revoke("wx1")
    assert client.datacube.get_user_cumulate(DAY, DAY)


def test_a_peers_platform_is_told_of_a_withdrawal_and_a_wrong_ticket(peer: Peer) -> None:
    server = peer.start(component=PLATFORM)
    component = peer.platform()
    server.simulator.deauthorize("wx1")
    with pytest.raises(WeChatClientException) as withdrawn:
        component.refresh_authorizer_token("wx1", server.simulator.refresh_token("wx1"))
    assert withdrawn.value.errcode == 61003
    component.session.set("component_verify_ticket", "ticket@@@1_wrong")
    with pytest.raises(WeChatClientException) as ticket:
        component.fetch_access_token()
    assert ticket.value.errcode == 61006


def test_yesterday_is_read_by_a_peer_when_it_is_there(peer: Peer) -> None:
    noon = datetime.combine(datetime.now(CHINA).date(), datetime.min.time(), CHINA)
    offset = noon.timestamp() + 12 * 3600 - time.time()
    peer.start(wall=lambda: time.time() + offset)
    yesterday = noon.date() - timedelta(days=1)
    rows = peer.client().datacube.get_user_cumulate(yesterday, yesterday)
    assert [row["ref_date"] for row in rows] == [str(yesterday)]
