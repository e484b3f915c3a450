"""The command ``report`` reads a sink into which a run may write at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from harvester.cli.report import _figures
from harvester.errors import SinkError
from harvester.ledger import SqliteLedger
from harvester.report import charts as figures
from harvester.report.charts import Figures
from harvester.sinks.memory import MemorySink
from tests.report_data import YESTERDAY, agency


class Moving:
    """A ledger whose checkpoint a run changes so many times."""

    path = None

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.asked = 0

    async def checkpoint(self, _: str) -> dict[str, str]:
        self.asked += 1
        return {"x": str(min(self.asked, self.changes))}


def read(ledger: Moving, reader: Callable[..., Figures], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("harvester.cli.report.figures", reader)
    seen = agency(1)[0].seen()
    return asyncio.run(_figures(cast("SqliteLedger", ledger), seen, ["m"], {"m": MemorySink()}))


def fails_until(checkpoint: str, error: Exception) -> Callable[..., Figures]:
    def reader(_: object, given: dict[str, str], *__: object) -> Figures:
        if given["x"] < checkpoint:
            raise error
        return Figures(YESTERDAY)

    return reader


@pytest.mark.parametrize("error", [SinkError("it is not as the ledger says"), OSError("gone")])
def test_what_a_run_replaced_meanwhile_is_read_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Moving(3)
    assert read(ledger, fails_until("3", error), monkeypatch) == (figures.Figures(YESTERDAY), "")
    assert ledger.asked == 3


def test_what_stays_damaged_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Moving(1)
    found = read(ledger, fails_until("9", SinkError("it is damaged")), monkeypatch)
    assert found == (None, "it is damaged")
    assert ledger.asked == 2


def test_a_file_that_may_not_be_read_costs_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(Moving(1), fails_until("9", PermissionError(13, "denied", "x")), monkeypatch)
    assert found == (None, "x cannot be read (denied)")
