"""Learning curves: accuracy and loss by epoch. The best trials have a colour and a label, the others are faint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from cifar_tune.plotting.ticks import apart
from cifar_tune.reports.learning_curves import LABELLED, learns_another_loss, some, with_curves
from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.marks import ring, title
from cifar_tune.reports.page.panel import NARROW, WIDE, Axis, Panel, Place, number, number_axis, path
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord

_MOST_EPOCHS = 300
_MOST_FAINT_EPOCHS = 60
_LINE = 14.0
"""Pixels between two labels."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curves:
    """The pictures, each for a wide page and for a narrow one, and what they show.

    Attributes:
        pictures: accuracy, then loss.
        labelled: the trials with a label.
        completed, pruned: how many faint ones are drawn, and of how many.
    """

    pictures: Sequence[tuple[Markup, Markup]]
    labelled: Sequence[TrialRecord]
    completed: tuple[int, int]
    pruned: tuple[int, int]


@dataclass(frozen=True)
class _Curve:
    """One line: whose it is, the figure, and how it looks."""

    trial: TrialRecord
    points: Points
    look: str
    label: str = ""


def curves(report: Report, anchors: Anchors) -> Curves | None:
    """The best trials, and others behind them; None where no trial has figures by epoch.

    Each trial has its validation curve. The training curve is drawn for the best trial alone: twice as many lines
    could not be told apart.
    """
    completed, stopped = with_curves(report)
    if not completed and not stopped:
        return None
    best, others = completed[:LABELLED], completed[LABELLED:]
    behind, pruned = some(others), some(stopped)
    pictures = []
    for name in ("accuracy", "loss"):
        drawn = _drawn(report, best, behind, pruned, name)
        if any(curve.points for curve in drawn):
            pictures.append(
                (_draw(report, anchors, drawn, name, WIDE, 420), _draw(report, anchors, drawn, name, NARROW, 320))
            )
    return Curves(pictures, best, (len(behind), len(others)), (len(pruned), len(stopped)))


def _drawn(
    report: Report,
    best: Sequence[TrialRecord],
    behind: Sequence[TrialRecord],
    pruned: Sequence[TrialRecord],
    name: str,
) -> list[_Curve]:
    """The lines from back to front."""
    faint = [
        *((trial, "curve val pruned-curve") for trial in pruned),
        *((trial, "curve val other-curve") for trial in behind),
    ]
    drawn = [_Curve(trial, _points(trial, f"val_{name}", _MOST_FAINT_EPOCHS), look) for trial, look in faint]
    ranked = list(enumerate(best))
    drawn += [_Curve(each, _points(each, f"train_{name}", _MOST_EPOCHS), "curve train s0") for each in best[:1]]
    drawn += [
        _Curve(
            trial,
            _points(trial, f"val_{name}", _MOST_EPOCHS),
            f"curve val s{rank}",
            f"trial {trial.number}: {report.scale.shown(trial.value)}",
        )
        for rank, trial in reversed(ranked)
    ]
    return [curve for curve in drawn if curve.points]


def _draw(report: Report, anchors: Anchors, drawn: Sequence[_Curve], name: str, width: float, height: float) -> Markup:
    low, high = _limits([value for curve in drawn for _, value in curve.points], name)
    y = number_axis(low, high, "accuracy (%)" if name == "accuracy" else "loss (cross entropy)", ticks=7)
    last = max(point[0] for curve in drawn for point in curve.points)
    labels = [curve for curve in drawn if curve.label]
    widest = max((len(curve.label) for curve in labels), default=0)
    x = number_axis(1, max(last, 2), "epoch", whole=True, ticks=5 if width == NARROW else 10)
    # on a telephone labels stand above the lines: beside them they would take a third of the width
    above = _LINE * len(labels) + 4 if width == NARROW and labels else 0
    panel = Panel(width, height + above, x, y, top=10 + above, right=12 if above or not labels else 7.4 * widest + 20)
    for curve in drawn:
        shape = "".join(_shape([panel.place(*point) for point in part]) for part in parts_below(curve.points, y.high))
        panel.add(
            Markup('<a href="{}" aria-label="trial {}"><path class="{}" d="{}"/><title>{}</title></a>').format(
                anchors.to(curve.trial), curve.trial.number, curve.look, shape, title(report, curve.trial)
            )
        )
    panel.add(*(_listed(anchors, panel, labels[::-1]) if above else _beside(anchors, panel, y, labels)))
    return panel.render(f"{name} by epoch, validation, and training of the best trial")


def _limits(values: Sequence[float], name: str) -> tuple[float, float]:
    low, high = min(values), max(values)
    if name == "loss":
        high = max(low, min(high, 4 * float(np.median(values))))  # some nearly diverged
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin
    return (max(low, 0.0), min(high, 100.0)) if name == "accuracy" else (low, high)


def _beside(anchors: Anchors, panel: Panel, y: Axis, labels: Sequence[_Curve]) -> list[Markup]:
    """A label at the end of each line; those that would cover each other are moved apart, with a thin line to the end.

    A line that leaves the picture has its label at the top.
    """
    ends = sorted(
        ((panel.place(curve.points[-1][0], min(curve.points[-1][1], y.high)), curve) for curve in labels),
        key=lambda end: end[0].y,
    )
    heights = apart([place.y for place, _ in ends], panel.top, panel.bottom, _LINE)
    left = panel.x(panel.x_axis.high) + 14
    parts = []
    for (place, curve), height in zip(ends, heights, strict=True):
        colour = curve.look.split()[-1]
        lead = f"M{number(place.x + 3)} {number(place.y)}L{number(left - 3)} {number(height)}"
        parts.append(Markup('<path class="lead {}" d="{}"/>').format(colour, lead))
        parts.append(_label(anchors, curve, left, height + 4))
    return parts


def _listed(anchors: Anchors, panel: Panel, labels: Sequence[_Curve]) -> list[Markup]:
    """The labels one below the other, above the picture, each with a piece of its line."""
    left = panel.x(panel.x_axis.low)
    parts = []
    for index, curve in enumerate(labels):
        height = 12 + _LINE * index
        line = f"M{number(left)} {number(height - 4)}h18"
        parts.append(Markup('<path class="curve {}" d="{}"/>').format(curve.look.split()[-1], line))
        parts.append(_label(anchors, curve, left + 24, height))
    return parts


def _label(anchors: Anchors, curve: _Curve, x: float, y: float) -> Markup:
    return Markup('<a href="{}"><text class="name {}" x="{}" y="{}">{}</text></a>').format(
        anchors.to(curve.trial), curve.look.split()[-1], number(x), number(y), curve.label
    )


def _shape(places: Sequence[Place]) -> str:
    """A line; of a trial with one epoch, a ring."""
    return path(places) if len(places) > 1 else ring(places[0])


def parts_below(points: Sequence[tuple[float, float]], top: float) -> list[Points]:
    """The parts of a line that lie below the top of a picture, each up to where it leaves it."""
    parts: list[Points] = [[]]
    for index, (x, y) in enumerate(points):
        if index and (y > top) != (points[index - 1][1] > top):
            x_before, y_before = points[index - 1]
            share = (top - y_before) / (y - y_before)
            parts[-1].append((x_before + share * (x - x_before), top))
        if y <= top:
            parts[-1].append((x, y))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _points(trial: TrialRecord, figure: str, most: int) -> Points:
    """The figure by epoch, accuracies in percent, at most this many epochs and the last one, evenly."""
    factor = 100.0 if figure.endswith("accuracy") else 1.0
    values = () if figure == "train_loss" and learns_another_loss(trial) else trial.history.get(figure, ())
    every = math.ceil(len(values) / most) or 1
    return [
        (float(epoch), value * factor)
        for epoch, value in enumerate(values, start=1)
        if math.isfinite(value) and ((epoch - 1) % every == 0 or epoch == len(values))
    ]
