"""All arithmetic with dates."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.base.dates import (
    CHINA,
    LATENCY,
    QUOTA_MARGIN,
    Days,
    Estimate,
    Grid,
    Load,
    WindowKind,
    check_range,
    china,
    days_in,
    either,
    estimate,
    gaps,
    last_legal_day,
    last_settled_day,
    last_whole_day,
    meets,
    nearest,
    next_midnight,
    next_minute,
    next_quota_day,
    parse_day,
    parse_past_day,
    quota_day,
    quota_days,
    rfc3339,
    rfc3339_exact,
    runs,
    settles_at,
    union,
    whole_periods,
    without,
)
from harvester.errors import UsageError

PROPERTY = settings(max_examples=120)

FIRST = date(2020, 1, 1)


def windows(begin: date, end: date, span: int, covered: Sequence[Days]) -> Iterator[Days]:
    return Grid(WindowKind.DAYS, span, begin, date.max).windows(begin, end, covered)


def count_windows(begin: date, end: date, span: int, covered: Sequence[Days]) -> int:
    return Grid(WindowKind.DAYS, span, begin, date.max).count(begin, end, covered)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def days_of(stretches: Sequence[Days]) -> set[date]:
    return {
        first + timedelta(days=n)
        for first, last in stretches
        for n in range((last - first).days + 1)
    }


@st.composite
def stretches(draw: st.DrawFn) -> list[Days]:
    """Sorted stretches that do not overlap; some touch, some lie outside of 0 to 60."""
    edges = sorted(draw(st.sets(st.integers(-10, 70), max_size=16)))
    found: list[Days] = []
    for begin, end in zip(edges[::2], edges[1::2], strict=False):
        if found and draw(st.booleans()):
            begin = (found[-1][1] - FIRST).days + 1
        found.append((day(begin), day(end)))
    return found


RANGES = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(
    lambda pair: (day(min(pair)), day(max(pair)))
)


# days of China


@pytest.mark.parametrize(
    ("now", "legal", "settled"),
    [
        ("2020-01-10T15:59:59", date(2020, 1, 9), date(2020, 1, 9)),
        ("2020-01-10T16:00:00", date(2020, 1, 10), date(2020, 1, 9)),
        ("2020-01-10T23:59:59", date(2020, 1, 10), date(2020, 1, 9)),
        ("2020-01-11T00:00:00", date(2020, 1, 10), date(2020, 1, 10)),
        ("2020-02-29T16:00:00", date(2020, 2, 29), date(2020, 2, 28)),
    ],
)
def test_yesterday_is_chinas_and_settles_at_eight_there(
    now: str, legal: date, settled: date
) -> None:
    assert (last_legal_day(utc(now)), last_settled_day(utc(now))) == (legal, settled)


def test_a_day_settles_on_the_next_morning_in_china() -> None:
    assert settles_at(date(2020, 1, 10)) == utc("2020-01-11T00:00:00")


def test_an_interface_may_settle_at_another_hour() -> None:
    assert last_settled_day(utc("2020-01-11T00:00:00"), hour=10) == date(2020, 1, 9)
    assert last_settled_day(utc("2020-01-11T02:00:00"), hour=10) == date(2020, 1, 10)


@given(st.integers(0, 4_000_000_000))
@PROPERTY
def test_the_last_settled_day_is_settled_and_the_next_one_is_not(now: int) -> None:
    last = last_settled_day(now)
    assert settles_at(last) <= now < settles_at(last + timedelta(days=1))


def test_midnight_is_chinas() -> None:
    assert next_midnight(utc("2020-01-10T15:59:59")) == utc("2020-01-10T16:00:00")
    # at midnight the next one is a day away
    assert next_midnight(utc("2020-01-10T16:00:00")) == utc("2020-01-11T16:00:00")


def test_china_is_eight_hours_ahead_all_year() -> None:
    assert china(utc("2020-07-01T12:00:00")).isoformat() == "2020-07-01T20:00:00+08:00"


def test_the_next_minute_is_a_full_one() -> None:
    assert (next_minute(61.5), next_minute(119.9), next_minute(120.0)) == (120.0, 120.0, 180.0)


def test_rfc_3339_is_utc_in_whole_seconds() -> None:
    assert rfc3339(utc("2020-01-10T15:59:59") + 0.999) == "2020-01-10T15:59:59Z"
    assert rfc3339_exact(utc("2020-01-10T15:59:59") + 0.25) == "2020-01-10T15:59:59.250Z"


def test_the_time_zone_of_the_machine_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = utc("2020-01-10T15:59:59")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert rfc3339(now) == "2020-01-10T15:59:59Z"
        assert rfc3339_exact(now) == "2020-01-10T15:59:59.000Z"
        assert china(now).isoformat() == "2020-01-10T23:59:59+08:00"
    finally:
        monkeypatch.undo()
        time.tzset()


# what users type


@pytest.mark.parametrize(
    ("given", "now", "found"),
    [
        (date(2020, 2, 29), 0.0, date(2020, 2, 29)),
        ("2020-02-29", 0.0, date(2020, 2, 29)),
        ("yesterday", utc("2020-01-10T23:59:59"), date(2020, 1, 9)),  # before eight
        ("yesterday", utc("2020-01-11T00:00:00"), date(2020, 1, 10)),
        ("yesterday-9d", utc("2020-01-11T00:00:00"), date(2020, 1, 1)),
    ],
)
def test_a_day_is_a_date_or_written_with_dashes_or_yesterday(
    given: date | str, now: float, found: date
) -> None:
    assert parse_day(given, now) == found


@pytest.mark.parametrize(
    "given", ["", "2020-02-30", "20200229", "2020-2-9", "2020-W01-1", "today", " 2020-01-01", None]
)
def test_anything_else_is_no_day(given: str) -> None:
    words = "yesterday, yesterday-30d or first"
    with pytest.raises(
        UsageError, match=rf"^start: .* is not a day; write YYYY-MM-DD, or {words}$"
    ):
        parse_day(given, 0.0, "start")


def test_what_is_no_day_is_called_a_date_unless_it_has_a_name() -> None:
    with pytest.raises(UsageError, match=r"^date: 'today' is not a day; .*, or yesterday$"):
        parse_day("today", 0.0)


def test_a_time_is_no_day() -> None:
    with pytest.raises(UsageError, match=r"is a time, not a day; give a date such as 2020-01-02$"):
        parse_day(datetime(2020, 1, 2, 3), 0.0)


@pytest.mark.parametrize(
    "days", [(date(2014, 12, 1), date(2020, 1, 10)), (date(2020, 1, 1), date(2020, 1, 1))]
)
def test_a_range_from_the_first_day_to_yesterday_can_be_asked_for(days: Days) -> None:
    check_range(*days, utc("2020-01-10T16:00:00"))


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        (date(2020, 1, 2), date(2020, 1, 1), "the start 2020-01-02 is after the end 2020-01-01"),
        (date(2020, 1, 1), date(2020, 1, 11), "the end 2020-01-11 cannot be requested yet"),
    ],
)
def test_a_range_that_cannot_be_asked_for_is_refused(begin: date, end: date, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_range(begin, end, utc("2020-01-10T16:00:00"))


# windows


@pytest.mark.parametrize(
    ("begin", "end", "covered", "left"),
    [
        (0, 9, [], [(0, 9)]),
        (0, 9, [(-3, 1), (4, 4), (8, 20)], [(2, 3), (5, 7)]),
        (0, 9, [(0, 9)], []),
        (1, 0, [], []),
    ],
)
def test_what_is_covered_is_left_out(
    begin: int, end: int, covered: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    found = gaps(day(begin), day(end), [(day(first), day(last)) for first, last in covered])
    assert list(found) == [(day(first), day(last)) for first, last in left]


def test_windows_are_cut_at_the_span_and_at_what_is_covered() -> None:
    assert list(windows(day(0), day(9), 3, [(day(4), day(5))])) == [
        (day(0), day(2)),
        (day(3), day(3)),
        (day(6), day(8)),
        (day(9), day(9)),
    ]


@given(RANGES, st.integers(1, 9), stretches())
@PROPERTY
def test_windows_partition_the_range_minus_what_is_covered(
    wanted: Days, span: int, covered: list[Days]
) -> None:
    found = list(windows(*wanted, span, covered))
    assert all(1 <= days_in(window) <= span for window in found)
    assert sum(map(days_in, found)) == len(days_of(found))
    assert days_of(found) == days_of([wanted]) - days_of(covered)


@pytest.mark.thorough
@given(RANGES, st.integers(1, 9), stretches())
@PROPERTY
def test_windows_come_oldest_first(wanted: Days, span: int, covered: list[Days]) -> None:
    found = list(windows(*wanted, span, covered))
    assert found == sorted(found)


@pytest.mark.thorough
@given(RANGES, st.integers(1, 9), stretches())
@PROPERTY
def test_counting_windows_agrees_with_making_them(
    wanted: Days, span: int, covered: list[Days]
) -> None:
    assert count_windows(*wanted, span, covered) == len(list(windows(*wanted, span, covered)))


@pytest.mark.thorough
@given(RANGES, st.integers(1, 9), stretches(), st.integers(0, 30))
@PROPERTY
def test_newest_first_are_the_same_windows_in_reverse(
    wanted: Days, span: int, covered: list[Days], back: int
) -> None:
    grid = Grid(WindowKind.DAYS, span, wanted[0] - timedelta(days=back), date.max)
    newest = list(grid.windows(*wanted, covered, newest=True))
    assert newest == list(grid.windows(*wanted, covered))[::-1]
    assert grid.count(*wanted, covered) == len(newest)


@pytest.mark.parametrize("cut", [WindowKind.WEEK, WindowKind.MONTH])
def test_weeks_and_months_are_given_only_as_a_whole(cut: WindowKind) -> None:
    grid = Grid(cut, 1, date(2014, 12, 1), date.max)
    found = list(grid.windows(date(2024, 1, 3), date(2024, 4, 2)))
    assert list(grid.windows(date(2024, 1, 3), date(2024, 4, 2), newest=True)) == found[::-1]
    assert grid.count(date(2024, 1, 3), date(2024, 4, 2)) == len(found)
    if cut is WindowKind.WEEK:
        assert found[0] == (date(2024, 1, 8), date(2024, 1, 14))
        assert found[-1] == (date(2024, 3, 25), date(2024, 3, 31))
        assert len(found) == 12
    else:
        assert found == [
            (date(2024, 2, 1), date(2024, 2, 29)),
            (date(2024, 3, 1), date(2024, 3, 31)),
        ]


def test_a_week_that_is_covered_is_not_asked_for() -> None:
    grid = Grid(WindowKind.WEEK, 1, date(2014, 12, 1), date.max)
    covered = [(date(2024, 1, 8), date(2024, 1, 14))]
    assert list(grid.windows(date(2024, 1, 1), date(2024, 1, 21), covered)) == [
        (date(2024, 1, 1), date(2024, 1, 7)),
        (date(2024, 1, 15), date(2024, 1, 21)),
    ]
    assert grid.count(date(2024, 1, 1), date(2024, 1, 21), covered) == 2


@pytest.mark.parametrize(
    ("begin", "first"), [(30, 2), (29, 2), (28, 25), (7, 25), (6, 25), (5, 31), (0, 31)]
)
def test_recent_days_are_the_longest_stretch_that_ends_yesterday(begin: int, first: int) -> None:
    yesterday = date(2024, 1, 31)
    grid = Grid(WindowKind.RECENT, 30, date(2017, 1, 9), yesterday)
    found = list(grid.windows(yesterday - timedelta(days=begin), yesterday))
    assert found == [(date(2024, 1, first), yesterday)]


def test_recent_days_that_end_before_yesterday_cannot_be_had() -> None:
    grid = Grid(WindowKind.RECENT, 30, date(2017, 1, 9), date(2024, 1, 31))
    assert list(grid.windows(date(2024, 1, 1), date(2024, 1, 30))) == []
    assert grid.nearest(date(2024, 1, 1)) == "2024-01-02, 2024-01-25 or 2024-01-31 to 2024-01-31"


@pytest.mark.parametrize(
    ("cut", "near"),
    [(WindowKind.WEEK, "2024-01-01 to 2024-01-07"), (WindowKind.MONTH, "2024-01-01 to 2024-01-31")],
)
def test_a_window_that_would_fit_is_named(cut: WindowKind, near: str) -> None:
    assert Grid(cut, 1, FIRST, date(2024, 6, 1)).nearest(date(2024, 1, 3)) == near


@pytest.mark.thorough
@given(stretches(), stretches())
@PROPERTY
def test_without_takes_days_away(one: list[Days], other: list[Days]) -> None:
    left = without(one, other)
    assert days_of(left) == days_of(one) - days_of(other)
    assert all(first <= last for first, last in left)
    assert sum(map(days_in, left)) == len(days_of(left))


def test_windows_are_made_one_by_one() -> None:
    endless = windows(date.min, date(9999, 1, 1), 1, [])
    assert list(islice(endless, 2)) == [(date.min,) * 2, (date(1, 1, 2),) * 2]


def test_a_stretch_of_one_day_has_one_day() -> None:
    assert (days_in((day(3), day(3))), days_in((day(3), day(9)))) == (1, 7)


# runs


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([(0, 0), (1, 3), (5, 5)], [(0, 3, 2), (5, 5, 1)]),
        ([(4, 5), (1, 3), (0, 0), (7, 7)], [(0, 5, 3), (7, 7, 1)]),  # newest first as well
        ([(0, 0), (4, 4), (2, 2)], [(0, 0, 1), (4, 4, 1), (2, 2, 1)]),
        ([], []),
    ],
)
def test_neighbouring_windows_become_one_run(
    given: list[tuple[int, int]], found: list[tuple[int, int, int]]
) -> None:
    made = runs([(day(first), day(last)) for first, last in given])
    assert list(made) == [(day(first), day(last), number) for first, last, number in found]


@pytest.mark.thorough
@given(RANGES, st.integers(1, 9), stretches())
@PROPERTY
def test_runs_of_windows_are_the_gaps(wanted: Days, span: int, covered: list[Days]) -> None:
    found = list(runs(windows(*wanted, span, covered)))
    assert days_of([run[:2] for run in found]) == days_of([wanted]) - days_of(covered)
    assert sum(run[2] for run in found) == count_windows(*wanted, span, covered)


# estimates and hints


@pytest.mark.parametrize(
    ("loads", "rate", "caps", "expected"),
    [
        ([[100, 20], [50, 90]], 10.0, [64, 64], Estimate(260, 14.0, 14.0)),  # the slowest account
        (  # what is in flight at the assumed latency
            [[1000]] * 500,
            5.0,
            [64] * 500,
            Estimate(500_000, pytest.approx(500_000 * LATENCY / 64), 200.0),
        ),
        # the cap of an account
        ([[10], [100]], 100.0, [64, 1], Estimate(110, pytest.approx(100 * LATENCY), 1.0)),
        ([], 10.0, [], Estimate(0, 0.0, 0.0)),
    ],
)
def test_an_estimate_is_bounded_by_what_is_slowest(
    loads: list[list[int]], rate: float, caps: list[int], expected: Estimate
) -> None:
    assert estimate(loads, rate, 64, caps) == expected


def test_an_estimate_needs_a_cap_for_each_account() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        estimate([[1], [2]], 10.0, 64, [5.0])


TODAY = date(2026, 11, 25)
YESTERDAY, LONG_AGO = date(2026, 11, 24), date(2024, 1, 1)


@pytest.mark.parametrize(
    ("load", "daily", "expected"),
    [
        (Load(0, 50, LONG_AGO, moves_on=False), 100, 0),
        (Load(100, 0, LONG_AGO, moves_on=False), 100, 1),
        (Load(101, 0, LONG_AGO, moves_on=False), 100, 2),
        (Load(100, 1, LONG_AGO, moves_on=False), 100, 2),
        (Load(100, 500, LONG_AGO, moves_on=False), 100, 2),
        (Load(100, 0, YESTERDAY, moves_on=True), 10, 11),  # 10, and 9 of the past a day
        (Load(100, 0, YESTERDAY, True, late_days=7), 10, 31),  # 10, and 3 of the past a day
        (Load(100, 0, YESTERDAY, True, late_days=10), 10, None),
        (Load(100, 0, YESTERDAY, False, late_days=10), 10, 15),  # it grows up meanwhile
        (Load(100, 0, YESTERDAY, True, late_days=28, period=7), 10, 19),
        (Load(100, 0, YESTERDAY, True, late_days=30, period=7), 10, 24),
        (Load(1, 0, LONG_AGO, moves_on=False), 0, None),
    ],
)
def test_a_quota_goes_to_the_present_first(load: Load, daily: int, expected: int | None) -> None:
    assert quota_days(load, daily, TODAY) == expected


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("GetArticleSumary", ["getarticlesummary", "getuserread"], "getarticlesummary"),
        ("shares", ["getarticletotal", "getusershare"], "getusershare"),  # half of it is enough
        ("zzz", ["getarticlesummary"], ""),
    ],
)
def test_a_name_that_is_nearly_right_is_hinted_at(name: str, names: list[str], hint: str) -> None:
    assert nearest(name, names) == (f" (did you mean {hint}?)" if hint else "")


@pytest.mark.parametrize(
    ("names", "said"), [(("a",), "a"), (("a", "b"), "a or b"), (("a", "b", "c"), "a, b or c")]
)
def test_names_are_told_as_a_choice(names: tuple[str, ...], said: str) -> None:
    assert either(names) == said


def test_a_days_quota_begins_a_minute_after_its_midnight_in_china() -> None:
    begins = datetime(2026, 3, 11, tzinfo=CHINA).timestamp() + QUOTA_MARGIN
    assert (quota_day(begins - 1), quota_day(begins)) == (date(2026, 3, 10), date(2026, 3, 11))
    assert (next_quota_day(begins - 1), next_quota_day(begins)) == (begins, begins + 86_400)


@pytest.mark.parametrize(
    ("cut", "given", "whole"),
    [
        (WindowKind.DAYS, ("2026-01-06", "2026-01-06"), ("2026-01-06", "2026-01-06")),
        (WindowKind.RECENT, ("2026-01-06", "2026-01-09"), ("2026-01-06", "2026-01-09")),
        (WindowKind.WEEK, ("2026-01-05", "2026-01-11"), ("2026-01-05", "2026-01-11")),
        (WindowKind.WEEK, ("2026-01-06", "2026-01-25"), ("2026-01-12", "2026-01-25")),
        (WindowKind.WEEK, ("2026-01-05", "2026-01-17"), ("2026-01-05", "2026-01-11")),
        (WindowKind.WEEK, ("2026-01-06", "2026-01-17"), None),
        (WindowKind.MONTH, ("2026-01-01", "2026-01-31"), ("2026-01-01", "2026-01-31")),
        (WindowKind.MONTH, ("2025-12-31", "2026-03-30"), ("2026-01-01", "2026-02-28")),
        (WindowKind.MONTH, ("2026-01-02", "2026-01-30"), None),
    ],
)
def test_whole_weeks_and_months_of_a_range(
    cut: WindowKind, given: tuple[str, str], whole: tuple[str, str] | None
) -> None:
    first, last = map(date.fromisoformat, given)
    wanted = None if whole is None else tuple(map(date.fromisoformat, whole))
    assert whole_periods((first, last), cut) == wanted


@pytest.mark.parametrize(
    ("span", "begin", "end", "whole"),
    [
        (1, "2024-01-10", "2024-01-11", ("2024-01-10", "2024-01-11")),
        (7, "2024-01-10", "2024-01-11", ("2024-01-08", "2024-01-14")),
        (7, "2024-01-08", "2024-01-15", ("2024-01-08", "2024-01-21")),
        (7, "2023-12-31", "2023-12-31", ("2023-12-25", "2023-12-31")),
    ],
)
def test_a_range_made_whole_has_all_days_of_its_windows(
    span: int, begin: str, end: str, whole: tuple[str, str]
) -> None:
    grid = Grid(WindowKind.DAYS, span, date(2024, 1, 1), date(2024, 3, 1))
    found = grid.whole(date.fromisoformat(begin), date.fromisoformat(end))
    assert tuple(map(str, found)) == whole


@pytest.mark.parametrize(
    ("day", "cut", "last"),
    [
        ("2026-03-08", WindowKind.WEEK, "2026-03-08"),
        ("2026-03-14", WindowKind.WEEK, "2026-03-08"),
        ("2026-03-31", WindowKind.MONTH, "2026-03-31"),
        ("2026-03-30", WindowKind.MONTH, "2026-02-28"),
        ("2026-03-30", WindowKind.DAYS, "2026-03-30"),
        ("2026-03-30", WindowKind.RECENT, "2026-03-30"),
    ],
)
def test_the_last_whole_day_ends_a_week_or_a_month(day: str, cut: WindowKind, last: str) -> None:
    assert str(last_whole_day(date.fromisoformat(day), cut)) == last


def test_a_past_day_is_over_in_china() -> None:
    now = datetime(2026, 3, 9, 1, tzinfo=CHINA).timestamp()  # before 08:00 nothing is settled
    assert parse_past_day("2026-03-08", now, "day") == date(2026, 3, 8)
    assert parse_past_day("yesterday", now, "day") == date(2026, 3, 7)
    with pytest.raises(
        UsageError, match=r"day: WeChat has no figures of 2026-03-09 yet; .* 2026-03-08$"
    ):
        parse_past_day(date(2026, 3, 9), now, "day")
    with pytest.raises(UsageError, match="day: 'soon' is not a day"):
        parse_past_day("soon", now, "day")


def test_what_is_wrong_with_a_day_or_a_range_is_said_in_full() -> None:
    now = datetime(2026, 3, 9, 12, tzinfo=CHINA).timestamp()
    wrong = datetime(2026, 3, 9, 12)
    for call, said in (
        (
            lambda: parse_day(wrong, now, "start"),
            f"start: {wrong!r} is a time, not a day; give a date such as 2026-03-09",
        ),
        (
            lambda: parse_past_day("2026-03-09", now, "day"),
            (
                "day: WeChat has no figures of 2026-03-09 yet; the last day with data is"
                " yesterday (China time), 2026-03-08"
            ),
        ),
        (
            lambda: check_range(date(2026, 3, 2), date(2026, 3, 1), now),
            "the start 2026-03-02 is after the end 2026-03-01; swap them",
        ),
        (
            lambda: check_range(date(2026, 3, 1), date(2026, 3, 9), now),
            (
                "the end 2026-03-09 cannot be requested yet; the last day with data is"
                " yesterday (China time), 2026-03-08"
            ),
        ),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value) == said


def test_one_near_name_is_given_if_no_number_is_named() -> None:
    assert nearest("user", ["users", "user1", "other"]).count("or") == 0
    assert nearest("user", ["users", "user1", "other"], most=2).count(" or ") == 1


def test_ranges_that_touch_are_one_and_a_range_meets_those_that_have_a_day_of_it() -> None:
    def of(*ranges: tuple[int, int]) -> list[Days]:
        return [(date(2026, 3, begin), date(2026, 3, end)) for begin, end in ranges]

    assert union(of((9, 10), (1, 3), (4, 5), (2, 4))) == of((1, 5), (9, 10))
    assert union([]) == []
    for days, met in (((6, 8), False), ((5, 6), True), ((8, 9), True), ((2, 3), True)):
        assert meets(*of(days), of((1, 5), (9, 10))) is met
    assert not meets(*of((1, 2)), [])


def test_of_recent_days_only_a_window_that_ends_yesterday_is_answered() -> None:
    days = date(2026, 3, 1), date(2026, 3, 3)
    for last, recent in ((date(2026, 3, 3), True), (date(2026, 3, 4), False)):
        assert Grid(WindowKind.RECENT, 30, last, last).gives(days) is recent
        assert Grid(WindowKind.DAYS, 30, last, last).gives(days)
