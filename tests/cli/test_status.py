"""`status`: totals first, then what needs attention by cause, then what was asked for."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.base.dates import last_settled_day, quota_day
from harvester.cli.commands import invoke
from harvester.ledger import FILE_NAME, Spent, SqliteLedger
from harvester.ledger.coverage import Calendar, Outcome
from harvester.model import Tally, Window
from tests.scenarios.commands.test_messages import FILE
from tests.support import A, B

FIRST, LAST = date(2024, 1, 1), date(2024, 1, 31)
NAME, OTHER = "getinterfacesummaryhour", "getusersummary"
Asked = tuple[str, str, date, date]


class Harvest:
    """A folder with a ledger, and what the command says of it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def ledger(
        self, asked: Iterable[Asked], outcomes: Sequence[Outcome], spent: Iterable[Spent] = ()
    ) -> None:
        async def main() -> None:
            async with SqliteLedger(self.folder / FILE_NAME) as made:
                await made.register(list(asked))
                await made.commit(outcomes, {}, list(spent))
                await made.list_sinks({"jsonl:.": ""})

        asyncio.run(main())

    def many_accounts(self, number: int) -> None:
        """Of each account half a month, and a failure and a wait."""
        appids = [f"wx{each:016x}" for each in range(number)]
        outcomes = [
            each
            for appid in appids
            for each in (
                outcome(appid, 1, 10),
                outcome(
                    appid,
                    11,
                    12,
                    "failed",
                    detail=f"{appid}: errcode 48001 [rid: {appid}]",
                    kind="permission",
                ),
                outcome(appid, 13, 13, "waiting", due=time.time() + 9_000, kind="quota"),
            )
        ]
        self.ledger(map(month, appids), outcomes)

    def told(self, *arguments: str, status: int = 0) -> str:
        assert invoke(["status", "--out", str(self.folder), *arguments]) == status
        return self.capsys.readouterr().out

    def refused(self, *arguments: str) -> str:
        assert invoke(["status", "--out", str(self.folder), *arguments]) == 2
        return self.capsys.readouterr().err

    def as_json(self, *arguments: str) -> dict[str, Any]:
        (line,) = self.told(*arguments, "--json").splitlines()
        content: dict[str, Any] = json.loads(line)
        return content


@pytest.fixture
def there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Harvest:
    return Harvest(tmp_path, capsys)


def outcome(
    appid: str, first: int, last: int, state: str = "final", name: str = NAME, **more: Any
) -> Outcome:
    window = Window(appid, name, FIRST.replace(day=first), FIRST.replace(day=last))
    return Outcome(window, state, Tally(last - first + 1, 7), **more)


def month(appid: str, name: str = NAME) -> Asked:
    return appid, name, FIRST, LAST


@pytest.mark.thorough
def test_totals_come_first_and_causes_next_and_no_account_by_day_of_many(there: Harvest) -> None:
    there.many_accounts(1_500)
    lines = there.told().splitlines()
    some = "wx0000000000000000, wx0000000000000001, wx0000000000000002 and 1,497 more accounts"
    assert lines[:10] == [
        "1,500 accounts, 1 interface, 2024-01-01 to 2024-01-31",
        (
            "  harvested    15,000 of 46,500 days (32.3%): 15,000 final, 0 provisional;"
            " 0 of them empty"
        ),
        "  failed       3,000 days",
        "  missing      27,000 days",
        "  waiting      1,500 days",
        "  records      15,000",
        "  complete     not known: first remove the causes, then 31,500 calls to make",
        "needs attention:",
        f"  failed: {some}, {NAME}: 3,000 days, 2024-01-11 to 2024-01-12: errcode 48001",
        f"  missing: {some}, {NAME}: 27,000 days, 2024-01-14 to 2024-01-31",
    ]
    assert lines[10].startswith("  waiting until 20")
    assert lines[11] == "the first account–interface pairs that need attention:"
    assert lines[12] == (
        f"  wx0000000000000000 {NAME}: 10 of 31 days harvested, 1 waiting, 2 failed, 18 missing"
    )
    assert lines[32] == "  and 1,480 more"
    assert len(lines) == 34


def test_a_filter_shows_what_it_leaves_by_month_and_day(there: Harvest) -> None:
    there.many_accounts(10)
    text = there.told("--appid", "wx0000000000000003")
    assert text.startswith(
        f"wx0000000000000003 {NAME}, 2024-01-01 to 2024-01-31: 10 of 31 days harvested"
    )
    assert "  2024-01-14 to 2024-01-31 (18 days) missing" in text
    text = there.told("--endpoint", "interface", "--state", "failed")
    assert text.count("2024-01-11 to 2024-01-12 (2 days) failed: ") == 10
    assert "days) missing" not in text
    for none in (("--endpoint", OTHER), ("--state", "complete")):
        assert there.told(*none) == "no account–interface pair matches\n"


def test_a_filter_that_leaves_many_shows_a_line_for_each(there: Harvest) -> None:
    there.many_accounts(60)
    lines = there.told("--state", "failed").splitlines()
    assert len([line for line in lines if "10 of 31 days harvested, 1 waiting, 2 f" in line]) == 60
    assert len(lines) == 7 + 4 + 60


def test_what_nobody_knows_is_refused(there: Harvest) -> None:
    there.ledger([month(A)], [])
    assert there.refused("--appid", A[:-1] + "b") == (
        f"harvester: the ledger knows no account {A[:-1]}b (did you mean {A}?)\n"
    )
    assert "(did you mean getusersummary?)" in there.refused(
        "--check", "--endpoint", "getusersumary"
    )


def test_only_needs_a_file(there: Harvest) -> None:
    there.ledger([month(A)], [])
    assert "add --accounts FILE" in there.refused("--only", "north")


def test_json_has_totals_causes_and_each_stream_with_its_ranges(there: Harvest) -> None:
    outcomes = [
        outcome(A, 1, 20, empty=0b11),
        outcome(A, 21, 21, "open", detail="can change"),
        outcome(A, 22, 22, "failed", detail="wrong", kind="refused"),
        outcome(B, 1, 31),
    ]
    there.ledger([month(A), month(B)], outcomes)
    found = there.as_json()
    listed = ("causes", "streams", "workers")
    assert {name: found[name] for name in found if name not in listed} == {
        "state": "incomplete", "accounts": 2, "endpoints": [NAME], "begin_date": "2024-01-01",
        "end_date": "2024-01-31", "final": 51, "empty": 2, "provisional": 1, "waiting": 0,
        "failed": 1, "missing": 9, "late": 0,
        "never_delivered": 0, "cannot_be_asked": 0, "not_asked": 0, "not_due": 0, "stale": 0,
        "records": 52,
        "never_harvested": [],
        "completion": {
            "calls": 0, "blocked": 10, "days": None, "date": None, "assumed_daily_quota": None,
        },
        "quotas": [{
            "endpoint": NAME, "accounts": 2, "used": 0, "daily_quota": None, "left": None,
            "used_up": 0, "until": None,
        }],
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
    ("name", "begin", "end", "missing", "not_asked", "gone"),
    [
        ("getupstreammsgweek", "2023-12-30", "2024-01-31", 21, 5, 0),
        ("getupstreammsgmonth", "2023-11-30", "2024-01-30", 31, 31, 0),
        ("getupstreammsgmonth", "2024-01-02", "2024-01-30", 0, 29, 0),
        ("getweanalysisappiduserportrait", "2024-01-01", "2024-01-31", 0, 0, 24),
    ],
)
def test_days_that_no_window_can_have_are_not_missing(
    name: str, begin: str, end: str, missing: int, not_asked: int, gone: int, there: Harvest
) -> None:
    first, last = date.fromisoformat(begin), date.fromisoformat(end)
    week = [] if "month" in name else [outcome(A, 8, 14, name=name)]
    there.ledger([(A, name, first, last)], week)
    found = there.as_json()
    days = (last - first).days + 1
    assert (found["missing"], found["not_asked"]) == (missing, not_asked)
    assert found["cannot_be_asked"] == gone
    assert found["final"] == days - missing - not_asked - gone
    text = there.told()
    assert ("missing" in text) is bool(missing)
    assert sum(map(int, re.findall(r"\((\d+) days?\) not asked for: ", text))) == not_asked
    cannot = re.findall(r"\((\d+) days?\) can no longer be requested: ", text)
    assert sum(map(int, cannot)) == gone


@pytest.mark.parametrize(
    ("state", "due", "status"),
    [
        ("final", 0, 0),
        ("missing", 0, 1),
        ("failed", 0, 1),
        ("waiting", 9_000, 0),
        ("waiting", -25 * 3600, 0),
        ("waiting", -27 * 3600, 1),
        ("open", 9_000, 0),
        ("open", -25 * 3600, 0),
        ("open", -27 * 3600, 1),
    ],
)
def test_check_fails_for_what_is_missing_failed_or_stale(
    state: str, due: float, status: int, there: Harvest
) -> None:
    outcomes = [outcome(A, 1, 30)]
    if state != "missing":
        outcomes.append(outcome(A, 31, 31, state, due=time.time() + due if due else 0.0))
    there.ledger([month(A)], outcomes)
    there.told("--check", status=status)
    there.told()
    there.told("--check", "--endpoint", OTHER)


@pytest.mark.parametrize(("called", "status"), [(1, 1), (2, 1), (40, 0)])
def test_what_was_harvested_up_to_yesterday_and_not_since_is_stale(
    called: int, status: int, there: Harvest
) -> None:
    day = LAST + timedelta(days=called)
    there.ledger([month(A)], [outcome(A, 1, 31)], [Spent(A, NAME, day, 3)])
    text = there.told("--check", status=status)
    said = "  stale since 2024-02-02 08:00 China time; the next run updates it"
    assert (said in text) is bool(status)


@pytest.mark.parametrize(("days", "status"), [(0, 0), (1, 0), (3, 1)])
def test_what_ended_yesterday_has_a_day_to_move_on(days: int, status: int, there: Harvest) -> None:
    last = last_settled_day(time.time()) - timedelta(days=days)
    window = Window(A, NAME, last, last)
    spent = [Spent(A, NAME, last + timedelta(days=1), 1)]
    there.ledger([(A, NAME, last, last)], [Outcome(window, "final", Tally(1, 7))], spent)
    there.told("--check", status=status)


def test_the_accounts_are_those_of_the_file_with_their_names(there: Harvest) -> None:
    there.ledger([month(A), month(B)], [outcome(A, 1, 31)])
    file = there.folder / "accounts.toml"
    file.write_text(FILE)
    given = ("--accounts", str(file))
    text = there.told(*given, "--check", status=1)
    assert f"{A} (Teahouse) {NAME}, 2024" in text
    assert B not in text
    assert "  never harvested: wx00000000000000cc" in text
    assert "1 account left out: enabled is false" in text
    there.told(*given, "--only", "Teahouse", "--check")
    there.told(*given, "--only", "north", "--check")
    assert there.told(*given, "--only", "south", "--check", status=1) == (
        "needs attention:\n  never harvested: wx00000000000000cc\n"
    )
    text = there.told(*given, "--only", "Book shop", "--check", status=1)
    assert text.startswith(f"{B} (Book")
    found = there.as_json(*given, "--only", "north")
    assert [(each["name"], each["group"]) for each in found["streams"]] == [("Teahouse", "north")]
    assert there.refused(*given, "--only", "Tehouse") == (
        f"harvester: {file} has no account, name or group 'Tehouse' (did you mean Teahouse?)\n"
    )


def quota_lines(text: str) -> list[str]:
    """From the line about completion to that of the last interface."""
    lines = text.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("  complete  "))
    return lines[begin : begin + 3]


def test_quota_and_completion_are_shown_as_far_as_they_are_known(there: Harvest) -> None:
    today = quota_day(time.time())
    spent = [Spent(appid, NAME, today, 12) for appid in (A, B)]
    there.ledger([month(A), month(B)], [outcome(A, 1, 31)], spent)
    assert quota_lines(there.told()) == [
        "  complete     with the next run: 31 calls to make",
        "calls today (in China):",
        f"  {NAME}: 24 used",
    ]
    finished = today + timedelta(days=2)
    assert quota_lines(there.told("--daily-quota", "15")) == [
        f"  complete     on {finished} (in 2 days), if there is a run each day: 31 calls to make",
        "calls today (in China):",
        f"  {NAME}: 24 used, 6 left (15 per day for each of 2 accounts)",
    ]
    alone = there.told("--daily-quota", "15", "--appid", B)
    assert quota_lines(alone)[2:] == [f"  {NAME}: 12 used, 3 left (15 a day)"]
    assert "complete " not in there.told("--appid", A)
    assert there.as_json("--daily-quota", "15")["quotas"][0]["left"] == 6


def test_totals_make_no_list_of_ranges(there: Harvest, monkeypatch: pytest.MonkeyPatch) -> None:
    there.many_accounts(10)
    monkeypatch.setattr(Calendar, "runs", lambda *_: pytest.fail("a list of ranges was made"))
    assert there.told().startswith("10 accounts, ")
