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
the ledger, and take over those of a worker that is lost.  Status 3 (nothing is wrong, but something
must wait) leaves a task skipped; every other status but 0 lets it fail and be retried.  Where the
command has an environment of its own, HARVESTER names it: /opt/harvester/bin/harvester.
"""

import os
from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

WORKERS = 3
COMMAND = os.environ.get("HARVESTER", "harvester")


@dag(
    schedule="5 8 * * *",  # figures of yesterday are settled at 08:00 in China
    start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Shanghai"),
    catchup=False,
    max_active_runs=1,
)
def harvest() -> None:
    """Harvest with so many workers at once."""

    @task.bash(skip_on_exit_code=3, retries=2, retry_delay=timedelta(minutes=5))
    def worker(number: int) -> str:
        return f"exec {COMMAND} run --json"

    worker.expand(number=list(range(1, WORKERS + 1)))


harvest()
