"""Windows through the real engine: as long as an interface takes, in days, attributed, paged."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.base.dates import RECENT_DAYS, Days, WindowKind, last_legal_day
from harvester.config import plugins
from harvester.engine.attempt import EQUAL_REFUSALS
from harvester.model import Request, Response
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import FakeTransport, Faults, MemorySink, Simulator
from harvester.wechat.endpoint import JsonEndpoint, grid
from harvester.wechat.interfaces import INTERFACES
from tests.builders import BESIDE
from tests.support import A, Script, as_multiset, bare, noon, run, scope, stored
from tests.support import days as all_days

USERS = INTERFACES["getusersummary"]
NOW = noon("2026-11-25")
YESTERDAY = last_legal_day(NOW)
HISTORY = (date(2014, 12, 1), date(2026, 10, 31))
EVERY: list[Any] = [plugins.endpoint(name) for name in plugins.endpoint_names()]


class Asked(FakeTransport):
    """A transport that notes the dates of each data request, as they stand on the wire."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator, latency=0.01)
        self.dates: list[tuple[str, str, str]] = []

    async def send(self, request: Request, leave: Any = None) -> Response:
        query = dict(request.query)
        given = json.loads(request.body or b"{}")
        begin = given.get("begin_date") or query.get("start_date")
        if begin is not None:
            name = query.get("action") or request.path.rsplit("/", 1)[1]
            end = given.get("end_date") or query["end_date"]
            self.dates.append((name, begin, end))
        return await super().send(request)

    def windows(self) -> list[Days]:
        """The dates as days, sorted."""
        return sorted((_day(begin), _day(end)) for _, begin, end in self.dates)


def _day(text: str) -> date:
    return date.fromisoformat(text if "-" in text else f"{text[:4]}-{text[4:6]}-{text[6:]}")


def harvest(
    endpoint: JsonEndpoint,
    days: Days,
    simulator: Simulator | None = None,
    sink: MemorySink | None = None,
    **options: Any,
) -> tuple[Asked, MemorySink, Any]:
    sink, asked = sink or MemorySink(), Asked(simulator or Simulator())
    return asked, sink, run(asked, scope(*days, endpoints=[endpoint]), sink, now=NOW, **options)


# as long as the interface takes


@pytest.mark.thorough
@pytest.mark.parametrize("endpoint", [USERS, INTERFACES["getusercumulate"]])
def test_a_history_of_users_of_4353_days_takes_622_calls(endpoint: JsonEndpoint) -> None:
    asked, sink, report = harvest(endpoint, HISTORY)
    assert (report.state, report.requests, report.windows.done) == ("complete", 622, 622)
    assert len(sink.windows) == len(asked.dates) == 622
    held = Counter(record["ref_date"] for record in sink.records)
    assert len(held) == (HISTORY[1] - HISTORY[0]).days + 1 == 4353


@pytest.mark.thorough
@pytest.mark.parametrize("endpoint", EVERY, ids=lambda each: each.name)
def test_the_wire_sees_the_dates_that_wechat_documents(endpoint: JsonEndpoint) -> None:
    begin = max(endpoint.first_day, YESTERDAY - timedelta(days=200))
    if endpoint.cut is WindowKind.RECENT:
        begin = YESTERDAY - timedelta(days=29)
    asked, _, report = harvest(endpoint, (begin, YESTERDAY))
    assert (report.state, report.windows.failed) == ("complete", 0)
    compact = endpoint.name.startswith("getweanalysisappid")
    for _, first, last in asked.dates:
        assert (len(first), len(last)) == ((8, 8) if compact else (10, 10))
    for first, last in asked.windows():
        _documented(endpoint, first, last)


def _documented(endpoint: JsonEndpoint, first: date, last: date) -> None:
    number = (last - first).days + 1
    if endpoint.cut is WindowKind.RECENT:
        assert number in RECENT_DAYS
        assert last == YESTERDAY
    elif endpoint.asks_first_day:
        assert number == 1
        assert first.weekday() == 0 if endpoint.cut is WindowKind.WEEK else first.day == 1
    elif endpoint.cut is WindowKind.WEEK:
        assert (first.weekday(), last.weekday(), number) == (0, 6, 7)
    elif endpoint.cut is WindowKind.MONTH:
        assert (first.day, (last + timedelta(days=1)).day) == (1, 1)
        assert number <= 31
    else:
        assert number <= endpoint.span


@pytest.mark.parametrize(("begin", "number"), [(0, 1), (5, 1), (6, 7), (28, 7), (29, 30), (90, 30)])
def test_a_portrait_is_asked_for_1_7_or_30_days(begin: int, number: int) -> None:
    endpoint = INTERFACES["getweanalysisappiduserportrait"]
    asked, sink, report = harvest(endpoint, (YESTERDAY - timedelta(days=begin), YESTERDAY))
    assert asked.windows() == [(YESTERDAY - timedelta(days=number - 1), YESTERDAY)]
    assert (report.state, len(sink.records)) == ("complete", 1)


# every interface, end to end


@pytest.mark.thorough
def test_every_interface_is_harvested_exactly_into_jsonl(tmp_path: Path) -> None:
    begin, simulator = date(2026, 9, 21), Simulator()
    asked = scope(begin, YESTERDAY, endpoints=EVERY)
    report = run(simulator, asked, JsonLines(tmp_path), tmp_path / "l", now=NOW)
    assert (report.state, report.windows.failed, report.foreign) == ("complete", 0, 0)
    assert {each.name for each in EVERY} >= INTERFACES.keys()
    found = 0
    for endpoint in EVERY:
        rows = stored(tmp_path, endpoint.name)
        for window in grid(endpoint, YESTERDAY).windows(begin, YESTERDAY):
            held = [row for row in rows if row["_begin_date"] == str(window[0])]
            assert {row["_end_date"] for row in held} <= {str(window[1])}
            truth = truth_of(simulator, endpoint, window)
            beside = BESIDE.get(endpoint.name, set())
            as_held = [{k: v for k, v in bare(row).items() if k not in beside} for row in held]
            assert multiset(as_held) == multiset(truth)
            found += len(held)
        assert found
        assert len(rows) == len({json.dumps(row, sort_keys=True) for row in rows})
    assert found == report.records


def multiset(rows: list[dict[str, Any]]) -> Counter[str]:
    return as_multiset((A, "", row) for row in rows)


def truth_of(simulator: Simulator, endpoint: JsonEndpoint, days: Days) -> list[dict[str, Any]]:
    truth = simulator.truth_of(endpoint.name, A, *days)
    if endpoint.name.endswith("visitdistribution"):
        truth = [{"ref_date": f"{days[0]:%Y%m%d}", "list": truth}]
    return truth


def test_pages_of_the_publisher_are_followed_and_each_row_stands_once() -> None:
    days = (YESTERDAY - timedelta(days=269), YESTERDAY)
    endpoint = replace(INTERFACES["publisher_adpos_general"], span=200)  # more rows than a page has
    simulator = Simulator(spans={endpoint.name: 200})
    asked, sink, report = harvest(endpoint, days, simulator)
    assert report.state == "complete"
    assert Counter(row["date"] for row in sink.records).most_common(1)[0][1] == 1
    assert len(sink.records) == 270
    assert report.requests == len(asked.dates) > report.windows.done


# in single days


@pytest.mark.parametrize("code", [61501, 61500])
def test_after_a_range_was_refused_this_account_asks_single_days_in_this_run(
    code: int, tmp_path: Path
) -> None:
    days = (date(2026, 1, 5), date(2026, 5, 3))  # 17 weeks of its grid
    simulator, told = Simulator(spans={USERS.name: 2}, range_code=code), list[Any]()
    asked, sink, report = harvest(
        USERS, days, simulator, ledger=tmp_path / "l", concurrency=1, on_event=told.append
    )
    assert report.state == "complete"
    assert report.windows.planned == report.windows.done == len(sink.windows) == 17 * 7
    assert _lengths(asked) == {7: 1, 1: 17 * 7}
    assert _one_by_one(sink.records, days)
    splits = [event for event in told if isinstance(event, events.Split)]
    assert splits == [events.Split(A, USERS.name, 6)] * 17
    earlier = (date(2025, 1, 6), date(2025, 5, 4))
    asked, sink, report = harvest(USERS, earlier, sink=sink, ledger=tmp_path / "l")
    assert (report.state, _lengths(asked)) == ("complete", {7: 17})  # as documented


def _lengths(asked: Asked) -> Counter[int]:
    return Counter((last - first).days + 1 for first, last in asked.windows())


def _one_by_one(records: list[dict[str, Any]], days: Days) -> bool:
    keys = Counter((row["ref_date"], row["user_source"]) for row in records)
    return set(keys.values()) == {1} and len({key[0] for key in keys}) == (
        (days[1] - days[0]).days + 1
    )


def test_windows_are_in_single_days_also_where_many_are_in_flight() -> None:
    days = (date(2026, 1, 5), date(2026, 5, 3))
    simulator = Simulator(spans={USERS.name: 1})
    asked, sink, report = harvest(USERS, days, simulator, concurrency=8)
    assert (report.state, _one_by_one(sink.records, days)) == ("complete", True)
    assert _lengths(asked) == {7: 1, 1: 17 * 7}  # the first request of an interface is sent alone
    assert report.windows.planned == report.windows.done == 17 * 7


def test_a_single_day_that_is_refused_fails() -> None:
    asked = scope(date(2026, 1, 5), date(2026, 1, 11), endpoints=[USERS])
    refused = Script(lambda _: {"errcode": 61501, "errmsg": "date range error rid: 1-2-3"})
    report = run(refused, asked, MemorySink(), now=NOW)
    assert (report.state, report.windows.failed, report.windows.planned) == ("partial", 7, 7)
    assert report.failures[0].error.startswith("errcode 61501 (date range error)")


@pytest.mark.parametrize(
    "name",
    ["getupstreammsgmonth", "publisher_settlement", "getweanalysisappidweeklyvisittrend",
     "getweanalysisappiduserportrait"],
)  # fmt: skip
def test_a_week_or_a_month_is_never_split(name: str) -> None:
    days = (date(2026, 9, 1), YESTERDAY)
    _, _, report = harvest(INTERFACES[name], days, Simulator(refuse={name: 61501}))
    assert report.state == "partial"
    assert report.windows.failed == report.windows.planned
    assert report.requests == min(report.windows.planned, EQUAL_REFUSALS)


def test_a_window_is_not_split_for_a_wrong_format_of_dates() -> None:
    simulator = Simulator(refuse={USERS.name: 61500})
    _, _, report = harvest(USERS, (date(2026, 1, 5), date(2026, 1, 11)), simulator)
    assert (report.state, report.requests, report.windows.failed) == ("partial", 1, 1)


def test_a_refresh_of_windows_that_are_too_long_replaces_them_as_a_whole(tmp_path: Path) -> None:
    days = (date(2026, 1, 5), date(2026, 3, 1))
    asked, other = scope(*days, endpoints=[USERS]), Simulator(seed=2, spans={USERS.name: 3})
    for simulator, requests in ((Simulator(), 8), (other, 1 + 8 * 7), (other, 8 * 7)):
        report = run(simulator, asked, JsonLines(tmp_path), tmp_path / "l", now=NOW, refresh=True)
        assert (report.state, report.requests) == ("complete", requests)
        rows = [bare(row) for row in stored(tmp_path, USERS.name)]
        assert multiset(rows) == multiset(simulator.truth_of(USERS.name, A, *days))


# rows of other days


@pytest.mark.thorough
def test_rows_of_days_that_were_not_asked_for_are_kept_out_and_counted() -> None:
    days = (date(2026, 3, 1), date(2026, 3, 31))
    simulator = Simulator(faults=Faults(neighbours=0.5))
    seen: list[events.Committed] = []
    _, sink, report = harvest(
        INTERFACES["getarticleread"],
        days,
        simulator,
        on_event=lambda event: isinstance(event, events.Committed) and seen.append(event),
    )
    assert report.state == "complete"
    truth = simulator.truth_of("getarticleread", A, *days)
    assert multiset(list(map(bare, sink.records))) == multiset(truth)
    assert report.foreign == sum(rows for each in seen for _, rows in each.foreign) > 0
    assert report.to_dict()["foreign"] == report.foreign


@pytest.mark.parametrize(
    ("period", "days", "named"),
    [
        ("daily", (YESTERDAY, YESTERDAY), "20261123"),
        ("weekly", (date(2026, 11, 16), date(2026, 11, 22)), "20261109-20261115"),
        ("monthly", (date(2026, 10, 1), date(2026, 10, 31)), "202609"),
    ],
)
def test_a_whole_answer_of_another_day_fails_its_window_and_is_no_empty_day(
    period: str, days: Days, named: str
) -> None:
    asked = scope(*days, endpoints=[INTERFACES[f"getweanalysisappid{period}retaininfo"]])
    sink, script = (
        MemorySink(),
        Script(lambda _: {"ref_date": named, "visit_uv": []}),
    )
    report = run(script, asked, sink, now=NOW, attempts=2)
    assert (sink.records, report.windows.done, report.windows.failed) == ([], 0, 1)
    assert "only rows of days that were not requested" in report.failures[0].error


def test_a_row_belongs_to_the_day_that_it_names_itself() -> None:
    rows = [
        {"ref_date": f"2026-03-{day:02}", "user_source": 0, "new_user": 1} for day in range(1, 29)
    ]
    asked = scope(date(2026, 3, 8), date(2026, 3, 21), endpoints=[USERS])
    sink = MemorySink()
    report = run(Script(lambda _: {"list": rows}), asked, sink, now=NOW)
    for window, held in sink.windows.items():
        assert {row["ref_date"] for row in held} == {*map(str, all_days(window.begin, window.end))}
    assert len(sink.records) == 14
    assert report.foreign == report.windows.done * 28 - 14
