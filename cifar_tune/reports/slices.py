"""Picture: each objective against each searched knob by itself."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.knobs.knob import Kind
from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import MOST_IN_PANEL, range_ticks, thinned, thinned_words
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
    """Draw one panel per objective and knob: completed trials as dots, pruned ones faint, the best one marked."""
    if report.nothing_to_draw:
        return report.nothing_to_draw
    if not report.knobs:
        return "The study searches no knob."
    columns = min(_COLUMNS, len(report.knobs))
    rows = math.ceil(len(report.knobs) / columns)
    upright = sum(
        any(_stands_upright(knob) for knob in report.knobs[row * columns : (row + 1) * columns]) for row in range(rows)
    )
    objectives = [index for index in range(len(report.scales)) if any(report.measured(index))]
    height = (2.7 * rows + 1.1 * upright) * len(objectives) + 0.9
    figure = style.new_figure(max(3.3 * columns + 0.6, 5.6), height)
    panels = figure.subplots(rows * len(objectives), columns, squeeze=False)
    beyond = []
    for place, objective in enumerate(objectives):
        own = panels[place * rows : (place + 1) * rows]
        beyond.append(_draw_objective(list(own.flat), report, objective, columns))
    if len(objectives) == 1:
        figure.supylabel(report.scale.axis_label, fontsize=9)
    marks = "dots: completed trials; faint crosses: pruned, after their last epoch"
    if report.completed:
        marks += "; diamond: the best; bars: medians of completed trials"
    if report.infeasible:
        marks += "; hollow: completed, but breaks a constraint"
    heading = f"The objective{'s' if len(objectives) > 1 else ''} against each searched knob"
    measured = [trials for objective in objectives for trials in report.measured(objective)]
    left_out = thinned_words(measured, MOST_IN_PANEL)
    style.title(figure, heading, "\n".join([marks, *filter(None, (*beyond, left_out))]))
    return figure


def _draw_objective(panels: Sequence[Axes], report: Report, objective: int, columns: int) -> str:
    """Draw an objective against all knobs; returns how many trials lie above its axis, as a sentence."""
    completed, pruned = report.measured(objective)
    scale = report.scales[objective]
    limits = axis_limits([report.on_axis(trial, objective) for trial in (*completed, *pruned)], scale)
    for index, (axes, knob) in enumerate(zip(panels, report.knobs, strict=False)):
        _panel(axes, report, knob, objective, limits)
        if index % columns:
            axes.tick_params(labelleft=False)
        elif len(report.scales) > 1:
            axes.set_ylabel(scale.axis_label, fontsize=8)
    for axes in panels[len(report.knobs) :]:
        axes.set_visible(False)
    return report.beyond(limits[1], objective=objective)


def _panel(axes: Axes, report: Report, knob: SearchedKnob, objective: int, limits: tuple[float, float]) -> None:
    many = report.has_many
    completed, pruned = report.measured(objective)
    ranked, infeasible = ([t for t in completed if bool(t.feasible) is feasible] for feasible in (True, False))
    for trials, look in (
        (pruned, style.pruned_crosses(many)),
        (infeasible, style.infeasible_dots(many)),
        (ranked, style.completed_dots(many)),
    ):
        _scatter(axes, report, knob, objective, trials, limits, look)
    if not any(knob.name in trial.params for trial in (*completed, *pruned)):
        axes.text(0.5, 0.5, "no trial took it", transform=axes.transAxes, ha="center", fontsize=8, color=style.QUIET)
    _scatter(axes, report, knob, objective, ranked[:1], limits, style.best_diamond())
    axes.set_ylim(*limits)
    # all titles of a picture stand at one height
    axes.set_title(knob.name, fontweight="bold", pad=17 if any(other.when for other in report.knobs) else 6)
    if knob.when:
        words = knob.when if len(knob.when) <= 44 else f"{knob.when[:43]}…"
        axes.text(0, 1.04, f"where {words}", transform=axes.transAxes, fontsize=7, color=style.QUIET)
    style.hide_x_grid(axes)
    if knob.levels is None:
        _range_axis(axes, knob, sum(knob.name in trial.params for trial in completed))
    else:
        _level_axis(axes, report, knob, objective, knob.levels)


def _scatter(
    axes: Axes,
    report: Report,
    knob: SearchedKnob,
    objective: int,
    trials: Sequence[TrialRecord],
    limits: tuple[float, float],
    look: dict[str, Any],
) -> None:
    places, heights = [], []
    taken = [(trial, position) for trial in trials if (position := knob.position(trial)) is not None]
    for trial, position in thinned(taken, MOST_IN_PANEL):
        # dots of one choice are spread by trial number: evenly, and the same in every export
        spread = ((trial.number * _GOLDEN) % 1 - 0.5) * 0.56 if knob.levels is not None else 0.0
        places.append(position + spread)
        heights.append(min(report.on_axis(trial, objective), limits[1]))
    axes.scatter(places, heights, clip_on=False, **look)


def _range_axis(axes: Axes, knob: SearchedKnob, count: int) -> None:
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
    axes.set_xlabel(", ".join([f"n = {count:,}", *knob.remarks]), fontsize=7, color=style.QUIET)


def _level_axis(axes: Axes, report: Report, knob: SearchedKnob, objective: int, levels: Sequence[object]) -> None:
    values: list[list[float]] = [[] for _ in levels]
    for trial in report.measured(objective)[0]:
        position = knob.position(trial)
        if position is not None:
            values[int(position)].append(report.on_axis(trial, objective))
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
