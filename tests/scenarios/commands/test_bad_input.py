"""Bad input: one sentence on standard error, status 2, nothing sent, no traceback."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

import harvester
from harvester.base.dates import CHINA
from harvester.cli.commands import invoke
from tests.support import A

RUN = ["run", "getarticlesummary"]
DAYS = ["--start", "2024-01-01", "--end", "2024-01-02"]
ME = ["--appid", A]
KEY = "AKIAIOSFODNN7EXAMPLE"
GOOD = "[[account]]\nappid = 'wx1'\nsecret = 'env:S'\n"
TODAY = "TODAY"
"""Looked up when the test runs: the day can end while others do."""

BAD = [
    ([*RUN, *ME, "--start", "2024-13-01", "--end", "2024-12-01"], "start: '2024-13-01'"),
    ([*RUN, *ME, "--start", "20240101", "--end", "2024-12-01"], "YYYY-MM-DD"),
    ([*RUN, *ME, "--start", "2024-01-01", "--end", "tomorrow"], "end: 'tomorrow'"),
    ([*RUN, *ME, "--start", "2024-02-01", "--end", "2024-01-01"], "is after the end"),
    ([*RUN, *ME, "--start", "2014-11-01", "--end", "2014-11-30"],
     "getarticlesummary has no data before 2014-12-01"),
    ([*RUN, *ME, "--start", "2024-01-01", "--end", TODAY], "yesterday"),
    ([*RUN, *ME, "--start", "2024-01-01", "--end", "2999-01-01"], "yesterday"),
    (["run", "getarticlesumary", *ME, *DAYS], "did you mean getarticlesummary?"),
    (["run", "zzz", *ME, *DAYS], "no interface or group 'zzz'"),
    (["run", "mesages", *ME, *DAYS], "or group 'mesages' (did you mean messages?)"),
    (["plan", "mesages", *DAYS], "or group 'mesages' (did you mean messages?)"),
    (["plan", "users", "--start", "2014-11-01", "--end", "2014-11-30"],
     "getusersummary has no data before 2014-12-01"),
    (["endpoints", "mesages"], "there is no interface or group 'mesages' (did you mean messages?)"),
    (["run", "articles", *ME, "--start", "2025-10-30", "--end", "2025-10-31"],
     "getarticleread has no data before 2025-11-01; getarticleshare has no data"),
    (["run", "all", *ME, "--start", "2014-11-01", "--end", "2014-11-30"], "2014-12-01"),
    (["run", "getupstreammsgmonth", *ME, "--start", "2024-01-02", "--end", "2024-02-28"],
     ("accepts only whole calendar months; 2024-01-02 to 2024-02-28 contains none; an"
      " example is 20")),
    (["run", "getupstreammsgweek", "getupstreammsgdistweek", *ME, *DAYS],
     "an example is 2024-01-01 to 2024-01-07; getupstreammsgdistweek accepts only whole weeks"),
    (["plan", "getweanalysisappiduserportrait", *DAYS], "only 1, 7 or 30 days that end yesterday"),
    ([*RUN, *ME, *DAYS, "--daily-quota", "0"],
     "invalid --daily-quota '0': expected a whole number of at least 1"),
    ([*RUN, *ME, *DAYS, "--reserve", "5"], "No such option"),
    ([*RUN, *ME, *DAYS, "--order", "random"],
     "invalid --order 'random': expected newest or oldest"),
    ([*RUN, *ME, *DAYS, "--ask-quota=1"], "--ask-quota"),
    ([*RUN, *DAYS], "no account"),
    ([*RUN, *ME, *DAYS, "--accounts", "a.toml"], "either --appid or --accounts"),
    ([*RUN, "--appid", "wx 1", *DAYS], "appid"),
    ([*RUN, *ME, *DAYS, "--sink", "foo:bar"], "'foo:bar'"),
    ([*RUN, *ME, *DAYS, "--sink", "jsonl"], "jsonl"),
    ([*RUN, *ME, *DAYS, "--sink", "jsonl:"], "jsonl:DIR"),
    ([*RUN, *ME, *DAYS, "--sink", "jsonl:x", "--sink", "jsonl:x"], "twice"),
    ([*RUN, *ME, *DAYS, "--base-url", "ftp://x"],
     "invalid --base-url 'ftp://x': expected an http or https URL"),
    ([*RUN, *ME, *DAYS, "--base-url", "nothing"], "--base-url"),
    ([*RUN, *ME, *DAYS, "--base-url", "http://"], "--base-url"),
    ([*RUN, *ME, *DAYS, "--base-url", "http://host:99999"], "--base-url"),
    *[([*RUN, *ME, *DAYS, "--base-url", bad], "--base-url") for bad in
      ("http://a b", "http://..", "http://-", "https://h/%zz", "http://h/a?", "http://h/#x", "")],
    ([*RUN, *ME, *DAYS, "--ca-file", "nowhere.pem"], "CA file: 'nowhere.pem' cannot be read"),
    ([*RUN, *ME, *DAYS, "--ca-file", "."], "CA file: '.' cannot be read (Is a directory)"),
    ([*RUN, *ME, *DAYS, "--ca-file", __file__], "holds no certificate in PEM form"),
    ([*RUN, "--appid", "wx" + 63 * "0", *DAYS], "appid"),
    (["status", "--out", "x" * 300], "cannot be used"),
    (["plan", "getarticlesummary", *DAYS, "--out", "x" * 300], "cannot be used"),
    (["simulate", "--port", "99999"], "--port"),
    ([*RUN, *ME, *DAYS, "--out", "/dev/null/x"], "cannot be written"),
    ([*RUN, *ME, *DAYS, "--out", ""], "invalid --out '': expected a path"),
    (["export", "x.xlsx"], "write xlsx:x.xlsx"),
    (["export", "a/x.parquet"], "write parquet:a/x"),
    (["export", "csv"], "write csv:DIR"),
    (["export", "xlsx:x.csv"], "write xlsx:x.xlsx"),
    (["export"], "For example: harvester export xlsx:harvest.xlsx"),
    (["forget"], "For example: --appid wx0123456789abcdef"),
    (["sink", "add"], "For example: harvester sink add sqlite:harvest.db"),
    ([*RUN, "--rate"], "Expected a number above 0 with its unit, e.g. 10/s"),
    (["version"], "write harvester --version"),
    (["help", "run"], "write harvester --help"),
    ([*RUN, *ME, *DAYS, "--verbose"], ". --log-format json shows each event of a run."),
    ([*RUN, *ME, *DAYS, "--token-store", "nowhere"], "token store"),
    ([*RUN, *ME, *DAYS, "--config", "missing.toml"], "missing.toml cannot be read"),
    ([*RUN, *ME, "--start", "2024-01-01"], "--end"),
    (["run", *ME, *DAYS], "ENDPOINT"),
    ([*RUN, *ME, *DAYS, "--frobnicate"], "--frobnicate"),
    (["status", "--out", "nowhere"], "there is no ledger at nowhere"),
    (["verify", "--out", "nowhere"], "there is no ledger at nowhere"),
    (["endpoints", "getarticlesumary"], "did you mean getarticlesummary?"),
    *[([*RUN, *ME, *DAYS, "--rate", bad], "rate") for bad in
      ("0", "0/s", "-1", "-5/min", "fast", "nan", "inf", "", "5/fortnight", "1/0")],
    *[([*RUN, *ME, *DAYS, f"--{option}", bad], option) for bad in ("0", "-1", "x", "1.5", "")
      for option in ("burst", "concurrency", "attempts", "daily-quota", "account-concurrency")],
]  # fmt: skip


def _one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert invoke(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("harvester: ")
    assert said in line or said.replace("-", " ") in line
    return line


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_SECRET", "practice")


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=lambda value: " ".join(value)[:60]
                         if isinstance(value, list) else None)  # fmt: skip
def test_bad_arguments_are_one_sentence_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    today = f"{datetime.now(CHINA):%Y-%m-%d}"
    _one_sentence([today if one == TODAY else one for one in arguments], said, capsys)
    assert not any(path.name.endswith(".jsonl") for path in tmp_path.rglob("*"))


def test_a_csv_file_that_is_not_called_so_is_told_from_toml(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("accounts.txt").write_text(f"appid,secret\n{A},env:HARVESTER_SECRET\n")
    said = "a CSV file ends with .csv: rename it"
    _one_sentence([*RUN, *DAYS, "--accounts", "accounts.txt"], said, capsys)


def test_a_password_in_a_base_url_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://user:hunter2@h"
    assert invoke([*RUN, *ME, *DAYS, "--base-url", url]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "abfs", "file"])
@pytest.mark.parametrize("rest", ["bucket/KEY", "user:KEY@bucket/prefix", "bucket/prefix?key=KEY"])
def test_an_object_store_is_refused_and_its_key_not_shown(
    scheme: str, rest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    meant = " (did you mean jsonl:?)" if scheme == "file" else ""
    url, said = (
        f"{scheme}://{rest.replace('KEY', KEY)}",
        f"there is no sink '{scheme}://…'{meant}; ",
    )
    assert KEY not in _one_sentence([*RUN, *ME, *DAYS, "--sink", url], said, capsys)
    with pytest.raises(harvester.UsageError, match=f"^{re.escape(said)}") as caught:
        harvester.read(url, "getusersummary")
    assert KEY not in str(caught.value)


def test_a_missing_secret_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARVESTER_SECRET")
    _one_sentence([*RUN, *ME, *DAYS], "HARVESTER_SECRET", capsys)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[account]\n", "a.toml is not TOML: Expected ']]' at the end of an array declaration ("),
        ("", "names no account"),
        ("account = 3\n", "[[account]]"),
        ("[[account]]\nappid = 'wx1'\nsecret = 'env:X'\ncolour = 'red'\n", "unknown key 'colour'"),
        ("colour = 'red'\n", "unknown key 'colour'"),
        ("[[account]]\nappid = 'wx1'\n", "has no secret"),
        ("[[account]]\nsecret = 'env:X'\n", "has no appid"),
        ("[[account]]\nappid = 3\nsecret = 'env:X'\n", "appid is not a string"),
        ("[[account]]\nappid = 'wx1'\nsecret = 'hunter2'\n", "a secret must be a reference"),
        ("[[account]]\nappid = 'wx1'\nsecret = 'env:UNSET_X'\n", "UNSET_X is not set"),
        ("[[account]]\nappid = 'wx1'\nsecret = 'file:nowhere'\n", "nowhere cannot be read"),
        ("[[account]]\nappid = 'wx1'\nsecret = 'file:void'\n", "void is empty"),
        ("[[account]]\nappid = 'wx1'\nsecret = 'file:open'\n", "others; run: chmod 600 open"),
        ("[[account]]\nappid = 'wx1'\nsecret = 'env:S'\ntoken = 'gold'\n", "token 'gold'"),
        (GOOD + "[[account]]\nappid = 'wx2'\n", "has no secret"),
        (GOOD + "[[account]]\nappid = 'wx2'\ntoken = 'static:x'\n", "a token must be a reference"),
        (2 * GOOD, "given twice"),
        (f"{GOOD}enabled = 0\n", "enabled must be true or false, not 0"),
    ],
)  # fmt: skip
def test_a_bad_accounts_file_is_one_sentence(
    content: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("S", "s")
    for name, mode in (("void", 0o600), ("open", 0o640)):
        (tmp_path / name).write_text("\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "a.toml").write_text(content)
    shown = _one_sentence([*RUN, "--accounts", "a.toml", *DAYS], said, capsys)
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("rate = \n", "is not TOML: Invalid value (at line 1"),
        ("rat = '3/s'\n", "unknown key 'rat' (did you mean rate?)"),
        ("secret = 'x'\n", "write secret = 'env:NAME' in accounts.toml"),
        ("[[account]]\nappid = 'wx1'\n", "write the account into accounts.toml"),
        ("[run]\nrate = '3/s'\n", "write options before the first table"),
        ("rate = true\n", "harvester.toml: invalid rate True: expected a number above 0 with"),
        ("wait = 'yes'\n", "invalid wait 'yes': expected true or false"),
        ("start = ['2024-01-01']\n", "invalid start <list>: expected a date"),
        ("[rate]\nx = 1\n", "is a table"),
        ("ask-quota = 1\n", "invalid ask-quota 1: expected true or false"),
        ("daily-quota = 'x'\n", "invalid daily-quota 'x': expected a whole number"),
        ("reserve = 3\n", "unknown key 'reserve'"),
        ("start = '2024-01-01'\norder = 'random'\n", "order"),
        ("account-concurrency = 1.5\n", "invalid account-concurrency 1.5: expected a whole number"),
        ("interface = 3\n", "write [[interface]]"),
        ("[interface]\nname = 'x'\n", "write [[interface]]"),
        ("[[interface]]\nname = 'x'\n", "interface 1 has no path"),
        ("out = 5\n", "invalid out 5: expected a path"),
        ("accounts = 2024-01-01\n", "invalid accounts 2024-01-01: expected a path"),
        (
            "start = '2024-01-01'\nca-file = 'nowhere.pem'\n",
            "CA file: 'nowhere.pem' cannot be read",
        ),
        ('out = "a\\u0000b"\n', "expected a path"),
        ("burst = 1.9\n", "invalid burst 1.9: expected a whole number"),
        ("attempts = true\n", "invalid attempts True: expected a whole number"),
        ("burst = 'x'\nstart = '2024-01-01'\n", "burst"),
    ],
)
def test_a_bad_config_file_is_one_sentence(
    content: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "harvester.toml").write_text(content)
    _one_sentence([*RUN, *ME, "--end", "2024-01-02"], said, capsys)


@pytest.mark.thorough
def test_a_directory_that_is_a_file_cannot_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    _one_sentence([*RUN, *ME, *DAYS, "--out", "taken"], "taken cannot be written", capsys)
