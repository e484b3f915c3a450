"""The windows of an interface are cut in another way than before: no record is doubled or lost.

A run may refuse that, with a sentence and before anything is sent; what it calls complete is right.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.datacube import INTERFACES
from tests.scenarios.days import DaysOnly, each_once
from tests.scenarios.places import SINKS, days_in, spec_of
from tests.support import A, B, harvest

BEGIN = date(2024, 3, 4)
LAST = {60: date(2024, 5, 2), 184: date(2024, 9, 3)}
LEDGERS = "ledgers"


def cut(span: int, shift: int = 0) -> harvester.JsonEndpoint:
    """An interface of one's own, whose windows have so many days, from a first day on."""
    first_day = date(2024, 1, 1) + timedelta(days=shift)
    return replace(
        INTERFACES["getusersummary"], name="mine", span=span, first_day=first_day, successors=()
    )


class Job:
    """Runs of one ledger into sinks; after each of them what stands there is looked at."""

    def __init__(self, server: DaysOnly, home: Path, specs: Sequence[str]) -> None:
        self.server = server
        self.specs = specs
        self.refusals: list[str] = []
        self._ledgers = home / LEDGERS
        self._ledgers.mkdir(exist_ok=True)

    def run(
        self,
        endpoint: harvester.JsonEndpoint,
        begin: date,
        end: date,
        *,
        sinks: Sequence[str] | None = None,
        ledger: str | None = "a",
        **options: Any,
    ) -> bool:
        """Whether it was harvested; else it was refused, and nothing was sent."""
        account = harvester.Account(A, secret="practice")
        specs = list(sinks or self.specs[:1])
        before = self.server.requests
        try:
            report = asyncio.run(
                harvester.run(
                    account, endpoint, begin, end, sink=specs, base_url=self.server.url,
                    rate=10_000, ledger=self._ledgers / f"{ledger}.sqlite" if ledger else None,
                    **options,
                )
            )  # fmt: skip
        except harvester.UsageError as exc:
            assert self.server.requests == before
            self.refusals.append(str(exc))
        else:
            assert report.state == "complete"
            wanted = each_once(begin, end)
            for spec in specs:
                found = days_in(spec, endpoint)
                assert {day: found[day] for day in wanted} == wanted, spec
        for spec in self.specs:
            if spec in specs:
                found = days_in(spec, endpoint)
                assert not [day for day, count in found.items() if count > 2], "doubled records"
        return self.server.requests > before


@pytest.fixture
def server() -> Iterator[DaysOnly]:
    with DaysOnly() as one:
        yield one


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


@pytest.mark.parametrize("days", LAST)
@pytest.mark.parametrize("change", ["shorter", "a day later"])
@pytest.mark.parametrize("kind", SINKS)
def test_all_is_asked_for_again_with_other_windows(
    kind: str,
    change: str,
    days: int,
    server: DaysOnly,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    job = Job(server, tmp_path, [spec_of(kind, tmp_path / "there", request)])
    former, present = CHANGES[change]
    assert job.run(former, BEGIN, LAST[days])
    job.run(present, BEGIN, LAST[days], refresh=True)


@pytest.mark.parametrize("kind", SINKS)
def test_a_second_sink_is_added_after_the_windows_have_changed(
    kind: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    specs = [spec_of(each, tmp_path / f"{each}-there", request) for each in (kind, "jsonl")]
    specs[1] = f"jsonl:{tmp_path / 'second'}"
    if kind == "redis":  # a feed cannot be read back: it is the one that is added
        specs.reverse()
    job = Job(server, tmp_path, specs)
    assert job.run(cut(7), BEGIN, LAST[60])
    job.run(cut(5), BEGIN, LAST[60], sinks=specs)
    job.run(cut(5), BEGIN, LAST[60], sinks=specs[::-1])
    assert job.run(cut(7), BEGIN, LAST[184], sinks=specs)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [pytest.param("jsonl", marks=pytest.mark.thorough), "sqlite"])
def test_every_kind_of_change(
    kind: str, change: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    job = Job(server, tmp_path, [spec_of(kind, tmp_path / "there", request)])
    former, present = CHANGES[change]
    middle, last = BEGIN + timedelta(days=45), LAST[60]
    assert job.run(former, BEGIN + timedelta(days=3), middle)
    assert job.run(present, BEGIN, last)
    job.run(former, BEGIN, last, refresh=True)
    job.run(present, BEGIN + timedelta(days=2), last, refresh=True)
    job.run(former, BEGIN + timedelta(days=20), last + timedelta(days=9))
    assert days_in(job.specs[0], present) == each_once(BEGIN, last + timedelta(days=9))


@pytest.mark.parametrize("kind", SINKS)
def test_a_run_that_resumes_after_the_change_asks_for_what_is_missing_alone(
    kind: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    job = Job(server, tmp_path, [spec_of(kind, tmp_path / "there", request)])
    assert job.run(cut(7), BEGIN, date(2024, 4, 2))
    assert job.run(cut(5), date(2024, 3, 10), date(2024, 4, 20))
    assert job.run(cut(7, 1), BEGIN, LAST[60])
    assert not job.run(cut(7), BEGIN, LAST[60])
    assert not job.refusals


@pytest.mark.parametrize("kind", SINKS)
def test_windows_that_fit_into_the_new_ones_may_be_asked_for_again(
    kind: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    job = Job(server, tmp_path, [spec_of(kind, tmp_path / "there", request)])
    assert job.run(cut(1), BEGIN, date(2024, 3, 20))
    assert job.run(cut(7), date(2024, 3, 11), LAST[60], refresh=True)
    assert job.run(cut(14, 7), BEGIN, LAST[60], refresh=True)
    assert not job.refusals


def test_a_window_of_which_nothing_was_stored_binds_nobody(
    server: DaysOnly, tmp_path: Path
) -> None:
    server.longest = 5
    job = Job(server, tmp_path, [f"jsonl:{tmp_path / 'there'}"])
    account = harvester.Account(A, secret="wrong")
    refused = replace(cut(7), path="/nowhere", errors={})
    asked = harvester.run(
        account, refused, BEGIN, BEGIN, sink=job.specs[0], base_url="http://127.0.0.1:1",
        ledger=tmp_path / LEDGERS / "a.sqlite", attempts=1,
    )  # fmt: skip
    with pytest.raises(harvester.HarvestError):
        asyncio.run(asked)
    assert job.run(cut(5), BEGIN, LAST[60])
    assert job.run(cut(5), BEGIN, LAST[60], refresh=True)


def test_windows_that_wechat_has_shortened_stay_within_those_of_the_interface(
    server: DaysOnly, tmp_path: Path
) -> None:
    server.longest = 3
    job = Job(server, tmp_path, [f"sqlite:{tmp_path / 'there.db'}"])
    assert job.run(cut(7), BEGIN, LAST[60])
    assert job.run(cut(7), BEGIN, LAST[60], refresh=True)
    job.run(cut(5), BEGIN, LAST[60], refresh=True)
    assert job.run(cut(5), BEGIN, LAST[184])


@pytest.mark.parametrize("kind", SINKS)
def test_another_ledger_or_none_finds_windows_that_were_cut_otherwise(
    kind: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    job = Job(server, tmp_path, [spec_of(kind, tmp_path / "there", request)])
    assert job.run(cut(7), BEGIN, LAST[60])
    job.run(cut(5), BEGIN, LAST[60], ledger="b")
    assert job.run(cut(5), BEGIN, LAST[60], ledger=None)
    job.run(cut(7, 1), BEGIN, LAST[60], ledger="b", refresh=True)
    assert days_in(job.specs[0], cut(7)) == each_once(BEGIN, LAST[60])
    if kind == "redis":  # a feed: each ledger sends what it harvests
        assert not job.refusals
    else:
        assert len(job.refusals) == 2
        for said in job.refusals:
            assert "holds a harvest that this ledger does not know" in said
            assert "harvester rebuild" in said


INTERFACE = """
[[interface]]
name = "mine"
path = "/datacube/getusersummary"
first_day = 2024-01-01
span = {span}
"""


@pytest.mark.thorough
@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("kind", ["jsonl", "gzip", "parquet", "sqlite", "duckdb"])
def test_after_the_ledger_was_made_anew_nothing_is_doubled(
    kind: str, described: bool, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out, config = tmp_path / "out", tmp_path / "mine.toml"
    spec = spec_of(kind, out, request)

    def run(span: int, *more: str) -> int:
        config.write_text(INTERFACE.format(span=span))
        before = server.requests
        done = harvest(
            "run", "mine", "--appid", A, "--start", str(BEGIN), "--end", str(LAST[60]),
            "--base-url", server.url, "--rate", "9000/s", "--sink", spec, "--out", out,
            "--config", config, *more,
        )  # fmt: skip
        assert done.returncode == 0 or (done.returncode == 2 and server.requests == before)
        stored = harvester.read(spec, cut(7), ledger=out).read_all().to_pylist()
        assert Counter(str(row["ref_date"]) for row in stored) == each_once(BEGIN, LAST[60])
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


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "sqlite", "duckdb"])
def test_a_run_is_killed_between_the_changes(
    kind: str, server: DaysOnly, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = spec_of(kind, tmp_path / "there", request)
    job = Job(server, tmp_path, [spec])
    program = (
        "import asyncio, harvester\n"
        "from pathlib import Path\n"
        "from tests.scenarios.test_changed_windows import BEGIN, LAST, cut\n"
        f"account = harvester.Account({A!r}, secret='practice')\n"
        f"asyncio.run(harvester.run(account, cut({{span}}), BEGIN, LAST[184], sink={spec!r},"
        f" rate=40, base_url={server.url!r},"
        f" ledger=Path({str(tmp_path)!r}) / 'ledgers' / 'a.sqlite', refresh={{refresh}}))\n"
    )
    for span, refresh in ((7, False), (5, False), (7, True), (5, True)):
        before = len(server.windows)
        command = [sys.executable, "-c", program.format(span=span, refresh=refresh)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while len(server.windows) < before + 8 and process.poll() is None:
                time.sleep(0.01)
            process.kill()
    assert job.run(cut(7), BEGIN, LAST[184])
    assert days_in(spec, cut(7)) == each_once(BEGIN, LAST[184])
    job.run(cut(7), BEGIN, LAST[184], refresh=True)
    job.run(cut(5), BEGIN, LAST[184], refresh=True)


def test_the_refusal_says_what_to_do(server: DaysOnly, tmp_path: Path) -> None:
    job = Job(server, tmp_path, [f"jsonl:{tmp_path / 'there'}"])
    assert job.run(cut(7), BEGIN, LAST[60])
    if not job.run(cut(5), BEGIN, LAST[60], refresh=True):
        (said,) = job.refusals
        for each in ("mine", "would be doubled", "without --refresh", "another sink and ledger"):
            assert each in said


def test_an_account_of_which_nothing_is_stored_is_not_refused(
    server: DaysOnly, tmp_path: Path
) -> None:
    job = Job(server, tmp_path, [f"jsonl:{tmp_path / 'there'}"])
    assert job.run(cut(7), BEGIN, LAST[60])
    report = asyncio.run(
        harvester.run(
            harvester.Account(B, secret="practice"), cut(5), BEGIN, LAST[60], sink=job.specs[0],
            base_url=server.url, rate=10_000, refresh=True,
            ledger=tmp_path / LEDGERS / "a.sqlite",
        )
    )  # fmt: skip
    assert report.state == "complete"
