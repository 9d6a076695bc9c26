"""`epochs.csv`: one row per trial and epoch, the companion of `trials.csv`."""

from collections.abc import Iterator, Sequence

from cifar_tune.csv_text import csv_text
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord
from cifar_tune.training.results import FIGURES

COLUMNS = ("number", "epoch", "value", *FIGURES)


def epochs_csv(report: Report) -> str:
    """The text of the file: comma-separated, a header, empty cells where nothing is stored.

    `number` is the trial's number, as in `trials.csv`, and `epoch` counts from 1. `value` is the first objective after
    that epoch. The other figures are stored when a trial ends or is parked, so a trial that is running has `value`
    alone. Those that every study has come first, with nine digits, which is all that a 32-bit float holds; then the
    further metrics that the study asks for, such as `val_macro_f1`.
    """
    columns, rows = epoch_rows(report)
    return csv_text(columns, rows)


def epoch_rows(report: Report) -> tuple[list[str], list[list[object]]]:
    """The columns, and one row per trial and epoch: numbers, and None where there is nothing."""
    trials = report.record.trials
    measures = list(dict.fromkeys(name for trial in trials for name in trial.measures))
    return [*COLUMNS, *measures], [row for trial in trials for row in _rows_of(trial, measures)]


def _rows_of(trial: TrialRecord, measures: Sequence[str]) -> Iterator[list[object]]:
    curves: list[Sequence[float | None]] = [trial.history.get(name, ()) for name in FIGURES]
    curves += [trial.measures.get(name, ()) for name in measures]
    epochs = max((*map(len, curves), *trial.intermediate), default=0)
    for epoch in range(1, epochs + 1):
        figures = (curve[epoch - 1] if epoch <= len(curve) else None for curve in curves)
        yield [trial.number, epoch, trial.intermediate.get(epoch), *figures]
