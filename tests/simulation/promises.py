"""What must hold after a run, and at the end of a world.

Rule: each function gives sentences about what is broken; none means all is well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import orjson

from harvester import plugins
from harvester.codec import add_checksums, checksum
from harvester.coverage import DONE, Stretch
from harvester.endpoint import day_of, in_record
from harvester.events import Report
from harvester.limiter import Rate
from harvester.plan import Cut, Days
from tests.simulation.outside import Traffic
from tests.support import bare, days

Key = tuple[str, str]
Truth = Callable[[Key, date, date], list[dict[str, Any]]]
"""What WeChat has of some days of an interface of an account."""


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
        if appid.split()[-1].startswith(
            "/cgi-bin/"
        ):  # what asks for the quota is not counted in it
            continue
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


def ledger_is_true(stretches: Mapping[Key, list[Stretch]], lines: Iterable[bytes]) -> Iterator[str]:
    """What the ledger calls done stands in the sink, as it says, and nothing else."""
    stored = by_window(lines)
    for key, each in stretches.items():
        windows = stored.pop(key, {})
        for stretch in each:
            if stretch.state == DONE:
                within = [days for days in windows if _lies_in(days, stretch)]
                held = [line for days in within for line in windows.pop(days)]
                yield from _figures(key, stretch, held, within)
        for begin, end in windows:
            yield f"{key} {begin} to {end}: stored, but the ledger does not know it"
    for key in stored:
        yield f"{key}: stored, but the ledger does not know it"


def by_window(lines: Iterable[bytes]) -> dict[Key, dict[Days, list[bytes]]]:
    """What is stored, by account and interface, and by window."""
    stored: defaultdict[Key, dict[Days, list[bytes]]] = defaultdict(dict)
    for line in lines:
        record = orjson.loads(line)
        begin, end = record["_begin_date"], record["_end_date"]
        days = (date.fromisoformat(begin), date.fromisoformat(end))
        stored[record["_appid"], record["_endpoint"]].setdefault(days, []).append(line)
    return dict(stored)


def _lies_in(days: Days, stretch: Stretch) -> bool:
    return stretch.begin <= days[0] and days[1] <= stretch.end


def _figures(key: Key, stretch: Stretch, held: list[bytes], windows: list[Days]) -> Iterator[str]:
    where = f"{key} {stretch.begin} to {stretch.end}"
    if len(held) != stretch.records or checksum(held) != add_checksums(stretch.checksum, 0):
        yield f"{where}: {len(held)} records, the ledger's figures are others: {stretch}"
    full = _with_records(key[1], held, windows)
    bits = [day not in full for day in days(stretch.begin, stretch.end)]
    if stretch.empty != sum(1 << n for n, none in enumerate(bits) if none):
        yield f"{where}: other days are empty"


def _with_records(name: str, held: Iterable[bytes], windows: Iterable[Days]) -> set[date]:
    """The days that have records: those that these name, or all of a whole period."""
    endpoint = plugins.endpoint(name)
    if endpoint.cut is not Cut.DAYS or not endpoint.day_field:
        return {day for window in windows for day in days(*window)}
    found = {day_of(in_record(orjson.loads(line), endpoint.day_field)) for line in held}
    return {day for day in found if day is not None}


def as_wechat_has_it(
    lines: Iterable[bytes], windows: Mapping[Key, Iterable[Days]], truth: Truth
) -> Iterator[str]:
    """Each record of each window is there, once, as WeChat has it."""
    stored = by_window(lines)
    for key, each in windows.items():
        held = [orjson.loads(line) for found in stored.get(key, {}).values() for line in found]
        found = Counter(_sorted(bare(record)) for record in held)
        wanted = Counter(_sorted(record) for days in each for record in truth(key, *days))
        if found - wanted:
            yield f"{key}: doubled or foreign records, as {next(iter(found - wanted))}"
        if wanted - found:
            yield f"{key}: lost records, as {next(iter(wanted - found))}"


def _sorted(record: dict[str, Any]) -> str:
    """The same text for the same record."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()


def all_covered(
    stretches: Mapping[Key, list[Stretch]], windows: Mapping[Key, Iterable[Days]]
) -> Iterator[str]:
    """At the end the coverage is the windows that were asked for."""
    for key, asked in windows.items():
        wanted = {day for window in asked for day in days(*window)}
        done = [stretch for stretch in stretches.get(key, []) if stretch.state == DONE]
        have = {day for stretch in done for day in days(stretch.begin, stretch.end)}
        if missing := wanted - have:
            yield f"{key}: {len(missing)} days are missing, the first {min(missing)}"
        for one, other in pairwise(done):
            if one.end + timedelta(days=1) == other.begin:
                yield f"{key}: neighbours {one.end} and {other.begin} were not joined"
