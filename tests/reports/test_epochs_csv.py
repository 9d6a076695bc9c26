"""`epochs.csv`: one row per trial and epoch."""

import csv
import io
from pathlib import Path

from cifar_tune.reports.epochs_csv import COLUMNS, epochs_csv
from cifar_tune.reports.loaded import LoadedStudy
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import StudyRecord
from cifar_tune.training.results import FIGURES

from .factory import MadeTrial, make_record, make_spec

LR = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}


def table(record: StudyRecord) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(epochs_csv(Report(record)), newline="")))


def test_every_epoch_of_every_trial_has_a_row_with_all_that_is_stored(record: StudyRecord, exported: Path) -> None:
    with (exported / "epochs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [
        {
            "number": str(trial.number),
            "epoch": str(epoch),
            "value": repr(trial.intermediate[epoch]),
            **{name: repr(trial.history[name][epoch - 1]) if name in trial.history else "" for name in FIGURES},
        }
        for trial in record.trials
        for epoch in range(1, trial.epochs + 1)
    ]
    assert rows == expected
    assert len({row["number"] for row in rows}) > 20
    assert sum("" not in row.values() for row in rows) > 100
    assert LoadedStudy(record).epochs_table()[0] == {name: float(value) for name, value in rows[0].items()}


def test_what_is_not_stored_is_empty() -> None:
    running = MadeTrial({"lr": 0.1}, 0.5, "RUNNING", epochs=2)
    part = {"val_accuracy": [0.3, 0.4, 0.5], "lr": [0.1, 0.01]}
    odd = MadeTrial({"lr": 0.1}, 0.5, epochs=3, history=part)
    record = make_record(make_spec(LR), [running, odd, MadeTrial({"lr": 0.1}, None, "WAITING", epochs=0)])
    object.__setattr__(record.trials[0], "history", {})  # as of a trial that was never parked
    rows = table(record)
    assert [(row["number"], row["epoch"]) for row in rows] == [
        ("0", "1"),
        ("0", "2"),
        ("1", "1"),
        ("1", "2"),
        ("1", "3"),
    ]
    assert {name for name in COLUMNS if rows[1][name]} == {"number", "epoch", "value"}
    assert [row["lr"] for row in rows[2:]] == ["0.1", "0.01", ""]
    assert rows[4]["val_accuracy"] == "0.5"


def test_a_study_without_an_epoch_has_a_header_alone() -> None:
    assert epochs_csv(Report(make_record(make_spec(LR), []))) == ",".join(COLUMNS) + "\n"
