"""What must hold after a run, and at the end of a world.

Rule: each function gives sentences about what is broken; none means all is well.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from harvester.codec import add_checksums, checksum
from harvester.coverage import DONE, Stretch
from harvester.events import Report
from harvester.limiter import Rate
from tests.simulation.outside import Traffic
from tests.support import bare, days

Truth = Mapping[tuple[str, date], list[dict[str, Any]]]


def rate_kept(traffic: Traffic, rate: Rate) -> Iterator[str]:
    """In no period of the rate's length do more requests leave for an account than it says."""
    for appid, times in traffic.departures.items():
        for first, behind in zip(times, times[rate.requests :], strict=False):
            if behind - first < rate.period:
                yield f"{appid}: {rate.requests + 1} requests within {behind - first:.6f} s"
                break


def tokens_kept(traffic: Traffic, seconds: float, lifetime: float) -> Iterator[str]:
    """One fetch at a time, and none that no refusal, end or failure asked for."""
    yield from traffic.broken
    for appid, fetches in traffic.fetches.items():
        renewals = int(seconds / max(lifetime - 300.0, lifetime / 4)) + 1
        allowed = 1 + len(traffic.refused[appid]) + renewals + traffic.fetches_failed[appid]
        if fetches > allowed:
            yield f"{appid}: {fetches} token fetches, at most {allowed} were asked for"


def budget_kept(calls: Mapping[tuple[str, date], int], quota: int | None) -> Iterator[str]:
    """No more calls on a day in China than the quota says."""
    for (appid, day), number in calls.items():
        if quota is not None and number > quota:
            yield f"{appid}: {number} calls on {day}, the quota is {quota}"


def report_adds_up(report: Report) -> Iterator[str]:
    """Every planned window of a run that ended by itself is accounted for."""
    windows = report.windows
    settled = windows.skipped + windows.done + windows.waiting + windows.failed
    if windows.planned != settled:
        yield f"{windows.planned} planned, {settled} accounted for: {windows}"
    if report.state == "complete" and (windows.waiting or windows.failed):
        yield f"complete, but {windows}"


def ledger_is_true(
    stretches: Mapping[tuple[str, str], list[Stretch]], lines: Iterable[bytes], truth: Truth
) -> Iterator[str]:
    """What the ledger calls done stands in the sink, as often and as it says, and nothing else."""
    stored: defaultdict[tuple[str, date], list[bytes]] = defaultdict(list)
    for line in lines:
        record = json.loads(line)
        stored[record["_appid"], date.fromisoformat(record["_begin_date"])].append(line)
    covered = set()
    for (appid, _), each in stretches.items():
        for stretch in each:
            if stretch.state != DONE:
                continue
            held: list[bytes] = []
            for day in days(stretch.begin, stretch.end):
                covered.add((appid, day))
                held += stored[appid, day]
                yield from _as_fetched(appid, day, stored[appid, day], truth)
            if len(held) != stretch.records or checksum(held) != add_checksums(stretch.checksum, 0):
                yield f"{appid} {stretch.begin} to {stretch.end}: the ledger's figures are others"
            empty = [not stored[appid, day] for day in days(stretch.begin, stretch.end)]
            if stretch.empty != sum(1 << n for n, none in enumerate(empty) if none):
                yield f"{appid} {stretch.begin} to {stretch.end}: other days are empty"
    for (appid, day), held in stored.items():
        if held and (appid, day) not in covered:
            yield f"{appid} {day}: stored, but the ledger does not know it"


def _as_fetched(appid: str, day: date, held: list[bytes], truth: Truth) -> Iterator[str]:
    found = Counter(json.dumps(bare(json.loads(line)), sort_keys=True) for line in held)
    wanted = Counter(json.dumps(record, sort_keys=True) for record in truth[appid, day])
    if found - wanted:
        yield f"{appid} {day}: doubled or foreign records"
    if wanted - found:
        yield f"{appid} {day}: lost records"


def all_covered(
    stretches: Mapping[tuple[str, str], list[Stretch]],
    appids: Iterable[str],
    endpoint: str,
    begin: date,
    end: date,
) -> Iterator[str]:
    """At the end the coverage is the range that was asked for."""
    wanted = set(days(begin, end))
    for appid in appids:
        done = {
            day
            for stretch in stretches.get((appid, endpoint), [])
            if stretch.state == DONE
            for day in days(stretch.begin, stretch.end)
        }
        if missing := wanted - done:
            yield f"{appid}: {len(missing)} days are missing, the first {min(missing)}"
        for one, other in pairwise(stretches.get((appid, endpoint), [])):
            if one.end + timedelta(days=1) == other.begin and one.state == other.state == DONE:
                yield f"{appid}: neighbours {one.end} and {other.begin} were not joined"
