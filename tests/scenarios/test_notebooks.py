"""In a notebook, whose loop runs already, `run_sync` calls its observer and returns a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.command import Start
from tests.support import A

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

pytestmark = pytest.mark.thorough

SETUP = """
import asyncio, harvester
asyncio.get_running_loop()
def show(event):
    if isinstance(event, harvester.events.Committed):
        print(event.windows[-1], end="\\r")
"""
RUN = """
report = harvester.run_sync(
    harvester.Account({appid!r}, secret="practice"), "getinterfacesummaryhour",
    "2024-01-01", "2024-01-31", sink="jsonl:out", base_url={url!r}, rate="1000/s",
    on_event=show,
)
report
"""


def test_a_notebook_shows_what_the_observer_prints_and_the_report_as_html(
    wechat: Start, tmp_path: Path
) -> None:
    cells = [SETUP, RUN.format(appid=A, url=wechat().url)]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
    client = nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs: list[Any] = notebook.cells[1].outputs
    progress, report = outputs
    assert (progress.output_type, progress.name) == ("stream", "stdout")
    assert "getinterfacesummaryhour 2024-01-" in progress.text
    assert report.output_type == "execute_result"
    assert "<b>harvester: complete</b>" in report.data["text/html"]
