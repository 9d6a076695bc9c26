"""The Pareto front in text: its table for the summary, its entries for programs, its files to train from."""

import errno
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cifar_tune.files import is_real_folder
from cifar_tune.markdown import table
from cifar_tune.reports.best_config import trial_yaml
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import duration, figure

FRONT_FOLDER = "front"
"""Below the folder of a report: the configurations on the Pareto front."""


def front_file(trial: TrialRecord) -> str:
    """The trial's configuration file, relative to the report's folder."""
    return f"{FRONT_FOLDER}/trial-{trial.number}.yaml"


def front_texts(report: Report, folder: Path) -> dict[Path, str]:
    """The configuration of every trial on the front, by its file in the report's folder."""
    files = {folder / front_file(trial): trial for trial in report.front}
    return {file: trial_yaml(report.record, trial, file, "On the Pareto front of") for file, trial in files.items()}


def make_front_folder(folder: Path) -> None:
    """Make the folder of these files in the report's folder.

    Raises:
        OSError: it cannot be made, or a link that leads elsewhere is in its place.
    """
    front = folder / FRONT_FOLDER
    if front.is_symlink():
        raise OSError(errno.ELOOP, "is a link, and no folder", str(front))
    front.mkdir(exist_ok=True)


def former_front(folder: Path, wanted: Collection[Path]) -> list[Path]:
    """The files of an earlier report's front that are not wanted any more."""
    front = folder / FRONT_FOLDER
    return [file for file in front.glob("trial-*.yaml") if file not in wanted] if is_real_folder(front) else []


def front_table(report: Report) -> str:
    """One row per trial on the front: objectives, parameters, time, and the searched knobs."""
    metrics = [objective.metric for objective in report.record.spec.objectives]
    knobs = list(report.record.spec.search_space)
    with_size = "parameters" not in metrics
    header = ("trial", *metrics, *(["parameters"] if with_size else []), "time", *knobs)
    rows = []
    for trial in report.front:
        size = "-" if trial.parameters is None else f"{trial.parameters:,}"
        values = [scale.shown(value) for scale, value in zip(report.scales, trial.values, strict=True)]
        rows.append(
            [
                f"[{trial.number}]({front_file(trial)})",
                *values,
                *([size] if with_size else []),
                duration(trial.seconds),
                *(figure(trial.searched.get(name)) for name in knobs),
            ]
        )
    return table(header, rows, right=tuple(range(1, len(header) - len(knobs))))


def front_entries(report: Report) -> list[dict[str, Any]]:
    """The same for programs, with every digit."""
    return [
        {
            "number": trial.number,
            "values": values_by_metric(report, trial),
            "params": dict(trial.searched),
            "parameters": trial.parameters,
            "flops": trial.flops,
            "file": front_file(trial),
        }
        for trial in report.front
    ]


def values_by_metric(report: Report, trial: TrialRecord) -> dict[str, float]:
    """All objectives of a trial by name; empty if it has no values."""
    names = [objective.metric for objective in report.record.spec.objectives]
    return dict(zip(names, trial.values, strict=True)) if trial.values else {}
