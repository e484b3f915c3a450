"""The command `endpoints`: the table of the interfaces, and one of them."""

from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

import pytest
from rich.cells import cell_len

from harvester.base.dates import WindowKind
from harvester.cli.endpoints import days_a_call, show
from harvester.config import plugins
from harvester.model import Request, Response
from harvester.testing import FakeTransport, MemorySink, Simulator
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from tests.support import harvest, noon, run, scope

Output = pytest.CaptureFixture[str]
SUCCESSORS = ("getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail")


NOW = noon("2026-11-25")


def told(capsys: Output, name: str | None, *own: JsonEndpoint) -> list[str]:
    assert show(name, own, now=NOW) == 0
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_table_fits_a_hundred_columns_and_names_every_interface(capsys: Output) -> None:
    lines = told(capsys, None)
    assert max(map(cell_len, lines)) <= 100
    named = [line.split()[0] for line in lines if line.startswith("   ") and line.strip()]
    assert set(plugins.endpoint_names()) <= set(named)


@pytest.mark.thorough
def test_a_pipe_gets_no_colours_whatever_its_width() -> None:
    for width in ("40", "100", "300"):
        result = harvest("endpoints", COLUMNS=width, FORCE_COLOR="", TERM="xterm-256color")
        assert (result.returncode, result.stderr) == (0, "")
        assert "\x1b" not in result.stdout
        assert max(map(cell_len, map(str.rstrip, result.stdout.splitlines()))) <= 100
        assert " getweanalysisappiddailysummarytrend " in result.stdout


def row(lines: list[str], name: str) -> list[str]:
    return next(line.split() for line in lines if line.split()[:1] == [name] != line.split())


def test_a_row_tells_days_first_day_late_days_permission_and_state(capsys: Output) -> None:
    lines = told(capsys, None)
    assert row(lines, "getusersummary")[1:] == ["7", "2014-12-01", "2", "active"]
    assert row(lines, "getarticletotaldetail")[1:] == ["1", "2025-11-01", "30", "7", "active"]
    assert row(lines, "publisher_settlement")[1:] == ["month", "2016-01-01", "62", "active"]
    assert row(lines, "getuserread")[1:] == ["3", "2014-12-01", "7", "retired:", "getarticleread,"]


def test_days_a_call_are_said_shortly(capsys: Output) -> None:
    lines = told(capsys, None)
    days = {"getupstreammsgweek": "week", "getweanalysisappiduserportrait": "1/7/30"}
    for name, said in {**days, "get_adunit_list": "1"}.items():
        assert row(lines, name)[1] == said == days_a_call(INTERFACES[name])


def test_a_group_is_told_alone_its_retired_ones_too(capsys: Output) -> None:
    text = "\n".join(told(capsys, "articles"))
    assert "getarticleread" in text
    assert "getarticlesummary" in text
    assert "getusersummary" not in text


def test_the_group_of_all_is_the_whole_table(capsys: Output) -> None:
    assert told(capsys, "all") == told(capsys, None)


def test_what_an_interface_does_not_have_is_not_told(capsys: Output) -> None:
    assert not [line for line in told(capsys, "getusersummary") if "  late days " in line]
    assert not [line for line in told(capsys, "get_adunit_list") if "  body " in line]


def test_one_interface_is_told_with_all_about_it_and_its_fields(capsys: Output) -> None:
    lines = told(capsys, "getarticletotaldetail")
    text = "\n".join(lines)
    for said in (
        "POST /datacube/getarticletotaldetail", "articles", "2025-11-01", "08:00 in China",
        "for 30 days", "ref_date, msgid", "datacube.getarticletotaldetail",
        "https://developers.weixin.qq.com/doc/service/api/wedata/news/",
    ):  # fmt: skip
        assert said in text
    assert row(lines, "detail_list")[1:4] == ["list", "of", "object"]
    assert row(lines, "scene_desc")[1] == "str"
    assert next(line for line in lines if "user_count" in line).startswith(" " * 5)


def test_the_labels_of_codes_that_another_field_decides_are_told(capsys: Output) -> None:
    text = " ".join(" ".join(told(capsys, "getweanalysisappidvisitdistribution")).split())
    assert "access_source_session_cnt, access_source_visit_uv: 1 = recently used" in text
    assert "57 = group tools access_staytime_info: 1 = 0 to 2 s, 2 = 3 to 5 s," in text
    assert "access_depth_info: 1 = 1 page, 2 = 2 pages," in text


def delivers(what: str) -> str:
    return f"  delivers       {what}"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("getarticlesummary", f"  state          retired: {', '.join(SUCCESSORS)}"),
        ("getuserreadhour", f"  state          retired: {', '.join(SUCCESSORS)}"),
        (
            "getweanalysisappiddailyretaininfo",
            (
                "  late days      its figures change for 31 days, counted from the last day of"
                " the window"
            ),
        ),
        ("getusercumulate", delivers("one row per day: a day without one is late")),
        (
            "publisher_settlement",
            delivers("entries up to day 62: a later answer contains all entries of an earlier one"),
        ),
        (
            "getusersummary",
            delivers(
                "rows are not guaranteed: a day without a record can be a day without activity"
            ),
        ),
    ],
)
def test_what_an_interface_has_of_its_own_is_told(name: str, line: str, capsys: Output) -> None:
    assert line in told(capsys, name)


class Sent(FakeTransport):
    """A transport that notes the requests as the simulator gets them."""

    def __init__(self) -> None:
        super().__init__(Simulator(), latency=0.01)
        self.requests: list[list[str]] = []

    async def send(self, request: Request, leave: Any = None) -> Response:
        query = [(name, "ACCESS_TOKEN" if name == "access_token" else value)
                 for name, value in request.query]  # fmt: skip
        line = f"{request.method} {request.path}?{urlencode(query)}"
        self.requests.append([line, *([request.body.decode()] if request.body else [])])
        return await super().send(request, leave)


def as_sent(lines: list[str]) -> list[str]:
    """The request of an interface, and its body, as they are told."""
    return [line[17:] for line in lines[1:3] if line.startswith(("  request  ", "  body  "))]


SHOP = JsonEndpoint(
    "shop_overall", "/channels/ec/compass/shop/overall/get", date(2026, 1, 1), dates="%Y%m%d",
    begin_key="ds", end_key="ds", body={"kind": "所有"}, rows="", day_field="",
)  # fmt: skip
YOUNG = replace(INTERFACES["getusersummary"], name="young", first_day=date(2026, 11, 23))


@pytest.mark.thorough
@pytest.mark.parametrize("name", INTERFACES)
def test_the_request_of_an_interface_is_the_one_that_is_sent(name: str, capsys: Output) -> None:
    sent, endpoint = Sent(), INTERFACES[name]
    begin = date(2026, 10, 26) if endpoint.cut is WindowKind.RECENT else endpoint.first_day
    begin = max(begin, date(2026, 7, 1))
    report = run(
        sent, scope(begin, date(2026, 11, 24), endpoints=[endpoint]), MemorySink(), now=NOW
    )
    assert report.state == "complete"
    assert as_sent(told(capsys, name)) in sent.requests


@pytest.mark.parametrize(
    ("own", "request_and_body"),
    [
        (
            SHOP,
            [
                "POST /channels/ec/compass/shop/overall/get?access_token=ACCESS_TOKEN",
                '{"ds":"20261124","kind":"所有"}',
            ],
        ),
        (
            YOUNG,  # its first window is not over
            [
                "POST /datacube/getusersummary?access_token=ACCESS_TOKEN",
                '{"begin_date":"2026-11-23","end_date":"2026-11-24"}',
            ],
        ),
        (replace(YOUNG, first_day=date(2026, 11, 25)), []),
    ],
)
def test_the_request_of_an_interface_of_your_own(
    own: JsonEndpoint, request_and_body: list[str], capsys: Output
) -> None:
    assert as_sent(told(capsys, own.name, own)) == request_and_body


@pytest.mark.thorough
def test_an_unknown_name_is_refused_with_the_nearest_group_or_interface() -> None:
    result = harvest("endpoints", "mesages")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "harvester: there is no interface or group 'mesages' (did you mean"
        " messages?); harvester endpoints lists all of them\n"
    )
