"""The figures of all interfaces fit together, as far as WeChat's do."""

from collections import Counter, defaultdict
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

from harvester.testing import Simulator
from tests.support import at, days, noon

NOW = noon("2026-06-01")
MARCH = date(2026, 3, 1), date(2026, 3, 31)
MONDAY = date(2026, 3, 2)
WEEK = MONDAY, MONDAY + timedelta(days=6)
APPIDS = ("wx1", "wx2", "wx3")

ENTRANCES = ("session", "hist_msg", "feed", "friends", "other", "kanyikan", "souyisou")


def figures(
    name: str, begin: date, end: date, *, appid: str = "wx1", now: float = NOW
) -> list[dict[str, Any]]:
    return Simulator(wall=lambda: now).truth_of(name, appid, begin, end)


# followers


@pytest.mark.parametrize("appid", APPIDS)
def test_followers_are_those_of_the_day_before_and_what_came_and_went(appid: str) -> None:
    begin, end = date(2014, 12, 1), date(2015, 12, 31)
    net: Counter[str] = Counter()
    for row in figures("getusersummary", begin, end, appid=appid):
        assert row["new_user"] >= 0
        assert row["cancel_user"] >= 0
        net[row["ref_date"]] += row["new_user"] - row["cancel_user"]
    cumulated = figures("getusercumulate", begin, end, appid=appid)
    assert len(cumulated) == len(days(begin, end))
    for former, row in pairwise(cumulated):
        assert row["cumulate_user"] == former["cumulate_user"] + net[row["ref_date"]]
        assert row["user_source"] == 0


def test_followers_come_by_several_channels_on_a_day() -> None:
    sources = {row["user_source"] for row in figures("getusersummary", *MARCH)}
    assert sources == {0, 1, 17, 30, 57, 100, 149, 161, 200, 201}


# articles of the old interfaces


def daily(field: str) -> dict[tuple[str, str], int]:
    """What getarticlesummary says of an article on a day."""
    rows = figures("getarticlesummary", MARCH[0], MARCH[1] + timedelta(days=10))
    return {(row["msgid"], row["ref_date"]): row[field] for row in rows}


def test_times_of_an_article_are_the_sum_of_its_days() -> None:
    counts = daily("int_page_read_count")
    compared = 0
    for row in figures("getarticletotal", *MARCH):
        seen = [(row["msgid"], entry["stat_date"]) for entry in row["details"]]
        if all(key in counts for key in seen):  # a day below the threshold is left out
            total = 0
            for key, entry in zip(seen, row["details"], strict=True):
                total += counts[key]
                assert entry["int_page_read_count"] == total
            compared += 1
    assert compared > 20


def test_people_of_an_article_are_fewer_than_the_sum_of_its_days() -> None:
    people = daily("int_page_read_user")
    row = max(figures("getarticletotal", *MARCH), key=lambda row: row["details"][0]["target_user"])
    keys = [(row["msgid"], entry["stat_date"]) for entry in row["details"]]
    newest = row["details"][-1]["int_page_read_user"]
    assert people[keys[0]] < newest < sum(people[key] for key in keys)


@pytest.mark.parametrize(
    ("name", "entries", "length"),
    [("getarticletotal", "details", 7), ("getarticletotaldetail", "detail_list", 30)],
)
def test_an_article_grows_for_so_many_days_alone(name: str, entries: str, length: int) -> None:
    day = date(2026, 3, 4)
    for age in (1, 2, length - 1, length, length + 1, length + 100):
        now = noon(str(day + timedelta(days=age)))
        rows = figures(name, day, day, now=now)
        assert rows
        for row in rows:
            expected = days(day, day + timedelta(days=min(age, length) - 1))
            assert [entry["stat_date"] for entry in row[entries]] == list(map(str, expected))
    assert rows == figures(name, day, day, now=now + 1e9)


@pytest.mark.parametrize("name", ["getarticletotal", "getarticletotaldetail"])
def test_yesterdays_entry_is_there_from_eight(name: str) -> None:
    day, found = date(2026, 3, 4), []
    for hour in (7.99, 8.0):
        row = figures(name, day, day, now=at("2026-03-08", hour))[0]
        found.append((row.get("details") or row["detail_list"])[-1]["stat_date"])
    assert found == ["2026-03-06", "2026-03-07"]


@pytest.mark.parametrize("name", ["getarticletotal", "getarticletotaldetail"])
def test_running_figures_never_grow_less(name: str) -> None:
    for row in figures(name, *MARCH):
        for former, entry in pairwise(row.get("details") or row["detail_list"]):
            for field in entry:
                if isinstance(entry[field], int):
                    assert entry[field] >= former[field], field


def test_the_entrances_of_an_article_add_up_in_times_but_not_in_people() -> None:
    rows = figures("getarticletotal", *MARCH)
    entries = [entry for row in rows for entry in row["details"]]
    more = 0
    for entry in entries:
        times = [entry[f"int_page_from_{name}_read_count"] for name in ENTRANCES]
        people = [entry[f"int_page_from_{name}_read_user"] for name in ENTRANCES]
        assert sum(times) == entry["int_page_read_count"]
        assert all(one <= other for one, other in zip(people, times, strict=True))
        more += sum(people) > entry["int_page_read_user"]
        shares = [entry[f"feed_share_from_{name}_cnt"] for name in ("session", "feed", "other")]
        assert sum(shares) == entry["share_count"]
    assert more > len(entries) // 2


# articles of the new interfaces


def test_old_and_new_interfaces_tell_the_same_of_an_articles_first_day() -> None:
    day = date(2026, 3, 4)
    reads = {row["msgid"]: row["detail"] for row in figures("getarticleread", day, day)}
    shares = {row["msgid"]: row["detail"] for row in figures("getarticleshare", day, day)}
    rows = figures("getarticletotaldetail", day, day)
    assert rows
    for row in rows:
        first = row["detail_list"][0]
        assert reads[row["msgid"]]["read_user"] == first["read_user"]
        assert shares[row["msgid"]]["share_user"] == first["share_user"]
    new = {row["msgid"]: row["detail"]["read_user"] for row in figures("getarticleread", day, day)}
    for row in figures("getarticlesummary", day, day):
        assert new[row["msgid"]] == row["int_page_read_user"]


def test_scenes_do_not_add_up_to_all_of_them_and_stand_in_no_fixed_order() -> None:
    firsts = set()
    for row in figures("getarticleread", *MARCH):
        detail = row["detail"]
        scenes = {each["scene_desc"]: each["user_count"] for each in detail["read_user_source"]}
        assert len(scenes) == len(detail["read_user_source"]) == 8
        assert scenes.pop("全部") == detail["read_user"]
        firsts.add(detail["read_user_source"][0]["scene_desc"])
        if detail["read_user"] > 100:
            assert sum(scenes.values()) != detail["read_user"]
    assert len(firsts) > 3


def test_an_entry_of_thirty_has_its_rates() -> None:
    for row in figures("getarticletotaldetail", *MARCH):
        assert row["publish_type"] in (0, 1, 2)
        for entry in row["detail_list"]:
            assert 0 <= entry["read_delivery_rate"] <= 1
            assert [each["position"] for each in entry["read_jump_position"]] == [1, 2, 3, 4, 5]
            assert sum(each["rate"] for each in entry["read_jump_position"]) == pytest.approx(
                1, 1e-5
            )


def test_an_account_tells_how_many_articles_it_posted() -> None:
    sent = {row["ref_date"]: row["detail"] for row in figures("getbizsummary", *MARCH)}
    posted = Counter(row["ref_date"] for row in figures("getarticletotaldetail", *MARCH))
    assert posted
    assert all(sent[day]["send_page_count"] >= number for day, number in posted.items())


# readers of an account


def sums(rows: list[dict[str, Any]], field: str, *keys: str) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        found[tuple(row[key] for key in keys)] += row[field]
    return +found


@pytest.mark.parametrize(
    ("hours", "whole", "field", "key"),
    [
        ("getuserreadhour", "getuserread", "int_page_read_count", "user_source"),
        ("getuserreadhour", "getuserread", "share_count", "user_source"),
        ("getusersharehour", "getusershare", "share_count", "share_scene"),
        ("getupstreammsghour", "getupstreammsg", "msg_count", "msg_type"),
        ("getinterfacesummaryhour", "getinterfacesummary", "callback_count", "ref_date"),
        ("getinterfacesummaryhour", "getinterfacesummary", "fail_count", "ref_date"),
        ("getinterfacesummaryhour", "getinterfacesummary", "total_time_cost", "ref_date"),
    ],
)
@pytest.mark.parametrize("appid", APPIDS)
def test_hours_add_up_to_the_day(hours: str, whole: str, field: str, key: str, appid: str) -> None:
    rows = figures(hours, *WEEK, appid=appid)
    assert {row["ref_hour"] for row in rows} <= set(range(0, 2400, 100))
    day = sums(figures(whole, *WEEK, appid=appid), field, "ref_date", key)
    assert sums(rows, field, "ref_date", key) == day != Counter()


def test_channels_add_up_to_all_of_them_in_times_but_not_in_people() -> None:
    rows = figures("getuserread", *MARCH)
    channels, every = [], []
    for row in rows:
        (every if row["user_source"] == 99999999 else channels).append(row)
    for field in ("int_page_read_count", "share_count"):
        assert sums(channels, field, "ref_date") == sums(every, field, "ref_date")
    people = sums(channels, "int_page_read_user", "ref_date")
    assert all(people[row["ref_date"],] > row["int_page_read_user"] for row in every)
    assert {row["user_source"] for row in channels} == {0, 1, 2, 4, 5, 6, 7}


def test_shares_of_all_scenes_are_the_shares_of_all_readers() -> None:
    readers = [r for r in figures("getuserread", *MARCH) if r["user_source"] == 99999999]
    shares = figures("getusershare", *MARCH)
    assert sums(shares, "share_count", "ref_date") == sums(readers, "share_count", "ref_date")
    assert {row["share_scene"] for row in shares} == {1, 2, 5, 255}


def test_before_2020_02_28_there_were_no_rows_by_channel() -> None:
    found = defaultdict(set)
    for row in figures("getuserread", date(2020, 2, 27), date(2020, 2, 28)):
        found[row["ref_date"]].add(row["user_source"])
    assert (found["2020-02-27"], len(found["2020-02-28"])) == ({99999999}, 8)


def test_original_pages_and_favourites_stand_in_the_row_of_all_channels_only() -> None:
    names = ("ori_page_read_user", "ori_page_read_count", "add_to_fav_user", "add_to_fav_count")
    rows = figures("getuserread", *MARCH)
    assert any(row[name] for row in rows for name in names if row["user_source"] == 99999999)
    others = [row for row in rows if row["user_source"] != 99999999]
    others += figures("getuserreadhour", MARCH[0], MARCH[0])
    assert not any(row[name] for row in others for name in names)


@pytest.mark.parametrize(
    "name", ["getuserread", "getuserreadhour", "getusershare", "getupstreammsg"]
)
@pytest.mark.parametrize("appid", APPIDS)
def test_people_are_never_more_than_times(name: str, appid: str) -> None:
    for row in figures(name, *WEEK, appid=appid):
        for field in row:
            if field.endswith("_count"):
                assert 0 <= row[field.replace("_count", "_user")] <= row[field]


# messages


@pytest.mark.parametrize(
    ("name", "stretch"), [("getupstreammsgweek", WEEK), ("getupstreammsgmonth", MARCH)]
)
def test_weeks_and_months_have_the_messages_of_days(name: str, stretch: tuple[date, date]) -> None:
    rows = figures(name, stretch[0], stretch[0])
    every = figures("getupstreammsg", *stretch)
    assert sums(rows, "msg_count", "msg_type") == sums(every, "msg_count", "msg_type")
    people = sums(every, "msg_user", "msg_type")
    assert all(row["msg_user"] <= people[row["msg_type"],] * 1.6 for row in rows)


@pytest.mark.parametrize("suffix", ["", "week", "month"])
def test_most_people_send_one_to_five_messages(suffix: str) -> None:
    rows = figures(f"getupstreammsgdist{suffix}", MONDAY, MONDAY)
    found = {row["count_interval"]: row["msg_user"] for row in rows}
    assert found[1] > found[2] > found[3] > 0


# mini-programs


def test_dates_of_mini_programs_are_written_without_hyphens() -> None:
    written = [
        figures(f"getweanalysisappid{name}", *stretch)[0]["ref_date"]
        for name, stretch in {
            "dailyvisittrend": (MONDAY, MONDAY),
            "weeklyvisittrend": WEEK,
            "monthlyvisittrend": MARCH,
            "dailyretaininfo": (MONDAY, MONDAY),
            "weeklyretaininfo": WEEK,
            "monthlyretaininfo": MARCH,
            "userportrait": WEEK,
        }.items()
    ]
    week = "20260302-20260308"
    assert written == ["20260302", week, "202603", "20260302", week, "202603", week]


@pytest.mark.parametrize(
    ("name", "stretch", "after"),
    [
        ("daily", (MONDAY, MONDAY), {0: 1, 1: 2, 7: 8, 14: 15, 30: 31}),
        ("weekly", WEEK, {0: 1, 1: 8, 4: 29}),
        ("monthly", MARCH, {0: 1, 1: 31}),
    ],
)
def test_who_came_again_is_known_when_the_time_has_passed(
    name: str, stretch: tuple[date, date], after: dict[int, int]
) -> None:
    for key, number in after.items():
        now = noon(str(stretch[1] + timedelta(days=number)))
        answer = figures(f"getweanalysisappid{name}retaininfo", *stretch, now=now)[0]
        assert max(each["key"] for each in answer["visit_uv"]) == key
        assert [each["key"] for each in answer["visit_uv_new"]] == [
            each["key"] for each in answer["visit_uv"]
        ]


def test_everybody_who_came_stands_first_among_those_who_came_again() -> None:
    visits = figures("getweanalysisappiddailyvisittrend", MONDAY, MONDAY)[0]
    answer = figures("getweanalysisappiddailyretaininfo", MONDAY, MONDAY)[0]
    for field in ("visit_uv", "visit_uv_new"):
        values = [each["value"] for each in answer[field]]
        assert values[0] == visits[field]
        assert values == sorted(values, reverse=True)


def test_pages_add_up_to_the_visits_of_a_day() -> None:
    visits = figures("getweanalysisappiddailyvisittrend", MONDAY, MONDAY)[0]
    pages = figures("getweanalysisappidvisitpage", MONDAY, MONDAY)
    assert sum(page["page_visit_pv"] for page in pages) == visits["visit_pv"]
    assert sum(page["entrypage_pv"] for page in pages) == visits["session_cnt"]


def test_a_distribution_tells_where_from_how_long_and_how_deep() -> None:
    rows = figures("getweanalysisappidvisitdistribution", MONDAY, MONDAY)
    visits = figures("getweanalysisappiddailyvisittrend", MONDAY, MONDAY)[0]
    items = {row["index"]: row["item_list"] for row in rows}
    assert list(items) == [
        "access_source_session_cnt", "access_source_visit_uv", "access_staytime_info",
        "access_depth_info",
    ]  # fmt: skip
    for index in ("access_source_session_cnt", "access_staytime_info", "access_depth_info"):
        assert sum(item["value"] for item in items[index]) == visits["session_cnt"]
    assert all(
        item["access_source_visit_uv"] == item["value"] for item in items["access_source_visit_uv"]
    )
