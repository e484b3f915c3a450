"""The daily service in virtual time: mornings with everything that can happen to them."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from harvester import api
from harvester.base.secrets import Secret
from harvester.config.settings import engine_options
from harvester.engine.run import Engine
from harvester.engine.writer import Writer
from harvester.errors import AttemptError, LedgerError, SinkError, UsageError
from harvester.events import Event, Requested
from harvester.exports import run as run_of_exports
from harvester.ledger import SqliteLedger
from harvester.model import Request, Response
from harvester.report.week import Week
from harvester.service import serve
from harvester.service.mail import Message
from harvester.service.sender import DeliveryError, describe
from harvester.service.serve import Service, Setup
from harvester.service.state import State, update
from harvester.testing import FakeTransport, Faults, Simulator, VirtualTimeLoop, run_virtual
from tests.support import as_multiset, at, bare, days, stored

A, B, C, D = (f"wx00000000000000{letter}{letter}" for letter in "abcd")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
BEGIN = date(2026, 3, 1)
FIRST = date(2026, 2, 20)

CONFIG = """
endpoint = ["getusersummary", "getarticleread"]
start = "{first}"
end = "yesterday"
accounts = "accounts.toml"
rate = "1000/s"
sink = ["jsonl:data"]
ledger = "ledger.sqlite"

[serve]
at = "08:05"
alerts = ["env:ALERTS"]
ping = "env:PING"
lang = "en"
"""


class World:
    """A WeChat with the right time, a machine whose clock may be set, and its service.

    sent: the messages that arrived, with the Unix time at which they did.  lines: of the log;
    warned: those of what went wrong.  asked: when
    something of an account was.  off:
    seconds by which the machine's clock is ahead; reading: seconds that each reading of it takes.
    away: whether no server answers; deaf: whether the webhook does not.  hangs: seconds until a
    connection is reset.
    """

    def __init__(self, folder: Path, loop: VirtualTimeLoop, **how: Any) -> None:
        self.folder, self.loop = folder, loop
        self.simulator = Simulator(wall=self.right, **how)
        self.sent: list[tuple[float, Message]] = []
        self.lines: list[str] = []
        self.warned: list[str] = []
        self.begun: list[float] = []
        self.asked: defaultdict[str, list[float]] = defaultdict(list)
        self.off = self.reading = self.hangs = 0.0
        self.away = self.deaf = False
        self.kill_after = 0
        self.then: Callable[[], None] = self.kill
        self.service: Service | None = None
        self._task: asyncio.Task[None] | None = None
        self._network = FakeTransport(self.simulator, latency=0.01)
        self.list_accounts(A, B, C)
        (folder / "harvester.toml").write_text(CONFIG.format(first=FIRST))

    def list_accounts(self, *appids: str) -> None:
        """Write the file of accounts."""
        text = "\n".join(
            f'[[account]]\nappid = "{each}"\nname = "name of {each[-1]}"\nsecret = "env:SECRET"'
            for each in appids
        )
        (self.folder / "accounts.toml").write_text(text)

    def right(self) -> float:
        """The right Unix time."""
        return at(str(BEGIN), 7) + self.loop.time()

    def machine(self) -> float:
        """The time of the machine."""
        self.off += self.reading
        return self.right() + self.off

    async def send(self, request: Request, leave: Any = None) -> Response:
        """WeChat's answer."""
        if self.away:
            await asyncio.sleep(1)
            raise AttemptError("no server answers")
        if "token" in request.path:
            told = f"{request.query} {request.body!r}"
            for appid in (A, B, C, D):
                self.asked[appid] += [self.right()] * (appid in told)
        if self.kill_after and request.path.startswith("/datacube/"):
            self.kill_after -= 1
            if not self.kill_after:
                self.then()
        try:
            return await self._network.send(request)
        except AttemptError:
            await asyncio.sleep(self.hangs)
            raise

    async def deliver(self, message: Message, url: Secret) -> None:
        """The webhook."""
        await asyncio.sleep(0.5)
        if self.deaf:
            raise DeliveryError("it does not answer")
        assert url.value == ("json://a-token@hook" if message.title else "http://ping/a-token")
        self.sent.append((self.right(), message))

    def observe(self, event: Event) -> None:
        """What was asked of an account."""
        if isinstance(event, Requested):
            for answer in event.answers:
                self.asked[answer[0]].append(self.right())

    def say(self, text: str) -> None:
        """The log."""
        self.lines.append(text)
        if "begins" in text:
            self.begun.append(self.right())

    def warn(self, text: str) -> None:
        """The log, of what went wrong."""
        self.warned.append(text)
        self.say(text)

    def start(self) -> None:
        """Start the service, as a new process."""
        self.service = Service(
            lambda: Setup.load(self.folder / "harvester.toml"),
            log=self.say,
            warn=self.warn,
            clock=self.machine,
            deliver=self.deliver,
            observe=self.observe,
        )
        self._task = asyncio.ensure_future(self.service.run())

    def kill(self) -> None:
        """End the service at once."""
        assert self._task is not None
        self._task.cancel()

    async def stop(self) -> None:
        """End the service in order."""
        assert self.service is not None
        assert self._task is not None
        self.service.stop()
        await self._task

    async def until(self, day: int, hour: float) -> None:
        """Wait for an hour of a day of the test, from 0."""
        moment = at(str(BEGIN + timedelta(days=day)), hour)
        assert moment >= self.right()
        await asyncio.sleep(moment - self.right())
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    # what was observed

    def keys(self, word: str = "") -> list[str]:
        """The keys of the messages that arrived, of one kind."""
        return [each.key for _, each in self.sent if each.key.startswith(word)]

    def alerts(self) -> list[str]:
        """The bodies of the alerts, in order."""
        return [each.body for _, each in self.sent if each.key.startswith("alert")]

    def digest(self, day: int) -> Message:
        """The digest of a day."""
        [found] = self.digests(day)
        return found

    def digests(self, day: int) -> list[Message]:
        """All digests of a day."""
        title = f"harvester: {BEGIN + timedelta(days=day)}: "
        return [each for _, each in self.sent if each.title.startswith(title)]

    def check_days(self, number: int, *twice: int) -> None:
        """A digest and a ping of each day, once; twice: the digest, for a wrong clock."""
        assert max(Counter(self.keys()).values()) == 1
        told = [len(self.digests(day)) for day in range(number)]
        assert told == [2 if day in twice else 1 for day in range(number)]
        assert (len(self.keys("digest")), len(self.keys("ping"))) == (sum(told), number)

    def check_records(self, last: date, *appids: str) -> None:
        """Each record of each day is stored once."""
        for endpoint in ("getusersummary", "getarticleread"):
            found = as_multiset(
                (each["_appid"], endpoint, bare(each))
                for each in stored(self.folder / "data", endpoint)
            )
            truth = as_multiset(
                (appid, endpoint, record)
                for appid in appids
                for day in days(FIRST, last)
                for record in self.simulator.truth_of(endpoint, appid, day, day)
            )
            assert found == truth, endpoint

    def served(self) -> Counter[int]:
        """How many windows were answered with their data how often."""
        return Counter(self.simulator.served_of.values())


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("SECRET", "practice"),
        ("ALERTS", "json://a-token@hook"),
        ("PING", "http://ping/a-token"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(serve, "check_url", lambda reference, url: None)  # Apprise takes seconds
    monkeypatch.setattr(serve, "TICK", 600.0)
    monkeypatch.setattr(serve, "LOOKED_AFTER", 3 * HOUR)


def live(folder: Path, monkeypatch: pytest.MonkeyPatch, story: Any, **how: Any) -> World:
    """Let a story happen in virtual time."""

    async def main(loop: VirtualTimeLoop) -> World:
        world = World(folder, loop, **how)
        monkeypatch.setattr(api, "time", SimpleNamespace(time=world.machine))
        monkeypatch.setattr(api, "Engine", partial(Engine, wall=world.machine))
        monkeypatch.setattr(api, "_transport", lambda options: nullcontext(world))
        monkeypatch.setattr(api, "_within", lambda transport, options: options)
        await story(world)
        return world

    return run_virtual(main)


@pytest.mark.thorough
def test_a_day_is_harvested_at_its_hour_and_nothing_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 8.05)
        assert not world.simulator.counts["data"]
        await world.until(2, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    assert [round(moment - at(str(BEGIN), 8 + 5 / 60), -1) for moment in world.begun] == [
        0.0,
        DAY,
        2 * DAY,
    ]
    world.check_days(3)
    world.check_records(BEGIN + timedelta(days=1), A, B, C)
    assert set(world.served()) == {1}
    assert world.alerts() == []
    digest = world.digest(2)
    assert digest.title == "harvester: 2026-03-03: Yesterday is complete for all 3 accounts"
    assert "Arrived: 3 of 3 accounts" in digest.body


@pytest.mark.thorough
def test_figures_that_are_late_are_fetched_the_same_day_as_soon_as_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        assert world.digest(0).body.count("late") == 0
        world.simulator.delay_until_hour = 10.5
        await world.until(1, 8.5)
        assert "WeChat does not have the figures yet" in world.digest(1).body
        assert "Next automatic attempt: 08:35 today" in world.digest(1).body
        await world.until(1, 12)
        assert len(world.begun) > 2
        assert world.service is not None
        assert world.service.seen is not None
        assert world.service.seen.fresh == 3
        world.simulator.delay_until_hour = None
        await world.until(2, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(3)
    world.check_records(BEGIN + timedelta(days=1), A, B, C)
    assert set(world.served()) == {1}
    assert world.alerts() == []


@pytest.mark.thorough
def test_a_quota_goes_to_the_newest_figures_first_and_to_the_past_day_by_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        for day in range(4):
            await world.until(day, 8.2)
            assert world.service is not None
            assert world.service.seen is not None
            assert world.service.seen.fresh == 3, day
            used = world.simulator.counts["data"]
            await world.until(day + 1, 8)
            assert world.simulator.counts["data"] <= used + 3  # none of the next day's quota
        await world.stop()

    world = live(tmp_path, monkeypatch, story, daily_quota={"getarticleread": 4})
    world.check_days(4)
    world.check_records(BEGIN + timedelta(days=2), A, B, C)
    assert "Waiting for quota" in world.digest(0).body
    assert world.alerts() == []


@pytest.mark.thorough
def test_what_a_person_must_do_is_said_once_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        world.simulator.refuse_token[C] = 40125
        world.simulator.revoke(C)
        await world.until(2, 12)
        world.simulator.refuse = {(A, "getusersummary"): 48001}
        await world.until(3, 12)
        world.simulator.refuse_token[B] = 40125
        world.simulator.revoke(B)
        await world.until(4, 12)
        del world.simulator.refuse_token[C]
        await world.until(5, 12)
        world.simulator.refuse_token.clear()
        world.simulator.refuse.clear()
        await world.until(6, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_records(BEGIN + timedelta(days=5), A, B, C)
    secret = "AppSecret is wrong or frozen"
    permission = "No permission for the interface: Followers gained, lost"
    assert [alert.split(".  ")[0] for alert in world.alerts()] == [
        f"● {secret}: name of c ({C})",
        f"● {permission}: name of a ({A})",
        f"● {secret}: name of b ({B})",
        f"○ Resolved: {secret}, name of c ({C})",
        f"○ Resolved: {permission}, name of a ({A})\n○ Resolved: {secret}, name of b ({B})",
    ]


async def _killed_in_the_middle(world: World, day: int) -> None:
    await world.until(day, 8)
    world.kill_after = 3
    await world.until(day, 8.5)
    world.start()


async def _down_at_its_hour(world: World, day: int) -> None:
    await world.until(day, 7.5)
    await world.stop()
    await world.until(day, 11)
    world.start()


async def _nobody_answers(world: World, day: int) -> None:
    await world.until(day, 8)
    world.away = True
    await world.until(day, 9.5)
    world.away = False


async def _the_webhook_is_away(world: World, day: int) -> None:
    await world.until(day, 8)
    world.deaf = True
    await world.until(day, 9.2)
    assert not world.digests(day)
    world.deaf = False


async def _the_clock_goes_over_midnight_and_back(world: World, day: int) -> None:
    await world.until(day, 22)
    world.off = 3 * HOUR
    await world.until(day, 22.5)
    world.off = 0.0


async def _the_clock_goes_back_over_midnight(world: World, day: int) -> None:
    await world.until(day + 1, 0.5)
    world.off = -HOUR
    await world.until(day + 1, 7)
    world.off = 0.0


async def _the_clock_is_a_day_ahead(world: World, day: int) -> None:
    await world.until(day, 12)
    world.off = DAY
    await world.until(day, 13)
    world.off = 0.0


async def _restarted(world: World, day: int) -> None:
    await world.until(day, 14)
    await world.stop()
    world.start()


async def _figures_are_late(world: World, day: int) -> None:
    await world.until(day, 8)
    world.simulator.delay_until_hour = 10.5
    await world.until(day, 12)
    world.simulator.delay_until_hour = None


async def _a_reload_is_broken_and_mended(world: World, day: int) -> None:
    assert world.service is not None
    await world.until(day, 12)
    text = (world.folder / "accounts.toml").read_text()
    (world.folder / "accounts.toml").write_text(text.replace("[[account]]", "[[acount]]"))
    world.service.reload()
    assert "the former configuration stays in use" in world.lines[-1]
    assert len(world.service.setup.accounts) == 3
    await world.until(day + 1, 12)
    (world.folder / "accounts.toml").write_text(text)
    world.service.reload()
    assert world.lines[-1] == "reloaded: 3 accounts"


STORIES = [
    _killed_in_the_middle,
    _down_at_its_hour,
    _nobody_answers,
    _the_webhook_is_away,
    _the_clock_goes_over_midnight_and_back,
    _the_clock_goes_back_over_midnight,
    _restarted,
    _figures_are_late,
    _a_reload_is_broken_and_mended,
    _the_clock_is_a_day_ahead,
]


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("happens", STORIES[:-1], ids=lambda happens: happens.__name__[1:])
def test_each_day_is_harvested_once_and_told_once_when(
    happens: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        await happens(world, 1)
        await world.until(2, 12.1)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(3)
    world.check_records(BEGIN + timedelta(days=1), A, B, C)
    stopped = ["● Runs end with an error", "○ Resolved: Runs end with an error"]
    begun = [alert.partition(" (")[0] for alert in world.alerts()]
    assert begun == (stopped if happens is _nobody_answers else [])
    if happens is not _killed_in_the_middle:  # what was not committed is asked for again
        assert set(world.served()) == {1}


@pytest.mark.thorough
def test_what_a_clock_that_was_a_day_ahead_did_does_not_take_the_place_of_the_day_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        await _the_clock_is_a_day_ahead(world, 1)
        await world.until(3, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(4, 1, 2)
    world.check_records(BEGIN + timedelta(days=2), A, B, C)
    assert set(world.served()) == {1}


@pytest.mark.thorough
def test_a_morning_opens_the_ledger_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the run, for what follows from it, and to send all of that."""
    opened: list[bool] = []
    enter = SqliteLedger.__aenter__

    async def entered(self: SqliteLedger) -> SqliteLedger:
        opened.append(self._readonly)
        return await enter(self)

    async def story(world: World) -> None:
        world.start()
        await world.until(2, 8)
        world.simulator.refuse_token[C] = 40125
        world.simulator.revoke(C)
        opened.clear()
        before = len(world.sent)
        await world.until(2, 9)
        assert opened == [False, True, True]
        assert len(world.sent) == before + 3  # a digest and a ping, and an alert
        await world.stop()

    monkeypatch.setattr(SqliteLedger, "__aenter__", entered)
    live(tmp_path, monkeypatch, story)


@pytest.mark.thorough
def test_on_mondays_the_week_is_told_beside_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def total(world: World, endpoint: str, field: str, end: date) -> int:
        rows = [
            row.get("detail", row)
            for appid in (A, B, C)
            for day in days(end - timedelta(days=6), end)
            for row in world.simulator.truth_of(endpoint, appid, day, day)
        ]
        return sum(row[field] for row in rows)

    async def story(world: World) -> None:
        world.start()
        await world.until(7, 12)
        world.kill()
        await world.until(9, 9)  # the service was down on Monday
        world.start()
        await world.until(10, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    first, second = [each for _, each in world.sent if each.key.startswith("week")]
    assert first.title == "harvester: The week 2026-02-23 to 2026-03-01"
    assert second.title == "harvester: The week 2026-03-02 to 2026-03-08"
    for each, end in ((first, BEGIN), (second, BEGIN + timedelta(days=7))):
        [line] = [line for line in each.body.splitlines() if line.startswith("all: ")]
        new = total(world, "getusersummary", "new_user", end)
        reads = total(world, "getarticleread", "read_user", end)
        assert f"new {new:,} (" in line
        assert f"readers {reads:,} (" in line
    before = total(world, "getusersummary", "new_user", BEGIN)
    assert f"({before:,})" in second.body
    assert f"name of a ({A}): " in second.body
    assert "*" in first.body  # nothing was asked of the first days of the week before
    assert "*" not in second.body
    assert second.body.count("\n1. ") == 1


@pytest.mark.thorough
def test_a_week_is_that_of_one_setup_whatever_is_reloaded_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        def reading(*what: Any) -> Week:
            read = read_week(*what)
            if C in read.accounts:
                world.list_accounts(A, B, D)
                assert world.service is not None
                world.service.reload()
            return read

        monkeypatch.setattr(serve, "read_week", reading)
        world.start()
        await world.until(1, 12)
        await world.stop()

    read_week = serve.read_week
    world = live(tmp_path, monkeypatch, story)
    [week] = [each for _, each in world.sent if each.key.startswith("week")]
    named = [line for line in week.body.splitlines() if line.startswith("name of ")]
    assert [line.partition(": ")[0] for line in named] == [
        f"name of {each[-1]} ({each})" for each in (A, B, D)
    ]
    assert C not in week.body
    assert all("new " in line for line in named)
    world.check_days(2)


@pytest.mark.thorough
@pytest.mark.parametrize("error", [SinkError("a segment is gone"), KeyError("ref_date")])
def test_a_week_that_cannot_be_read_is_a_line_of_the_log(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise error

    async def story(world: World) -> None:
        world.start()
        await world.until(2, 12)
        await world.stop()

    monkeypatch.setattr(serve, "read_week", damaged)
    world = live(tmp_path, monkeypatch, story)
    world.check_days(3)
    assert world.keys("week") == []
    assert world.warned == [f"the figures of the week cannot be read: {describe(error)}"]


@pytest.mark.thorough
@pytest.mark.timeout(400)
def test_a_month_of_mornings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "AppSecret is wrong or frozen"

    async def story(world: World) -> None:
        world.start()
        for number, happens in enumerate(STORIES):
            await happens(world, 2 * number + 1)  # a quiet day after each
        world.simulator.refuse_token[C] = 40125
        world.simulator.revoke(C)
        await world.until(23, 12)
        await _restarted(world, 23)
        world.simulator.refuse_token.clear()
        await world.until(25, 12)
        world.list_accounts(A, B, C, D)
        assert world.service is not None
        world.service.reload()
        await world.until(30, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story, daily_quota={"getarticleread": 7})
    world.check_days(31, 19, 20)
    world.check_records(BEGIN + timedelta(days=29), A, B, C, D)
    assert sum(number > 1 for number in world.served()) <= 1
    told = [line.partition(" (")[0] for alert in world.alerts() for line in alert.split("\n")]
    assert (
        told.count("● Runs end with an error")
        == told.count("○ Resolved: Runs end with an error")
        == 1
    )
    assert told.count(f"● {secret}: name of c") == 1
    assert told.count(f"○ Resolved: {secret}, name of c") == 1


@pytest.mark.thorough
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_memory_does_not_grow_over_a_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []

    async def story(world: World) -> None:
        config = world.folder / "harvester.toml"
        config.write_text(config.read_text().replace(', "getarticleread"', ""))  # its data is kept
        world.start()
        for day in range(0, 365, 5):
            await world.until(day, 12)
            for kept in (world.sent, world.lines, world.warned, world.begun):
                kept.clear()
            simulator = Simulator(wall=world.right)  # it remembers each call
            world.simulator = world._network.simulator = simulator
            gc.collect()
            blocks.append(sys.getallocatedblocks())
        await world.stop()

    live(tmp_path, monkeypatch, story)
    month = blocks[6:12]
    assert max(blocks[-6:]) < 1.01 * max(month), blocks


@pytest.mark.thorough
def test_an_export_that_fails_is_tried_again_and_holds_up_no_harvest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        with (tmp_path / "harvester.toml").open("r+") as file:
            text = file.read()
            file.seek(0)
            file.write('export = ["csv:tables"]\n' + text)
        (tmp_path / "tables").write_text("in the way")
        world.start()
        await world.until(0, 8.2)
        assert world.digest(0)
        await world.until(0, 9)
        [alert] = world.alerts()
        assert alert.startswith("● Runs end with an error")
        assert "tables" in alert
        (tmp_path / "tables").unlink()
        await world.until(1, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(2)
    assert len(world.alerts()) == 2
    rows = (tmp_path / "tables" / "getusersummary.csv").read_text().splitlines()
    assert len(rows) == 1 + len(stored(tmp_path / "data", "getusersummary"))


@pytest.mark.thorough
def test_an_account_that_needed_a_person_is_tried_at_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        world.simulator.refuse_token[C] = 40125
        world.simulator.revoke(C)
        await world.until(1, 12)
        del world.simulator.refuse_token[C]
        await world.until(1, 14)
        assert len(world.alerts()) == 1
        await world.stop()
        world.start()
        await world.until(1, 15)
        assert world.alerts()[1].startswith("○ Resolved: AppSecret is wrong or frozen")
        said = [each for each in world.lines if each.startswith("next harvest: ")]
        assert said[0].endswith(" 08:05 in China")
        await world.stop()

    live(tmp_path, monkeypatch, story)


@pytest.mark.thorough
def test_nothing_is_expected_or_said_of_an_account_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        world.simulator.refuse_token[C] = 40125
        world.simulator.revoke(C)
        await world.until(1, 12)
        world.list_accounts(A, B)
        assert world.service is not None
        world.service.reload()
        await world.until(4, 12)
        assert world.service.state.alerts == {}
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(5)
    assert len(world.alerts()) == 1
    assert "Arrived: 2 of 2 accounts" in world.digest(4).body


@pytest.mark.thorough
def test_nothing_is_expected_of_an_interface_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        config = world.folder / "harvester.toml"
        config.write_text(config.read_text().replace(', "getarticleread"', ""))
        assert world.service is not None
        world.service.reload()
        await world.until(4, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(5)
    assert world.alerts() == []
    assert "Arrived: 3 of 3 accounts" in world.digest(4).body


@pytest.mark.thorough
def test_a_reload_in_the_middle_of_a_harvest_goes_on_with_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        def reload() -> None:
            assert world.service is not None
            world.list_accounts(A, B, C, D)
            world.service.reload()

        world.start()
        world.kill_after, world.then = 3, reload
        await world.until(1, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(2)
    world.check_records(BEGIN, A, B, C, D)
    assert set(world.served()) == {1}
    assert world.digest(0).title.endswith("Yesterday is complete for all 4 accounts")


@pytest.mark.thorough
def test_a_clock_that_is_set_back_after_a_failure_delays_no_harvest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        world.off = 2 * DAY
        world.away = True
        await world.until(0, 12.5)
        world.away, world.off = False, 0.0
        await world.until(1, 8.5)
        assert world.digest(1)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    world.check_days(2)


def test_a_harvest_begins_at_its_hour_though_each_reading_of_the_clock_takes_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.reading = 0.05
        world.start()
        await world.until(0, 8.2)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    [begun] = world.begun
    assert abs(begun - at(str(BEGIN), 8 + 5 / 60)) < MINUTE


@pytest.mark.thorough
def test_nothing_that_a_disk_or_an_export_raises_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory of the ledger is away in one morning, an export's disk is full in another."""
    away, full = OSError(116, "Stale file handle", "/a/disk"), OSError(28, "No space left")
    export, look = run_of_exports.export, Setup.look_into
    raised: Exception | None = None

    def exported(*arguments: Any, **how: Any) -> Any:
        if raised is full:
            raise full
        return export(*arguments, **how)

    async def looked(self: Setup, *arguments: Any) -> Any:
        if raised is away:
            raise away
        return await look(self, *arguments)

    async def story(world: World) -> None:
        nonlocal raised
        config = world.folder / "harvester.toml"
        config.write_text('export = ["csv:tables"]\n' + config.read_text())
        world.start()
        await world.until(1, 7)
        raised = away
        await world.until(1, 8.5)
        assert world.service is not None
        assert world.service.trouble == "/a/disk cannot be used (Stale file handle)"
        world.service.reload()
        raised = None
        await world.until(2, 7)
        raised = full
        await world.until(2, 9)
        [stopped] = world.service.troubles
        assert stopped.startswith("the last run ended with an error: csv:")
        assert [each for each in world.warned if "No space left" in each]
        raised = None
        await world.until(3, 9)
        assert world.service.troubles == []
        await world.stop()

    monkeypatch.setattr(run_of_exports, "export", exported)
    monkeypatch.setattr(Setup, "look_into", looked)
    world = live(tmp_path, monkeypatch, story)
    world.check_days(4)
    world.check_records(BEGIN + timedelta(days=2), A, B, C)
    assert world.lines.count("/a/disk cannot be used (Stale file handle)") == 1
    [gone, back, stopped, over] = world.alerts()
    assert "/a/disk cannot be used (Stale file handle)" in gone.splitlines()[0]
    assert back.startswith("○ Resolved: Runs end with an error")
    assert stopped.startswith("● Runs end with an error")
    assert "OSError: [Errno 28] No space left" in stopped
    assert over.startswith("○ Resolved: Runs end with an error")


NO_ROOM = LedgerError("the disk is full: the ledger could not be written")


@pytest.mark.thorough
@pytest.mark.parametrize("readable", [True, False], ids=["full", "away"])
def test_a_ledger_that_cannot_be_written_is_told_all_the_same_and_once(
    readable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = False

    def failing(write: Any) -> Any:
        async def called(self: SqliteLedger, *what: Any) -> Any:
            if fails:
                raise NO_ROOM
            return await write(self, *what)

        return called

    async def story(world: World) -> None:
        nonlocal fails
        world.start()
        await world.until(0, 12)
        sent = len(world.sent)
        fails = True
        await world.until(1, 8.6)
        [(moment, alert)] = world.sent[sent:]
        assert moment < at(str(BEGIN + timedelta(days=1)), 8.6)
        said = f"● Runs end with an error ({socket.gethostname()}): {NO_ROOM}"
        assert (alert.target, alert.body.splitlines()[0]) == ("env:ALERTS", said)
        await world.until(1, 20)
        assert len(world.sent) == sent + 1
        fails = False
        await world.until(1, 22)
        over = f"○ Resolved: Runs end with an error ({socket.gethostname()})"
        assert next(each.body for _, each in world.sent[sent + 1 :] if each.title) == over
        await world.until(2, 12)
        await world.stop()

    for name in ("swap_state", "commit", "register", *(() if readable else ("service_state",))):
        monkeypatch.setattr(SqliteLedger, name, failing(getattr(SqliteLedger, name)))
    world = live(tmp_path, monkeypatch, story)
    world.check_days(3)
    assert len(world.alerts()) == 2


def test_a_configuration_on_a_disk_that_is_away_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        assert world.service is not None
        setup = world.service.setup
        with monkeypatch.context() as patch:
            error = OSError(116, "Stale file handle", "/a/disk")
            patch.setattr(Setup, "load", Mock(side_effect=error))
            world.service.reload()
        assert world.service.setup is setup
        assert world.lines[-1].endswith(": /a/disk cannot be used (Stale file handle)")
        await world.stop()

    live(tmp_path, monkeypatch, story)


@pytest.mark.thorough
def test_a_message_whose_target_the_configuration_lacks_waits_for_it_for_30_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GONE", "json://a-token@hook")
    harvest = at(str(BEGIN + timedelta(days=1)), 8 + 5 / 60)

    async def story(world: World) -> None:
        async def post(state: State) -> State:
            posted = [harvest - 30 * DAY + each for each in (-HOUR, HOUR)]
            old, young = [Message(f"alert {each}", "env:GONE", "t", "b", each) for each in posted]
            keys.extend([old.key, young.key])
            return replace(state, mail=(old, young))

        world.start()
        await world.until(0, 12)
        await world.stop()
        async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            await update(ledger, post)
        world.start()
        await world.until(1, 8)
        assert world.service is not None
        assert [each.key for each in world.service.state.mail] == keys
        await world.until(1, 9)
        assert [each.key for each in world.service.state.mail] == keys[1:]
        assert not set(keys) & set(world.keys())
        config = world.folder / "harvester.toml"
        config.write_text(config.read_text().replace('"env:ALERTS"', '"env:ALERTS", "env:GONE"'))
        world.service.reload()
        await world.until(1, 10)
        assert world.service.state.mail == ()
        await world.stop()

    keys: list[str] = []
    world = live(tmp_path, monkeypatch, story)
    assert [key for key in world.keys("alert") if key in keys] == keys[1:]


@pytest.mark.thorough
def test_what_never_came_is_told_once_and_never_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.simulator.refuse = {(A, "getarticleread"): 45009}
        world.start()
        await world.until(4, 12)
        assert len(world.alerts()) == 1
        world.simulator.refuse.clear()
        await world.until(5, 12)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    [never, over] = world.alerts()
    assert never.startswith(f"● No figures so far: Article reads: name of a ({A}).")
    assert over == f"○ Resolved: No figures so far: Article reads, name of a ({A})"


REFUSALS = {
    "secret": lambda simulator: simulator.refuse_token.update({C: 40125}),
    "banned": lambda simulator: simulator.refuse.update(dict.fromkeys(BOTH, 50004)),
    "limited": lambda simulator: simulator.refuse.update(dict.fromkeys(BOTH, 50002)),
    "permission": lambda simulator: simulator.refuse.update(dict.fromkeys(BOTH, 48001)),
    "set": lambda simulator: simulator.refuse.update(dict.fromkeys(BOTH, 61007)),
}
BOTH = [(C, name) for name in ("getusersummary", "getarticleread")]
ATTEMPTS = engine_options().attempts


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("refused", [
    "secret", "banned",
    *[pytest.param(each, marks=pytest.mark.thorough) for each in ("limited", "permission", "set")],
])  # fmt: skip
def test_an_account_that_needs_a_person_is_asked_once_a_day_and_after_a_reload(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have figures that are late, so that the service returns all the time."""
    asked: list[float] = []

    async def story(world: World) -> None:
        REFUSALS[refused](world.simulator)
        world.simulator.delay_until_hour = 12.5
        world.start()
        for day in (1, 2):
            await world.until(day, 11)
        assert world.service is not None
        world.service.reload()
        await world.until(2, 12)
        asked.extend(world.asked[C])
        assert len(world.begun) > 12
        world.simulator.refuse_token.clear()
        world.simulator.refuse.clear()
        await world.until(3, 14)
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    times = [BEGIN + timedelta(days=day) for day in range(3)]
    moments = [at(str(day), 8 + 5 / 60) for day in times] + [at(str(times[2]), 11)]
    occasions = [max(begin for begin in moments if begin <= moment) for moment in asked]
    lasted = [moment - begin for moment, begin in zip(asked, occasions, strict=True)]
    assert max(lasted) < 5 * MINUTE
    calls = Counter(occasions)
    first, later = calls.pop(moments[0]), 1 if refused == "secret" else 2  # with the token's
    if refused == "limited":  # it pauses between attempts, with some windows in flight
        assert ATTEMPTS < first <= 4 * ATTEMPTS
    else:
        assert first == (1 if refused == "secret" else 1 + len(BOTH))
    if refused in ("permission", "set"):  # each interface is another permission
        later = 1 + len(BOTH)
    assert calls == dict.fromkeys(moments[1:], later)
    world.check_records(BEGIN + timedelta(days=2), A, B, C)
    assert "○ Resolved:" in world.alerts()[-1]


@pytest.mark.thorough
def test_an_account_that_needs_a_person_is_asked_once_though_runs_are_stopped_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        config = world.folder / "harvester.toml"
        config.write_text(config.read_text().replace("1000/s", "5/h"))
        world.simulator.refuse_token[C] = 40125
        world.start()
        await world.until(0, 13)
        assert len(world.begun) == 4  # the first is over when nothing was stored for 5 minutes
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    [asked] = world.asked[C]
    assert asked < at(str(BEGIN), 8 + 5 / 60) + 5 * MINUTE


@pytest.mark.thorough
def test_an_account_that_needs_a_person_is_asked_once_though_runs_end_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.simulator.refuse_token[C] = 40125
        world.start()
        await world.until(1, 12)
        assert len([each for each in world.warned if "the disk is full" in each]) > 4
        await world.stop()

    write = Writer.run

    async def written(self: Writer, *what: Any) -> None:
        await write(self, *what)
        raise SinkError("the disk is full")

    monkeypatch.setattr(Writer, "run", written)
    world = live(tmp_path, monkeypatch, story)
    assert len(world.asked[C]) == 2


@pytest.mark.thorough
def test_exports_are_brought_up_to_date_though_the_past_is_not_here_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        config = world.folder / "harvester.toml"
        text = config.read_text().replace("1000/s", "20/h").replace(str(FIRST), "2025-02-20")
        config.write_text('export = ["csv:tables"]\n' + text)
        world.start()
        await world.until(0, 9.2)
        assert world.digest(0)
        assert world.service is not None
        assert world.service.running
        table = (tmp_path / "tables" / "getusersummary.csv").read_text()
        assert f",{BEGIN - timedelta(days=1)}," in table
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    assert world.alerts() == []


SICK = {"busy": Faults(busy=1.0), "deaf": Faults(reset=1.0)}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    "past",
    [
        pytest.param(False, id="of_yesterday"),
        pytest.param(True, id="of_months", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("sick", SICK)
def test_nothing_waits_for_an_account_that_is_tried_again_and_again(
    sick: str, past: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither if all of its past is left: more windows than can be tried in an hour."""
    yesterday = BEGIN + timedelta(days=1)

    async def story(world: World) -> None:
        world.hangs = 30.0
        config = world.folder / "harvester.toml"
        text = 'export = ["csv:tables"]\n' + config.read_text()
        config.write_text(text.replace(str(FIRST), str(FIRST - timedelta(days=60))))
        if past:
            world.list_accounts(A, B)
        world.start()
        await world.until(1, 7)
        world.simulator.faults_of[C] = SICK[sick]
        world.list_accounts(A, B, C)
        await world.stop()
        world.start()
        await world.until(1, 8.2)
        assert (
            f"○ Not finished yet, will be retried automatically: name of c ({C})"
            in world.digest(1).body
        )
        assert "Arrived: 2 of 3 accounts" in world.digest(1).body
        assert "Next automatic attempt: 09:" in world.digest(1).body
        assert len(world.keys("ping")) == 2
        table = (world.folder / "tables" / "getusersummary.csv").read_text()
        newest = [line for line in table.splitlines() if str(BEGIN) in line]
        assert {line.split('"')[1] for line in newest if f",{BEGIN}," in line} == {A, B}
        await world.until(1, 23)
        del world.simulator.faults_of[C]
        asked.extend(world.asked[C])
        await world.until(2, 12)
        await world.stop()

    asked: list[float] = []
    world = live(tmp_path, monkeypatch, story)
    world.check_days(3)
    stale, over = world.alerts()
    assert stale.startswith(("● Stale figures", "● No figures so far"))
    assert over.startswith(("○ Resolved: Stale figures", "○ Resolved: No figures so far"))
    hours = {int(moment - at(str(yesterday), 8)) // 3600 for moment in asked}
    if not past:
        assert {hour for hour in hours if hour >= 0} == {0, 1, 2, 4, 8}


@pytest.mark.thorough
def test_an_interface_that_is_refused_holds_up_nothing_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its account whose figures are late are asked for again the same day."""

    async def story(world: World) -> None:
        world.start()
        await world.until(0, 12)
        world.simulator.refuse = {(C, "getusersummary"): 48001}
        world.simulator.delay_until_hour = 10.5
        await world.until(1, 12)
        found = stored(world.folder / "data", "getarticleread")
        newest = {each["_appid"] for each in found if each["_begin_date"] == str(BEGIN)}
        assert newest == {A, B, C}
        await world.stop()

    live(tmp_path, monkeypatch, story)


@pytest.mark.thorough
def test_where_all_accounts_need_a_person_nothing_is_sent_until_the_next_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.simulator.refuse_token = dict.fromkeys((A, B, C), 40125)
        world.start()
        await world.until(2, 12)
        assert len(world.begun) == 3
        assert world.service is not None
        world.service.reload()
        await world.until(2, 13)
        assert len(world.begun) == 4
        await world.stop()

    world = live(tmp_path, monkeypatch, story)
    assert len(world.keys("digest")) == 3


def _made(folder: Path, ledger: str, log: Callable[[str], None] = print) -> Service:
    """A service with a directory of its own."""
    folder.mkdir(exist_ok=True)
    _name_ledger(folder, ledger)
    (folder / "accounts.toml").write_text(f'[[account]]\nappid = "{A}"\nsecret = "env:SECRET"\n')
    return Service(lambda: Setup.load(folder / "harvester.toml"), log=log)


def _name_ledger(folder: Path, ledger: str) -> None:
    text = CONFIG.format(first=FIRST).replace("ledger.sqlite", ledger)
    (folder / "harvester.toml").write_text(text)


def test_an_embedded_ledger_is_served_by_one_process(tmp_path: Path) -> None:
    said: list[str] = []
    first = _made(tmp_path / "one", "../shared.sqlite")
    second = _made(tmp_path / "two", "../shared.sqlite")
    mover = _made(tmp_path / "three", "own.sqlite", said.append)
    same = _made(tmp_path / "four", "../three/own.sqlite")
    refused = f"is already served by process {os.getpid()} on {socket.gethostname()}; end that"
    with first.alone(), mover.alone():
        with pytest.raises(UsageError, match=re.escape(refused)), second.alone():
            pass
        first.reload()  # of the same ledger
        _name_ledger(tmp_path / "three", "../shared.sqlite")
        mover.reload()
        assert said[-1].startswith("not reloaded; the former configuration stays in use: ")
        assert refused in said[-1]
        with pytest.raises(UsageError, match="is already served"), same.alone():
            pass
        _name_ledger(tmp_path / "three", "../another.sqlite")
        mover.reload()
        with same.alone():
            pass
    with second.alone(), _made(tmp_path / "five", "../another.sqlite").alone():
        pass


def test_a_claim_in_a_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    service = _made(tmp_path / "one", "../ledger.sqlite")
    (tmp_path / "ledger.sqlite.serve").mkdir()
    with pytest.raises(UsageError, match=r"ledger\.sqlite\.serve cannot be used"), service.alone():
        pass
