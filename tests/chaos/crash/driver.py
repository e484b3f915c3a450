"""The processes that die, each as its case says, by SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections import Counter
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from harvester.base import files as durable
from harvester.errors import LedgerError, UsageError
from tests.chaos.crash import job
from tests.chaos.crash.sinks import SINKS, differences, stored
from tests.chaos.forks import serve


class Watch:
    """Counts the durable steps, and dies at one of them.

    kill: the name of a step, its number, and whether once it has been taken; None for none.
    """

    def __init__(self, kill: list[Any] | None) -> None:
        self.seen: Counter[str] = Counter()
        self._kill = kill

    def __call__(self, name: str, done: bool) -> None:
        if not done:
            self.seen[name] += 1
        if self._kill == [name, self.seen[name], done]:
            os.kill(os.getpid(), signal.SIGKILL)


def tell(case: dict[str, Any], **what: Any) -> None:
    """Write how far the process has come, whole or not at all."""
    path = Path(case["told"])
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(what))
    draft.replace(path)


def live(case: dict[str, Any]) -> None:
    """The child's life; writes how far it came where it is told to."""
    directory = Path(case["directory"])
    for name in case["careless"]:
        setattr(durable, name, lambda *_: None)
    watch = Watch(case["kill"])
    for number in range(case["first"], len(job.DAYS)):
        tell(case, day=number)
        durable.watch(watch)
        try:
            report = job.live(case["sink"], directory, number, ledger=case["ledger"])
        except (LedgerError, UsageError):  # damaged, or lost: it says what to do
            assert case["ledger"], "nothing is to be rebuilt where no ledger is kept"
            job.rebuild_ledger(case["sink"], directory, number)
            report = job.live(case["sink"], directory, number)
        durable.watch(None)
        assert report.state in ("complete", "waiting"), report.to_dict()
    broken = differences(stored(case["sink"], directory), job.truth_of(case["sink"]))
    if case["ledger"]:
        broken += job.not_as_the_ledger_says(directory)
    SINKS[case["sink"]].clear(directory)
    tell(case, day=len(job.DAYS), steps=watch.seen, broken=broken)


def toil(case: dict[str, Any]) -> None:
    """The life of one that is killed sooner or later: the day on which all is harvested anew comes
    again and again.
    """
    directory = Path(case["directory"])
    last = next(number for number, day in enumerate(job.DAYS) if day.refresh)
    for number in chain(range(case["first"], last), repeat(last)):
        tell(case, day=number)
        job.live(case["sink"], directory, number)


def look(case: dict[str, Any]) -> None:
    """Whether what the ledger speaks of is there."""
    directory = Path(case["directory"])
    broken: list[str] = []
    with suppress(UsageError):  # there is no ledger yet, or nothing in it
        broken = job.not_as_the_ledger_says(directory)
    tell(case, day=case["first"], broken=broken)


LIVES = {"live": live, "toil": toil, "look": look}


def work(case: dict[str, Any]) -> int:
    """Live as the case says."""
    os.environ.update(case["environment"])
    LIVES[case.get("life", "live")](case)
    return 0


def main() -> None:
    """Prepare what is the same for all, and live case after case."""
    with tempfile.TemporaryDirectory() as place:  # what is imported and made once is so for all
        for number in range(len(job.DAYS)):
            job.live("jsonl", Path(place) / "harvest", number)
        job.not_as_the_ledger_says(Path(place) / "harvest")
    for name in SINKS:
        job.truth_of(name)
    serve(work)


if __name__ == "__main__":
    main()
