"""A comparison as a Markdown table, as CSV, and as a picture of its levels."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.csv_text import csv_text
from cifar_tune.errors import Problem, UserError
from cifar_tune.files import Content, replace_files
from cifar_tune.markdown import inert, table
from cifar_tune.plotting import style
from cifar_tune.plotting.ticks import MOST_IN_PANEL, thinned, thinned_words
from cifar_tune.reports.comparison import Comparison
from cifar_tune.reports.labels import level_label
from cifar_tune.reports.levels import Level
from cifar_tune.reports.objective import Scale, axis_limits
from cifar_tune.wording import duration


def draw(comparison: Comparison) -> Figure:
    """The picture; a sentence where no trial completed."""
    values = [comparison.report.on_axis(trial) for level in comparison.levels for trial in level.completed]
    if not values:
        return style.sentence("No trial completed, so there is nothing to compare.")
    figure = style.new_figure(9.0, 1.7 + 0.5 * len(comparison.levels))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    scale = comparison.report.scale
    ends = [scale.on_axis(end) for level in comparison.levels for end in comparison.interval(level) or ()]
    _objective(left, comparison, axis_limits([*values, *ends], scale))
    _time(right, comparison)
    hollow = "; hollow: breaks a constraint" if comparison.report.infeasible else ""
    bar = "mean with its 95 % interval" if ends else "mean"
    remark = f"dots: completed trials{hollow}; bar: {bar}; diamond: the best of the level"
    left_out = thinned_words([level.completed for level in comparison.levels], MOST_IN_PANEL)
    style.title(figure, f"{comparison.label}, level by level", "\n".join(filter(None, (remark, left_out))))
    return figure


def _objective(axes: Axes, comparison: Comparison, limits: tuple[float, float]) -> None:
    scale = comparison.report.scale
    for row, level in enumerate(comparison.levels):
        values = np.array([scale.on_axis(value) for value in level.values])
        if not len(values):
            continue
        spread = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * 0.3
        keeps = np.array([bool(trial.feasible) for trial in level.completed])
        many = comparison.report.has_many
        best = comparison.best(level)
        is_dot = keeps.copy()
        if best is not None:  # it is the diamond
            is_dot[np.flatnonzero(keeps & (values == scale.on_axis(best)))[:1]] = False
        for chosen, look in ((is_dot, style.completed_dots), (~keeps, style.infeasible_dots)):
            drawn = thinned(np.flatnonzero(chosen).tolist(), MOST_IN_PANEL)
            axes.scatter(values[drawn], (row + spread)[drawn], **look(many))
        mean = float(values.mean())
        axes.scatter([mean], [row], marker="|", s=256, color=style.INK, zorder=4)
        low, high = (scale.on_axis(end) for end in comparison.interval(level) or (0.0, 0.0))
        if low < high:
            _drawn_interval(axes, row, (low, high), limits)
        if best is not None:
            axes.scatter([scale.on_axis(best)], [row], **style.best_diamond())
    axes.set_yticks(range(len(comparison.levels)), [level_label(level.label) for level in comparison.levels])
    axes.set_ylim(len(comparison.levels) - 0.5, -0.5)
    axes.set_xlim(*limits)
    axes.set_xlabel(scale.axis_label)
    axes.grid(visible=False, axis="y")


def _drawn_interval(axes: Axes, row: int, ends: tuple[float, float], limits: tuple[float, float]) -> None:
    """A line with a cap at each end, or with an arrow-head where the axis ends first."""
    shown = [min(max(end, limits[0]), limits[1]) for end in ends]
    axes.hlines(row, shown[0], shown[1], color=style.INK, zorder=4)
    for end, at, arrow in zip(ends, shown, "<>", strict=True):
        axes.scatter([at], [row], marker="|" if at == end else arrow, s=36, color=style.INK, clip_on=False, zorder=4)


def _time(axes: Axes, comparison: Comparison) -> None:
    seconds = [level.seconds or 0.0 for level in comparison.levels]
    axes.barh(range(len(seconds)), seconds, height=0.45, color=style.GREY)
    axes.set_xlabel("mean seconds")
    axes.grid(visible=False, axis="y")


_COLUMNS = (
    "level", "finished", "completed", "pruned", "failed", "best", "mean", "ci95_low", "ci95_high", "seconds_mean",
    "parameters_min", "parameters_max", "difference", "difference_ci95_low", "difference_ci95_high",
    "standard_error",
)  # fmt: skip


def write(comparison: Comparison, folder: Path, formats: Collection[str] = ()) -> list[Path]:
    """Write `compare-KNOB.md`, `.csv` and `.png` into the folder.

    Args:
        comparison: what is written.
        folder: made if need be.
        formats: `svg` or `pdf`, or both: the picture is written so too.

    Returns:
        The files.

    Raises:
        UserError: if they cannot be written.
    """
    return write_contents(comparison.knob, contents(comparison, formats), folder)


def contents(comparison: Comparison, formats: Collection[str] = ()) -> dict[str, Content]:
    """What these files hold, by the ends of their names: `md`, `csv`, `png`, and the formats."""
    with style.applied():
        pictures = style.drawn_as(draw(comparison), formats)
    text = f"{markdown(comparison)}\n\n![{comparison.knob}](compare-{comparison.knob}.png)\n"
    return {"md": text, "csv": as_csv(comparison), **pictures}


def write_contents(knob: str, contents: Mapping[str, Content], folder: Path) -> list[Path]:
    """Write these files of the comparison of a knob; see `write`."""
    files = {folder / f"compare-{knob}.{kind}": content for kind, content in contents.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_files(files)
    except OSError as error:
        source = str(error.filename or folder)
        raise UserError(Problem(f"cannot be written: {error.strerror}", source=source)) from error
    return list(files)


def level_figures(comparison: Comparison) -> list[dict[str, str | int | float | None]]:
    """The rows of the CSV by the names of its columns; None where there is no figure."""
    return [dict(zip(_COLUMNS, row, strict=True)) for row in _rows(comparison)]


def markdown(comparison: Comparison) -> str:
    """The table, and under which conditions it came about."""
    header, rows = cells(comparison)
    name = comparison.report.record.name
    return (
        f"# {inert(name)}: {comparison.label}\n\n"
        f"The {'first ' if comparison.report.record.spec.has_several_objectives else ''}objective is the "
        f"{comparison.report.scale.words}.\n\n"
        f"{table(header, rows, right=range(2, len(header)))}\n\n"
        f"{comparison.conditions}"
    )


def cells(comparison: Comparison) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The table as text: its header, and a row per level."""
    scale = _scale(comparison)
    rows = [
        (
            level.label,
            _counts(level),
            scale.shown(comparison.best(level)),
            _interval(comparison, level),
            "-" if level.seconds is None else duration(level.seconds),
            _parameters(level),
        )
        for level in comparison.levels
    ]
    mean = "mean with 95 % interval" if any(map(comparison.interval, comparison.levels)) else "mean"
    best = "best" if comparison.repeats is None else "best configuration, mean"
    header: tuple[str, ...] = (comparison.label, "trials", best, mean, "time", "parameters")
    more: dict[str, list[str]] = {}
    if comparison.repeats is not None:
        more["standard error"] = [scale.shown_error(comparison.standard_error(level)) for level in comparison.levels]
    if comparison.paired is not None:
        more["difference, paired"] = [_difference(comparison, level) for level in comparison.levels]
    wide = [(*row[:4], *(each[index] for each in more.values()), *row[4:]) for index, row in enumerate(rows)]
    return (*header[:4], *more, *header[4:]), wide


def as_csv(comparison: Comparison) -> str:
    """One line per level, all figures at full precision; empty where there is none."""
    return csv_text(_COLUMNS, _rows(comparison))


def _rows(comparison: Comparison) -> list[list[str | int | float | None]]:
    rows: list[list[str | int | float | None]] = []
    for level in comparison.levels:
        low, high = comparison.interval(level) or (None, None)
        states = [trial.state for trial in level.trials]
        rows.append(
            [
                level.label, len(states), len(level.completed), states.count("PRUNED"), states.count("FAIL"),
                comparison.best(level), level.mean, low, high, level.seconds, *(level.parameters or (None, None)),
                *_difference_ends(comparison, level), comparison.standard_error(level),
            ]
        )  # fmt: skip
    return rows


def _scale(comparison: Comparison) -> Scale:
    """How a level's figures are written: with `repeats` they are means of several trainings."""
    return comparison.report.scale if comparison.repeats is None else comparison.report.mean_scale


def _counts(level: Level) -> str:
    states = [trial.state for trial in level.trials]
    parts = [f"{len(level.completed)} completed"]
    parts += [
        f"{states.count(state)} {word}" for state, word in (("PRUNED", "pruned"), ("FAIL", "failed")) if state in states
    ]
    return ", ".join(parts)


def _interval(comparison: Comparison, level: Level) -> str:
    if level.mean is None:
        return "-"
    ends = comparison.interval(level)
    half_width = comparison.half_width(level)
    if ends is None or half_width is None:  # what is no random sample has none
        return _scale(comparison).shown(level.mean)
    scale = comparison.report.mean_scale
    if ends != (level.mean - half_width, level.mean + half_width):  # cut: not the same on both sides
        return f"{scale.shown(level.mean)} (from {scale.shown(ends[0])} to {scale.shown(ends[1])})"
    return f"{scale.shown(level.mean)} ± {scale.shown(half_width)}"


def _difference(comparison: Comparison, level: Level) -> str:
    if level is comparison.leader:
        return "best mean"
    if comparison.fell_behind(level):
        return "fell behind"
    found = comparison.difference(level)
    if found is None:
        return "-"
    difference, half = found
    _, low, high = _difference_ends(comparison, level)
    is_cut = (low, high) != (difference - half, difference + half)
    scale = comparison.report.mean_scale  # what all levels share cancels out in a difference
    if scale.is_share:
        around = f" (from {low or 0:+.2%} to {high or 0:+.2%})".replace("%", "") if is_cut else f" ± {half * 100:.2f}"
        return f"{difference * 100:+.2f}{around} points"
    return f"{'+' if difference >= 0 else '-'}{scale.shown(abs(difference))} ± {scale.shown(half)}"


def _difference_ends(comparison: Comparison, level: Level) -> tuple[float | None, float | None, float | None]:
    """The difference and the ends of its interval, within what two values of the objective can differ by."""
    found = comparison.difference(level)
    if found is None:
        return None, None, None
    spec = comparison.report.record.spec
    metric = spec.known_metrics[spec.objective.metric]
    most = metric.highest - metric.lowest
    return found[0], max(found[0] - found[1], -most), min(found[0] + found[1], most)


def _parameters(level: Level) -> str:
    if level.parameters is None:
        return "-"
    low, high = level.parameters
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
