"""Who is at work at a prefix of an object store, which no file lock reaches.

Rule: keeps others out as well as can be; that two do no harm to each other is held elsewhere.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import anyio

from harvester.codec import encode, parse
from harvester.errors import SinkError, UsageError
from harvester.sinks.bucket import Bucket, BucketError, Found

WRITER = "_harvester/writer.json"
LEASE = 300.0
"""Seconds for which a writer that does not write keeps others out."""
CLOSING = 5.0

_BOOT, _PROCESSES = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


class Writer:
    """The note that says who writes below a prefix.

    owner: the ledger that writes, by a name that it keeps in its receipt.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._session = ""
        self._renewed: float | None = None
        self.owner = ""

    def __repr__(self) -> str:
        return f"<Writer {'at work' if self._renewed is not None else 'not at work'}>"

    async def claim(self, owner: str, note: Found | None) -> None:
        """Take the prefix; raises `UsageError` if another ledger is at work there.

        owner: empty for one that is new here.  note: what a listing says of the note.
        """
        holder = await self._holder() if note is not None else {}
        if note is not None and holder.get("owner", owner) != owner:
            age = time.time() - note.modified.timestamp()
            if age < LEASE and not has_ended(holder):
                raise UsageError(
                    f"{self._bucket.where} is in use by another harvester, which was at work there"
                    f" {max(age, 0):.0f} s ago; if that was killed, come back"
                    f" {LEASE - age:.0f} s later, else take another prefix"
                )
        self._session = secrets.token_hex(16)
        self.owner = owner or secrets.token_hex(16)
        if note is None and not await self._bucket.create(WRITER, self._note(), "writer"):
            raise UsageError(
                f"{self._bucket.where} is in use by another harvester, which has just begun"
            )
        self._renewed = time.monotonic()
        if note is not None:
            await self.become(self.owner)

    async def become(self, owner: str) -> None:
        """Write the note anew, in this name."""
        self.owner = owner
        await self._bucket.put(WRITER, self._note(), "writer")
        self._renewed = time.monotonic()

    async def renew(self) -> None:
        """Say that we are still at work, now and then."""
        if self._renewed is not None and time.monotonic() - self._renewed > LEASE / 5:
            await self.become(self.owner)

    async def release(self) -> None:
        """Remove the note if it is ours, as far as the store can be reached."""
        if self._renewed is None:
            return
        self._renewed = None
        with anyio.move_on_after(CLOSING, shield=True):
            try:
                if (await self._holder()).get("session") == self._session:
                    await self._bucket.remove([WRITER], "writer")
            except SinkError:
                return

    def _note(self) -> bytes:
        return encode({"owner": self.owner, "session": self._session, **this_process()}) + b"\n"

    async def _holder(self) -> dict[str, str]:
        """What the note says; nothing if it is torn or gone."""
        try:
            data = await self._bucket.get(WRITER)
            return {str(key): str(value) for key, value in parse(data).items()}
        except (ValueError, AttributeError):
            return {}
        except BucketError as exc:
            if not exc.trouble.absent:
                raise
            return {}


def this_process() -> dict[str, str]:
    """What another process can know this one by."""
    return {"machine": _machine(), "process": str(os.getpid())}


def has_ended(writer: Mapping[str, str]) -> bool:
    """Whether a process is known to be no more: only of this machine's can that be said."""
    if os.name != "posix" or writer.get("machine") != _machine():
        return False
    try:
        os.kill(int(writer["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError):
        return False
    return False


def _machine() -> str:
    """This machine since it was started, as far as process numbers mean the same on it."""
    try:
        return f"{platform.node()} {_BOOT.read_text().strip()} {_PROCESSES.stat().st_ino}"
    except OSError:
        return platform.node()
