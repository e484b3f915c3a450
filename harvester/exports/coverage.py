"""What a ledger knows of the interfaces of an export: the table ``coverage``, and its sums.

Rule: reads the ledger alone.  The table is the one that is no function of the sink: it is read
before the records and shown after them, so what it calls final is in the tables.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from harvester.base.dates import Days
from harvester.exports.base import Target
from harvester.ledger import Ledger
from harvester.ledger.reach import Run, Together, reaches, states_in
from harvester.model import Find


@dataclass
class Coverage:
    """What a ledger knew; runs: by interface, in the order of accounts; interfaces: their sums."""

    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    interfaces: dict[str, Together] = field(default_factory=lambda: defaultdict(Together))

    def rows(self, interfaces: Collection[str], names: Mapping[str, str]) -> list[Row]:
        """The rows of the table, in the order of account, interface and day."""
        runs = [run for name in interfaces for run in self.runs.get(name, ())]
        return [(run.appid, names.get(run.appid, ""), *run[1:]) for run in sorted(runs)]


Row = tuple[Any, ...]
"""Appid, account, interface, first and last day, how many, state."""


def shows_coverage(target: Target) -> bool:
    """Whether a target shows what a ledger knows of its days."""
    return target.whole or target.shape == "flat"


async def coverage_in(
    ledger: Ledger, find: Find, days: Days | None = None, only: Collection[str] | None = None
) -> Coverage:
    """What an entered ledger knows of these days and accounts, None: all; raises `LedgerError`."""
    asked, appids = await ledger.asked(), await ledger.accounts()
    if only is not None:
        appids = [appid for appid in appids if appid in only]
    found = Coverage()
    async for account in reaches(ledger, asked, appids, find, time.time()):
        for each in account:
            appid, name = each.key
            reach = each.reach if days is None else each.reach.within(days)
            found.runs[name] += states_in(each.key, reach)
            together = found.interfaces[name]
            if reach.begins is not None:
                together.add(appid, reach)
            elif days is not None and each.reach.begins is not None:
                together.note(appid, each.reach.begins)
    return found
