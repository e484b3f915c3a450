"""Several workers on one ledger: frozen, alone, wrong on one machine, and asked to refresh."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from typing import Any

import pytest

from tests.mysql_server import MySQLServer
from tests.scenarios.command import begun, until
from tests.scenarios.conftest import Jobs
from tests.scenarios.shared import ACCOUNTS, KNOWN, Job, ended

pytestmark = pytest.mark.thorough

WINDOWS = ACCOUNTS * 5
"""Of January: a week a call."""
HALF_A_YEAR = ("--end", "2024-06-30")


def asked_for(job: Job, before: str = "2024-02-01") -> Counter[Any]:
    """How often each window that ends before a day was requested."""
    served = job.server.simulator.served_of
    return Counter({key: times for key, times in served.items() if str(key[3]) < before})


# A lease that has ended


def test_a_worker_that_was_frozen_beyond_its_lease_joins_anew_and_both_are_complete(
    job: Jobs, mysql: MySQLServer
) -> None:
    one = job(latency=0.1)
    frozen = one.start()
    one.called(12)
    frozen.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    elsewhere = one.run("--sink", mysql.url(mysql.new_database()))
    assert elsewhere.returncode == 2
    assert "the sinks of this ledger are" in elsewhere.stderr
    other = one.start("--end", "2024-02-29")
    one.called(30)
    frozen.send_signal(signal.SIGCONT)
    assert ended(frozen)["windows"]["failed"] == 0
    ended(other)
    one.assert_each_once(days=60)
    assert json.loads(one.run().stdout)["requests"] == 0


def test_a_sink_that_is_added_while_a_worker_is_frozen_has_everything(
    job: Jobs, mysql: MySQLServer
) -> None:
    one = job(latency=0.1)
    frozen = one.start()
    one.called(12)
    frozen.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    second = mysql.url(mysql.new_database())
    added = one.harvester("sink", "add", second, "--ledger", one.ledger)
    assert added.returncode == 0, added.stderr
    frozen.send_signal(signal.SIGCONT)
    _, err = frozen.communicate(timeout=90)
    assert frozen.returncode == 4, err
    assert "`harvester sink remove" in err  # the command that a run of one sink needs
    ended(one.start("--sink", second))
    one.assert_each_once()
    verified = one.harvester("verify", "--ledger", one.ledger)
    assert verified.stdout.count(" records read") == 2


# Waits


@pytest.mark.parametrize("turn", range(3))
def test_a_worker_alone_ends_when_its_work_is_done_whatever_its_lease(turn: int, job: Jobs) -> None:
    one = job(latency=0.05)
    begun_at = time.monotonic()
    report = ended(one.start("--lease", "60s", "--concurrency", "2"))
    assert report["windows"]["done"] == WINDOWS
    assert time.monotonic() - begun_at < report["seconds"] + 10
    assert report["seconds"] < 20


def test_a_worker_whose_connection_is_lost_goes_on_at_once(job: Jobs) -> None:
    one = job(latency=0.1)
    worker = one.start("--lease", "60s")
    one.called(12)
    one.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'harvester%' AND pid <> pg_backend_pid()"
    )
    assert ended(worker)["seconds"] < 20
    one.assert_each_once()


# A machine that lacks what others have


def wrong(job: Job, *more: str) -> Any:
    """A worker that has the wrong secret for all accounts."""
    env = {**KNOWN, "HARVESTER_SECRET": "wrong"}
    return begun(*job.arguments("--concurrency", "4", *more), **env)


def test_accounts_that_one_machine_cannot_serve_are_served_by_another(job: Jobs) -> None:
    one = job(latency=0.3)
    good = one.start("--concurrency", "2")
    one.called(2)
    bad = wrong(one)
    for process in (bad, good):
        assert ended(process)["failures"] == []
    one.assert_each_once()
    tokens = one.server.simulator.counts["token"]
    assert tokens <= 3 * ACCOUNTS  # the failing machine does not claim them again and again


def test_a_machine_alone_that_lacks_the_secrets_says_so(job: Jobs) -> None:
    one = job()
    report = ended(wrong(one), 4, "failed")
    assert len(report["stopped"]) == ACCOUNTS
    assert report["windows"]["failed"] == WINDOWS
    ended(one.start())  # with the right ones
    one.assert_each_once()


def test_two_machines_that_both_lack_the_secrets_end_alike(job: Jobs) -> None:
    one = job()
    for process in [wrong(one), wrong(one)]:
        report = ended(process, 4, "failed")
        assert (len(report["stopped"]), report["windows"]["failed"]) == (ACCOUNTS, WINDOWS)


@pytest.mark.parametrize("beside", [False, True])
def test_stored_days_that_could_not_be_harvested_again_are_no_success(
    beside: bool, job: Jobs
) -> None:
    one = job()
    ended(one.start())
    time.sleep(1.1)  # the ledger keeps seconds
    if beside:  # a worker of another job that began yesterday, and goes on
        one.rows(
            "INSERT INTO harvester.worker (id, name, job, refreshes, started, until, windows)"
            " VALUES (7, 'elsewhere', 'another', false, now() - interval '30 hours',"
            " now() + interval '1 hour', 0)"
        )
    report = ended(wrong(one, "--refresh"), 4, "failed")
    assert report["windows"]["failed"] == WINDOWS
    assert len(report["stopped"]) == ACCOUNTS
    report = ended(one.start("--refresh", "--daily-quota", "7"), 3, "waiting")
    assert report["windows"]["waiting"] == 3 * ACCOUNTS
    one.assert_each_once()
    report = ended(one.start())
    assert report["windows"]["done"] == 3 * ACCOUNTS
    one.assert_each_once()


# Workers with other options


def test_a_worker_that_may_not_wait_ends_beside_one_that_waits(job: Jobs) -> None:
    one = job()
    waiting = one.start("--wait", "--daily-quota", "2")
    one.called(2 * ACCOUNTS)
    begun = time.monotonic()
    report = ended(one.start("--daily-quota", "2"), 3, "waiting")
    assert time.monotonic() - begun < 20
    assert report["windows"]["waiting"] == 3 * ACCOUNTS
    assert report["until"]
    assert waiting.poll() is None
    assert one.calls == 2 * ACCOUNTS
    waiting.send_signal(signal.SIGINT)
    assert ended(waiting, 130, "interrupted")["windows"]["done"] == 2 * ACCOUNTS


def test_one_that_waits_takes_what_another_leaves_and_does_not_end(job: Jobs) -> None:
    one = job(latency=1)
    plain = one.start("--concurrency", "24", "--daily-quota", "2")  # it claims all
    one.called(ACCOUNTS)
    waiting = one.start("--wait", "--daily-quota", "2")
    ended(plain, 3, "waiting")
    held = "SELECT count(*) FROM harvester.account WHERE holder IS NOT NULL"
    until(lambda: one.rows(held) == [(ACCOUNTS,)])
    assert waiting.poll() is None
    waiting.send_signal(signal.SIGINT)
    ended(waiting, 130, "interrupted")
    assert one.calls == 2 * ACCOUNTS


def test_one_with_a_greater_quota_goes_on_where_another_ends(job: Jobs) -> None:
    one = job(latency=0.5)
    less = one.start("--concurrency", "24", "--daily-quota", "2")
    one.called(ACCOUNTS)
    more = one.start("--daily-quota", "100")
    ended(more)
    less.communicate(timeout=90)
    assert less.returncode in (0, 3)
    one.assert_each_once()


# Days that are to be harvested again


def test_a_refresh_beside_a_worker_without_it_requests_every_day_once_more(job: Jobs) -> None:
    one = job(latency=0.05)
    ended(one.start())
    plain = one.start(*HALF_A_YEAR)
    until(lambda: one.calls > WINDOWS + 20)
    refreshing = [one.start(*HALF_A_YEAR, "--refresh") for _ in range(2)]
    for process in (plain, *refreshing):
        assert ended(process)["failures"] == []
    again = asked_for(one)
    assert len(again) == WINDOWS
    assert min(again.values()) == 2
    assert sum(again.values()) <= 2 * WINDOWS + 12  # lost in flight when they were marked
    one.assert_each_once(days=182)


def test_a_refresh_that_was_killed_is_finished_by_the_next_run(job: Jobs) -> None:
    one = job(latency=0.05)
    ended(one.start())
    killed = one.start("--refresh")
    until(lambda: one.calls > WINDOWS + 10)
    killed.kill()
    killed.communicate()
    ended(one.start())
    assert min(asked_for(one).values()) >= 2
    one.assert_each_once()
