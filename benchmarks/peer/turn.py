"""One peer's turn: harvest what standard input asks for, and tell in one line what it took.

    python turn.py with_aiohttp.py < job.json

The clock starts when the interpreter and the peer are up: after the imports, those that are left
until something is first used too, so a few days are harvested before it (`rehearse` in place of
that, where a peer has it).  Peak memory is that of the process, imports and all.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

REHEARSED = 5


def peak() -> float:
    """The most memory this process ever had, in MB.

    Linux hands the parent's peak down in `ru_maxrss`, so the kernel's own figure comes first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def cpu() -> float:
    """Seconds of CPU, user's and system's, of all threads and of the children that have ended."""
    taken = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in taken)


def _inside(job: dict[str, Any], name: str) -> dict[str, Any]:
    """The same job in a folder of that name."""
    folder = Path(job["folder"]) / name
    folder.mkdir()
    return {**job, "folder": str(folder)}


def take(driver: Path, job: dict[str, Any]) -> dict[str, Any]:
    """What the harvest took: seconds, seconds of CPU, MB, and the version that did it."""
    sys.path.insert(0, str(driver.parent))
    peer = import_module(driver.stem)
    rehearsal, job = _inside(job, "rehearsal"), _inside(job, "harvest")
    getattr(peer, "rehearse", peer.harvest)({**rehearsal, "days": job["days"][:REHEARSED]})
    clock, used = time.perf_counter(), cpu()
    peer.harvest(job)
    clock, used = time.perf_counter() - clock, cpu() - used
    return {
        "seconds": clock,
        "cpu": used,
        "memory": peak(),
        "version": version(job["distribution"]),
    }


if __name__ == "__main__":
    told = take(Path(sys.argv[1]), json.load(sys.stdin))
    print(json.dumps(told), flush=True)
