"""The examples, as a user would run them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from redis import Redis

import harvester
from harvester.testing import (
    SINK_CHECKS,
    FakeTransport,
    Simulator,
    account_with_figures,
    check_sink,
)
from tests.own_server import free_port
from tests.redis_server import PASSWORD, RedisServer
from tests.scenarios.command import Done, Start, until
from tests.support import ROOT, A, Wechat, as_multiset, bare, days, stored

pytestmark = pytest.mark.thorough

EXAMPLES = ROOT / "examples"
FASTAPI = EXAMPLES / "fastapi_application.py"


def _environment(wechat: Wechat, **more: str) -> dict[str, str]:
    mine = {"WX_APPID": A, "HARVESTER_SECRET": "practice", "WX_BASE_URL": wechat.url}
    return {**os.environ, **mine, "WX_RATE": "2000/s", **more}


def truth(wechat: Wechat, endpoint: str, begin: date, end: date) -> list[dict[str, Any]]:
    """What the account has, day by day."""
    return [
        row for day in days(begin, end) for row in wechat.simulator.truth_of(endpoint, A, day, day)
    ]


def multiset(rows: list[dict[str, Any]]) -> Counter[str]:
    return as_multiset((A, "", bare(row)) for row in rows)


def example(name: str, wechat: Wechat, *arguments: str | Path) -> Done:
    """A program of the examples, run to its end."""
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, timeout=60,
        encoding="utf-8", env=_environment(wechat, PYTHONIOENCODING="utf-8"), check=False,
    )  # fmt: skip


def test_the_stream_prints_every_day_and_channel(wechat: Start) -> None:
    server = wechat()
    there = [
        f"{row['ref_date']} {row['user_source']} {row['new_user']} {row['cancel_user']}"
        for row in truth(server, "getusersummary", date(2024, 1, 1), date(2024, 12, 31))
    ]
    result = example("stream.py", server)
    assert (result.returncode, sorted(result.stdout.splitlines())) == (0, sorted(there))


def test_an_error_of_the_stream_is_one_sentence(wechat: Start) -> None:
    result = example("stream.py", wechat(secret="another"))
    assert result.returncode == 1
    assert "the secret is wrong" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_table_of_iceberg_gets_the_months_that_have_changed(tmp_path: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    sink, uri = f"sqlite:{tmp_path}/users.db", f"sqlite:///{tmp_path}/catalog.sqlite"

    def harvested(begin: str, end: str, figure: int) -> list[dict[str, Any]]:
        wechat = Simulator(seed=figure)
        harvester.run_sync(
            harvester.Account(A, secret="practice"), "getusersummary", begin, end, sink=sink,
            transport=FakeTransport(wechat), rate="100000/s", refresh=True,
        ).raise_for_state()  # fmt: skip
        return harvester.read(sink, "getusersummary").read_all().to_pylist()

    def exported() -> tuple[str, list[dict[str, Any]]]:
        done = subprocess.run(
            [sys.executable, EXAMPLES / "iceberg_table.py", sink, "getusersummary", "2026-01",
             "--catalog", uri, "--warehouse", tmp_path / "warehouse"],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        catalog = SqlCatalog("default", uri=uri)
        rows = catalog.load_table("wechat.getusersummary").scan().to_arrow().to_pylist()
        catalog.close()
        return done.stdout.strip(), rows

    def ordered(rows: list[dict[str, Any]]) -> list[str]:
        return sorted(map(str, rows))

    wanted = harvested("2026-01-20", "2026-03-05", 1)
    said, rows = exported()
    assert said == "written: 2026-01, 2026-02, 2026-03"
    assert ordered(rows) == ordered(wanted)
    assert exported()[0] == "written: nothing, no month has changed"
    time.sleep(1.1)  # a record is fetched at a whole second
    wanted = harvested("2026-02-10", "2026-02-11", 2)
    said, rows = exported()
    assert said == "written: 2026-02"
    assert ordered(rows) == ordered(wanted)


def test_a_source_of_dlt_goes_on_where_it_ended_and_replaces_days(
    wechat: Start, tmp_path: Path
) -> None:
    import duckdb

    server, database = wechat(), tmp_path / "wechat.duckdb"
    asked = []
    for end in ("2026-01-20", "2026-01-31"):
        done = subprocess.run(
            [sys.executable, EXAMPLES / "dlt_source.py", database, "2026-01-01", end],
            capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
            env=_environment(server, HOME=str(tmp_path), RUNTIME__DLTHUB_TELEMETRY="false"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        asked.append(server.simulator.counts["data"])
    assert 0 < asked[1] - asked[0] < 42  # a call a day of articles; the second load has 42 of them
    with duckdb.connect(str(database), read_only=True) as loaded:
        rows = loaded.sql("SELECT ref_date, user_source, new_user FROM datacube.getusersummary")
        month = truth(server, "getusersummary", date(2026, 1, 1), date(2026, 1, 31))
        wanted = [(row["ref_date"], row["user_source"], row["new_user"]) for row in month]
        assert sorted(rows.fetchall()) == sorted(wanted)
        items = "datacube.getarticletotaldetail__detail_list"
        [(found,)] = loaded.sql(f"SELECT count(*) FROM {items}").fetchall()
    articles = truth(server, "getarticletotaldetail", date(2026, 1, 1), date(2026, 1, 31))
    assert found == sum(len(row["detail_list"]) for row in articles) > 100


def test_datasette_shows_the_tables_and_queries_of_its_file(tmp_path: Path) -> None:
    import yaml

    fake, database = account_with_figures(), tmp_path / "users.db"
    harvester.run_sync(
        fake.account, "users", fake.start, fake.end, sink=f"sqlite:{database}",
        transport=fake.transport,
    ).raise_for_state()  # fmt: skip
    file = EXAMPLES / "datasette.yaml"
    told = yaml.safe_load(file.read_text(encoding="utf-8"))["databases"]["users"]["tables"]
    with closing(sqlite3.connect(database)) as opened:
        for table, about in told.items():
            found = [row[1] for row in opened.execute(f"PRAGMA table_info({table})")]
            named = {*about.get("columns", ()), *about.get("facets", ())}
            assert found, table
            assert named <= {*found}, table

    def got(path: str) -> Any:
        done = subprocess.run(
            [Path(sys.executable).with_name("datasette"), database, "--metadata", file,
             "--get", path],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    shown = {each["name"] for each in got("/users.json")["tables"] if not each["hidden"]}
    assert shown == {"getusersummary", "getusercumulate"}
    truth = fake.records("getusersummary")
    gained, lost = (sum(row[name] for row in truth) for name in ("new_user", "cancel_user"))
    rows = got("/users/growth_by_month.json?_shape=array")
    assert rows == [
        {"_appid": fake.account.appid, "month": "2026-01", "gained": gained, "lost": lost}
    ]


def own_records(path: Path) -> list[dict[str, Any]]:
    """What stands in the table of the example's sink."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT lines FROM windows").fetchall()
    return [json.loads(line) for (lines,) in found for line in lines.splitlines()]


def test_the_own_sink_keeps_the_records_and_resumes(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    for said in ("complete 13 windows", "complete 0 windows"):
        result = example("own_sink.py", server, tmp_path / "windows.db")
        assert (result.returncode, result.stdout[: len(said)]) == (0, said)
    first_quarter = truth(server, "getusersummary", date(2024, 1, 1), date(2024, 3, 31))
    assert multiset(own_records(tmp_path / "windows.db")) == multiset(first_quarter)


def test_the_redis_sink_adds_each_record_to_the_stream_once_and_resumes(
    wechat: Start, redis: RedisServer, tmp_path: Path
) -> None:
    server, key = wechat(), str(tmp_path / "records")
    for said in ("complete 13 windows", "complete 0 windows"):
        result = example("redis_sink.py", server, redis.url, key)
        assert (result.returncode, result.stdout[: len(said)]) == (0, said)
        assert PASSWORD not in (tmp_path / "records.ledger").read_bytes().decode(errors="replace")
    with Redis.from_url(redis.url) as client:
        entries: Any = client.xrange(key)
    first_quarter = truth(server, "getusersummary", date(2024, 1, 1), date(2024, 3, 31))
    records = [json.loads(entry[b"record"]) for _, entry in entries]
    assert multiset(records) == multiset(first_quarter)
    assert len({entry[b"id"] for _, entry in entries}) == len(entries)


class Bitable(BaseHTTPRequestHandler):
    """A table of Feishu Bitable, as its pages describe the calls."""

    rows: ClassVar[dict[str, dict[str, Any]]] = {}
    sizes: ClassVar[list[int]] = []
    is_busy: ClassVar[bool] = False

    def do_POST(self) -> None:
        """Answer a call."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = self.path.partition("?")[0].rpartition("/")[2]
        if call == "internal":
            assert body == {"app_id": "cli_x", "app_secret": "s3cret"}
            return self._answer(tenant_access_token="t-1", expire=7200)
        assert self.headers["Authorization"] == "Bearer t-1"
        assert self.path.startswith("/open-apis/bitable/v1/apps/app/tables/tbl/records/")
        return self._answer(data=getattr(self, f"_{call}")(body))

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        begin = int(dict(parse_qsl(urlsplit(self.path).query)).get("page_token", 0))
        items = [
            {
                "record_id": name,
                "fields": {
                    each: [{"text": row[each], "type": "text"}] for each in body["field_names"]
                },
            }
            for name, row in list(self.rows.items())[begin : begin + 20]  # small pages
        ]
        more = begin + 20 < len(self.rows)
        return {"items": items, "has_more": more, "page_token": str(begin + 20)}

    def _batch_delete(self, body: dict[str, Any]) -> dict[str, Any]:
        assert 0 < len(body["records"]) <= 500
        for name in body["records"]:
            del self.rows[name]
        return {}

    def _batch_create(self, body: dict[str, Any]) -> dict[str, Any] | None:
        self.sizes.append(len(body["records"]))
        made = {f"rec{time.monotonic_ns()}": each["fields"] for each in body["records"]}
        self.rows.update(made)
        return None if self.is_busy else {"records": [{"record_id": name} for name in made]}

    def _answer(self, **more: Any) -> None:
        busy = more.get("data", {}) is None
        found = {"code": 1254290, "msg": "busy"} if busy else {"code": 0, **more}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_feishu_sink_has_each_record_once_also_after_an_interruption(
    wechat: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = wechat()
    truth_of = truth(server, "getusersummary", date(2024, 1, 1), date(2024, 3, 31))
    wanted = sorted((row["ref_date"], row["user_source"], row["new_user"]) for row in truth_of)
    feishu = ThreadingHTTPServer(("127.0.0.1", 0), Bitable)
    threading.Thread(target=feishu.serve_forever, daemon=True).start()
    monkeypatch.setenv("FEISHU_BASE_URL", f"http://127.0.0.1:{feishu.server_port}")
    monkeypatch.setenv("FEISHU_APP_ID", "cli_x")
    monkeypatch.setenv("FEISHU_APP_SECRET", "s3cret")
    monkeypatch.chdir(tmp_path)
    with closing(feishu.socket):
        monkeypatch.setattr(Bitable, "is_busy", True)  # it stores the rows all the same
        failed = example("feishu_sink.py", server, "app", "tbl")
        assert failed.returncode == 1
        assert "Feishu answered 1254290: busy" in failed.stderr
        assert Bitable.rows
        monkeypatch.setattr(Bitable, "is_busy", False)
        for said in ("complete 13 windows", "complete 0 windows"):
            done = example("feishu_sink.py", server, "app", "tbl")
            assert (done.returncode, done.stdout[: len(said)]) == (0, said), done.stderr
            found = [
                (row["day"], row["user_source"], row["new_user"]) for row in Bitable.rows.values()
            ]
            assert sorted(found) == wanted
        feishu.shutdown()
    assert 0 < max(Bitable.sizes) <= 1000
    assert len(Bitable.sizes) <= 4  # calls that write: not one for each window
    assert {row["account"] for row in Bitable.rows.values()} == {A}


@pytest.mark.parametrize("name", SINK_CHECKS)
def test_the_own_sink_keeps_every_promise(name: str, tmp_path: Path) -> None:
    made = importlib.util.spec_from_file_location("own_sink", EXAMPLES / "own_sink.py")
    assert made is not None
    assert made.loader is not None
    own_sink = importlib.util.module_from_spec(made)
    made.loader.exec_module(own_sink)
    asyncio.run(
        check_sink(
            lambda name: own_sink.Windows(tmp_path / name),
            lambda name: own_records(tmp_path / name),
            only=name,
        )
    )


CANCELLING = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
import web_application
async def finish(self):
    self._task.cancel()
    await asyncio.wait([self._task])
web_application.Harvest.finish = finish
web_application.web.run_app(
    web_application.application(), host="127.0.0.1", port=int(os.environ["PORT"])
)
"""
"""The same application, for one who does not wait for what is in flight."""


class Application:
    """A web application, started anew for each life of it."""

    def __init__(self, wechat: Wechat, folder: Path, *arguments: str | Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/harvest"
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", *arguments],
            env=_environment(wechat, PORT=str(port), WX_OUT=str(folder)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, query: str = "", method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.url}{query}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def ready(self) -> None:
        """Wait until it serves."""
        while self.process.poll() is None:
            try:
                assert self.ask() == {"state": "idle"}
                break
            except urllib.error.URLError:
                time.sleep(0.05)

    def start(self, begin: str, end: str) -> None:
        """Wait until it serves, and have it harvest."""
        self.ready()
        assert self.ask(f"?start={begin}&end={end}", "POST") == {"started": True}


@contextmanager
def application(wechat: Wechat, folder: Path, *arguments: str | Path) -> Iterator[Application]:
    """An application until SIGTERM ends it, in order and with nothing left behind."""
    app = Application(wechat, folder, *arguments)
    try:
        yield app
    finally:
        app.process.terminate()
        _, err = app.process.communicate(timeout=20)
    fastapi = FASTAPI in arguments
    assert app.process.returncode in ((0, -signal.SIGTERM) if fastapi else (0,)), err
    for trouble in ("Traceback", "nclosed", *(() if fastapi else ("never", "destroyed"))):
        assert trouble not in err, err


@pytest.mark.parametrize("name", ["web_application.py", FASTAPI.name])
def test_a_web_application_harvests_in_the_background_and_shuts_down_cleanly(
    wechat: Start, tmp_path: Path, name: str
) -> None:
    server = wechat(latency=0.2)
    with application(server, tmp_path, EXAMPLES / name) as app:
        app.start("2025-11-01", "2026-10-31")
        until(lambda: server.simulator.counts["data"] >= 6)
        assert app.ask()["state"] == "running"
        with pytest.raises(urllib.error.HTTPError, match="409"):
            app.ask("?start=2026-01-01&end=2026-01-02", "POST")
    # What was asked for before the end is stored: nothing was thrown away.
    done = sorted(day for _, _, day, _ in server.simulator.served_of)
    assert len(done) == server.simulator.counts["data"] < 365
    assert done == days(done[0], date(2026, 10, 31))
    rows = stored(tmp_path, "getarticleread")
    assert multiset(rows) == multiset(truth(server, "getarticleread", done[0], done[-1]))


@pytest.mark.parametrize("how", ["stopped", "cancelled"])
def test_an_application_goes_on_after_sigterm(wechat: Start, tmp_path: Path, how: str) -> None:
    server = wechat(latency=0.1)
    script = [EXAMPLES / "web_application.py"]
    if how == "cancelled":
        script = ["-c", CANCELLING, EXAMPLES]
    for life in range(3):
        enough = server.simulator.counts["data"] + 3
        with application(server, tmp_path, *script) as app:
            app.start("2026-01-01", "2026-01-12")
            if life < 2:
                until(lambda n=enough: server.simulator.counts["data"] >= n)
            else:
                until(lambda one=app: one.ask()["state"] != "running")
                assert app.ask()["state"] == "complete"
    there = truth(server, "getarticleread", date(2026, 1, 1), date(2026, 1, 12))
    assert multiset(stored(tmp_path, "getarticleread")) == multiset(there)
    if how == "stopped":
        assert set(server.simulator.served_of.values()) == {1}
