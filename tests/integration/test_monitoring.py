"""The examples for Prometheus and Grafana: checked by promtool, and by the names that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harvester.service.metrics import ACCOUNT_STATES, NAMES, Metrics

FOLDER = Path(__file__).parents[2] / "examples" / "monitoring"
SUFFIXES = ("_bucket", "_sum", "_count")
FOREIGN = {"node_textfile_mtime_seconds", "up"}


def promtool(*arguments: str | Path, input_: bytes | None = None) -> str:
    """What promtool says of something that it takes."""
    program = shutil.which("promtool")
    if program is None:
        why = "there is no promtool on this machine"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    done = subprocess.run(
        [str(program), *arguments], input=input_, capture_output=True, timeout=60, check=False
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


def test_prometheus_takes_what_is_rendered() -> None:
    metrics = Metrics()
    assert promtool("check", "metrics", input_=metrics.render()) == ""


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
        values: '11x300 12x200'
      - series: 'harvester_accounts{state="late"}'
        values: '0x500'
      - series: 'harvester_budget_remaining{endpoint="getusersummary"}'
        values: '100x340 0x160'
      - series: 'harvester_requests_total{endpoint="getusersummary",errcode="0"}'
        values: '0+50x500'
      - series: 'harvester_requests_total{endpoint="getusersummary",errcode="-1"}'
        values: '0+5x400 2000+450x100'
      - series: 'up{job="harvester",instance="a"}'
        values: '1x200 0x300'
    alert_rule_test:
      - {eval_time: 25h, alertname: HarvesterStale}
      - {eval_time: 25h, alertname: HarvesterAccountsBroken}
      - {eval_time: 25h, alertname: HarvesterRefused}
      - {eval_time: 25h, alertname: HarvesterAccountsLate}
      - eval_time: 26h
        alertname: HarvesterAccountsBroken
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations:
              summary: "12 accounts need somebody: harvester status --state failed"
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
  - interval: 5m
    input_series:
      - series: 'harvester_oldest_gap_days{endpoint="getusersummary"}'
        values: '8x400'
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
              summary: "3 accounts lack yesterday, although nobody must act: harvester status"
      - eval_time: 25h
        alertname: HarvesterGap
        exp_alerts:
          - exp_labels: {severity: ticket, endpoint: getusersummary}
            exp_annotations: {summary: "getusersummary has lacked a day for 8 days"}
      - eval_time: 27h
        alertname: HarvesterFileOld
        exp_alerts:
          - exp_labels:
              {severity: page, instance: a, file: /run/harvester/harvester.prom}
            exp_annotations: {summary: "No run on a for 1d 3h 0m 0s"}
"""


@pytest.mark.thorough
def test_the_alerts_come_when_they_should_and_not_before(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    (tmp_path / "test.yml").write_text(RULES)
    promtool("test", "rules", tmp_path / "test.yml")
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
    assert all(each["alert"] in RULES for each in alerts)


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
