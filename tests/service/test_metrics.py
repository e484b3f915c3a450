"""The metrics: what a run and a ledger have, in names and labels that stay few."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import harvester
from harvester import events
from harvester.base.dates import settles_at
from harvester.events import Answer, Committed, Deferred, Event, Failed, Paused, Retrying
from harvester.model import Action, Window
from harvester.service.metrics import NAMES, Metrics
from harvester.testing import FakeTransport, Faults, Simulator, run_virtual
from tests.report_data import NOW, YESTERDAY, KnownLedger
from tests.support import A, B

E, OTHER = "getusersummary", "getarticlesummary"
DAY = timedelta(days=1)


def values(metrics: Metrics | bytes) -> dict[str, float]:
    """Each sample by its name and labels, as ``name{label=value}``."""
    text = metrics if isinstance(metrics, bytes) else metrics.render()
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def told(*given: Event, **how: Any) -> dict[str, float]:
    metrics = Metrics(**{"wall": lambda: NOW, **how})
    for event in given:
        metrics.observe(event)
    return values(metrics)


def window(number: int, endpoint: str = E, appid: str = A) -> Window:
    day = date(2026, 1, 1) + number * DAY
    return Window(appid, endpoint, day, day)


FAILED = Failed(A, E, YESTERDAY, YESTERDAY, 3, "bad")
WAITS = Deferred(A, OTHER, YESTERDAY, YESTERDAY, 2, NOW, "quota")


def requested(*codes: int | None, seconds: float = 0.2) -> events.Requested:
    return events.Requested(tuple(Answer(A, E, code, seconds) for code in codes))


WAITING = "harvester_waiting_seconds_total"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            Committed((window(0), window(1), window(0, OTHER), window(0, appid=B)), 1, 9),
            {
                f"harvester_windows_total{{endpoint={E},state=done}}": 3,
                f"harvester_windows_total{{endpoint={OTHER},state=done}}": 1,
                f"harvester_last_success_timestamp_seconds{{endpoint={E}}}": NOW,
            },
        ),
        (FAILED, {f"harvester_windows_total{{endpoint={E},state=failed}}": 3}),
        (WAITS, {f"harvester_windows_total{{endpoint={OTHER},state=waiting}}": 2}),
        (
            requested(0, 0, -1, 45009, None, 1234567, 7654321),
            {
                f"harvester_requests_total{{endpoint={E},errcode=0}}": 2,
                f"harvester_requests_total{{endpoint={E},errcode=-1}}": 1,
                f"harvester_requests_total{{endpoint={E},errcode=45009}}": 1,
                f"harvester_requests_total{{endpoint={E},errcode=none}}": 1,
                f"harvester_requests_total{{endpoint={E},errcode=other}}": 2,
                "harvester_request_duration_seconds_count": 7,
            },
        ),
        (
            requested(0, seconds=0.25),
            {
                "harvester_request_duration_seconds_bucket{le=0.1}": 0,
                "harvester_request_duration_seconds_bucket{le=0.25}": 1,
                "harvester_request_duration_seconds_bucket{le=+Inf}": 1,
                "harvester_request_duration_seconds_sum": 0.25,
            },
        ),
        (Paused(A, 3600.0, "quota", E), {f"{WAITING}{{reason=quota}}": 3600}),
        (
            Paused(A, 42.0, "45011", action=Action.SLOW_DOWN),
            {f"{WAITING}{{reason=rate}}": 42, f"{WAITING}{{reason=quota}}": 0},
        ),
        (
            Retrying(A, window(0), 1, 42.0, "45011", Action.SLOW_DOWN),
            {f"{WAITING}{{reason=rate}}": 0, f"{WAITING}{{reason=retry}}": 0},
        ),
        (Retrying(A, window(0), 1, 2.5, "busy"), {f"{WAITING}{{reason=retry}}": 2.5}),
        (
            Retrying(A, window(0), 1, 1800.0, "late", Action.NOT_READY),
            {f"{WAITING}{{reason=not_ready}}": 1800},
        ),
        (
            Retrying(A, None, 1, 5.0, "busy", Action.SLOW_DOWN),
            {f"{WAITING}{{reason=token}}": 5},
        ),
    ],
)
def test_an_event_is_counted(event: Event, expected: dict[str, float]) -> None:
    found = told(event)
    assert {name: found.get(name) for name in expected} == expected


def test_an_outage_of_the_network_is_waited_for() -> None:
    clock = iter((100.0, 130.0))
    lost = events.Notice("info", "Unreachable", "", "", "no server answers")
    back = events.Notice("info", "Reachable", "", "", "somebody answers again")
    found = told(lost, lost, back, back, wall=lambda: next(clock))
    assert found[f"{WAITING}{{reason=network}}"] == 30


def test_no_appid_is_a_label_unless_it_is_asked_for() -> None:
    given = FAILED, requested(0), Committed((window(0), window(0, appid=B)), 0, 2)
    assert not any(A in name or B in name for name in told(*given))
    found = told(*given, by_account=True)
    assert found[f"harvester_windows_total{{appid={A},endpoint={E},state=failed}}"] == 3
    assert found[f"harvester_windows_total{{appid={B},endpoint={E},state=done}}"] == 1
    assert found[f"harvester_requests_total{{appid={A},endpoint={E},errcode=0}}"] == 1


def test_accounts_that_were_refused_count_for_an_hour_each_once() -> None:
    clock = [NOW]
    metrics = Metrics(wall=lambda: clock[0])
    metrics.observe(events.Requested((Answer(A, E, -1, 0.2), Answer(A, OTHER, None, 0.2))))
    metrics.observe(events.Requested((Answer(B, E, 0, 0.2),)))
    assert values(metrics)["harvester_accounts_refused"] == 1
    clock[0] += 1800
    metrics.observe(events.Requested((Answer(B, E, 45009, 0.2),)))
    assert values(metrics)["harvester_accounts_refused"] == 2
    clock[0] += 1801
    assert values(metrics)["harvester_accounts_refused"] == 1


def test_an_account_that_breaks_as_another_one_recovers_is_seen() -> None:
    """An account has needed a person since the first failure of its newest cause."""

    def broken(*failing: tuple[str, int, str]) -> float | None:
        ledger, metrics = KnownLedger(), Metrics(wall=lambda: NOW)
        for appid in (A, B):
            ledger.harvested(appid, E, YESTERDAY - 9 * DAY, YESTERDAY - 5 * DAY)
            ledger.asked_for(appid, E, YESTERDAY - 9 * DAY, YESTERDAY)
        for appid, code, since in failing:
            day = YESTERDAY - (code == 48001) * DAY
            told = {"code": code, "detail": f"errcode {code}", "fetched_at": since}
            ledger.put(appid, E, day, day, "failed", **told)
        metrics.update(ledger.seen())
        found = values(metrics)
        assert found["harvester_accounts{state=failed}"] == len({each[0] for each in failing})
        return found.get("harvester_account_broken_timestamp_seconds")

    old, new = "2026-03-01T00:00:00Z", "2026-03-02T00:00:00.5Z"
    day = 86_400 + 0.5
    first = broken((A, 50004, old))
    assert first is not None
    assert broken() is None
    assert broken((B, 50004, new)) == first + day
    assert broken((A, 50004, old), (A, 48001, new)) == first + day
    assert broken((A, 50004, "")) is None


def test_every_metric_of_the_contract_has_a_type_and_a_text() -> None:
    lines = Metrics().render().decode().splitlines()
    assert {line.split()[2] for line in lines if line.startswith("# HELP")} == NAMES
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == NAMES


def test_the_counters_of_a_former_process_go_on() -> None:
    former = Metrics(wall=lambda: NOW - 100)
    given = Committed((window(0),), 0, 1), requested(0, None, seconds=3.0), Paused(A, 1.5, "q", E)
    for event in given:
        former.observe(event)
    text = former.render().decode()
    assert values(Metrics(former=text))[f"{WAITING}{{reason=quota}}"] == 1.5
    again = Metrics(former=text)
    for event in given[1:]:
        again.observe(event)
    found = values(again)
    assert found[f"harvester_requests_total{{endpoint={E},errcode=0}}"] == 2
    assert found["harvester_request_duration_seconds_bucket{le=2.5}"] == 0
    assert found["harvester_request_duration_seconds_bucket{le=5.0}"] == 4
    assert found["harvester_request_duration_seconds_sum"] == 12
    assert found[f"harvester_last_success_timestamp_seconds{{endpoint={E}}}"] == NOW - 100


def test_a_text_that_holds_no_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        Metrics(former="{not metrics")


def gauges(ledger: KnownLedger, **how: Any) -> dict[str, float]:
    metrics = Metrics(wall=lambda: NOW, **how)
    metrics.update(ledger.seen(NOW, disabled=("wx-disabled",)))
    return values(metrics)


def test_a_ledger_sets_the_gauges() -> None:
    ledger = KnownLedger()
    ledger.harvested(A, E, YESTERDAY - 9 * DAY, YESTERDAY)
    ledger.harvested(B, E, YESTERDAY - 9 * DAY, YESTERDAY - 3 * DAY)
    ledger.asked_for(B, E, YESTERDAY - 9 * DAY, YESTERDAY)
    ledger.put(B, E, YESTERDAY, YESTERDAY, "open", due=NOW + 100)
    ledger.put(
        B, OTHER, YESTERDAY, YESTERDAY, "failed", detail="errcode 48001 (api unauthorized)",
        code=48001,
    )  # fmt: skip
    ledger.asked_for("wx-disabled", E, YESTERDAY - 30 * DAY, YESTERDAY)
    found = gauges(ledger)
    assert found[f"harvester_oldest_gap_seconds{{endpoint={E}}}"] == 3 * 86_400
    assert found[f"harvester_oldest_gap_seconds{{endpoint={OTHER}}}"] == 1 * 86_400
    days = {
        state: found[f"harvester_calendar{{endpoint={E},state={state}}}"]
        for state in ("final", "provisional", "missing", "not_asked")
    }
    assert days == {"final": 17, "provisional": 1, "missing": 33, "not_asked": 0}
    states = ("failed", "late", "fresh", "resting", "never")
    accounts = [found[f"harvester_accounts{{state={state}}}"] for state in states]
    assert accounts == [1, 0, 1, 1, 0]


def test_figures_that_wechat_calls_late_are_a_gap() -> None:
    ledger = KnownLedger()
    ledger.harvested(A, E, YESTERDAY - 9 * DAY, YESTERDAY)
    ledger.put(A, E, YESTERDAY - 4 * DAY, YESTERDAY - 4 * DAY, "late", due=NOW + 100)
    assert gauges(ledger)[f"harvester_oldest_gap_seconds{{endpoint={E}}}"] == 5 * 86_400


def test_what_was_removed_from_the_ledger_has_no_last_success() -> None:
    ledger = KnownLedger()
    for name in (E, OTHER):
        ledger.harvested(A, name, YESTERDAY, YESTERDAY)
    metrics = Metrics(wall=lambda: NOW)
    metrics.update(ledger.seen(NOW))
    del ledger.ranges[A, OTHER], ledger.known[A, OTHER]
    metrics.update(ledger.seen(NOW))
    names = [name for name in values(metrics) if name.startswith("harvester_last_success")]
    assert names == [f"harvester_last_success_timestamp_seconds{{endpoint={E}}}"]


def test_series_of_a_forgotten_account_do_not_go_on() -> None:
    ledger = KnownLedger()
    for appid in (A, B):
        ledger.harvested(appid, E, YESTERDAY, YESTERDAY)
    former = Metrics(wall=lambda: NOW, by_account=True)
    former.observe(Committed((window(0), window(0, appid=B)), 0, 2))
    former.observe(events.Requested((Answer(A, E, 0, 0.2), Answer(B, E, 0, 0.2))))
    former.update(ledger.seen(NOW))
    again = Metrics(wall=lambda: NOW, by_account=True, former=former.render().decode())
    again.observe(Committed((window(1, OTHER),), 0, 1))
    del ledger.ranges[B, E], ledger.known[B, E]
    again.update(ledger.seen(NOW))
    found = values(again)
    assert not [name for name in found if B in name]
    assert found[f"harvester_windows_total{{appid={A},endpoint={E},state=done}}"] == 1
    assert found[f"harvester_requests_total{{appid={A},endpoint={E},errcode=0}}"] == 1
    new = f"harvester_windows_total{{appid={A},endpoint={OTHER},state=done}}"
    assert found[new] == 1  # the overview is older than the event
    ledger.asked_for(B, E, YESTERDAY, YESTERDAY)
    again.observe(Committed((window(0, appid=B),), 0, 1))
    again.update(ledger.seen(NOW))
    assert values(again)[f"harvester_windows_total{{appid={B},endpoint={E},state=done}}"] == 1


def test_the_budget_is_what_all_accounts_have_left() -> None:
    ledger = KnownLedger()
    for appid in (A, B):
        ledger.harvested(appid, E, YESTERDAY, YESTERDAY)
    ledger.calls = {(A, E): 30}
    metrics = Metrics()
    metrics.update(ledger.seen(NOW, daily_quota=100))
    assert values(metrics)[f"harvester_budget_remaining{{endpoint={E}}}"] == 170
    assert "harvester_budget_remaining{" not in " ".join(gauges(ledger))


def test_the_last_success_is_known_from_the_ledger_after_a_restart() -> None:
    ledger = KnownLedger()
    ledger.harvested(A, E, YESTERDAY - 9 * DAY, YESTERDAY - DAY)
    ledger.put(A, OTHER, YESTERDAY, YESTERDAY, "failed", detail="bad")
    found = gauges(ledger)
    assert found[f"harvester_last_success_timestamp_seconds{{endpoint={E}}}"] == settles_at(
        YESTERDAY - DAY
    )
    assert f"harvester_last_success_timestamp_seconds{{endpoint={OTHER}}}" not in found


def test_series_do_not_grow_with_accounts_or_with_codes_that_a_server_makes_up() -> None:
    metrics = Metrics()
    ledger = KnownLedger()
    for number in range(300):
        appid = f"wx{number:016x}"
        metrics.observe(events.Requested((Answer(appid, E, 10_000_000 + number, 0.1),)))
        metrics.observe(Failed(appid, E, YESTERDAY, YESTERDAY, 1, f"bad {number}"))
        metrics.observe(Paused(appid, 1.0, f"reason {number}", E))
        ledger.put(appid, E, YESTERDAY, YESTERDAY, "failed", detail=f"bad {number}")
    metrics.update(ledger.seen(NOW))
    assert len(values(metrics)) < 60


def test_a_run_is_counted_as_its_report_counts_it() -> None:
    metrics = Metrics()
    accounts = [harvester.Account(appid, secret="practice") for appid in (A, B)]
    report = run_virtual(
        lambda loop: harvester.run(
            accounts,
            OTHER,
            "2024-01-01",
            "2024-01-31",
            sink="memory:",
            rate="1000/s",
            transport=FakeTransport(Simulator(faults=Faults(busy=0.2), seed=3)),
            on_event=metrics.observe,
        )
    )
    found = values(metrics)
    requests = {code: n for code, n in found.items() if code.startswith("harvester_requests_total")}
    assert report.retries > 0
    assert sum(requests.values()) == report.requests == 62 + report.retries
    assert requests[f"harvester_requests_total{{endpoint={OTHER},errcode=-1}}"] == report.retries
    assert found["harvester_request_duration_seconds_count"] == report.requests
    assert found[f"harvester_windows_total{{endpoint={OTHER},state=done}}"] == 62
    assert found[f"{WAITING}{{reason=retry}}"] > 0
