"""What an account has earned, while nothing of it is settled."""

from __future__ import annotations

from pathlib import Path

from tests.scenarios.wire import harvested
from tests.support import bare, stored

FINE = {"err_msg": "ok", "ret": 0}
SUMS = {"penalty_all": 0, "revenue_all": 108844, "settled_revenue_all": 0}


def test_a_settlement_without_a_list_is_one_record_of_its_month(tmp_path: Path) -> None:
    answer = {"base_resp": FINE, **SUMS, "total_num": 0}  # as it was seen
    report = harvested(
        lambda *_: answer, "publisher_settlement", "2026-03-01", "2026-04-30", tmp_path
    )
    assert (report.state, report.records, report.windows.empty) == ("complete", 2, 0)
    rows = stored(tmp_path, "publisher_settlement")
    assert [bare(row) for row in rows] == [SUMS, SUMS]
    assert sorted((row["_begin_date"], row["_end_date"]) for row in rows) == [
        ("2026-03-01", "2026-03-31"), ("2026-04-01", "2026-04-30"),
    ]  # fmt: skip


def test_whom_it_is_paid_to_is_kept_too(tmp_path: Path) -> None:
    answer = {"base_resp": FINE, **SUMS, "body": "who", "settlement_list": [], "total_num": 0}
    harvested(lambda *_: answer, "publisher_settlement", "2026-03-01", "2026-03-31", tmp_path)
    assert [bare(row) for row in stored(tmp_path, "publisher_settlement")] == [
        {**SUMS, "body": "who"}
    ]


def test_entries_carry_the_sums_and_there_is_no_record_beside_them(tmp_path: Path) -> None:
    entry = {"date": "2026-03-25", "month": "202603", "order": 1, "settled_revenue": 5}
    answer = {"base_resp": FINE, **SUMS, "settlement_list": [entry], "total_num": 1}
    harvested(lambda *_: answer, "publisher_settlement", "2026-03-01", "2026-03-31", tmp_path)
    assert [bare(row) for row in stored(tmp_path, "publisher_settlement")] == [{**SUMS, **entry}]
