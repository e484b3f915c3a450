"""The process that dies: ``python -m tests.crash.driver``, a case a line on standard input.

Rule: a case is lived by a child of its own, which ends as the case says, by SIGKILL.

The parent has imported everything and started no thread, so that a child costs milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from harvester import durable
from harvester.errors import LedgerError
from tests.crash import job


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


def live(case: dict[str, Any]) -> None:
    """The child's life; writes how far it came where it is told to."""
    directory = Path(case["directory"])
    told = Path(case["told"])
    os.environ.update(case["environment"])
    for name in case["careless"]:
        setattr(durable, name, lambda *_: None)
    kill = case.get("kill")
    watch = Watch(tuple(kill) if kill else None)
    for number in range(case["first"], len(job.DAYS)):
        told.write_text(json.dumps({"day": number, "steps": {}}))
        durable.watch(watch)
        try:
            report = job.live(case["sink"], directory, number, ledger=case["ledger"])
        except LedgerError:  # it says what to do
            job.rebuild_ledger(case["sink"], directory, number)
            report = job.live(case["sink"], directory, number)
        durable.watch(None)
        assert report.state in ("complete", "waiting"), report.to_dict()
    broken = job.problems(case["sink"], directory)
    if case["ledger"]:
        broken += job.not_as_the_ledger_says(directory)
    job.SINKS[case["sink"]].clear(directory)
    told.write_text(json.dumps({"day": len(job.DAYS), "steps": watch.seen, "broken": broken}))


def main() -> None:
    """Live case after case; tell how each ended."""
    with tempfile.TemporaryDirectory() as place:  # what is imported and made once is so for all
        for number in range(len(job.DAYS)):
            job.live("jsonl", Path(place) / "harvest", number)
        job.not_as_the_ledger_says(Path(place) / "harvest")
    for line in sys.stdin:
        job.truth_of(json.loads(line)["sink"])
        child = os.fork()
        if not child:
            status = 1
            try:
                live(json.loads(line))
                status = 0
            except BaseException:  # noqa: BLE001  (it is told; the parent must not be lived twice)
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
