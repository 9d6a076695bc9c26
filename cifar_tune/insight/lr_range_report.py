"""A learning-rate range test as picture, table and JSON."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cifar_tune.csv_text import csv_text
from cifar_tune.insight.files import json_text, write
from cifar_tune.insight.lr_range import BETA, FAR_ABOVE, LrRangeTest
from cifar_tune.insight.lr_suggestion import LAG, Suggestion
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import range_ticks
from cifar_tune.wording import tick_label

STOPS = {
    "end": "all steps were taken",
    "rose": f"the smoothed loss rose above {FAR_ABOVE:g} times its minimum",
    "not_finite": "the loss is infinite or not a number",
}


def write_lr_range(folder: Path, config: Configuration, test: LrRangeTest, suggestion: Suggestion) -> list[Path]:
    """Write `lr_range.png`, `lr_range.csv` and `lr_range.json`.

    Raises:
        UserError: they cannot be written.
    """
    rows = [(number, step.lr, step.loss, step.smoothed) for number, step in enumerate(test.steps, 1)]
    summary = {
        "low": suggestion.low,
        "high": suggestion.high,
        "reason": suggestion.reason,
        "steps": len(test.steps),
        "stopped": test.stop,
        "beta": BETA,
        "config": config.stored(),
    }
    texts = {
        "lr_range.csv": csv_text(("step", "lr", "loss", "smoothed_loss"), rows),
        "lr_range.json": json_text(summary),
    }
    return write(folder, texts, {"lr_range.png": lambda: draw(config, test, suggestion)})


def draw(config: Configuration, test: LrRangeTest, suggestion: Suggestion) -> Figure | str:
    """Draw loss and smoothed loss against the learning rate, and the suggested range."""
    steps = [step for step in test.steps if math.isfinite(step.loss)]
    if not steps:
        return "The loss was infinite or not a number in the first step."
    lrs = [step.lr for step in steps]
    figure = style.new_figure(7.6, 4.4)
    axes = figure.subplots()
    axes.plot(lrs, [step.loss for step in steps], color=style.GREY, linewidth=0.8, alpha=0.7, label="each step")
    axes.plot(
        lrs, [step.smoothed for step in steps], color=style.BLUE, linewidth=1.8, label=f"smoothed, {LAG} steps behind"
    )
    if suggestion.low is not None and suggestion.high is not None:
        label = f"suggested: {tick_label(suggestion.low)} to {tick_label(suggestion.high)}"
        axes.axvspan(suggestion.low, suggestion.high, color=style.ORANGE, alpha=0.12, linewidth=0, label=label)
        for end in (suggestion.low, suggestion.high):
            axes.axvline(end, color=style.ORANGE, linewidth=1.0)
    axes.set_xscale("log")
    ticks = range_ticks(lrs[0], lrs[-1], log=True, whole=False, at_most=7)
    axes.set_xticks(ticks, [tick_label(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(*_loss_limits(test))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.legend(loc="lower left")
    remark = f"stopped after {len(test.steps)} steps: {STOPS[test.stop]}"
    if suggestion.reason:
        remark += f"\n{'note' if suggestion.low else 'no sound suggestion'}: {suggestion.reason}"
    style.title(figure, f"Learning-rate range test: {config.text('model')}, {config.text('optimizer')}", remark)
    return figure


def _loss_limits(test: LrRangeTest) -> tuple[float, float]:
    """Room for the fall, and for as much of the rise."""
    losses = np.array([step.loss for step in test.steps if math.isfinite(step.loss)])
    low = float(losses.min())
    first = float(losses[: max(5, len(losses) // 4)].max())
    high = min(float(losses.max()), first + max(first - low, 0.1 * abs(first)))
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin
