"""The [serve] table: what it takes, and what is said of what it does not take."""

from __future__ import annotations

import re
import shutil
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from harvester.config.files import read_config
from harvester.config.service import Address, ServiceOptions, read_service
from harvester.errors import UsageError
from harvester.service.serve import Setup
from tests.support import ROOT


def test_nothing_need_be_given() -> None:
    assert read_service({}, "f") == ServiceOptions()


def test_all_of_it() -> None:
    table = {
        "at": "9:30", "listen": "[::1]:80", "stale_after": "30h", "alerts": ["env:A", "file:b"],
        "ping": "env:P", "token": "file:/t", "lang": "zh", "url": "https://h.example",
    }  # fmt: skip
    assert read_service(table, "f") == ServiceOptions(
        time(9, 30), Address("::1", 80), 108_000.0, ("env:A", "file:b"), "env:P", "file:/t", "zh",
        "https://h.example",
    )  # fmt: skip
    assert read_service({"stale-after": "2d", "alerts": "env:A"}, "f").alerts == ("env:A",)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"alert": []}, "[serve] has no key 'alert' (did you mean alerts?)"),
        ({"at": "8.05"}, 'expected a time in China, for example "08:05"'),
        ({"at": "25:00"}, "expected a time in China"),
        ({"at": 8}, "expected a time in China"),
        ({"at": "07:59"}, "WeChat has the figures of a day from 08:00"),
        ({"listen": "8605"}, "expected HOST:PORT"),
        ({"listen": "::1:8605"}, "in brackets"),
        ({"listen": "127.0.0.1:99999"}, "expected HOST:PORT"),
        ({"listen": "http://127.0.0.1:1"}, "IPv6 address"),
        ({"stale_after": 26}, 'expected a duration with its unit, for example "26h"'),
        ({"stale_after": "26"}, 'expected a duration with its unit, for example "26h"'),
        ({"stale_after": "soon"}, "expected a duration"),
        ({"alerts": ["env:A", "env:A"]}, "a reference is given twice"),
        ({"lang": "fr"}, "expected zh or en"),
        ({"url": "https://me:p4ss@host"}, "expected a URL without a password"),
        ({"listen": "0.0.0.0:8605"}, "can be reached from other machines, so a token is needed"),
        ({"listen": "harvester.local:1"}, "so a token is needed"),
    ],
)
def test_what_is_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_service(table, "h.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("h.toml: ")


@pytest.mark.parametrize("name", ["alerts", "ping", "token"])
def test_a_secret_in_the_place_of_a_reference_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(
        UsageError, match="a secret must be a reference: env:NAME or file:PATH"
    ) as caught:
        read_service({name: "wecombot://s3cr3t"}, "h.toml")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("listen", ["localhost:1", "127.0.0.1:1", "127.8.0.1:1", "[::1]:1"])
def test_this_machine_needs_no_token(listen: str) -> None:
    assert read_service({"listen": listen}, "f").listen.is_loopback


def test_other_machines_with_a_token() -> None:
    assert not read_service({"listen": "0.0.0.0:1", "token": "env:T"}, "f").listen.is_loopback


def test_other_commands_read_a_file_with_the_table(tmp_path: Path) -> None:
    (tmp_path / "h.toml").write_text('rate = "1/s"\n[serve]\nat = "08:05"\n')
    assert read_config(tmp_path / "h.toml")["serve"] == {"at": "08:05"}
    (tmp_path / "h.toml").write_text("serve = 1")
    with pytest.raises(UsageError, match=r"write \[serve\]"):
        read_config(tmp_path / "h.toml")


@pytest.mark.thorough
def test_the_example_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = ROOT / "examples" / "harvester.toml"
    shutil.copy(example, tmp_path)
    (tmp_path / "accounts.toml").write_text('[[account]]\nappid = "wx1"\nsecret = "env:SECRET"\n')
    for name in ("SECRET", "PAGES_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("ALERT_URL", "json://localhost/secret")
    monkeypatch.setenv("PING_URL", "https://localhost/secret")
    setup = Setup.load(tmp_path / "harvester.toml")
    assert (len(setup.accounts), setup.lang, setup.options.at) == (1, "zh", time(8, 5))
    text = (tmp_path / "harvester.toml").read_text()
    without_comments = re.sub(r"(?m)^# (?=\w+ = )", "", text)
    (tmp_path / "harvester.toml").write_text(without_comments)
    setup = Setup.load(tmp_path / "harvester.toml")
    assert setup.token is not None
    assert len(setup.job.sink) == 1


def test_the_example_with_monitoring_can_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ROOT / "examples" / "monitoring"
    text = (folder / "harvester.toml").read_text()
    (tmp_path / "harvester.toml").write_text(text.replace("/etc/harvester/", ""))
    shutil.copy(folder / "accounts.toml.example", tmp_path / "accounts.toml")
    for name in ("SERVE_TOKEN", "WX_A_SECRET"):
        monkeypatch.setenv(name, "secret")
    setup = Setup.load(tmp_path / "harvester.toml")
    assert not setup.options.listen.is_loopback
    assert setup.token is not None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('end = "2024-01-31"', 'the service harvests one more day every day; write "yesterday"'),
        ("wait = true", "the service cannot use wait: the service runs again automatically"),
        ("refresh = true", "the service cannot use refresh"),
        ('sink = ["-"]', "nothing reads its output"),
        ('[serve]\nping = "env:NOTHING"', "[serve] ping: the environment variable NOTHING is not"),
    ],
)
def test_a_run_that_a_service_cannot_repeat_is_refused(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "s")
    values = {
        "endpoint": '"users"',
        "start": '"2024-01-01"',
        "end": '"yesterday"',
        "appid": '"wx1"',
    }
    values.pop(line.partition(" ")[0], None)
    lines = [f"{name} = {value}" for name, value in values.items()]
    (tmp_path / "h.toml").write_text("\n".join([*lines, line]))
    with pytest.raises(UsageError) as caught:
        Setup.load(tmp_path / "h.toml")
    assert said in str(caught.value)


def test_the_environment_overrides_the_file_and_is_named_where_it_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "s")
    (tmp_path / "h.toml").write_text(
        'endpoint = "users"\nstart = "2024-01-01"\nend = "yesterday"\nappid = "wx1"\nout = "x"\n'
    )
    assert Setup.load(tmp_path / "h.toml").job.out == str(tmp_path / "x")
    monkeypatch.setenv("HARVESTER_OUT", str(tmp_path / "y"))
    assert Setup.load(tmp_path / "h.toml").job.out == str(tmp_path / "y")
    monkeypatch.setenv("HARVESTER_WAIT", "yes")
    with pytest.raises(
        UsageError, match=r"h\.toml with HARVESTER_\w+, HARVESTER_\w+: the service cannot use wait"
    ):
        Setup.load(tmp_path / "h.toml")
