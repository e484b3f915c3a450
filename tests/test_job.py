"""A run as data: what it holds, how it is read from a file, and how it runs."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest

import harvester
from harvester import Job, UsageError, events
from harvester.base.secrets import Secret, holds_password
from harvester.engine.limiter import Rate
from tests.support import A, B, Wechat, assert_exactly_the_truth, stored

BEGIN, END = date(2024, 1, 1), date(2024, 1, 31)
ASKED = {"endpoints": "users", "start": "2024-01-01", "end": "2024-01-31", "appid": A}
PASSWORD = "p4ssw0rd"
MINE = {"name": "mine", "path": "/datacube/getarticlesummary", "first_day": date(2014, 12, 1)}


def job(**more: Any) -> Job:
    return Job(**{**ASKED, **more})


def refused(**more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        job(**more)
    return str(caught.value)


# what it holds


def test_a_job_holds_what_was_asked_for() -> None:
    made = job(endpoints=["users", "getarticlesummary"], end=END, rate="10/s", out=Path("here"))
    assert made.endpoints == ("users", "getarticlesummary")
    assert (made.start, made.end, made.out) == ("2024-01-01", "2024-01-31", "here")
    assert made.options == {"rate": "10/s"}
    with pytest.raises(FrozenInstanceError):
        made.start = "2025-01-01"  # type: ignore[misc]


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unknown option 'rte'"):
        job(rte=1)


def test_a_job_is_pickled_whole_and_equal() -> None:
    made = job(sink=["jsonl:a", "sqlite:b.db"], interfaces=[MINE], rate=Rate(5, 2.0), wait=True)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert hash(again) == hash(made)
    assert repr(again) == repr(made)
    assert made != job()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"endpoints": "usres"},
            "there is no interface or group 'usres' (did you mean users?)",
        ),
        ({"endpoints": []}, "no interface was given"),
        ({"endpoints": [1.5]}, "endpoints: expected the name of an interface or a group"),
        ({"start": "2024-02-01"}, "the start 2024-02-01 is after the end"),
        ({"end": "today"}, "end: 'today' is not a day"),
        ({"appid": None}, "a job needs either an appid or a file of accounts"),
        ({"accounts": "a.toml"}, "a job needs either an appid or a file of accounts"),
        ({"appid": "wx!"}, "appid: 'wx!' is not an AppID"),
        ({"rate": "fast"}, "rate='fast': expected a number above 0 with its unit"),
        ({"sink": "nothing:x"}, "there is no sink 'nothing:x'"),
        ({"sink": ["jsonl:x", "jsonl:x"]}, "the same sink was given twice"),
        ({"token_store": "somewhere"}, "token store: 'somewhere' is unknown"),
        ({"ledger": "mysql://host/db"}, "ledger: mysql://… is not a ledger"),
        ({"lease": "soon"}, "lease='soon': expected a duration with its unit"),
        ({"interfaces": [{"name": "mine"}]}, "job, interface 1 has no path"),
        ({"on_event": print}, "on_event: it belongs to one process"),
        ({"session": None}, "session: it belongs to one process"),
        (
            {"sink": harvester.MemorySink()},
            "sink: a job can hold text and numbers, but not a MemorySink",
        ),
        ({"token_store": harvester.MemoryStore()}, "token_store: a job can hold text and numbers"),
        ({"interfaces": [{**MINE, "body": {"a": [print]}}]}, "interfaces: a job can hold text"),
    ],
)
def test_values_are_checked_when_a_job_is_made(more: dict[str, Any], message: str) -> None:
    assert message in refused(**more)


# no secret


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("postgresql://host/db", False),
        ("postgresql://user@host/db?sslmode=require&passfile=/x", False),
        ("postgresql://user:p@host/db", True),
        ("postgresql://user:p@ss/w@host/db", True),
        ("postgresql://host/db?password=p", True),
        ("postgresql://host/db?p%61ssword=p", True),
        ("postgresql://host/db?sslpassword=p", True),
        ("postgresql://host/db?SCRAM_client_key=p", True),
        ("redis://:p@host/0", True),
        ("redis://host:6379/0?prefix=token:x", False),
        ("https://host/x?access_token=p", True),
        ("jsonl:a:b@c", False),
    ],
)
def test_a_password_in_a_url_is_found(url: str, *, holds: bool) -> None:
    assert holds_password(Secret(url)) is holds


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"sink": f"postgresql://u:{PASSWORD}@host/db"}, "PGPASSWORD or ~/.pgpass"),
        ({"sink": ["jsonl:x", f"postgresql://host/db?password={PASSWORD}"]}, "PGPASSWORD"),
        ({"sink": Secret(f"mysql://:{PASSWORD}@host")}, "MYSQL_PWD"),
        ({"ledger": f"postgresql://u:{PASSWORD}@host/db"}, "PGPASSWORD or ~/.pgpass"),
        ({"token_store": f"rediss://:{PASSWORD}@host"}, "HARVESTER_REDIS_PASSWORD"),
        ({"base_url": f"https://u:{PASSWORD}@host"}, "remove it from the URL"),
    ],
)
def test_a_url_with_a_password_is_refused(more: dict[str, Any], place: str) -> None:
    with pytest.raises(UsageError) as caught:
        job(**more)
    assert str(caught.value).startswith(
        f"{next(iter(more))}: a job cannot hold a password; remove it"
    )
    assert place in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in frames(caught.value)


def frames(error: BaseException) -> str:
    """The frames of an error with their locals, less those of the tests."""
    shown = TracebackException.from_exception(error, capture_locals=True)
    theirs = [frame for frame in shown.stack if frame.filename != __file__]
    assert theirs
    return repr([frame.locals for frame in theirs])


def test_a_secret_is_read_where_the_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", PASSWORD)
    made = job()
    assert PASSWORD.encode() not in pickle.dumps(made)
    monkeypatch.delenv("HARVESTER_SECRET")
    with pytest.raises(UsageError, match="put it into the environment variable HARVESTER_SECRET"):
        made.run_sync()


# the file

FILE = """
endpoints = ["users", "mine"]
start = 2024-01-01
end = "2024-01-31"
accounts = "accounts.toml"
daily-quota = 500
rate = "10/s"
sink = ["jsonl:lines?compress=gzip", "sqlite:a.db", "postgresql://host/db", "memory:"]
token-store = "file:tokens/"
ledger = "postgresql://user@host/db"
lease = "30s"
json = true

[[interface]]
name = "mine"
path = "/datacube/mine"
first_day = 2020-01-01
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "harvester.toml"
    path.write_text(text)
    return path


def test_a_file_of_the_command_is_a_job(tmp_path: Path) -> None:
    made = Job.load(write(tmp_path, FILE))
    assert made == Job(
        endpoints=["users", "mine"],
        start="2024-01-01",
        end="2024-01-31",
        accounts=tmp_path / "accounts.toml",
        daily_quota=500,
        rate=Rate(10, 1.0),
        sink=[f"jsonl:{tmp_path}/lines?compress=gzip", f"sqlite:{tmp_path}/a.db",
              "postgresql://host/db", "memory:"],
        token_store=f"file:{tmp_path}/tokens/",
        ledger="postgresql://user@host/db",
        lease=30.0,
        out=tmp_path / "harvest",
        interfaces=[{"name": "mine", "path": "/datacube/mine", "first_day": "2020-01-01"}],
    )  # fmt: skip
    assert pickle.loads(pickle.dumps(made)) == made


def test_paths_start_from_where_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, f"endpoint = 'users'\nstart = '2024-01-01'\nend = 'yesterday'\nappid = '{A}'\n"
          "ca-file = 'ca.pem'\ntoken-store = 'file:~/tokens'\nout = '/elsewhere'\n"
          "ledger = 'sqlite:l.db'")  # fmt: skip
    made = Job.load("harvester.toml")
    assert made.out == "/elsewhere"
    assert made.options == {
        "ca_file": f"{tmp_path}/ca.pem",
        "token_store": "file:~/tokens",
        "ledger": f"sqlite:{tmp_path}/l.db",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no endpoint; a job needs endpoint, start and end"),
        ("endpoint = 'users'\nendpoints = 'users'", "endpoint is given twice, the second time as"),
        (f"{FILE}rte = 1", "interface 1: unknown key 'rte'"),
        (FILE.replace("rate =", "rte ="), "unknown key 'rte' (did you mean rate?)"),
        (FILE.replace("10/s", "fast"), "invalid rate 'fast': expected a number above 0"),
        (FILE.replace("/datacube/mine", "mine"), "interface 1: 'mine' is not a path"),
        (FILE.replace("users", "usres"), "there is no interface or group 'usres'"),
        (FILE.replace("//host", f"//u:{PASSWORD}@host"), "sink: a job cannot hold a password"),
        (FILE.replace("//user@", f"//user:{PASSWORD}@"), "ledger: a job cannot hold a password"),
    ],
)
def test_a_message_about_a_file_names_it(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        Job.load(path)
    assert str(caught.value).startswith(f"{path}")
    assert str(caught.value).count(str(path)) == 1
    assert message in str(caught.value)
    assert PASSWORD not in frames(caught.value)


# the run


def test_a_job_harvests_what_was_asked_for(
    wechat: Callable[..., Wechat], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    server = wechat()
    made = pickle.loads(pickle.dumps(job(
        endpoints="getarticlesummary", out=tmp_path, base_url=server.url, rate="5000/s",
    )))  # fmt: skip
    seen: list[harvester.Event] = []
    assert made.run_sync(on_event=seen.append).state == "complete"
    assert isinstance(seen[-1], events.Ended)
    assert_exactly_the_truth(stored(tmp_path), server.simulator, (A,), BEGIN, END)
    again = asyncio.run(made.run(stop=asyncio.Event()))
    assert (again.windows.skipped, again.windows.done) == (31, 0)


def test_a_loaded_job_has_the_accounts_of_its_file(
    wechat: Callable[..., Wechat], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WX_SECRET", "practice")
    server = wechat()
    (tmp_path / "a.csv").write_text(f"appid,secret\n{A},env:WX_SECRET\n{B},env:WX_SECRET\n")
    made = Job.load(write(tmp_path, f"""
        endpoint = "mine"
        start = 2024-01-01
        end = 2024-01-31
        accounts = "a.csv"
        base-url = "{server.url}"
        rate = "5000/s"
        [[interface]]
        name = "mine"
        path = "/datacube/getarticlesummary"
        first_day = 2014-12-01
    """))  # fmt: skip
    monkeypatch.chdir("/")
    assert made.run_sync().state == "complete"
    assert_exactly_the_truth(
        stored(tmp_path / "harvest", "mine"), server.simulator, (A, B), BEGIN, END
    )


def test_a_job_reads_no_key_of_an_export_and_a_run_does_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    monkeypatch.delenv("NOWHERE", raising=False)
    target = "parquet:s3://b/x?access_key=env:NOWHERE&secret_key=file:nowhere"
    made = job(export=target, out=str(tmp_path / "out"))
    assert made.options["export"] == (target,)
    with pytest.raises(UsageError, match="the environment variable NOWHERE is not set"):
        made.run_sync()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("table", ["artikles", "getusersummary_list"])
def test_tables_of_an_export_are_checked_before_the_run(table: str) -> None:
    assert f"there is no table {table!r}" in refused(export=[f"csv:x?tables=articles,{table}"])
    with pytest.raises(UsageError, match=f"there is no table '{table}'"):
        harvester.run_sync(
            harvester.Account(A, secret="practice"), "getusersummary", "2024-01-01", "2024-01-02",
            sink="memory:", export=f"duckdb:x.duckdb?tables={table}",
            transport=harvester.testing.FakeTransport(harvester.testing.Simulator()),
        )  # fmt: skip


def test_a_job_holds_exports_and_brings_them_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    assert job(export="csv:tables").options["export"] == ("csv:tables",)
    assert "is not a kind of export" in refused(export=["cvs:tables"])
    with Wechat(harvester.testing.Simulator()) as wechat:
        text = (
            f'endpoint = "getusersummary"\nstart = "2024-01-01"\nend = "2024-01-31"\nappid = "{A}"'
            f'\nrate = "1000/s"\nbase-url = "{wechat.url}"\nexport = ["csv:tables?header=zh"]\n'
        )
        made = Job.load(write(tmp_path, text))
        assert made.options["export"] == (f"csv:{tmp_path / 'tables'}?header=zh",)
        report = pickle.loads(pickle.dumps(made)).run_sync()
    assert report.state == "complete"
    assert (tmp_path / "tables" / "getusersummary.csv").exists()
