"""One turn of a peer: harvest the job that standard input holds, and print what it took.

    python -m benchmarks.peer.turn with_aiohttp DISTRIBUTION < job.json

The clock starts after the imports and a rehearsal of a few days.  Peak memory is that of the
process.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import peak_memory, timed

REHEARSED = 5


def take(driver: str, distribution: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run the driver; seconds, seconds of CPU, MB, and the version that it ran with."""
    harvest = import_module(f"benchmarks.peer.{driver}").harvest
    jobs = []
    for name, days in (("rehearsal", job["days"][:REHEARSED]), ("harvest", job["days"])):
        folder = Path(job["folder"]) / name
        folder.mkdir()
        jobs.append({**job, "days": days, "folder": str(folder)})
    harvest(jobs[0])
    spent = timed(lambda: harvest(jobs[1]))
    return {**spent._asdict(), "memory": peak_memory(), "version": version(distribution)}


if __name__ == "__main__":
    print(json.dumps(take(sys.argv[1], sys.argv[2], json.load(sys.stdin))), flush=True)
