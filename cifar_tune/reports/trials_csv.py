"""`trials.csv`: one row per trial."""

from datetime import datetime

from cifar_tune.csv_text import csv_text
from cifar_tune.reports.report import Report

COLUMNS = (
    "number", "state", "reason", "value", "finished_epochs", "duration_seconds", "parameters", "started", "ended",
    "source",
)  # fmt: skip
"""Of every study. A column per searched knob follows, under the knob's own name, so none of these may be a knob."""

MORE_COLUMNS = ("feasible", "on_front")
"""Of studies with several objectives or constraints, behind the columns of their metrics."""


def trials_csv(report: Report) -> str:
    """The text of the file: comma-separated, a header, numbers with every digit, empty cells where there is nothing.

    `value` is the objective, the first one of several; of a pruned trial, after its last epoch. `source` is sampler,
    start_from or enqueued. The knobs have the values that training used. With several objectives, constraints or
    further `metrics` there is a column more for each metric of the study, empty where a trial did not measure it. With
    several objectives or constraints, `feasible` says whether the trial keeps all constraints, and `on_front` whether
    it lies on the Pareto front.
    """
    columns, rows = trial_rows(report)
    return csv_text(columns, ([_cell(*each) for each in zip(columns, row, strict=True)] for row in rows))


def trial_rows(report: Report) -> tuple[list[str], list[list[object]]]:
    """The columns, and one row per trial: numbers, texts, truths, times, and None where there is nothing."""
    spec = report.record.spec
    metrics = [name for name in spec.metrics if name not in COLUMNS]
    judged = MORE_COLUMNS if spec.has_several_objectives or spec.constraints else ()
    more = [*metrics, *judged] if spec.keeps_metrics else []
    front = {trial.number for trial in report.record.front}
    knobs = [knob.name for knob in report.knobs]
    rows: list[list[object]] = []
    for trial in report.record.trials:
        fixed = (
            trial.number,
            trial.state,
            trial.reason,
            trial.value,
            trial.epochs,
            trial.seconds,
            trial.parameters,
            trial.started,
            trial.ended,
            trial.source,
        )
        seen: list[object] = [trial.metrics.get(name) for name in metrics]
        seen += [trial.feasible, trial.number in front] if judged else []
        rows.append([*fixed, *(seen if more else ()), *(trial.searched.get(name) for name in knobs)])
    return [*COLUMNS, *more, *knobs], rows


def _cell(column: str, value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if column in MORE_COLUMNS and value is not None:
        return str(value).lower()
    return value
