"""``harvester check``: a row for each account, from one call of each interface."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import terminal
from harvester.cli.commands import invoke
from harvester.testing import Faults
from tests.scenarios.command import Start, asked
from tests.scenarios.conftest import Jobs
from tests.support import A, B, harvest

E, OTHER = "getusersummary", "getusercumulate"
Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def wx(number: int) -> str:
    return f"wx{number:016x}"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: Patch) -> Path:
    """An empty directory, a good secret, and a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def listed(*appids: str, secret: str = "env:HARVESTER_SECRET") -> list[str]:
    """The option that names a new file of accounts."""
    rows = [f"{appid},{secret},Name of {appid[-1]}" for appid in appids]
    Path("accounts.csv").write_text("\n".join(["appid,secret,name", *rows, ""]))
    return ["--accounts", "accounts.csv"]


def checked(capsys: Capture, url: str, *arguments: str, status: int) -> dict[str, Any]:
    """What the command finds, as JSON."""
    given = ["check", *arguments, "--base-url", url, "--rate", "1000/s", "--json"]
    assert invoke(given) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.mark.thorough
def test_an_account_that_may_do_all_is_usable(wechat: Start, capsys: Capture) -> None:
    server = wechat(daily_quota=500)
    found = checked(capsys, server.url, "users", "messages", "--appid", A, status=0)
    [account] = found["accounts"]
    assert (found["state"], account["state"], account["to_do"]) == ("usable", "usable", [])
    assert (account["token"], account["allow_list"]) == ("ok", "ok")
    assert (account["calls_left"], len(account["interfaces"])) == (500, 9)
    assert {each["state"] for each in account["interfaces"]} == {"usable"}
    assert server.simulator.counts["data"] == 9
    assert not any(Path().iterdir())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("how", "expected", "status"),
    [
        (
            {"refuse_token": {A: 40164}},
            {"token": "none", "allow_list": "missing", "ip": "203.0.113.7", "kind": "ip"},
            1,
        ),
        (
            {"refuse": {A: 61004}},
            {"token": "ok", "allow_list": "missing", "ip": "203.0.113.7", "kind": "ip"},
            1,
        ),
        (
            {"refuse_token": {A: 40125}},
            {"token": "none", "allow_list": "unknown", "ip": None, "kind": "secret"},
            1,
        ),
        ({"refuse": {(A, E): 48001}}, {"token": "ok", "kind": "permission"}, 1),
        ({"refuse": {A: 48001}}, {"token": "ok", "allow_list": "ok", "kind": "permission"}, 1),
        ({"refuse": {A: 50002}}, {"token": "ok", "kind": "frozen"}, 1),
        ({"refuse": {(A, E): 47009}}, {"token": "ok", "kind": "retired"}, 1),
        ({"refuse": {A: 40066}}, {"token": "ok", "kind": "refused"}, 1),
        ({"refuse": {A: 40001}}, {"token": "none", "kind": "token"}, 1),
        ({"refuse": {A: 45009}}, {"state": "waiting", "kind": "quota"}, 3),
        ({"daily_quota": 0}, {"state": "waiting", "kind": "quota"}, 3),
        ({"refuse": {A: 61503}}, {"state": "usable", "kind": None}, 0),
        ({"refuse": {A: -1}}, {"state": "unknown", "kind": "retry"}, 1),
        ({"faults": Faults(http_500=1.0)}, {"state": "unknown", "kind": "retry"}, 1),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do_after_one_call_an_interface(
    wechat: Start, capsys: Capture, how: dict[str, Any], expected: dict[str, Any], status: int
) -> None:
    server = wechat(**how)
    found = checked(capsys, server.url, E, OTHER, "--appid", A, status=status)
    [account] = found["accounts"]
    kinds = [each["kind"] for each in account["to_do"]]
    kind = expected.pop("kind")
    assert kinds == ([kind] if kind else [])
    assert {name: account[name] for name in expected} == expected
    assert all(each["text"] and each["advice"] for each in account["to_do"])
    assert server.simulator.counts["data"] <= 2


@pytest.mark.thorough
def test_a_token_that_was_void_costs_no_second_call(wechat: Start, capsys: Capture) -> None:
    store = ["--token-store", "file:tokens"]
    checked(capsys, wechat().url, E, "--appid", A, *store, status=0)
    another = wechat(seed=2)  # it does not know the token that is stored
    checked(capsys, another.url, E, "--appid", A, *store, status=0)
    assert another.simulator.counts["data"] == 1


@pytest.mark.thorough
def test_broken_accounts_are_rows_below_the_reason_and_the_others_are_counted(
    wechat: Start, capsys: Capture, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(terminal, "width", lambda: 80)
    server = wechat(
        refuse_token={wx(2): 40164, wx(3): 40164}, refuse={(wx(4), E): 48001, wx(5): -1}
    )
    given = ["check", E, OTHER, *listed(*map(wx, range(1, 6))), "--base-url", server.url]
    assert invoke(given) == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    found, reason = {}, ""
    for line in lines:
        reason = line.partition(":")[0] if line and not line.startswith(" ") else reason
        if line.startswith("  wx"):
            found[line.split()[0]] = [reason, *re.split(r"\s{2,}", line.strip())[1:5]]
    assert found == {
        wx(2): ["IP list", "Name of 2", "no", "no", "0/2"],
        wx(3): ["IP list", "Name of 3", "no", "no", "0/2"],
        wx(4): ["permission", "Name of 4", "ok", "ok", "1/2"],
    }
    assert "IP list: IP 203.0.113.7 is not on the allow list (2 accounts)" in lines
    assert f"permission: No permission for the interface: {E} (1 account)" in lines
    assert "check again: No answer has shown whether it is usable (1 account)" in lines
    assert lines[-1] == "1 of 5 accounts usable, 1 not known: check again"
    assert invoke([*given, "--all"]) == 1
    text = capsys.readouterr().out
    assert all(wx(number) in text for number in range(1, 6))


@pytest.mark.thorough
def test_a_secret_that_cannot_be_read_is_a_row(wechat: Start, capsys: Capture) -> None:
    accounts = listed(A, secret="env:NOWHERE")
    with Path("accounts.csv").open("a") as file:
        file.write(f"{B},env:HARVESTER_SECRET,B\n")
    found = checked(capsys, wechat().url, E, *accounts, status=1)
    states = [(each["appid"], each["token"], each["state"]) for each in found["accounts"]]
    assert states == [(A, "none", "unusable"), (B, "ok", "usable")]
    assert "NOWHERE is not set" in found["accounts"][0]["interfaces"][0]["error"]


# which interfaces


@pytest.mark.thorough
def test_without_names_it_tries_what_the_ledger_knows_of_each_account(
    wechat: Start, capsys: Capture
) -> None:
    server = wechat()
    days = ("2024-01-01", "2024-01-05")
    for endpoint, appid in ((E, A), (E, B), (OTHER, B)):
        run = asked(server.url, endpoint, *days, "--quiet")
        assert invoke([appid if word == A else word for word in run]) == 0
    before = Path("harvest/ledger.sqlite").read_bytes()
    sent = server.simulator.counts["data"]
    found = checked(capsys, server.url, *listed(A, B), status=0)
    tried = {
        each["appid"]: {one["endpoint"] for one in each["interfaces"]} for each in found["accounts"]
    }
    assert tried == {A: {E}, B: {E, OTHER}}
    assert server.simulator.counts["data"] == sent + 3
    assert Path("harvest/ledger.sqlite").read_bytes() == before


@pytest.mark.thorough
def test_without_a_ledger_it_tries_those_of_the_configuration(
    wechat: Start, capsys: Capture, monkeypatch: Patch
) -> None:
    Path("harvester.toml").write_text(f'endpoint = ["{E}"]\nappid = "{A}"\n')
    found = checked(capsys, wechat().url, status=0)
    assert [each["endpoint"] for each in found["accounts"][0]["interfaces"]] == [E]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["users"], "no account was given"),
        (["--appid", A], f"no interface was named, and the ledger has none for {A}"),
        (["getusersumary", "--appid", A], "getusersummary"),
        (["users", "--appid", A, "--only", "x"], "--only selects accounts from a file"),
        (["users", "--appid", A, "--rate", "10"], "invalid --rate"),
        (["users", "--appid", A, "--token-store", "what"], "token"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_sent(
    arguments: list[str], said: str, capsys: Capture
) -> None:
    assert invoke(["check", *arguments, "--base-url", "http://127.0.0.1:9"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.thorough
def test_without_a_server_it_ends_with_4(capsys: Capture) -> None:
    found = checked(capsys, "http://127.0.0.1:9", E, "--appid", A, status=4)
    assert "Connection refused" in found["notes"][0]


@pytest.mark.thorough
def test_a_quota_that_the_ledger_knows_to_be_used_up_gets_no_call(
    wechat: Start, capsys: Capture
) -> None:
    server = wechat()
    run = [*asked(server.url, E, "2024-01-01", "2024-01-05"), "--quiet"]
    assert invoke(run) == 0
    sent = server.simulator.counts["data"]
    found = checked(capsys, server.url, "--appid", A, "--daily-quota", str(sent), status=3)
    [interface] = found["accounts"][0]["interfaces"]
    assert (interface["state"], interface["kind"]) == ("waiting", "quota")
    assert interface["until"].endswith("T16:01:00Z")
    assert server.simulator.counts["data"] == sent


@pytest.mark.thorough
def test_a_shared_ledger_is_read_also_one_that_does_not_exist_yet(job: Jobs) -> None:
    here = job()
    given = ["--accounts", here.accounts, "--ledger", here.ledger, "--base-url", here.server.url]
    done = here.harvester("check", E, *given)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "12 of 12 accounts usable")
    assert not here.rows("SELECT 1 FROM information_schema.schemata WHERE schema_name='harvester'")
    assert here.run().returncode == 0
    before = here.contents()
    done = here.harvester("check", *given)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "12 of 12 accounts usable")
    assert here.contents() == before


@pytest.mark.thorough
def test_1_500_accounts_are_checked_at_the_pace_of_a_run(wechat: Start, capsys: Capture) -> None:
    server = wechat(refuse_token={wx(number): 40164 for number in range(11)})
    found = checked(capsys, server.url, "users", *listed(*map(wx, range(1500))), status=1)
    states = [each["state"] for each in found["accounts"]]
    assert (states.count("usable"), states.count("unusable")) == (1489, 11)
    assert server.simulator.counts["data"] == 2 * 1489


@pytest.mark.thorough
def test_the_help_says_what_is_sent_and_stored() -> None:
    said = " ".join(harvest("check", "--help").stdout.split())
    assert "It sends one call per interface" in said
    assert "It stores nothing" in said
