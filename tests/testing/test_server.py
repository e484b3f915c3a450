from __future__ import annotations

import gc
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from harvester.testing import Simulator
from tests.support import Wechat


@pytest.mark.thorough
def test_a_server_that_ends_while_connections_come_leaves_none_open(recwarn) -> None:
    for number in range(40):
        with ExitStack() as stack, Wechat(Simulator()) as server:
            for _ in range(number):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", urlsplit(server.url).port))
    gc.collect()
    assert not recwarn.list
