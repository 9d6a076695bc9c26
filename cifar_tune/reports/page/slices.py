"""An objective against each searched knob by itself."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.course import value_axis
from cifar_tune.reports.page.knob_axes import knob_axis, spread_position
from cifar_tune.reports.page.marks import draw_trials
from cifar_tune.reports.page.panel import NARROW, Panel, number
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.storage.records import TrialRecord


def slice_of(report: Report, anchors: Anchors, knob: SearchedKnob, objective: int = 0) -> Markup:
    """One picture: completed trials as dots, pruned ones as crosses; bars are the medians of choices.

    Above it stands how many trials of each kind took the knob, below each choice how many completed ones had it.
    """
    completed, pruned = report.measured(objective)
    positions = [knob.position(trial) for trial in completed]
    counts = None if knob.levels is None else Counter(int(each) for each in positions if each is not None)
    panel = Panel(
        NARROW, 250 if counts is None else 262, knob_axis(knob, counts), value_axis(report, objective=objective),
        top=24, bottom=40 if counts is None else 52,
    )  # fmt: skip
    panel.add(
        Markup('<text class="tick end" x="{}" y="12">{}</text>').format(
            number(NARROW - 12), _taken(knob, completed, pruned)
        )
    )
    drawn = {trial.number for trial in (*completed, *pruned)}

    def at(trial: TrialRecord) -> tuple[float, float] | None:
        position = spread_position(knob, trial)
        if position is None or trial.number not in drawn:
            return None
        return position, report.on_axis(trial, objective)

    draw_trials(panel, report, anchors, at)
    if knob.levels is not None:
        for index, level in enumerate(knob.levels):
            values = [report.on_axis(t, objective) for t in completed if t.params.get(knob.name) == level]
            if len(values) > 1:
                median = float(np.median(values))
                panel.line([(index - 0.36, median), (index + 0.36, median)], "median")
    return panel.render(f"{report.scales[objective].label} against {knob.label}")


def _taken(knob: SearchedKnob, completed: Sequence[TrialRecord], pruned: Sequence[TrialRecord]) -> str:
    """`n = 18 completed, 7 pruned`."""
    counts = [sum(knob.name in trial.params for trial in trials) for trials in (completed, pruned)]
    return f"n = {counts[0]:,} completed" + (f", {counts[1]:,} pruned" if counts[1] else "")
