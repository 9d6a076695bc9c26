"""Pictures of a model's right and wrong answers, class by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from unicodedata import east_asian_width

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.plotting import style
from cifar_tune.plotting.characters import has_font
from cifar_tune.statistics.calibration import Bin, expected_calibration_error
from cifar_tune.statistics.predictions import Confusion, class_accuracies

_MOST_NUMBERED = 20
"""Classes up to which the cells of the confusion matrix hold their numbers."""

_MOST_NAMED = 40
MISTAKES = 24
"""This many are shown."""

_COLUMNS = 8
_LONGEST_NAME = 14
"""In Latin letters; a character as wide as an ideograph counts twice."""


def shown_names(classes: Sequence[str]) -> tuple[list[str], str]:
    """The names of classes as pictures show them, and a sentence on those that no font can show; else an empty one."""
    names = [name if has_font(name) else f"class {number}" for number, name in enumerate(classes)]
    remark = "names that no font of this system can show are numbers, in the order of classes.csv, from 0"
    return names, remark if names != list(classes) else ""


def draw_classes(classes: Sequence[str], confusion: Confusion, images: str) -> Figure:
    """Draw the accuracy of each class beside the confusion matrix.

    Args:
        classes: their names.
        confusion: how many images of each class were taken for which.
        images: what they are, such as `validation images`.
    """
    side = min(max(4.2, 0.46 * len(classes)), 10.0)
    figure = style.new_figure(side * 1.85, side + 1.2)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    names, remark = shown_names(classes)
    _accuracies(left, class_accuracies(classes, confusion), names)
    _confusion(right, confusion, names)
    total = int(confusion.sum())
    style.title(
        figure,
        f"Classes of {total:,} {images}: {100 * np.trace(confusion) / total:.2f} % right",
        "left: share of each class's images that are right, with the number of images; "
        f"right: how many images of each true class were taken for which{_line(remark)}",
    )
    return figure


@dataclass(frozen=True, slots=True, eq=False)
class ShownMistake:
    """An image that was taken for another class: uint8 [H, W, 3], the numbers of the classes, and the probability."""

    image: npt.NDArray[np.uint8]
    true: int
    predicted: int
    probability: float


def draw_mistakes(
    classes: Sequence[str], shown: Sequence[ShownMistake], wrong: int, total: int, images: str
) -> Figure | str:
    """Draw the wrong predictions that the model is surest of.

    Args:
        classes: their names.
        shown: at most MISTAKES of them, the surest first.
        wrong: how many there are in all.
        total: of this many images.
        images: what they are, such as `validation images`.
    """
    if not wrong:
        return f"All {total:,} {images} are right."
    rows = -(-len(shown) // _COLUMNS)
    figure = style.new_figure(1.3 * _COLUMNS, 1.62 * rows + 0.7)
    grid: npt.NDArray[Any] = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    names, remark = shown_names(classes)
    for axes, mistake in zip(grid.flat, shown, strict=False):
        axes.imshow(mistake.image, interpolation="nearest")
        text = f"{_short(names[mistake.true])}\n→ {_short(names[mistake.predicted])}"
        axes.set_title(f"{text} {mistake.probability:.2f}", fontsize=8, loc="center", pad=4)
    style.title(
        figure,
        f"The {len(shown)} most confident of {wrong:,} mistakes",
        f"true class → predicted class, and its probability; {images}{_line(remark)}",
    )
    return figure


def draw_reliability(bins: Sequence[Bin], images: str) -> Figure:
    """Draw the accuracy of the images over the probability of their predicted classes, bin by bin.

    Args:
        bins: from 0 to 1, of equal width.
        images: what they are, such as `test images`.
    """
    figure = style.new_figure(5.2, 4.6)
    axes = figure.add_subplot()
    axes.plot((0, 1), (0, 1), color=style.GREY, linewidth=1, linestyle="--")
    most = max(each.images for each in bins)
    for each in bins:
        if each.accuracy is not None:
            shade = 0.35 + 0.65 * each.images / most
            axes.bar(each.low, each.accuracy, each.high - each.low, align="edge", color=style.BLUE, alpha=shade,
                     edgecolor="white", linewidth=0.6)  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability of the predicted class")
    axes.set_ylabel("share of the images that are right")
    total = sum(each.images for each in bins)
    style.title(
        figure,
        f"Calibration on {total:,} {images}: error {100 * expected_calibration_error(bins):.2f} points",
        f"expected calibration error over {len(bins)} bins of equal width; the darker, the more images; "
        "below the dashed line the model is too sure of itself",
    )
    return figure


def _accuracies(axes: Axes, figures: Sequence[tuple[str, int, int]], names: list[str]) -> None:
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


def _confusion(axes: Axes, table: Confusion, names: list[str]) -> None:
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
