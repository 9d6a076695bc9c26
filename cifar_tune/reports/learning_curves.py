"""Picture: accuracy and loss by epoch, of the best trials, with others behind them."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import apart
from cifar_tune.reports.report import Report
from cifar_tune.storage.linked import is_networks
from cifar_tune.storage.records import TrialRecord

LABELLED = 3
"""The best trials, each with a colour and a label."""

_FAINT = 20
"""At most this many other completed trials, and as many pruned ones."""

_GAP = 0.055
"""From one label to the next, as a share of a panel's height."""


def some(trials: Sequence[TrialRecord]) -> Sequence[TrialRecord]:
    """Those that are drawn behind the best ones: not more than can be told apart, chosen evenly."""
    return trials[:: math.ceil(len(trials) / _FAINT) or 1]


def with_curves(report: Report) -> tuple[list[TrialRecord], list[TrialRecord]]:
    """The completed trials, the best first, and the pruned ones, as far as they have figures by epoch."""
    completed = [trial for trial in report.ranked if trial.history.get("val_accuracy")]
    pruned = [trial for trial in report.record.trials if trial.state == "PRUNED" and trial.history.get("val_accuracy")]
    return completed, pruned


def draw(report: Report) -> Figure | str:
    """Draw the best completed trials in colour with labels, and other completed and pruned ones faint behind them."""
    completed, stopped = with_curves(report)
    if not completed and not stopped:
        return report.nothing_to_draw or "No trial has recorded figures by epoch."
    best, others, pruned = completed[:LABELLED], some(completed[LABELLED:]), some(stopped)
    figure = style.new_figure(9.6, 8.2)
    upper, lower = figure.subplots(2, 1)
    limits = _loss_limits(best, [*others, *pruned])
    _panel(upper, "accuracy", best, others, pruned, 100.0)
    _panel(lower, "loss", best, others, pruned, 1.0)
    upper.set_ylabel("accuracy (%)")
    lower.set_ylabel("loss (cross entropy)")
    lower.set_ylim(*limits)
    _label(upper, report, best, "val_accuracy", 100.0)
    _label(lower, report, best, "val_loss", 1.0)
    figure.legend(handles=_legend(report, best, others, pruned), loc="outside lower center", ncols=4)
    heading = f"The best {len(best)} of {len(report.ranked):,} completed trials by epoch"
    if len(best) <= 1:
        heading = "The completed trial by epoch" if len(report.ranked) == 1 else "The best trial by epoch"
    if report.is_linked:
        heading = f"The first {len(best)} of {len(report.ranked):,} completed trainings by epoch"
    style.title(figure, heading if best else "Pruned trials by epoch; none completed")
    return figure


def _label(axes: Axes, report: Report, best: Sequence[TrialRecord], figure_name: str, factor: float) -> None:
    """Write each trial's name beside the end of its line; names that would cover each other are moved apart."""
    low, high = axes.get_ylim()
    first, last = axes.get_xlim()
    left = last + 0.02 * (last - first)
    ends = []
    for rank, trial in enumerate(best):
        curve = _curve(trial, figure_name, factor)
        curve = curve[np.isfinite(curve[:, 1])]
        if len(curve):
            epoch, value = (float(each) for each in curve[-1])
            ends.append((min((value - low) / (high - low), 1.0), epoch, min(value, high), rank, trial))
    ends.sort(key=lambda end: end[:4])
    places = apart([share for share, *_ in ends], 0.02, 0.98, _GAP)
    for place, (_, epoch, value, rank, trial) in zip(places, ends, strict=True):
        axes.annotate(
            f"trial {trial.number}: {report.scale.shown(trial.value)}", (epoch, value),
            (left, low + place * (high - low)), xycoords="data", textcoords="data", annotation_clip=False, va="center",
            fontsize=8.5, fontweight="bold", color=style.INK,
            arrowprops={"arrowstyle": "-", "color": style.SERIES[rank], "linewidth": 1.2, "shrinkA": 0, "shrinkB": 2,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def draw_trial(trial: TrialRecord, study: str) -> Figure:
    """One trial of a study that has finished an epoch: training dashed, validation solid."""
    figure = style.new_figure(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    _panel(left, "accuracy", [trial], [], [], 100.0)
    _panel(right, "loss", [trial], [], [], 1.0)
    left.set_ylabel("accuracy (%)")
    right.set_ylabel("loss (cross entropy)")
    right.set_ylim(*_loss_limits([trial], []))
    lines = [Line2D([], [], color=style.SERIES[0], linewidth=1.7, label=validation_words(study)),
             Line2D([], [], color=style.SERIES[0], linewidth=1.0, linestyle=(0, (3, 2)), label="training")]  # fmt: skip
    figure.legend(handles=lines, loc="outside lower center", ncols=2)
    style.title(figure, f"Trial {trial.number} by epoch")
    return figure


def _panel(
    axes: Axes,
    figure_name: str,
    best: Sequence[TrialRecord],
    others: Sequence[TrialRecord],
    pruned: Sequence[TrialRecord],
    factor: float,
) -> None:
    """Validation curves of all, and the training curve of the first trial."""
    for trials, colour, alpha in ((pruned, style.GREY, 0.55), (others, style.BLUE, 0.35)):
        faint = [_curve(trial, f"val_{figure_name}", factor) for trial in trials]
        axes.add_collection(LineCollection(faint, colors=colour, linewidths=0.9, alpha=alpha, zorder=1))
        single = np.array([curve[0] for curve in faint if len(curve) == 1]).reshape(-1, 2)
        axes.scatter(single[:, 0], single[:, 1], s=7, color=colour, alpha=alpha, linewidths=0, zorder=1)
    for rank, trial in reversed(list(enumerate(best))):
        for split, dashes, width in (("train", (0, (3, 2)), 1.1), ("val", "solid", 2.0)):
            if split == "train" and rank:
                continue
            curve = _curve(trial, f"{split}_{figure_name}", factor)
            marker = {"train": "^", "val": "o"}[split] if len(curve) == 1 else None
            axes.plot(curve[:, 0], curve[:, 1], color=style.SERIES[rank], linestyle=dashes, linewidth=width,
                      marker=marker, markersize=5, zorder=4 - 0.1 * rank)  # fmt: skip
    axes.autoscale_view()
    epochs = max(len(trial.history["val_accuracy"]) for trial in (*best, *others, *pruned))
    axes.set_xlim(1 - 0.03 * epochs, epochs + 0.03 * epochs)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    style.hide_x_grid(axes)


def _curve(trial: TrialRecord, name: str, factor: float) -> npt.NDArray[np.float64]:
    known = () if name == "train_loss" and learns_another_loss(trial) else trial.history.get(name, ())
    values = np.asarray(known, dtype=np.float64) * factor
    values[~np.isfinite(values)] = np.nan
    return np.column_stack([np.arange(1, len(values) + 1), values])


def learns_another_loss(trial: TrialRecord) -> bool:
    """Whether its training loss is another quantity than the cross entropy that every validation loss is."""
    return trial.config.get("loss", "cross_entropy") != "cross_entropy"


def _loss_limits(best: Sequence[TrialRecord], behind: Sequence[TrialRecord]) -> tuple[float, float]:
    """Room for the best trials in full; pruned ones may leave the picture, since some nearly diverged."""
    ours = [value for trial in best for name in ("train_loss", "val_loss") for value in _curve(trial, name, 1.0)[:, 1]]
    others = [value for trial in behind for value in _curve(trial, "val_loss", 1.0)[:, 1]]
    ours, others = [v for v in ours if np.isfinite(v)], [v for v in others if np.isfinite(v)]
    if not ours and not others:
        return 0.0, 1.0
    usual = float(np.quantile(others, 0.8 if ours else 0.97)) if others else 0.0
    low, high = min([*ours, *others]), max([*ours, min(usual, 1.5 * max(ours)) if ours else usual])
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def validation_words(study: str) -> str:
    """What the figures after an epoch are of; the networks of `finalize` have no images left for a validation."""
    return "after the epoch, on images trained on" if is_networks(study) else "validation"


def _legend(
    report: Report, best: Sequence[TrialRecord], others: Sequence[TrialRecord], pruned: Sequence[TrialRecord]
) -> list[Line2D]:
    handles = []
    if best:
        another = learns_another_loss(best[0])
        training = f"training of trial {best[0].number}{' (another loss: only accuracy)' if another else ''}"
        colour = style.SERIES[0]
        handles.append(Line2D([], [], color=colour, linewidth=2.0, label=validation_words(report.record.name)))
        handles.append(Line2D([], [], color=colour, linewidth=1.1, linestyle=(0, (3, 2)), label=training))
    if others:
        kind = "other completed trainings" if report.is_linked else "other completed trials"
        handles.append(Line2D([], [], color=style.BLUE, alpha=0.5, linewidth=1.0, label=f"{kind} ({len(others):,})"))
    if pruned:
        label = f"pruned, validation ({len(pruned):,})"
        handles.append(Line2D([], [], color=style.GREY, alpha=0.8, linewidth=1.0, label=label))
    return handles
