"""`status --missing DAY`: each account and interface that lacks a day, and why."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from rich.cells import cell_len

from harvester.base.dates import last_legal_day
from harvester.cli import missing, terminal
from harvester.cli.commands import invoke
from harvester.ledger import FILE_NAME, Ledger, SqliteLedger
from harvester.ledger.base import Exhausted
from harvester.ledger.coverage import Outcome
from harvester.model import Tally, Window
from harvester.report.days import Reader, StatusFilter
from harvester.report.missing import LACKING, Lack, lacks_of
from tests.report_data import FAILURES, NOW, YESTERDAY, KnownLedger
from tests.scenarios.commands.test_messages import FILE
from tests.support import A, B, at, csv_rows

USERS = "getusersummary"
BEGIN = date(2026, 11, 1)
NOT_READY = "WeChat does not have the figures yet"
MIDNIGHT = at("2026-11-27", 0.02)


def lacks(ledger: KnownLedger, day: date = YESTERDAY, now: float = NOW) -> list[Lack | None]:
    async def main() -> list[Lack | None]:
        reader = Reader(cast("Ledger", ledger), now, (), StatusFilter())
        await reader.prepare()
        return [each async for each in lacks_of(reader, day)]

    return asyncio.run(main())


def lack(ledger: KnownLedger, day: date = YESTERDAY, now: float = NOW) -> Lack:
    (found,) = lacks(ledger, day, now)
    assert found is not None
    return found


def harvested(end: date = YESTERDAY, name: str = USERS, begin: date = BEGIN) -> KnownLedger:
    ledger = KnownLedger()
    ledger.harvested(A, name, begin, end)
    ledger.asked_for(A, name, begin, YESTERDAY)
    return ledger


def test_late_figures_are_late_since_the_first_of_these_days() -> None:
    ledger = harvested()
    for days in (1, 3, 2):
        day = YESTERDAY - timedelta(days=days)
        ledger.put(A, USERS, day, day, "late", detail="x")
    ledger.put(A, USERS, YESTERDAY, YESTERDAY, "late", detail="x")
    assert lack(ledger).since == YESTERDAY - timedelta(days=3)


@pytest.mark.parametrize("state", ["final", "open"])
def test_a_stored_day_is_not_lacking(state: str) -> None:
    ledger = harvested(YESTERDAY - timedelta(days=1))
    ledger.put(A, USERS, YESTERDAY, YESTERDAY, state)
    assert lacks(ledger) == [None]


@pytest.mark.parametrize(
    ("state", "code", "detail", "due", "reason"),
    [  # none has a kind, as in a ledger of the first released version
        ("failed", 40001, FAILURES[0][1].format(A), 0.0, "AppSecret is wrong or frozen"),
        ("failed", 40164, FAILURES[1][1].format(A), 0.0, "IP 203.0.113.7 is not on the allow list"),
        ("failed", *FAILURES[2], 0.0, f"No permission for the interface: {USERS}"),
        ("failed", *FAILURES[3], 0.0, "WeChat refused the request"),
        ("failed", None, "HTTP 502, after 5 attempts", 0.0, "No success after several attempts"),
        ("waiting", 45009, "errcode 45009", MIDNIGHT, "Waiting for quota"),
        ("waiting", 45009, "errcode 45009", NOW - 9, "The quota has been reset: run again"),
        ("waiting", 61503, "errcode 61503", MIDNIGHT, NOT_READY),
        ("waiting", None, "its figures are not ready yet", MIDNIGHT, NOT_READY),
        ("late", None, "a day has no row yet", 0.0, NOT_READY),
    ],
)  # fmt: skip
def test_why_a_day_that_was_asked_for_is_not_there(
    state: str, code: int | None, detail: str, due: float, reason: str
) -> None:
    ledger = harvested(date(2026, 11, 20))
    first = date(2026, 11, 21)
    ledger.put(A, USERS, first, YESTERDAY, state, code=code, detail=detail, due=due, rid="r")
    found = lack(ledger)
    assert (found.state, found.reason, found.code) == (state, reason, code)
    assert (found.since, found.until, found.rid) == (first, due, "r")
    assert found.detail == detail.removeprefix(f"{A}: ").partition(" [rid:")[0]
    assert all(found.advice)


def test_a_day_that_no_run_came_to_is_missing_and_may_wait_for_quota() -> None:
    ledger = harvested(date(2026, 11, 20))
    found = lack(ledger)
    assert (found.state, found.reason) == ("missing", "Not harvested yet")
    assert found.since == date(2026, 11, 21)
    ledger.used_up[A, USERS] = Exhausted(A, USERS, MIDNIGHT, NOW - 9)
    found = lack(ledger)
    assert (found.state, found.reason, found.until) == (
        "missing", "Waiting for quota", MIDNIGHT
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "begin", "end", "day", "now", "state", "reason", "since"),
    [
        (USERS, "2026-11-01", "2026-11-20", "2026-11-25", NOW, "not_asked",
         "Never asked for: the range is 2026-11-01 to 2026-11-20", "2026-11-21"),
        (USERS, "2026-11-01", "2026-11-20", "2026-10-25", NOW, "not_asked",
         "Never asked for: the range is 2026-11-01 to 2026-11-20", None),
        (USERS, "2014-12-01", "2026-11-25", "2014-11-30", NOW, "no_figures",
         "The interface has figures from 2014-12-01 on", None),
        (USERS, "2026-11-01", "2026-11-25", "2026-11-26", at("2026-11-27", 3), "not_due",
         "WeChat does not have these figures before 2026-11-27 08:00 (China time)", None),
        ("getupstreammsgweek", "2026-11-02", "2026-11-25", "2026-11-25", NOW, "not_due",
         "WeChat does not have these figures before 2026-11-30 08:00 (China time)", None),
        ("getupstreammsgweek", "2026-11-04", "2026-11-25", "2026-11-05", NOW, "not_asked",
         "Never asked for: the range does not contain the whole week 2026-11-02 to 2026-11-08",
         "2026-11-04"),
        ("getupstreammsgmonth", "2026-09-01", "2026-11-25", "2026-10-05", NOW, "missing",
         "Not harvested yet", "2026-09-01"),
        ("getweanalysisappiduserportrait", "2026-11-01", "2026-11-25", "2026-11-05", NOW,
         "cannot_be_asked",
         "Not harvested in time: the interface answers only for periods that end yesterday",
         "2026-11-01"),
    ],
)  # fmt: skip
def test_a_day_that_was_not_asked_for_or_cannot_be(
    name: str, begin: str, end: str, day: str, now: float, state: str, reason: str,
    since: str | None,
) -> None:  # fmt: skip
    ledger = KnownLedger()
    ledger.asked_for(A, name, date.fromisoformat(begin), date.fromisoformat(end))
    if "portrait" in name:
        ledger.put(A, name, YESTERDAY, YESTERDAY, "final")
    found = lack(ledger, date.fromisoformat(day), now)
    assert (found.state, found.reason) == (state, reason)
    assert found.since == (date.fromisoformat(since) if since else None)
    assert (state in LACKING) is (state not in ("not_due", "no_figures", "cannot_be_asked"))


# the command

DAY = date(2024, 1, 20)


class Harvest:
    """A ledger, and what the command answers about it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        span = date(2024, 1, 1), date(2024, 1, 31)
        outcomes = [
            Outcome(Window(A, USERS, *span), "final", Tally(31, 7)),
            Outcome(Window(A, "getusercumulate", *span), "failed", code=48001,
                    detail='=errcode 48001 ("api", unauthorized)'),
        ]  # fmt: skip

        async def main() -> None:
            async with SqliteLedger(folder / FILE_NAME) as made:
                asked = [(A, USERS), (A, "getusercumulate"), (B, USERS)]
                await made.register([(*key, *span) for key in asked])
                await made.commit(outcomes, {})

        asyncio.run(main())

    def told(self, *arguments: str, status: int = 0, day: str = str(DAY)) -> str:
        given = ("status", "--out", str(self.folder), "--missing", day)
        assert invoke([*given, *arguments]) == status
        return self.capsys.readouterr().out

    def refused(self, *arguments: str) -> str:
        assert invoke(["status", "--out", str(self.folder), *arguments]) == 2
        return self.capsys.readouterr().err


@pytest.fixture
def there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Harvest:
    return Harvest(tmp_path, capsys)


def test_the_reasons_come_with_what_to_do_and_the_accounts_and_then_the_totals(
    there: Harvest,
) -> None:
    assert there.told().splitlines() == [
        "No permission for the interface: getusercumulate (failed): 1 account, 1 interface",
        "  Have the account verified or the permission set granted, or leave it out.",
        '  =errcode 48001 ("api", unauthorized)',
        "  account             since       interfaces",
        f"  {A}  2024-01-01  getusercumulate",
        "",
        "Not harvested yet (missing): 1 account, 1 interface",
        "  Run the same command again.",
        "  account             since       interfaces",
        f"  {B}  2024-01-01  {USERS}",
        "",
        "2024-01-20: 2 of 3 account–interface pairs lack this day: 1 failed, 1 missing",
    ]


def test_where_nothing_is_to_do_accounts_are_counted_unless_all_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    span, busy = (date(2024, 1, 1), date(2024, 1, 31)), "errcode -1 (system error), 8 attempts"

    async def main() -> None:
        async with SqliteLedger(tmp_path / FILE_NAME) as made:
            keys = [(appid, USERS) for appid in (A, B)]
            await made.register([(*key, *span) for key in keys])
            failed = [Outcome(Window(*key, *span), "failed", code=-1, detail=busy) for key in keys]
            await made.commit(failed, {})

    asyncio.run(main())
    given = ["status", "--out", str(tmp_path), "--missing", "2024-01-20"]
    assert invoke(given) == 0
    text = capsys.readouterr().out
    assert text.startswith("No success after several attempts (failed): 2 accounts, 2 interfaces\n")
    assert A not in text
    assert "--all shows each account and interface" in text
    assert invoke([*given, "--all"]) == 0
    text = capsys.readouterr().out
    assert A in text
    assert B in text


def test_on_a_terminal_words_are_wrapped_and_no_character_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "width", lambda: 80)
    there = Harvest(tmp_path, capsys)
    name = "深圳市福田区人民医院订阅号第一门诊部" * 2
    file = tmp_path / "accounts.toml"
    file.write_text(f'[[account]]\nappid = "{A}"\nname = "{name}"\nsecret = "x"\n')
    lines = there.told("--accounts", str(file)).splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert name in "".join(line.split("  2024")[0].split()[-1] for line in lines if "深" in line
                           or "门" in line or "医" in line or "订" in line)  # fmt: skip


def rows(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeffday,appid,name,endpoint,state,")
    return csv_rows(text)


def test_csv_is_as_excel_takes_it(there: Harvest, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))  # whatever the locale is
    there.told("--csv")
    assert raw.getvalue().startswith(b"\xef\xbb\xbfday,")
    assert raw.getvalue().count(b"\r\n") == 3 == raw.getvalue().count(b"\n")
    one, other = rows(raw.getvalue().decode())
    assert (one["appid"], one["endpoint"], one["state"], one["code"]) == (
        A, "getusercumulate", "failed", "48001"
    )  # fmt: skip
    assert one["detail"] == '\'=errcode 48001 ("api", unauthorized)'  # no formula
    assert (other["day"], other["since"], other["until"]) == ("2024-01-20", "2024-01-01", "")
    assert other["what_to_do"] == "Run the same command again."


def test_csv_goes_into_a_text_to_which_a_caller_has_redirected_it(
    there: Harvest, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.StringIO(newline="")
    monkeypatch.setattr(sys, "stdout", text)
    there.told("--csv")
    assert len(rows(text.getvalue())) == 2


@pytest.mark.parametrize("sign", [*"=+-@＝＋－＠"])
def test_a_text_that_a_spreadsheet_takes_for_a_formula_is_escaped(sign: str) -> None:
    assert missing._cell(f"{sign}1+1") == f"'{sign}1+1"
    assert missing._cell(f"1{sign}1") == f"1{sign}1"


def test_json_is_one_line_with_totals(there: Harvest) -> None:
    (line,) = there.told("--json").splitlines()
    found: dict[str, Any] = json.loads(line)
    assert found["day"] == "2024-01-20"
    assert [(each["appid"], each["code"]) for each in found["missing"]] == [(A, 48001), (B, None)]
    totals = {name: number for name, number in found["totals"].items() if number}
    assert totals == {"interfaces": 3, "have": 1, "failed": 1, "missing": 1}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((), 1),
        (("--appid", A), 1),
        (("--appid", A, "--endpoint", USERS), 0),
        (("--endpoint", "getusercumulate", "--csv"), 1),
    ],
)
def test_check_fails_if_something_lacks_the_day(
    arguments: Sequence[str], status: int, there: Harvest
) -> None:
    there.told(*arguments, "--check", status=status)
    there.told(*arguments)


def test_check_does_not_fail_for_days_that_wechat_does_not_have(there: Harvest) -> None:
    assert "no figures" in there.told("--check", day="2014-11-30")


def test_an_account_of_the_file_that_was_never_harvested_is_listed(there: Harvest) -> None:
    file = there.folder / "accounts.toml"
    file.write_text(FILE)
    found = rows(there.told("--accounts", str(file), "--csv"))
    assert [(each["appid"], each["name"], each["endpoint"], each["state"]) for each in found] == [
        ("wx00000000000000cc", "", "", "never_harvested"),
        (A, "Teahouse", "getusercumulate", "failed"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--csv",), "--csv requires --missing DAY"),
        (("--all",), "--all requires --missing DAY"),
        (("--missing", "2024-01-01", "--csv", "--json"), "give either --csv or --json"),
        (("--missing", "2024-01-01", "--state", "failed"), "remove --state"),
        (("--missing", "soon"), "--missing: 'soon' is not a day"),
        (("--missing", "2124-01-01"), "--missing: WeChat has no figures of 2124-01-01 yet"),
        (("--missing", "2024-01-01", "--appid", "wx1"), "the ledger knows no account wx1"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    arguments: Sequence[str], said: str, there: Harvest
) -> None:
    assert said in there.refused(*arguments)


def test_the_day_is_written_as_a_start_is(there: Harvest) -> None:
    day = last_legal_day(time.time()) - timedelta(days=9)
    assert there.told(day="yesterday-9d").splitlines()[-1][:10] in (
        str(day), str(day - timedelta(days=1))
    )  # fmt: skip
