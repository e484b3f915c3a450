"""Notebooks: `run_sync` where a loop runs already, and the one of the examples."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.machine import library
from tests.scenarios.command import Start
from tests.support import ROOT, A

nbclient = library("nbclient")
nbformat = library("nbformat")

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


ANALYSIS = ROOT / "examples" / "analysis.ipynb"


def _texts(notebook: Any) -> list[tuple[str, str]]:
    """What its cells print and return, by its kind, without pictures."""
    found: list[tuple[str, str]] = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if output.output_type == "stream":
                found.append((output.name, output.text))
            elif "image/png" not in data:
                found += [(kind, data[kind]) for kind in sorted(data)]
    return found


def _pictures(notebook: Any) -> int:
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
    return sum("image/png" in each.get("data", {}) for each in outputs)


@pytest.mark.timeout(500)
def test_the_notebook_of_the_examples_gives_what_it_shows(tmp_path: Path) -> None:
    shown = nbformat.read(ANALYSIS, as_version=4)
    run = copy.deepcopy(shown)
    for cell in run.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(run, timeout=400, kernel_name="python3", resources=resources).execute()
    listed = subprocess.run(["fc-list", ":lang=zh"], capture_output=True, text=True, check=False)
    if "Noto Sans CJK" in listed.stdout:  # without it each missing letter is a warning
        assert "stderr" not in dict(_texts(run))
    assert [each for each in _texts(run) if each[0] != "stderr"] == _texts(shown)
    assert _pictures(run) == _pictures(shown) == 3
    assert ANALYSIS.stat().st_size < 200_000  # GitHub shows it
