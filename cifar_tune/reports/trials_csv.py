"""`trials.csv`: one row per trial."""

import csv
import io
from datetime import datetime

from cifar_tune.reports.report import Report

COLUMNS = (
    "number", "state", "reason", "value", "finished_epochs", "duration_seconds", "parameters", "started", "ended",
    "source",
)  # fmt: skip
"""Of every study. A column per searched knob follows, under the knob's own name, so none of these may be a knob."""


def trials_csv(report: Report) -> str:
    """The text of the file: comma-separated, a header, numbers with every digit, empty cells where there is nothing.

    `value` is the objective; of a pruned trial, after its last epoch. `source` is sampler, start_from or enqueued. The
    knobs have the values that training used.
    """
    knobs = [knob.name for knob in report.knobs]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *knobs])
    for trial in report.record.trials:
        fixed = (
            trial.number,
            trial.state,
            trial.reason,
            trial.value,
            trial.epochs,
            trial.seconds,
            trial.parameters,
            _moment(trial.started),
            _moment(trial.ended),
            trial.source,
        )
        writer.writerow([*fixed, *(trial.searched.get(name) for name in knobs)])
    return text.getvalue()


def _moment(when: datetime | None) -> str | None:
    return when.isoformat(sep=" ", timespec="seconds") if when else None
