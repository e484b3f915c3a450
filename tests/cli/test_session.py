"""How the command ends a run: its summary."""

from __future__ import annotations

from harvester.cli.session import summarize
from harvester.events import Report


def test_the_summary_tells_what_changed_can_change_and_was_left_out() -> None:
    report = Report(changed=2, provisional=3, foreign=4)
    said = ", ".join(summarize(report))
    for part in ("2 changed", "3 still provisional", "4 rows of days that were not requested"):
        assert part in said
    assert "changed" not in ", ".join(summarize(Report()))
