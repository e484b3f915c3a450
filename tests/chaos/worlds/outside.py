"""The environment of the engine in a world: network, WeChat, failing sinks and a failing ledger.

Rule: the world's seed determines everything, and every event is logged.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from harvester.base.dates import china
from harvester.errors import AttemptError, LedgerError, SinkError
from harvester.ledger import Spent, SqliteLedger
from harvester.ledger.coverage import Outcome
from harvester.model import Batch, Request, Response
from harvester.sinks.base import Checkpoint, Fence, Sink, Written
from harvester.testing import MemorySink, Simulator
from tests.chaos.worlds.lateness import LATE, Lateness

TIMEOUT = 60.0


@dataclass
class Moods:
    """How likely each trouble is, a share of the calls (0 to 1)."""

    busy: float = 0.0
    slow_down: float = 0.0
    quota: float = 0.0
    not_ready: float = 0.0
    revoked: float = 0.0
    lost: float = 0.0
    cut: float = 0.0
    slow: float = 0.0
    token_busy: float = 0.0
    sink_fails: float = 0.0
    sink_blocks: float = 0.0
    ledger_fails: float = 0.0

    @classmethod
    def drawn(cls, draw: Random) -> Moods:
        """Most troubles are away in most worlds, so that each is also met alone."""
        shares = (0.0, 0.0, 0.0, 0.02, 0.1, 0.4)
        moods = cls(**{name: draw.choice(shares) for name in cls.__dataclass_fields__})
        moods.quota /= 20
        moods.not_ready /= 4
        moods.sink_fails = draw.choice((0.0, 0.0, 0.0, moods.sink_fails / 4))
        moods.ledger_fails = draw.choice((0.0, 0.0, 0.0, moods.ledger_fails / 4))
        return moods


@dataclass
class Call:
    """A data request: when it was sent and answered (the loop's times), and with which errcode.

    code: None if it was not answered; 0 with records.
    """

    sent: float
    answered: float = 0.0
    code: int | None = None


@dataclass
class Traffic:
    """What was seen of one run at the network's end."""

    departures: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    calls: defaultdict[tuple[str, Any], list[Call]] = field(
        default_factory=lambda: defaultdict(list)
    )
    fetches: Counter[str] = field(default_factory=Counter)
    fetches_failed: Counter[str] = field(default_factory=Counter)
    fetching: Counter[str] = field(default_factory=Counter)
    refused: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    held: dict[str, tuple[str, float]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    last_turn: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


class Network:
    """The transport of a world: the simulator's logic behind delays, losses and moods."""

    def __init__(
        self,
        simulator: Simulator,
        draw: Random,
        moods: Moods,
        stormy: str | None,
        log: Callable[[str], None],
        lateness: Lateness | None = None,
    ) -> None:
        self.simulator = simulator
        self.traffic = Traffic()
        self._draw = draw
        self._moods = moods
        self._stormy = stormy
        self._log = log
        self._lateness = lateness
        self._late = {endpoint.path: endpoint for endpoint in LATE} if lateness else {}
        self._owners: dict[str, str] = {}

    async def send(self, request: Request, leave: Any = None) -> Response:
        """The answer, if the world lets it through."""
        traffic, now = self.traffic, asyncio.get_running_loop().time
        if request.path == "/":  # whether anybody is there
            await self._travel()
            return self._answer({})
        fetch = request.path in ("/cgi-bin/stable_token", "/cgi-bin/token")
        if fetch:
            appid = str(json.loads(request.body or b"{}").get("appid", ""))
        else:
            appid = self._owners[dict(request.query)["access_token"]]
        traffic.departures[appid].append(now())
        traffic.in_flight += 1
        traffic.most_in_flight = max(traffic.most_in_flight, traffic.in_flight)
        try:
            if fetch:
                return await self._fetch(appid, request)
            await self._connect()
            today = china(self.simulator.wall()).date()
            call = Call(now())
            traffic.calls[f"{appid} {request.path}", today].append(call)
            response = await self._data(appid, request)
            with suppress(ValueError):  # half of an answer
                call.code = json.loads(response.body).get("errcode", 0)
                call.answered = now()
            return response
        finally:
            traffic.in_flight -= 1

    async def _fetch(self, appid: str, request: Request) -> Response:
        traffic, started = self.traffic, asyncio.get_running_loop().time()
        traffic.fetches[appid] += 1
        traffic.fetching[appid] += 1
        if traffic.fetching[appid] > 1:
            traffic.broken.append(f"{appid} fetches two tokens at a time")
        try:
            await self._travel()
            if self._draw.random() < self._moods.token_busy:
                traffic.fetches_failed[appid] += 1
                return self._answer({"errcode": -1, "errmsg": "system error"})
            reply = self.simulator.handle(request.method, request.path, {}, request.body or b"")
            answer = json.loads(reply.body)
            await self._travel()
            if "access_token" in answer:
                half = started + answer["expires_in"] / 2
                self._hold(appid, answer["access_token"], half)
            return Response(reply.status, reply.body)
        except AttemptError:
            traffic.fetches_failed[appid] += 1
            raise
        finally:
            traffic.fetching[appid] -= 1

    def _hold(self, appid: str, token: str, renewed_at: float) -> None:
        """It has this token now; the one that it had already, young and never refused, was in vain.

        stable_token gives the same one to whoever asks again, so only this shows a needless fetch.
        """
        traffic = self.traffic
        self._owners[token] = appid
        former, until = traffic.held.get(appid, ("", 0.0))
        now = asyncio.get_running_loop().time()
        if token == former and token not in traffic.refused[appid] and now < until:
            traffic.broken.append(f"{appid} fetched the token that it had")
        traffic.held[appid] = (token, renewed_at)

    async def _data(self, appid: str, request: Request) -> Response:
        await self._travel()
        code = self._mood(appid)
        if code is not None:
            self._log(f"{appid} {(request.body or b'').decode()} -> {code}")
            return self._answer({"errcode": code, "errmsg": f"a mood, rid: {self._draw.random()}"})
        query = dict(request.query)
        reply = self.simulator.handle(request.method, request.path, query, request.body or b"")
        if reply.body.startswith((b'{"errcode":40', b'{"errcode":42')):
            self.traffic.refused[appid].add(query["access_token"])
        if self._lateness is not None and (endpoint := self._late.get(request.path)):
            wall = self.simulator.wall()
            body = self._lateness.answered(endpoint, appid, reply.body, wall, self._draw)
            reply = reply._replace(body=body)
        await self._travel()
        self._log(f"{appid} {(request.body or b'').decode()} -> {reply.body[:40]!r}")
        if self._draw.random() < self._moods.cut:
            return Response(reply.status, reply.body[: len(reply.body) // 2])
        return Response(reply.status, reply.body)

    def _mood(self, appid: str) -> int | None:
        draw, moods = self._draw.random(), self._moods
        if self._draw.random() < moods.revoked:  # between the check and the arrival
            self.simulator.revoke(appid)
        busy = 1.0 if appid == self._stormy else moods.busy
        for share, code in (
            (busy, -1),
            (moods.slow_down, 45011),
            (moods.quota, 45009),
            (moods.not_ready, 61503),
        ):
            if draw < share:
                return code
            draw -= share
        return None

    async def _connect(self) -> None:
        """A connection that is not opened; what should have left over it has not."""
        if self._draw.random() < self._moods.lost / 4:
            raise AttemptError("no connection")

    async def _travel(self) -> None:
        drawn = self._draw.random()
        if drawn < self._moods.lost:
            error = AttemptError("the connection was closed before an answer came")
            if drawn < self._moods.lost / 4:
                await asyncio.sleep(TIMEOUT)
                error = AttemptError("no answer within 60 s")
            error.connected = True
            raise error
        longest = 20.0 if drawn > 1 - self._moods.slow else 0.2
        await asyncio.sleep(self._draw.uniform(0.0, longest))

    @staticmethod
    def _answer(value: object) -> Response:
        return Response(200, json.dumps(value).encode())


class ModelSink(MemorySink):
    """The promise of `harvester.sinks.base`, on a disk that outlives its process."""

    listed = True

    def __init__(self, disk: MemorySink) -> None:
        super().__init__("model")
        self.__dict__.update(vars(disk), opened=0)

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """What a write brought is there at once, committed or not."""
        assert checkpoint is not None, "every world keeps a ledger"
        assert not self.opened, "opened twice"
        return await super().open(checkpoint)

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Durable at once."""
        assert self.opened, "written while closed"
        assert {batch.window.appid for batch in batches} <= fence.keys(), "an account has no epoch"
        return await super().write(batches, fence)

    async def close(self) -> None:
        """Let go."""
        self.opened = 0


class MoodySink:
    """Another sink, that fails before or after it wrote, or takes its time."""

    def __init__(self, inner: Sink, draw: Random, moods: Moods) -> None:
        self.inner = inner
        self._draw = draw
        self._moods = moods

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Fails before, or after all was written, as a lost connection does."""
        draw, moods = self._draw, self._moods
        if draw.random() < moods.sink_blocks:
            await asyncio.sleep(draw.uniform(0.0, 30.0))
        fails = draw.random()
        if fails < moods.sink_fails / 2:
            raise SinkError("the disk is full")
        written = await self.inner.write(batches, fence)
        if fails < moods.sink_fails:
            raise SinkError("the connection was lost")
        return written

    async def finish(self) -> Checkpoint:
        """Fails before or after everything is complete."""
        fails = self._draw.random()
        if fails < self._moods.sink_fails / 2:
            raise SinkError("the disk is full")
        entries = await self.inner.finish()
        if fails < self._moods.sink_fails:
            raise SinkError("the connection was lost")
        return entries


class MoodyLedger(SqliteLedger):
    """The ledger, on a disk that fails before or after the commit.

    between: is awaited when the sinks have written, or settled, and the ledger has not stored it;
        it is told which.
    """

    def __init__(
        self, path: Path, draw: Random, moods: Moods, between: Callable[[str], Awaitable[None]]
    ) -> None:
        super().__init__(path)
        self._between = between
        self._draw = draw
        self._moods = moods

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
        epochs: Mapping[str, int] | None = None,
    ) -> Collection[str]:
        """Fails before, or after it was stored."""
        if outcomes or checkpoints:
            await self._between("written" if outcomes else "settled")
        fails = self._draw.random()
        if fails < self._moods.ledger_fails / 2:
            raise LedgerError("the disk is full")
        lost = await super().commit(outcomes, checkpoints, list(spent))
        if fails < self._moods.ledger_fails:
            raise LedgerError("the disk went away")
        return lost
