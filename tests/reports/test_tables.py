import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cifar_tune.knobs.table import KNOBS
from cifar_tune.reports.export import export
from cifar_tune.reports.trials_csv import COLUMNS
from cifar_tune.storage.attributes import REASON
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

from .factory import DATA, ENVIRONMENT, MadeTrial, make_record, make_spec

SPACE = {
    "optimizer": {"choices": ["sgd", "adamw"]},
    "momentum": {"low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}},
    "epochs": {"choices": [2, 4]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    trials = [
        MadeTrial({"optimizer": "sgd", "momentum": 0.1 + 0.2, "epochs": 4}, 0.75, epochs=4),
        MadeTrial({"optimizer": "adamw", "epochs": 4}, 0.25, "PRUNED", 1),
        MadeTrial({"optimizer": "adamw", "epochs": 2}, 0.8, epochs=2),
        MadeTrial({"optimizer": "adamw", "epochs": 2}, None, "PRUNED", 0, "diverged"),
        MadeTrial({"optimizer": "adamw", "epochs": 2}, None, "FAIL", 0, "error", error="Traceback\nValueError: a | b"),
        MadeTrial({"optimizer": "adamw", "epochs": 4}, None, "RUNNING", 1, history={"val_accuracy": [0.5]}),
        MadeTrial({}, None, "WAITING", 0, attrs={"config": {}}),
    ]
    export(
        make_record(make_spec(SPACE, sampler={"seed": 11}, train={"seed": 5}, data={"split_seed": 3}), trials[:6]),
        folder,
    )
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder: Path) -> Any:
    return json.loads((folder / "summary.json").read_text())


def test_a_row_per_trial(folder: Path) -> None:
    found = rows(folder)
    assert [row["number"] for row in found] == ["0", "1", "2", "3", "4", "5"]
    assert [row["state"] for row in found] == ["COMPLETE", "PRUNED", "COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert [row["reason"] for row in found] == ["completed", "pruned", "completed", "diverged", "error", ""]
    assert [row["value"] for row in found] == ["0.75", "0.25", "0.8", "", "", ""]
    assert [row["finished_epochs"] for row in found] == ["4", "1", "2", "0", "0", "1"]
    assert found[0]["duration_seconds"] == "10.0"
    assert found[0]["parameters"] == "268650"
    assert found[0]["started"] == "2025-03-01 12:00:00"
    assert found[0]["ended"] == "2025-03-01 12:00:10"
    assert found[5]["ended"] == ""


def test_knobs_have_their_own_columns_empty_where_not_taken(folder: Path) -> None:
    found = rows(folder)
    assert list(found[0]) == [*COLUMNS, "optimizer", "momentum", "epochs"]
    assert found[0]["momentum"] == "0.30000000000000004"
    assert found[1]["momentum"] == ""
    assert [row["epochs"] for row in found] == ["4", "4", "2", "2", "2", "4"]


def test_no_column_can_be_taken_for_a_knob() -> None:
    assert not set(COLUMNS) & set(KNOBS)


def test_the_numbers_of_the_summary(folder: Path) -> None:
    found = summary(folder)
    assert found["study"] == "made"
    assert found["objective"] == {"metric": "val_accuracy", "direction": "maximize"}
    assert found["counts"] == {
        "total": 6, "finished": 5, "COMPLETE": 2, "PRUNED": 2, "FAIL": 1, "RUNNING": 1, "WAITING": 0,
    }  # fmt: skip
    assert found["reasons"] == {
        "completed": 2,
        "pruned": 1,
        "infeasible": 0,
        "repeated": 0,
        "diverged": 1,
        "out_of_memory": 0,
        "timeout": 0,
        "error": 1,
    }
    assert found["elapsed_seconds"] == 75.0
    assert found["environment"] == ENVIRONMENT
    assert found["data"] == DATA


def test_the_best_trial_of_the_summary(folder: Path) -> None:
    best = summary(folder)["best"]
    assert best["number"] == 2
    assert best["value"] == 0.8
    assert best["params"] == {"optimizer": "adamw", "epochs": 2}
    assert best["config"]["augment"] == []
    assert best["config"]["precision"] == "fp32"
    assert (best["epochs"], best["seconds"], best["parameters"], best["device"]) == (2, 5.0, 268652, "cpu")
    assert best["standard_error"] == pytest.approx((0.8 * 0.2 / 5000) ** 0.5)
    assert best["intervals"] == {"val_accuracy": pytest.approx([0.7887, 0.8109], abs=5e-5)}


def test_the_specification_of_the_summary_is_a_study_file(folder: Path) -> None:
    spec = make_spec(SPACE, sampler={"seed": 11}, train={"seed": 5}, data={"split_seed": 3})
    assert read_study(Document(summary(folder)["spec"]), None).spec == spec


@pytest.mark.usefixtures("blank_pictures")
def test_the_keys_are_those_that_are_documented(exported: Path, tmp_path: Path) -> None:
    from cifar_tune.reports.summary_json import summary_json

    export(make_record(make_spec(), []), tmp_path)
    full, empty = summary(exported), summary(tmp_path)
    assert list(full) == list(empty)
    assert all(f"{key}:" in (summary_json.__doc__ or "") or f"{key}, " in (summary_json.__doc__ or "") for key in full)
    assert empty["best"] is None
    assert empty["importances"] is None
    assert all(f"`{key}`" in (summary_json.__doc__ or "") for key in full["best"])
    assert sum(full["importances"].values()) == pytest.approx(1)


def test_the_summary_for_people(folder: Path) -> None:
    text = (folder / "summary.md").read_text()
    assert "**80.0 %** validation accuracy of the last epoch: trial 2, 2 epochs, 5.0 s, 268,652 parameters" in text
    assert "`val_accuracy = 0.8` (to maximize)" in text
    assert "on 5,000 validation images, 95 % interval 78.9 to 81.1 % for new images, and this training alone" in text
    assert "chosen as the best of 5 trials, so it is optimistic, and the interval does not allow for that." in text
    assert "The test split was not read." in text
    assert "6 trials: 2 COMPLETE, 2 PRUNED, 1 FAIL, 1 RUNNING" in text
    assert "| `diverged` | 1 | the loss became infinite or not a number |" in text
    assert "- trial 4: `ValueError: a | b`" in text
    assert "`sampler.seed` 11, `data.split_seed` 3, `train.seed` 5" in text
    assert f"fingerprint `{DATA['fingerprint']}`" in text
    assert "| torch | `2.9.1` |" in text
    assert "| `momentum` | 0 to 0.9 | optimizer is sgd |" in text
    assert "### The best 2 of 2" in text
    assert "| 1 | 2 | 80.0 % | 2 | 5.0 s | 268,652 | adamw | - | 2 |" in text


def test_the_searched_knobs_come_first(folder: Path) -> None:
    lines = (folder / "summary.md").read_text().splitlines()
    start = lines.index("| knob | value |  |") + 2
    assert lines[start : start + 3] == [
        "| `optimizer` | **adamw** | searched |", "| `epochs` | **2** | searched |", "| `model` | cnn3 |  |",
    ]  # fmt: skip


def test_ten_trials_are_listed_best_first(exported: Path, record: StudyRecord) -> None:
    lines = (exported / "summary.md").read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("### The best 10 of "))
    numbers = [int(line.split("|")[2]) for line in lines[start + 4 : start + 14]]
    complete = [trial for trial in record.trials if trial.state == "COMPLETE"]
    assert numbers == [trial.number for trial in sorted(complete, key=lambda trial: -(trial.value or 0))[:10]]


def test_every_link_leads_to_a_file(exported: Path) -> None:
    text = (exported / "summary.md").read_text()
    targets = [part.split(")")[0] for part in text.split("](")[1:]]
    assert len(targets) >= 7
    assert all((exported / target).is_file() for target in targets)


@pytest.mark.usefixtures("blank_pictures")
def test_a_loss_has_no_percent_and_tells_the_accuracy(tmp_path: Path) -> None:
    spec = make_spec({"lr": {"low": 0.1, "high": 1}}, objective={"metric": "val_loss"})
    export(make_record(spec, [MadeTrial({"lr": 0.5}, 0.6931471805599453)]), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "**0.693** validation loss of the last epoch" in text
    assert "validation accuracy after its last epoch was 50.00 %" in text
    assert "95 % interval" not in text
    best = summary(tmp_path)["best"]
    assert (best["standard_error"], best["intervals"]) == (None, {})


@pytest.mark.parametrize(("trials", "sentence"), [
    ([], "No trial has begun yet."),
    ([MadeTrial({"lr": 0.5}, None, "RUNNING", 0)], "No trial has finished yet."),
    ([MadeTrial({"lr": 0.5}, 0.3, "PRUNED", 1), MadeTrial({"lr": 0.5}, None, "PRUNED", 0, "out_of_memory")],
     "Of 2 finished trials, this program trained none to its end: 1 stopped by the pruner, 1 the device ran out of "
     "memory."),
    ([MadeTrial({"lr": 0.5}, 0.9, attrs={REASON: None}), MadeTrial({"lr": 0.6}, 0.3, "PRUNED", 1)],
     "Of 2 finished trials, this program trained none to its end: 1 stopped by the pruner, 1 ended by another "
     "program."),
])  # fmt: skip
@pytest.mark.usefixtures("blank_pictures")
def test_why_there_is_no_best(tmp_path: Path, trials: list[MadeTrial], sentence: str) -> None:
    export(make_record(make_spec({"lr": {"low": 0.1, "high": 1}}), trials), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert sentence in text
    assert "no `best.yaml`" in text
    assert "best.yaml]" not in text
    assert not (tmp_path / "best.yaml").exists()
