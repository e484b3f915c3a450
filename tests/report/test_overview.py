"""The overview of a ledger, as sums and as runs of days."""

from __future__ import annotations

from tests.report_data import agency


def test_months_and_weeks_add_up() -> None:
    ledger, names = agency(40)
    seen = ledger.seen(names=names)
    for view in seen.interfaces:
        columns = zip(*view.months.values(), strict=True)
        assert tuple(map(sum, columns)) == view.counts
    assert tuple(map(sum, zip(*(one.counts for one in seen.accounts), strict=True))) == seen.counts
    last = [sum(week) for account in seen.accounts for week in account.weeks]
    assert max(last) == 7 * len(seen.interfaces)
    assert {account.name for account in seen.accounts} == {*names.values()}
