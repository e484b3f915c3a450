"""The windows of an interface are cut in another way than before: no record is doubled or lost.

A run may refuse that, with a sentence and before anything is sent; what it calls complete is right.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.wechat.interfaces import INTERFACES
from tests.scenarios.command import asked, until
from tests.scenarios.days import RECORDS, DaysOnly, each_once
from tests.scenarios.places import SINKS, days_in
from tests.scenarios.server import Call, Server, rows
from tests.scenarios.shared import KNOWN
from tests.support import A, B, harvest, stored

BEGIN = date(2024, 3, 4)
MAY, SEPTEMBER = date(2024, 5, 2), date(2024, 9, 3)


def cut(span: int, shift: int = 0) -> harvester.JsonEndpoint:
    """An interface of one's own, whose windows have so many days, from a first day on."""
    first_day = date(2024, 1, 1) + timedelta(days=shift)
    return replace(
        INTERFACES["getusersummary"], name="mine", span=span, first_day=first_day, successors=()
    )


class Job:
    """Runs into a sink; after each of them what stands there is looked at."""

    def __init__(self, server: DaysOnly, home: Path, spec: str) -> None:
        self.server = server
        self.spec = spec
        self.refusals: list[str] = []
        self.ledgers = home / "ledgers"
        self.ledgers.mkdir()

    def run(
        self, span: harvester.JsonEndpoint, begin: date, end: date, *,
        sinks: Sequence[str] = (), ledger: str | None = "a", appid: str = A, **options: Any,
    ) -> bool:  # fmt: skip
        """Whether it was harvested; else it was refused, and nothing was sent."""
        specs, complete = list(sinks or [self.spec]), True
        before = self.server.requests
        where = self.ledgers / f"{ledger}.sqlite" if ledger else None
        try:
            report = asyncio.run(
                harvester.run(
                    harvester.Account(appid, secret="practice"), span, begin, end, sink=specs,
                    base_url=self.server.url, rate="10000/s", ledger=where, **options,
                )
            )  # fmt: skip
        except harvester.UsageError as exc:
            assert self.server.requests == before
            self.refusals.append(str(exc))
            complete = False
        else:
            assert report.state == "complete"
        wanted = each_once(begin, end) if complete else {}
        for spec in specs if appid == A else ():
            found = days_in(spec, span)
            assert {day: found[day] for day in wanted} == wanted, spec
            assert max(found.values(), default=0) <= RECORDS, "doubled records"
        return self.server.requests > before


@pytest.fixture
def job(server: DaysOnly, tmp_path: Path, spec: str) -> Job:
    return Job(server, tmp_path, spec)


CHANGES = {
    "shorter": (cut(7), cut(5)),
    "longer": (cut(7), cut(31)),
    "a day later": (cut(7), cut(7, 1)),
    "a day earlier": (cut(7, 1), cut(7)),
    "twice as long": (cut(7), cut(14)),
    "a week later": (cut(7), cut(7, 7)),
    "from single days": (cut(1), cut(7)),
    "to single days": (cut(7), cut(1)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("last", [MAY, SEPTEMBER])
@pytest.mark.parametrize("change", ["shorter", "a day later"])
@pytest.mark.parametrize("kind", SINKS)
def test_all_is_asked_for_again_with_other_windows(change: str, last: date, job: Job) -> None:
    former, present = CHANGES[change]
    assert job.run(former, BEGIN, last)
    job.run(present, BEGIN, last, refresh=True)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", SINKS)
def test_a_second_sink_is_added_after_the_change(job: Job, tmp_path: Path) -> None:
    specs = [job.spec, f"jsonl:{tmp_path / 'second'}"]
    seven, five = (replace(cut(span), name="getusersummary") for span in (7, 5))
    assert job.run(seven, BEGIN, MAY, sinks=specs[:1])
    added = harvest("sink", "add", specs[1], "--ledger", job.ledgers / "a.sqlite", **KNOWN)
    assert added.returncode == 0, added.stderr
    job.run(five, BEGIN, MAY, sinks=specs)
    job.run(five, BEGIN, MAY, sinks=specs[::-1])
    assert job.run(seven, BEGIN, SEPTEMBER, sinks=specs)
    assert not job.refusals


@pytest.mark.thorough
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [pytest.param("jsonl", marks=pytest.mark.thorough), "sqlite"])
def test_every_kind_of_change(change: str, job: Job) -> None:
    former, present = CHANGES[change]
    later = MAY + timedelta(days=9)
    assert job.run(former, BEGIN + timedelta(days=3), BEGIN + timedelta(days=45))
    assert job.run(present, BEGIN, MAY)
    job.run(former, BEGIN, MAY, refresh=True)
    job.run(present, BEGIN + timedelta(days=2), MAY, refresh=True)
    job.run(former, BEGIN + timedelta(days=20), later)
    assert days_in(job.spec, present) == each_once(BEGIN, later)


@pytest.mark.parametrize("kind", SINKS)
def test_a_run_that_resumes_after_the_change_asks_for_what_is_missing_alone(job: Job) -> None:
    assert job.run(cut(7), BEGIN, date(2024, 4, 2))
    assert job.run(cut(5), date(2024, 3, 10), date(2024, 4, 20))
    assert job.run(cut(7, 1), BEGIN, MAY)
    assert not job.run(cut(7), BEGIN, MAY)
    assert not job.refusals


@pytest.mark.parametrize("kind", SINKS)
def test_windows_that_fit_into_the_new_ones_may_be_asked_for_again(job: Job) -> None:
    assert job.run(cut(1), BEGIN, date(2024, 3, 20))
    assert job.run(cut(7), date(2024, 3, 11), MAY, refresh=True)
    assert job.run(cut(14, 7), BEGIN, MAY, refresh=True)
    assert not job.refusals


@pytest.mark.parametrize("kind", ["jsonl"])
def test_a_window_of_which_nothing_was_stored_binds_nobody(job: Job) -> None:
    job.server.longest = 5
    refused = replace(cut(7), path="/nowhere", errors={})
    asked = harvester.run(
        harvester.Account(A, secret="wrong"), refused, BEGIN, BEGIN, sink=job.spec,
        base_url="http://127.0.0.1:1", ledger=job.ledgers / "a.sqlite", attempts=1,
    )  # fmt: skip
    with pytest.raises(harvester.HarvestError):
        asyncio.run(asked)
    assert job.run(cut(5), BEGIN, MAY)
    assert job.run(cut(5), BEGIN, MAY, refresh=True)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["sqlite"])
def test_windows_that_wechat_has_shortened_stay_within_those_of_the_interface(job: Job) -> None:
    job.server.longest = 3
    assert job.run(cut(7), BEGIN, MAY)
    assert job.run(cut(7), BEGIN, MAY, refresh=True)
    job.run(cut(5), BEGIN, MAY, refresh=True)
    assert job.run(cut(5), BEGIN, SEPTEMBER)


def test_one_odd_refusal_of_a_range_binds_one_account_in_one_run(tmp_path: Path) -> None:
    """A week of A is refused once; B shares the server, the run and the ledger."""
    odd = [{"errcode": 61501, "errmsg": "date range error"}]
    lengths: defaultdict[str, list[int]] = defaultdict(list)

    def answer(call: Call) -> dict[str, Any]:
        lengths[call.query["access_token"]].append(len(call.days))
        if odd and call.query["access_token"] == A:
            return odd.pop()
        return rows(call)

    def run(begin: date, end: date) -> harvester.Report:
        return harvester.run_sync(
            [harvester.Account(each, token=lambda each=each: each) for each in (A, B)],
            cut(7), begin, end, sink=f"jsonl:{tmp_path}", base_url=server.url, rate="1000/s",
            ledger=f"sqlite:{tmp_path / 'ledger.sqlite'}",
        )  # fmt: skip

    with Server(answer) as server:
        report = run(BEGIN, BEGIN + timedelta(days=27))
        assert (report.state, report.windows.planned) == ("complete", 28 + 4)
        assert (sorted(lengths[A]), lengths[B]) == ([1] * 28 + [7], [7] * 4)
        lengths.clear()
        assert run(BEGIN + timedelta(days=28), BEGIN + timedelta(days=55)).state == "complete"
    assert (lengths[A], lengths[B]) == ([7] * 4, [7] * 4)
    for appid in (A, B):
        kept = [row["ref_date"] for row in stored(tmp_path, "mine") if row["_appid"] == appid]
        assert (len(kept), len({*kept})) == (56, 56)


@pytest.mark.parametrize("kind", SINKS)
def test_another_ledger_or_none_finds_windows_that_were_cut_otherwise(job: Job) -> None:
    assert job.run(cut(7), BEGIN, MAY)
    job.run(cut(5), BEGIN, MAY, ledger="b")
    assert job.run(cut(5), BEGIN, MAY, ledger=None)
    job.run(cut(7, 1), BEGIN, MAY, ledger="b", refresh=True)
    assert days_in(job.spec, cut(7)) == each_once(BEGIN, MAY)
    assert len(job.refusals) == 2
    for said in job.refusals:
        assert "contains a harvest that is not in this ledger" in said
        assert "harvester rebuild" in said


INTERFACE = """
[[interface]]
name = "mine"
path = "/datacube/getusersummary"
first_day = 2024-01-01
span = {span}
"""


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("kind", ["jsonl", "gzip", "sqlite"])
def test_after_the_ledger_was_made_anew_nothing_is_doubled(
    described: bool, server: DaysOnly, tmp_path: Path, spec: str
) -> None:
    out, config = tmp_path / "there", tmp_path / "mine.toml"

    def run(span: int, *more: str) -> int:
        config.write_text(INTERFACE.format(span=span))
        before = server.requests
        given = asked(server.url, "mine", BEGIN, MAY, "--sink", spec, "--out", out, *more)
        done = harvest(*given, "--config", config)
        assert done.returncode == 0 or (done.returncode == 2 and server.requests == before)
        stored = harvester.read(spec, cut(7), ledger=out).read_all().to_pylist()
        assert Counter(str(row["ref_date"]) for row in stored) == each_once(BEGIN, MAY)
        return done.returncode

    def rebuild() -> None:
        known = ("--config", config) if described else ()
        assert harvest("rebuild", "--out", out, *known, cwd=tmp_path).returncode == 0

    assert run(7) == 0
    rebuild()
    run(5, "--refresh")
    assert run(5) == 0
    rebuild()
    run(5, "--refresh")
    run(7, "--refresh")
    assert run(7) == 0


KILLED = """
import asyncio, sys, harvester
from tests.scenarios.runs.test_changed_windows import A, BEGIN, SEPTEMBER, cut
spec, url, ledger, span, refresh = sys.argv[1:]
asyncio.run(harvester.run(
    harvester.Account(A, secret="practice"), cut(int(span)), BEGIN, SEPTEMBER, sink=spec,
    rate="40/s",
    base_url=url, ledger=ledger, refresh=bool(refresh)))
"""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_a_run_is_killed_between_the_changes(job: Job) -> None:
    server = job.server
    for span, refresh in (("7", ""), ("5", ""), ("7", "yes"), ("5", "yes")):
        before = len(server.data)
        given = [job.spec, server.url, str(job.ledgers / "a.sqlite"), span, refresh]
        with subprocess.Popen([sys.executable, "-c", KILLED, *given]) as process:
            until(lambda n=before + 8: len(server.data) >= n or process.poll() is not None)
            process.kill()
    assert job.run(cut(7), BEGIN, SEPTEMBER)
    assert days_in(job.spec, cut(7)) == each_once(BEGIN, SEPTEMBER)
    job.run(cut(7), BEGIN, SEPTEMBER, refresh=True)
    job.run(cut(5), BEGIN, SEPTEMBER, refresh=True)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["jsonl"])
def test_the_refusal_says_what_to_do_and_binds_no_other_account(job: Job) -> None:
    assert job.run(cut(7), BEGIN, MAY)
    if not job.run(cut(5), BEGIN, MAY, refresh=True):
        (said,) = job.refusals
        for each in ("mine", "would be doubled", "without --refresh", "another sink and ledger"):
            assert each in said
    assert job.run(cut(5), BEGIN, MAY, appid=B, refresh=True)
