"""Lives of a service that decides and sends, each a process of its own, which may be killed.

A job: the ledger, the file of what a stand-in webhook received, the Unix time, and the number of
the step at which the process is killed.  Steps are what others can see: a swap of the state, its
return, a message that arrives, the webhook's answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from harvester.base.secrets import Secret
from harvester.ledger import PostgresLedger, SqliteLedger, open_ledger
from harvester.service.mail import SPACING, Message
from harvester.service.sender import Sender
from harvester.service.state import State, StateRow
from tests.chaos.forks import serve

TARGETS = {"env:A": Secret("x"), "env:B": Secret("y")}
DAY = date(2026, 3, 1)


class Life:
    """A process that is killed at a step, or at none if that is 0."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.received, self.kill, self.now = Path(job["received"]), job["kill"], float(job["now"])
        self.ledger = Secret(job["ledger"])
        self.steps = 0
        self.swaps: list[str] = []  # what the next swap is, if it is no claim

    def step(self, name: str) -> None:
        self.steps += 1
        if self.steps == self.kill:
            self.note(f"killed {name}")
            os.kill(os.getpid(), signal.SIGKILL)

    def note(self, line: str) -> None:
        with self.received.open("a") as file:
            file.write(f"{line}\n")

    async def deliver(self, message: Message, _: Secret) -> None:
        self.step("before a sending")
        self.note(f"{message.key} {message.target}")
        self.step("after a sending")
        self.swaps.append("settling")

    async def decide(self, before: State) -> State:
        if before.day == DAY:
            return before
        self.swaps.append("decision")
        key = f"digest {before.number + 1}"
        mail = [Message(key, each, "t", "b", self.now) for each in TARGETS]
        return replace(before, day=DAY, mail=(*before.mail, *mail))

    async def run(self) -> None:
        row = StateRow(lambda: open_ledger(self.ledger, readonly=True))
        sender = Sender(row, lambda: TARGETS, self.deliver, self.note, lambda: self.now)
        async with row.opened() as ledger:
            await row.update(ledger, self.decide)
            while await sender._send_one(ledger) <= self.now + SPACING:
                self.now += SPACING


def live(job: dict[str, Any]) -> int:
    """Post a day's messages unless that was done, and send what is due."""
    life = Life(job)
    for ledger in (SqliteLedger, PostgresLedger):

        async def swapped(
            self: Any, before: str, after: str, swap: Any = ledger.swap_state
        ) -> bool:
            name = life.swaps.pop() if life.swaps else "claim"
            life.step(f"before a {name}")
            found: bool = await swap(self, before, after)
            life.step(f"after a {name}")
            return found

        ledger.swap_state = swapped  # type: ignore[method-assign]
    asyncio.run(life.run())
    return 0


if __name__ == "__main__":
    serve(live)
