"""Two landscapes as a picture of three panels, a table and JSON."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.csv_text import csv_text
from cifar_tune.errors import enumerate_names
from cifar_tune.insight.files import json_text, write
from cifar_tune.insight.landscape import Landscape
from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import range_ticks
from cifar_tune.wording import counted, tick_label

Series = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Band:
    """Lowest and highest value of each step; not a number where no series has one."""

    low: Series
    high: Series


def band(series: Sequence[Sequence[float]]) -> Band:
    """The band of series that may differ in length and have gaps (not a number)."""
    length = max(len(values) for values in series)
    table = np.full((len(series), length), np.nan)
    for row, values in zip(table, series, strict=True):
        row[: len(values)] = values
    return Band(np.fmin.reduce(table, axis=0), np.fmax.reduce(table, axis=0))


def thinned(values: Series, every: int, log: bool) -> Series:
    """The mean of each `every` steps, gaps left out; the geometric one for a logarithmic axis."""
    padded = np.concatenate([values, np.full(-len(values) % every, np.nan)]).reshape(-1, every)
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            padded = np.log(np.where(padded > 0, padded, np.nan))
    counts = np.isfinite(padded).sum(axis=1)
    means = np.divide(np.nansum(padded, axis=1), counts, out=np.full(len(padded), np.nan), where=counts > 0)
    finished: Series = np.exp(means) if log else means
    return finished


_MOST_POINTS = 150
_COLOURS = (style.BLUE, style.ORANGE)


def write_landscapes(
    folder: Path, landscapes: Sequence[Landscape], distances: Sequence[int], fixed_batch: bool
) -> list[Path]:
    """Write `landscape.png`, `landscape.csv` and `landscape.json`.

    Raises:
        UserError: they cannot be written.
    """
    header = ("model", "lr", "step", "loss", *(f"gradient_change_{distance}" for distance in distances), "beta")
    summary = {
        "distances": list(distances),
        "fixed_batch": fixed_batch,
        "models": [
            {
                "label": landscape.label,
                **{name: "inf" if math.isinf(value) else value for name, value in figures.items()},
                "runs": [{"lr": run.lr, "steps": len(run.steps), "diverged": run.diverged} for run in landscape.runs],
                "config": landscape.config.stored(),
            }
            for landscape, figures in zip(landscapes, all_figures(landscapes), strict=True)
        ],
    }
    texts = {"landscape.csv": csv_text(header, _rows(landscapes)), "landscape.json": json_text(summary)}
    return write(folder, texts, {"landscape.png": lambda: draw(landscapes, distances, fixed_batch)})


def all_figures(landscapes: Sequence[Landscape]) -> list[dict[str, float]]:
    """What the bands of each model come to: medians over all steps, since those before a divergence are enormous.

    - loss_band_width: the largest less the smallest loss of a step.
    - gradient_change: the largest change of the gradient, over the first distance.
    - beta: the largest beta.

    From the step on at which a training diverged, all three are infinite: so are the medians of a model of which one
    diverged in the first half. Not a number where no training took two steps.
    """
    steps = max((len(run.steps) for landscape in landscapes for run in landscape.runs), default=0)
    return [_figures(landscape, steps) for landscape in landscapes]


def _figures(landscape: Landscape, steps: int) -> dict[str, float]:
    loss, gradient, beta = (band(values) for values in _series(landscape))
    smooth = min([steps, *(len(run.steps) for run in landscape.runs if run.diverged)])
    return {
        "loss_band_width": _median(loss.high - loss.low, smooth, steps),
        "gradient_change": _median(gradient.high, smooth, steps),
        "beta": _median(beta.high, smooth, steps),
    }


def draw(landscapes: Sequence[Landscape], distances: Sequence[int], fixed_batch: bool) -> Figure | str:
    """Draw the band of each model in three panels: loss, change of the gradient, beta-smoothness."""
    if not any(run.steps for landscape in landscapes for run in landscape.runs):
        return "No training took a step with a finite loss."
    figure = style.new_figure(11.0, 4.4)
    panels: Sequence[Axes] = figure.subplots(1, 3)
    bands = [[band(values) for values in _series(landscape)] for landscape in landscapes]
    every = math.ceil(max(len(of_model[0].low) for of_model in bands) / _MOST_POINTS)
    for column, (axes, heading) in enumerate(zip(panels, _headings(distances), strict=True)):
        for of_model, landscape, colour in zip(bands, landscapes, _COLOURS, strict=False):
            _panel(axes, of_model[column], every, landscape.label, colour, log=column > 0)
        if column > 0 and any(np.nanmax(of_model[column].high, initial=0) > 0 for of_model in bands):
            axes.set_yscale("log")
            _log_ticks(axes)
        if column == 0:
            _limit_loss(axes, [of_model[0] for of_model in bands])
        axes.set_title(heading)
        axes.set_xlabel("step")
    panels[0].legend()
    lrs = ", ".join(tick_label(run.lr) for run in landscapes[0].runs)
    remark = f"bands: from the smallest to the largest value over the learning rates {lrs}"
    remark += f"; each point is the mean over {every} steps" if every > 1 else ""
    remark += "\ngradients: of the output layer's weights, "
    remark += "on one batch throughout" if fixed_batch else "of successive batches, whose images differ too"
    if len(distances) > 1:
        remark += f"; beta: the largest over {enumerate_names([str(item) for item in distances], 'and')} steps"
    diverged = [
        f"{landscape.label} at {tick_label(run.lr)}"
        for landscape in landscapes
        for run in landscape.runs
        if run.diverged
    ]
    remark += f"\ndiverged, and not in the bands from there on: {', '.join(diverged)}" if diverged else ""
    model = landscapes[0].config.text("model")
    style.title(figure, f"Loss landscape of {model}: {' against '.join(item.label for item in landscapes)}", remark)
    return figure


def _panel(axes: Axes, of_model: Band, every: int, label: str, colour: str, log: bool) -> None:
    low, high = thinned(of_model.low, every, log), thinned(of_model.high, every, log)
    steps = 1 + every * np.arange(len(low))
    axes.fill_between(steps, low, high, color=colour, alpha=0.3, linewidth=0, label=label)
    for edge in (low, high):
        axes.plot(steps, edge, color=colour, linewidth=0.9)


def _limit_loss(axes: Axes, bands: Sequence[Band]) -> None:
    """Leave off what is above twice the loss of the first step: a training that is about to diverge."""
    first = max(float(found.high[0]) for found in bands if len(found.high))
    bottom, top = axes.get_ylim()
    lowest = min(float(np.nanmin(found.low)) for found in bands if len(found.low))
    if top > 2 * first:
        axes.set_ylim(max(bottom, lowest - 0.05 * first), 2 * first)


def _log_ticks(axes: Axes) -> None:
    """Few round ticks within the limits as they stand."""
    low, high = axes.get_ylim()
    ticks = range_ticks(low, high, log=True, whole=False, at_most=6)
    axes.set_yticks(ticks, [tick_label(float(f"{tick:.2g}")) for tick in ticks])
    axes.set_ylim(low, high)
    axes.minorticks_off()


def _headings(distances: Sequence[int]) -> tuple[str, str, str]:
    away = counted(distances[0], "step")
    return ("training loss", f"change of the gradient over {away}", "its change per distance moved (beta)")


def _series(landscape: Landscape) -> tuple[list[list[float]], ...]:
    """Of each training: the loss, the change of the gradient over the first distance, and beta."""
    return (
        [[step.loss for step in run.steps] for run in landscape.runs],
        [[step.change.gradient[0] for step in run.steps] for run in landscape.runs],
        [[step.change.beta for step in run.steps] for run in landscape.runs],
    )


def _rows(landscapes: Sequence[Landscape]) -> Iterator[list[object]]:
    for landscape in landscapes:
        for run in landscape.runs:
            for number, step in enumerate(run.steps, 1):
                changes = [None if math.isnan(value) else value for value in (*step.change.gradient, step.change.beta)]
                yield [landscape.label, run.lr, number, step.loss, *changes]


def _median(values: Series, smooth: int, steps: int) -> float:
    """The median of this many steps, all of which are infinite behind the first `smooth` ones."""
    known = values[:smooth][np.isfinite(values[:smooth])]
    every = np.concatenate([known, np.full(steps - smooth, np.inf)])
    return float(np.median(every)) if len(every) else math.nan
