"""The picture of the table: what it says, and when nothing is measured for it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as table
from benchmarks import draw
from benchmarks.figures import Figure, as_json, from_json

WHERE = {"python": "3.11.7", "cores": 2}
SPEED = Figure("throughput: of the bare loop's", 0.763, goal=0.8, gate=0.68)
PEAK = Figure("memory: growth", 4.1, "MB", goal=10, gate=15, more_is_better=False)
FIGURES = [
    SPEED,
    Figure("throughput: harvester, CPU a request", 400.0, "µs"),
    Figure("throughput: harvester, requests", 2345.6, "/s"),
    Figure("throughput: by hand, CPU a request", 500.0, "µs"),
    Figure("throughput: by hand, requests", 1987.6, "/s"),
    Figure("writing: JSON lines sink", 1.31, goal=1.5, gate=2.5, more_is_better=False),
    Figure("load: of the first's CPU", 0, goal=1.05, gate=1.25, more_is_better=False),
    Figure("stages: plan, a window", 8.26, "µs"),
    Figure("stages: loop, a window", 99.5, "µs"),
    PEAK,
    Figure("memory: peak at 40000 windows", 63.2, "MB", points=((100, 58.0), (40_000, 63.2))),
]
SAID = {
    *("harvester", "2,500 /s, 2,346 /s by the clock", "loop by hand"),
    *("throughput: of the bare loop's", "0.763", "≥ 0.8", "≥ 0.68"),
    *("writing: JSON lines sink", "1.31", "≤ 1.5", "≤ 2.5", "meets the goal", "within the gate"),
    *("Where the microseconds of a window go: 108 µs", "plan", "8.26 µs", "loop", "99.5 µs"),
    *("memory: peak at 40000 windows: 63.2 MB", "memory: growth: 4.1 MB (goal ≤ 10, gate ≤ 15)"),
    *("Measured with python 3.11.7, cores 2.", "Only ratios carry over to another machine."),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a picture is drawn, if there is what draws it."""
    pytest.importorskip("matplotlib")
    return tmp_path / "figures.svg"


def texts(path: Path) -> set[str]:
    """What a reader can read, and search for."""
    elements = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    return {"".join(element.itertext()) for element in elements}


def test_the_picture_says_as_text_what_was_measured(path: Path) -> None:
    draw.draw(WHERE, FIGURES, path)
    assert SAID - texts(path) == set()
    assert draw.WRONG not in path.read_text(encoding="utf-8")


def test_the_same_figures_make_the_same_bytes_also_by_way_of_json(path: Path) -> None:
    draw.draw(WHERE, FIGURES, path)
    first = path.read_bytes()
    draw.draw(*from_json(as_json(WHERE, FIGURES)), path)
    assert path.read_bytes() == first
    assert b"<dc:date>" not in first


def test_a_figure_that_misses_its_gate_is_said_above_and_marked(path: Path) -> None:
    draw.draw(WHERE, [replace(SPEED, value=0.1), replace(PEAK, value=16)], path)
    assert texts(path) >= {
        "MISSES THE GATE",
        "MISSES THE GATE: throughput: of the bare loop's: 0.1 (goal ≥ 0.8, gate ≥ 0.68)",
        "MISSES THE GATE: memory: growth: 16 MB (goal ≤ 10, gate ≤ 15)",
    }
    assert draw.WRONG in path.read_text(encoding="utf-8")


def test_a_panel_that_nobody_measured_says_how(path: Path) -> None:
    draw.draw(WHERE, [], path)
    asked = {f"not measured: python -m benchmarks {name}" for name in ("throughput", "stages")}
    assert asked | {"not measured: python -m benchmarks memory load"} <= texts(path)


def test_figures_that_an_earlier_json_holds_are_read() -> None:
    listed = [{"name": "it", "value": 1.5, "unit": "s", "goal": None, "verdict": "of no matter"}]
    told = json.dumps({"where": WHERE, "figures": listed})
    assert from_json(told) == (WHERE, [Figure("it", 1.5, "s")])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("figures.png", "the picture is drawn as .svg, and {} is something else"),
        ("gone/figures.svg", "there is no directory {.parent} to draw figures.svg in"),
        ("figures.svg", "the picture needs its library: pip install -e '.[bench]'"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence_before_anything_is_measured(
    name: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--svg", str(path)])
    with pytest.raises(SystemExit) as stopped:
        table.main()
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", f"python -m benchmarks: {said.format(path)}\n")
    monkeypatch.setattr(sys, "argv", ["draw", "figures.json", str(path)])
    assert draw.main() == 2
    assert capsys.readouterr() == ("", f"python -m benchmarks.draw: {said.format(path)}\n")


def test_figures_that_cannot_be_written_are_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json", str(tmp_path / "gone" / "it.json")])
    with pytest.raises(SystemExit, match="2"):
        table.main()
    said = f"there is no directory {tmp_path / 'gone'} to write it.json in"
    assert capsys.readouterr() == ("", f"python -m benchmarks: {said}\n")


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "holds no figures as --json writes them"),
        ("[]", "holds no figures as --json writes them"),
        ('{"where": {}, "figures": [{}]}', "holds no figures as --json writes them"),
    ],
)
def test_a_file_without_figures_is_said_in_a_sentence(
    held: str | None,
    said: str,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = path.with_suffix(".json")
    if held is not None:
        source.write_text(held, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["draw", str(source), str(path)])
    assert draw.main() == 2
    assert capsys.readouterr() == ("", f"python -m benchmarks.draw: {source} {said}\n")
    assert not path.exists()
