"""An interface of one's own has what all others have; and every interface at once."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

import harvester
from harvester.base.dates import WindowKind, last_legal_day
from harvester.config import plugins
from harvester.wechat.endpoint import grid
from tests.builders import BESIDE
from tests.scenarios.command import Start
from tests.scenarios.runs.test_windows import EVERY, multiset, truth_of
from tests.support import A, Wechat, as_multiset, bare, harvest, stored

pytestmark = pytest.mark.thorough

DAYS = (date(2024, 1, 1), date(2024, 1, 31))
RANGE = ("--appid", A, "--start", str(DAYS[0]), "--end", str(DAYS[1]))
WEEK = "getweanalysisappidweeklyvisittrend"
LATER = (*RANGE[:3], "2024-01-08", *RANGE[4:])
TABLES = f"""
[[interface]]
name = "mine"
path = "/datacube/getusersummary"
first_day = 2024-01-08
span = 7
group = "own"
title = "followers, as I name them"

[[interface]]
name = "weeks"
path = "/datacube/{WEEK}"
first_day = 2020-01-06
cut = "week"
dates = "YYYYMMDD"
group = "own"

[[interface]]
name = "gone"
path = "/datacube/gone"
first_day = 2020-01-01
group = "own"
retired = true
successors = ["mine"]
"""
PACKAGE = """
from datetime import date
from harvester import JsonEndpoint

MINE = JsonEndpoint("mine", "/datacube/getusersummary", date(2024, 1, 8), span=7, group="own")
"""
ENTRY_POINTS = "[harvester.endpoints]\nmine = my_interfaces:MINE\n"


def exact(wechat: Wechat, directory: Path, name: str, of: str, begin: date, end: date) -> None:
    rows = stored(directory, name)
    truth = wechat.simulator.truth_of(of, A, begin, end)
    assert as_multiset((A, "", bare(row)) for row in rows) == as_multiset(
        (A, "", row) for row in truth
    )
    assert {row["_endpoint"] for row in rows} == {name}


@pytest.fixture
def configured(tmp_path: Path, wechat: Start) -> tuple[Wechat, Path]:
    here = wechat()
    (tmp_path / "harvester.toml").write_text(f'base-url = "{here.url}"\nrate = "500/s"\n{TABLES}')
    return here, tmp_path


def test_a_table_of_the_file_is_harvested_by_name_and_group(
    configured: tuple[Wechat, Path],
) -> None:
    wechat, folder = configured
    result = harvest("run", "own", *RANGE, cwd=folder)
    assert (result.returncode, result.stdout[:9]) == (0, "complete:")
    exact(wechat, folder / "harvest", "mine", "getusersummary", date(2024, 1, 8), DAYS[1])
    exact(wechat, folder / "harvest", "weeks", WEEK, DAYS[0], date(2024, 1, 28))
    assert "mine: starts on 2024-01-08, because there is no older data" in result.stderr
    status = harvest("status", "--endpoint", "own", cwd=folder)
    assert (status.returncode, status.stderr.count("no interface")) == (0, 0)
    assert "mine" in status.stdout
    assert "weeks" in status.stdout
    again = harvest("run", "mine", *LATER, cwd=folder)
    assert (again.returncode, "0 requests" in again.stdout) == (0, True)


def test_a_table_of_the_file_is_planned_listed_and_told(configured: tuple[Wechat, Path]) -> None:
    _, folder = configured
    plan = harvest("plan", "own", *RANGE, cwd=folder).stdout.splitlines()
    assert plan[:2] == ["mine, weeks: 2024-01-01 to 2024-01-31, 1 account", "calls   8"]
    listed = harvest("endpoints", cwd=folder).stdout
    assert " mine " in listed
    assert " gone " in listed
    assert " getusersummary " in listed
    told = harvest("endpoints", "mine", cwd=folder).stdout
    assert told.startswith("mine: followers, as I name them\n")
    assert "7" in harvest("endpoints", "own", cwd=folder).stdout


def test_status_and_plan_know_its_weeks_and_retirement(configured: tuple[Wechat, Path]) -> None:
    _, folder = configured
    harvest("run", "weeks", *RANGE, cwd=folder)
    told = harvest("status", cwd=folder).stdout.splitlines()
    unasked = "  2024-01-29 to 2024-01-31 (3 days) not asked for: "
    assert unasked + "the range contains no complete week" in told
    plan = harvest("plan", "gone", *RANGE, cwd=folder).stdout
    assert "note    WeChat has taken gone offline; its successors are mine" in plan


def test_an_entry_point_is_an_interface_like_all_others(tmp_path: Path, wechat: Start) -> None:
    here = wechat()
    packages = tmp_path / "packages"
    about = packages / "my_interfaces-1.0.dist-info"
    about.mkdir(parents=True)
    (packages / "my_interfaces.py").write_text(PACKAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-interfaces\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    env = {"PYTHONPATH": str(packages)}
    more = ("--base-url", here.url, "--rate", "500/s")
    for name in ("mine", "own"):
        result = harvest("run", name, *LATER, *more, "--out", name, cwd=tmp_path, **env)
        assert (result.returncode, result.stdout[:9]) == (0, "complete:"), result.stderr
        exact(here, tmp_path / name, "mine", "getusersummary", date(2024, 1, 8), DAYS[1])
    assert " mine " in harvest("endpoints", cwd=tmp_path, **env).stdout
    assert ", mine, " in harvest("plan", "all", *RANGE, cwd=tmp_path, **env).stdout


# Every interface at once by the public door, over a socket, into JSON lines.


RECENT = {"getweanalysisappiduserportrait", "get_adunit_list"}


async def test_run_harvests_every_interface_exactly(wechat: Start, tmp_path: Path) -> None:
    """All but those whose days end yesterday, which may not be settled at this hour."""
    here = wechat()
    retired = plugins.retired_of("all")
    names = [name for name in plugins.endpoint_groups()["all"] if name not in RECENT]
    last = last_legal_day(here.simulator.wall())
    end = last - timedelta(days=2)
    begin = end - timedelta(days=61)
    report = await harvester.run(
        harvester.Account(A, "practice"),
        [*names, *retired],
        begin,
        end,
        sink=f"jsonl:{tmp_path}",
        base_url=here.url,
        rate="10000/s",
    )
    assert (report.state, report.foreign, report.windows.failed) == ("complete", 0, 0)
    found = 0
    for endpoint in EVERY:
        if endpoint.name in RECENT:
            continue
        rows = stored(tmp_path, endpoint.name)
        windows = list(grid(endpoint, last).windows(max(begin, endpoint.first_day), end))
        truth = [row for window in windows for row in truth_of(here.simulator, endpoint, window)]
        beside = BESIDE.get(endpoint.name, set())
        held = [{k: v for k, v in bare(row).items() if k not in beside} for row in rows]
        assert multiset(held) == multiset(truth), endpoint.name
        assert {(row["_begin_date"], row["_end_date"]) for row in rows} <= {
            (str(first), str(until)) for first, until in windows
        }
        found += len(rows)
    assert found == report.records > 0
    assert harvest("verify", "--out", tmp_path).returncode == 0


def test_the_days_of_the_interfaces_that_were_left_out_end_yesterday() -> None:
    assert {endpoint.name for endpoint in EVERY if endpoint.cut is WindowKind.RECENT} == RECENT
