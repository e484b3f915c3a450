"""The publisher interface: a GET with an action, pages, and an envelope of its own."""

from datetime import date, timedelta
from typing import Any

import pytest

from harvester.testing.data import publisher
from tests.support import at, days, noon
from tests.testing.support import Wechat, code

NOW = noon("2026-06-01")
SLOTS, GOODS = "publisher_adpos_general", "publisher_cps_general"
SETTLEMENT, UNITS = "publisher_settlement", "publisher_adunit_general"
BEGIN, END = date(2026, 3, 1), date(2026, 3, 31)
FINE = {"base_resp": {"err_msg": "ok", "ret": 0}}
RATES = {
    "req_succ_count", "exposure_count", "exposure_rate", "click_count", "click_rate", "income",
    "ecpm",
}  # fmt: skip
SALES = {
    "exposure_count", "click_count", "click_rate", "order_count", "order_rate", "total_fee",
    "total_commission",
}  # fmt: skip


def ret(answer: dict[str, Any]) -> int | None:
    """The refusal, which stands at the top level; None for an answer in its envelope."""
    return answer.get("ret") if "base_resp" not in answer else None


@pytest.mark.parametrize(("action", "fields"), [(SLOTS, RATES), (GOODS, SALES)])
def test_a_list_has_a_row_a_day_newest_first_and_its_sums(action: str, fields: set[str]) -> None:
    wechat = Wechat(NOW)
    answer = wechat.stat(action, BEGIN, END)
    assert set(answer) == {"base_resp", "list", "summary", "total_num"}
    assert answer["base_resp"] == FINE["base_resp"]
    assert [row["date"] for row in answer["list"]] == [str(d) for d in days(BEGIN, END)[::-1]]
    assert all(set(row) == fields | {"date"} for row in answer["list"])
    assert set(answer["summary"]) == fields
    for field in fields:
        if not field.endswith(("_rate", "ecpm")):
            assert answer["summary"][field] == sum(row[field] for row in answer["list"])
    assert answer["total_num"] == 31
    assert answer["list"] == wechat.truth_of(action, "wx1", BEGIN, END)


def test_pages_hold_each_row_once_and_the_sums_are_those_of_all() -> None:
    wechat = Wechat(NOW)
    pages = [wechat.stat(SLOTS, BEGIN, END, page=page, page_size=10) for page in (1, 2, 3, 4, 5)]
    assert [len(page["list"]) for page in pages] == [10, 10, 10, 1, 0]
    rows = [row for page in pages for row in page["list"]]
    assert rows == wechat.truth_of(SLOTS, "wx1", BEGIN, END)
    assert {page["total_num"] for page in pages} == {31}
    assert all(page["summary"] == pages[0]["summary"] for page in pages)


def test_there_are_thirteen_slots_and_their_incomes_are_those_of_all() -> None:
    wechat = Wechat(NOW)
    whole = wechat.stat(SLOTS, BEGIN, END)["summary"]["income"]
    parts = [wechat.stat(SLOTS, BEGIN, END, ad_slot=each) for each in publisher.SLOTS]
    assert len({part["list"][0]["slot_id"] for part in parts}) == 13
    assert sum(part["summary"]["income"] for part in parts) == whole


def test_slots_are_named_only_if_one_is_asked_for() -> None:
    wechat, slot = Wechat(NOW), "SLOT_ID_BIZ_BOTTOM"
    answer = wechat.stat(SLOTS, BEGIN, END, ad_slot=slot)
    assert {row["ad_slot"] for row in answer["list"]} == {slot}
    assert {type(row["slot_id"]) for row in answer["list"]} == {int}
    whole = wechat.stat(SLOTS, BEGIN, END)
    assert all(row.keys().isdisjoint({"slot_id", "ad_slot"}) for row in whole["list"])
    assert answer["summary"]["income"] < whole["summary"]["income"]
    by_number = wechat.stat(SLOTS, BEGIN, END, slot_id=answer["list"][0]["slot_id"])
    assert by_number == answer


def test_ad_units_can_be_asked_for_by_their_slot_or_one_by_one() -> None:
    wechat, slot = Wechat(NOW), "SLOT_ID_WEAPP_BANNER"
    for action, rows in ((UNITS, "list"), ("get_adunit_list", "ad_unit")):
        of_slot = wechat.stat(action, BEGIN, END, ad_slot=slot)
        unit = of_slot[rows][0]["ad_unit_id"]
        assert {row.get("stat_item", row)["ad_slot"] for row in of_slot[rows]} == {slot}
        assert wechat.stat(action, BEGIN, END, ad_unit_id=unit) == of_slot
        assert wechat.stat(action, BEGIN, END, ad_unit_id="adunit-none")["total_num"] == 0


SAID = {
    1701: "invalid param", 45010: "not supported action for your appid", 61500: "date format error",
    61501: "date range error",
}  # fmt: skip
YEAR, LONG = date(2026, 1, 1), {"start_date": date(2020, 1, 1), "end_date": date(2025, 12, 31)}


@pytest.mark.parametrize(
    ("action", "changed", "expected"),
    [
        *[(SLOTS, {"page": page}, 1701) for page in (0, "x", None)],
        *[(SLOTS, {"page_size": size}, 1701) for size in (0, 91, None)],
        (SLOTS, {"ad_slot": "SLOT_ID_NONE"}, 1701),
        (SLOTS, {"slot_id": 5}, 1701),
        (SETTLEMENT, {**LONG, "page_size": 101}, 1701),
        (SLOTS, {"start_date": YEAR, "end_date": YEAR + timedelta(days=90)}, 61501),
        (GOODS, {"start_date": YEAR, "end_date": YEAR + timedelta(days=60)}, 61501),
        (GOODS, {"start_date": END, "end_date": BEGIN}, 61501),
        (GOODS, {"start_date": date(2026, 6, 1), "end_date": date(2026, 6, 1)}, 61501),
        (GOODS, {"start_date": "20260301"}, 61500),
        (GOODS, {"start_date": None}, 61500),
        *[(action, {}, 45010) for action in ("publisher_nothing", "getusersummary", "")],
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_the_top_level(
    action: str, changed: dict[str, Any], expected: int
) -> None:
    answer = Wechat(NOW).stat(action, BEGIN, END, **changed)
    assert answer == {"ret": expected, "err_msg": SAID[expected]}


@pytest.mark.parametrize(("action", "span"), [(SLOTS, 90), (GOODS, 60)])
def test_a_list_may_be_of_so_many_days(action: str, span: int) -> None:
    assert ret(Wechat(NOW).stat(action, YEAR, YEAR + timedelta(days=span - 1))) is None
    fewer = Wechat(NOW, spans={action: 5})
    assert ret(fewer.stat(action, YEAR, YEAR + timedelta(days=5))) == 61501


def test_yesterday_is_not_ready_before_eight() -> None:
    yesterday = date(2026, 5, 31)
    assert ret(Wechat(at("2026-06-01", 7.9)).stat(GOODS, yesterday, yesterday)) == 61503


def test_faults_and_quotas_are_the_publishers_too() -> None:
    wechat = Wechat(NOW, daily_quota=1)
    assert ret(wechat.stat(GOODS, BEGIN, END)) is None
    assert code(wechat.stat(GOODS, BEGIN, END)) == 45009


@pytest.mark.thorough
def test_years_of_settlements_can_be_had_in_one_call() -> None:
    wechat = Wechat(NOW)
    for asked, size in ((LONG, 90), ({**LONG, "page_size": 100}, 100)):
        answer = wechat.stat(SETTLEMENT, BEGIN, END, **asked)
        assert (answer["total_num"], len(answer["settlement_list"])) == (144, size)


def test_while_nothing_is_settled_the_sums_come_without_a_list() -> None:
    wechat = Wechat(noon("2026-03-24"))
    begin, end = date(2026, 3, 1), date(2026, 3, 20)
    incomes = [row["income"] for row in wechat.stat(SLOTS, begin, end)["list"]]
    sums = {"penalty_all": 0, "revenue_all": sum(incomes), "settled_revenue_all": 0}
    assert wechat.stat(SETTLEMENT, begin, end) == {**FINE, **sums, "total_num": 0}
    assert wechat.truth_of(SETTLEMENT, "wx1", begin, end) == [sums]


def test_a_settlement_has_fields_of_its_own_and_strings_for_numbers() -> None:
    wechat = Wechat(NOW)
    answer = wechat.stat(SETTLEMENT, BEGIN, END)
    assert set(answer) == {
        "base_resp", "body", "penalty_all", "revenue_all", "settled_revenue_all",
        "settlement_list", "total_num",
    }  # fmt: skip
    rows = answer["settlement_list"]
    assert rows == wechat.truth_of(SETTLEMENT, "wx1", BEGIN, END)
    assert [(row["date"], row["zone"], row["month"], row["order"]) for row in rows] == [
        ("2026-04-10", "2026年3月16日至31日", "202603", 2),
        ("2026-03-25", "2026年3月1日至15日", "202603", 1),
    ]
    for row in rows:
        assert set(row) == {
            "date", "zone", "month", "order", "sett_status", "settled_revenue", "sett_no",
            "mail_send_cnt", "slot_revenue",
        }  # fmt: skip
        assert row["mail_send_cnt"] == "0"
        assert all(type(each["slot_id"]) is str for each in row["slot_revenue"])
        revenue = sum(each["slot_settled_revenue"] for each in row["slot_revenue"])
        assert revenue == row["settled_revenue"]


def test_a_settlement_comes_whole_with_any_day_of_it_once_it_is_settled() -> None:
    asked = date(2026, 2, 11), date(2026, 3, 26)
    rows = Wechat(NOW).truth_of(SETTLEMENT, "wx1", *asked)
    halves = [("202603", 2), ("202603", 1), ("202602", 2), ("202602", 1)]
    assert [(row["month"], row["order"]) for row in rows] == halves
    early = Wechat(noon("2026-04-02")).stat(SETTLEMENT, *asked)["settlement_list"]
    assert [(row["month"], row["order"]) for row in early] == halves[1:]
    assert [row["sett_status"] for row in early] == [1, 5, 5]


def test_half_a_month_is_settled_with_the_income_of_its_days() -> None:
    wechat = Wechat(NOW)
    [row] = wechat.truth_of(SETTLEMENT, "wx1", date(2026, 3, 15), date(2026, 3, 15))
    incomes = wechat.truth_of(SLOTS, "wx1", date(2026, 3, 1), date(2026, 3, 15))
    assert row["settled_revenue"] == sum(each["income"] for each in incomes)


def test_an_ad_unit_has_a_row_a_day_and_its_day_within_its_figures() -> None:
    wechat = Wechat(NOW)
    answer = wechat.stat(UNITS, BEGIN, END)
    assert set(answer) == {"base_resp", "list", "total_num"}
    rows = wechat.truth_of(UNITS, "wx1", BEGIN, END)
    assert (answer["list"], answer["total_num"]) == (rows[:90], 93)
    assert all(set(row) == {"ad_unit_id", "ad_unit_name", "stat_item"} for row in rows)
    assert {frozenset(row["stat_item"]) for row in rows} == {frozenset(RATES | {"ad_slot", "date"})}
    found = {(row["ad_unit_id"], row["stat_item"]["date"]) for row in rows}
    assert len(found) == 3 * 31


def test_the_ad_units_there_are_are_listed_whatever_days_are_asked_for() -> None:
    wechat = Wechat(NOW)
    rows = wechat.stat(UNITS, BEGIN, END)["list"]
    answer = wechat.stat("get_adunit_list", BEGIN, END)
    assert answer == wechat.stat("get_adunit_list", BEGIN, END, start_date=None, end_date=None)
    assert set(answer) == {"base_resp", "ad_unit", "total_num"}
    listed = {row["ad_unit_id"] for row in answer["ad_unit"]}
    rows = wechat.stat(UNITS, BEGIN, BEGIN)["list"]
    assert listed == {row["ad_unit_id"] for row in rows}


@pytest.mark.parametrize("action", [SLOTS, GOODS])
def test_before_2016_there_is_an_empty_list(action: str) -> None:
    wechat = Wechat(NOW)
    empty = wechat.stat(action, date(2015, 12, 1), date(2015, 12, 31))
    assert (empty["list"], empty["total_num"], empty["base_resp"]["ret"]) == ([], 0, 0)
    rows = wechat.stat(action, date(2015, 12, 30), date(2016, 1, 2))["list"]
    assert [row["date"] for row in rows] == ["2016-01-02", "2016-01-01"]
