"""The messages of the daily service: which one is sent next, and what becomes of it.

Rule: pure; takes the time as an argument, and returns new values.

A message names its target by the reference in the configuration (``env:ALERT_URL``), never by the
URL, which may hold a token.  A claim is the message with a later ``due``: until then no other
process sends it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

MORE = "  "
"""The beginning of a line that explains the one before."""
SPACING = 5.0
"""Seconds between two messages to one target: robots take 20 a minute."""
LEASE = 120.0
"""Seconds until another process may send what this one has claimed."""
AHEAD = 3600.0
"""Seconds by which a message may be due in the future: more, and a clock was wrong."""


class Message(NamedTuple):
    """A message for one target.

    key: its kind and the number of the state that it came with.  target: a reference, as
    ``env:ALERT_URL``.  posted, due: Unix times; it is sent from ``due`` on.  attempts: to send it,
    this one included.  level: ``info``, ``success``, ``warning`` or ``failure``, as Apprise has it.
    """

    key: str
    target: str
    title: str
    body: str
    posted: float = 0.0
    due: float = 0.0
    attempts: int = 0
    level: str = "info"

    @property
    def identity(self) -> tuple[str, str, float]:
        """What no other message has, also if its text was changed."""
        return self.key, self.target, self.posted


Mail = tuple[Message, ...]
"""What is to be sent, the oldest first."""
Sent = Mapping[str, float]
"""When the last message of a target was done with, a Unix time, by target."""


class Turn(NamedTuple):
    """What there is to send.

    message: the first one that is due, as it is claimed; None if none is.  due: the Unix time at
    which one is, infinite if there is none.  mail: with the claim.
    """

    message: Message | None
    due: float
    mail: Mail


def turn(mail: Mail, sent: Sent, targets: Collection[str], now: float) -> Turn:
    """Claim the first message that is due for one of these targets."""
    next_due = math.inf
    for place, each in enumerate(mail):
        if each.target not in targets:
            continue
        due = each.due if each.due <= now + AHEAD else now
        if now - SPACING < (last := sent.get(each.target, -math.inf)) <= now:
            due = max(due, last + SPACING)
        if due <= now:
            claimed = each._replace(due=now + LEASE, attempts=each.attempts + 1)
            return Turn(claimed, now, (*mail[:place], claimed, *mail[place + 1 :]))
        next_due = min(next_due, due)
    return Turn(None, next_due, mail)


def settled(mail: Mail, message: Message, again: float | None) -> Mail:
    """The messages without one that was sent or given up; or with one that is sent again.

    again: from when it is, a Unix time; until then nothing else is sent to its target either.  A
    claim that has ended, and that another process has taken, is then unchanged.
    """
    if again is None:
        return tuple([each for each in mail if each.identity != message.identity])
    held = (message.identity, message.attempts)
    if held not in [(each.identity, each.attempts) for each in mail]:
        return mail
    return tuple(
        [
            each._replace(due=again if each.identity == held[0] else max(each.due, again))
            if each.target == message.target
            else each
            for each in mail
        ]
    )


def forgotten(mail: Mail, appid: str, words: Collection[str]) -> Mail:
    """The messages without an account; words: the names of what was removed of it, if not all.

    A line that names other accounts, too, keeps these; what explains one that goes is gone with it.
    A message of which nothing is left but the address of the pages is not sent.
    """
    left = []
    for each in mail:
        lines, goes = list[str](), False
        for line in each.body.splitlines():
            found = "" if goes and line.startswith(MORE) else _without(line, appid, words)
            goes = not found
            lines += [found] if found else []
        if appid not in each.body:
            left.append(each)
        elif not all(line.startswith("http") for line in lines):
            left.append(each._replace(body="\n".join(lines)))
    return tuple(left)


_MENTION = r"[^、，,：:●○（(]*[（(]{0}[)）]|{0}"
"""An account as a message names it: its name and its appid, or the appid."""
_APPID = re.compile(r"\bwx[0-9a-f]{16}\b")


def _without(line: str, appid: str, words: Collection[str]) -> str:
    """A line without an account; empty if it names no other one."""
    if appid not in line or (words and not any(word in line for word in words)):
        return line
    left = re.sub(_MENTION.format(re.escape(appid)), "…", line)
    return left if _APPID.search(left) else ""
