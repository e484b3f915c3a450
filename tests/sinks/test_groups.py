"""The batches of a write: grouped by interface, and without those that a later one overlaps."""

from datetime import date, timedelta
from random import Random

import pytest

from harvester.model import Batch, Window
from harvester.sinks.groups import by_endpoint, last_of_overlapping

DAY = date(2024, 2, 28)
STAMP = "2024-06-15T04:00:00Z"


def batch(begin: int, end: int | None = None, *, appid: str = "wx1", name: str = "one") -> Batch:
    last = begin if end is None else end
    window = Window(appid, name, DAY + timedelta(days=begin), DAY + timedelta(days=last))
    return Batch(window, [], STAMP)


def kept_of(batches: list[Batch]) -> list[int]:
    """Which ones are kept, by their places."""
    places = {id(each): n for n, each in enumerate(batches)}
    return [places[id(each)] for each in last_of_overlapping(batches)]


def test_no_batch_is_in_no_group() -> None:
    assert by_endpoint([]) == {}
    assert [*last_of_overlapping([])] == []


def test_interfaces_come_by_name_and_their_batches_in_order() -> None:
    given = [batch(3, name="b"), batch(2, name="a"), batch(1, name="b")]
    assert [*by_endpoint(given).items()] == [("a", [given[1]]), ("b", [given[0], given[2]])]
    assert by_endpoint(given[:1]) == {"b": given[:1]}


def test_single_days_are_kept_unless_they_are_written_twice() -> None:
    assert kept_of([batch(3), batch(1), batch(2), batch(1, appid="wx2")]) == [0, 1, 2, 3]
    assert kept_of([batch(3), batch(1), batch(3)]) == [1, 2]


@pytest.mark.parametrize("seed", range(50))
def test_a_batch_is_kept_if_no_later_one_has_a_day_of_it(seed: int) -> None:
    random = Random(seed)
    given = []
    for _ in range(random.randrange(1, 12)):
        begin = random.randrange(20)
        end = begin + random.choice((0, 0, 0, 1, 6))
        given.append(batch(begin, end, appid=random.choice(("wx1", "wx2"))))
    windows = [each.window for each in given]
    expected = [
        n
        for n, (appid, _, begin, end) in enumerate(windows)
        if not any(
            appid == later.appid and begin <= later.end and later.begin <= end
            for later in windows[n + 1 :]
        )
    ]
    assert kept_of(given) == expected
