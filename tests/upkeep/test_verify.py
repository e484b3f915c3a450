"""What stands in a sink beside what the ledger says: each kind of difference, and none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harvester.errors import SinkError, UsageError
from harvester.ledger import SqliteLedger
from harvester.ledger.coverage import Outcome
from harvester.model import Batch
from harvester.sinks.base import StoredWindow
from harvester.upkeep.verify import Verified, verify
from tests.builders import counted as batch
from tests.builders import filled
from tests.engine.test_refresh import final, in_ledger
from tests.sinks.test_scan import STAMP, SUMMARY

LATER = "2024-02-11T04:00:00Z"
FIRST, SECOND = batch("2024-01-01", records=2), batch("2024-01-02", records=3)


def still_open(made: Batch, fetched_at: str = STAMP) -> Outcome:
    return Outcome(made.window, "open", made.tally, detail="it grows", fetched_at=fetched_at)


def found(
    tmp_path: Path,
    there: Sequence[Batch],
    *outcomes: Outcome,
    copied: str = "",
    times: int = 1,
) -> Verified:
    """What is found in a sink with these windows; each may stand there several times."""

    async def test(ledger: SqliteLedger) -> Verified:
        sink = await filled(*there)
        scan = sink.scan
        sink.scan = lambda *args: (each for each in scan(*args) for _ in range(times))  # type: ignore[method-assign]
        return await verify(ledger, "memory:", sink, copied)

    return in_ledger(tmp_path, test, *outcomes)


def said(verified: Verified) -> list[str]:
    return [difference.what for difference in verified.differences]


def test_what_is_as_it_was_fetched_has_no_difference(tmp_path: Path) -> None:
    verified = found(tmp_path, [FIRST, SECOND], final(FIRST), still_open(SECOND))
    assert (verified.records, verified.differences, verified.unknown) == (5, [], 0)


OTHERS = [{"n": 0}, {"n": 7}]


def fetched(*records: dict[str, int], at: str = STAMP) -> Batch:
    """The first window with other records."""
    return Batch(FIRST.window, list(records), at)


@pytest.mark.parametrize(
    ("there", "outcomes", "times", "what"),
    [
        *[
            ([FIRST], [final(FIRST), gone], 1, what)
            for gone, what in (
                (final(SECOND), "2 records are stored, 5 were fetched"),
                (still_open(SECOND), "0 records are stored, 3 were fetched"),
            )
        ],
        *[
            (
                [fetched(*OTHERS)],
                [outcome],
                1,
                "the number of records is right, but they differ from what was fetched",
            )
            for outcome in (final(FIRST), still_open(FIRST))
        ],
        ([FIRST], [final(FIRST)], 2, "4 records are stored, 2 were fetched"),
        ([FIRST], [still_open(FIRST)], 2, "it is stored twice"),
    ],
)
def test_what_is_not_as_it_was_fetched_is_a_difference(
    tmp_path: Path, there: list[Batch], outcomes: list[Outcome], times: int, what: str
) -> None:
    verified = found(tmp_path, there, *outcomes, times=times)
    assert said(verified) == [what]
    assert verified.unknown == 0


def test_what_a_killed_run_has_written_is_no_difference(tmp_path: Path) -> None:
    newer = Batch(SECOND.window, [{"n": 1}], LATER)
    verified = found(tmp_path, [FIRST, newer], final(FIRST), still_open(SECOND))
    assert (verified.differences, verified.unknown) == ([], 1)
    verified = found(tmp_path / "x", [FIRST, SECOND], final(FIRST))
    assert (verified.differences, verified.unknown) == ([], 1)


def test_an_open_window_that_a_killed_refresh_has_replaced_is_not_known(tmp_path: Path) -> None:
    both, third = batch("2024-01-01", "2024-01-02", records=4), batch("2024-01-03", records=1)
    former = [still_open(FIRST), still_open(SECOND), still_open(third)]
    verified = found(tmp_path, [both, third], *former)
    assert (verified.differences, verified.unknown) == ([], 1)
    verified = found(tmp_path / "x", [both], *former)
    assert said(verified) == ["0 records are stored, 1 were fetched"]
    assert str(third.window) == verified.differences[0].where
    verified = found(tmp_path / "y", [FIRST], still_open(both), still_open(third))
    assert (said(verified), verified.unknown) == (["0 records are stored, 1 were fetched"], 1)


def test_the_first_write_of_a_killed_run_is_no_difference(tmp_path: Path) -> None:
    async def test(ledger: SqliteLedger) -> Verified:
        window = FIRST.window
        await ledger.register([(window.appid, SUMMARY.name, window.begin, window.end)])
        return await verify(ledger, "memory:", await filled(FIRST), "")

    verified = in_ledger(tmp_path, test)
    assert (verified.differences, verified.unknown) == ([], 1)


def test_an_account_that_the_ledger_does_not_know_is_a_difference(tmp_path: Path) -> None:
    verified = found(tmp_path, [batch("2024-01-01", appid="wx9")], final(FIRST))
    assert said(verified) == [
        "1 record not in the ledger", "0 records are stored, 2 were fetched"
    ]  # fmt: skip


def test_the_interface_is_named(tmp_path: Path) -> None:
    verified = found(tmp_path, [], final(FIRST))
    assert SUMMARY.name in verified.differences[0].where
    assert verified.where == "memory:"


def test_of_what_came_in_another_form_the_records_are_counted(tmp_path: Path) -> None:
    copied = STAMP
    verified = found(tmp_path, [fetched(*OTHERS)], final(FIRST), copied=copied)
    assert (verified.differences, verified.counted) == ([], 1)
    fewer = found(tmp_path / "x", [fetched({"n": 0})], final(FIRST), copied=copied)
    assert said(fewer) == ["1 record is stored, 2 were fetched"]
    newer = found(tmp_path / "y", [fetched(*OTHERS, at=LATER)], final(FIRST), copied=copied)
    assert len(said(newer)) == 1


@pytest.mark.parametrize(
    ("error", "unread", "broken"),
    [(SinkError("it is cut"), "", True), (UsageError("no password"), "no password", False)],
)
def test_what_cannot_be_read_is_told_apart_from_what_is_damaged(
    tmp_path: Path, error: Exception, unread: str, broken: bool
) -> None:
    async def test(ledger: SqliteLedger) -> Verified:
        sink = await filled(FIRST)

        def fails(*_: object) -> list[StoredWindow]:
            raise error

        sink.scan = fails  # type: ignore[method-assign, assignment]
        return await verify(ledger, "memory:", sink, "")

    verified = in_ledger(tmp_path, test, final(FIRST))
    assert (verified.unread, verified.broken) == (unread, broken)
    assert said(verified) == (["it is cut"] if broken else [])


def test_it_is_read_again_if_a_run_commits_meanwhile(tmp_path: Path) -> None:
    async def test(ledger: SqliteLedger) -> tuple[Verified, int]:
        sink = await filled(FIRST)
        scan, times = sink.scan, 0

        def grows(*args: object) -> object:
            nonlocal times
            times += 1
            return scan(*args) if times > 1 else iter(())  # type: ignore[arg-type]

        sink.scan = grows  # type: ignore[method-assign, assignment]
        checkpoints = iter(["1", "2", "2", "2"])

        class Moving(SqliteLedger):
            async def checkpoint(self, sink: str) -> dict[str, str]:
                return {"commits": next(checkpoints)}

        ledger.__class__ = Moving
        return await verify(ledger, "memory:", sink, ""), times

    verified, times = in_ledger(tmp_path, test, final(FIRST))
    assert (verified.differences, times) == ([], 2)
