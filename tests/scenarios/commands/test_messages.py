"""What the command says to who mistyped something, and in which form it says what it has to say."""

from __future__ import annotations

import json
import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from harvester.api import resolve
from harvester.base.dates import parse_day
from harvester.cli.commands import invoke
from harvester.config.accounts import list_accounts, read_accounts
from harvester.config.plugins import endpoint_groups
from harvester.errors import UsageError
from harvester.exports.targets import KINDS
from harvester.job import Job
from harvester.model import Account
from harvester.wechat.interfaces import INTERFACES
from tests.support import A, at, noon

DAYS = ["--start", "2024-01-01", "--end", "2024-01-02"]
RUN = ["run", "users", "--appid", A, *DAYS]
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    for name in [name for name in os.environ if name.startswith("HARVESTER_")]:
        if name != "HARVESTER_SECRET":
            monkeypatch.delenv(name)


def refused(capsys: Output, *arguments: str) -> str:
    assert invoke(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err.removeprefix("harvester: ").rstrip()


def done(capsys: Output, *arguments: str) -> tuple[str, str]:
    assert invoke(arguments) == 0
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("postgres://user:hidden@host/db", "postgresql://"),
        ("PG:x", "postgresql://"),
        ("json:out", "jsonl:"),
        ("sqlite3:out", "sqlite:"),
        ("JSONL:out", "jsonl:…"),
        ("jsonl", "jsonl:…"),
        ("sqlit:out", "sqlite:"),
        ("out/there", "jsonl: followed by this path"),
        ("users.db", "sqlite:users.db"),
        ("out/users.SQLITE3", "sqlite:out/users.SQLITE3"),
    ],
)
def test_a_sink_that_is_nearly_one_is_suggested(spec: str, meant: str, capsys: Output) -> None:
    said = refused(capsys, *RUN, "--sink", spec)
    assert f" (did you mean {meant}?); the sinks are: " in said
    assert "hidden" not in said


@pytest.mark.thorough
@pytest.mark.parametrize(("appid", "said"), [
    ("wx0123456789abcde", True), ("wx0123456789abcdefa", True), ("vx0123456789abcdef", True),
    ("wx0123456789abcdeg", True), ("wx0123456789abcdef", False), ("wx0123456789ABCDEF", False),
])  # fmt: skip
def test_an_appid_of_another_shape_is_named_with_what_removes_it(
    appid: str, said: bool, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "s" * 32)
    days = ("--start", "2024-01-01", "--end", "2024-01-01", "--out", str(tmp_path / "x"))
    where = ("--base-url", "http://127.0.0.1:1", "--attempts", "1")
    assert invoke(("run", "users", "--appid", appid, *days, *where)) == 4
    err = capsys.readouterr().err
    assert (f"{appid}: an AppID is wx and 16 hexadecimal characters" in err) == said
    assert ("from the ledger with `harvester forget --appid ID`" in err) == said


@pytest.mark.parametrize("scheme", KINDS)
def test_an_export_that_is_given_as_a_sink_is_refused_with_what_to_type(
    scheme: str, capsys: Output
) -> None:
    said = refused(capsys, *RUN, "--sink", f"{scheme}:s3://user:hidden@host/out")
    assert said.startswith(
        f"{scheme}: is an export, not a sink: --export {scheme}:… or `harvester export"
        f" {scheme}:…` makes it from a sink such as jsonl:DIR; to read it, use "
    )
    assert "hidden" not in said


def test_a_sink_that_is_like_none_has_no_suggestion(capsys: Output) -> None:
    assert "did you mean" not in refused(capsys, *RUN, "--sink", "xyzzy:out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [*RUN, "--ledger", "postgres://u:hidden@h/db"],
            "ledger: postgres://… is not a ledger (did you mean postgresql?); give ",
        ),
        *[
            (
                [command, "users", "--appid", "gh_0123456789ab", *DAYS],
                "appid: gh_0123456789ab is the original id of an account (gh_…);",
            )
            for command in ("run", "plan")
        ],
    ],
)
def test_what_is_often_mistaken_is_told(arguments: list[str], said: str, capsys: Output) -> None:
    assert refused(capsys, *arguments).startswith(said)


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_csv_file_with_other_separators_is_named(
    sign: str, name: str, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "a.csv").write_text(f"appid{sign}secret\n{A}{sign}env:NAME\n")
    assert refused(capsys, "plan", "users", "--accounts", "a.csv", *DAYS).startswith(
        f"a.csv, line 1: the fields are separated by {name}; separate them by commas"
    )


EXAMPLE = "users --appid wx0123456789abcdef --start 2024-01-01 --end yesterday"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["run"],
            (
                "ENDPOINT (an interface or a group, for example users), --start DATE, --end DATE"
                " and an account (--appid ID or --accounts FILE) are missing"
            ),
        ),
        (["run", "users", "--appid", A], "--start DATE and --end DATE are missing"),
        (["run", *RUN[2:]], "ENDPOINT (an interface or a group, for example users) is missing"),
        (
            ["run", "users", *DAYS],
            (
                "no account was given; give --appid ID (its secret in the environment variable"
                " HARVESTER_SECRET), or --accounts FILE"
            ),
        ),
        (["plan", "users", "--end", "yesterday"], "--start DATE is missing"),
    ],
)
def test_what_is_missing_is_named_together_with_an_example(
    arguments: list[str], said: str, capsys: Output
) -> None:
    example = f"; for example: harvester {arguments[0]} {EXAMPLE}"
    assert refused(capsys, *arguments) == said + example


def test_a_file_that_is_used_unasked_is_mentioned(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "harvester.toml").write_text('start = "2024-01-01"\nend = "2024-01-02"\n')
    used = "harvester: using ./harvester.toml, which is in this directory\n"
    assert done(capsys, "plan", "users")[1] == used
    assert done(capsys, "plan", "users", "--config", "harvester.toml")[1] == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [*RUN, "--appid", "wx00000000000000bb"], [*RUN, f"--appid={A}"],
        ["plan", "users", f"--appid={A}", f"--appid={A}", *DAYS],
        ["check", "--appid", A, "users", "--appid", A],
        ["forget", "--appid", A, "--appid", "wx00000000000000bb", "--yes"],
    ],
)  # fmt: skip
def test_a_second_appid_is_refused(arguments: list[str], capsys: Output) -> None:
    said = refused(capsys, *arguments)
    assert (
        said
        == "--appid takes one account; for several, write them into a file and use --accounts FILE"
    )


@pytest.mark.thorough
def test_an_appid_of_the_environment_is_not_selected_by_the_file(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harvester.toml").write_text('accounts = "none.toml"\nonly = ["north"]\n')
    monkeypatch.setenv("HARVESTER_APPID", A)
    done(capsys, "plan", "users", *DAYS)
    assert invoke(["check", "users", "--base-url", "http://127.0.0.1:1"]) == 4
    assert "--only" not in capsys.readouterr().err
    monkeypatch.setenv("HARVESTER_ONLY", "north")
    assert "--only selects accounts from a file" in refused(capsys, "plan", "users", *DAYS)


# --json


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--json"],
        [*RUN, "--json", "--sink", "csv:out"],
        [*RUN, "--json", "--rate", "fast"],
        [*RUN, "--json", "--no-such-option"],
    ],
)
def test_a_run_that_is_refused_ends_with_a_report_too(arguments: list[str], capsys: Output) -> None:
    assert invoke(arguments) == 2
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["state"] == "failed"
    assert [f"harvester: {note}\n" for note in report["notes"]] == [said.err]
    assert report["windows"]["planned"] == 0


@pytest.mark.parametrize("sink", [["--sink", "-"], ["--sink=-"]])
@pytest.mark.parametrize("more", [["--rate", "fast"], ["--end", "2999-01-01"]])
def test_standard_output_that_is_for_records_has_no_report(
    sink: list[str], more: list[str], capsys: Output
) -> None:
    assert invoke([*RUN, *sink, *more, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err.splitlines()[-1])["state"] == "failed"


def test_json_may_be_asked_for_in_the_file_or_the_environment(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harvester.toml").write_text("json = true\n")
    assert invoke(["run", "users"]) == 2
    assert json.loads(capsys.readouterr().out)["state"] == "failed"
    (tmp_path / "harvester.toml").unlink()
    monkeypatch.setenv("HARVESTER_JSON", "yes")
    assert invoke(["run", "users"]) == 2
    assert json.loads(capsys.readouterr().out)["state"] == "failed"
    assert invoke(["plan", "users"]) == 2
    assert capsys.readouterr().out == ""


def test_a_plan_is_json(capsys: Output) -> None:
    days = ("--start", "2024-01-01", "--end", "2024-01-21")
    out, _ = done(capsys, "plan", "getusersummary", *days, "--daily-quota", "2", "--json")
    plan = json.loads(out)
    assert plan == {
        "accounts": 1, "endpoints": ["getusersummary"], "begin_date": "2024-01-01",
        "end_date": "2024-01-21", "calls": plan["calls"], "done": 0, "seconds": plan["seconds"],
        "seconds_by_rate": plan["seconds"], "daily_quota": 2, "quota_days": 2, "notes": [],
    }  # fmt: skip
    assert plan["calls"] in (3, 4)
    assert plan["seconds"] == round(plan["calls"] / 5, 1)


DELIVERS = {
    "getusercumulate": "daily", "getarticletotaldetail": "entries", "getusersummary": "uncertain",
}  # fmt: skip


def test_the_interfaces_are_json(capsys: Output) -> None:
    def told(*name: str) -> dict[str, dict[str, object]]:
        out, _ = done(capsys, "endpoints", *name, "--json")
        return {each["name"]: each for each in json.loads(out)}

    found = told()
    assert found.keys() == INTERFACES.keys()
    assert found["getusersummary"]["span"] == 7
    assert [found[name]["delivers"] for name in DELIVERS] == [*DELIVERS.values()]
    assert found["getarticlesummary"]["retired"] is True
    assert "fields" not in found["getusersummary"]
    (one,) = told("getarticletotal").values()
    details = {field["name"]: field for field in one["fields"]}["details"]
    assert "int_page_read_user" in {field["name"] for field in details["fields"]}
    assert list(told("users")) == endpoint_groups()["users"]


# dates


@pytest.mark.parametrize(
    ("given", "day"),
    [
        ("yesterday", date(2024, 2, 9)),
        ("yesterday-0d", date(2024, 2, 9)),
        ("yesterday-30d", date(2024, 1, 10)),
        ("yesterday-365d", date(2023, 2, 9)),
    ],
)
def test_days_before_yesterday(given: str, day: date) -> None:
    assert parse_day(given, noon("2024-02-10")) == day
    before_eight = at("2024-02-10", 7)
    assert parse_day(given, before_eight) == day - timedelta(days=1)


@pytest.mark.parametrize("given", ["yesterday-", "yesterday-d", "yesterday+1d", "yesterday-1w"])
def test_other_words_are_no_days(given: str) -> None:
    with pytest.raises(UsageError, match="is not a day"):
        parse_day(given, noon("2024-02-10"))


def test_first_is_the_first_day_of_each_interface() -> None:
    names = ["getusersummary", "getarticleread"]
    first = {name: INTERFACES[name].first_day for name in names}
    scope, _ = resolve(Account(A, secret="x"), names, "first", "yesterday", {})
    assert scope.begin == min(first.values())
    for endpoint in scope.endpoints:
        assert scope.range_of(endpoint) == (first[endpoint.name], scope.end)
    assert scope.notes == ()
    with pytest.raises(UsageError, match="end: 'first' is not a day"):
        resolve(Account(A, secret="x"), names, "first", "first", {})


# the file of accounts

FILE = f"""
[[account]]
appid = "{A}"
name = "Teahouse"
group = "north"
secret = "env:HARVESTER_SECRET"
[[account]]
appid = "wx00000000000000bb"
name = "Book shop"
group = "south"
enabled = false
secret = "env:HARVESTER_SECRET"
[[account]]
appid = "wx00000000000000cc"
group = "south"
secret = "env:HARVESTER_SECRET"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("only", "appids"),
    [
        ([], [A, "wx00000000000000cc"]),
        (["Teahouse"], [A]),
        (["south"], ["wx00000000000000cc"]),
        ([A, "south"], [A, "wx00000000000000cc"]),
    ],
)
def test_accounts_that_are_not_disabled_are_selected_by_appid_name_or_group(
    only: list[str], appids: list[str], file: Path
) -> None:
    read = read_accounts(file, only=only) if only else read_accounts(file)
    names = {A: ("Teahouse", "north"), "wx00000000000000cc": ("", "south")}
    assert [(each.appid, each.name, each.group) for each in read] == [
        (appid, *names[appid]) for appid in appids
    ]


def test_all_accounts_are_listed_with_what_is_disabled(file: Path) -> None:
    for written in ("false", '"no"'):
        file.write_text(FILE.replace("enabled = false", f"enabled = {written}"))
        assert [each.enabled for each in list_accounts(file)] == [True, False, True]


@pytest.mark.usefixtures("file")
def test_those_that_are_left_out_are_counted(capsys: Output) -> None:
    plan = ["plan", "users", "--accounts", "a.toml", *DAYS]
    out, err = done(capsys, *plan)
    assert err == "harvester: 1 account of a.toml left out: enabled is false\n"
    assert "2 accounts" in out
    assert done(capsys, *plan, "--only", "north")[1] == ""


@pytest.mark.usefixtures("file")
def test_a_selection_that_leaves_nothing_is_refused(capsys: Output) -> None:
    plan = ["plan", "users", "--accounts", "a.toml", *DAYS, "--only"]
    assert refused(capsys, *plan, "Book shop") == (
        "a.toml disables each of Book shop; write enabled = true to harvest one"
    )
    assert refused(capsys, *plan, "xyz") == "a.toml has no account, name or group 'xyz'"
    assert refused(capsys, *RUN, "--only", "north") == (
        "--only selects accounts from a file; add --accounts FILE"
    )


def test_the_csv_file_has_the_same_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "appid,name,group,enabled,secret\n"
        f"{A},茶馆,north,,env:HARVESTER_SECRET\n"
        "wx00000000000000bb,,north,False,env:HARVESTER_SECRET\n"
    )
    assert [(each.appid, each.name) for each in read_accounts(path)] == [(A, "茶馆")]
    path.write_text(f"appid,enabled,secret\n{A},maybe,env:HARVESTER_SECRET\n")
    with pytest.raises(UsageError, match="line 2: enabled must be true or false, not 'maybe'"):
        read_accounts(path)


def test_a_job_selects_accounts_too(file: Path) -> None:
    (file.parent / "harvester.toml").write_text(
        'endpoint = "users"\nstart = "first"\nend = "yesterday"\naccounts = "a.toml"\n'
        'only = "north"\n'
    )
    job = Job.load(file.parent / "harvester.toml")
    accounts = job.read_accounts()
    assert isinstance(accounts, list)
    assert [each.appid for each in accounts] == [A]
    with pytest.raises(UsageError, match="only: it selects accounts from a file"):
        Job(endpoints="users", start="first", end="yesterday", appid=A, only="north")
