"""The twelve questions of docs/tables.md: each answer is what the simulated WeChat has.

The clock stands in the middle of a harvest: young articles still grow, quotas have left days of two
interfaces unanswered, and two accounts have an article with the same msgid.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import openpyxl
import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.config import plugins
from harvester.testing import Simulator
from harvester.wechat.interfaces import INTERFACES
from tests.office import ALL_SHEETS, converted
from tests.questions import ON_SQLITE, QUESTIONS, READ, Sheet
from tests.support import A, B, days, noon, run, scope

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(400)]  # a workbook in LibreOffice

BEGIN, END, TODAY = date(2026, 3, 25), date(2026, 5, 10), "2026-05-11"
NAMES = {A: "早茶读书", B: "城市骑行"}
ENDPOINTS = (
    "getusersummary", "getusercumulate", "getarticleread", "getarticleshare",
    "getarticletotaldetail", "getbizsummary", "getupstreammsghour",
)  # fmt: skip
TABLES = (
    "articles article_days article_totals article_sources followers_by_source messages_by_hour"
    " getusercumulate coverage"
)
QUOTAS = {"getarticleshare": 25, "getbizsummary": 2}
KEY = ("_appid", "msgid")
NOTEBOOK = Path(__file__).parents[1] / "examples" / "analysis.ipynb"

Row = tuple[Any, ...]


class World(NamedTuple):
    """A harvest; place: of its files; truth: what is right."""

    place: Path
    truth: Truth

    @property
    def sink(self) -> str:
        return f"sqlite:{self.place / 'wechat.db'}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    place = tmp_path_factory.mktemp("questions")
    simulator = Simulator(seed=877, daily_quota=QUOTAS)
    asked = scope(BEGIN, END, (A, B), tuple(INTERFACES[name] for name in ENDPOINTS))
    sink, ledger = plugins.sink(f"sqlite:{place / 'wechat.db'}"), place / "wechat.db.ledger.sqlite"
    assert run(simulator, asked, sink, ledger, now=noon(TODAY)).state == "waiting"
    with (place / "status.json").open("w") as file, redirect_stdout(file):
        assert invoke(["status", "--json", "--out", str(place / "wechat.db")]) == 0
    return World(place, Truth(simulator))


# what is right, from what the simulator has


class Truth:
    """The answers, by the titles of the questions."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.titles: dict[tuple[str, str], str] = {}
        self.published: dict[tuple[str, str], date] = {}
        self.entries: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        for appid in (A, B):
            for row in self.rows("getarticletotaldetail", appid):
                key, day = (appid, row["msgid"]), date.fromisoformat(row["ref_date"])
                self.titles[key], self.published[key] = row["title"], day
                self.entries[key] = {
                    (date.fromisoformat(entry["stat_date"]) - day).days + 1: entry
                    for entry in row["detail_list"]
                }

    def rows(self, endpoint: str, appid: str) -> list[dict[str, Any]]:
        if (endpoint, appid) not in self._rows:
            found = self._simulator.truth_of(endpoint, appid, BEGIN, END)
            if endpoint in QUOTAS:
                answered = {*map(str, self.answered(endpoint, appid))}
                found = [row for row in found if row["ref_date"] in answered]
            self._rows[endpoint, appid] = found
        return self._rows[endpoint, appid]

    def of(self, number: int) -> list[Row]:
        answers: list[Callable[[], Iterable[Row]]] = [
            self.growth, self.best, self.entrances, self.retention, self.curve, self.steps,
            self.compared, self.hours, self.weeks, self.missing, self.zeros, self.last_month,
        ]  # fmt: skip
        return [*answers[number]()]

    def level(self, appid: str, day: date) -> int:
        [row] = self._simulator.truth_of("getusercumulate", appid, day, day)
        followers: int = row["cumulate_user"]
        return followers

    def growth(self) -> Iterator[Row]:
        for appid in (A, B):
            for month, last in MONTHS.items():
                rows = [
                    row
                    for row in self.rows("getusersummary", appid)
                    if row["ref_date"].startswith(month)
                ]
                came, went = (
                    sum(row[name] for row in rows) for name in ("new_user", "cancel_user")
                )
                yield appid, month, came, went, came - went, self.level(appid, last)

    def best(self) -> list[Row]:
        found = []
        for key, entries in self.entries.items():
            age, last = max(entries.items())
            figures = last["read_user"], last["share_user"]
            found.append((*key, self.titles[key], age, *figures))
        return sorted(found, key=lambda row: (-row[4], row[:2]))[:20]

    def entrances(self) -> list[Row]:
        readers: Counter[str] = Counter()
        for appid in (A, B):
            for row in self.rows("getarticleread", appid):
                for each in row["detail"]["read_user_source"]:
                    readers[each["scene_desc"]] += each["user_count"]
        del readers["全部"]
        return [(name, n, 100 * n / readers.total()) for name, n in readers.most_common()]

    def retention(self) -> Iterator[Row]:
        growth = [*self.growth()]
        for before, row in pairwise(growth):
            if before[0] == row[0]:
                yield *row[:2], before[5], row[3], 100 - 100 * row[3] / before[5]

    def curve(self) -> Iterator[Row]:
        whole = [entries for entries in self.entries.values() if 30 in entries]
        assert 0 < len(whole) < len(self.entries)
        sums = {day: sum(each[day]["read_user"] for each in whole) for day in range(1, 31)}
        for day, readers in sums.items():
            yield day, readers, 100 * readers / sums[30]

    def steps(self) -> list[Row]:
        found = []
        for key, entries in self.entries.items():
            last = entries[max(entries)]
            read, share = last["read_user"], last["share_user"]
            if read >= 100:
                rates = last["read_delivery_rate"], read, last["read_finish_rate"]
                found.append((*key, self.titles[key], *rates, share, 100 * share / read))
        return sorted(found, key=lambda row: (-row[-1], row[:2]))[:20]

    def compared(self) -> Iterator[Row]:
        for appid in (A, B):
            readers = [
                entries[7]["read_user"]
                for key, entries in self.entries.items()
                if key[0] == appid and 7 in entries
            ]
            mean, followers = sum(readers) / len(readers), self.level(appid, END)
            yield appid, followers, len(readers), mean, 100 * mean / followers

    def hours(self) -> Iterator[Row]:
        sent: Counter[int] = Counter()
        for appid in (A, B):
            for row in self.rows("getupstreammsghour", appid):
                sent[row["ref_hour"]] += row["msg_count"]
        for hour, count in sorted(sent.items()):
            yield hour, count, 100 * count / sent.total()

    def weeks(self) -> Iterator[Row]:
        for appid in (A, B):
            found: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
            for day in days(BEGIN, END):
                found[_monday(day)][0] += 1
            for place, endpoint, name in (
                (1, "getarticleread", "read_user"),
                (2, "getarticleshare", "share_user"),
            ):
                for row in self.rows(endpoint, appid):
                    week = found[_monday(date.fromisoformat(row["ref_date"]))]
                    week[place] += row["detail"][name]
            for monday, figures in sorted(found.items()):
                yield appid, monday, *figures

    def missing(self) -> Iterator[Row]:
        """The days that the quotas have left unanswered."""
        for appid in (A, B):
            for endpoint in QUOTAS:
                answered = self.answered(endpoint, appid)
                left = [day for day in days(BEGIN, END) if day not in answered]
                assert left == days(left[0], left[-1])
                yield appid, endpoint, left[0], left[-1], "waiting"

    def answered(self, endpoint: str, appid: str) -> set[date]:
        return {
            day
            for (of, whose, first, last) in self._simulator.served_of
            if (of, whose) == (endpoint, appid)
            for day in days(first, last)
        }

    def zeros(self) -> Iterator[Row]:
        for appid in (A, B):
            answered = {*map(str, self.answered("getarticleshare", appid))}
            shared = {
                (row["ref_date"], row["msgid"]): row["detail"]["share_user"]
                for row in self.rows("getarticleshare", appid)
            }
            read = {(row["ref_date"], row["msgid"]) for row in self.rows("getarticleread", appid)}
            both = read | shared.keys()
            known = [key for key in both if key[0] in answered]
            assert len(shared) < len(known) < len(both)
            sharers = sum(shared.values())
            yield appid, len(both), len(known), sharers, sharers / len(known)

    def last_month(self) -> Iterator[Row]:
        for appid, endpoint, first, last, state in self.missing():
            left = [day for day in days(first, last) if f"{day:%Y-%m}" == "2026-04"]
            if left:
                yield appid, endpoint, state, len(left)


MONTHS = {"2026-03": date(2026, 3, 31), "2026-04": date(2026, 4, 30), "2026-05": END}


def _monday(day: date) -> date:
    return day - timedelta(day.weekday())


def _plain(row: Iterable[Any]) -> Row:
    """A row of any reader: days as texts, names of accounts as appids."""
    appids = {name: appid for appid, name in NAMES.items()}
    found = []
    for value in row:
        if isinstance(value, date):  # a datetime as well
            value = str(value)[:10]
        elif hasattr(value, "item"):  # of numpy
            value = value.item()
        found.append(appids.get(value, value))
    return tuple(found)


def _runs(rows: Iterable[Row]) -> Iterator[Row]:
    """Ranges that touch as one: each request that a quota has refused is a range of its own."""
    last: Row | None = None
    for appid, name, first, end, state in rows:
        if last is not None and last[:2] == (appid, name):
            if date.fromisoformat(last[3]) + timedelta(1) == date.fromisoformat(first):
                first = last[2]
            else:
                yield last
        elif last is not None:
            yield last
        last = appid, name, first, end, state
    if last is not None:
        yield last


def _same(found: Iterable[Row], number: int, world: World) -> None:
    right = [_plain(row) for row in world.truth.of(number)]
    rows = [_plain(row) for row in found]
    if number == 9:
        rows = [*_runs(rows)]
    assert rows == [
        tuple(pytest.approx(each, abs=0.0051) if isinstance(each, float) else each for each in row)
        for row in right
    ]


NUMBERED = pytest.mark.parametrize("number", range(12), ids=[each.title.en for each in QUESTIONS])


def exported(world: World, target: str) -> Path:
    """An export of the tables that the questions are about, with the names of the accounts.

    A workbook has what it has without a choice.
    """
    path = world.place / f"wechat.{target}"
    named = [
        harvester.Account(appid, secret="practice", name=name) for appid, name in NAMES.items()
    ]
    chosen = "" if target == "xlsx" else f"?tables={','.join(TABLES.split())}"
    spec = f"{target}:{path}{chosen}"
    harvester.export(world.sink, spec, accounts=named)
    return path


def test_one_of_the_best_articles_has_the_msgid_of_another_account(world: World) -> None:
    accounts = Counter(row[1] for row in world.truth.best())
    assert max(accounts.values()) == 2


# SQL


@pytest.fixture(scope="module")
def database(world: World) -> Iterator[Any]:
    path = exported(world, "duckdb")
    with duckdb.connect(str(path), read_only=True) as opened:
        yield opened


@NUMBERED
def test_duckdb_answers(
    number: int, database: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.place)
    _same(database.sql(QUESTIONS[number].sql).fetchall(), number, world)


@pytest.mark.parametrize("number", range(9), ids=[each.title.en for each in QUESTIONS[:9]])
def test_the_views_of_sqlite_answer(number: int, world: World) -> None:
    query = QUESTIONS[number].sql
    for pattern, written in ON_SQLITE:
        query = re.sub(pattern, written, query)
    with closing(sqlite3.connect(world.place / "wechat.db")) as opened:
        _same(opened.execute(query).fetchall(), number, world)


# pandas


def _ran(code: str, known: dict[str, Any]) -> Any:
    """The value of the last line, as a notebook shows it."""
    tree = ast.parse(code)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr)
    exec(compile(tree, "<question>", "exec"), known)
    return eval(compile(ast.Expression(last.value), "<question>", "eval"), known)


@NUMBERED
def test_pandas_answers(number: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.place)
    known: dict[str, Any] = {}
    exec(READ, known)
    frame = _ran(QUESTIONS[number].pandas, known)
    if frame.index.names != [None]:
        frame = frame.reset_index()
    _same(frame.itertuples(index=False, name=None), number, world)


# in a spreadsheet


TYPED: Mapping[int, Callable[[Row], Sequence[Any]]] = {
    0: lambda row: (row[0], date.fromisoformat(f"{row[1]}-01")),
    2: lambda row: row[:1],
    3: lambda row: (row[0], date.fromisoformat(f"{row[1]}-01")),
    4: lambda row: row[:1],
    6: lambda row: row[:1],
    7: lambda row: row[:1],
    8: lambda row: row[:2],
    10: lambda row: row[:1],
    11: lambda row: row[:3],
}
"""What an analyst types into a new sheet for a row of the answer, by question."""


@pytest.fixture(scope="module")
def workbook(world: World) -> dict[int, list[dict[str, Any]]]:
    """By question the rows that LibreOffice calculates, by heading."""
    book = openpyxl.load_workbook(exported(world, "xlsx"))
    columns = {sheet.title: [cell.value for cell in sheet[1]] for sheet in book}
    places = {}
    for number, question in enumerate(QUESTIONS):
        for sheet in question.sheets:
            name = sheet.table or f"q{number}"
            target = book[name] if sheet.table else book.create_sheet(name)
            typed = map(TYPED[number], world.truth.of(number)) if sheet.typed else ()
            for at, row in enumerate(typed, 2):
                for place, value in enumerate(row, 1):
                    target.cell(at, place, value)
            places[number] = name, _fill(target, sheet, columns)
        for sheet in question.sheets:
            if sheet.table:
                columns[sheet.table] += sheet.columns
    book.save(world.place / "filled.xlsx")
    folder = converted(world.place / "filled.xlsx", ALL_SHEETS, world.place)
    found = {}
    for number, (name, headings) in places.items():
        with (folder / f"filled-{name}.csv").open(encoding="utf-8", newline="") as file:
            _, *rows = csv.reader(file)
        found[number] = [{key: row[place - 1] for key, place in headings.items()} for row in rows]
    return found


def _fill(target: Any, sheet: Sheet, columns: Mapping[str, list[str]]) -> dict[str, int]:
    """Write the formulas of a sheet, and fill them down; gives the number of each column."""
    of = columns.get(sheet.table, [])
    headings = {name: of.index(name) + 1 for name in KEY if name in of}
    for place, (name, formula) in enumerate(sheet.filled(columns).items(), sheet.first(columns)):
        headings[name] = place
        target.cell(1, place, name)
        for number in range(2, target.max_row + 1):
            down = re.sub(r"(?<![!:\w])(\$?[A-Z])2\b", rf"\g<1>{number}", formula)
            cell = target.cell(number, place, down.replace("MAXIFS", "_xlfn.MAXIFS"))
            cell.number_format = "0.######"
    return headings


@pytest.mark.nightly
@pytest.mark.parametrize("number", [*range(9), 10, 11])
def test_a_workbook_answers(
    number: int, workbook: dict[int, list[dict[str, Any]]], world: World
) -> None:
    sheet, right = QUESTIONS[number].sheets[-1], world.truth.of(number)
    keys = len(KEY) if sheet.table else 0
    if sheet.table:  # all articles: the best ones are sorted to the top
        by = {1: "read_user", 5: "percent"}[number]
        rows = sorted(workbook[number], key=lambda row: -float(row[by] or 0))[: len(right)]
        found = [tuple(value for name, value in row.items() if name != "last") for row in rows]
        right = [(*row[:2], *row[3:]) for row in right]  # without the title
    else:
        found = [tuple(row.values()) for row in workbook[number]]
        right = [row[len(sheet.typed) :] for row in right]
    assert [(*row[:keys], *map(float, row[keys:])) for row in found] == [
        tuple(pytest.approx(each, abs=1e-5) if isinstance(each, float) else each for each in row)
        for row in right
    ]


def test_the_first_sheet_of_a_workbook_says_what_is_missing(world: World) -> None:
    sheet = openpyxl.load_workbook(exported(world, "xlsx"), read_only=True).worksheets[0]
    rows = [row[:5] for row in sheet.iter_rows(values_only=True)]
    heads = ("Missing account", "Interface", "From", "To", "State")
    found = rows[rows.index(heads) + 1 :]
    _same(sorted(found), 9, world)  # the sheet has them by interface


def test_the_notebook_has_the_pandas_of_the_questions() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    answers = [each.pandas for each in QUESTIONS]
    assert [each for each in code if each in answers] == answers
    assert "\n".join(READ.splitlines()[-2:]) in code
