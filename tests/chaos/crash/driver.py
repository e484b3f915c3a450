"""The process that dies: ``python -m tests.chaos.crash.driver``, one case for each line of standard
input.

Rule: a child process runs each case, and ends as the case says, by SIGKILL.

The parent has imported everything and started no thread, so that a child costs milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from harvester import durable
from harvester.errors import LedgerError, UsageError
from tests.chaos.crash import job


class Watch:
    """Counts the durable steps, and dies at one of them.

    kill: the name of a step, its number, and whether once it has been taken; None for none.
    """

    def __init__(self, kill: tuple[str, int, bool] | None) -> None:
        self.seen: Counter[str] = Counter()
        self._kill = kill

    def __call__(self, name: str, done: bool) -> None:
        if not done:
            self.seen[name] += 1
        if self._kill == (name, self.seen[name], done):
            os.kill(os.getpid(), signal.SIGKILL)


class Told:
    """Where a process writes how far it has come, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, **what: Any) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(what))
        draft.replace(self._path)


def live(case: dict[str, Any]) -> None:
    """The child's life; writes how far it came where it is told to."""
    directory, tell = Path(case["directory"]), Told(Path(case["told"]))
    for name in case["careless"]:
        setattr(durable, name, lambda *_: None)
    kill = case.get("kill")
    watch = Watch(tuple(kill) if kill else None)
    for number in range(case["first"], len(job.DAYS)):
        tell(day=number)
        durable.watch(watch)
        try:
            report = job.live(case["sink"], directory, number, ledger=case["ledger"])
        except (LedgerError, UsageError):  # damaged, or lost: it says what to do
            assert case["ledger"], "nothing is to be rebuilt where no ledger is kept"
            job.rebuild_ledger(case["sink"], directory, number)
            report = job.live(case["sink"], directory, number)
        durable.watch(None)
        assert report.state in ("complete", "waiting"), report.to_dict()
    broken = job.problems(case["sink"], directory)
    if case["ledger"]:
        broken += job.not_as_the_ledger_says(directory)
    job.SINKS[case["sink"]].clear(directory)
    tell(day=len(job.DAYS), steps=watch.seen, broken=broken)


def toil(case: dict[str, Any]) -> None:
    """The life of one that is killed sooner or later: the day on which all is harvested anew comes
    again and again.
    """
    directory, tell = Path(case["directory"]), Told(Path(case["told"]))
    last = next(number for number, day in enumerate(job.DAYS) if day.refresh)
    for number in chain(range(case["first"], last), repeat(last)):
        tell(day=number)
        job.live(case["sink"], directory, number)


def look(case: dict[str, Any]) -> None:
    """Whether what the ledger speaks of is there."""
    directory, tell = Path(case["directory"]), Told(Path(case["told"]))
    broken: list[str] = []
    with suppress(UsageError):  # there is no ledger yet, or nothing in it
        broken = job.not_as_the_ledger_says(directory)
    tell(day=case["first"], broken=broken)


LIVES = {"live": live, "toil": toil, "look": look}


def child(case: dict[str, Any]) -> int:
    """Live in a process of its own; gives how that ended.

    A case that says ``after`` is killed so many seconds after it began, if it still lives.
    """
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.environ.update(case["environment"])
            LIVES[case.get("life", "live")](case)
            status = 0
        except BaseException:  # noqa: BLE001  (it is told; the parent must not be lived twice)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    if "after" in case:
        time.sleep(case["after"])
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Live case after case; tell how each ended."""
    with tempfile.TemporaryDirectory() as place:  # what is imported and made once is so for all
        for number in range(len(job.DAYS)):
            job.live("jsonl", Path(place) / "harvest", number)
        job.not_as_the_ledger_says(Path(place) / "harvest")
    for line in sys.stdin:
        case = json.loads(line)
        job.truth_of(case["sink"])
        print(child(case), flush=True)


if __name__ == "__main__":
    main()
