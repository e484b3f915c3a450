"""What the samples hold: accounts, interfaces, the moments of runs; and how records compare."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.postgres_server import PostgresServer
from tests.support import A, B, C, at

FOLDER = Path(__file__).parent
ACCOUNTS = FOLDER / "accounts.toml"
"""A has a name; the secret of C was wrong when its run was made."""
USERS = ("getusersummary", "getusercumulate")
PERIODS = ("getupstreammsgweek", "getupstreammsgmonth")
ENTRIES, ARTICLES = "getarticletotaldetail", "getbizsummary"
HOUR, PUBLISHER = "getupstreammsghour", "publisher_adpos_general"
PORTRAIT = "getweanalysisappiduserportrait"
INTERFACES = (*USERS, *PERIODS, ENTRIES, ARTICLES, HOUR, PUBLISHER, PORTRAIT)


class Job(NamedTuple):
    """One run of the command: when, of which interfaces, days and accounts."""

    day: str
    hour: float
    endpoints: tuple[str, ...]
    start: str
    end: str
    only: tuple[str, ...] = (A, B)


JOBS = (
    Job("2026-02-05", 9.0, USERS, "2025-12-22", "2026-02-04"),
    Job("2026-02-05", 9.1, PERIODS, "2025-12-01", "2026-02-04"),
    Job("2026-02-15", 9.0, ("getusercumulate",), "2025-12-22", "2026-02-14"),
    Job("2026-02-20", 9.0, ("getusercumulate",), "2025-12-22", "2026-02-19"),
    Job("2026-03-08", 9.0, (PORTRAIT,), "2026-03-07", "2026-03-07"),
    Job("2026-03-10", 9.0, USERS, "2025-12-22", "2026-03-09"),
    Job("2026-03-10", 9.1, (ENTRIES,), "2026-02-06", "2026-02-11"),
    Job("2026-03-10", 9.2, (PUBLISHER,), "2026-02-20", "2026-03-09"),
    Job("2026-03-11", 9.0, USERS, "2025-12-22", "2026-03-10"),
    Job("2026-03-11", 9.1, PERIODS, "2025-12-01", "2026-03-10"),
    Job("2026-03-11", 9.2, (PUBLISHER, ARTICLES), "2026-02-20", "2026-03-10"),
    Job("2026-03-11", 9.3, (PORTRAIT,), "2026-03-07", "2026-03-10"),
    Job("2026-03-11", 9.4, (HOUR,), "2026-03-04", "2026-03-10"),
    Job("2026-03-11", 9.5, USERS, "2026-03-01", "2026-03-10", (C,)),
)
NOW = ("2026-03-11", 10.0)
"""When the samples were read for the first time."""
MARKED = (B, "getusersummary", "2026-02-02", "2026-02-15")
"""What a killed run of --refresh had marked, and not asked for yet."""
NEVER, LATE = "2026-01-15", "2026-03-08"
"""Days of getusercumulate that WeChat did not have, for more than 30 days and for two."""
EMPTY, RECENT = "2026-01-20", "2026-03-10"
"""Days of getusersummary without a record: final, and yesterday."""
PORTRAITS = ("2026-03-07", "2026-03-10", "2026-03-11")
"""The days of getweanalysisappiduserportrait that could be asked for when a run asked, at last."""
FAILED = "2026-03-08"
"""The day of getupstreammsghour that failed for B."""

KILLED = Job("2026-03-11", 9.0, ("getusersummary",), "2025-12-01", "2026-03-10", (A,))
"""What was asked of the sample `killed` when its run was killed."""


NEXT = ("2026-03-12", 10.0)
"""When the tests go on."""
CONTINUED = (
    Job(*NEXT, USERS, "2025-12-22", "2026-03-11"),
    Job(*NEXT, PERIODS, "2025-12-01", "2026-03-11"),
    Job(*NEXT, (ENTRIES,), "2026-02-06", "2026-02-11"),
    Job(*NEXT, (PUBLISHER, ARTICLES), "2026-02-20", "2026-03-11"),
    Job(*NEXT, (PORTRAIT,), "2026-03-07", "2026-03-11"),
    Job(*NEXT, (HOUR,), "2026-03-04", "2026-03-11"),
    Job(*NEXT, USERS, "2026-03-01", "2026-03-11", (C,)),
)
"""The same jobs a day later."""


def arguments(job: Job, url: str, *more: str | Path) -> list[str]:
    """The arguments of the run."""
    only = [text for who in job.only for text in ("--only", who)]
    return [
        "run", *job.endpoints, "--start", job.start, "--end", job.end, "--accounts", str(ACCOUNTS),
        *only, "--base-url", url, "--rate", "1000/s", "--json", *map(str, more),
    ]  # fmt: skip


def turn_clock(server: PostgresServer, database: str, day: str, hour: float) -> None:
    """Let the database's clock show that hour in China now: a shared ledger compares clocks.

    A superuser may replace the function in the catalogue of one database.
    """
    shift = at(day, hour) - time.time()
    server.execute(_CLOCK.format(shift), database)


_CLOCK = """
    SET allow_system_table_mods = on;
    DO $$ BEGIN IF to_regproc('pg_catalog.real_clock') IS NULL THEN
        ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock;
    END IF; END $$;
    CREATE OR REPLACE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz VOLATILE
    LANGUAGE sql RETURN pg_catalog.real_clock() + interval '1 second' * {};
"""


def without_moment(record: dict[str, Any]) -> str:
    """A record without when it was fetched: equal in all samples."""
    rest = {name: value for name, value in record.items() if name != "_fetched_at"}
    return json.dumps(rest, sort_keys=True, ensure_ascii=False, default=str)


def checksum(records: Iterable[dict[str, Any]]) -> str:
    """Of the records in any order, without when they were fetched."""
    lines = sorted(map(without_moment, records))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


STATES = (
    "final", "empty", "provisional", "waiting", "failed", "missing", "late", "never_delivered",
    "cannot_be_asked",
)  # fmt: skip


def stream_of(stream: dict[str, Any]) -> dict[str, Any]:
    """What `status --json` has of an interface of an account, without what may be said otherwise.

    A day that was not asked for, and one that is not due, are one state here.
    """
    return {
        "appid": stream["appid"], "endpoint": stream["endpoint"], "records": stream["records"],
        **{name: stream[name] for name in STATES},
        "not_asked": stream["not_asked"] + stream.get("not_due", 0),
        "ranges": [
            [each["state"], each["begin_date"], each["end_date"]]
            for each in stream["ranges"]
            if each["state"] in STATES
        ],
    }  # fmt: skip
