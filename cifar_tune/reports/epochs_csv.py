"""`epochs.csv`: one row per trial and epoch, the companion of `trials.csv`."""

from collections.abc import Iterator
from dataclasses import fields

from cifar_tune.csv_text import csv_text
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord
from cifar_tune.training.results import EpochResult

FIGURES = tuple(field.name for field in fields(EpochResult) if field.name != "epoch")
"""What every epoch has, in this order."""

COLUMNS = ("number", "epoch", "value", *FIGURES)


def epochs_csv(report: Report) -> str:
    """The text of the file: comma-separated, a header, empty cells where nothing is stored.

    `number` is the trial's number, as in `trials.csv`, and `epoch` counts from 1. `value` is the first objective after
    that epoch. The other figures are stored when a trial ends or is parked, so a trial that is running has `value`
    alone. They have nine digits, which is all that a 32-bit float holds.
    """
    columns, rows = epoch_rows(report)
    return csv_text(columns, rows)


def epoch_rows(report: Report) -> tuple[list[str], list[list[object]]]:
    """The columns, and one row per trial and epoch: numbers, and None where there is nothing."""
    return [*COLUMNS], [row for trial in report.record.trials for row in _rows_of(trial)]


def _rows_of(trial: TrialRecord) -> Iterator[list[object]]:
    curves = [trial.history.get(name, ()) for name in FIGURES]
    epochs = max((*map(len, curves), *trial.intermediate), default=0)
    for epoch in range(1, epochs + 1):
        figures = (curve[epoch - 1] if epoch <= len(curve) else None for curve in curves)
        yield [trial.number, epoch, trial.intermediate.get(epoch), *figures]
