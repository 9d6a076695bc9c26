"""Picture: the objective against each searched knob by itself."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.knobs.knob import Kind
from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import range_ticks
from cifar_tune.reports.labels import fits, level_label
from cifar_tune.reports.objective import axis_limits
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import tick_label

_COLUMNS = 4
_GOLDEN = 0.618034
_PANEL_CHARACTERS = 49
"""Of tick labels that fit side by side below one panel."""


def draw(report: Report) -> Figure | str:
    """Draw one panel per knob: completed trials as dots, pruned ones faint, the best one marked."""
    if report.nothing_to_draw:
        return report.nothing_to_draw
    if not report.knobs:
        return "The study searches no knob."
    columns = min(_COLUMNS, len(report.knobs))
    rows = math.ceil(len(report.knobs) / columns)
    upright = sum(
        any(_stands_upright(knob) for knob in report.knobs[row * columns : (row + 1) * columns]) for row in range(rows)
    )
    figure = style.new_figure(max(3.3 * columns + 0.6, 5.6), 2.7 * rows + 1.1 * upright + 0.9)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    limits = axis_limits([report.on_axis(trial) for trial in (*report.completed, *report.pruned)], report.scale)
    for axes, knob in zip(panels.flat, report.knobs, strict=False):
        _panel(axes, report, knob, limits)
    for axes in panels.flat[len(report.knobs) :]:
        axes.set_visible(False)
    figure.supylabel(report.scale.axis_label, fontsize=9)
    marks = "dots: completed trials; faint crosses: pruned, after their last epoch"
    if report.completed:
        marks += "; diamond: the best; bars: medians of completed trials"
    if report.infeasible:
        marks += "; hollow: completed, but breaks a constraint"
    beyond = report.beyond(limits[1])
    style.title(figure, "The objective against each searched knob", f"{marks}\n{beyond}" if beyond else marks)
    return figure


def _panel(axes: Axes, report: Report, knob: SearchedKnob, limits: tuple[float, float]) -> None:
    many = report.has_many
    _scatter(axes, report, knob, report.pruned, limits, style.pruned_crosses(many))
    _scatter(axes, report, knob, report.infeasible, limits, style.infeasible_dots(many))
    _scatter(axes, report, knob, report.ranked, limits, style.completed_dots(many))
    if not any(knob.name in trial.params for trial in (*report.completed, *report.pruned)):
        axes.text(0.5, 0.5, "no trial took it", transform=axes.transAxes, ha="center", fontsize=8, color=style.QUIET)
    _scatter(axes, report, knob, report.ranked[:1], limits, style.best_diamond())
    axes.set_ylim(*limits)
    # all titles of a picture stand at one height
    axes.set_title(knob.name, fontweight="bold", pad=17 if any(other.when for other in report.knobs) else 6)
    if knob.when:
        words = knob.when if len(knob.when) <= 44 else f"{knob.when[:43]}…"
        axes.text(0, 1.04, f"where {words}", transform=axes.transAxes, fontsize=7, color=style.QUIET)
    style.hide_x_grid(axes)
    if knob.levels is None:
        _range_axis(axes, knob)
    else:
        _level_axis(axes, report, knob, knob.levels)


def _scatter(
    axes: Axes,
    report: Report,
    knob: SearchedKnob,
    trials: Sequence[TrialRecord],
    limits: tuple[float, float],
    look: dict[str, Any],
) -> None:
    places, heights = [], []
    for trial in trials:
        position = knob.position(trial)
        if position is not None:
            # dots of one choice are spread by trial number: evenly, and the same in every export
            spread = ((trial.number * _GOLDEN) % 1 - 0.5) * 0.56 if knob.levels is not None else 0.0
            places.append(position + spread)
            heights.append(min(report.on_axis(trial), limits[1]))
    axes.scatter(places, heights, clip_on=False, **look)


def _range_axis(axes: Axes, knob: SearchedKnob) -> None:
    low, high = knob.low, knob.high
    if knob.log:
        axes.set_xscale("log")
        margin = (high / low) ** 0.04
        axes.set_xlim(low / margin, high * margin)
    else:
        margin = 0.04 * (high - low)
        axes.set_xlim(low - margin, high + margin)
    ticks = range_ticks(low, high, knob.log, knob.knob.kind is Kind.INT, at_most=5)
    axes.set_xticks(ticks, [tick_label(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(", ".join(knob.remarks) or " ", fontsize=7, color=style.QUIET)


def _level_axis(axes: Axes, report: Report, knob: SearchedKnob, levels: Sequence[object]) -> None:
    values: list[list[float]] = [[] for _ in levels]
    for trial in report.completed:
        position = knob.position(trial)
        if position is not None:
            values[int(position)].append(report.on_axis(trial))
    for index, found in enumerate(values):
        if len(found) > 1:
            median = float(np.median(found))
            axes.plot([index - 0.34, index + 0.34], [median, median], color=style.INK, linewidth=1.4, zorder=4)
    upright = _stands_upright(knob)
    count = " ({:,})" if upright else "\nn = {:,}"
    labels = [level_label(level) + count.format(len(found)) for level, found in zip(levels, values, strict=True)]
    axes.set_xticks(range(len(levels)), labels, rotation=90 if upright else 0, fontsize=7)
    axes.set_xlim(-0.6, len(levels) - 0.4)
    axes.set_xlabel("n: completed trials" if not upright else "(completed trials)", fontsize=7, color=style.QUIET)


def _stands_upright(knob: SearchedKnob) -> bool:
    """Whether the names of the knob's choices are too long to stand side by side."""
    return knob.levels is not None and not fits([level_label(level) for level in knob.levels], _PANEL_CHARACTERS)
