"""Pictures of a model's first layer and of one image's way through it."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.insight.activations import Maps, Passage
from cifar_tune.plotting import style

_MOST_FILTERS = 144
_MOST_STAGES = 8
_MAPS = 10


def draw_filters(passage: Passage) -> Figure | str:
    """Draw every filter of the first layer in the colours that it answers to."""
    if passage.filters is None:
        return (
            f"The first layer, {passage.first_layer}, is no convolution over the image's colours: it has no filters "
            "that could be seen as pictures."
        )
    filters = passage.filters[:_MOST_FILTERS]
    columns = min(len(filters), 8 if len(filters) <= 64 else 16)
    rows = math.ceil(len(filters) / columns)
    figure = style.new_figure(max(5.0, 0.62 * columns + 0.4), 0.66 * rows + 0.65)
    grid: npt.NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, weights in zip(grid.flat, filters, strict=False):
        axes.imshow(_as_colours(weights), interpolation="nearest")
    shown = f"{len(filters)} of {len(passage.filters)}" if len(filters) < len(passage.filters) else str(len(filters))
    height, width = filters.shape[2:]
    style.title(
        figure,
        f"First-layer filters: {passage.first_layer}, {shown} of {height}x{width} pixels",
        "grey is zero; each filter is scaled by its own largest weight",
    )
    return figure


def draw_feature_maps(
    passage: Passage, image: npt.NDArray[np.uint8], true: str, predicted: str, probability: float
) -> Figure | str:
    """Draw the image, and of each stage the maps that answer most."""
    if not passage.stages:
        return "No layer of this model returns maps with a height and a width."
    stages = passage.stages[:_MOST_STAGES]
    figure = style.new_figure(1.5 + 0.85 * _MAPS, 0.9 * (len(stages) + 1) + 0.7)
    grid: npt.NDArray[Any] = figure.subplots(len(stages) + 1, _MAPS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    grid[0, 0].imshow(image, interpolation="nearest")
    _label(grid[0, 0], f"image\n{image.shape[1]}x{image.shape[0]}")
    for row, stage in zip(grid[1:], stages, strict=True):
        channels, height, width = stage.maps.shape
        _label(row[0], f"{stage.layer}\n{channels} of {width}x{height}")
        for axes, channel in zip(row, _strongest(stage.maps), strict=False):
            axes.imshow(stage.maps[channel], cmap="magma", interpolation="nearest")
    remark = f"the {_MAPS} channels of each stage with the largest mean absolute value, each in its own scale"
    more = len(passage.stages) - len(stages)
    remark += f"; {more} later stages are left out" if more else ""
    style.title(
        figure, f"One validation image, stage by stage: {true}, predicted {predicted} ({probability:.2f})", remark
    )
    return figure


def _as_colours(weights: Maps) -> npt.NDArray[np.float64]:
    """A filter [3, H, W] as an image [H, W, 3] of 0 to 1, with zero in the middle."""
    largest = float(np.abs(weights).max()) or 1.0
    return np.asarray(0.5 + weights.transpose(1, 2, 0) / (2 * largest), dtype=np.float64)


def _strongest(maps: Maps) -> list[int]:
    """The channels that answer most, in their own order."""
    order = np.argsort(-np.abs(maps).mean(axis=(1, 2)), kind="stable")[:_MAPS]
    return sorted(int(channel) for channel in order)


def _label(axes: Axes, text: str) -> None:
    axes.text(-0.12, 0.5, text, transform=axes.transAxes, ha="right", va="center", fontsize=8)
