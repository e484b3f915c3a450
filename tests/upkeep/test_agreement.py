"""Windows of several sinks side by side, and what a former ledger knows of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from harvester.base.dates import WindowKind
from harvester.ledger import SqliteLedger
from harvester.ledger.coverage import Calendar, Outcome
from harvester.model import Batch, Window
from harvester.upkeep.agreement import Comparison, Former, overlapping, together
from harvester.wechat.interfaces import INTERFACES
from tests.builders import filled
from tests.support import A, B, noon

USERS = INTERFACES["getusersummary"]
STAMP = "2024-02-10T04:00:00Z"


def batch(first: str, last: str = "", *, records: int = 1, appid: str = A) -> Batch:
    days = date.fromisoformat(first), date.fromisoformat(last or first)
    return Batch(Window(appid, USERS.name, *days), [{"new_user": n} for n in range(records)], STAMP)


async def test_each_window_comes_once_with_what_each_sink_has_of_it() -> None:
    one = await filled(
        batch("2024-01-01"), batch("2024-01-03"), batch("2024-01-01", appid=B), name="one"
    )
    other = await filled(batch("2024-01-01", records=2), batch("2024-01-02"), name="other")
    found = [seen async for seen in together([one, other], USERS.name)]
    assert [(seen.window.appid, seen.window.begin.day) for seen in found] == [
        (A, 1), (A, 2), (A, 3), (B, 1),
    ]  # fmt: skip
    held = [[None if each is None else len(each[1]) for each in seen.held] for seen in found]
    assert held == [[1, 2], [None, 1], [1, None], [1, None]]
    same = Comparison(USERS.name, USERS).same
    assert [same(seen) for seen in found] == [False] * 4
    assert [same(seen) async for seen in together([one, one], USERS.name)] == [True] * 3
    assert [seen async for seen in together([one, other], "another")] == []


async def test_windows_that_have_days_in_common_are_one_group() -> None:
    one = await filled(
        batch("2024-01-01", "2024-01-03"), batch("2024-01-05", "2024-01-06"), name="one"
    )
    other = await filled(
        batch("2024-01-03", "2024-01-04"), batch("2024-01-01", appid=B), name="other"
    )
    groups = [group async for group in overlapping(together([one, other], USERS.name))]
    assert [[seen.window.begin.day for seen in group] for group in groups] == [[1, 3], [5], [1]]


async def test_a_former_ledger_is_read_some_accounts_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.ledger.base.ACCOUNTS_AT_ONCE", 1)
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        stored = [batch("2024-01-01"), batch("2024-01-02", appid=B)]
        await ledger.commit([Outcome(each.window, "final", each.tally) for each in stored], {})
        former = await Former.of(ledger)
        assert former
        for appid in (A, B, A):
            calendar = await former.calendar(appid, USERS.name)
            assert calendar is not None
            assert len(calendar.sums) == 1
        assert await former.calendar("wx3", USERS.name) is None
        gone = former.gone(USERS.name, {A: Calendar()})
        assert [(appid, days[0].day) async for appid, days in gone] == [(A, 1), (B, 2)]


@pytest.mark.parametrize(
    ("endpoint", "end", "askable"),
    [
        (USERS, "2024-01-30", True),
        (None, "2024-01-30", False),
        (replace(USERS, cut=WindowKind.RECENT, span=30), "2024-01-30", False),
        (replace(USERS, cut=WindowKind.RECENT, span=30), "2024-02-29", True),
    ],
)
async def test_what_can_be_asked_for(endpoint: object, end: str, askable: bool) -> None:
    window = Window(A, USERS.name, date(2024, 1, 24), date.fromisoformat(end))
    assert await Former().askable(endpoint, window, noon("2024-03-01")) is askable  # type: ignore[arg-type]
