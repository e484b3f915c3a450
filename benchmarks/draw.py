"""A picture of the table: throughput, the microseconds of a window, and memory.

    python -m benchmarks.draw FIGURES.json FILE.svg

Ratios are drawn as shares of their goals, so that all of them stand on one scale, whichever way is
better.  A panel that nobody measured says which question asks for it.  The same figures make the
same bytes, and the picture has a background of its own, for pages of any colour.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure, from_json
from harvester.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LINE = 10.5, 0.2
"""Inches of the picture, and of a line in it."""
NEAR, FAR = 0.5, 1.3
"""Shares of a goal that are drawn; what lies beyond them is drawn at the edge."""
COLUMNS = (45, "right"), (95, "right"), (145, "right"), (155, "left")
"""Points to the right of the ratios, where value, goal, gate and verdict stand."""
INK, OURS, THEIRS, PALE, WRONG = "#1f2328", "#0b5fa5", "#87919c", "#e3e8ed", "#c0182b"
LOOPS = {
    "bare": "bare loop",
    "tuned": "tuned loop",
    "by hand": "loop by hand",
    "own transport": "loop, our transport",
}
MARKERS: dict[str, dict[str, Any]] = {
    "meets the goal": {"marker": "o", "color": OURS},
    "within the gate": {"marker": "o", "color": OURS, "markerfacecolor": "white"},
    "MISSES THE GATE": {"marker": "X", "color": WRONG, "markersize": 8},
}
CURVES = ("o-", OURS), ("-", "#b35900"), ("--", "#2c7a4b"), (":", INK)
STYLE = {
    "axes.edgecolor": THEIRS,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.facecolor": "white",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "legend.frameon": False,
    "lines.markersize": 6,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "harvester",
    "text.color": INK,
}


def check(path: Path) -> None:
    """Raise UsageError if no picture can be drawn there.

    The library is not imported for it: its objects would lie in the process that is measured.
    """
    if path.suffix != ".svg":
        raise UsageError(f"the picture is drawn as .svg, and {path} is something else")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent} to draw {path.name} in")
    if find_spec("matplotlib") is None:
        raise UsageError("the picture needs its library: pip install -e '.[bench]'")


def draw(where: Mapping[str, Any], figures: Sequence[Figure], path: Path) -> None:
    """Write the picture."""
    from matplotlib import style
    from matplotlib.figure import Figure as Picture

    ratios = [figure for figure in figures if _is_ratio(figure)]
    missed = [f"MISSES THE GATE: {_in_words(each)}" for each in figures if not each.holds]
    lines = [len(ratios) + 12, 20]
    with style.context(["default", STYLE]):
        height = LINE * (sum(lines) + len(missed) + 3)
        picture = Picture(figsize=(WIDTH, height), layout="constrained")
        (above,), (below,) = picture.subfigures(2, 1, squeeze=False, height_ratios=lines)
        bars, shares = above.subplots(2, 1, height_ratios=[4, len(ratios) + 1])
        stages, memory = below.subplots(1, 2)
        _throughput(bars, figures)
        _ratios(shares, ratios)
        _stages(stages, figures)
        _memory(memory, figures)
        picture.suptitle("\n".join(missed), fontsize=9, x=0.01, ha="left", color=WRONG)
        picture.supxlabel(_caption(where), fontsize=8, x=0.01, ha="left")
        picture.savefig(path, metadata={"Date": None, "Title": "The figures of harvester"})


def _is_ratio(figure: Figure) -> bool:
    """Whether it can be drawn as a share of its goal; `work` counts, and has no ratios."""
    return not figure.unit and bool(figure.goal) and not figure.name.startswith("work:")


def _in_words(figure: Figure) -> str:
    marks = {"goal": figure.bound(figure.goal), "gate": figure.bound(figure.gate)}
    told = ", ".join([f"{name} {bound}" for name, bound in marks.items() if bound])
    value = f"{figure.shown} {figure.unit}".rstrip()
    return _signs(f"{figure.name}: {value} ({told})")


def _signs(text: str) -> str:
    return text.replace("<=", "≤").replace(">=", "≥")


def _between(start: str, figures: Sequence[Figure], end: str) -> dict[str, float]:
    """The values of those whose names begin and end so, by what is between."""
    return {
        figure.name.removeprefix(start).removesuffix(end): figure.value
        for figure in figures
        if figure.name.startswith(start) and figure.name.endswith(end)
    }


# bars


def _throughput(axes: Axes, figures: Sequence[Figure]) -> None:
    axes.set_title("Throughput: requests in a second of CPU")
    cpu = _between("throughput: ", figures, ", CPU a request")
    clock = _between("throughput: ", figures, ", requests")
    speed = {LOOPS.get(name, name): 1e6 / each for name, each in cpu.items()}
    told = [f"{1e6 / cpu[name]:,.0f} /s, {clock[name]:,.0f} /s by the clock" for name in cpu]
    _bars(axes, speed, told, others=set(LOOPS.values()))
    if not speed:
        _not_measured(axes, "throughput")


def _stages(axes: Axes, figures: Sequence[Figure]) -> None:
    spent = _between("stages: ", figures, ", a window")
    whole = f": {sum(spent.values()):.0f} µs" if spent else ""
    axes.set_title(f"Where the microseconds of a window go{whole}")
    _bars(axes, spent, [f"{each:.3g} µs" for each in spent.values()], others={"transport", "loop"})
    note = "grey: the request with aiohttp, and\nthe event loop with the kernel"
    axes.text(1, 0.3, note, transform=axes.transAxes, ha="right", va="center", fontsize=8)
    if not spent:
        _not_measured(axes, "stages")


def _bars(axes: Axes, values: Mapping[str, float], told: Sequence[str], others: set[str]) -> None:
    """A bar for each, with what is told of it; the others' in grey."""
    colours = [THEIRS if name in others else OURS for name in values]
    axes.barh(range(len(values)), list(values.values()), color=colours, height=0.7)
    for line, (value, text) in enumerate(zip(values.values(), told, strict=True)):
        axes.annotate(text, (value, line), (4, 0), textcoords="offset points", va="center")
    _lines(axes, list(values))
    axes.set_xlim(0, 1.25 * max(values.values(), default=1))
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


# ratios


def _ratios(axes: Axes, ratios: Sequence[Figure]) -> None:
    axes.set_title("Ratios and their goals")
    for line, figure in enumerate(ratios):
        _ratio(axes, line, figure)
    axes.axvline(1, color=INK, linewidth=1)
    _columns(axes, -1, ("value", "goal", "gate", "verdict"), THEIRS)
    _lines(axes, [figure.name for figure in ratios])
    axes.set_xlim(NEAR, FAR)
    axes.set_xticks([0.5, 0.75, 1, 1.25])
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(
        "of the goal; shaded: from gate to goal; hollow: goal not reached; cross: gate missed",
        fontsize=8,
    )
    if not ratios:
        _not_measured(axes, "throughput")


def _ratio(axes: Axes, line: int, figure: Figure) -> None:
    """The way from the gate to the goal, the value, and all of it in words."""
    gate, share = _share(figure, figure.gate), _share(figure, figure.value)
    axes.barh(line, 1 - gate, left=gate, color=PALE, height=0.8)
    axes.plot([gate, gate], [line - 0.4, line + 0.4], color=THEIRS, linewidth=1)
    axes.plot(share, line, clip_on=False, zorder=3, **MARKERS[figure.verdict])
    told = figure.shown, figure.bound(figure.goal), figure.bound(figure.gate), figure.verdict
    _columns(axes, line, told, INK if figure.holds else WRONG)


def _share(figure: Figure, value: float | None) -> float:
    """Of the goal, so that more is better; at the edge if it lies beyond."""
    if value is None or not figure.goal:
        return 1
    upper, lower = (value, figure.goal) if figure.more_is_better else (figure.goal, value)
    return min(max(upper / lower, NEAR), FAR) if lower else FAR


def _columns(axes: Axes, line: int, texts: Sequence[str], colour: str) -> None:
    """What stands to the right of a line."""
    for text, (points, side) in zip(texts, COLUMNS, strict=True):
        axes.annotate(
            _signs(text),
            (1, line),
            (points, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha=side,
            va="center",
            color=colour,
        )


# memory


def _memory(axes: Axes, figures: Sequence[Figure]) -> None:
    axes.set_title("Memory over windows")
    curves = [figure for figure in figures if figure.points]
    for figure, (line, colour) in zip(curves, CURVES, strict=False):
        windows, values = zip(*figure.points, strict=True)
        told = f"{figure.name}: {figure.shown} {figure.unit}"
        axes.plot(windows, values, line, color=colour, markersize=4, label=told)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, 1.2 * max([value for each in curves for _, value in each.points], default=1))
    axes.set_xlabel("windows")
    axes.set_ylabel("MB")
    held = [_in_words(each) for each in figures if each.name.startswith("memory:") and each.goal]
    if curves:
        axes.legend(loc="lower right", title=textwrap.fill("\n".join(held), 50))
    else:
        _not_measured(axes, "memory load")


# what they share


def _lines(axes: Axes, names: Sequence[str]) -> None:
    """A line for each, from the top down."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _not_measured(axes: Axes, questions: str) -> None:
    """Nothing but the title, and what is to be asked."""
    title = axes.get_title(loc="left")
    axes.clear()
    axes.set_title(title)
    axes.set_axis_off()
    axes.text(0, 0.9, f"not measured: python -m benchmarks {questions}", va="top", color=THEIRS)


def _caption(where: Mapping[str, Any]) -> str:
    told = ", ".join([f"{name} {value}" for name, value in where.items()])
    return f"Measured with {told}.\nOnly ratios carry over to another machine."


def _read(source: Path) -> tuple[dict[str, Any], list[Figure]]:
    try:
        return from_json(source.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"{source} cannot be read: {exc.strerror}") from None
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{source} holds no figures as --json writes them") from None


def main() -> int:
    """Draw what was measured before; 2 if that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.draw")
    parser.add_argument("figures", type=Path, metavar="FIGURES.json", help="that --json wrote")
    parser.add_argument("picture", type=Path, metavar="FILE.svg")
    given = parser.parse_args()
    try:
        check(given.picture)
        draw(*_read(given.figures), given.picture)
    except UsageError as exc:
        print(f"{parser.prog}: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
