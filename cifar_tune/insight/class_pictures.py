"""Pictures of a model's right and wrong answers, class by class."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any
from unicodedata import east_asian_width

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.data.resident import ResidentData
from cifar_tune.insight.predictions import Predictions, validation_image
from cifar_tune.plotting import style
from cifar_tune.plotting.characters import has_font

_MOST_NUMBERED = 20
"""Classes up to which the cells of the confusion matrix hold their numbers."""

_MOST_NAMED = 40
_MISTAKES = 24
_COLUMNS = 8
_LONGEST_NAME = 14
"""In Latin letters; a character as wide as an ideograph counts twice."""


def shown_names(classes: Sequence[str]) -> tuple[list[str], str]:
    """The names of classes as pictures show them, and a sentence on those that no font can show; else an empty one."""
    names = [name if has_font(name) else f"class {number}" for number, name in enumerate(classes)]
    remark = "names that no font of this system can show are numbers, in the order of classes.csv, from 0"
    return names, remark if names != list(classes) else ""


def draw_classes(predictions: Predictions) -> Figure:
    """Draw the accuracy of each class beside the confusion matrix."""
    classes = len(predictions.classes)
    side = min(max(4.2, 0.46 * classes), 10.0)
    figure = style.new_figure(side * 1.85, side + 1.2)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    names, remark = shown_names(predictions.classes)
    _accuracies(left, predictions, names)
    _confusion(right, predictions, names)
    style.title(
        figure,
        f"Classes of {len(predictions.labels):,} validation images: {100 * predictions.accuracy:.2f} % right",
        "left: share of each class's images that are right, with the number of images; "
        f"right: how many images of each true class were taken for which{_line(remark)}",
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
    names, remark = shown_names(predictions.classes)
    for axes, position in zip(grid.flat, shown, strict=False):
        axes.imshow(validation_image(data, position), interpolation="nearest")
        true, taken = predictions.labels[position], predictions.predicted[position]
        text = f"{_short(names[true])}\n→ {_short(names[taken])}"
        axes.set_title(f"{text} {predictions.probabilities[position].max():.2f}", fontsize=8, loc="center", pad=4)
    style.title(
        figure,
        f"The {len(shown)} most confident of {len(mistakes):,} mistakes",
        f"true class → predicted class, and its probability; validation images{_line(remark)}",
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


def _accuracies(axes: Axes, predictions: Predictions, names: list[str]) -> None:
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
    _name_ticks(axes, names, "y")


def _confusion(axes: Axes, predictions: Predictions, names: list[str]) -> None:
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
    _name_ticks(axes, names, "x")
    _name_ticks(axes, names, "y")


def _name_ticks(axes: Axes, classes: list[str], which: str) -> None:
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


def _line(remark: str) -> str:
    return f"\n{remark}" if remark else ""


def _short(name: str) -> str:
    widths = list(accumulate(2 if east_asian_width(character) in "WF" else 1 for character in name))
    if not widths or widths[-1] <= _LONGEST_NAME:
        return name
    return f"{name[: sum(width < _LONGEST_NAME for width in widths)]}…"
