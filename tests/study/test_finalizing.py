"""`finalize`: what is trained, on which images, and what is written down of it."""

import json
import re
import shutil
from getpass import getuser
from pathlib import Path

import numpy as np
import pytest
from optuna.storages import RDBStorage

from cifar_tune.cli.opening_lines import result_lines
from cifar_tune.data.cache import cache_folder
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.data.test_split import test_fingerprint as fingerprint_of_test
from cifar_tune.errors import UserError
from cifar_tune.reports.export import export
from cifar_tune.reports.pictures import TEST_SET
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.study import finalizing
from cifar_tune.study.choosing import Choice
from cifar_tune.study.finalizing import finalize
from cifar_tune.study_spec.overrides import Override
from tests.data.images import write_folder
from tests.reports.factory import MadeTrial

from .left_by_a_run import DIGITS, LR, SPACE, openings, run, store


def test_the_best_trial_is_trained_on_all_images_and_tested_once(made: RDBStorage) -> None:
    [opening], said = run(made)
    assert (opening.trial, opening.value, opening.finished_trials, opening.epochs) == (1, 0.8, 2, 2)
    assert (opening.train_images, opening.test_images) == (1498, 299)
    assert opening.config["lr"] == 0.05
    assert (opening.seed, opening.device, opening.precision) == (0, "cpu", "fp32")
    assert opening.fingerprint == prepare(DataSpec(**DIGITS)).fingerprint  # type: ignore[arg-type]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", opening.opened)
    assert opening.host
    assert opening.person == getuser()
    assert re.fullmatch("[0-9a-f]{32}", str(opening.identity))
    assert opening.test_fingerprint == fingerprint_of_test(DataSpec(**DIGITS))  # type: ignore[arg-type]
    assert opening.cifar_tune
    assert opening.test_loss is not None
    assert opening.test_accuracy is not None
    assert 0.1 < opening.test_accuracy <= 1
    analysis = opening.analysis
    assert analysis is not None
    assert analysis.confusion.trace() / 299 == pytest.approx(opening.test_accuracy, abs=1e-7)
    assert analysis.confusion.sum(1).tolist() == np.bincount(load_test(DataSpec(**DIGITS))[1]).tolist()  # type: ignore[arg-type]
    assert sum(each.images for each in analysis.bins) == 299
    assert len(analysis.mistakes) == min(analysis.wrong, 24)
    assert all(each.path is None for each in analysis.mistakes)  # the digits are no files
    assert f"test set of 299 images: loss {opening.test_loss!r}, accuracy {opening.test_accuracy!r}" in said
    assert len([line for line in said if line.startswith("epoch ")]) == 2
    assert owner_of(made.engine, "made") is None


TEXTS = (".md", ".html", ".json")
METRICS = """
from cifar_tune.plugins import MetricPart


def mistakes(probabilities, labels):
    if len(labels) == 299:
        raise RuntimeError("not for so many images")
    return float((probabilities.argmax(1) != labels).sum())


METRICS = {"mistakes": MetricPart(mistakes, "how many are wrong", direction="minimize")}
"""


@pytest.mark.usefixtures("blank_pictures")
def test_the_metrics_of_a_study_are_measured_on_the_test_set_too(
    storage: RDBStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails costs itself alone, since there is no second look."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(METRICS)
    listed = ["val_macro_f1", "best_val_macro_f1", "val_loss", "val_mistakes"]
    trials = [MadeTrial(LR, 0.8, epochs=2, figures={"val_ece": 0.1})]
    store(storage, trials, plugins=["own.py"], metrics=listed, constraints=["val_ece <= 0.9"])
    said: list[str] = []
    record = finalize(storage, "made", "cpu", said.append, save=tmp_path / "model")
    [opening] = record.openings
    assert opening.analysis is not None
    confusion = opening.analysis.confusion
    f1 = 2 * confusion.diagonal() / (confusion.sum(0) + confusion.sum(1))
    expected = {"test_ece": opening.analysis.calibration_error, "test_macro_f1": float(f1.mean())}
    assert opening.test_metrics == pytest.approx(expected, abs=1e-12)
    assert "note: there is no test_mistakes: not for so many images" in said
    assert f"test_macro_f1={opening.test_metrics['test_macro_f1']!r}" in result_lines(record)
    described = json.loads((tmp_path / "model" / "model.json").read_text())["metrics"]
    assert described["test_macro_f1"]["value"] == opening.test_metrics["test_macro_f1"]
    shown = {file.name: file.read_text() for file in export(record, tmp_path / "report") if file.suffix in TEXTS}
    f1_shown, ece_shown = (f"{opening.test_metrics[name]:.4f}" for name in ("test_macro_f1", "test_ece"))
    further = f"opened {opening.opened}: `test_ece` {ece_shown}, `test_macro_f1` {f1_shown}."
    assert further in shown["summary.md"]
    assert "Its other metrics: `val_ece` 0.100, `val_loss` 0.223." in shown["summary.md"]
    assert f"<code>test_macro_f1</code> {f1_shown}" in shown["report.html"]
    assert "<code>val_ece</code> 0.100" in shown["report.html"]
    summary = json.loads(shown["summary.json"])
    assert summary["test_openings"][0]["test_metrics"] == opening.test_metrics
    assert summary["best"]["metrics"]["val_ece"] == 0.1


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_study_that_ended_before_its_budget_is_not_called_unfinished(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    """By its rule, or since every combination was tried."""
    grid = {} if is_stopped else {"sampler": {"name": "grid"}, "pruner": {"name": "none"}}
    space = SPACE if is_stopped else {"lr": {"choices": [0.01, 0.05]}}
    monkeypatch.setattr(finalizing, "trained", lambda *_: pytest.fail("trained"))

    def is_called_unfinished(record: StudyRecord) -> bool:
        said: list[str] = []
        with pytest.raises(pytest.fail.Exception):
            finalize(storage, record.name, "cpu", said.append)
        return any("are done" in line for line in said)

    trials = [MadeTrial({"lr": 0.01}, 0.6, epochs=2), MadeTrial(LR, 0.8, epochs=2)]
    store(storage, trials, space=space, budget=9, **grid)
    record = load_record(storage, "made")
    assert record.ended_early is not is_stopped
    if is_stopped:
        assert is_called_unfinished(record)
        stopped = {"words": "no gain", "rule": {"after_trials_without_gain": 1}, "finished": 2, "budget": 9}
        record.study.set_user_attr(attributes.STOPPED, stopped)
    record = load_record(storage, "made")
    assert record.ended_early
    assert not is_called_unfinished(record)


@pytest.mark.usefixtures("blank_pictures")
def test_a_second_call_trains_nothing_and_again_gives_the_same_to_the_last_bit(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [first], _ = run(made)
    with monkeypatch.context() as patch:
        patch.setattr(finalizing, "load_test", lambda _: pytest.fail("opened"))
        assert run(made) == ([first], [])
        shutil.rmtree(cache_folder())  # a report needs no test image
        assert {file.name for file in export(load_record(made, "made"), tmp_path)} >= set(TEST_SET)
    found, _ = run(made, again=True)
    assert [each.test_loss for each in found] == [first.test_loss] * 2
    assert [each.test_accuracy for each in found] == [first.test_accuracy] * 2
    assert openings(made) == found


@pytest.mark.parametrize(("study_images", "images", "steps"), [(False, 1498, 46), (True, 500, 14)])
def test_all_images_are_trained_on_unless_those_of_the_study_are_wanted(
    storage: RDBStorage, study_images: bool, images: int, steps: int
) -> None:
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], {**DIGITS, "train_size": 200})
    [opening], said = run(storage, choice=Choice(study_images=study_images))
    assert (opening.train_images, opening.steps) == (images, steps)
    assert opening.images == ("study" if study_images else "all")
    assert (opening.test_images, opening.epochs) == (299, 2)
    split = "200 of the training and 300 of the validation split"
    more = "" if study_images else ", and 998 that the study left out"
    assert any(f"on {images:,} images: {split}{more};" in line for line in said)
    assert any(
        line == f"note: the same epochs on more images are {steps} steps, where the trial took 6" for line in said
    )
    assert any("other values may suit all of them better" in line for line in said) != study_images


def test_images_that_lie_elsewhere_by_now(storage: RDBStorage, tmp_path: Path) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=1)], folder)
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="images"):
        run(storage)
    [opening], _ = run(storage, choice=Choice(settings=[Override("data.root", str(tmp_path / "moved"))]))
    assert (opening.train_images, opening.test_images) == (67, 13)


def test_patience_and_plateau_decide_as_they_did_in_the_trial(storage: RDBStorage) -> None:
    train = {"epochs": 9, "patience": 2, "schedule": "plateau"}
    store(storage, [MadeTrial(LR, 0.8, epochs=3)], train=train, objective={"metric": "best_val_accuracy"})
    [opening], said = run(storage)
    assert opening.epochs == 3
    assert len([line for line in said if line.startswith("epoch ")]) == 3
    notes = [line.split(" ", 1)[1] for line in said if line.startswith("note:")]
    assert notes == [
        "1 of 2 trials are done; if a later one is better, the test set will have been opened for another",
        "the same epochs on more images are 69 steps, where the trial took 54",
        "as many epochs as the trial trained before its patience ended, of 9",
        "schedule plateau lowers the learning rate after the same epochs as in the trial",
        "the objective is that of the best epoch; what is tested are the weights of the last one",
    ]
