"""Picture: the objectives against each other, with the Pareto front."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter

from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import counted_dots, range_ticks, thinned
from cifar_tune.reports.objective import Scale, finite
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import tick_label

_MOST_NUMBERS = 15
_CHARACTER, _LINE = 8.0, 15.0
"""Room for a digit of these numbers, and for a line of them, in pixels of the picture."""

_SPAN = 30.0
"""An axis of counts or seconds that spans more is logarithmic."""


def draw(report: Report) -> Figure | str:
    """Draw one panel per pair of objectives: completed trials as dots, those that break a constraint grey."""
    completed = [trial for trial in report.completed if all(finite(value) for value in trial.values)]
    if not completed:
        return report.nothing_to_draw or "No trial completed, so there is no Pareto front."
    pairs = list(combinations(range(len(report.scales)), 2))
    figure = style.new_figure(6.8 if len(pairs) == 1 else 4.3 * len(pairs), 4.8)
    for axes, (y, x) in zip(figure.subplots(1, len(pairs), squeeze=False).flat, pairs, strict=True):
        _panel(axes, report, completed, x, y, is_only=len(pairs) == 1)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    style.title(figure, _heading(report))
    return figure


def _panel(axes: Axes, report: Report, completed: Sequence[TrialRecord], x: int, y: int, is_only: bool) -> None:
    keeping = [trial for trial in completed if trial.feasible]
    drawn = {trial.number for trial in keeping}
    front = [trial for trial in report.front if trial.number in drawn]
    on_front = {trial.number for trial in front}
    groups = (
        ("breaks a constraint", [trial for trial in completed if not trial.feasible],
         style.infeasible_dots(report.has_many)),
        ("completed", [trial for trial in keeping if trial.number not in on_front],
         style.completed_dots(report.has_many)),
        ("on the Pareto front", front, style.best_diamond()),
    )  # fmt: skip
    for label, trials, look in groups:
        if trials:
            some = trials if trials is front else thinned(trials)
            axes.scatter(_places(report, some, x), _places(report, some, y),
                         label=f"{label} ({counted_dots(some, trials)})", **look)  # fmt: skip
    if is_only and len(front) > 1:  # with three objectives a front is no line
        line = sorted(zip(_places(report, front, x), _places(report, front, y), strict=True))
        across: Literal["pre", "post"] = "post" if report.record.spec.objectives[x].direction == "minimize" else "pre"
        axes.step([point[0] for point in line], [point[1] for point in line], where=across, color=style.ORANGE,
                  linewidth=1.2, alpha=0.7, zorder=2)  # fmt: skip
    axes.set_xlabel(report.scales[x].axis_label)
    axes.set_ylabel(report.scales[y].axis_label)
    for index, axis, set_scale in ((x, axes.xaxis, axes.set_xscale), (y, axes.yaxis, axes.set_yscale)):
        values = _places(report, completed, index)
        scale = report.scales[index]
        written = EngFormatter(sep="") if scale.is_count else FuncFormatter(lambda value, _: tick_label(value))
        if _spans_much(scale, values):
            set_scale("log")
            axis.set_ticks(range_ticks(min(values), max(values), log=True, whole=scale.is_count, at_most=6))
            axis.set_ticks([], minor=True)
        axis.set_major_formatter(written)
    if is_only and len(front) <= _MOST_NUMBERS:
        _write_numbers(axes, report, front, x, y)


def _write_numbers(axes: Axes, report: Report, front: Sequence[TrialRecord], x: int, y: int) -> None:
    """Write the numbers of the trials beside them, but none across another one."""
    by_place: dict[tuple[float, float], list[int]] = {}
    for trial in front:
        place = (_places(report, [trial], x)[0], _places(report, [trial], y)[0])
        by_place.setdefault(place, []).append(trial.number)
    # on the better side nothing else lies
    left, down = (report.record.spec.objectives[index].direction == "minimize" for index in (x, y))
    written: list[tuple[float, float, float]] = []
    for place, numbers in by_place.items():
        words = ", ".join(map(str, sorted(numbers)))
        across, up = axes.transData.transform(place)
        width = _CHARACTER * len(words)
        if any(abs(across - other) < max(width, wide) and abs(up - above) < _LINE for other, above, wide in written):
            continue
        written.append((across, up, width))
        axes.annotate(
            words, place, (-5 if left else 5, -5 if down else 5), textcoords="offset points",
            ha="right" if left else "left", va="top" if down else "bottom", fontsize=7, color=style.QUIET,
        )  # fmt: skip


def _places(report: Report, trials: Sequence[TrialRecord], index: int) -> list[float]:
    return [report.scales[index].on_axis(trial.values[index]) for trial in trials]


def _spans_much(scale: Scale, values: Sequence[float]) -> bool:
    return not scale.is_share and min(values) > 0 and max(values) > _SPAN * min(values)


def _heading(report: Report) -> str:
    if not report.front:
        return "No completed trial keeps all constraints"
    count = f"{len(report.front):,} trials" if len(report.front) > 1 else "1 trial"
    return f"The Pareto front: {count} that no other trial dominates"
