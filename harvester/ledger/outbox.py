"""What the daily service keeps in a ledger: its state, and the messages that are to be sent.

Rule: functions of `Tables`, and the methods that only call one.  A message names its target by the
reference in the configuration (``env:ALERT_URL``), never by the URL, which may hold a token.

Several services share the state and the messages of a shared ledger.  A service reads the state
with its number, decides, and stores the next state together with the messages that follow from
the change; if another one has stored a state since, nothing is stored.  So each message is posted
once.  A message is claimed for the time that sending takes, so each is sent once, too, unless the
process that sends it is killed, or frozen for longer than the claim.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from harvester.ledger.statements import Statements, Table, Tables

STATE = Table("service", {"name": "text"}, {"number": "bigint", "value": "text"})
MESSAGE = Table(
    "message",
    {"key": "text", "target": "text"},
    {
        "title": "text", "body": "text", "posted": "double precision",
        "due": "double precision", "attempts": "bigint", "ended": "double precision",
    },
)  # fmt: skip
TABLES = (STATE, MESSAGE)

_NAME = "daily"
AHEAD = 3600.0
"""Seconds by which a message may be due in the future: more, and a clock was wrong."""
KEPT = 30 * 86_400.0
"""Seconds for which a message is kept: one with its key is not posted again."""


class Message(NamedTuple):
    """A message for one target.

    key: with the target, what makes it one; target: a reference, as ``env:ALERT_URL``.
    posted: a Unix time.  attempts: to send it, this one included.
    """

    key: str
    target: str
    title: str
    body: str
    posted: float = 0.0
    attempts: int = 0


class Turn(NamedTuple):
    """What there is to send.

    message: the one that was claimed, None if none is due.  due: the Unix time at which the next
    one is due, infinite if there is none.
    """

    message: Message | None = None
    due: float = math.inf


def is_made(tables: Tables) -> bool:
    """Whether the embedded ledger has the tables."""
    sql = "SELECT count(*) FROM sqlite_master WHERE name = ANY(%s)"
    return int(tables.rows(sql, [table.name for table in TABLES])[0][0]) == len(TABLES)


def make(tables: Tables) -> None:
    """Create the tables if they are missing: the ledger may be older than the service."""
    for table in TABLES:
        tables.run(table.created.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))


def state(tables: Tables) -> tuple[int, str]:
    """The number of the state and the state; 0 and an empty text if there is none."""
    rows = tables.rows("SELECT number, value FROM service WHERE name = %s", _NAME)
    return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")


def post(tables: Tables, number: int, value: str, messages: Sequence[Message], now: float) -> bool:
    """Store the next state and its messages, unless the number is not that of the state any more.

    A message whose key and target are known is not posted again.
    """
    if number:
        sql = "UPDATE service SET number = number + 1, value = %s WHERE name = %s AND number = %s"
        if not tables.run(sql, value, _NAME, number):
            return False
    else:
        tables.insert(STATE, [(_NAME, 0, "")], "number = service.number")
        sql = "UPDATE service SET number = 1, value = %s WHERE name = %s AND number = 0"
        if not tables.run(sql, value, _NAME):
            return False
    rows = [(each.key, each.target, each.title, each.body, now, now, 0, 0.0) for each in messages]
    tables.insert(MESSAGE, rows, "key = excluded.key")
    tables.run("DELETE FROM message WHERE posted < %s", now - KEPT)
    return True


def claim(tables: Tables, targets: Sequence[str], now: float, lease: float, spacing: float) -> Turn:
    """Claim the oldest message that is due for one of these targets.

    lease: seconds until others may claim it.  spacing: seconds between two messages of a target.
    """
    busy = "SELECT target, max(ended) FROM message WHERE ended > %s AND ended <= %s GROUP BY target"
    free = {
        str(target): float(last) + spacing for target, last in tables.rows(busy, now - spacing, now)
    }
    waiting = tables.rows(
        "SELECT key, target, title, body, posted, attempts, due FROM message"
        " WHERE ended = 0 AND target = ANY(%s) ORDER BY posted, key",
        list(targets),
    )
    next_due = math.inf
    for key, target, title, body, posted, attempts, due in waiting:
        ready = max(float(due) if due <= now + AHEAD else now, free.get(target, 0.0))
        if ready > now:
            next_due = min(next_due, ready)
            continue
        taken = tables.run(
            "UPDATE message SET due = %s, attempts = attempts + 1"
            " WHERE key = %s AND target = %s AND attempts = %s AND ended = 0",
            now + lease, key, target, attempts,
        )  # fmt: skip
        if taken:
            found = Message(key, target, title, body, float(posted), int(attempts) + 1)
            return Turn(found, now)
    return Turn(None, next_due)


def settle(tables: Tables, message: Message, now: float, again: float | None = None) -> bool:
    """Note that a claimed message was sent, or given up; or from when it is sent again.

    again: the Unix time; until then nothing else is sent to its target either.  Returns whether the
    claim was still held.
    """
    own = "key = %s AND target = %s AND attempts = %s AND ended = 0"
    mine = message.key, message.target, message.attempts
    if again is None:
        return bool(tables.run(f"UPDATE message SET ended = %s WHERE {own}", now, *mine))
    held = tables.run(f"UPDATE message SET due = %s WHERE {own}", again, *mine)
    if held:
        tables.run(
            "UPDATE message SET due = greatest(due, %s) WHERE target = %s AND ended = 0",
            again,
            message.target,
        )
    return bool(held)


def forget(tables: Tables, appid: str, words: Sequence[str], now: float) -> None:
    """Remove an account from all messages; words: the names of what was removed of it, if not all.

    A line that names other accounts, too, keeps these; a message without a line is not sent.
    """
    make(tables)
    for key, target, body in tables.rows("SELECT key, target, body FROM message"):
        if appid not in body:
            continue
        lines = body.splitlines()
        left = [found for line in lines if (found := _without(line, appid, words))]
        if left == lines:
            continue
        mine = "WHERE key = %s AND target = %s"
        tables.run(f"UPDATE message SET body = %s {mine}", "\n".join(left), key, target)
        if not left:  # the row stays: what is known is not posted again
            sql = f"UPDATE message SET title = '', ended = %s {mine} AND ended = 0"
            tables.run(sql, now, key, target)


_MENTION = r"[^、，,：:●○（(]*[（(]{0}[)）]|{0}"
"""An account as a message names it: its name and its appid, or the appid."""
_APPID = re.compile(r"\bwx[0-9a-f]{16}\b")


def _without(line: str, appid: str, words: Sequence[str]) -> str:
    """A line without an account; empty if it names no other one."""
    if appid not in line or (words and not any(word in line for word in words)):
        return line
    left = re.sub(_MENTION.format(re.escape(appid)), "…", line)
    return left if _APPID.search(left) else ""


class Outbox(Statements):
    """What the daily service reads and stores, the same in both ledgers; raises `LedgerError`.

    The functions of this module describe it.
    """

    async def service_state(self) -> tuple[int, str]:
        return await self._read(state)

    async def post(self, number: int, value: str, messages: Sequence[Message], now: float) -> bool:
        return await self._call(post, number, value, messages, now)

    async def claim_message(
        self, targets: Sequence[str], now: float, lease: float, spacing: float
    ) -> Turn:
        return await self._call(claim, targets, now, lease, spacing)

    async def settle_message(
        self, message: Message, now: float, again: float | None = None
    ) -> bool:
        return await self._call(settle, message, now, again)

    async def forget_messages(self, appid: str, words: Sequence[str], now: float) -> None:
        await self._call(forget, appid, list(words), now)
