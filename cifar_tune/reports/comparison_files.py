"""A comparison as a Markdown table, as CSV, and as a picture."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import replace_files
from cifar_tune.plotting import style
from cifar_tune.reports.comparison import Comparison, Level
from cifar_tune.reports.comparison_plot import draw
from cifar_tune.reports.tables import duration, table

_COLUMNS = (
    "level", "finished", "completed", "pruned", "failed", "best", "mean", "ci95_low", "ci95_high", "seconds_mean",
    "parameters_min", "parameters_max",
)  # fmt: skip


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `compare-KNOB.md`, `.csv` and `.png` into the folder.

    Raises:
        UserError: if they cannot be written.
    """
    stem = folder / f"compare-{comparison.knob}"
    files = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".md", ".csv", ".png")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with style.applied():
            picture = style.png(draw(comparison))
        text = f"{markdown(comparison)}\n\n![{comparison.knob}]({files[2].name})\n"
        replace_files(dict(zip(files, (text, as_csv(comparison), picture), strict=True)))
    except OSError as error:
        source = str(error.filename or folder)
        raise UserError(Problem(f"cannot be written: {error.strerror}", source=source)) from error
    return files


def markdown(comparison: Comparison) -> str:
    """The table, and under which conditions it came about."""
    header, rows = cells(comparison)
    name = comparison.report.record.name
    return (
        f"# {name}: {comparison.label}\n\n"
        f"The {'first ' if comparison.report.record.spec.has_several_objectives else ''}objective is the "
        f"{comparison.report.scale.words}.\n\n"
        f"{table(header, rows, right=(2, 3, 4, 5))}\n\n"
        f"{comparison.conditions}"
    )


def cells(comparison: Comparison) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The table as text: its header, and a row per level."""
    scale = comparison.report.scale
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
    return (comparison.label, "trials", "best", "mean with 95 % interval", "time", "parameters"), rows


def as_csv(comparison: Comparison) -> str:
    """One line per level, all figures at full precision; empty where there is none."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for level in comparison.levels:
        low, high = (None, None)
        if level.mean is not None and level.half_width is not None:
            low, high = level.mean - level.half_width, level.mean + level.half_width
        states = [trial.state for trial in level.trials]
        writer.writerow(
            [
                level.label, len(states), len(level.completed), states.count("PRUNED"), states.count("FAIL"),
                comparison.best(level), level.mean, low, high, level.seconds, *(level.parameters or (None, None)),
            ]
        )  # fmt: skip
    return text.getvalue()


def _counts(level: Level) -> str:
    states = [trial.state for trial in level.trials]
    parts = [f"{len(level.completed)} completed"]
    parts += [
        f"{states.count(state)} {word}" for state, word in (("PRUNED", "pruned"), ("FAIL", "failed")) if state in states
    ]
    return ", ".join(parts)


def _interval(comparison: Comparison, level: Level) -> str:
    scale = comparison.report.scale
    if level.mean is None:
        return "-"
    if level.half_width is None:
        return scale.shown(level.mean)
    return f"{scale.shown(level.mean)} ± {scale.shown(level.half_width)}"


def _parameters(level: Level) -> str:
    if level.parameters is None:
        return "-"
    low, high = level.parameters
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
