"""Picture: every completed trial as a line through all searched knobs, the darker the better."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from cifar_tune.knobs.knob import Kind
from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import range_ticks
from cifar_tune.reports.labels import level_label
from cifar_tune.reports.objective import axis_limits
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import counted, tick_label

_MOST_LINES = 160
_NOT_TAKEN = -0.14
"""Height of the level of trials that do not take a knob; the axis itself goes from 0 to 1."""


def draw(report: Report) -> Figure | str:
    """Draw one vertical axis per knob; a knob that depends on others has a level "not taken" below its axis."""
    if not report.completed:
        return report.nothing_to_draw or "No trial completed, so there is no line to draw."
    if report.is_linked:
        return "Lines are drawn for searches, and this is none."
    if report.best is None:
        return f"No completed trial keeps {report.constraint_words}, so there is no line to draw."
    if len(report.knobs) < 2:
        return "Lines need at least two searched knobs."
    figure = style.new_figure(_width(report), 4.9)
    axes = figure.add_subplot()
    shown = _thinned(report.ranked)
    best = report.best
    colours = _colours(report)
    _lines(axes, report, shown, colours)
    for x, knob in enumerate(report.knobs):
        _knob_axis(axes, report, knob, x)
    _frame(axes, report)
    bar = figure.colorbar(colours, ax=axes, pad=0.015, aspect=30, shrink=0.86)
    bar.set_label(report.scale.axis_label)
    bar.outline.set_visible(False)
    remark = counted(len(shown), "completed trial")
    if len(shown) < len(report.ranked):
        remark = f"the best {len(shown) // 2:,} of {len(report.ranked):,} completed trials, and a sample of the others"
    if report.infeasible:
        remark += f", without {len(report.infeasible):,} that {_break(len(report.infeasible))} a constraint"
    remark += f"; thick: the best one, trial {best.number} ({report.scale.shown(best.value)})"
    style.title(figure, "Completed trials through all searched knobs", remark)
    return figure


def _break(count: int) -> str:
    return "breaks" if count == 1 else "break"


def _lines(axes: Axes, report: Report, shown: list[TrialRecord], colours: ScalarMappable) -> None:
    points = np.array([[(x, _height(knob, trial)) for x, knob in enumerate(report.knobs)] for trial in shown])
    alpha = 0.75 if len(shown) <= 60 else 0.5
    shades = colours.to_rgba(np.array([report.on_axis(trial) for trial in shown]), alpha=alpha)
    # worst first, so that the better ones lie on top
    axes.add_collection(LineCollection(list(points[::-1]), colors=list(shades[::-1]), linewidths=1.0))
    dots = points[::-1].reshape(-1, 2)
    axes.scatter(dots[:, 0], dots[:, 1], s=7, color=np.repeat(shades[::-1], len(report.knobs), axis=0), zorder=3)
    axes.plot(
        points[0, :, 0], points[0, :, 1], color=style.ORANGE, linewidth=2.4, marker="D", markersize=5,
        markeredgecolor="white", markeredgewidth=0.7, zorder=5,
    )  # fmt: skip


def _width(report: Report) -> float:
    return min(max(6.0, 1.25 * len(report.knobs) + 2.2), 17.0)


def _thinned(completed: list[TrialRecord]) -> list[TrialRecord]:
    """All trials, or the best ones and an even sample of the others, best first."""
    if len(completed) <= _MOST_LINES:
        return completed
    half = _MOST_LINES // 2
    others = completed[half:]
    return completed[:half] + [others[round(i * (len(others) - 1) / (half - 1))] for i in range(half)]


def _colours(report: Report) -> ScalarMappable:
    """From worse to better, whichever way the objective goes."""
    shades = style.WORSE_TO_BETTER if report.maximizes else style.WORSE_TO_BETTER[::-1]
    values = [report.on_axis(trial) for trial in report.ranked]
    low, high = min(values), min(max(values), axis_limits(values, report.scale)[1])
    if low == high:
        low, high = axis_limits(values, report.scale)
    return ScalarMappable(Normalize(low, high, clip=True), LinearSegmentedColormap.from_list("better", shades))


def _height(knob: SearchedKnob, trial: TrialRecord) -> float:
    position = knob.position(trial)
    if position is None:
        return _NOT_TAKEN
    height = _relative(knob, position)
    if knob.levels is not None and len(knob.levels) > 1:
        # lines through one choice are fanned out a little, by trial number, so that they do not hide each other
        height += ((trial.number * 0.618034) % 1 - 0.5) * min(0.1, 0.3 / len(knob.levels))
    return height


def _relative(knob: SearchedKnob, position: float) -> float:
    if knob.low == knob.high:
        return 0.5
    if knob.log:
        return float(np.log(position / knob.low) / np.log(knob.high / knob.low))
    return (position - knob.low) / (knob.high - knob.low)


def _knob_axis(axes: Axes, report: Report, knob: SearchedKnob, x: int) -> None:
    axes.plot([x, x], [0, 1], color="#9AA1AA", linewidth=1.0, zorder=2)
    if knob.levels is None:
        ticks = range_ticks(knob.low, knob.high, knob.log, knob.knob.kind is Kind.INT, at_most=5)
        marks = [(_relative(knob, tick), tick_label(tick)) for tick in ticks]
    else:
        marks = [(_relative(knob, index), level_label(level, one_line=len(knob.levels) > 6))
                 for index, level in enumerate(knob.levels)]  # fmt: skip
    if any(knob.name not in trial.params for trial in report.ranked):
        marks.append((_NOT_TAKEN, "not taken"))
    for height, text in marks:
        axes.annotate(
            text, (x, height), (5, 0), textcoords="offset points", va="center", fontsize=7, zorder=6,
            style="italic" if text == "not taken" else "normal",
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.78},
        )  # fmt: skip


def _headings(knobs: list[SearchedKnob]) -> list[str]:
    """Names, and in the lines below how the numbers are to be read; all are equally high."""
    below = [
        "(" + ", ".join(["log"] * knob.log + [knob.per.replace(" of ", "\nof ")] * bool(knob.per)) + ")"
        if knob.remarks
        else ""
        for knob in knobs
    ]
    height = max(text.count("\n") for text in below)
    return [
        f"{knob.name}\n{text}" + "\n" * (height - text.count("\n")) for knob, text in zip(knobs, below, strict=True)
    ]


def _frame(axes: Axes, report: Report) -> None:
    names = _headings(report.knobs)
    axes.set_xticks(range(len(names)), names, fontsize=8.5, fontweight="bold")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    # room for the names right of the last axis: about an inch
    room = min(0.75, 1.05 * len(names) / (_width(report) - 1.5))
    axes.set_xlim(-0.25, len(names) - 1 + room)
    axes.set_ylim(_NOT_TAKEN - 0.06, 1.06)
