"""Real workers on a real PostgreSQL, killed, frozen beyond their lease, and cut off by restarts.

The figures change with every few answers, and each worker cuts its windows differently.  So a row
that is lost, doubled or stale differs from the ledger's tally, which was made from the same answer
as the last committed write; ``verify`` compares them all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from random import Random
from typing import Any

from harvester import plugins
from harvester.datacube import INTERFACES
from harvester.ledger import PostgresLedger
from harvester.ledger.base import KnownSink
from harvester.secrets import Secret
from harvester.sinks.base import keep_with
from harvester.testing import Reply, Simulator
from harvester.verify import verify
from tests.mysql_server import mysql_server
from tests.postgres_server import PostgresServer, postgres_server
from tests.support import Wechat

ENDPOINT = "getusersummary"
LEASE = 1.0
RATE = 100
DAYS = 200
ACCOUNTS = 20
WORKERS = 3
QUOTA = 100_000
LATEST = date(2024, 12, 31)
ROUNDS = (LATEST - INTERFACES[ENDPOINT].first_day).days // DAYS
"""A harvest has days for so many rounds; then another one is begun."""
KINDS = ("postgresql", "iceberg", "mysql")
CHANGES = 20
"""The figures change after so many answers."""


class Changing(Simulator):
    """A simulated WeChat whose figures change, and which notes when each request arrived."""

    def __init__(self, **how: Any) -> None:
        super().__init__(secret="practice", latency=0.005, **how)
        self.answers = 0
        self.arrived: defaultdict[str, list[float]] = defaultdict(list)

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        if path.startswith("/datacube/"):
            self.answers += 1
            self.arrived[query.get("access_token", "")].append(time.monotonic())
        return super().handle(method, path, query, body)

    def _thinned(self, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        change = self.answers // CHANGES
        return [{**row, "new_user": row["new_user"] + change} for row in rows]


@dataclass
class Found:
    """What a trial has done, and what is wrong."""

    kills: int = 0
    freezes: int = 0
    restarts: int = 0
    rounds: int = 0
    rows: int = 0
    requests: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Farm:
    """The process that makes workers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.shared.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        return None if answer == "None" else int(answer)

    def start(self, job: dict[str, Any]) -> int:
        pid: int = self._ask(job)
        return pid

    def status(self, pid: int) -> int | None:
        """How a worker ended; None as long as it has not."""
        status: int | None = self._ask({"wait": pid})
        return status

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Trial:
    """A harvest in rounds: in each a range of days is harvested by workers that are disturbed."""

    def __init__(self, server: PostgresServer, wechat: Wechat, seed: int, sink: str = "") -> None:
        self._server = server
        self._wechat = wechat
        self._url = server.url(server.new_database())
        self._spec = sink or self._url
        self._random = Random(seed)
        self._farm = Farm()
        self._workers: set[int] = set()
        self._frozen: dict[int, float] = {}
        self._end = LATEST
        self.found = Found()

    def run(self, kills: int, freezes: int, restarts: int) -> Found:
        """Disturb until all is done so often, or no days are left."""
        found = self.found
        try:
            while found.rounds < ROUNDS and (
                found.kills < kills or found.freezes < freezes or found.restarts < restarts
            ):
                self._round(kills, freezes, restarts)
                self._compare()
                if found.wrong:
                    break
        finally:
            self._end_all()
            self._farm.close()
        return found

    def _round(self, kills: int, freezes: int, restarts: int) -> None:
        found, random = self.found, self._random
        began = time.monotonic()
        complete = False
        while not complete or self._workers:
            assert time.monotonic() - began < 300, "a round does not end"
            self._thaw()
            complete = self._reap() or complete
            while not complete and len(self._workers) < WORKERS:
                self._workers.add(self._farm.start(self._job()))
            time.sleep(random.uniform(0.05, 0.4))
            left = [pid for pid in sorted(self._workers) if pid not in self._frozen]
            draw = random.random()
            if not left or complete:
                continue
            if found.kills < kills and draw < 0.35:
                found.kills += self._signal(random.choice(left), signal.SIGKILL)
            elif found.freezes < freezes and draw < 0.55:
                pid = random.choice(left)
                if self._signal(pid, signal.SIGSTOP):
                    found.freezes += 1
                    self._frozen[pid] = time.monotonic() + LEASE * random.uniform(0.5, 2.5)
            elif found.restarts < restarts and draw < 0.58:
                found.restarts += 1
                self._server.stop(signal.SIGQUIT)
                time.sleep(random.uniform(0.0, 0.5))
                self._server.start()
        found.rounds += 1
        self._end -= timedelta(days=DAYS)

    def _job(self) -> dict[str, Any]:
        return {
            "endpoint": ENDPOINT,
            "span": self._random.randint(1, 7),
            "appids": [f"wx{number:016x}" for number in range(ACCOUNTS)],
            "start": str(self._end - timedelta(days=DAYS - 1)),
            "end": str(self._end),
            "ledger": self._url,
            "sink": self._spec,
            "base_url": self._wechat.url,
            "rate": f"{RATE}/s",
            "daily_quota": QUOTA,
            "concurrency": 12,
            "lease": LEASE,
        }

    def _signal(self, pid: int, which: signal.Signals) -> bool:
        with suppress(ProcessLookupError):
            os.kill(pid, which)
            return True
        return False

    def _thaw(self) -> None:
        for pid, until in list(self._frozen.items()):
            if time.monotonic() >= until:
                self._signal(pid, signal.SIGCONT)
                del self._frozen[pid]

    def _reap(self) -> bool:
        """Whether a worker has ended with all that it was asked for."""
        complete = False
        for pid in list(self._workers):
            status = self._farm.status(pid)
            if status is None:
                continue
            self._workers.discard(pid)
            self._frozen.pop(pid, None)
            complete = complete or status == 0
            if status not in (0, 3, 4, -signal.SIGKILL):
                self.found.wrong.append(f"a worker ended with {status}")
        return complete

    def _end_all(self) -> None:
        for pid in self._workers:
            self._signal(pid, signal.SIGKILL)
            self._signal(pid, signal.SIGCONT)

    def _compare(self) -> None:
        """Compare every row with the ledger, and the requests with rate and quota."""
        found = self.found
        first = self._end + timedelta(days=1)
        days = (LATEST - first).days + 1
        found.wrong += asyncio.run(self._verified())
        rows = [
            (each.window.appid, record["ref_date"], record["user_source"])
            for each in self._sink().scan(ENDPOINT)
            for record in each.records()
        ]
        found.rows = len(rows)
        if len(rows) != len({*rows}):
            found.wrong.append(f"{len(rows):,} rows of {len({*rows}):,} days and sources")
        covered = Counter(appid for appid, _ in {row[:2] for row in rows})
        if missing := sum(number != days for number in covered.values()):
            found.wrong.append(f"{missing} accounts lack days")
        simulator = self._wechat.simulator
        assert isinstance(simulator, Changing)
        found.requests = simulator.answers
        for moments in simulator.arrived.values():
            # a frozen process may let out what it was just sending
            early = sum(late - soon < 1.0 - 0.05 for soon, late in
                        zip(moments, moments[RATE:], strict=False))  # fmt: skip
            if early > found.freezes + found.kills:
                found.wrong.append(f"{early} requests came earlier than the rate allows")
        [(booked,)] = self._server.execute(
            "SELECT sum(calls) FROM harvester.budget", self._url.rpartition("/")[2]
        )
        if booked < simulator.answers:
            found.wrong.append(f"{simulator.answers:,} calls were sent, {booked:,} were booked")

    async def _verified(self) -> list[str]:
        async with PostgresLedger(self._url, readonly=True) as ledger:
            sink = self._sink()
            result = await verify(ledger, sink.identity, sink, KnownSink(True))
        return [f"{each.where}: {each.what}" for each in result.differences]

    def _sink(self) -> Any:
        sink = plugins.sink(self._spec)
        keep_with(sink, Secret(self._url))
        return sink


def trial(kills: int, freezes: int, restarts: int, seed: int = 1, kind: str = KINDS[0]) -> Found:
    """Run harvests on a server of their own until all was done so often."""
    total = Found()
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        mysql = stack.enter_context(mysql_server()) if kind == "mysql" else None
        while not total.wrong:
            spec = ""
            if kind == "iceberg":
                spec = f"iceberg:{stack.enter_context(tempfile.TemporaryDirectory())}/lake"
            elif mysql is not None:
                spec = mysql.url(mysql.new_database())
            with Wechat(Changing()) as wechat:
                found = Trial(server, wechat, seed, spec).run(
                    kills - total.kills, freezes - total.freezes, restarts - total.restarts
                )
            total.add(found)
            if total.kills >= kills and total.freezes >= freezes and total.restarts >= restarts:
                break
            seed += 1
    return total


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.shared", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--freezes", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sink", choices=KINDS, default=KINDS[0])
    given = parser.parse_args()
    began = time.monotonic()
    found = trial(given.kills, given.freezes, given.restarts, given.seed, given.sink)
    for problem in found.wrong[:20]:
        print(f"WRONG: {problem}")
    print(
        f"{found.kills:,} kills, {found.freezes:,} freezes, {found.restarts} restarts of the"
        f" database in {found.rounds} rounds: {found.rows:,} rows compared,"
        f" {found.requests:,} requests, {len(found.wrong)} wrong"
        f" ({time.monotonic() - began:.0f} s)"
    )
    return 1 if found.wrong else 0
