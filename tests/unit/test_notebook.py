"""The bar of a notebook, and a report as a notebook shows it."""

from __future__ import annotations

import asyncio
import sys
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from harvester import events, notebook
from harvester.events import Event, Failure, Report, Wait, Windows
from harvester.model import Window
from harvester.notebook import with_bar

DAY = date(2024, 1, 1)
END = (
    "<progress value='1510' max='3004' style='width:16em'></progress>"
    " 1,510/3,004 windows, 1,234 records, 7 failed, 3 waiting"
)


class Pictures:
    """What IPython would show."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
        self.shown: list[str] = []
        shell_of = SimpleNamespace(get_ipython=lambda: shell)
        monkeypatch.setitem(sys.modules, "IPython", shell_of)
        monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=self.display))
        monkeypatch.setattr(notebook, "EVERY", 0.0)

    def display(self, picture: Any, *, display_id: bool) -> Pictures:
        assert display_id
        self.update(picture)
        return self

    def update(self, picture: Any) -> None:
        self.shown.append(picture._repr_html_())


def run(observe: Any) -> None:
    windows = tuple(Window("wx1", "e", DAY, DAY) for _ in range(1_000))
    for event in (
        events.RunStarted(3_000, 500, 1),
        events.Committed(windows, 0, 1_234),
        events.Failed("wx1", "e", DAY, DAY, 7, "<b>"),
        events.Deferred("wx1", "e", DAY, DAY, 3, 0.0, "quota"),
        events.Split("wx1", "e", 4),
        events.Ended(Report()),
    ):
        observe(event)


def test_a_notebook_has_a_bar_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(monkeypatch, SimpleNamespace(kernel=1))
    seen: list[Event] = []
    run(with_bar(seen.append))
    assert len(seen) == 6
    assert pictures.shown[0].startswith("<progress value='500' max='3000' ")
    assert pictures.shown[-1] == END


def test_pictures_come_a_few_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(monkeypatch, SimpleNamespace(kernel=1))
    monkeypatch.setattr(notebook, "EVERY", 60.0)
    run(with_bar(None))
    assert pictures.shown[1:] == [END]  # the first, and the end


@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["no shell", "a terminal"])
def test_elsewhere_there_is_none(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(monkeypatch, shell)
    assert with_bar(None) is None
    assert with_bar(print) is print
    assert pictures.shown == []


def test_without_ipython_there_is_none() -> None:
    assert "IPython" not in sys.modules
    assert with_bar(None) is None


# the report


def test_a_report_is_a_table_in_html() -> None:
    html = Report(windows=Windows(1_234, 0, 1_234), records=56_789)._repr_html_()
    assert html.startswith("<div><b>harvester: complete</b><table>")
    assert ">1,234</td>" in html
    assert ">56,789</td>" in html
    assert "<ul>" not in html


def test_all_that_came_from_outside_is_escaped_in_html() -> None:
    evil = "<script>alert('1')</script>&\"'"
    report = Report(
        state=evil,
        failures=[Failure("wx<1>", "e<2>", DAY, DAY, evil)],
        waits=[Wait("wx<3>", evil, windows=1, until=0.0, begin=DAY, end=DAY)],
        notes=[evil],
        until=0.0,
    )
    html = report._repr_html_()
    assert html.count("&lt;script&gt;") == 4
    assert "<script" not in html
    assert "<1>" not in html
    assert "<3>" not in html
    assert "goes on from" in html


def test_of_many_causes_the_first_are_shown() -> None:
    failures = [Failure("wx1", "e", DAY, DAY, f"reason {n}") for n in range(500)]
    html = Report(state="partial", failures=failures)._repr_html_()
    assert html.count("<li>") == 21
    assert "<li>and 480 more</li>" in html


def test_a_coroutine_function_gets_its_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(monkeypatch, SimpleNamespace(kernel=1))
    seen: list[Event] = []

    async def observe(event: Event) -> None:
        seen.append(event)

    observer: Any = with_bar(observe)
    asyncio.run(observer(events.Ended(Report())))
    assert seen == [events.Ended(Report())]
    assert pictures.shown
