"""The examples for a web application with FastAPI, for systemd and for Docker.

The units are checked by systemd-analyze and their command is run; the steps of the Dockerfile are
done by hand, and the manifests are read, but no image is made and no container is started.
"""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

import harvester
from harvester.service.http import OPEN
from harvester.service.serve import Setup
from harvester.service.state import State, update
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import Start, begun, until
from tests.scenarios.docs.test_examples import EXAMPLES, FASTAPI, application, multiset, truth
from tests.support import ROOT, A, B, environment, harvest

pytestmark = pytest.mark.thorough

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


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


UNITS = (
    "harvester.service", "harvester.timer", "harvester-failed@.service", "harvester-serve.service",
)  # fmt: skip


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
    for name in UNITS:
        text = (EXAMPLES / name).read_text().replace("/srv/harvester", str(tmp_path))
        (tmp_path / name).write_text(text)
    failed = unit("harvester.service")["Unit"]["OnFailure"].replace("%n", "harvester.service")
    shutil.copy(tmp_path / "harvester-failed@.service", tmp_path / failed)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "harvester.service",
         tmp_path / "harvester.timer", tmp_path / "harvester-serve.service", tmp_path / failed],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")
    (when,) = {unit("harvester.timer")["Timer"]["OnCalendar"]}
    shown = subprocess.run(
        ["systemd-analyze", "calendar", when],
        capture_output=True, text=True, timeout=60, check=True, env=environment(TZ="UTC"),
    ).stdout  # fmt: skip
    assert re.search(r"00:05:00 UTC", shown), shown


@pytest.mark.parametrize("name", ["harvester.service", "harvester-serve.service"])
def test_a_unit_may_do_little_and_write_where_it_says(name: str) -> None:
    shown = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", EXAMPLES / name],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stdout
    service = unit(name)["Service"]
    assert (service["ProtectSystem"], service["StateDirectory"]) == ("strict", "harvester")
    assert "ReadWritePaths" not in service


def test_the_unit_of_the_service_serves_and_its_reload_reads_the_accounts_again(
    wechat: Start, tmp_path: Path
) -> None:
    program(tmp_path)
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = "users"\naccounts = "accounts.toml"\nstart = "yesterday-3d"\n'
        f'end = "yesterday"\nbase-url = "{wechat().url}"\n[serve]\nlisten = "127.0.0.1:0"\n'
    )
    one = '[[account]]\nappid = "{}"\nsecret = "env:HARVESTER_SECRET"\n'
    (tmp_path / "accounts.toml").write_text(one.format(A))
    service = unit("harvester-serve.service")["Service"]
    arguments = shlex.split(service["ExecStart"].replace("/srv/harvester", str(tmp_path)))
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        until(lambda: (tmp_path / "harvest" / "ledger.sqlite").exists())
        (tmp_path / "accounts.toml").write_text(one.format(A) + one.format(B))
        reload = service["ExecReload"].replace("$MAINPID", str(process.pid))
        subprocess.run(shlex.split(reload), check=True)
        assert any("2 accounts" in line for line in process.stderr)
        process.terminate()
        process.communicate(timeout=60)  # what it still says is read
    assert process.returncode == 0


def test_what_a_procedure_tells_systemd_names_a_unit_of_the_examples_that_can_do_it() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "harvester").rglob("*.py"),
    ]
    told = {
        found
        for page in [*pages, *EXAMPLES.glob("*.service")]
        for found in re.findall(
            r"systemctl (enable|disable|start|stop|restart|reload)(?: --now)? ([\w.@-]+)",
            page.read_text(encoding="utf-8"),
        )
    }
    assert {verb for verb, _ in told} >= {"enable", "start", "stop", "reload"}
    for verb, name in told:
        found = unit(name if "." in name else f"{name}.service")
        if "Service" in found and verb != "enable":
            assert found["Service"]["Type"] == "exec", name  # one that stays
        if verb == "reload":
            assert "ExecReload" in found["Service"]
        if verb in ("enable", "disable"):
            assert "WantedBy" in found["Install"]


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
    assert {each["level"] for each in messages} == {"warning"}, messages
    assert "which is not WeChat" in messages[0]["message"]
    assert "must wait until" in messages[1]["message"]
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

USER = 10001
"""The user of the image: a number, as `runAsNonRoot` asks for one."""


def instructions() -> list[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    kept = [line.split(maxsplit=1) for line in lines if line and line[0] != "#"]
    return [(word, rest) for word, rest in kept]


def test_the_image_keeps_its_data_in_a_volume_and_runs_as_nobody_special() -> None:
    said = dict(instructions())
    assert said["USER"] == f"{USER}:{USER}"
    assert said["VOLUME"] == said["WORKDIR"] == "/data"
    assert f"install -d -o {USER} -g {USER} /data" in said["RUN"]
    assert "HARVESTER_OUT=/data" in said["ENV"]
    assert "PATH=/opt/harvester/bin:$PATH" in said["ENV"]  # also for what sets a command
    assert json.loads(said["ENTRYPOINT"]) == ["harvester"]
    assert said["STOPSIGNAL"] == "SIGTERM"


def test_the_base_of_the_image_is_pinned_and_of_a_version_that_is_tested() -> None:
    bases = {rest.removesuffix(" AS build") for word, rest in instructions() if word == "FROM"}
    (base,) = bases
    found = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-trixie@sha256:[0-9a-f]{64}", base)
    assert found
    assert f"Programming Language :: Python :: {found[1]}" in PROJECT["classifiers"]


def test_the_image_has_the_lock_s_versions_of_all_extras_but_those_of_libraries() -> None:
    run = dict(reversed(instructions()))["RUN"]
    assert "-c requirements.lock.txt" in run
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", run)
    of_libraries = {"cli", "dask", "docs", "uvloop", "test", "test-all", "dev"}
    others = set(PROJECT["optional-dependencies"]) - of_libraries
    assert extras.split(",") == sorted(others)  # `report` and others bring `cli`


def test_the_labels_of_the_image_are_those_of_the_project() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', str(instructions())))
    assert labels == {
        "title": "harvester",
        "description": PROJECT["description"],
        "licenses": PROJECT["license"],
        "source": PROJECT["urls"]["Source"],
        "documentation": PROJECT["urls"]["Documentation"],
    }


def copied() -> list[tuple[list[str], str]]:
    """What is copied from the source, and where to."""
    found = [rest.split() for word, rest in instructions() if word == "COPY" and rest[:2] != "--"]
    return [(sources, target) for *sources, target in found]


def copy_source(folder: Path) -> None:
    """Put there what the Dockerfile copies."""
    for sources, target in copied():
        for name in sources:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, folder / target, ignore=ignored)
            else:
                shutil.copy(ROOT / name, folder / target)


@pytest.mark.timeout(300)
def test_what_the_dockerfile_copies_builds(tmp_path: Path) -> None:
    """Into a wheel that has each file of the package."""
    source, made = tmp_path / "source", tmp_path / "made"
    source.mkdir()
    copy_source(source)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
    subprocess.run([*pip, "-w", made, source], check=True, timeout=240)
    (wheel,) = made.iterdir()
    assert wheel.name.startswith(f"{PROJECT['name'].replace('-', '_')}-{harvester.__version__}-")
    with ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if name.startswith("harvester/")}
    package = ROOT / "harvester"
    files = {
        path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == {str(path.relative_to(ROOT)) for path in files}


def test_docker_sends_what_is_copied_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line[0] == "!"}
    assert ignored[0] == "*"
    assert sent == {source for sources, _ in copied() for source in sources}
    assert ignored[-1] == "**/__pycache__"


def as_user(folder: Path) -> list[str]:
    """What runs a command as the image's user, who may write in the folder.

    Under a root whose Python lies in root's own directory, it may read everything, too.
    """
    if os.geteuid():
        return []
    os.chown(folder, USER, USER)
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    start = [*become, "sh", "-c", f"{shlex.quote(sys.executable)} -c ''"]
    reach = subprocess.run(start, check=False, capture_output=True)
    if reach.returncode:
        become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return become


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_another_user_installs_the_image_s_environment_from_a_read_only_source_and_uses_it() -> (
    None
):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        source, made, data = (folder / name for name in ("source", "made", "data"))
        for each in (source, made, data):
            each.mkdir()
        copy_source(source)
        for path in [source, *source.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        step = dict(reversed(instructions()))["RUN"]
        step = step.replace("/opt/harvester", str(made / "harvester"))
        step = step.replace("python -m venv", f"{shlex.quote(sys.executable)} -m venv", 1)
        given = {
            name: text for name, text in os.environ.items()
            if name.startswith(("PIP_", "SSL_CERT")) or name.lower().endswith("_proxy")
        }  # fmt: skip
        env = {**given, "HOME": str(data), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        become = as_user(made)
        subprocess.run([*become, "sh", "-c", step], cwd=source, env=env, check=True, timeout=540)
        for path in made.rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)
        become = as_user(data)
        env["PATH"] = f"{made / 'harvester' / 'bin'}:{env['PATH']}"
        env["HARVESTER_OUT"] = str(data)
        (program,) = json.loads(dict(instructions())["ENTRYPOINT"])
        for arguments in (
            ["demo"], ["report"], ["export", f"parquet:{data}/tables", f"xlsx:{data}/tables.xlsx"]
        ):  # fmt: skip
            out = [] if arguments == ["demo"] else ["--out", str(data / "harvest-demo")]
            subprocess.run(
                [*become, program, *arguments, *out], cwd=data, env=env, check=True, timeout=120,
                capture_output=True,
            )  # fmt: skip
        assert (data / "tables.xlsx").exists()
        for library in ("psycopg", "pymysql", "redis", "mcp", "prometheus_client", "apprise"):
            subprocess.run(
                [*become, "python", "-c", f"import {library}"], cwd=data, env=env, check=True
            )


# each command line that a manifest has


def help_of(*command: str) -> str:
    return harvest(*command, "--help").stdout


def assert_known(arguments: list[str]) -> None:
    """The command and its options are in `harvester --help`."""
    command, *flags = arguments
    assert re.search(rf"^  {command} ", help_of(), re.MULTILINE), command
    known = help_of(command)
    for flag in flags:
        assert flag[:2] != "--" or re.search(rf"(?<![\w-]){flag}(?![\w-])", known), flag


def commands() -> dict[str, list[str]]:
    """Where a command line is, and its arguments."""
    found = {"compose": services()["harvester"]["command"]}
    text = (ROOT / "Dockerfile").read_text()
    shown = re.search(r"harvester \\\n# +(.+)\n", text)
    assert shown
    found["Dockerfile"] = shlex.split(shown[1])
    for kind, pod in pods().items():
        (container,) = pod["containers"]
        program, *found[kind] = container["command"]
        assert program == "harvester"  # found by the image's PATH
    return found


def pods() -> dict[str, dict[str, Any]]:
    """The pods of the file for Kubernetes, by the kind of what starts them."""
    listed = yaml.safe_load((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))["items"]
    specs = {each["kind"]: each.get("spec", {}) for each in listed}
    specs["CronJob"] = specs["CronJob"]["jobTemplate"]["spec"]
    return {kind: spec["template"]["spec"] for kind, spec in specs.items() if "template" in spec}


@pytest.mark.parametrize("place", ["compose", "Dockerfile", "Job", "CronJob", "Deployment"])
def test_a_command_line_of_a_manifest_is_one_that_the_help_knows(place: str) -> None:
    assert_known(commands()[place])


@pytest.mark.parametrize("kind", ["Job", "CronJob", "Deployment"])
def test_a_pod_has_no_privileges_and_bounded_resources(kind: str) -> None:
    pod = pods()[kind]
    assert pod["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # HARVESTER_SERVE_PORT is no option: a warning
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert set(container["resources"]) == {"requests", "limits"}
    version = harvester.__version__
    assert container["image"] == f"ghcr.io/{PROJECT['urls']['Source'].split('/', 3)[3]}:{version}"
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert {"/data", "/tmp"} <= set(mounted.values())  # nothing else can be written
    assert set(mounted) == {each["name"] for each in pod["volumes"]}


def test_the_service_in_kubernetes_is_probed_where_it_listens(tmp_path: Path) -> None:
    listed = yaml.safe_load((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))["items"]
    found = {each["kind"]: each for each in listed}
    (container,) = pods()["Deployment"]["containers"]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert set(paths.values()) == set(OPEN)  # without a token
    (port,) = container["ports"]
    config = tomllib.loads(found["ConfigMap"]["data"]["harvester.toml"])["serve"]
    assert config["listen"] == f"0.0.0.0:{port['containerPort']}"
    (name,) = re.findall(r"env:(\w+)", config["token"])
    assert name in (EXAMPLES / "kubernetes.yaml").read_text().partition("apiVersion")[0]
    (given,) = found["Service"]["spec"]["ports"]
    assert given["targetPort"] == port["name"]
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels


# compose


def services() -> dict[str, Any]:
    found = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert isinstance(found, dict)
    return found


def test_the_service_of_compose_has_no_privileges_and_what_it_writes_is_mounted() -> None:
    service = services()["harvester"]
    assert service["user"] == f"{USER}:{USER}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp"]
    assert "data:/data" in service["volumes"]
    for each in services().values():
        assert each["security_opt"] == ["no-new-privileges:true"]  # Docker's seccomp profile is on
        assert {"mem_limit", "cpus"} <= each.keys()
    (*_, program) = service["healthcheck"]["test"]
    assert service["healthcheck"]["test"][:2] == ["CMD", "python"]
    compile(program, "the health check", "exec")
    assert "HEALTHCHECK" not in dict(instructions())  # no other command than serve answers


def test_the_services_of_compose_mount_files_that_exist() -> None:
    found = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))
    services = found["services"]
    assert set(services) == {"harvester", "database", "prometheus", "grafana"}
    assert (EXAMPLES / services["harvester"]["build"]).resolve() == ROOT
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
    listed = services()
    config = tomllib.loads((EXAMPLES / "monitoring" / "harvester.toml").read_text())
    serve = config["serve"]
    port = serve["listen"].rpartition(":")[2]
    assert listed["harvester"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    kind, name = serve["token"].split(":")
    assert kind == "env"
    given = listed["harvester"]["environment"]
    assert name in given
    accounts = (EXAMPLES / "monitoring" / "accounts.toml.example").read_text()
    assert {*re.findall(r'"env:(\w+)"', accounts), "PGPASSWORD"} <= given.keys()
    assert config["ledger"] == config["sink"]
    assert f"@database/{listed['database']['environment']['POSTGRES_DB']}" in config["ledger"]


# the image's environment, with the configuration of compose and of Kubernetes


def configured(place: str) -> tuple[str, str]:
    """The configuration and the file of accounts that the service of a manifest gets."""
    if place == "compose":
        folder = EXAMPLES / "monitoring"
        names = ("harvester.toml", "accounts.toml.example")
        first, second = ((folder / name).read_text(encoding="utf-8") for name in names)
        return first, second
    listed = yaml.safe_load((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))["items"]
    (data,) = [each["data"] for each in listed if each["kind"] == "ConfigMap"]
    return data["harvester.toml"], data["accounts.toml"]


async def harvested_before(config: Path) -> None:
    """Note a harvest of some days ago: before its first one the service waits for the hour."""

    async def noted(state: State) -> State:
        return replace(state, day=date.today() - timedelta(days=5))

    async with Setup.load(config).job.open_ledger() as ledger:
        await update(ledger, noted)


@pytest.mark.sampled
@pytest.mark.parametrize("stored", ["as the manifest says", "in /data"])
@pytest.mark.parametrize("place", ["compose", "Deployment"])
def test_the_service_of_the_image_warns_of_nothing_and_writes_into_data_alone(
    place: str, stored: str, wechat: Start, postgres: PostgresServer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data, etc = tmp_path / "data", tmp_path / "etc"
    data.mkdir()
    etc.mkdir()
    config, accounts = configured(place)
    url = postgres.url(postgres.new_database()).replace(f":{PASSWORD}@", "@")
    config = config.replace("postgresql://harvester@database/harvest", url)
    if stored == "in /data":
        config = re.sub(r"(?m)^(ledger|sink) = .*\n", "", config)
    for text, value in (
        ("/etc/harvester", str(etc)), ("0.0.0.0:8605", "127.0.0.1:0"),
        ("2024-01-01", "yesterday-2d"),
    ):  # fmt: skip
        config = config.replace(text, value)
    (etc / "harvester.toml").write_text(config)
    (etc / "accounts.toml").write_text(accounts)
    of_image = dict(re.findall(r"(HARVESTER_\w+)=(\S+)", dict(instructions())["ENV"]))
    given = {name: value.replace("/data", str(data)) for name, value in of_image.items()}
    line = [each.replace("/etc/harvester", str(etc)) for each in commands()[place]]
    env = {
        **given, "HARVESTER_BASE_URL": wechat().url, "HARVESTER_RATE": "1000/s",
        "SERVE_TOKEN": "t0ken", "WX_A_SECRET": "practice", "PGPASSWORD": PASSWORD,
    }  # fmt: skip
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    asyncio.run(harvested_before(etc / "harvester.toml"))
    told: list[dict[str, Any]] = []
    with begun(*line, "--log-format", "json", cwd=data, **env) as process:
        try:
            assert process.stderr
            for text in process.stderr:
                told.append(json.loads(text))
                if " complete: " in told[-1]["message"]:
                    break
            process.terminate()
            told += map(json.loads, process.communicate(timeout=60)[1].splitlines())
        finally:
            process.kill()  # the block waits for its end
    assert process.returncode == 0
    warned = [each["message"] for each in told if each["level"] != "info"]
    assert len(warned) == 1, warned
    assert "which is not WeChat" in warned[0]
    assert {each.name for each in etc.iterdir()} == {"harvester.toml", "accounts.toml"}
    assert ((data / "ledger.sqlite").exists(), (data / "getusersummary").exists()) == (
        (True, True) if stored == "in /data" else (False, False)
    )
