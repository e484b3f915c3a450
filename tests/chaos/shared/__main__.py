"""Real workers on a real PostgreSQL, killed, frozen beyond their lease, and cut off by restarts.

The figures change with every few answers, and each worker cuts its windows differently.  So a row
that is lost, doubled or stale differs from the ledger's tally, which was made from the same answer
as the last committed write; ``verify`` compares them all.

In a failover the ledger loses what it has committed since a moment before, and all connections; the
sink keeps all.  Accounts that do not fit then are rebuilt from the sink.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import date, timedelta
from random import Random
from typing import Any

import psycopg

from harvester.config import plugins
from harvester.ledger import PostgresLedger
from harvester.testing import Reply, Simulator
from harvester.upkeep.rebuild import rebuild_shared
from harvester.upkeep.verify import verify
from harvester.wechat.interfaces import INTERFACES
from tests.chaos.forks import Forks
from tests.mysql_server import mysql_server
from tests.postgres_server import PostgresServer, postgres_server
from tests.support import Wechat

ENDPOINT = "getusersummary"
LEASE = 1.0
RATE, SLOW = 100, 10
"""Requests a second; in the trials with failovers, so that an account has several commits."""
DAYS = 200
ACCOUNTS = 20
WORKERS = 3
LATEST = date(2024, 12, 31)
ROUNDS = (LATEST - INTERFACES[ENDPOINT].first_day).days // DAYS
"""A harvest has days for so many rounds; then another one is begun."""
KINDS = ("postgresql", "mysql")
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


Done = Counter[str]
"""How often each of `DISTURBANCES`, and of ``rounds``, ``rows``, ``requests``."""
DISTURBANCES = ("kills", "freezes", "restarts", "failovers")


class Trial:
    """A harvest in rounds: in each a range of days is harvested by workers that are disturbed."""

    def __init__(
        self,
        server: PostgresServer,
        simulator: Changing,
        url: str,
        spec: str,
        seed: int,
        rate: int,
    ) -> None:
        self._rate = rate
        self._server = server
        self._simulator = simulator
        self._url = url
        self._spec = spec
        self._random = Random(seed)
        self._workers: set[int] = set()
        self._frozen: dict[int, float] = {}
        self._end = LATEST
        self._behind = False  # the standby of the ledger
        self._apart = False  # a worker has found accounts that do not fit
        self.done: Done = Counter()
        self.wrong: list[str] = []

    def run(self, asked: Mapping[str, int], base_url: str) -> None:
        """Disturb until all that is asked for is done, or no days are left."""
        with Forks("tests.chaos.shared.worker") as forks:
            try:
                while self.done["rounds"] < ROUNDS and not self.done >= Counter(asked):
                    self._round(forks, asked, base_url)
                    self._compare()
                    if self.wrong:
                        break
            finally:
                for pid in self._workers:
                    self._signal(pid, signal.SIGKILL)

    def _round(self, forks: Forks, asked: Mapping[str, int], base_url: str) -> None:
        done, random = self.done, self._random
        began = time.monotonic()
        complete = False
        while not complete or self._workers:
            assert time.monotonic() - began < 300, "a round does not end"
            self._thaw()
            complete = self._reap(forks) or complete
            if self._apart and not self._workers:
                self._rebuild()
                complete = False
            while not complete and not self._apart and len(self._workers) < WORKERS:
                self._workers.add(forks.start(self._job(base_url)))
            time.sleep(random.uniform(0.05, 0.4))
            left = [pid for pid in sorted(self._workers) if pid not in self._frozen]
            draw = random.random()
            if not left or complete:
                continue
            if done["kills"] < asked["kills"] and draw < 0.35:
                done["kills"] += self._signal(random.choice(left), signal.SIGKILL)
            elif done["freezes"] < asked["freezes"] and draw < 0.55:
                pid = random.choice(left)
                if self._signal(pid, signal.SIGSTOP):
                    done["freezes"] += 1
                    self._frozen[pid] = time.monotonic() + LEASE * random.uniform(0.5, 2.5)
            elif done["restarts"] < asked["restarts"] and draw < 0.58:
                done["restarts"] += 1
                self._server.stop(signal.SIGQUIT)
                time.sleep(random.uniform(0.0, 0.5))
                self._server.start()
            elif done["failovers"] < asked["failovers"] and draw < 0.65:
                self._fail_over()
        done["rounds"] += 1
        self._end -= timedelta(days=DAYS)

    def _job(self, base_url: str) -> dict[str, Any]:
        return {
            "span": self._random.randint(1, 7),
            "appids": [f"wx{number:016x}" for number in range(ACCOUNTS)],
            "begin": str(self._end - timedelta(days=DAYS - 1)),
            "end": str(self._end),
            "ledger": self._url,
            "sink": self._spec,
            "base_url": base_url,
            "rate": f"{self._rate}/s",
            "daily_quota": 100_000,
            "concurrency": 12,
            "lease": LEASE,
        }

    def _fail_over(self) -> None:
        """Let the standby of the ledger fall behind; or make it the ledger, if it has."""
        with psycopg.connect(self._url) as database:
            database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            names = [name for (name,) in database.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'harvester'"
                " ORDER BY table_name = 'wanted', table_name"  # it refers to the workers
            )]  # fmt: skip
            if not names:  # no worker has made it yet
                return
            if not self._behind:
                database.execute("DROP SCHEMA IF EXISTS kept CASCADE; CREATE SCHEMA kept")
                for name in names:
                    database.execute(f"CREATE TABLE kept.{name} AS TABLE harvester.{name}")
                self._behind = True
                return
            tables = ", ".join(f"harvester.{name}" for name in names)
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            database.execute(f"TRUNCATE {tables}")
            for name in names:
                database.execute(
                    f"INSERT INTO harvester.{name} OVERRIDING SYSTEM VALUE"
                    f" SELECT * FROM kept.{name}"
                )
            database.execute(  # those that wait for the locks have sent what is not to be lost
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        self._behind = False
        self.done["failovers"] += 1

    def _rebuild(self) -> None:
        """Make the ledger anew from the sink."""
        time.sleep(LEASE + 0.2)  # of those that were killed
        asyncio.run(self._rebuilt())
        self._apart = self._behind = False
        self.done["rebuilt"] += 1

    async def _rebuilt(self) -> None:
        found = await rebuild_shared(
            PostgresLedger(self._url), [self._sink()], INTERFACES.get, time.time()
        )
        if found.lost or found.doubtful or found.strange:
            self.wrong.append(f"a rebuild has found {found}")

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

    def _reap(self, forks: Forks) -> bool:
        """Whether a worker has ended with all that it was asked for."""
        complete = False
        for pid in list(self._workers):
            status = forks.status(pid)
            if status is None:
                continue
            self._workers.discard(pid)
            self._frozen.pop(pid, None)
            complete = complete or status == 0
            self._apart = self._apart or status == 1
            if status not in (0, 3, 4, -signal.SIGKILL, 1 if self.done["failovers"] else 0):
                self.wrong.append(f"a worker ended with {status}")
        return complete

    def _compare(self) -> None:
        """Compare every row with the ledger, and the requests with rate and quota."""
        done, wrong, simulator = self.done, self.wrong, self._simulator
        wrong += asyncio.run(self._verified())
        rows = [
            (each.window.appid, record["ref_date"], record["user_source"])
            for each in self._sink().scan(ENDPOINT)
            for record in each.records()
        ]
        done["rows"] = len(rows)
        if len(rows) != len({*rows}):
            wrong.append(f"{len(rows):,} rows of {len({*rows}):,} days and sources")
        covered = Counter(appid for appid, _ in {row[:2] for row in rows})
        days = (LATEST - self._end).days
        if missing := sum(number != days for number in covered.values()):
            wrong.append(f"{missing} accounts lack days")
        done["requests"] = simulator.answers
        for moments in simulator.arrived.values():
            # a frozen process may let out what it was just sending
            early = sum(late - soon < 1.0 - 0.05 for soon, late in
                        zip(moments, moments[self._rate :], strict=False))  # fmt: skip
            if early > done["freezes"] + done["kills"] + done["failovers"] * self._rate:
                wrong.append(f"{early} requests came earlier than the rate allows")
        [(booked,)] = self._server.execute(
            "SELECT sum(calls) FROM harvester.budget", self._url.rpartition("/")[2]
        )
        # of the last second before a kill
        unknown = done["kills"] * len(simulator.arrived) * self._rate
        if not done["failovers"] and booked < simulator.answers - unknown:
            wrong.append(f"{simulator.answers:,} calls were sent, {booked:,} were booked")

    async def _verified(self) -> list[str]:
        async with PostgresLedger(self._url, readonly=True) as ledger:
            sink = self._sink()
            result = await verify(ledger, sink.identity, sink, "")
        return [f"{each.where}: {each.what}" for each in result.differences]

    def _sink(self) -> Any:
        return plugins.sink(self._spec)


def trial(asked: Mapping[str, int], seed: int, kind: str) -> tuple[Done, list[str]]:
    """Run harvests until all was done so often, or something is wrong."""
    total: Done = Counter()
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        mysql = stack.enter_context(mysql_server()) if kind == "mysql" else None
        while True:
            url = spec = server.url(server.new_database())
            if mysql is not None:
                spec = mysql.url(mysql.new_database())
            with Wechat(simulator := Changing()) as wechat:
                one = Trial(
                    server, simulator, url, spec, seed, SLOW if asked["failovers"] else RATE
                )
                one.run({name: asked[name] - total[name] for name in asked}, wechat.url)
            total += one.done
            if one.wrong or all(total[name] >= number for name, number in asked.items()):
                return total, one.wrong
            seed += 1


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.shared", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--freezes", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--failovers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sink", choices=KINDS, default=KINDS[0])
    given = parser.parse_args()
    began = time.monotonic()
    asked = {name: getattr(given, name) for name in DISTURBANCES}
    done, wrong = trial(asked, given.seed, given.sink)
    for problem in wrong[:20]:
        print(f"WRONG: {problem}")
    print(
        f"{done['kills']:,} kills, {done['freezes']:,} freezes, {done['restarts']} restarts of the"
        f" database, {done['failovers']} failovers of the ledger ({done['rebuilt']} times rebuilt)"
        f" in {done['rounds']} rounds: {done['rows']:,} rows compared,"
        f" {done['requests']:,} requests, {len(wrong)} wrong ({time.monotonic() - began:.0f} s)"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
