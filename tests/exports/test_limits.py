"""An export has the days, the accounts and the tables that it is asked for, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.config.accounts import ListedAccount
from harvester.config.place import Place
from harvester.errors import UsageError
from harvester.exports.equal import export, is_equal
from harvester.exports.source import Limits, Source
from harvester.exports.targets import open_target
from harvester.model import Account, Batch, Window
from harvester.sinks.memory import MemorySink
from harvester.testing import FakeTransport, Simulator
from harvester.wechat.interfaces import INTERFACES
from tests.builders import account, harvested
from tests.exports.support import (
    ARTICLES,
    FIRST,
    STAMP,
    TARGETS,
    USERS,
    articles,
    do,
    equal,
    few,
    harvest,
    tables,
    users,
)
from tests.support import A, B, C

ONE = "wx0000000000000001"
each_target = pytest.mark.parametrize("target", TARGETS)


def limited(sink: Any, spec: str, limits: Limits) -> None:
    """Export with limits; the target is equal with them, and not without."""
    source = Source(sink, lambda: None, limits=limits)
    export(source, open_target(spec), (), INTERFACES.get)
    assert is_equal(source, open_target(spec), (), INTERFACES.get)


@pytest.mark.thorough
@each_target
def test_limits_are_part_of_what_a_target_is(target: str, tmp_path: Path) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec)
    limited(sink, spec, Limits((FIRST, FIRST + timedelta(days=1)), frozenset([ONE])))
    assert not equal(sink, spec)
    found = tables(spec)[USERS]
    assert {row["_appid"] for row in found} == {ONE}
    assert {str(row["ref_date"])[:10] for row in found} == {"2026-01-30", "2026-01-31"}
    limited(sink, spec, Limits((date(2026, 2, 1), date.max)))
    assert {str(row["ref_date"])[:10] for row in tables(spec)[USERS]} == {
        "2026-02-01", "2026-02-02",
    }  # fmt: skip
    do(sink, spec)
    assert len(tables(spec)[USERS]) == 16


@each_target
def test_a_window_over_the_first_day_has_its_days_behind_it(target: str, tmp_path: Path) -> None:
    week = [FIRST + timedelta(days=n) for n in range(7)]
    records = [{"ref_date": str(day), "user_source": 0, "new_user": day.day} for day in week]
    batch = Batch(Window(ONE, USERS, week[0], week[-1]), records, STAMP, endpoint=INTERFACES[USERS])
    spec = target.format(tmp_path)
    limited(harvest(batch), spec, Limits((date(2026, 2, 2), date(2026, 2, 3))))
    assert [int(row["new_user"]) for row in tables(spec)[USERS]] == [2, 3]
    if target.startswith("xlsx"):  # its first sheet says the same
        sheet = openpyxl.load_workbook(spec.partition(":")[2], read_only=True)["harvester"]
        [told] = [row for row in sheet.iter_rows(values_only=True) if row[1] == USERS]
        assert [str(day)[:10] for day in told[4:6]] == ["2026-02-02", "2026-02-03"]


UNITS, SETTLEMENT = "get_adunit_list", "publisher_settlement"
TREND = "getweanalysisappidweeklyvisittrend"
OF_UNITS = "publisher_adunit_general"


def windows(name: str, field: str, *of: tuple[date, date]) -> list[Batch]:
    """A record of each of these windows, of three accounts, that names its account and window."""
    return [
        Batch(
            Window(f"wx{number:016x}", name, begin, end),
            [{field: f"{number} {begin:%m-%d}"}],
            STAMP,
            endpoint=INTERFACES[name],
        )
        for number in range(3)
        for begin, end in of
    ]


@pytest.mark.thorough
@each_target
def test_a_record_that_names_no_day_belongs_to_all_days_of_its_window(
    target: str, tmp_path: Path
) -> None:
    """Units are of a day, a trend of a week, settlements of a month; of three accounts two."""
    last, first = date(2026, 1, 31), date(2026, 2, 1)
    sundays = first, date(2026, 2, 8)
    every = [(FIRST + timedelta(days=n),) * 2 for n in range(4)]
    sink = harvest(
        *windows(UNITS, "ad_unit_id", *every),
        *windows(TREND, "ref_date", *[(sunday - timedelta(days=6), sunday) for sunday in sundays]),
        *windows(SETTLEMENT, "sett_no", (date(2026, 1, 1), last), (first, date(2026, 2, 28))),
    )
    spec = target.format(tmp_path)
    named = {UNITS: "ad_unit_id", TREND: "ref_date", SETTLEMENT: "sett_no"}
    for days, wanted in (
        ((last, last), {UNITS: ["01-31"], TREND: ["01-26"], SETTLEMENT: ["01-01"]}),
        ((first, first), {UNITS: ["02-01"], TREND: ["01-26"], SETTLEMENT: ["02-01"]}),
        (
            (last, date(2026, 2, 2)),
            {
                UNITS: ["01-31", "02-01", "02-02"],
                TREND: ["01-26", "02-02"],
                SETTLEMENT: ["01-01", "02-01"],
            },
        ),
        ((date(2026, 2, 9), date(2026, 2, 10)), {SETTLEMENT: ["02-01"]}),
    ):
        limited(sink, spec, Limits(days, frozenset([ONE, f"wx{2:016x}"])))
        found = {
            name: [(row["_appid"], row[named[name]]) for row in rows]
            for name, rows in tables(spec).items()
            if name in named and rows
        }
        assert {name: sorted(rows) for name, rows in found.items()} == {
            name: [(f"wx{n:016x}", f"{n} {begin}") for n in (1, 2) for begin in begins]
            for name, begins in wanted.items()
        }


@each_target
def test_a_day_within_a_record_limits_it_and_one_that_is_not_there_does_not(
    target: str, tmp_path: Path
) -> None:
    dates = [str(FIRST + timedelta(days=n)) for n in range(4)]
    items = [{"stat_item": {"date": day}} for day in dates] + [{"stat_item": {}}, {}]
    records = [{"ad_unit_id": f"{n}", **item} for n, item in enumerate(items)]
    end = FIRST + timedelta(days=3)
    made = [
        Batch(Window(f"wx{n:016x}", OF_UNITS, FIRST, end), records, STAMP,
              endpoint=INTERFACES[OF_UNITS])
        for n in range(3)
    ]  # fmt: skip
    spec = target.format(tmp_path)
    limited(harvest(*made), spec, Limits((date(2026, 1, 31), date(2026, 2, 1)), frozenset([ONE])))
    found = [(row["_appid"], row["ad_unit_id"]) for row in tables(spec)[OF_UNITS]]
    assert sorted(found) == [(ONE, number) for number in ("1", "2", "4", "5")]


def test_another_account_does_not_change_what_is_limited_to_one(tmp_path: Path) -> None:
    spec, sink, limits = f"csv:{tmp_path}/c", few(), Limits(None, frozenset([ONE]))
    limited(sink, spec, limits)
    harvest(users(FIRST, 0, figure=99), sink=sink)
    source = Source(sink, lambda: None, limits=limits)
    assert export(source, open_target(spec), (), INTERFACES.get).written == 0


@pytest.mark.thorough
@each_target
def test_a_target_has_the_tables_that_it_names(target: str, tmp_path: Path) -> None:
    spec = f"{target.format(tmp_path)}?tables=article_totals,{USERS}"
    do(few(), target.format(tmp_path))
    done = do(few(), spec)
    assert {*tables(spec)} == {"article_totals", USERS}
    assert done.written or done.removed
    assert equal(few(), spec)
    assert len(tables(spec)["article_totals"]) == 16


def test_a_table_that_does_not_exist_is_refused_with_a_near_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no table 'article_day' \(did you mean article_days\?\)"):
        do(few(), f"csv:{tmp_path}/c?tables=article_day")
    do(few(), f"csv:{tmp_path}/c?tables=getuserread")  # it exists, and nothing of it is stored
    assert tables(f"csv:{tmp_path}/c") == {}


def test_a_workbook_has_joined_tables_in_place_of_lists(tmp_path: Path) -> None:
    spec = f"xlsx:{tmp_path}/x.xlsx"
    do(few(), spec)
    assert {*tables(spec)} == {"articles", "article_totals", USERS}
    assert [
        (row["_appid"][-1], row["stat_date"].day) for row in tables(spec)["article_totals"]
    ] == [(number, day) for number in "01" for day in (30, 31, 31, 1, 1, 2, 2, 3)]


def test_days_outside_of_the_limits_are_in_no_count(tmp_path: Path) -> None:
    week = [FIRST + timedelta(days=n) for n in range(7)]
    records = [{"ref_date": str(day), "user_source": 0, "new_user": 1} for day in week]
    batch = Batch(Window(ONE, USERS, week[0], week[-1]), records, STAMP, endpoint=INTERFACES[USERS])
    source = Source(harvest(batch), lambda: None, limits=Limits((week[3], week[4])))
    assert export(source, open_target(f"csv:{tmp_path}/c"), (), INTERFACES.get).rows == 2


@pytest.mark.parametrize("place", ["with its ledger", "alone"])
def test_an_account_that_is_unknown_is_refused_and_the_target_stays(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where, spec = f"sqlite:{tmp_path}/u.db", f"csv:{tmp_path}/c"
    harvested(where, A, endpoints="users", days=("2024-01-01", "2024-01-31"))
    if place == "alone":
        for file in tmp_path.glob("*ledger.sqlite*"):
            file.unlink()
    assert harvester.export(where, spec).written > 0
    before, mistyped = tables(spec), A[:-1] + "b"
    with pytest.raises(UsageError, match=mistyped):
        harvester.export(where, spec, appids=mistyped)
    option = "--from" if place == "alone" else "--out"
    assert invoke(["export", spec, option, where, "--appid", mistyped]) == 2
    assert mistyped in capsys.readouterr().err
    assert tables(spec) == before


# names


@pytest.mark.thorough
def test_joined_tables_have_the_names_of_accounts(tmp_path: Path) -> None:
    for target in TARGETS:
        spec = f"{target.format(tmp_path)}?shape=flat&tables=followers_by_source,accounts"
        sink = few()
        given = [Account(ONE, name="=北方")]
        export(Source(sink, lambda: None, accounts=given), open_target(spec), (), INTERFACES.get)
        known = {f"wx{0:016x}": "", ONE: "=北方"}

        def named(spec: str = spec) -> dict[str, str]:
            return {
                row["_appid"]: (row["account"] or "").removeprefix("'")
                for row in tables(spec)["followers_by_source"]
            }

        assert named() == known
        assert [*tables(spec)["followers_by_source"][0]][1] == "account"
        last = ["_begin_date"] if target.startswith("xlsx") else ["_begin_date", "_fetched_at"]
        assert [*tables(spec)["followers_by_source"][0]][-len(last) :] == last
        harvest(users(FIRST, 0, figure=9), users(FIRST, 1, figure=9), sink=sink)
        do(sink, spec)  # it is given no names, and has those of its table
        assert named() == ({ONE: "", f"wx{0:016x}": ""} if target.startswith("xlsx") else known)


@pytest.mark.thorough
def test_a_run_knows_the_names_of_its_accounts(tmp_path: Path) -> None:
    spec = f"csv:{tmp_path}/c"
    accounts = [replace(account(A), name="北方"), account(B)]
    transport = FakeTransport(Simulator())
    days, sink = ("2024-01-01", "2024-01-05"), f"sqlite:{tmp_path}/u.db"
    harvester.run_sync(accounts, "users", *days, sink=sink, export=spec, transport=transport)
    found = {(row["_appid"], row["account"]) for row in tables(spec)["followers_by_source"]}
    assert found == {(A, "北方"), (B, "")}


def test_an_account_is_asked_for_by_its_name() -> None:
    listed = [ListedAccount(f"wx{n}", name, "", True) for n, name in enumerate(["a", "b", "b"])]
    place = Place(Path(), listed=listed)
    assert place.appids_of(["a", "wx1", "wx9"]) == ["wx0", "wx1", "wx9"]
    with pytest.raises(
        UsageError, match=r"'b' is the name of several accounts \(wx1 · wx2\); give the appid"
    ):
        place.appids_of(["b"])
    with pytest.raises(UsageError, match=r"no account is called 'aa' \(did you mean a\?\)"):
        place.appids_of(["aa"])


@pytest.mark.thorough
def test_the_command_and_the_library_take_the_same_limits(tmp_path: Path) -> None:
    where, spec = f"sqlite:{tmp_path}/u.db", f"csv:{tmp_path}/c"
    harvested(where, A, B, C, endpoints="users", days=("2024-01-01", "2024-01-31"))
    file = tmp_path / "accounts.toml"
    file.write_text(f'[[account]]\nappid = "{A}"\nname = "北方"\nsecret = "env:X"\n')
    limits = ["--start", "2024-01-05", "--end", "2024-01-06", "--appid", "北方"]
    command = ["export", spec, "--out", where, "--accounts", str(file), *limits]
    assert invoke(command) == 0
    found = {(row["_appid"], row["ref_date"]) for row in tables(spec)["getusercumulate"]}
    assert found == {(A, "2024-01-05"), (A, "2024-01-06")}
    assert invoke([*command, "--check"]) == 0
    assert invoke([*command[:6], "--check"]) == 1
    done = harvester.export(
        where,
        spec,
        start="2024-01-05",
        end="2024-01-06",
        appids=A,
        accounts=Account(A, name="北方"),
    )
    assert done.written == 0
    several = [*command, "--appid", B]
    assert invoke(several) == 0
    found = {(row["_appid"], row["ref_date"]) for row in tables(spec)["getusercumulate"]}
    assert found == {(appid, day) for appid in (A, B) for day in ("2024-01-05", "2024-01-06")}
    assert (invoke([*several, "--check"]), invoke([*command, "--check"])) == (0, 1)
    done = harvester.export(
        where,
        spec,
        start="2024-01-05",
        end="2024-01-06",
        appids=[A, B],
        accounts=Account(A, name="北方"),
    )
    assert done.written == 0


@each_target
def test_check_without_interfaces_judges_what_the_target_holds(target: str, tmp_path: Path) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec, USERS)
    assert equal(sink, spec)
    assert equal(sink, spec, USERS)
    assert not equal(sink, spec, ARTICLES)
    harvest(articles(FIRST, 0, title="晚安"), sink=sink)
    assert equal(sink, spec)  # of these it has none
    harvest(users(FIRST, 0, 99), sink=sink)
    assert not equal(sink, spec)


@pytest.mark.thorough
@each_target
def test_check_without_interfaces_of_tables_that_join_some(target: str, tmp_path: Path) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec, ARTICLES)
    assert equal(sink, spec)
    (tmp_path / "chosen").mkdir()
    do(sink, chosen := f"{target.format(tmp_path / 'chosen')}?tables=articles&shape=flat")
    assert equal(sink, chosen)
    harvest(articles(FIRST, 0, title="晚安"), sink=sink)
    assert not equal(sink, spec)
    assert not equal(sink, chosen)


@each_target
def test_a_target_that_has_no_record_is_judged_by_all(target: str, tmp_path: Path) -> None:
    spec = target.format(tmp_path)
    assert not equal(few(), spec)
    do(MemorySink(), spec)
    assert equal(MemorySink(), spec)
    assert not equal(few(), spec)


@pytest.mark.thorough
@each_target
def test_tables_of_what_nobody_knows_any_more_differ(target: str, tmp_path: Path) -> None:
    spec, sink = target.format(tmp_path), few()
    window = Window(A, "once", FIRST, FIRST)
    harvest(Batch(window, [{"a": 1}], STAMP, replaces=True), sink=sink)
    do(sink, spec)
    assert equal(sink, spec)
    assert not equal(few(), spec)
