"""`trials.csv`: one row per trial."""

import math
from datetime import datetime
from statistics import fmean, stdev

from cifar_tune.csv_text import csv_text
from cifar_tune.reports import linked
from cifar_tune.reports.report import Report
from cifar_tune.storage.means import Key, key_of

COLUMNS = (
    "number", "state", "reason", "value", "finished_epochs", "duration_seconds", "parameters", "started", "ended",
    "source",
)  # fmt: skip
"""Of every study. A column per searched knob follows, under the knob's own name, so none of these may be a knob."""

MORE_COLUMNS = ("feasible", "on_front")
"""Of studies with several objectives or constraints, behind the columns of their metrics."""


REPEAT_COLUMNS = (
    "repeat", "configuration_mean", "configuration_standard_error", "configuration_trainings", "fell_behind",
)  # fmt: skip
"""Of studies with `repeats`, behind those."""


def trials_csv(report: Report) -> str:
    """The text of the file: comma-separated, a header, numbers with every digit, empty cells where there is nothing.

    `value` is the objective, the first one of several; of a pruned trial, after its last epoch. `source` is sampler,
    start_from, transfer_from or enqueued. The knobs have the values that training used. With several objectives,
    constraints or further `metrics` there is a column more for each metric of the study, empty where a trial did not
    measure it. With several objectives or constraints, `feasible` says whether the trial keeps all constraints, and
    `on_front` whether it lies on the Pareto front. With `repeats`, `repeat` says which training of its configuration it
    is. Of the configuration there are the mean of the objective over the trainings that have completed, its standard
    error, how many those are, and whether it `fell_behind`, so that it is trained no further. In a study that
    `finalize` has made, `task_seed` and `task_fold` say what a training was planned with (fold 0 is the split of the
    study), and `study_trial` is the trial of the raced study whose configuration it has.
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
    repeats = _of_configurations(report) if spec.repeats is not None else {}
    planned = linked.planned_of(report.record)
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
        own = [trial.repeat, *repeats.get(key_of(trial.params), _UNKNOWN)] if spec.repeats is not None else []
        own += _planned(planned.get(trial.number)) if report.is_linked else ()
        rows.append(
            [*fixed, *(seen if spec.keeps_metrics else ()), *own, *(trial.searched.get(name) for name in knobs)]
        )
    more += REPEAT_COLUMNS if spec.repeats is not None else ()
    more += linked.COLUMNS if report.is_linked else ()
    return [*COLUMNS, *more, *knobs], rows


def _planned(planned: linked.Planned | None) -> tuple[object, ...]:
    return (None, None, None) if planned is None else (planned.of, planned.seed, planned.fold)


_UNKNOWN = (None, None, None, None)


def _of_configurations(report: Report) -> dict[Key, tuple[object, ...]]:
    """By configuration: mean, standard error, trainings that have completed, and whether it fell behind."""
    values: dict[Key, list[float]] = {}
    for trial in report.record.trials:
        if trial.repeat is not None and trial.state == "COMPLETE" and trial.ended_here and not trial.is_repetition:
            values.setdefault(key_of(trial.params), []).extend(trial.values[:1])
    return {
        key: (
            fmean(each),
            stdev(each) / math.sqrt(len(each)) if len(each) > 1 else None,
            len(each),
            key in report.record.fallen,
        )
        for key, each in values.items()
    }


def _cell(column: str, value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if column in (*MORE_COLUMNS, "fell_behind") and value is not None:
        return str(value).lower()
    return value
