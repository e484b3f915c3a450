"""What is outside the engine in a world: the network, WeChat's moods, sinks and a ledger that fail.

Rule: everything is drawn from the world's seed, and everything that happens is told to the log.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from harvester.codec import add_checksums, checksum
from harvester.errors import AttemptError, LedgerError, SinkError
from harvester.ledger import Entry, Ledger, Spent
from harvester.model import Batch, Request, Response, Tally, Window
from harvester.plan import china
from harvester.sinks.base import Receipt, Sink, Written
from harvester.testing import Simulator

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
class Traffic:
    """What was seen of one run at the network's end."""

    departures: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    calls: Counter[tuple[str, Any]] = field(default_factory=Counter)
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
    ) -> None:
        self.simulator = simulator
        self.traffic = Traffic()
        self._draw = draw
        self._moods = moods
        self._stormy = stormy
        self._log = log
        self._owners: dict[str, str] = {}

    async def send(self, request: Request, leave: Any = None) -> Response:
        """The answer, if the world lets it through."""
        traffic = self.traffic
        fetch = request.path in ("/cgi-bin/stable_token", "/cgi-bin/token")
        appid = self._appid(request, fetch)
        traffic.departures[appid].append(asyncio.get_running_loop().time())
        traffic.in_flight += 1
        traffic.most_in_flight = max(traffic.most_in_flight, traffic.in_flight)
        try:
            if fetch:
                return await self._fetch(appid, request)
            today = china(self.simulator.wall()).date()
            traffic.calls[f"{appid} {request.path}", today] += 1
            return await self._data(appid, request)
        finally:
            traffic.in_flight -= 1

    def _appid(self, request: Request, fetch: bool) -> str:
        if fetch:
            return str(json.loads(request.body or b"{}").get("appid", ""))
        return self._owners[dict(request.query)["access_token"]]

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

    async def _travel(self) -> None:
        drawn = self._draw.random()
        if drawn < self._moods.lost / 4:
            await asyncio.sleep(TIMEOUT)
            raise AttemptError("no answer within 60 s")
        if drawn < self._moods.lost:
            raise AttemptError("the connection was closed before an answer came")
        longest = 20.0 if drawn > 1 - self._moods.slow else 0.2
        await asyncio.sleep(self._draw.uniform(0.0, longest))

    @staticmethod
    def _answer(value: object) -> Response:
        return Response(200, json.dumps(value).encode())


@dataclass
class _Row:
    """A stored window; born and died: the writes that brought it and took it away."""

    window: Window
    lines: list[bytes]
    born: int
    died: int | None = None


def _within(one: Window, other: Window) -> bool:
    same = (one.appid, one.endpoint) == (other.appid, other.endpoint)
    return same and other.begin <= one.begin and one.end <= other.end


class ModelSink:
    """The promise of `harvester.sinks.base`, word for word, on a disk that outlives its process."""

    def __init__(self, disk: list[_Row], log: Callable[[str], None]) -> None:
        self.identity = "model"
        self.disk = disk
        self.opened = False
        self._serial = 0
        self._settled = True
        self._log = log

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Take away what no receipt speaks of."""
        assert receipt is not None, "every world keeps a ledger"
        assert not self.opened, "opened twice"
        self.opened = True
        self._serial = int(receipt.get("upto", 0))
        self.disk[:] = [row for row in self.disk if row.born <= self._serial]
        for row in self.disk:
            if row.died is not None and row.died > self._serial:
                row.died = None
        return {}

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Durable at once, but it counts only with its receipt."""
        assert self.opened, "written while closed"
        assert self._settled, "written before the last write was settled"
        self._settled = False
        self._serial += 1
        replaced: dict[Window, Tally] = {}
        for batch in batches:
            if batch.replaces:
                self._replace(batch.window, replaced)
            lines = batch.body.splitlines(keepends=True)
            self.disk.append(_Row(batch.window, lines, self._serial))
        return Written({"upto": str(self._serial)}, replaced)

    def _replace(self, window: Window, replaced: dict[Window, Tally]) -> None:
        for row in self.disk:
            if row.died is None and _within(row.window, window):
                row.died = self._serial
                former = replaced.get(window, Tally())
                if row.lines:
                    total = add_checksums(former.checksum, checksum(row.lines))
                    replaced[window] = Tally(former.records + len(row.lines), total)

    async def settle(self) -> None:
        """What died with the last write may go."""
        self._settled = True
        self.disk[:] = [row for row in self.disk if row.died is None or row.died > self._serial]

    async def close(self) -> None:
        """Let go."""
        self.opened = False

    def read_lines(self, receipt: Receipt) -> Iterator[bytes]:
        """What the receipt speaks of."""
        upto = int(receipt.get("upto", 0))
        for row in self.disk:
            if row.born <= upto and (row.died is None or row.died > upto):
                yield from row.lines


class MoodySink:
    """Another sink, that fails before or after it wrote, or takes its time."""

    def __init__(self, inner: Sink, draw: Random, moods: Moods) -> None:
        self.inner = inner
        self._draw = draw
        self._moods = moods
        # What else the inner one can do, it can: from Python 3.12 on a protocol is looked for here,
        # and not by __getattr__.
        for name in {*dir(inner)} - {*dir(type(self))}:
            if name == "directory" or (name[0] != "_" and callable(getattr(inner, name))):
                setattr(self, name, getattr(inner, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def identity(self) -> str:
        """The inner one's."""
        return self.inner.identity

    async def open(self, receipt: Receipt | None) -> Receipt:
        """The inner one's."""
        return await self.inner.open(receipt)

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Fails before, or after all was written, as a lost connection does."""
        draw, moods = self._draw, self._moods
        if draw.random() < moods.sink_blocks:
            await asyncio.sleep(draw.uniform(0.0, 30.0))
        fails = draw.random()
        if fails < moods.sink_fails / 2:
            raise SinkError("the disk is full")
        written = await self.inner.write(batches)
        if fails < moods.sink_fails:
            raise SinkError("the connection was lost")
        return written

    async def settle(self) -> None:
        """The inner one's."""
        await self.inner.settle()

    async def close(self) -> None:
        """The inner one's."""
        await self.inner.close()


class MoodyLedger(Ledger):
    """The ledger, on a disk that fails before or after the commit."""

    def __init__(self, path: Path, draw: Random, moods: Moods) -> None:
        super().__init__(path)
        self._draw = draw
        self._moods = moods

    async def commit(self, entries: Sequence[Entry], spent: Any = ()) -> None:
        """Fails before, or after it was stored."""
        fails = self._draw.random()
        if fails < self._moods.ledger_fails / 2:
            raise LedgerError("the disk is full")
        given: list[Spent] = list(spent)
        await super().commit(entries, given)
        if fails < self._moods.ledger_fails:
            raise LedgerError("the disk went away")
