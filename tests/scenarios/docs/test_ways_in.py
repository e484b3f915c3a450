"""The three ways in: the blocks of each page are run against `harvester simulate`.

A page is a session of one user in one folder.  Only what a reader has and a test has not is
replaced: the secret, the server, and the port.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import openpyxl
import pytest

from tests.cli.test_simulate import simulating
from tests.support import ROOT, environment

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
DOCS = ROOT / "docs"
BASE_URL = """
import os
import harvester.api
harvester.api.BASE_URL = os.environ["TESTED_URL"]
"""
"""The default of a program's ``base_url``: a program of a page asks WeChat itself."""


ANSWERS = "wx0123456789abcdef\npractice\nusers\nyesterday-90d\n"
"""What the reader of spreadsheet.md or windows.md answers to `init`."""


class Block(NamedTuple):
    """A block of code of a page."""

    language: str
    text: str


class Session:
    """A folder with the commands `harvester` and `python`, and what was run in it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        programs = folder / "programs"
        programs.mkdir()
        for name, line in (("harvester", '-m harvester "$@"'), ("python", '"$@"')):
            program = programs / name
            program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {line}\n")
            program.chmod(0o755)
        (programs / "sitecustomize.py").write_text(BASE_URL)
        path = os.pathsep.join([str(programs), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.env = environment(
            PATH=f"{programs}:{os.environ['PATH']}", PYTHONPATH=path, HOME=str(folder),
            TESTED_URL=url, HARVESTER_BASE_URL=url, HARVESTER_RATE="100/s", HARVESTER_LANG="en",
        )  # fmt: skip
        self.exported = ""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"

    def shell(self, text: str) -> str:
        """Run a block of shell; variables that it exports stay for later ones."""
        text = text.replace("=…", "=practice")
        self.exported += "".join(
            f"{line}\n" for line in text.splitlines() if line.startswith("export ")
        )
        done = self._run("bash", "-euc", self.exported + text)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def program(self, text: str) -> str:
        """Run a program of Python."""
        done = self._run(sys.executable, "-W", "error", "-c", text)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def file(self, text: str) -> None:
        """Write a file, whose name its first line has as a comment."""
        name = re.match(r"# ([\w.]+)\n", text)
        assert name, "a block of TOML begins with the name of its file"
        server = f'base-url = "{self.url}"\nrate = "100/s"\n' if name[1] == "harvester.toml" else ""
        text = text.replace("127.0.0.1:8605", self.listen)
        (self.folder / name[1]).write_text(server + text, encoding="utf-8")

    def service(self, text: str) -> None:
        """Start the service, see that it answers, and end it."""
        command = ["bash", "-euc", f"{self.exported}exec {text}"]
        with subprocess.Popen(command, cwd=self.folder, env=self.env) as process:
            try:
                assert self._answer() == 200
            finally:
                process.send_signal(signal.SIGTERM)
                status = process.wait(30)
        assert status == 0

    def _answer(self) -> int:
        until = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.listen}/healthz", timeout=5) as answer:
                    return int(answer.status)
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=100,
            check=False, input=ANSWERS,
        )  # fmt: skip


def played(page: str, folder: Path) -> list[str]:
    """Run all blocks of a page, one after the other; gives what each has printed."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```") / 2
    printed = []
    with simulating() as (url, _):
        session = Session(folder, url)
        for block in map(Block._make, found):
            match block.language:
                case "sh" if block.text.startswith("harvester serve"):
                    session.service(block.text)
                case "sh":
                    printed.append(session.shell(block.text))
                case "python":
                    printed.append(session.program(block.text))
                case "toml":
                    session.file(block.text)
                case "powershell" | "text" if page == "windows.md":
                    pass  # commands of Windows, and of its Linux: packages and the desktop
                case _:
                    assert block.text.startswith("CRON_TZ="), block  # the one that is not run
    return printed


def test_an_analyst_has_a_workbook_tables_and_a_frame(tmp_path: Path) -> None:
    harvested, exported, frame = played("spreadsheet.md", tmp_path)
    assert "1 of 1 account usable" in harvested
    for name, sheet, title in (
        ("harvest.xlsx", "getusersummary", "new_user"),
        ("关注.xlsx", "用户增减", "新增关注人数"),
    ):
        book = openpyxl.load_workbook(tmp_path / name, read_only=True)
        rows = list(book[sheet].iter_rows(values_only=True))
        book.close()
        assert title in rows[0]
        assert len({row[1] for row in rows[1:]}) == 90 + 1
    assert "csv:tables" in exported
    for name in ("getusersummary", "getusercumulate"):
        with (tmp_path / "tables" / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.DictReader(file))) >= 91
    assert "ref_date" in frame
    assert "7, 2" in frame


def test_who_comes_from_windows_has_a_workbook(tmp_path: Path) -> None:
    harvested, status = played("windows.md", tmp_path)
    assert "1 of 1 account usable" in harvested
    assert (tmp_path / "wechat" / "harvest.xlsx").exists()
    assert "getusersummary" in status


def test_an_operator_has_two_accounts_harvested_and_a_service(tmp_path: Path) -> None:
    tried, acted = played("every-morning.md", tmp_path)
    assert "Teahouse" in tried
    assert "Bookshop" in tried
    assert "getusersummary" in acted
    with sqlite3.connect(tmp_path / "wechat.db") as database:
        [(accounts,)] = database.execute("SELECT count(DISTINCT _appid) FROM getusersummary")
    database.close()
    assert accounts == 2


def test_a_developer_streams_stores_reads_and_tests(tmp_path: Path) -> None:
    printed = played("in-an-application.md", tmp_path)
    assert [re.sub(r"\d+", "N", each).strip() for each in printed] == [
        "N new followers",
        "N records stored",
        "\n".join(["N-N-N N"] * 31),  # March
        "N requests were sent again",
    ]


def test_the_example_of_the_readme_is_tried_without_an_account_as_it_stands(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [example, *_] = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    [secret] = re.findall(r"`HARVESTER_SECRET=(\w+)`", readme)
    assert "`HARVESTER_BASE_URL=http://127.0.0.1:8765`" in readme
    with simulating() as (url, _):
        tried = environment(HARVESTER_SECRET=secret, HARVESTER_BASE_URL=url)
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=tmp_path, env=tried, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
    assert re.fullmatch(r"\d{4,} records in users\.db\n", done.stdout)
    assert done.stderr == ""
