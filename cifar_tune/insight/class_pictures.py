"""Pictures of a model's right and wrong answers, class by class."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.data.resident import ResidentData
from cifar_tune.insight.predictions import Predictions, validation_image
from cifar_tune.plotting import style

_MOST_NUMBERED = 20
"""Classes up to which the cells of the confusion matrix hold their numbers."""

_MOST_NAMED = 40
_MISTAKES = 24
_COLUMNS = 8
_LONGEST_NAME = 14


def draw_classes(predictions: Predictions) -> Figure:
    """Draw the accuracy of each class beside the confusion matrix."""
    classes = len(predictions.classes)
    side = min(max(4.2, 0.46 * classes), 10.0)
    figure = style.new_figure(side * 1.85, side + 1.2)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    _accuracies(left, predictions)
    _confusion(right, predictions)
    style.title(
        figure,
        f"Classes of {len(predictions.labels):,} validation images: {100 * predictions.accuracy:.2f} % right",
        "left: share of each class's images that are right, with the number of images; "
        "right: how many images of each true class were taken for which",
    )
    return figure


def draw_mistakes(predictions: Predictions, data: ResidentData) -> Figure | str:
    """Draw the wrong predictions that the model is surest of."""
    mistakes = predictions.mistakes()
    if not len(mistakes):
        return f"All {len(predictions.labels):,} validation images are right."
    shown = mistakes[:_MISTAKES]
    rows = -(-len(shown) // _COLUMNS)
    figure = style.new_figure(1.3 * _COLUMNS, 1.62 * rows + 0.7)
    grid: npt.NDArray[Any] = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, position in zip(grid.flat, shown, strict=False):
        axes.imshow(validation_image(data, position), interpolation="nearest")
        true, taken = predictions.labels[position], predictions.predicted[position]
        text = f"{_short(predictions.classes[true])}\n→ {_short(predictions.classes[taken])}"
        axes.set_title(f"{text} {predictions.probabilities[position].max():.2f}", fontsize=8, loc="center", pad=4)
    style.title(
        figure,
        f"The {len(shown)} most confident of {len(mistakes):,} mistakes",
        "true class → predicted class, and its probability; validation images",
    )
    return figure


def class_accuracies(predictions: Predictions) -> list[tuple[str, int, int]]:
    """Of each class: name, validation images, right ones."""
    confusion = predictions.confusion()
    counts, right = confusion.sum(1).tolist(), np.diag(confusion).tolist()
    return list(zip(predictions.classes, counts, right, strict=True))


def worst_class(predictions: Predictions) -> tuple[str, float]:
    """The class with the smallest accuracy, and that accuracy."""
    found = [(right / images, name) for name, images, right in class_accuracies(predictions) if images]
    accuracy, name = min(found)
    return name, accuracy


def _accuracies(axes: Axes, predictions: Predictions) -> None:
    figures = class_accuracies(predictions)
    shares = [100 * right / images if images else 0.0 for _, images, right in figures]
    axes.barh(range(len(shares)), shares, height=0.65, color=style.BLUE)
    if len(shares) <= _MOST_NAMED:
        for row, (share, (_, images, _right)) in enumerate(zip(shares, figures, strict=True)):
            axes.text(share + 1, row, f"{share:.0f} % of {images:,}", va="center", fontsize=7)
    axes.set_xlim(0, 128)
    axes.set_xticks(range(0, 101, 20))
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("accuracy (%)")
    _name_ticks(axes, predictions.classes, "y")


def _confusion(axes: Axes, predictions: Predictions) -> None:
    table = predictions.confusion()
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.grid(visible=False)
    if len(table) <= _MOST_NUMBERED:
        for row, column in zip(*np.nonzero(table), strict=True):
            colour = "white" if shares[row, column] > 0.5 else style.INK
            axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    _name_ticks(axes, predictions.classes, "x")
    _name_ticks(axes, predictions.classes, "y")


def _name_ticks(axes: Axes, classes: tuple[str, ...], which: str) -> None:
    """Name every class, or none where names would overlap."""
    names = [_short(name) for name in classes] if len(classes) <= _MOST_NAMED else []
    places = range(len(names))
    if which == "x":
        axes.set_xticks(places, names, rotation=90 if len(classes) > _MOST_NUMBERED else 45)
        if len(classes) <= _MOST_NUMBERED:
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
                label.set_rotation_mode("anchor")
    else:
        axes.set_yticks(places, names)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
