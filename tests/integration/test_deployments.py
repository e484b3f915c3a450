"""The examples for a web application with FastAPI, for systemd and for Docker.

The units are checked by systemd-analyze and their command is run; the Dockerfile is read as text,
and what it copies is built, but no image is made of it.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from datetime import date
from pathlib import Path

import pytest
import yaml

from tests.integration.test_examples import EXAMPLES, FASTAPI, application, multiset, truth
from tests.scenarios.command import Start
from tests.support import A, environment

pytestmark = pytest.mark.thorough

ROOT = EXAMPLES.parent


# FastAPI


def test_fastapi_streams_each_record_until_its_client_ends(wechat: Start, tmp_path: Path) -> None:
    server = wechat(latency=0.05)
    with application(server, tmp_path, FASTAPI) as app:
        app.ready()
        url = app.url.replace("/harvest", "/records")
        with urllib.request.urlopen(f"{url}?start=2026-01-01&end=2026-01-10", timeout=30) as answer:
            assert answer.headers["content-type"].startswith("application/x-ndjson")
            rows = [json.loads(line) for line in answer]
        there = truth(server, "getarticleread", date(2026, 1, 1), date(2026, 1, 10))
        assert multiset(rows) == multiset(there)
        with urllib.request.urlopen(f"{url}?start=2024-01-01&end=2026-10-31", timeout=30) as answer:
            assert json.loads(answer.readline())["_appid"] == A
        time.sleep(1.0)
        asked = server.simulator.counts["data"]
        time.sleep(1.0)
        assert server.simulator.counts["data"] == asked < 300


# systemd


def unit(name: str) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser()
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string((EXAMPLES / name).read_text())
    return found


def program(folder: Path) -> Path:
    """A `harvester` of an environment that is as the example says."""
    path = folder / ".venv" / "bin" / "harvester"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harvester "$@"\n')
    path.chmod(0o755)
    return path


def test_systemd_takes_the_unit_and_the_timer(tmp_path: Path) -> None:
    program(tmp_path)
    for name in ("harvester.service", "harvester.timer", "harvester-failed@.service"):
        text = (EXAMPLES / name).read_text().replace("/srv/harvester", str(tmp_path))
        (tmp_path / name).write_text(text)
    failed = unit("harvester.service")["Unit"]["OnFailure"].replace("%n", "harvester.service")
    shutil.copy(tmp_path / "harvester-failed@.service", tmp_path / failed)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "harvester.service",
         tmp_path / "harvester.timer", tmp_path / failed],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")
    (when,) = {unit("harvester.timer")["Timer"]["OnCalendar"]}
    shown = subprocess.run(
        ["systemd-analyze", "calendar", when],
        capture_output=True, text=True, timeout=60, check=True, env=environment(TZ="UTC"),
    ).stdout  # fmt: skip
    assert re.search(r"00:05:00 UTC", shown), shown


def test_the_command_of_the_unit_harvests_and_tells_as_json(wechat: Start, tmp_path: Path) -> None:
    program(tmp_path)
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = "getinterfacesummaryhour"\nappid = "{A}"\nstart = "2024-01-01"\n'
        f'end = "2024-01-05"\nbase-url = "{wechat().url}"\ndaily-quota = 3\n'
    )
    service = unit("harvester.service")["Service"]
    line = service["ExecStart"].replace("/srv/harvester", str(tmp_path)).replace("%%", "%")
    (tmp_path / "run").mkdir()
    line = line.replace("/run/harvester", str(tmp_path / "run"))
    arguments = shlex.split(line.replace("/var/lib/harvester", str(tmp_path / "state")))
    ran = subprocess.run(
        arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert str(ran.returncode) == service["SuccessExitStatus"]
    (report,) = map(json.loads, ran.stdout.splitlines())
    assert (report["state"], report["windows"]["done"]) == ("waiting", 3)
    messages = [json.loads(each) for each in ran.stderr.splitlines()]
    assert all(each["level"] == "warning" for each in messages)
    assert "must wait until" in messages[0]["message"]
    assert (tmp_path / "state" / "ledger.sqlite").exists()
    assert (tmp_path / "run" / "harvester.prom").stat().st_mode & 0o444 == 0o444


def test_what_a_unit_that_failed_said_last_is_sent(tmp_path: Path) -> None:
    line = unit("harvester-failed@.service")["Service"]["ExecStart"]
    program(tmp_path)
    for name, text in (
        ("journalctl", 'echo "of $1: the secret is wrong"'),
        (".venv/bin/apprise", 'echo "$@"; cat; echo "to $APPRISE_URLS"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for text, value in (
        ("/srv/harvester", str(tmp_path)), ("$$", "$"), ("%i", "harvester.service"), ("%H", "here")
    ):  # fmt: skip
        line = line.replace(text, value)
    env = environment(PATH=f"{tmp_path}:/usr/bin:/bin", APPRISE_URLS="wecombot://key")
    said = subprocess.run(
        shlex.split(line), env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.splitlines() == [
        "--title=harvester.service failed on here",
        "of --unit=harvester.service: the secret is wrong",
        "to wecombot://key",
    ]


# Docker


def instructions() -> list[tuple[str, str]]:
    lines = (EXAMPLES / "Dockerfile").read_text().splitlines()
    kept = [line.split(maxsplit=1) for line in lines if line and line[0] != "#"]
    return [(word, rest) for word, rest in kept]


def test_what_the_dockerfile_copies_builds(tmp_path: Path) -> None:
    copied = [rest for word, rest in instructions() if word == "COPY" and rest[:2] != "--"]
    for *sources, target in map(str.split, copied):
        for source in sources:
            path, place = ROOT / source, tmp_path / target
            if path.is_dir():
                shutil.copytree(path, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, place)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
    subprocess.run([*pip, "-w", tmp_path / "made", tmp_path], check=True, timeout=110)
    (wheel,) = (tmp_path / "made").iterdir()
    assert wheel.name.startswith("wechat_harvester-")


def test_the_image_keeps_its_data_in_a_volume_and_runs_as_nobody_special() -> None:
    said = dict(instructions())
    assert said["USER"] != "root"
    assert said["VOLUME"] == said["WORKDIR"] == "/data"
    assert "HARVESTER_OUT=/data" in said["ENV"]
    assert json.loads(said["ENTRYPOINT"]) == ["/opt/harvester/bin/harvester"]
    assert said["STOPSIGNAL"] == "SIGTERM"
    extras = re.findall(r"'\.\[([a-z,]+)\]'", dict(reversed(instructions()))["RUN"])
    assert extras == ["cli,postgres,serve"]


# compose


def test_the_services_of_compose_mount_files_that_exist() -> None:
    found = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))
    services = found["services"]
    assert set(services) == {"harvester", "database", "prometheus", "grafana"}
    build = services["harvester"]["build"]
    assert (EXAMPLES / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).exists()
    for service in services.values():
        for mount in service.get("volumes", ()):
            source, _ = mount.split(":")[:2]
            path = EXAMPLES / source
            named = source in found["volumes"]
            assert named or path.exists() or path.with_name(f"{path.name}.example").exists()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert {*service.get("secrets", ())} <= set(found["secrets"])
    needed = services["harvester"]["depends_on"]
    assert all("healthcheck" in services[name] for name in needed)


def test_the_service_of_compose_has_a_token_and_a_port() -> None:
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))["services"]
    config = tomllib.loads((EXAMPLES / "monitoring" / "harvester.toml").read_text())
    serve = config["serve"]
    port = serve["listen"].rpartition(":")[2]
    assert services["harvester"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    kind, name = serve["token"].split(":")
    assert kind == "env"
    given = services["harvester"]["environment"]
    assert name in given
    accounts = (EXAMPLES / "monitoring" / "accounts.toml.example").read_text()
    assert {*re.findall(r'"env:(\w+)"', accounts), "PGPASSWORD"} <= given.keys()
    assert config["ledger"] == config["sink"]
    assert f"@database/{services['database']['environment']['POSTGRES_DB']}" in config["ledger"]
