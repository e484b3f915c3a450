"""The simulated WeChat in a process of its own, so that it shares no interpreter with the client.

Every day of every account has exactly eight records, about 2.6 kB, made from a small pool so that
the server is never what is waited for.  `serving` starts it; what it counted is known at the end.

A server that notes arrivals is a measuring instrument: it runs before everything else on its core
where the system lets it, since an arrival that is noted late makes the next one look early.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from harvester.testing import Reply, Simulator, articles, serve
from harvester.testing.catalogue import Interface
from harvester.testing.data.draw import days

RECORDS = 8
_MALLOC_THRESHOLD = 8 * 1024 * 1024


@lru_cache(maxsize=64)
def _pool(index: int) -> list[dict[str, Any]]:
    """Eight believable records."""
    found: list[dict[str, Any]] = []
    day = date(2020, 1, 1) + timedelta(days=index)
    while len(found) < RECORDS:
        found += articles(1, "wx0000000000000001", day)
        day += timedelta(days=64)
    return found[:RECORDS]


class EightRecords(Simulator):
    """A simulator whose days are all alike; it can note when each request came.

    jitter: an answer takes anything from nothing to twice the latency, drawn evenly.
    """

    def __init__(self, *, note_arrivals: bool, jitter: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.arrivals: list[float] = []
        self._note_arrivals = note_arrivals
        self._jitter = Random(1) if jitter else None

    def _rows(
        self, interface: Interface, appid: str, begin: date, end: date, last: date
    ) -> list[dict[str, Any]]:
        """Of getarticlesummary eight records a day, of days before its first one, too."""
        if interface.name == "getarticlesummary":
            return [row for day in days(begin, end) for row in self.truth(appid, day)]
        return super()._rows(interface, appid, begin, end, last)

    def truth(self, appid: str, day: date) -> list[dict[str, Any]]:
        """Eight records of the day."""
        ref_date = day.isoformat()
        return [{**record, "ref_date": ref_date} for record in _pool(day.toordinal() % 64)]

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        """The reply; notes the time of a data request."""
        if self._note_arrivals and path.startswith("/datacube/"):
            self.arrivals.append(self.wall())
        reply = super().handle(method, path, query, body)
        if self._jitter is not None:
            reply = reply._replace(delay=reply.delay * 2 * self._jitter.random())
        return reply


class Server:
    """The running server; ``counts`` and ``arrivals`` are filled when it has ended.

    ca_file: a PEM file of the authority of its certificate, if it speaks TLS.
    """

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        self.url = url
        self.ca_file = ca_file
        self.counts: Counter[str] = Counter()
        self.arrivals: list[float] = []


@contextmanager
def certificate() -> Iterator[tuple[Path, Path]]:
    """A PEM file of an authority, and one of a certificate for loopback with its key."""
    import trustme

    with tempfile.TemporaryDirectory() as made:
        authority, ca_file, own_file = trustme.CA(), Path(made, "ca.pem"), Path(made, "server.pem")
        authority.cert_pem.write_to_path(ca_file)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(own_file)
        yield ca_file, own_file


@contextmanager
def a_core_each(pid: int) -> Iterator[None]:
    """Let this process and another one have a core each, where the system has two to give."""
    cores: set[int] = getattr(os, "sched_getaffinity", lambda _: set())(0)
    if len(cores) < 2:
        yield
        return
    ours, theirs = sorted(cores)[:2]
    os.sched_setaffinity(pid, {theirs})
    os.sched_setaffinity(0, {ours})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def serving(
    *,
    tls: bool = False,
    apart: bool = False,
    latency: float = 0.0,
    jitter: bool = False,
    limit: tuple[int, float] | None = None,
    note_arrivals: bool = False,
) -> Iterator[Server]:
    """Serve until the block ends.

    latency: seconds that an answer takes; with jitter, anything from nothing to twice as many.
    limit: calls of one account in any period of so many seconds.
    tls: whether it speaks HTTPS.  apart: whether server and client have a core each.
    """
    command = [sys.executable, __file__, f"--latency={latency}"]
    if limit is not None:
        command.append(f"--limit={limit[0]}/{limit[1]}")
    if jitter:
        command.append("--jitter")
    if note_arrivals:
        command.append("--note-arrivals")
    with contextlib.ExitStack() as stack:
        ca_file = None
        if tls:
            ca_file, own_file = stack.enter_context(certificate())
            command.append(f"--certificate={own_file}")
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        if apart:
            stack.enter_context(a_core_each(process.pid))
        assert process.stdin is not None
        assert process.stdout is not None
        server = Server(process.stdout.readline().strip(), ca_file)
        if not server.url:
            raise RuntimeError("the server did not start")
        try:
            yield server
        finally:
            process.stdin.close()
            told = json.loads(process.stdout.read())
            server.counts.update(told["counts"])
            server.arrivals += told["arrivals"]


async def _serve(simulator: EightRecords, certificate_file: str) -> None:
    loop = asyncio.get_running_loop()
    bytes(_MALLOC_THRESHOLD)  # as harvester.transport does, and for the same reason
    tls = None
    if certificate_file:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate_file)
    async with serve(simulator, tls=tls) as running:
        print(running.url, flush=True)
        await loop.run_in_executor(None, sys.stdin.read)  # until the parent closes it, or is gone
    print(json.dumps({"counts": simulator.counts, "arrivals": simulator.arrivals}), flush=True)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--jitter", action="store_true")
    parser.add_argument("--limit", default="")
    parser.add_argument("--note-arrivals", action="store_true")
    parser.add_argument("--certificate", default="")
    given = parser.parse_args()
    limit = None
    if given.limit:
        calls, _, period = given.limit.partition("/")
        limit = (int(calls), float(period))
    simulator = EightRecords(
        note_arrivals=given.note_arrivals,
        jitter=given.jitter,
        latency=given.latency,
        minute_limit=limit,
    )
    if given.note_arrivals:
        with contextlib.suppress(AttributeError, OSError):  # as far as the system lets us
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    asyncio.run(_serve(simulator, given.certificate))


if __name__ == "__main__":
    main()
