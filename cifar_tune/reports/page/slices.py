"""The objective against each searched knob by itself."""

import numpy as np
from markupsafe import Markup

from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.course import value_axis
from cifar_tune.reports.page.knob_axes import knob_axis, spread_position
from cifar_tune.reports.page.marks import draw_trials
from cifar_tune.reports.page.panel import NARROW, Panel
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.storage.records import TrialRecord


def slice_of(report: Report, anchors: Anchors, knob: SearchedKnob) -> Markup:
    """One picture: completed trials as dots, pruned ones as crosses; bars are the medians of choices."""
    panel = Panel(NARROW, 230, knob_axis(knob), value_axis(report))

    def at(trial: TrialRecord) -> tuple[float, float] | None:
        position = spread_position(knob, trial)
        return None if position is None else (position, report.on_axis(trial))

    draw_trials(panel, report, anchors, at)
    if knob.levels is not None:
        for index, level in enumerate(knob.levels):
            values = [report.on_axis(t) for t in report.completed if t.params.get(knob.name) == level]
            if len(values) > 1:
                median = float(np.median(values))
                panel.line([(index - 0.36, median), (index + 0.36, median)], "median")
    return panel.render(f"{report.scale.label} against {knob.label}")
