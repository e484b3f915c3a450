"""`harvester simulate` as a process: what a user practises with."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from harvester.base.dates import CHINA
from tests.support import command, environment, harvest, stored

pytestmark = pytest.mark.thorough

GRANT = {"grant_type": "client_credential", "appid": "wx1", "secret": "practice"}


@contextmanager
def simulating(*options: str) -> Iterator[tuple[str, list[str]]]:
    """The URL and the lines that follow it; the process must end well when it is asked to."""
    with subprocess.Popen(
        command("simulate", "--port", "0", *options), stdout=subprocess.PIPE, text=True,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        if "--component" in options:
            lines += [process.stdout.readline().strip() for _ in range(3)]
        try:
            yield lines[0], lines[1:]
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(10)
    assert status == 0


def post(url: str, path: str, given: dict[str, str], **query: str) -> dict[str, Any]:
    where = f"{url}{path}?{urlencode(query)}"
    request = urllib.request.Request(where, json.dumps(given).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def asker(url: str) -> Callable[[str, str, str], dict[str, Any]]:
    """What asks for statistics, with a token of its own."""
    token = post(url, "/cgi-bin/stable_token", GRANT)["access_token"]

    def ask(name: str, begin: str, end: str) -> dict[str, Any]:
        days = {"begin_date": begin, "end_date": end}
        return post(url, f"/datacube/{name}", days, access_token=token)

    return ask


def test_a_span_of_ones_own_is_kept() -> None:
    with simulating("--span", "getusersummary=2", "--span", "getusercumulate=1") as (url, _):
        ask = asker(url)
        asked = [
            ("getusersummary", 2), ("getusersummary", 3), ("getusercumulate", 2),
            ("getinterfacesummary", 9),
        ]  # fmt: skip
        codes = [ask(name, "2024-01-01", f"2024-01-0{last}").get("errcode") for name, last in asked]
    assert codes == [None, 61501, 61501, None]


def test_the_command_that_is_suggested_works(tmp_path: Path) -> None:
    with simulating("--retired") as (_, lines):
        assert "getarticlesummary" not in lines[1]
        words = shlex.split(lines[1])
        start = words.index("run")
        result = harvest(*words[start:], "--rate", "100/s", cwd=tmp_path)
    assert (words[0], result.returncode) == ("HARVESTER_SECRET=practice", 0), result.stderr
    for endpoint in ("getusersummary", "getusercumulate"):
        days = {row["ref_date"] for row in stored(tmp_path / "practice", endpoint)}
        assert len(days) == 91


def test_a_day_can_be_made_silent_and_fields_left_out() -> None:
    with simulating("--silent-hours", "240", "--sparse") as (url, _):
        ask = asker(url)
        rows = ask("getusercumulate", "2024-01-01", "2024-01-02")["list"]
        assert ["user_source" in row for row in rows] == [False, True]
        last = (datetime.now(CHINA).date() - timedelta(days=3)).isoformat()
        assert ask("getusercumulate", last, last) == {"list": []}


def test_a_platform_is_told_what_it_needs_to_practise() -> None:
    with simulating("--component", "wxcomponent1", "--delay-until-hour", "9.5") as (url, lines):
        ticket = lines[-3].rpartition("ticket ")[2]
        appid, _, refresh = lines[-1].removeprefix("refresh token of ").partition(": ")
        me = {"component_appid": "wxcomponent1"}
        mine = {**me, "component_appsecret": "practice", "component_verify_ticket": ticket}
        token = post(url, "/cgi-bin/component/api_component_token", mine)["component_access_token"]
        theirs = {**me, "authorizer_appid": appid, "authorizer_refresh_token": refresh}
        path = "/cgi-bin/component/api_authorizer_token"
        answer = post(url, path, theirs, component_access_token=token)
    assert answer["authorizer_refresh_token"] == refresh
    assert answer["expires_in"] == 7200


@pytest.mark.parametrize(
    "span", ["getusersummary", "getusersummary=x", "nothing=3", "getuserread=0"]
)
def test_a_span_that_makes_no_sense_is_told_in_a_sentence(span: str) -> None:
    result = harvest("simulate", "--port", "0", "--span", span)
    assert result.returncode == 2
    assert result.stderr.startswith("harvester: --span")
    assert result.stderr.count("\n") == 1
