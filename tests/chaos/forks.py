"""Processes that are forked by one that has imported everything: each costs milliseconds.

A line of JSON on its standard input is a job for a new process, or asks how one ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL


class Forks:
    """The process of a module that calls `serve`, until the block ends."""

    def __init__(self, module: str, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, job: dict[str, Any]) -> int:
        """Start a process; gives its id."""
        pid: int = self._ask(job)
        return pid

    def status(self, pid: int, *, wait: bool = False) -> int | None:
        """How a process ended; None as long as it has not."""
        status: int | None = self._ask({"pid": pid, "options": 0 if wait else os.WNOHANG})
        return status

    def run(self, job: dict[str, Any], kill_after: float | None = None) -> int | None:
        """Start a process, kill it after so many seconds, and wait; gives how it ended."""
        pid = self.start(job)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        return self.status(pid, wait=True)


def serve(work: Callable[[dict[str, Any]], int]) -> None:
    """Start processes that do the jobs, and end as it returns, or with 5 if it raises."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "pid" in asked:
            pid, status = os.waitpid(asked["pid"], asked["options"])
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif not (answer := os.fork()):
            status = 5
            try:
                status = work(asked)
            except BaseException:  # noqa: BLE001  (it is told; the parent must not be lived twice)
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(json.dumps(answer), flush=True)
