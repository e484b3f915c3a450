"""Fixtures of all tests: a simulated WeChat on a socket, and the command as a process."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harvester.base.dates import QUOTA_MARGIN
from harvester.testing import Simulator
from tests.mysql_server import MySQLServer, mysql_server
from tests.postgres_server import PostgresServer, postgres_server
from tests.proxy import Proxy
from tests.redis_server import RedisServer, redis_server
from tests.support import Wechat
from tests.webhook import Webhook, webhook

# A test that draws its cases draws the same ones each time, however slow the machine is.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

# The command speaks English to the tests, in whatever language the developer works.
os.environ.pop("HARVESTER_LANG", None)
os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("PYTHONUNBUFFERED", None)  # a terminal's user does not have it


def pytest_xdist_auto_num_workers() -> int:
    """For ``-n auto`` one more than the cores: a test waits for processes and sockets now and then.

    With psutil xdist would take half of them on some machines.
    """
    return 1 + (os.cpu_count() or 1)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import files all of whose tests are deselected: each worker would."""
    if config.option.markexpr != "not thorough" or collection_path.suffix != ".py":
        return None
    head = re.search(r"(?m)^pytestmark = .*", collection_path.read_text(encoding="utf-8"))
    return (head is not None and "mark.thorough" in head[0]) or None


@pytest.fixture
def wechat() -> Iterator[Callable[..., Wechat]]:
    """Start a simulated WeChat on loopback: ``wechat(latency=0.01)``."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(Wechat(Simulator(**how)))


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests were started with it ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis that runs; whoever stops it starts it again."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that runs; whoever stops it starts it again."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[Proxy]:
    """What stands between a client and the PostgreSQL."""
    with Proxy(postgres.port) as one:
        yield one


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook that keeps what it was sent."""
    with webhook() as server:
        yield server


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQLServer]:
    """A MariaDB that runs; whoever stops it starts it again."""
    with mysql_server() as server:
        yield server


BEFORE, AFTER = 30.0, QUOTA_MARGIN
"""Seconds around a change of day in which no test begins."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """A test that reads the real clock has one day: of China, of quotas, and of stored figures."""
    for change in (16, 24):  # in UTC: midnight in China, and 08:00 there
        left = (change * 3600 + AFTER - time.time()) % 86_400
        if left < BEFORE + AFTER:
            time.sleep(left)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine function runs in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


SCENARIOS = Path(__file__).parent / "scenarios"

SERVERS = {"mysql", "postgres", "postgresql", "redis"}
"""The fixtures that start a server, and parameters of which a fixture starts one."""
SLOW_SINKS = {"gzip", "memory", "mysql", "postgres", "postgresql", "stdout", "zstd"}
"""Kinds of sinks with which the default run tries neither a scenario nor the suite of all sinks."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """What needs a server, and a scenario with a slow kind of sink, is thorough.

    Of a test that is `sampled` all cases but the first of each three are nightly.
    """
    cases = Counter[str]()
    for item in items:
        if item.get_closest_marker("sampled"):
            name = item.nodeid.partition("[")[0]
            if cases[name] % 3:
                item.add_marker(pytest.mark.nightly)
            cases[name] += 1
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        kind = str(parameters.get("kind")).partition(":")[0]  # may be a kind of something else
        whole = SCENARIOS in item.path.parents or item.path.name == "test_suite.py"
        fixtures = {*getattr(item, "fixturenames", ())}
        needs_server = SERVERS & fixtures
        if "request" in fixtures:  # one of them asks for another by the name in a parameter
            needs_server |= SERVERS & {
                each for each in parameters.values() if isinstance(each, str)
            }
        if (whole and kind in SLOW_SINKS) or needs_server:
            item.add_marker(pytest.mark.thorough)
