"""Options: from the command line, the environment, a file, or the library; and what a plan says."""

from __future__ import annotations

from pathlib import Path

import pytest

import harvester
from tests.scenarios.command import Done, succeeded
from tests.support import A, harvest

pytestmark = pytest.mark.thorough

DAYS = ("--start", "2024-01-01", "--end", "2024-01-02")


def plan(folder: Path, *options: str, **env: str) -> Done:
    return harvest("plan", "getarticlesummary", *DAYS, *options, cwd=folder, **env)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    assert "at 300/min per account" in plan(tmp_path).stdout
    (tmp_path / "harvester.toml").write_text("rate = '3/h'\n")
    assert "at 3/h per account" in plan(tmp_path).stdout
    assert "at 4/h per account" in plan(tmp_path, HARVESTER_RATE="4/h").stdout
    assert "at 5/h per account" in plan(tmp_path, "--rate", "5/h", HARVESTER_RATE="4/h").stdout


def test_the_file_itself_can_be_named_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("rate = '3/h'\n")
    assert "at 3/h per account" in plan(tmp_path, HARVESTER_CONFIG="other.toml").stdout


@pytest.mark.parametrize(
    ("text", "on"),
    [("1", True), ("true", True), ("yes", True), ("0", False), ("no", False), ("", False)],
)
def test_a_flag_in_the_environment_is_a_word(text: str, on: bool, tmp_path: Path) -> None:
    nobody = ("--base-url", "http://127.0.0.1:9", "--attempts", "1")
    done = harvest(
        "run", "getarticlesummary", "--appid", A, *DAYS, *nobody, cwd=tmp_path, HARVESTER_JSON=text
    )
    assert (done.returncode, done.stdout.startswith("{")) == (4, on), done.stderr


def test_options_that_take_several_values_are_separated_by_spaces(tmp_path: Path) -> None:
    done = harvest(
        "plan", *DAYS, cwd=tmp_path,
        HARVESTER_ENDPOINT="getusersummary getusercumulate", HARVESTER_SINK="jsonl:a jsonl:a",
    )  # fmt: skip
    assert done.stderr == "harvester: the same sink was given twice\n"
    done = harvest(
        "plan", cwd=tmp_path, HARVESTER_ENDPOINT="getusersummary getusercumulate",
        HARVESTER_START="2024-01-01", HARVESTER_END="2024-01-02",
    )  # fmt: skip
    assert done.stdout.startswith("getusersummary, getusercumulate: 2024-01-01 to 2024-01-02")


def test_an_account_of_the_environment_wins_over_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "harvester.toml").write_text("accounts = 'nowhere.toml'\n")
    assert "nowhere.toml cannot be read" in plan(tmp_path).stderr
    assert plan(tmp_path, HARVESTER_APPID=A).returncode == 0


def test_variables_of_no_option_of_the_command_are_ignored(tmp_path: Path) -> None:
    env = {"HARVESTER_FROBNICATE": "1", "HARVESTER_WAIT": "nonsense", "HARVESTER_SESSION": "x"}
    assert plan(tmp_path, **env).returncode == 0
    status = harvest("status", cwd=tmp_path, HARVESTER_RATE="fast", HARVESTER_OUT="elsewhere")
    assert status.stderr.startswith("harvester: there is no ledger at elsewhere")


def test_the_demo_and_the_simulator_have_options_of_their_own(tmp_path: Path) -> None:
    done = harvest("demo", "--help", cwd=tmp_path, HARVESTER_OUT="elsewhere")
    assert "[default: harvest-demo]" in done.stdout


def test_a_wrong_value_is_reported_with_the_place_where_it_was_given(tmp_path: Path) -> None:
    expected = "'fast': expected a number above 0 with its unit, e.g. 10/s, 300/min or 2/h\n"
    for done, place in (
        (plan(tmp_path, "--rate", "fast"), "invalid --rate"),
        (plan(tmp_path, HARVESTER_RATE="fast"), "invalid HARVESTER_RATE"),
    ):
        assert (done.returncode, done.stderr) == (2, f"harvester: {place} {expected}")
    (tmp_path / "harvester.toml").write_text("rate = 'fast'\n")
    assert plan(tmp_path).stderr == f"harvester: harvester.toml: invalid rate {expected}"
    account = harvester.Account(A, secret="practice")
    with pytest.raises(harvester.UsageError) as caught:
        harvester.run_sync(
            account, "users", "2024-01-01", "2024-01-02", sink="memory:", rate="fast"
        )
    assert str(caught.value) == f"rate={expected[:-1]}"


def test_a_number_without_a_unit_is_no_rate(tmp_path: Path) -> None:
    expected = "300': expected a number above 0 with its unit, e.g. 10/s, 300/min or 2/h\n"
    for done, place in (
        (plan(tmp_path, "--rate", "300"), "invalid --rate '"),
        (plan(tmp_path, HARVESTER_RATE="300"), "invalid HARVESTER_RATE '"),
    ):
        assert (done.returncode, done.stderr) == (2, f"harvester: {place}{expected}")
    (tmp_path / "harvester.toml").write_text("rate = 300\n")
    done = plan(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("harvester: harvester.toml: invalid rate 300: expected a number")
    account = harvester.Account(A, secret="practice")
    with pytest.raises(harvester.UsageError, match="rate=300: expected a number above 0 with its"):
        harvester.run_sync(
            account, "users", "2024-01-01", "2024-01-02", sink="memory:",
            rate=300,  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.mark.parametrize("command", ["run", "plan"])
def test_the_help_tells_of_the_environment(command: str, tmp_path: Path) -> None:
    said = " ".join(harvest(command, "--help", cwd=tmp_path).stdout.split())
    assert "HARVESTER_DAILY_QUOTA=1000" in said
    assert "The command line overrides the environment, and the environment overrides the" in said


# `harvester plan` promises no more than a run can keep.


YEARS = ["getinterfacesummaryhour", "--start", "2020-01-01", "--end", "2023-12-31"]


BOUNDED_IN_FLIGHT = (
    "57 min with 64 requests in flight (assumed: 0.3 s per answer); limited only by the"
    " rate of 300/min per account, it would take 5 min"
)
BOUNDED_BY_ONE = (
    "7 min with 64 requests in flight, 1 per account (assumed: 0.3 s per answer); limited"
    " only by the rate of 100/s per account, it would take 15 s"
)


@pytest.mark.parametrize(
    ("number", "cap", "more", "said"),
    [
        # 500 accounts x 1,461 days at 64 in flight, 0.3 s an answer: 3,424 s; 2,500/s by the rate
        (500, "", (), BOUNDED_IN_FLIGHT),
        (2, "", ("--rate", "1/s"),
         "24 min at 1/s per account, all accounts at once (assumed: 0.3 s per answer)"),
        (1, "", ("--rate", "100/s", "--account-concurrency", "1"), BOUNDED_BY_ONE),
        (1, "1", ("--rate", "100/s"), BOUNDED_BY_ONE.replace(", 1 per account", "")),
    ],
    ids=["in flight", "rate", "cap of the account", "cap of the file"],
)  # fmt: skip
def test_the_time_of_a_plan_says_what_bounds_it(
    number: int, cap: str, more: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "accounts.csv"
    lines = [f"wx{each:016x},env:NOT_SET,{cap}" for each in range(number)]
    file.write_text("\n".join(["appid,secret,concurrency", *lines, ""]))
    result = succeeded("plan", *YEARS, "--out", tmp_path / "out", "--accounts", file, *more)
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("time ")]
    assert line.removeprefix("time").strip() == said


def test_a_plan_needs_no_secret_and_takes_broken_references(tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(
        '[[account]]\nappid = "wx00000000000000aa"\nsecret = "env:NOT_SET"\n'
        '[[account]]\nappid = "wx00000000000000bb"\nsecret = "file:nowhere"\n'
    )
    result = succeeded("plan", *YEARS, "--accounts", file, "--out", tmp_path / "out")
    assert "2,922" in result.stdout
