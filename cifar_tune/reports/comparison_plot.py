"""The levels of a knob as rows: every completed trial, the mean with its interval, the best, and the time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.plotting import style
from cifar_tune.reports.comparison import Comparison
from cifar_tune.reports.level_labels import level_label
from cifar_tune.reports.objective import axis_limits


def draw(comparison: Comparison) -> Figure:
    """The picture; a sentence where no trial completed."""
    values = [comparison.report.on_axis(trial) for level in comparison.levels for trial in level.completed]
    if not values:
        return style.sentence("No trial completed, so there is nothing to compare.")
    figure = style.new_figure(9.0, 1.7 + 0.5 * len(comparison.levels))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    scale = comparison.report.scale
    ends = [
        scale.on_axis(level.mean + side * level.half_width)
        for level in comparison.levels
        for side in (-1, 1)
        if level.mean is not None and level.half_width is not None
    ]
    _objective(left, comparison, axis_limits([*values, *ends], scale))
    _time(right, comparison)
    hollow = "; hollow: breaks a constraint" if comparison.report.infeasible else ""
    remark = f"dots: completed trials{hollow}; bar: mean with its 95 % interval; diamond: the best of the level"
    style.title(figure, f"{comparison.label}, level by level", remark)
    return figure


def _objective(axes: Axes, comparison: Comparison, limits: tuple[float, float]) -> None:
    scale = comparison.report.scale
    for row, level in enumerate(comparison.levels):
        values = np.array([scale.on_axis(value) for value in level.values])
        if not len(values):
            continue
        spread = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * 0.3
        keeps = np.array([bool(trial.feasible) for trial in level.completed])
        many = comparison.report.has_many
        axes.scatter(values[keeps], (row + spread)[keeps], **style.completed_dots(many))
        axes.scatter(values[~keeps], (row + spread)[~keeps], **style.infeasible_dots(many))
        mean = float(values.mean())
        reach = 0.0 if level.half_width is None else scale.on_axis(level.half_width)
        axes.scatter([mean], [row], marker="|", s=256, color=style.INK, zorder=4)
        if reach:
            _interval(axes, row, (mean - reach, mean + reach), limits)
        best = comparison.best(level)
        if best is not None:
            axes.scatter([scale.on_axis(best)], [row], **style.best_diamond())
    axes.set_yticks(range(len(comparison.levels)), [level_label(level.label) for level in comparison.levels])
    axes.set_ylim(len(comparison.levels) - 0.5, -0.5)
    axes.set_xlim(*limits)
    axes.set_xlabel(scale.axis_label)
    axes.grid(visible=False, axis="y")


def _interval(axes: Axes, row: int, ends: tuple[float, float], limits: tuple[float, float]) -> None:
    """A line with a cap at each end, or with an arrow-head where the axis ends first."""
    shown = [min(max(end, limits[0]), limits[1]) for end in ends]
    axes.hlines(row, shown[0], shown[1], color=style.INK, zorder=4)
    for end, at, arrow in zip(ends, shown, "<>", strict=True):
        axes.scatter([at], [row], marker="|" if at == end else arrow, s=36, color=style.INK, clip_on=False, zorder=4)


def _time(axes: Axes, comparison: Comparison) -> None:
    seconds = [level.seconds or 0.0 for level in comparison.levels]
    axes.barh(range(len(seconds)), seconds, height=0.45, color=style.GREY)
    axes.set_xlabel("mean seconds")
    axes.grid(visible=False, axis="y")
