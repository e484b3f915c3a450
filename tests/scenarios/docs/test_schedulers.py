"""The examples for schedulers: cron and Airflow are run, those for Kubernetes are read."""

from __future__ import annotations

import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from harvester import Job
from tests.own_environment import OwnEnvironment
from tests.postgres_server import PASSWORD, USER, PostgresServer
from tests.scenarios.command import Start
from tests.scenarios.docs.test_deployments import ROOT, program
from tests.scenarios.docs.test_examples import EXAMPLES
from tests.scenarios.shared import ENDPOINT, accounts_file, assert_truth
from tests.support import A, B, Wechat

BEGIN, END = date(2024, 1, 1), date(2024, 1, 31)


def configured(folder: Path, wechat: Wechat, server: PostgresServer) -> str:
    """Write the configuration and the accounts; returns the name of the database."""
    database = server.new_database()
    url = f"postgresql://{USER}@127.0.0.1:{server.port}/{database}"
    accounts_file(folder)
    (folder / "harvester.toml").write_text(f"""
endpoint = "{ENDPOINT}"
start = {BEGIN}
end = {END}
accounts = "{folder}/accounts.csv"
ledger = "{url}"
sink = "{url}"
base-url = "{wechat.url}"
""")
    return database


# cron


@pytest.mark.nightly
def test_the_lines_of_cron_share_the_accounts(
    wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat(latency=0.02)
    database = configured(tmp_path, here, postgres)
    (tmp_path / "harvester.env").write_text(f"PGPASSWORD={PASSWORD}\nWX_SECRET=practice\n")
    program(tmp_path)
    entries = [
        line.split(maxsplit=5)
        for line in (EXAMPLES / "crontab").read_text().splitlines()
        if line[0].isdigit()
    ]
    assert [entry[:5] for entry in entries] == [["5", "0", "*", "*", "*"]] * 2
    assert "MAILTO=" in (EXAMPLES / "crontab").read_text()
    (tmp_path / "metrics").mkdir()
    lines = [entry[5].replace("/srv/harvester", str(tmp_path)) for entry in entries]
    running = [started(line) for line in lines]
    assert [process.communicate(timeout=60) for process in running] == [("", ""), ("", "")]
    assert [process.returncode for process in running] == [0, 0]
    assert (tmp_path / "daily.log").read_text().count('{"state":"complete"') == 2
    metrics = (tmp_path / "metrics" / "harvester.prom").read_text()
    assert 'harvester_accounts{state="fresh"}' in metrics
    assert_truth(postgres, database, here, BEGIN, END)
    # What fails is printed, and so mailed: here the secret of all accounts is another one.
    (tmp_path / "harvester.env").write_text(f"PGPASSWORD={PASSWORD}\nWX_SECRET=x\n")
    text = (tmp_path / "harvester.toml").read_text()
    (tmp_path / "harvester.toml").write_text(text.replace("2024-01-31", "2024-02-29"))
    failed, _ = started(lines[0].replace("--allow-failed 15", "--allow-failed 1")).communicate()
    assert "errcode 40125" in failed


def started(line: str) -> subprocess.Popen[str]:
    """A line of cron, under way; what it prints would be mailed."""
    return subprocess.Popen(
        ["/bin/sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# Kubernetes


def resources() -> dict[str, dict[str, Any]]:
    listed = yaml.safe_load((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "List")
    return {each["kind"]: each for each in listed["items"]}


def test_the_file_for_kubernetes_has_a_job_and_a_cron_job() -> None:
    found = resources()
    assert sorted(found) == ["ConfigMap", "CronJob", "Deployment", "Job", "Service"]
    job, daily = found["Job"]["spec"], found["CronJob"]["spec"]
    assert found["Job"]["apiVersion"] == found["CronJob"]["apiVersion"] == "batch/v1"
    assert job["parallelism"] == job["completions"] == 4
    assert (daily["schedule"], daily["timeZone"]) == ("5 8 * * *", "Asia/Shanghai")
    assert daily["concurrencyPolicy"] == "Forbid"
    for spec in (job, daily["jobTemplate"]["spec"]):
        pod = spec["template"]["spec"]
        assert pod["restartPolicy"] == "Never"  # podFailurePolicy needs it
        assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"] == {
            "containerName": pod["containers"][0]["name"], "operator": "In", "values": [2],
        }  # fmt: skip
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }


def test_the_pods_run_a_command_and_a_configuration_that_exist(tmp_path: Path) -> None:
    found = resources()
    (container,) = found["Job"]["spec"]["template"]["spec"]["containers"]
    program, command, *flags = container["command"]
    assert (program, command) == ("harvester", "run")
    assert flags[flags.index("--allow-failed") + 1] == "1%"
    folder = Path(container["volumeMounts"][0]["mountPath"])
    assert container["env"] == [{"name": "HARVESTER_CONFIG", "value": f"{folder}/harvester.toml"}]
    path = tmp_path / "harvester.toml"
    path.write_text(found["ConfigMap"]["data"][path.name])
    job = Job.load(path)
    assert str(job.options["ledger"]).startswith("postgresql://")
    assert job.accounts is not None
    assert Path(job.accounts).parent == folder
    assert Path(job.accounts).name in found["ConfigMap"]["data"]


def test_the_file_for_kubernetes_says_that_it_was_not_run() -> None:
    head = (EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8").partition("\napiVersion")[0]
    assert "was checked as YAML" in head
    assert "was not run in a cluster" in head


# Airflow


class Airflow:
    """An Airflow in an environment of its own, with this package beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = OwnEnvironment(folder / "venv")
        self._environment.install("apache-airflow>=3,<4", *self._constraints())
        self._environment.install(f"{ROOT}[cli,postgres]")
        (folder / "dags").mkdir()
        shutil.copy(EXAMPLES / "airflow_dag.py", folder / "dags")
        self._run("db", "migrate")

    def _constraints(self) -> list[str | Path]:
        """Airflow's own constraints, if they can be had here."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        url = (
            "https://raw.githubusercontent.com/apache/airflow/constraints-latest/"
            f"constraints-{version}.txt"
        )
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                path = self._folder / "constraints.txt"
                path.write_bytes(answer.read())
        except OSError:
            return []
        return ["-c", path]

    def _run(self, *arguments: str, **environment: str) -> str:
        home = {"AIRFLOW_HOME": str(self._folder), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        return self._environment.run("airflow", *arguments, **home, **environment)

    def test(self, config: Path, **environment: str) -> tuple[str, list[str]]:
        """The state of a run of the DAG, and those of its tasks."""
        shown = self._run(
            "dags", "test", "harvest", HARVESTER_CONFIG=str(config), WX_SECRET="practice",
            PGPASSWORD=PASSWORD, **environment,
        )  # fmt: skip
        assert len(re.findall("exec harvester run", shown)) >= 3
        with closing(sqlite3.connect(self._folder / "airflow.db")) as database:
            [(run, state)] = database.execute(
                "SELECT run_id, state FROM dag_run ORDER BY id DESC LIMIT 1"
            )
            tasks = database.execute("SELECT state FROM task_instance WHERE run_id = ?", (run,))
            return state, [state for (state,) in tasks]


@pytest.fixture
def run_of_the_dag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The function that its tasks call, without Airflow."""
    errors = ("AirflowException", "AirflowFailException", "AirflowSkipException")
    exceptions = ModuleType("airflow.exceptions")
    base = type(errors[0], (Exception,), {})
    for name in errors:
        setattr(exceptions, name, base if name == errors[0] else type(name, (base,), {}))

    def nothing(*_: Any, **__: Any) -> Any:
        return lambda function: lambda *_: None

    sdk, airflow, pendulum = map(ModuleType, ("airflow.sdk", "airflow", "pendulum"))
    sdk.dag = sdk.task = pendulum.datetime = nothing  # type: ignore[attr-defined]
    for module in (exceptions, sdk, airflow, pendulum):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("HARVESTER", str(program(tmp_path)))
    return runpy.run_path(str(EXAMPLES / "airflow_dag.py"))["run"]


@pytest.mark.thorough
def test_a_task_of_airflow_fails_for_new_failures_alone(
    run_of_the_dag: Any, wechat: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = wechat(refuse_token={A: 40125})
    (tmp_path / "accounts.csv").write_text(f"appid,secret\n{A},env:WX_SECRET\n{B},env:WX_SECRET\n")
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = "{ENDPOINT}"\nstart = {BEGIN}\nend = {END}\naccounts = "accounts.csv"\n'
        f'base-url = "{server.url}"\nrate = "1000/s"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WX_SECRET", "practice")
    with pytest.raises(Exception, match=f"new failures of 1 accounts: {A}") as new:
        run_of_the_dag()
    assert new.typename == "AirflowFailException"  # it is not tried again
    assert run_of_the_dag()["windows"]["failed"] > 0
    monkeypatch.setenv("WX_SECRET", "another")
    monkeypatch.setenv("HARVESTER_END", "2024-02-29")
    with pytest.raises(Exception, match="status 4"):
        run_of_the_dag()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


@pytest.mark.thorough
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_airflow_runs_the_workers_and_skips_those_that_must_wait(
    airflow: Airflow, wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat()
    database = configured(tmp_path, here, postgres)
    config = tmp_path / "harvester.toml"
    assert airflow.test(config, HARVESTER_DAILY_QUOTA="1") == ("success", ["skipped"] * 3)
    assert airflow.test(config) == ("success", ["success"] * 3)
    assert_truth(postgres, database, here, BEGIN, END)
