"""The days of an interface of an account: its states, and whether anybody still asks for it."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta
from typing import cast

import pytest

from harvester.base.dates import ONE_DAY
from harvester.ledger import Ledger
from harvester.ledger.coverage import Calendar, days_of
from harvester.ledger.reach import LETTERS, UNASKED, reach_of
from harvester.report.days import Reader, Stream
from tests.report_data import NOW, YESTERDAY, KnownLedger

BEGIN = date(2023, 12, 1)
USERS, WEEKS, RETIRED = "getusersummary", "getupstreammsgweek", "getuserread"


def test_letters_and_their_counts_are_those_of_the_calendar() -> None:
    draw = random.Random(5)
    for _ in range(60):
        years: dict[int, bytearray] = {}
        for number in range(430):
            day = BEGIN + ONE_DAY * number
            if day.year != 2024 or draw.random() < 0.9:
                row = years.setdefault(day.year, bytearray(b".") * days_of(day.year))
                row[(day - date(day.year, 1, 1)).days] = draw.choice(b"....feowxn")
        if draw.random() < 0.3:
            years.pop(2024, None)
        calendar, known = Calendar(years), Calendar(years).span()
        begin = BEGIN + ONE_DAY * draw.randrange(430)
        asked = begin, begin + ONE_DAY * draw.randrange(400)
        reach = reach_of(calendar, [asked], None, NOW)
        assert known is not None
        assert reach is not None
        assert (reach.first, reach.last) == (min(begin, known[0]), max(asked[1], known[1]))
        for letter, count in zip(LETTERS[:8], reach.counts, strict=False):
            runs = list(calendar.runs(reach.first, reach.last, bytes([letter])))
            if letter == ord("."):
                runs = list(calendar.runs(*asked, b"."))
            assert list(reach.runs(letter)) == runs
            assert sum((last - one).days + 1 for one, last in runs) == count
        outside = {day for run in reach.runs(UNASKED) for day in run}
        assert not [day for day in outside if asked[0] <= day <= asked[1]]


def streams(ledger: KnownLedger, now: float = NOW) -> dict[str, Stream]:
    async def main() -> dict[str, Stream]:
        reader = Reader(cast("Ledger", ledger), now)
        await reader.prepare()
        return {" ".join(stream.key): stream async for stream, _ in reader.streams()}

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "behind", "since"),
    [
        (USERS, 0, None),
        (USERS, 1, None),  # one run per day asks for it in time
        (USERS, 2, 1),
        (USERS, 30, 29),
        (USERS, 40, None),  # an archive, on purpose
        (RETIRED, 5, None),
        (WEEKS, 3, None),  # the last whole week ended then
        (WEEKS, 5, 4),
    ],
)
def test_a_range_that_ended_while_others_go_on_is_not_asked_for_since_then(
    name: str, behind: int, since: int | None
) -> None:
    ledger = KnownLedger()
    ledger.harvested("wx1", "getusercumulate", YESTERDAY - timedelta(60), YESTERDAY)
    ledger.harvested("wx2", name, YESTERDAY - timedelta(60), YESTERDAY - timedelta(behind))
    found = streams(ledger)[f"wx2 {name}"]
    wanted = None if since is None else YESTERDAY - timedelta(since)
    assert (found.unasked and found.unasked[0]) == wanted
    assert ("stale" in found.states) is (since is not None)
    assert found.to_dict()["not_asked_since"] == (str(wanted) if wanted else None)


def test_ranges_that_all_ended_are_an_archive_unless_calls_show_that_they_went_on() -> None:
    ledger = KnownLedger()
    ledger.harvested("wx1", USERS, BEGIN, YESTERDAY - timedelta(10))
    assert streams(ledger)[f"wx1 {USERS}"].unasked is None
    ledger.calls["wx1", USERS] = 1
    assert streams(ledger)[f"wx1 {USERS}"].unasked == (YESTERDAY - timedelta(9), YESTERDAY)
