"""The wait for a server that does not answer."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import pytest

from harvester.base.outage import Away, until_it_answers
from harvester.base.retry import AWAY
from harvester.errors import SinkError
from harvester.testing import run_virtual
from tests.support import environment


class Server:
    """Away until a moment of the loop's time; notes when it is called."""

    def __init__(self, back: float = 0.0) -> None:
        self.back = back
        self.called: list[float] = []

    async def call(self) -> str:
        self.called.append(asyncio.get_running_loop().time())
        if self.called[-1] - self.called[0] < self.back:
            raise Away("it said so")
        return "answered"


def waited(server: Server, patience: float) -> str:
    return run_virtual(lambda _: until_it_answers(server.call, "the server x", patience))


def test_a_server_that_answers_is_called_once() -> None:
    server = Server()
    assert waited(server, 60.0) == "answered"
    assert len(server.called) == 1


def test_a_server_that_comes_back_is_called_until_then() -> None:
    server = Server(back=30.0)
    assert waited(server, 60.0) == "answered"
    gaps = [b - a for a, b in zip(server.called, server.called[1:], strict=False)]
    assert all(gap <= AWAY.ceiling(n) + 0.01 for n, gap in enumerate(gaps, 1))
    assert server.called[-1] - server.called[0] < 30.0 + AWAY.cap + 0.01


@pytest.mark.parametrize(("back", "told"), [(0.2, False), (10.0, True)])
def test_a_longer_wait_is_told_once_and_so_is_its_end(
    back: float, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    waited(Server(back=back), 60.0)
    said = [record.getMessage() for record in caplog.records if record.name == "harvester"]
    if told:
        began, ended = said
        assert re.fullmatch(
            r"the server x does not answer \(it said so\); it will be called again for up to 5\d s",
            began,
        )
        assert ended == "the server x answers again"
    else:
        assert said == []


ALONE = """
import asyncio
from harvester.base.outage import Away, until_it_answers

async def call():
    raise Away("refused")

try:
    asyncio.run(until_it_answers(call, "the server x", 1.5))
except Exception as exc:
    print(exc)
"""


@pytest.mark.thorough
def test_a_program_that_configures_no_logging_prints_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout.startswith("the server x did not answer for 1.5 s")
    assert done.stderr == ""


def test_a_delay_never_passes_five_seconds() -> None:
    assert [AWAY.ceiling(n) for n in range(1, 8)] == [0.25, 0.5, 1, 2, 4, 5, 5]


def test_a_server_that_stays_away_is_named_with_what_to_do_once_patience_has_ended() -> None:
    server = Server(back=1e9)
    with pytest.raises(SinkError) as caught:
        waited(server, 2.5)
    assert str(caught.value) == (
        "the server x did not answer for 2.5 s (it said so); nothing that was committed is"
        " lost: fix the cause and run the same command again"
    )
    assert caught.value.__context__ is None
    assert server.called[-1] - server.called[0] == pytest.approx(2.5, abs=0.01)


def test_patience_begins_when_the_server_is_first_away() -> None:
    async def slow() -> None:
        server.called.append(asyncio.get_running_loop().time())
        await asyncio.sleep(10.0)
        raise Away("after a while")

    server = Server()
    with pytest.raises(SinkError):
        run_virtual(lambda _: until_it_answers(slow, "x", 1.0))
    assert len(server.called) == 2


def test_any_other_error_is_raised_at_once() -> None:
    async def broken() -> None:
        calls.append(None)
        raise ValueError

    calls: list[None] = []
    with pytest.raises(ValueError):  # noqa: PT011  (it is the only one)
        run_virtual(lambda _: until_it_answers(broken, "x", 1.0))
    assert len(calls) == 1
