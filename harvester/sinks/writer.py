"""Who is at work at a place that no file lock reaches.

Rule: says what can be known of a process from here; keeps nothing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

_BOOT, _PROCESSES = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


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
