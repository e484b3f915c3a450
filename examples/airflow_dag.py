"""A harvest every morning in Airflow 3: a few workers, which share the accounts.

Each task runs the command.  The file that HARVESTER_CONFIG names on the workers of Airflow says
what is harvested, with a ledger and a sink that processes share:

    endpoint = ["users", "articles"]
    start = "2024-01-01"
    end = "yesterday"
    accounts = "accounts.toml"
    ledger = "postgresql://harvester@database/harvest"    # its password in PGPASSWORD
    sink = "postgresql://harvester@database/harvest"

The tasks are mapped over numbers of workers, never over accounts: the workers claim the accounts in
the ledger, and take over those of a worker that is lost.  Where the command has an environment of
its own, HARVESTER names it: /opt/harvester/bin/harvester.

A task fails if anything failed that had not failed in the run before (``new``): accounts that have
been broken for long let no task fail.  It is not retried then: a second time nothing would be new.
Status 3 (nothing is wrong, but something must wait) leaves a task skipped; every other status lets
it fail and be retried.
"""

import json
import os
import subprocess
from datetime import timedelta
from typing import Any

import pendulum
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk import dag, task

WORKERS = 3
COMMAND = os.environ.get("HARVESTER", "harvester")


def run() -> dict[str, Any]:
    """Harvest; returns the report if it has no new failure."""
    print(f"exec {COMMAND} run --json", flush=True)
    done = subprocess.run(
        [COMMAND, "run", "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if done.returncode == 3:
        raise AirflowSkipException(f"something must wait until {report['until']}")
    new = [each for each in report["failures"] if each["new"] is not False]
    if done.returncode == 1 and new:
        who = sorted({each["appid"] for each in new})
        raise AirflowFailException(f"new failures of {len(who)} accounts: {', '.join(who[:20])}")
    if done.returncode not in (0, 1):
        raise AirflowException(f"harvester ended with status {done.returncode}")
    return report


@dag(
    schedule="5 8 * * *",  # figures of yesterday are settled at 08:00 in China
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
)
def harvest() -> None:
    """Harvest with so many workers at once."""

    @task(retries=2, retry_delay=timedelta(minutes=5))
    def worker(number: int) -> str:
        return str(run()["state"])

    worker.expand(number=list(range(1, WORKERS + 1)))


harvest()
