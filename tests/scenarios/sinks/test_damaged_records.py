"""What was changed in stored records after they were written is noticed by `verify`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pytest

from harvester.errors import SinkError
from harvester.model import Batch, Tally, Window
from harvester.sinks.jsonl.sink import JsonLines
from tests.scenarios.command import asked, succeeded
from tests.scenarios.days import DaysOnly
from tests.support import A, harvest

NAME = "getusersummary"
STAMP = "2024-07-01T00:00:00Z"


def exchanged(text: str, one: str, other: str) -> str:
    """The text with the first places of two strings exchanged."""
    assert one in text
    assert other in text
    return text.replace(one, "\0", 1).replace(other, one, 1).replace("\0", other, 1)


DAMAGE: dict[str, Callable[[str], str]] = {
    "the time of a fetch": lambda text: re.sub(r'_at":"20(.)', r'_at":"21\1', text, count=1),
    "a first day": lambda text: text.replace('_date":"2024-06-01"', '_date":"2024-05-31"', 1),
    "an account": lambda text: text.replace(A, f"{A[:-1]}b", 1),
    "what separates the metadata": lambda text: text.replace(',"_appid"', ';"_appid"', 1),
    "figures of two windows": lambda text: exchanged(text, '"new_user":3', '"new_user":9'),
    "figures of two records": lambda text: exchanged(text, '"user_source":0', '"user_source":1'),
    "the metadata of two windows": lambda text: exchanged(
        text, '"2024-06-03","_end_date":"2024-06-03"', '"2024-06-09","_end_date":"2024-06-09"'
    ),
}


@pytest.mark.thorough
def test_what_was_changed_in_a_line_is_noticed_by_verify(server: DaysOnly, tmp_path: Path) -> None:
    server.longest = 1
    run = asked(server.url, NAME, "2024-06-01", "2024-06-30", "--out", tmp_path)
    succeeded(*run)
    (segment,) = (tmp_path / NAME).iterdir()
    whole = segment.read_text()
    succeeded("verify", "--out", tmp_path)
    for what, damage in DAMAGE.items():
        changed = damage(whole)
        assert changed != whole, what
        segment.write_text(changed)
        found = harvest("verify", "--out", tmp_path)
        assert (found.returncode, "Traceback" in found.stderr) == (1, False), what
    segment.write_text(whole)
    succeeded("verify", "--out", tmp_path)


@pytest.mark.thorough
async def test_a_change_of_any_byte_of_a_line_is_noticed(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path)
    opened = await sink.open({})
    days = [Window(A, NAME, day, day) for day in (date(2024, 6, 1), date(2024, 6, 2))]
    batches = [Batch(day, [{"n": n, "t": "x"} for n in range(9)], STAMP) for day in days]
    written = await sink.write(batches, {})
    await sink.close()

    def scanned() -> Tally:
        found = Tally()
        for stored in JsonLines(tmp_path).scan(NAME, None, {**opened, **written.checkpoint}):
            found = found.plus(stored.tally)
        return found

    expected = batches[0].tally.plus(batches[1].tally)
    assert scanned() == expected
    (segment,) = (tmp_path / NAME).iterdir()
    whole = segment.read_bytes()
    line = whole.splitlines(keepends=True)[3]
    begin = whole.index(line)
    for place in range(begin, begin + len(line)):
        for change in (1, 2, 4, 32, 128):
            damaged = bytearray(whole)
            damaged[place] ^= change
            segment.write_bytes(damaged)
            with suppress(SinkError):
                assert scanned() != expected, (place - begin, change)


# figures that are exchanged between two records, for which sums of CRC-32 are often the same


def exchanges(number: int) -> Iterator[tuple[Tally, Tally]]:
    """The sum of two windows before and after figures or metadata of them were exchanged."""
    draw = random.Random(20240701)

    def record(turn: int) -> dict[str, object]:
        return {
            "ref_date": "2024-06-01", "number": turn, "read_user": draw.randrange(10**4, 10**5),
            "read_count": draw.randrange(10**6, 10**7), "share": draw.randrange(10),
        }  # fmt: skip

    for turn in range(number):
        days = [date(2024, 1, 1) + timedelta(days=n) for n in draw.sample(range(366), 2)]
        windows = [Window(A, NAME, day, day) for day in days]
        both = [[record(n) for n in range(3)] for _ in windows]
        before = total(windows, both)
        if turn % 8 == 7:
            yield before, total(windows[::-1], both)
            continue
        one, other = both[0][0], both[turn % 2][draw.randrange(1, 3)]
        names = draw.sample(["read_user", "read_count", "share"], 1 + turn % 3)
        if any(one[name] != other[name] for name in names):
            for name in names:
                one[name], other[name] = other[name], one[name]
            yield before, total(windows, both)


def total(windows: list[Window], both: list[list[dict[str, object]]]) -> Tally:
    one, other = (Batch(*each, STAMP).tally for each in zip(windows, both, strict=True))
    return one.plus(other)


@pytest.mark.thorough
def test_of_figures_that_were_exchanged_none_goes_unnoticed() -> None:
    number = 200_000
    noticed = [before != after for before, after in exchanges(number)]
    assert len(noticed) > 0.95 * number
    assert all(noticed)
