"""The processes that export, and die as their job says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harvester.base import files as durable
from harvester.config import plugins
from harvester.exports import duckdb as _duckdb  # noqa: F401  (imported before the fork)
from harvester.exports import xlsx as _xlsx  # noqa: F401
from harvester.sinks.sql import sqlite as _sqlite  # noqa: F401
from tests.chaos.crash.driver import Watch
from tests.chaos.forks import serve
from tests.exports.support import do


def work(job: dict[str, Any]) -> int:
    """Export; ends with 0 if something was written, with 3 if nothing had changed."""
    watch = Watch(job["kill"])
    durable.watch(watch)
    done = do(plugins.sink(job["sink"]), job["target"])
    Path(job["told"]).write_text(json.dumps(watch.seen))
    return 0 if done.written or done.removed else 3


if __name__ == "__main__":
    serve(work)
