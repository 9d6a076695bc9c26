"""Picture: every completed trial as a line through all searched knobs, the darker the better."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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

_NOT_TAKEN_LABEL = "not taken"

_LETTER, _BOLD_LETTER = 0.066, 0.09
"""Inches of a letter of a label and of a heading, at most in the mean."""

_BESIDE = 1.6
"""Inches for the colours beside the lines, and for the margins."""

_WIDEST = 15.0


@dataclass(frozen=True)
class _Bar:
    """The axis of a knob, in inches: labels stand between its two sides, and lines end at them.

    Attributes:
        knob: whose it is.
        marks: heights from 0 to 1, each with its label.
        left, right: where it begins and ends.
    """

    knob: SearchedKnob
    marks: Sequence[tuple[float, str]]
    left: float
    right: float


def draw(report: Report) -> Figure | str:
    """Draw one vertical axis per knob; a knob that depends on others has a level "not taken" below its axis.

    The labels of an axis stand between two lines, where no line of a trial passes.
    """
    if not report.completed:
        return report.nothing_to_draw or "No trial completed, so there is no line to draw."
    if report.is_linked:
        return "Lines are drawn for searches, and this is none."
    if report.best is None:
        return f"No completed trial keeps {report.constraint_words}, so there is no line to draw."
    if len(report.knobs) < 2:
        return "Lines need at least two searched knobs."
    bars = _bars(report)
    figure = style.new_figure(max(6.0, bars[-1].right + _BESIDE), 4.9)
    axes = figure.add_subplot()
    shown = _thinned(report.ranked)
    best = report.best
    colours = _colours(report)
    _lines(axes, report, bars, shown, colours)
    for index, bar in enumerate(bars):
        # at the ends there are lines on one side only
        _knob_axis(axes, bar, [bar.left] * (index > 0) + [bar.right] * (index < len(bars) - 1))
    _frame(axes, bars)
    legend = figure.colorbar(colours, ax=axes, pad=0.015, aspect=30, shrink=0.86)
    legend.set_label(report.scale.axis_label)
    legend.outline.set_visible(False)
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


def _bars(report: Report) -> list[_Bar]:
    """The axes from left to right, each as wide as its labels."""
    marks = [_marks(report, knob) for knob in report.knobs]
    widths = [
        max(
            _LETTER * max(len(line) for _, label in own for line in label.split("\n")) + 0.24,
            0.5 * _BOLD_LETTER * max(map(len, _heading(knob).split("\n"))),
        )
        for knob, own in zip(report.knobs, marks, strict=True)
    ]
    headings = [_BOLD_LETTER * max(map(len, _heading(knob).split("\n"))) for knob in report.knobs]
    gap = min(0.95, max(0.45, (_WIDEST - sum(widths)) / len(widths)))
    bars: list[_Bar] = []
    for knob, own, width, heading in zip(report.knobs, marks, widths, headings, strict=True):
        # headings are centred, and do not touch each other
        before = bars[-1].right + gap if bars else 0.0
        if bars:
            last = bars[-1]
            reach = (headings[len(bars) - 1] + heading) / 2 + 0.12
            before = max(before, (last.left + last.right) / 2 + reach - width / 2)
        bars.append(_Bar(knob, own, before, before + width))
    return bars


def _lines(
    axes: Axes, report: Report, bars: Sequence[_Bar], shown: Sequence[TrialRecord], colours: ScalarMappable
) -> None:
    heights = np.array([[_height(bar.knob, trial) for bar in bars] for trial in shown])
    alpha = 0.75 if len(shown) <= 60 else 0.5
    shades = colours.to_rgba(np.array([report.on_axis(trial) for trial in shown]), alpha=alpha)[::-1]
    for index, (first, second) in enumerate(pairwise(bars)):
        # worst first, so that the better ones lie on top
        ends = [[(first.right, own[index]), (second.left, own[index + 1])] for own in heights[::-1]]
        axes.add_collection(LineCollection(ends, colors=list(shades), linewidths=1.0, zorder=2))
        for side, column in ((first.right, index), (second.left, index + 1)):
            axes.scatter(np.full(len(shown), side), heights[::-1, column], s=6, color=shades, zorder=3)
        axes.plot(
            [first.right, second.left], heights[0, index : index + 2], color=style.ORANGE, linewidth=2.4, marker="D",
            markersize=5, markeredgecolor="white", markeredgewidth=0.7, zorder=5,
        )  # fmt: skip


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


def _marks(report: Report, knob: SearchedKnob) -> list[tuple[float, str]]:
    """Heights on a knob's axis, each with its label."""
    if knob.levels is None:
        ticks = range_ticks(knob.low, knob.high, knob.log, knob.knob.kind is Kind.INT, at_most=5)
        marks = [(_relative(knob, tick), tick_label(tick)) for tick in ticks]
    else:
        marks = [(_relative(knob, index), level_label(level, one_line=len(knob.levels) > 6))
                 for index, level in enumerate(knob.levels)]  # fmt: skip
    if any(knob.name not in trial.params for trial in report.ranked):
        marks.append((_NOT_TAKEN, _NOT_TAKEN_LABEL))
    return marks


def _knob_axis(axes: Axes, bar: _Bar, sides: Sequence[float]) -> None:
    for side in sides:
        axes.plot([side, side], [0, 1], color="#9AA1AA", linewidth=1.0, zorder=2)
    for height, text in bar.marks:
        axes.text(
            (bar.left + bar.right) / 2, height, text, ha="center", va="center", fontsize=7, zorder=6,
            style="italic" if text == _NOT_TAKEN_LABEL else "normal",
        )  # fmt: skip


def _heading(knob: SearchedKnob) -> str:
    """The name, and in the lines below how the numbers are to be read."""
    below = ["log"] * knob.log + [knob.per.replace(" of ", "\nof ")] * bool(knob.per)
    return f"{knob.name}\n({', '.join(below)})" if knob.remarks else f"{knob.name}\n"


def _frame(axes: Axes, bars: Sequence[_Bar]) -> None:
    names = [_heading(bar.knob) for bar in bars]
    highest = max(name.count("\n") for name in names)
    names = [name + "\n" * (highest - name.count("\n")) for name in names]
    axes.set_xticks([(bar.left + bar.right) / 2 for bar in bars], names, fontsize=8.5, fontweight="bold")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlim(-0.1, bars[-1].right + 0.1)
    axes.set_ylim(_NOT_TAKEN - 0.06, 1.06)
