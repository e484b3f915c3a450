"""The figures of a week, beside what the simulated WeChat has."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.cli.commands import invoke
from harvester.report.week import week_before
from tests.scenarios.command import Start, harvest_at
from tests.support import A, B

pytest.importorskip("pyarrow")

BEGIN, END = date(2026, 3, 2), date(2026, 3, 8)
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


def test_the_figures_of_a_week_are_those_of_wechat(wechat: Start, tmp_path: Path) -> None:
    server, accounts = wechat(), tmp_path / "accounts.csv"
    rows = [f"{A},茶馆,one,env:HARVESTER_SECRET", f"{B},Bookshop,two,env:HARVESTER_SECRET"]
    accounts.write_text("\n".join(["appid,name,group,secret", *rows, ""]))
    place = ["--accounts", str(accounts), "--out", str(tmp_path / "out")]
    run = ["run", *NAMES, "--start", "2026-02-23", "--end", "2026-03-08", *place]
    done = harvest_at("2026-03-09", 12, *run, "--base-url", server.url, "--rate", "1000/s")
    assert done.status == 0, done.err
    found = json.loads(harvest_at("2026-03-09", 13, "report", "--week", "--json", *place).out)
    assert (found["begin_date"], found["end_date"]) == (str(BEGIN), str(END))
    total: Counter[str] = Counter()
    week = timedelta(7)
    for row, appid in zip(sorted(found["accounts"], key=lambda each: each["appid"]), (A, B),
                          strict=True):  # fmt: skip
        expected = truth(server, appid, BEGIN, END)
        assert {name: row[name] for name in expected} == expected
        before = truth(server, appid, BEGIN - week, END - week)
        assert row["before"] == {**before, "provisional": False}
        assert not row["provisional"]
        total.update(expected)
    assert {name: found["total"][name] for name in total} == total
    assert {row["group"]: row["new"] for row in found["groups"]} == {
        "one": truth(server, A, BEGIN, END)["new"], "two": truth(server, B, BEGIN, END)["new"]
    }  # fmt: skip
    reads: Counter[tuple[str, str]] = Counter()
    for appid in (A, B):
        for row in server.simulator.truth_of("getarticleread", appid, BEGIN, END):
            reads[appid, row["msgid"]] += row["detail"]["read_user"]
    best = [((row["appid"], row["msgid"]), row["reads"]) for row in found["articles"]]
    assert best == sorted(reads.items(), key=lambda each: (-each[1], each[0]))[:5]
    assert all(row["title"] and row["title"] != row["msgid"] for row in found["articles"])
    text = harvest_at("2026-03-09", 13, "report", "--week", *place).out
    assert text.startswith("2026-03-02 to 2026-03-08, and the week before\n")
    assert f"{found['total']['reads']:,}" in text
    assert "*" not in text


def test_figures_that_can_change_are_marked_and_those_that_are_not_there_are_empty(
    wechat: Start, tmp_path: Path
) -> None:
    server, place = wechat(), ["--out", str(tmp_path)]
    run = ["run", "getusersummary", "--appid", A, "--start", "2026-02-23", "--end", "2026-03-06"]
    done = harvest_at("2026-03-09", 12, *run, *place, "--base-url", server.url)
    assert done.status == 0, done.err
    found = json.loads(harvest_at("2026-03-09", 13, "report", "--week", "--json", *place).out)
    (row,) = found["accounts"]
    assert row["provisional"]
    assert (row["reads"], row["followers"]) == (None, None)
    assert row["new"] == truth(server, A, BEGIN, date(2026, 3, 6))["new"]
    assert f"{row['new']:,}*" in harvest_at("2026-03-09", 13, "report", "--week", *place).out


def test_the_week_before_is_marked_too_and_an_interface_that_ended_marks_nothing(
    wechat: Start, tmp_path: Path
) -> None:
    server, place = wechat(), ["--out", str(tmp_path)]
    for days, name in ((("2026-02-25", "2026-03-08"), "getusersummary"),
                       (("2026-02-01", "2026-02-20"), "getarticleread")):  # fmt: skip
        run = ["run", name, "--appid", A, "--start", days[0], "--end", days[1], *place]
        assert harvest_at("2026-03-09", 12, *run, "--base-url", server.url).status == 0
    found = json.loads(harvest_at("2026-03-09", 13, "report", "--week", "--json", *place).out)
    assert (found["total"]["provisional"], found["total"]["before"]["provisional"]) == (False, True)
    assert found["total"]["reads"] is None
    text = harvest_at("2026-03-09", 13, "report", "--week", *place).out
    assert f"{found['total']['before']['new']:,}*" in text
    assert f"{found['total']['new']:,}*" not in text


def test_followers_are_added_up_of_accounts_that_have_both_weeks(
    wechat: Start, tmp_path: Path
) -> None:
    server, place = wechat(), ["--out", str(tmp_path)]
    for appid, start in ((A, "2026-02-23"), (B, "2026-03-02")):
        run = ["run", "getusercumulate", "--appid", appid, "--start", start, "--end", "2026-03-08"]
        assert harvest_at("2026-03-09", 12, *run, *place, "--base-url", server.url).status == 0
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
    assert f"{given[0]} is for the page; leave it out" in capsys.readouterr().err


def test_json_is_of_the_week_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", "--json", "--out", str(tmp_path)]) == 2
    assert "--json is for --week" in capsys.readouterr().err
