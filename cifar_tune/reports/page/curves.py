"""Learning curves: training and validation, accuracy and loss, of the best and of pruned trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from cifar_tune.reports.learning_curves import learns_another_loss
from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.marks import ring, title
from cifar_tune.reports.page.panel import NARROW, Panel, Place, number_axis, path
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord

_BEST = 5
_MOST_PRUNED = 40
_MOST_EPOCHS = 300


@dataclass(frozen=True)
class Curves:
    """The pictures of some trials.

    Attributes:
        heading: whose they are.
        trials: those drawn.
        pictures: accuracy, then loss.
        of_many: how many there would have been.
    """

    heading: str
    trials: Sequence[TrialRecord]
    pictures: Sequence[Markup]
    of_many: int


def curves(report: Report, anchors: Anchors) -> list[Curves]:
    """The best trials in colour, and pruned ones; empty where no trial has figures by epoch."""
    best = [trial for trial in report.ranked[:_BEST] if trial.history.get("val_accuracy")]
    stopped = [t for t in report.record.trials if t.state == "PRUNED" and t.history.get("val_accuracy")]
    some = stopped[:: math.ceil(len(stopped) / _MOST_PRUNED) or 1]
    heading = "The first completed trainings" if report.is_linked else "The best completed trials"
    groups = ((heading, best, len(report.ranked)), ("Pruned trials", some, len(stopped)))
    return [
        Curves(heading, trials, [_draw(report, anchors, trials, name) for name in ("accuracy", "loss")], many)
        for heading, trials, many in groups
        if trials
    ]


def _draw(report: Report, anchors: Anchors, trials: Sequence[TrialRecord], name: str) -> Markup:
    factor = 100.0 if name == "accuracy" else 1.0
    drawn = [
        (rank, trial, split, points)
        for rank, trial in enumerate(trials)
        for split in ("train", "val")
        if (points := _points(trial, f"{split}_{name}", factor))
    ]
    values = [value for *_, points in drawn for _, value in points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if name == "loss" and values:
        high = max(low, min(high, 4 * float(np.median(values))))  # some nearly diverged
    margin = 0.05 * (high - low) or 0.05
    epochs = max(len(trial.history["val_accuracy"]) for trial in trials)
    is_best = trials[0].state == "COMPLETE"
    unit = "accuracy (%)" if name == "accuracy" else "loss (cross entropy)"
    y = number_axis(low - margin, high + margin, unit, ticks=6)
    panel = Panel(NARROW, 230, number_axis(1, max(epochs, 2), "epoch", whole=True), y)
    for rank, trial, split, points in reversed(drawn):
        look = f"curve {split} {f's{rank}' if is_best else 'pruned-curve'}"
        panel.add(
            Markup('<a href="{}" aria-label="trial {}"><path class="{}" d="{}"/><title>{}</title></a>').format(
                anchors.to(trial),
                trial.number,
                look,
                "".join(_shape([panel.place(*point) for point in part]) for part in parts_below(points, high + margin)),
                title(report, trial),
            )
        )
    return panel.render(f"{name} by epoch, training and validation")


def _shape(places: Sequence[Place]) -> str:
    """A line; of a trial with one epoch, a ring."""
    return path(places) if len(places) > 1 else ring(places[0])


def parts_below(points: Sequence[tuple[float, float]], top: float) -> list[list[tuple[float, float]]]:
    """The parts of a line that lie below the top of a picture, each up to where it leaves it."""
    parts: list[list[tuple[float, float]]] = [[]]
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


def _points(trial: TrialRecord, figure: str, factor: float) -> list[tuple[float, float]]:
    values = () if figure == "train_loss" and learns_another_loss(trial) else trial.history.get(figure, ())
    every = math.ceil(len(values) / _MOST_EPOCHS) or 1
    return [
        (float(epoch), value * factor)
        for epoch, value in enumerate(values, start=1)
        if math.isfinite(value) and ((epoch - 1) % every == 0 or epoch == len(values))
    ]
