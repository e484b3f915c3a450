"""`status`: totals first, then what needs attention by cause, then what was asked for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.cli.commands import invoke
from harvester.coverage import Calendar
from harvester.ledger import FILE_NAME, Spent, SqliteLedger
from harvester.ledger.base import Outcome
from harvester.model import Tally, Window
from harvester.plan import last_settled_day
from tests.support import A, B

FIRST, LAST = date(2024, 1, 1), date(2024, 1, 31)
NAME, OTHER = "getinterfacesummaryhour", "getusersummary"
Asked = tuple[str, str, date, date]


def ledger(
    folder: Path, asked: Iterable[Asked], outcomes: Sequence[Outcome], spent: Iterable[Spent] = ()
) -> Path:
    async def main() -> None:
        async with SqliteLedger(folder / FILE_NAME) as made:
            await made.register(list(asked), ["jsonl:."])
            await made.commit(outcomes, {}, list(spent))
            await made.caught_up("jsonl:.")

    asyncio.run(main())
    return folder


def outcome(
    appid: str, first: int, last: int, state: str = "final", name: str = NAME, **more: Any
) -> Outcome:
    window = Window(appid, name, FIRST.replace(day=first), FIRST.replace(day=last))
    return Outcome(window, state, Tally(last - first + 1, 7), **more)


def month(appid: str, name: str = NAME) -> Asked:
    return appid, name, FIRST, LAST


def many_accounts(folder: Path, number: int) -> Path:
    """Of each account half a month, and a failure and a wait."""
    appids = [f"wx{each:016x}" for each in range(number)]
    outcomes = [
        each
        for appid in appids
        for each in (
            outcome(appid, 1, 10),
            outcome(appid, 11, 12, "failed", detail=f"{appid}: errcode 48001 [rid: {appid}]"),
            outcome(appid, 13, 13, "waiting", detail="quota", due=time.time() + 9_000),
        )
    ]
    return ledger(folder, map(month, appids), outcomes)


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> str:
    assert invoke(["status", *map(str, arguments)]) == status
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    (line,) = told(capsys, *arguments, "--json").splitlines()
    content: dict[str, Any] = json.loads(line)
    return content


def test_totals_come_first_and_causes_next_and_no_account_by_day_of_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(capsys, "--out", many_accounts(tmp_path, 1_500)).splitlines()
    assert lines[:9] == [
        "1,500 accounts, 1 interface, 2024-01-01 to 2024-01-31",
        (
            "  harvested    15,000 of 46,500 days (32.2%): 15,000 final, 0 provisional;"
            " 0 of them empty"
        ),
        "  failed       3,000 days",
        "  missing      27,000 days",
        "  waiting      1,500 days",
        "  records      15,000",
        "needs attention:",
        (
            "  failed: wx0000000000000000, wx0000000000000001, wx0000000000000002 and 1,497 more"
            f" accounts, {NAME}: 3,000 days, 2024-01-11 to 2024-01-12: errcode 48001"
        ),
        (
            "  missing: wx0000000000000000, wx0000000000000001, wx0000000000000002 and 1,497 more"
            f" accounts, {NAME}: 27,000 days, 2024-01-14 to 2024-01-31"
        ),
    ]
    assert lines[9].startswith("  waiting until 20")
    assert lines[10] == "the first of them:"
    assert lines[11] == (
        f"  wx0000000000000000 {NAME}: 10 of 31 days harvested, 1 waiting, 2 failed, 18 missing"
    )
    assert lines[31] == "  and 1,480 more"
    assert len(lines) == 33


def test_a_filter_shows_what_it_leaves_by_month_and_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = many_accounts(tmp_path, 10)
    text = told(capsys, "--out", out, "--appid", "wx0000000000000003")
    assert text.startswith(
        f"wx0000000000000003 {NAME}, 2024-01-01 to 2024-01-31: 10 of 31 days harvested"
    )
    assert "  2024-01-14 to 2024-01-31 (18 days) missing" in text
    text = told(capsys, "--out", out, "--endpoint", "interface", "--state", "failed")
    assert text.count("2024-01-11 to 2024-01-12 (2 days) failed: ") == 10
    assert "days) missing" not in text
    assert told(capsys, "--out", out, "--endpoint", OTHER) == (
        "nothing that was asked for is like that\n"
    )
    assert told(capsys, "--out", out, "--state", "complete") == (
        "nothing that was asked for is like that\n"
    )


def test_a_filter_that_leaves_many_shows_a_line_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(capsys, "--out", many_accounts(tmp_path, 60), "--state", "failed").splitlines()
    assert len([line for line in lines if "10 of 31 days harvested, 1 waiting, 2 f" in line]) == 60
    assert len(lines) == 6 + 4 + 60


def test_an_account_that_nobody_knows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ledger(tmp_path, [month(A)], [])
    assert invoke(["status", "--out", str(out), "--appid", A[:-1] + "b"]) == 2
    said = capsys.readouterr().err
    assert said == f"harvester: the ledger knows no account {A[:-1]}b (did you mean {A}?)\n"


def test_an_interface_that_nobody_knows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ledger(tmp_path, [month(A)], [])
    assert invoke(["status", "--out", str(out), "--check", "--endpoint", "getusersumary"]) == 2
    assert "(did you mean getusersummary?)" in capsys.readouterr().err


def test_json_has_totals_causes_and_each_stream_with_its_ranges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [
        outcome(A, 1, 20, empty=0b11),
        outcome(A, 21, 21, "open", detail="can change"),
        outcome(A, 22, 22, "failed", detail="wrong"),
        outcome(B, 1, 31),
    ]
    found = as_json(capsys, "--out", ledger(tmp_path, [month(A), month(B)], outcomes))
    assert {name: found[name] for name in found if name not in ("causes", "streams")} == {
        "state": "incomplete", "accounts": 2, "endpoints": [NAME], "begin_date": "2024-01-01",
        "end_date": "2024-01-31", "final": 51, "empty": 2, "provisional": 1, "waiting": 0,
        "failed": 1, "missing": 9, "not_asked": 0, "stale": 0, "records": 52,
        "never_harvested": [],
    }  # fmt: skip
    assert [(each["state"], each["reason"], each["days"]) for each in found["causes"]] == [
        ("failed", "wrong", 1), ("missing", "", 9)
    ]  # fmt: skip
    one, other = found["streams"]
    assert (one["states"], other["states"]) == (["failed", "missing", "provisional"], ["complete"])
    assert [(each["state"], each["begin_date"], each["end_date"]) for each in one["ranges"]] == [
        ("missing", "2024-01-23", "2024-01-31"),
        ("provisional", "2024-01-21", "2024-01-21"),
        ("failed", "2024-01-22", "2024-01-22"),
    ]
    assert other["ranges"] == []


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([outcome(A, 1, 31)], 0),
        ([outcome(A, 1, 30)], 1),
        ([outcome(A, 1, 30), outcome(A, 31, 31, "failed", detail="x")], 1),
        ([outcome(A, 1, 30), outcome(A, 31, 31, "waiting", due=time.time() + 9_000)], 0),
        ([outcome(A, 1, 30), outcome(A, 31, 31, "waiting", due=time.time() - 25 * 3600)], 0),
        ([outcome(A, 1, 30), outcome(A, 31, 31, "waiting", due=time.time() - 27 * 3600)], 1),
        ([outcome(A, 1, 30), outcome(A, 31, 31, "open", due=time.time() + 9_000)], 0),
        ([outcome(A, 1, 30), outcome(A, 31, 31, "open", due=time.time() - 25 * 3600)], 0),
        ([outcome(A, 1, 30), outcome(A, 31, 31, "open", due=time.time() - 27 * 3600)], 1),
    ],
    ids=[
        "complete",
        "missing",
        "failed",
        "waiting",
        "due",
        "overdue",
        "provisional",
        "due again",
        "stale",
    ],
)
def test_check_fails_for_what_is_missing_failed_or_stale(
    outcomes: Sequence[Outcome], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ledger(tmp_path, [month(A)], outcomes)
    told(capsys, "--out", out, "--check", status=status)
    told(capsys, "--out", out)
    told(capsys, "--out", out, "--check", "--endpoint", OTHER)


@pytest.mark.parametrize(("called", "status"), [(1, 1), (2, 1), (40, 0)])
def test_what_was_harvested_up_to_yesterday_and_not_since_is_stale(
    called: int, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = LAST + timedelta(days=called)
    out = ledger(tmp_path, [month(A)], [outcome(A, 1, 31)], [Spent(A, NAME, day, 3)])
    text = told(capsys, "--out", out, "--check", status=status)
    said = "  stale since 2024-02-02 08:00 China time; the next run brings it up to date"
    assert (said in text) is bool(status)


@pytest.mark.parametrize(("days", "status"), [(0, 0), (1, 0), (3, 1)])
def test_what_ended_at_yesterday_has_a_day_to_move_on(
    days: int, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = last_settled_day(time.time()) - timedelta(days=days)
    window = Window(A, NAME, last, last)
    spent = [Spent(A, NAME, last + timedelta(days=1), 1)]
    out = ledger(tmp_path, [(A, NAME, last, last)], [Outcome(window, "final", Tally(1, 7))], spent)
    told(capsys, "--out", out, "--check", status=status)


# the file of accounts

ACCOUNTS = """
[[account]]
appid = "wx00000000000000aa"
name = "Teahouse"
group = "north"
secret = "env:NOT_SET"
[[account]]
appid = "wx00000000000000bb"
name = "Book shop"
group = "south"
enabled = false
secret = "env:NOT_SET"
[[account]]
appid = "wx00000000000000cc"
group = "south"
secret = "env:NOT_SET"
"""


def test_the_accounts_are_those_of_the_file_with_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ledger(tmp_path, [month(A), month(B)], [outcome(A, 1, 31)])
    file = tmp_path / "accounts.toml"
    file.write_text(ACCOUNTS)
    given = ("--out", out, "--accounts", file)
    text = told(capsys, *given, "--check", status=1)
    assert f"{A} (Teahouse) {NAME}, 2024" in text
    assert B not in text
    assert "  never harvested: wx00000000000000cc" in text
    assert "1 account left out: enabled is false" in text
    told(capsys, *given, "--only", "Teahouse", "--check")
    told(capsys, *given, "--only", "north", "--check")
    assert told(capsys, *given, "--only", "south", "--check", status=1) == (
        "needs attention:\n  never harvested: wx00000000000000cc\n"
    )
    assert told(capsys, *given, "--only", "Book shop", "--check", status=1).startswith(f"{B} (Book")
    found = as_json(capsys, *given, "--only", "north")
    assert [(each["name"], each["group"]) for each in found["streams"]] == [("Teahouse", "north")]
    assert invoke(["status", *map(str, given), "--only", "Tehouse"]) == 2
    assert capsys.readouterr().err == (
        f"harvester: {file} has no account, name or group 'Tehouse' (did you mean Teahouse?)\n"
    )


def test_only_needs_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ledger(tmp_path, [month(A)], [])
    assert invoke(["status", "--out", str(out), "--only", "north"]) == 2
    assert "give --accounts FILE as well" in capsys.readouterr().err


def test_totals_make_no_list_of_ranges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = many_accounts(tmp_path, 10)

    def runs(*_: object) -> None:
        raise AssertionError("a list of ranges was made")

    monkeypatch.setattr(Calendar, "runs", runs)
    assert told(capsys, "--out", out).startswith("10 accounts, ")
