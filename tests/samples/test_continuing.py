"""The samples of the released formats are continued, rebuilt and copied: nothing is lost."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import Simulator
from tests.samples import world
from tests.samples.places import KILLED, WHOLE, Sample
from tests.samples.test_reading import KNOWN, known_of, of
from tests.samples.world import (
    CONTINUED,
    EMPTY,
    INTERFACES,
    JOBS,
    MARKED,
    NEVER,
    NEXT,
    PERIODS,
    PORTRAIT,
    PORTRAITS,
    Job,
    checksum,
)
from tests.support import A, B, Wechat, as_multiset, at, bare, days

Records = dict[str, list[dict[str, Any]]]
Place = tuple[str, str]
"""An account and one of its interfaces."""

HOLES = {("getusercumulate", NEVER), ("getusersummary", EMPTY)}
"""Days that had no record when the samples were made, and are not asked for any more."""
KILLED_NEXT = world.KILLED._replace(day=NEXT[0], hour=NEXT[1])


QUICK = ("lines", "killed")


@contextmanager
def wechat() -> Iterator[Wechat]:
    """A WeChat without any fault, at the moment of the tests; what it answered is counted."""
    moment = at(*NEXT)
    with Wechat(Simulator(wall=lambda: moment)) as server:
        yield server


def jobs_of(name: str) -> tuple[Job, ...]:
    return (KILLED_NEXT,) if name in KILLED else CONTINUED


def truth(jobs: tuple[Job, ...], simulator: Simulator) -> dict[Place, Counter[str]]:
    """What WeChat has of everything that the jobs ask for."""
    found: dict[Place, Counter[str]] = {}
    for job in jobs:
        for name in job.endpoints:
            for appid in job.only:
                ranges = [(job.start, job.end)]
                if name == PORTRAIT:  # an answer is one day
                    ranges = [(day, day) for day in PORTRAITS]
                found[appid, name] = as_multiset(
                    ("", "", row)
                    for begin, end in ranges
                    for row in simulator.truth_of(
                        name, appid, date.fromisoformat(begin), date.fromisoformat(end)
                    )
                )
    return found


def stored(sample: Sample) -> dict[Place, Counter[str]]:
    """What is in the sink."""
    found: dict[Place, Counter[str]] = {}
    for name in INTERFACES:
        for row in sample.records(name):
            place = found.setdefault((row["_appid"], name), Counter())
            place += as_multiset([("", "", bare(row))])
    return found


def days_of(begin: str, end: str) -> list[date]:
    return days(date.fromisoformat(begin), date.fromisoformat(end))


@cache
def final_days(name: str) -> dict[Place, set[date]]:
    """The days that no run asks for again, by what `status` said when the sample was made."""
    found: dict[Place, set[date]] = {}
    for job in (world.KILLED,) if name in KILLED else JOBS:
        for key in [(appid, each) for appid in job.only for each in job.endpoints]:
            found.setdefault(key, set()).update(days_of(job.start, job.end))
    for stream in KNOWN["killed" if name in KILLED else "lines"]["status"]:
        key = stream["appid"], stream["endpoint"]
        for _, begin, end in stream["ranges"]:
            found[key].difference_update(days_of(begin, end))
        if stream["not_asked"]:  # a week or month that was not over
            last = max(found[key])
            found[key] -= {last - timedelta(days=n) for n in range(stream["not_asked"])}
    if name not in KILLED:
        found[MARKED[:2]].difference_update(days_of(*MARKED[2:]))
    return found


def continued(sample: Sample, server: Wechat) -> None:
    for job in jobs_of(sample.name):
        ended = sample.run(job, server)
        assert (ended.status, ended.report["state"]) == (0, "complete"), (job, ended.err)


def requests(server: Wechat) -> set[tuple[str, str, date, date]]:
    """Interface, account, and the days of each call that was answered."""
    return {*server.simulator.served_of}


@pytest.mark.sampled
@pytest.mark.thorough
@of(*WHOLE, *KILLED, quick=QUICK)
def test_a_run_goes_on_where_the_sample_ended(name: str, sample: Sample) -> None:
    before = {each: sample.records(each) for each in INTERFACES}
    final = final_days(name)
    with wechat() as server:
        continued(sample, server)
        first = requests(server)
        for endpoint, appid, begin, end in first:
            assert {*days(begin, end)} - final[appid, endpoint], (endpoint, appid, begin, end)
        if name not in KILLED:
            again = {
                day
                for endpoint, appid, begin, end in first
                if (appid, endpoint) == MARKED[:2]
                for day in days(begin, end)
            }
            assert again >= {*days_of(*MARKED[2:])}, "what was marked was not asked for"
        expected = truth(jobs_of(name), server.simulator)
        server.simulator.served_of.clear()
        for job in jobs_of(name):
            assert sample.run(job._replace(hour=NEXT[1] + 0.1), server).status == 0
        assert requests(server) == set(), "what is stored was asked for again"
    if name not in KILLED:
        for appid in (A, B):
            for endpoint, day in HOLES:
                expected[appid, endpoint] = without(expected[appid, endpoint], day)
    assert stored(sample) == nonempty(expected)
    after = {each: {*map(str, sample.records(each))} for each in INTERFACES}
    for endpoint, rows in before.items():
        for row in rows:
            window = {*days_of(row["_begin_date"], row["_end_date"])}
            if window <= final[row["_appid"], endpoint]:
                assert str(row) in after[endpoint], "a final record was replaced"
    verified = sample.harvest(*NEXT, "verify")
    assert "exactly what was fetched" in verified.out, verified.out + verified.err


def nonempty(found: dict[Place, Counter[str]]) -> dict[Place, Counter[str]]:
    return {place: rows for place, rows in found.items() if rows}


def without(rows: Counter[str], day: str) -> Counter[str]:
    return Counter({row: number for row, number in rows.items() if f'"{day}"' not in row})


@pytest.mark.sampled
@pytest.mark.thorough
@of(*WHOLE, *KILLED, quick=QUICK)
def test_a_rebuilt_ledger_agrees_with_the_sink_and_goes_on(name: str, sample: Sample) -> None:
    rebuilt = sample.harvest(*NEXT, "rebuild", "--sink", sample.sink)
    assert rebuilt.status == 0, rebuilt.out + rebuilt.err
    verified = sample.harvest(*NEXT, "verify")
    assert "exactly what was fetched" in verified.out, verified.out + verified.err
    for endpoint in INTERFACES:
        found = sample.records(endpoint)
        noted = {"records": len(found), "checksum": checksum(found)}
        assert noted == known_of(name)[endpoint], endpoint
    with wechat() as server:
        continued(sample, server)
        expected = truth(jobs_of(name), server.simulator)
    found = stored(sample)
    for rows in (found, expected):  # an empty day beside others may be asked for again or not
        for place in [(appid, "getusersummary") for appid in (A, B)]:
            rows[place] = without(rows.get(place, Counter()), EMPTY)
    assert nonempty(found) == nonempty(expected)
    verified = sample.harvest(*NEXT, "verify")
    assert "exactly what was fetched" in verified.out, verified.out + verified.err


@pytest.mark.sampled
@of(*WHOLE, quick=[])
def test_a_sink_that_is_added_gets_what_the_sample_has_and_later_runs_fill_both(
    name: str, sample: Sample, tmp_path: Path
) -> None:
    added = f"sqlite:{tmp_path}/second.db" if name != "sqlite" else f"jsonl:{tmp_path}/second"
    if name == "postgresql":  # what a shared ledger takes
        added = f"{sample.sink}?schema=second"
    done = sample.harvest(*NEXT, "sink", "add", added)
    assert done.status == 0, done.err
    second = replace(sample, sink=added)
    for endpoint in INTERFACES:
        found = second.records(endpoint)
        noted = {"records": len(found), "checksum": checksum(found)}
        assert noted == known_of(name)[endpoint], endpoint
    with wechat() as server:
        for job in CONTINUED:
            ended = sample.run(job, server, "--sink", added)
            assert ended.status == 0, ended.err
    assert stored(second) == stored(sample)
    verified = sample.harvest(*NEXT, "verify")
    assert "exactly what was fetched" in verified.out, verified.out + verified.err


@pytest.mark.thorough
@of("sqlite", quick=["sqlite"])
def test_a_sink_outside_of_the_ledgers_folder_is_read_continued_and_moved(
    name: str, sample: Sample, tmp_path: Path
) -> None:
    """98574d5 had its absolute place in the ledger."""
    (sample.folder / "records.db").rename(tmp_path / "outside.db")
    outside = f"sqlite:{tmp_path}/outside.db"
    with closing(sqlite3.connect(sample.folder / "ledger.sqlite")) as ledger, ledger:
        ledger.execute("UPDATE sink SET name = ?", (outside,))
        ledger.execute(
            "UPDATE checkpoint SET sink = ? WHERE sink = 'sqlite:records.db'", (outside,)
        )
    sample = replace(sample, sink=outside)
    for command in (("verify",), ("verify", "--sink", outside)):
        verified = sample.harvest(*world.NOW, *command)
        assert "exactly what was fetched" in verified.out, verified.out + verified.err
        assert f"{outside} is outside of {sample.folder}" in verified.out
    rows = harvester.rows(sample.sink, "getusersummary", ledger=sample.folder)
    assert len([*rows]) == known_of(name)["getusersummary"]["records"]
    assert len(sample.records("getusersummary")) == known_of(name)["getusersummary"]["records"]
    with wechat() as server:
        continued(sample, server)
        assert sample.harvest(*NEXT, "verify").status == 0
        place = tmp_path / "elsewhere"
        place.mkdir()
        for each in (sample.folder, tmp_path / "outside.db"):
            each.rename(place / each.name)
        there = ("--out", str(place / name))
        moved = replace(sample, where=there, sink=f"sqlite:{place}/outside.db")
        server.simulator.served_of.clear()
        for job in CONTINUED:
            assert moved.run(job._replace(hour=NEXT[1] + 0.1), server).status == 0
        assert requests(server) == set(), "what is stored was asked for again"


def test_each_state_of_a_day_is_in_the_samples() -> None:
    seen = {state for each in KNOWN["lines"]["status"] for state in world.STATES if each[state]}
    seen |= {state for each in KNOWN["killed"]["status"] for state in world.STATES if each[state]}
    assert seen == {*world.STATES}
    assert {*PERIODS} <= {each["endpoint"] for each in KNOWN["lines"]["status"]}
