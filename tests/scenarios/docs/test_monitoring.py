"""The examples for Prometheus and Grafana: checked by promtool, and by the names that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from harvester.events import Answer, Committed, Requested
from harvester.model import Window
from harvester.service.metrics import ACCOUNT_STATES, NAMES, Metrics
from tests.machine import program
from tests.report_data import agency
from tests.support import ROOT

FOLDER = ROOT / "examples" / "monitoring"
SUFFIXES = ("_bucket", "_sum", "_count")
FOREIGN = {"node_textfile_mtime_seconds", "up"}


def promtool(*arguments: str | Path, input_: bytes | None = None) -> str:
    """What promtool says of something that it takes."""
    tool = program("promtool")
    done = subprocess.run(
        [tool, *arguments], input=input_, capture_output=True, timeout=60, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return found


def expressions() -> Iterator[str]:
    """Those of the dashboard and of the rules."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def test_prometheus_takes_the_configuration(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.yml"):
        shutil.copy(path, tmp_path)
    token = tmp_path / "token"
    token.write_text("x")
    config = tmp_path / "prometheus.yml"
    config.write_text(config.read_text().replace("/run/secrets/serve_token", str(token)))
    assert "SUCCESS: 1 rule files found" in promtool("check", "config", config)


@pytest.mark.thorough
def test_prometheus_takes_what_is_rendered() -> None:
    """Each metric with a value, by account and not."""
    day = date(2026, 1, 1)
    window = Window("wx1", "getusersummary", day, day)
    for by_account in (False, True):
        metrics = Metrics(by_account=by_account)
        metrics.observe(Committed((window,), 0, 1))
        metrics.observe(Requested((Answer("wx1", "getusersummary", 0, 0.2),)))
        ledger, _ = agency(20)
        ledger.calls = dict.fromkeys(ledger.ranges, 1)
        metrics.update(ledger.seen(daily_quota=100))
        metrics.update_service(
            last_run=1.0, failed=True, next_run=2.0, undelivered=1, waiting=1, given_up=1
        )
        text = metrics.render()
        samples = {re.split(r"[{ ]", line)[0] for line in text.decode().splitlines()}
        assert {name for name in NAMES if name not in samples} == {
            "harvester_request_duration_seconds"
        }
        assert promtool("check", "metrics", input_=text) == ""


def test_each_expression_is_one_of_prometheus_and_names_metrics_that_exist(tmp_path: Path) -> None:
    found = list(expressions())
    rules = [{"record": f"each:{number}", "expr": text} for number, text in enumerate(found)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(found)} rules found" in promtool("check", "rules", path)
    known = {*NAMES, *(f"{name}{suffix}" for name in NAMES for suffix in SUFFIXES)}
    for text in found:
        assert set(re.findall(r"\b(?:harvester|node)_\w+|\bup\b", text)) <= known | FOREIGN
    used = " ".join(found)
    assert all(name in used for name in NAMES)


def test_the_labels_of_the_expressions_exist() -> None:
    states = {*ACCOUNT_STATES.values(), "never"}
    for text in expressions():
        for inside in re.findall(r"harvester_accounts\{([^}]*)\}", text):
            name, value = inside.split("=")
            assert (name, value.strip('"') in states) == ("state", True)


RULES = """
rule_files: [alerts.yml]
evaluation_interval: 5m
tests:
  - interval: 5m
    input_series:
      - series: 'harvester_last_success_timestamp_seconds{endpoint="getusersummary"}'
        values: '0x500'
      - series: 'harvester_last_success_timestamp_seconds{endpoint="getupstreammsgweek"}'
        values: '0x500'
      - series: 'harvester_accounts{state="failed"}'
        values: '11x500'
      - series: 'harvester_account_broken_timestamp_seconds'
        values: '-9999999x300 90000x200'
      - series: 'harvester_accounts{state="fresh"}'
        values: '489x500'
      - series: 'harvester_accounts_refused{instance="a"}'
        values: '1x400 60x100'
      - series: 'harvester_accounts_refused{instance="b"}'
        values: '0x400 60x100'
      - series: 'harvester_accounts{state="late"}'
        values: '0x500'
      - series: 'harvester_budget_remaining{endpoint="getusersummary"}'
        values: '100x340 0x160'
      - series: 'harvester_requests_total{endpoint="getusersummary",errcode="0"}'
        values: '0+50x500'
      - series: 'harvester_requests_total{endpoint="getusersummary",errcode="-1"}'
        values: '0+5x200 1000+450x300'
      - series: 'up{job="harvester",instance="a"}'
        values: '1x200 0x300'
      - series: 'harvester_service_last_run_failed{instance="a"}'
        values: '0x100 1x400'
      - series: 'harvester_service_next_run_timestamp_seconds{instance="a"}'
        values: '86400x500'
      - series: 'harvester_service_last_run_timestamp_seconds{instance="b"}'
        values: '0x500'
      - series: 'harvester_service_undelivered_targets{instance="a"}'
        values: '0x100 1x400'
      - series: 'harvester_service_messages_given_up_total{instance="b"}'
        values: '0x100 1x400'
      - series: 'harvester_service_messages_waiting{instance="c"}'
        values: '0x100 3x400'
      - series: 'harvester_build_info{instance="a",version="1.0"}'
        values: '1x500'
      - series: 'harvester_build_info{instance="b",version="1.1"}'
        values: '1x500'
      - series: 'harvester_build_info{instance="c",version="1.1"}'
        values: '1x500'
    alert_rule_test:
      - {eval_time: 10h, alertname: HarvesterRunFailed}
      - {eval_time: 24h, alertname: HarvesterRunMissed}
      - {eval_time: 9h, alertname: HarvesterMessagesUndelivered}
      - {eval_time: 23h, alertname: HarvesterVersionsDiffer}
      - eval_time: 11h
        alertname: HarvesterRunFailed
        exp_alerts:
          - exp_labels: {severity: page, instance: a}
            exp_annotations:
              summary: "Runs on a end with an error: see trouble in /status.json"
      - eval_time: 26h
        alertname: HarvesterRunMissed
        exp_alerts:
          - exp_labels: {severity: page, instance: a}
            exp_annotations:
              summary: "The service on a has made no run for 2h 0m 0s"
      - eval_time: 27h
        alertname: HarvesterRunMissed
        exp_alerts:
          - exp_labels: {severity: page, instance: a}
            exp_annotations:
              summary: "The service on a has made no run for 3h 0m 0s"
          - exp_labels: {severity: page, instance: b}
            exp_annotations:
              summary: "The service on b has made no run for 1d 3h 0m 0s"
      - eval_time: 10h
        alertname: HarvesterMessagesUndelivered
        exp_alerts:
          - exp_labels: {severity: ticket, instance: a}
            exp_annotations:
              summary: "Alerts of a do not arrive: see trouble in /status.json"
          - exp_labels: {severity: ticket, instance: b}
            exp_annotations:
              summary: "Alerts of b do not arrive: see trouble in /status.json"
          - exp_labels: {severity: ticket, instance: c}
            exp_annotations:
              summary: "Alerts of c do not arrive: see trouble in /status.json"
      - eval_time: 25h
        alertname: HarvesterVersionsDiffer
        exp_alerts:
          - exp_labels: {severity: info}
            exp_annotations: {summary: "2 versions of harvester are in use"}
      - {eval_time: 25h, alertname: HarvesterStale}
      - {eval_time: 25h, alertname: HarvesterAccountsBroken}
      - {eval_time: 25h, alertname: HarvesterRefused}  # 90 % as well, but of one account of 500
      - {eval_time: 25h, alertname: HarvesterAccountsLate}
      - eval_time: 26h
        alertname: HarvesterAccountsBroken
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations:
              summary: "11 accounts need somebody: harvester status --state failed"
      - eval_time: 27h
        alertname: HarvesterStale
        exp_alerts:
          - exp_labels: {severity: page, endpoint: getusersummary}
            exp_annotations: {summary: "No figures of getusersummary for 1d 3h 0m 0s"}
      - eval_time: 20h
        alertname: HarvesterDown
        exp_alerts:
          - exp_labels: {severity: page, job: harvester, instance: a}
            exp_annotations: {summary: "a does not answer"}
      - eval_time: 30h
        alertname: HarvesterQuotaUsedUp
        exp_alerts:
          - exp_labels: {severity: info, endpoint: getusersummary}
            exp_annotations: {summary: "No call of getusersummary is left today"}
      - eval_time: 36h
        alertname: HarvesterRefused
        exp_alerts:
          - exp_labels: {severity: ticket}
            exp_annotations:
              summary: "90% of the requests of an hour had no figures as their answer"
      - eval_time: 50h  # it broke more than a day ago
        alertname: HarvesterAccountsBroken
  - interval: 5m
    input_series:
      - series: 'harvester_oldest_gap_seconds{endpoint="getusersummary"}'
        values: '691200x400'
      - series: 'harvester_oldest_gap_seconds{endpoint="getarticleread"}'
        values: '691200x1000'
      - series: 'harvester_calendar{endpoint="getusersummary",state="missing"}'
        values: '3x400'
      - series: 'harvester_calendar{endpoint="getarticleread",state="missing"}'
        values: '9000-10x600 3000x400'
      - series: 'harvester_calendar{endpoint="getarticleread",state="late"}'
        values: '0x600 5x400'
      - series: 'harvester_calendar{endpoint="getarticleread",state="final"}'
        values: '0+10x1000'
      - series: 'harvester_accounts{state="failed"}'
        values: '0x400'
      - series: 'harvester_accounts{state="late"}'
        values: '3x400'
      - series: 'node_textfile_mtime_seconds{file="/run/harvester/harvester.prom",instance="a"}'
        values: '0x400'
    alert_rule_test:
      - {eval_time: 5h, alertname: HarvesterAccountsLate}
      - eval_time: 7h
        alertname: HarvesterAccountsLate
        exp_alerts:
          - exp_labels: {severity: ticket}
            exp_annotations:
              summary: "3 accounts lack yesterday, although no one needs to act: harvester status"
      - eval_time: 25h
        alertname: HarvesterGap
        exp_alerts:
          - exp_labels: {severity: ticket, endpoint: getusersummary}
            exp_annotations: {summary: "getusersummary has lacked a day for 8d 0h 0m 0s"}
      - {eval_time: 58h, alertname: HarvesterGap}  # the other one's past is being fetched
      - eval_time: 80h  # for a day it was not
        alertname: HarvesterGap
        exp_alerts:
          - exp_labels: {severity: ticket, endpoint: getarticleread}
            exp_annotations: {summary: "getarticleread has lacked a day for 8d 0h 0m 0s"}
      - eval_time: 27h
        alertname: HarvesterFileOld
        exp_alerts:
          - exp_labels:
              {severity: page, instance: a, file: /run/harvester/harvester.prom}
            exp_annotations: {summary: "No run on a for 1d 3h 0m 0s"}
"""

LATE = """
rule_files: [alerts.yml]
evaluation_interval: 5m
tests:
"""
SERVED = """
  - interval: 5m
    input_series:
      - series: 'harvester_accounts{{state="late"}}'
        values: '{late}'
      - series: 'harvester_service_last_run_timestamp_seconds{{instance="a"}}'
        values: '{ran}'
    alert_rule_test:
{tests}"""
QUIET = "      - {{eval_time: {}h, alertname: HarvesterAccountsLate}}\n"
LOUD = QUIET.replace(
    "}}",
    """,
         exp_alerts: [{{exp_labels: {{severity: ticket}}, exp_annotations: {{summary:
         "3 accounts lack yesterday, although no one needs to act: harvester status"}}}}]}}""",
)


def served(at: float, *, comes: bool) -> str:
    """Three days of a service that harvests at an hour in China; on the last one figures are late.

    The times are UTC, so that the figures of a day are due at 0.
    """
    steps = [(day, hour / 12) for day in range(3) for hour in range(24 * 12)]
    hour = at - 8
    late = [3 if when < hour or (day == 2 and not comes) else 0 for day, when in steps]
    ran = [(day - (when < hour)) * 86_400 + round(hour * 3600) + 60 for day, when in steps]
    tests = "".join(QUIET.format(each) for each in range(1, 72) if each < 48 + hour + 6)
    after = [each for each in range(48, 72) if each >= 48 + hour + 6.5]
    tests += "".join((QUIET if comes else LOUD).format(each) for each in after)
    assert after
    values = [" ".join(map(str, each)) for each in (late, ran)]
    return SERVED.format(late=values[0], ran=values[1], tests=tests)


DOWN = """
rule_files: [alerts.yml]
evaluation_interval: 5m
tests:
  - interval: 5m
    input_series:
      - {series: 'up{job="harvester",instance="a"}', values: '1x100 _x200'}
      - {series: 'up{job="other",instance="c"}', values: '1x300'}
    alert_rule_test:
      - {eval_time: 8h, alertname: HarvesterDown}
      - eval_time: 20h
        alertname: HarvesterDown
        exp_alerts:
          - exp_labels: {severity: page, job: harvester}
            exp_annotations: {summary: "A target has disappeared"}
  - interval: 5m
    input_series:
      - {series: 'up{job="harvester",instance="a"}', values: '1x100 _x200'}
      - {series: 'up{job="harvester",instance="b"}', values: '1x300'}
    alert_rule_test:
      - {eval_time: 8h, alertname: HarvesterDown}
      - eval_time: 10h
        alertname: HarvesterDown
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations: {summary: "A target has disappeared"}
  - interval: 1m
    input_series:  # one takes the place of the other
      - {series: 'up{job="harvester",instance="a"}', values: '1x100 _x500'}
      - {series: 'up{job="harvester",instance="b"}', values: '_x98 1x500'}
    alert_rule_test:
      - {eval_time: 100m, alertname: HarvesterDown}
      - {eval_time: 115m, alertname: HarvesterDown}
      - {eval_time: 470m, alertname: HarvesterDown}
"""


@pytest.mark.thorough
def test_the_alerts_come_when_they_should_and_not_before(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    (tmp_path / "test.yml").write_text(RULES)
    promtool("test", "rules", tmp_path / "test.yml")
    (tmp_path / "test.yml").write_text(DOWN)
    promtool("test", "rules", tmp_path / "test.yml")
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
    assert all(each["alert"] in RULES for each in alerts)


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("comes", [True, False])
@pytest.mark.parametrize("at", [8 + 1 / 12, 14.5, 20.0, 23.0])
def test_figures_are_late_from_six_hours_after_the_harvest_on_whenever_that_is(
    at: float, comes: bool, tmp_path: Path
) -> None:
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    (tmp_path / "test.yml").write_text(LATE + served(at, comes=comes))
    promtool("test", "rules", tmp_path / "test.yml")


def test_the_panels_of_the_dashboard_lie_beside_each_other() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_grafana_finds_the_data_source_and_the_dashboard() -> None:
    source = yaml.safe_load((FOLDER / "grafana-datasource.yml").read_text())["datasources"][0]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    provider = yaml.safe_load((FOLDER / "grafana-dashboards.yml").read_text())["providers"][0]
    compose = yaml.safe_load((FOLDER.parent / "compose.yaml").read_text())["services"]
    places = [mount.split(":")[1] for mount in compose["grafana"]["volumes"]]
    assert any(os.path.dirname(place) == provider["options"]["path"] for place in places)
