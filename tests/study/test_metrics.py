"""Further metrics on their way from executors to tables, also where trials are older than the wish for them."""

from typing import Any

from optuna.trial import TrialState

from cifar_tune.reports.epochs_csv import epoch_rows
from cifar_tune.reports.loaded import LoadedStudy
from cifar_tune.reports.report import Report
from cifar_tune.reports.trials_csv import trial_rows

from .conftest import RunStudy
from .scripted import Script, ScriptedExecutors

STUDY: dict[str, Any] = {
    "budget": {"trials": 3},
    "train": {"epochs": 3},
    "pruner": {"name": "none"},
    "search_space": {"lr": {"low": 0.1, "high": 0.9, "step": 0.1}},
}
DECIDING = {"objective": {"metric": "val_macro_f1"}, "constraints": ["best_val_ece <= 0.3"]}


def columns(record: Any) -> dict[str, list[Any]]:
    names, rows = trial_rows(Report(record))
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def test_they_decide_and_are_in_the_tables(run_scripted: RunStudy) -> None:
    script = Script(measures=lambda result, name: {"val_macro_f1": 0.5, "val_ece": 1.2}[name] * result.val_accuracy)
    pool = ScriptedExecutors(script)
    _, record, _ = run_scripted({**STUDY, **DECIDING, "metrics": ["val_ece", "flops"]}, executors=pool)
    assert {job.measures for job in pool.jobs} == {("val_macro_f1", "val_ece")}
    lrs = [float(trial.params["lr"]) for trial in record.trials]
    table = columns(record)
    f1, ece = [lr * 3 / 10 * 0.5 for lr in lrs], [lr * 3 / 10 * 1.2 for lr in lrs]
    best_ece = [value / 3 for value in ece]
    for name, expected in {"value": f1, "val_macro_f1": f1, "val_ece": ece, "best_val_ece": best_ece}.items():
        assert all(abs(one - other) < 1e-12 for one, other in zip(table[name], expected, strict=True)), name
    assert table["feasible"] == [value <= 0.3 for value in best_ece]
    assert table["flops"] == [50_000] * 3
    epochs = LoadedStudy(record).epochs_table()
    assert [row["val_macro_f1"] for row in epochs] == [row["value"] for row in epochs]
    assert record.best is not None
    assert record.best.metrics["val_ece"] == record.best.measures["val_ece"][-1]


def test_trials_that_are_older_than_the_wish_have_empty_cells(run_scripted: RunStudy) -> None:
    pool = ScriptedExecutors(Script())
    run_scripted(STUDY, executors=pool, stop_after=4)  # in the middle of the second trial
    unmeasured = sum(map(len, pool.checkpoints.values()))
    assert 4 <= unmeasured < 6
    again = ScriptedExecutors(Script(), checkpoints=pool.checkpoints)
    listed = {"metrics": ["val_macro_f1", "best_val_macro_f1", "val_loss"]}
    _, record, _ = run_scripted({**STUDY, **listed}, executors=again)
    assert record.counts == {TrialState.COMPLETE.name: 3}
    table = columns(record)
    full = [value / 2 for value in table["value"]]
    assert table["val_macro_f1"] == [None, full[1], full[2]]
    assert table["best_val_macro_f1"] == [None, None, full[2]]  # the second trial's first epoch was not measured
    assert [round(value, 9) for value in table["val_loss"]] == [round(1 - value, 9) for value in table["value"]]
    assert "feasible" not in table
    names, rows = epoch_rows(Report(record))
    seen = [row[names.index("val_macro_f1")] is not None for row in rows]
    assert seen == [False] * unmeasured + [True] * (9 - unmeasured)
