"""Picture: the objective of every trial in the order of their numbers, and the best one so far."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import counted_dots, thinned
from cifar_tune.reports.objective import axis_limits, finite
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord

_MOST_CHARACTERS = 115
"""Of the legend, in one line."""


def draw(report: Report) -> Figure | str:
    """Draw one dot per trial and a step line of the best completed trial so far."""
    if report.nothing_to_draw:
        return report.nothing_to_draw
    figure = style.new_figure(8.4, 4.4)
    axes = figure.add_subplot()
    running = report.running
    values = [report.on_axis(trial) for trial in (*report.completed, *report.pruned)]
    limits = axis_limits([*values, *running.values()], report.scale)
    many = report.has_many
    _dots(axes, report, report.pruned, limits, "pruned, after its last epoch", style.pruned_crosses(many))
    _dots(axes, report, report.ranked, limits, "completed", style.completed_dots(many))
    _dots(axes, report, report.infeasible, limits, "completed, breaks a constraint", style.infeasible_dots(many))
    if running:
        _circles(axes, running, limits)
    _without_value(axes, report, limits)
    _best_so_far(axes, report)
    axes.set_ylim(*limits)
    last = max(trial.number for trial in report.record.trials)
    axes.set_xlim(-0.5 - 0.02 * last, last + 0.5 + 0.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    style.hide_x_grid(axes)
    axes.set_xlabel("trial number")
    axes.set_ylabel(report.scale.axis_label)
    labels = axes.get_legend_handles_labels()[1]
    columns = len(labels) if len(labels) <= 4 else 3
    if sum(map(len, labels)) > _MOST_CHARACTERS:
        columns = 2
    legend = figure.legend(loc="outside lower center", ncols=columns, handletextpad=0.3, markerscale=1.5 if many else 1)
    for handle in filter(None, legend.legend_handles):
        handle.set_alpha(1)
    heading = "Every trial, and the best so far" if report.best else "Every trial; none has completed"
    if report.is_linked:
        heading = "Every training; none is chosen by its value alone"
    elif report.infeasible and not report.best:
        heading = "Every trial; none has completed and kept all constraints"
    style.title(figure, heading)
    axes.set_title(report.beyond(limits[1], with_running=True), loc="right", fontsize=8, color=style.QUIET)
    return figure


def _dots(
    axes: Axes,
    report: Report,
    trials: Sequence[TrialRecord],
    limits: tuple[float, float],
    label: str,
    look: dict[str, Any],
) -> None:
    if trials:
        some = thinned(trials)
        heights = [min(report.on_axis(trial), limits[1]) for trial in some]
        label = f"{label} ({counted_dots(some, trials)})"
        axes.scatter([trial.number for trial in some], heights, clip_on=False, label=label, **look)


def _circles(axes: Axes, running: Mapping[int, float], limits: tuple[float, float]) -> None:
    axes.scatter(
        list(running), [min(value, limits[1]) for value in running.values()], s=24, facecolors="white",
        edgecolors=style.BLUE, clip_on=False, zorder=3, label=f"running ({len(running):,})",
    )  # fmt: skip


def _without_value(axes: Axes, report: Report, limits: tuple[float, float]) -> None:
    """Trials that ended without a value stand on the floor."""
    numbers = [
        trial.number for trial in report.record.trials if trial.state in ("FAIL", "PRUNED") and not finite(trial.value)
    ]
    if numbers:
        axes.scatter(
            numbers, [limits[0]] * len(numbers), marker="|", s=60, color=style.SERIES[3], clip_on=False, zorder=3,
            label=f"ended without a value ({len(numbers):,})",
        )  # fmt: skip


def _best_so_far(axes: Axes, report: Report) -> None:
    best = report.best
    if best is None:
        return
    numbers: list[int] = []
    bests: list[float] = []
    better = max if report.maximizes else min
    for trial in sorted(report.ranked, key=lambda trial: trial.number):
        value = report.on_axis(trial)
        numbers.append(trial.number)
        bests.append(better(value, bests[-1]) if bests else value)
    last = report.record.trials[-1].number
    axes.step([*numbers, last], [*bests, bests[-1]], where="post", color=style.ORANGE, linewidth=1.6, zorder=4)
    label = f"best so far; trial {best.number}: {report.scale.shown(best.value)}"
    axes.scatter([best.number], [report.on_axis(best)], clip_on=False, label=label, **style.best_diamond())
