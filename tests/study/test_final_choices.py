"""Which trial or configuration `finalize` tests, and which it refuses."""

from pathlib import Path

import pytest
from optuna.storages import RDBStorage

from cifar_tune.cli.opening_lines import result_lines
from cifar_tune.errors import CheckError, UserError
from cifar_tune.storage.records import load_record
from cifar_tune.study.choosing import Choice
from cifar_tune.study.finalizing import require_choice
from tests.reports.factory import MadeTrial

from .left_by_a_run import LR, openings, run, store


@pytest.mark.parametrize(
    ("choice", "words"),
    [(Choice(trial=99), "no such trial; it has 2 trials"), (Choice(config=Path("nofile.yaml")), "nofile.yaml")],
)
def test_a_dry_run_refuses_what_cannot_be_trained(made: RDBStorage, choice: Choice, words: str) -> None:
    with pytest.raises(UserError, match=words):
        require_choice(load_record(made, "made"), choice, "cpu", None)


def test_any_completed_trial_can_be_tested(made: RDBStorage) -> None:
    [opening], said = run(made, choice=Choice(trial=0))
    assert (opening.trial, opening.chosen, opening.value, opening.config["lr"]) == (0, "trial", 0.6, 0.01)
    assert opening.subject == "trial 0"
    assert any(line.startswith("made: trains trial 0 again") for line in said)
    assert run(made, choice=Choice(trial=0)) == ([opening], [])
    refusal = (
        "was opened once, last for trial 0; to open it once more for trial 1.*: cifar-tune finalize made --trial 1 --"
    )
    with pytest.raises(CheckError, match=refusal):
        run(made, choice=Choice(trial=1))
    (_, best), _ = run(made, again=True)
    assert (best.trial, best.chosen) == (1, "best")


def test_only_a_trial_that_completed_here_can_be_tested(storage: RDBStorage) -> None:
    trials = [
        MadeTrial(LR, 0.8, "PRUNED", 1),
        MadeTrial(LR, 0.8, history={}),
        MadeTrial(LR, 0.8, attrs={"reason": None}),
    ]
    store(storage, trials)
    for number, words in enumerate(["is PRUNED after 1 epoch", "are not stored", "by another program"]):
        with pytest.raises(CheckError, match=words):
            run(storage, choice=Choice(trial=number))
    with pytest.raises(UserError, match="has no such trial; it has 3 trials, from 0 to 2"):
        run(storage, choice=Choice(trial=3))


def test_a_trial_that_cannot_be_tested_is_not_advised_to_be_tested_once_more(made: RDBStorage) -> None:
    run(made)
    with pytest.raises(UserError, match="has no such trial"):
        run(made, choice=Choice(trial=9))


CONFIG = """data: {name: digits, image_size: 8, val_size: 300}
train: {model: cnn2, width: 4, epochs: 1, batch_size: 64, precision: fp32, lr: 0.03}
"""


def test_a_configuration_file_can_be_tested(made: RDBStorage, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    [opening], said = run(made, choice=Choice(config=file))
    assert (opening.trial, opening.value, opening.chosen, opening.source) == (None, None, "config", str(file))
    assert (opening.epochs, opening.config["lr"], opening.steps) == (1, 0.03, 23)
    assert any(line.startswith(f"made: trains the configuration {file}, for 1 epoch") for line in said)
    with pytest.raises(CheckError, match=f"last for the configuration {file}; to open it once more"):
        run(made, choice=Choice(config=file))
    record = load_record(made, "made")
    assert "chosen=config" in result_lines(record)
    assert f"config={file}" in result_lines(record)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("image_size: 8", "image_size: 9", r"small.yaml:1: data.image_size = 9: must be as in the study 'made', 8"),
        ("val_size: 300", "train_size: 9", r"data.train_size = 9: must be as in the study 'made', left out"),
        ("lr: 0.03", "patience: 2", r"small.yaml:2: train.patience = 2: needs validation images"),
        ("lr: 0.03", "schedule: plateau", "train.schedule = 'plateau': needs validation images"),
    ],
)
def test_a_configuration_of_other_images_is_refused(
    made: RDBStorage, tmp_path: Path, old: str, new: str, words: str
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG.replace(old, new))
    with pytest.raises(UserError, match=words):
        run(made, choice=Choice(config=file))
    assert openings(made) == []


def test_a_study_without_a_completed_trial_is_refused(storage: RDBStorage) -> None:
    store(storage, [MadeTrial(LR, 0.8, "PRUNED", 1), MadeTrial(LR, None, "FAIL", 0)])
    with pytest.raises(CheckError, match="has no completed trial"):
        run(storage)
