"""The figures of a week, beside what the simulated WeChat has."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.cli.commands import invoke
from harvester.report.week import FIGURES, week_before
from tests.scenarios.command import Start, harvest_at
from tests.support import A, B, C

BEGIN, END, WEEK = date(2026, 3, 2), date(2026, 3, 8), timedelta(7)
NAMES = ("getusersummary", "getusercumulate", "getarticleread", "getarticleshare",
         "getarticletotaldetail")  # fmt: skip


@pytest.mark.parametrize(
    ("day", "begin"),
    [("2026-03-08", "2026-03-02"), ("2026-03-09", "2026-03-02"), ("2026-03-14", "2026-03-02")],
)
def test_a_week_is_whole_from_monday_to_sunday(day: str, begin: str) -> None:
    first = date.fromisoformat(begin)
    assert week_before(date.fromisoformat(day)) == (first, first + timedelta(6))
    assert first.weekday() == 0


def truth(server: Any, appid: str, begin: date, end: date) -> dict[str, int]:
    """The figures of a week, added up from what the simulator has."""
    of = server.simulator.truth_of
    users = of("getusersummary", appid, begin, end)
    new, lost = (sum(row[name] for row in users) for name in ("new_user", "cancel_user"))
    (last,) = of("getusercumulate", appid, end, end)
    reads = sum(row["detail"]["read_user"] for row in of("getarticleread", appid, begin, end))
    shares = sum(row["detail"]["share_user"] for row in of("getarticleshare", appid, begin, end))
    return {"new": new, "cancelled": lost, "net": new - lost,
            "followers": last["cumulate_user"], "reads": reads, "shares": shares}  # fmt: skip


def added(*figures: dict[str, int]) -> dict[str, int]:
    """The figures of several accounts together."""
    return {name: sum(each[name] for each in figures) for name in figures[0]}


def shown(
    name: str, now: dict[str, int], before: dict[str, int], mark: str = ""
) -> list[list[str]]:
    """The two rows of a name, as they must be printed."""
    of_week = ["03-02", name, *[f"{value:,}{mark}" for value in now.values()]]
    return [of_week, ["02-23", *[f"{value:,}" for value in before.values()]]]


def printed(text: str) -> list[list[str]]:
    """The table of a week, without empty cells."""
    lines = text.splitlines()
    assert lines[0] == "2026-03-02 to 2026-03-08, and the week before"
    return [re.split(" {2,}", line) for line in lines[1:] if "  " in line]


def listed(folder: Path, *accounts: tuple[str, str, str]) -> list[str]:
    """The options of accounts with a name and a group each, and of what is harvested."""
    file = folder / "accounts.csv"
    rows = [f"{','.join(each)},env:HARVESTER_SECRET" for each in accounts]
    file.write_text("\n".join(["appid,name,group,secret", *rows, ""]))
    return ["--accounts", str(file), "--out", str(folder / "out")]


@pytest.mark.thorough
def test_the_figures_of_a_week_are_those_of_wechat(wechat: Start, tmp_path: Path) -> None:
    server, names = wechat(), {A: "茶馆", B: "Bookshop", C: "Third"}
    groups = {"one": (A, C), "two": (B,)}
    place = listed(tmp_path, (A, names[A], "one"), (B, names[B], "two"), (C, names[C], "one"))
    run = ["run", *NAMES, "--start", "2026-02-23", "--end", "2026-03-08", *place]
    done = harvest_at("2026-03-09", 12, *run, "--base-url", server.url, "--rate", "1000/s")
    assert done.status == 0, done.err
    found = json.loads(harvest_at("2026-03-09", 13, "report", "--week", "--json", *place).out)
    assert (found["begin_date"], found["end_date"]) == (str(BEGIN), str(END))
    now = {appid: truth(server, appid, BEGIN, END) for appid in names}
    before = {appid: truth(server, appid, BEGIN - WEEK, END - WEEK) for appid in names}

    def figures(*appids: str) -> dict[str, Any]:
        this, former = (added(*[each[appid] for appid in appids]) for each in (now, before))
        final = {"provisional": False}
        return {**this, **final, "before": {**former, **final}}

    assert found["accounts"] == [
        {"appid": appid, "name": names[appid], **figures(appid)} for appid in names
    ]
    assert found["groups"] == [
        {"group": group, **figures(*appids)} for group, appids in groups.items()
    ]
    assert found["total"] == figures(*names)
    reads: Counter[tuple[str, str]] = Counter()
    titles: dict[tuple[str, str], str] = {}
    for appid in names:
        for row in server.simulator.truth_of("getarticleread", appid, BEGIN, END):
            reads[appid, row["msgid"]] += row["detail"]["read_user"]
        for row in server.simulator.truth_of("getarticletotaldetail", appid, BEGIN - WEEK, END):
            titles[appid, row["msgid"]] = row["title"]
    best = sorted(reads.items(), key=lambda each: (-each[1], each[0]))[:5]
    assert found["articles"] == [
        {"appid": appid, "msgid": msgid, "title": titles[appid, msgid], "reads": count}
        for (appid, msgid), count in best
    ]
    text = harvest_at("2026-03-09", 13, "report", "--week", *place).out
    heads, *rows = printed(text)
    assert heads == [
        "week",
        "account",
        "new",
        "cancelled",
        "net",
        "followers",
        "readers",
        "sharers",
    ]
    wanted = [shown(names[appid], now[appid], before[appid]) for appid in names]
    for name, appids in [*((f"group {each}", some) for each, some in groups.items()),
                         ("all", tuple(names))]:  # fmt: skip
        both = (added(*[each[appid] for appid in appids]) for each in (now, before))
        wanted.append(shown(name, *both))
    assert rows == [row for both in wanted for row in both]
    assert [line.rpartition(" (")[2] for line in text.splitlines()[-5:]] == [
        f"{names[appid]}): {count:,}" for (appid, _), count in best
    ]


@pytest.mark.thorough
def test_figures_that_can_change_are_marked_and_those_that_are_not_there_are_empty(
    wechat: Start, tmp_path: Path
) -> None:
    """Two days of the week are not here of one account; the other one has no articles."""
    server = wechat()
    place = listed(tmp_path, (A, "Teahouse", "one"), (B, "Bookshop", "two"))
    for appid, end, *names in ((A, "2026-03-06", "getusersummary"),
                               (B, "2026-03-08", "getusersummary", "getusercumulate")):  # fmt: skip
        run = ["run", *names, "--only", appid, "--start", "2026-02-23", "--end", end, *place]
        done = harvest_at("2026-03-09", 12, *run, "--base-url", server.url, "--rate", "1000/s")
        assert done.status == 0, done.err
    found = json.loads(harvest_at("2026-03-09", 13, "report", "--week", "--json", *place).out)
    friday, of_users = date(2026, 3, 6), ("new", "cancelled", "net")
    teahouse, former = truth(server, A, BEGIN, friday), truth(server, A, BEGIN - WEEK, END - WEEK)
    tea, tea_before = ({name: of[name] for name in of_users} for of in (teahouse, former))
    book, book_before = (
        {name: truth(server, B, begin, end)[name] for name in (*of_users, "followers")}
        for begin, end in ((BEGIN, END), (BEGIN - WEEK, END - WEEK))
    )
    nothing: dict[str, Any] = dict.fromkeys(FIGURES)
    final, provisional = {"provisional": False}, {"provisional": True}
    of_tea = {**nothing, **tea, **provisional, "before": {**nothing, **tea_before, **final}}
    of_book = {**nothing, **book, **final, "before": {**nothing, **book_before, **final}}
    assert found["accounts"] == [
        {"appid": A, "name": "Teahouse", **of_tea}, {"appid": B, "name": "Bookshop", **of_book}
    ]  # fmt: skip
    assert found["groups"] == [{"group": "one", **of_tea}, {"group": "two", **of_book}]
    everyone, before = (
        {**added(of_tea, {name: of_book[name] for name in tea}), "followers": of_book["followers"]}
        for of_tea, of_book in ((tea, book), (tea_before, book_before))
    )
    assert found["total"] == {
        **nothing, **everyone, **provisional, "before": {**nothing, **before, **final}
    }  # fmt: skip
    text = harvest_at("2026-03-09", 13, "report", "--week", *place).out
    assert printed(text) == [
        ["week", "account", *of_users, "followers"],
        *shown("Teahouse", tea, tea_before, "*"),
        *shown("Bookshop", book, book_before),
        *shown("group one", tea, tea_before, "*"),
        *shown("group two", book, book_before),
        *shown("all", everyone, before, "*"),
    ]
    assert text.endswith("\n*: some days are missing, or their figures can still change\n")


@pytest.mark.thorough
def test_the_week_before_is_marked_too_and_an_interface_that_ended_marks_nothing(
    wechat: Start, tmp_path: Path
) -> None:
    server, place = wechat(), ["--out", str(tmp_path)]
    for days, name in ((("2026-02-25", "2026-03-08"), "getusersummary"),
                       (("2026-02-01", "2026-02-20"), "getarticleread")):  # fmt: skip
        run = ["run", name, "--appid", A, "--start", days[0], "--end", days[1], *place]
        assert (
            harvest_at("2026-03-09", 12, *run, "--base-url", server.url, "--rate", "1000/s").status
            == 0
        )
    found = json.loads(harvest_at("2026-03-09", 13, "report", "--week", "--json", *place).out)
    assert (found["total"]["provisional"], found["total"]["before"]["provisional"]) == (False, True)
    assert found["total"]["reads"] is None
    text = harvest_at("2026-03-09", 13, "report", "--week", *place).out
    assert f"{found['total']['before']['new']:,}*" in text
    assert f"{found['total']['new']:,}*" not in text


@pytest.mark.thorough
def test_followers_are_added_up_of_accounts_that_have_both_weeks(
    wechat: Start, tmp_path: Path
) -> None:
    server, place = wechat(), ["--out", str(tmp_path)]
    for appid, start in ((A, "2026-02-23"), (B, "2026-03-02")):
        run = ["run", "getusercumulate", "--appid", appid, "--start", start, "--end", "2026-03-08"]
        assert (
            harvest_at(
                "2026-03-09", 12, *run, *place, "--base-url", server.url, "--rate", "1000/s"
            ).status
            == 0
        )
    found = json.loads(harvest_at("2026-03-09", 13, "report", "--week", "--json", *place).out)
    of = {row["appid"]: (row["followers"], row["before"]["followers"]) for row in found["accounts"]}
    assert of[B][0] > 0
    assert of[B][1] is None
    assert (found["total"]["followers"], found["total"]["before"]["followers"]) == of[A]


@pytest.mark.parametrize("given", [["--html", "x.html"], ["--no-curves"], ["--lang", "zh"]])
def test_options_of_the_page_are_refused_beside_a_week(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["report", "--week", *given, "--out", str(tmp_path)]) == 2
    assert (
        f"{given[0]} applies only to the page, not to --week; remove it" in capsys.readouterr().err
    )


def test_json_is_of_the_week_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", "--json", "--out", str(tmp_path)]) == 2
    assert "--json requires --week" in capsys.readouterr().err
