"""Harvests by the command, over HTTP, into files; what stands there is compared with the truth."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import harvester
from harvester.cli.commands import invoke
from harvester.testing import Simulator
from harvester.testing.simulator import Reply
from tests.chaos.crash.sinks import SINKS, differences, stored, text
from tests.support import A, Wechat, command, days, environment

NAME = "getarticlesummary"
BEGIN, END = date(2024, 1, 1), date(2024, 1, 31)


class Sudden(Simulator):
    """A WeChat that has something done before its twentieth data answer."""

    happens: Callable[[], object] | None = None

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        if self.counts["data"] == 19 and self.happens is not None:
            happens, self.happens = self.happens, None
            time.sleep(0.6)  # in which what came until now is committed
            happens()
        return super().handle(method, path, query, body)


def job(
    wechat: Wechat,
    home: Path,
    sink: str = "jsonl",
    rate: str = "10000/s",
    *,
    appids: Sequence[str] = (A,),
    begin: date = BEGIN,
    end: date = END,
) -> list[str]:
    """The command's arguments."""
    accounts = ["--appid", *appids]
    if len(appids) > 1:
        path = home.parent / "accounts.toml"
        table = '[[account]]\nappid = "{}"\nsecret = "env:HARVESTER_SECRET"\n'
        path.write_text("".join(map(table.format, appids)))
        accounts = ["--accounts", str(path)]
    return [
        "run", NAME, *accounts, "--start", str(begin), "--end", str(end), "--base-url", wechat.url,
        "--rate", rate, "--out", str(home), "--sink", SINKS[sink].spec.format(home), "--json",
    ]  # fmt: skip


def started(todo: Sequence[str], until: Callable[[], bool]) -> subprocess.Popen[str]:
    """The command as a process that has come so far."""
    process = subprocess.Popen(
        command(*todo),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not until() and process.poll() is None:
        time.sleep(0.005)
    return process


def assert_the_truth(
    wechat: Wechat,
    home: Path,
    sink: str = "jsonl",
    *,
    appids: Sequence[str] = (A,),
    begin: date = BEGIN,
    end: date = END,
    whole: bool = True,
    killed: bool = False,
) -> None:
    """What is stored is what WeChat gave, once, and all of it, if it is whole.

    killed: it is read with the ledger, since no run has removed yet what was not committed.
    """
    kind = "sqlite" if killed else sink  # all that is read with the ledger has columns
    truth = Counter(
        text(kind, appid, NAME, record)
        for appid in appids
        for day in days(begin, end)
        for record in wechat.simulator.truth(appid, day)
    )
    if killed:
        rows = harvester.read(home, NAME).read_all().to_pylist()
        found = Counter(text(kind, row["_appid"], NAME, row) for row in rows)
    else:
        found = stored(sink, home)
    wrong = differences(found, truth, whole=whole)
    assert not wrong, wrong[:3]
    assert invoke(["verify", "--out", str(home)]) == 0
