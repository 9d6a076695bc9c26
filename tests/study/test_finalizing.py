"""`finalize`: when the test split is opened, what is written down of it, and that nothing else opens it."""

import ast
import json
import re
import shutil
import tomllib
from base64 import b64decode
from functools import cache
from getpass import getuser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pytest
from optuna.storages import RDBStorage
from PIL import Image
from sqlalchemy import Engine

from cifar_tune.cli.opening_lines import result_lines
from cifar_tune.data.cache import cache_folder
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resizing import resized
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.data.test_split import test_fingerprint as fingerprint_of_test
from cifar_tune.errors import CheckError, UserError
from cifar_tune.reports.export import export
from cifar_tune.reports.pictures import TEST_SET
from cifar_tune.storage import attributes, lease
from cifar_tune.storage.lease import acquire, owner_of
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.own_tables import LEASES
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.study import finalizing
from cifar_tune.study.choosing import Choice
from cifar_tune.study.final_model import write_final_model
from cifar_tune.study.finalizing import finalize, require_choice
from cifar_tune.study_spec.overrides import Override
from cifar_tune.training import final
from tests.data.images import write_folder
from tests.postgres import own_server
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
DIGITS = {"name": "digits", "image_size": 8, "val_size": 300}
TRAIN = {"model": "cnn2", "width": 4, "epochs": 2, "batch_size": 64, "precision": "fp32"}
SPACE = {"lr": {"low": 1e-3, "high": 0.1, "log": True}}
LR = {"lr": 0.05}


def store(
    storage: RDBStorage,
    trials: list[MadeTrial],
    data: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    space: dict[str, Any] | None = None,
    budget: int = 2,
    **sections: Any,
) -> None:
    """A study named `made`, as a run on these data would have left it."""
    knobs = {**TRAIN, **(train or {})}
    spec = make_spec(space or SPACE, data=data or DIGITS, train=knobs, budget={"trials": budget}, **sections)
    record = make_record(spec, trials, storage)
    prepared = prepare(spec.data)
    record.study.set_user_attr(
        attributes.DATA,
        {
            "fingerprint": prepared.fingerprint,
            "classes": list(prepared.classes),
            "train_images": len(prepared.train_indices),
            "val_images": len(prepared.val_indices),
        },
    )


def run(storage: RDBStorage, again: bool = False, choice: Choice | None = None) -> tuple[list[Opening], list[str]]:
    said: list[str] = []
    record = finalize(storage, "made", "cpu", said.append, again, choice)
    return list(record.openings), said


def openings(storage: RDBStorage) -> list[Opening]:
    return list(load_record(storage, "made").openings)


@pytest.fixture
def made(storage: RDBStorage) -> RDBStorage:
    store(storage, [MadeTrial({"lr": 0.01}, 0.6, epochs=2), MadeTrial(LR, 0.8, epochs=2)])
    return storage


@pytest.mark.parametrize(
    ("choice", "words"),
    [(Choice(trial=99), "no such trial; it has 2 trials"), (Choice(config=Path("nofile.yaml")), "nofile.yaml")],
)
def test_a_dry_run_refuses_what_cannot_be_trained(made: RDBStorage, choice: Choice, words: str) -> None:
    with pytest.raises(UserError, match=words):
        require_choice(load_record(made, "made"), choice, "cpu", None)


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


@pytest.mark.parametrize("begun_anew", [False, True])
def test_a_study_that_is_deleted_meanwhile_opens_nothing(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, begun_anew: bool
) -> None:
    def delete(words: str) -> None:
        if words.startswith("epoch 1/"):
            optuna.create_study(study_name="another", storage=made)  # else the new one would have the same number
            optuna.delete_study(study_name="made", storage=made)
            if begun_anew:
                store(made, [MadeTrial(LR, 0.8, epochs=2)])

    monkeypatch.setattr(finalizing, "load_test", lambda _: pytest.fail("opened"))
    with pytest.raises(CheckError, match="the study 'made' was deleted or renamed while its configuration was tr"):
        finalize(made, "made", "cpu", delete)
    assert owner_of(made.engine, "made") is None


def test_a_study_that_another_process_takes_over_while_the_model_is_written_opens_nothing(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that sleeps for longer than a lease lasts, at the last moment before the opening."""

    def written(*arguments: Any) -> Any:
        result = write_final_model(*arguments)
        with made.engine.begin() as connection:
            connection.execute(LEASES.update().values({"token": "of another process"}))
        return result

    monkeypatch.setattr(finalizing, "write_final_model", written)
    monkeypatch.setattr(finalizing, "load_test", lambda _: pytest.fail("opened"))
    with pytest.raises(CheckError, match="another process took over the study 'made'"):
        finalize(made, "made", "cpu", lambda _: None, save=tmp_path / "model")
    assert openings(made) == []


def test_a_database_that_restarts_meanwhile_is_waited_for() -> None:
    with own_server() as server:
        storage = open_storage(storage_url(server.get_uri()))
        store(storage, [MadeTrial(LR, 0.8, epochs=2)])
        outages: list[str] = []

        def say(words: str) -> None:
            if words.startswith(("epoch 2/", "test set of")):  # before it is opened, and before the result is written
                server.stop()
            if "the database accepts no writes" in words:
                outages.append(words)
                server.start()

        [opening] = finalize(storage, "made", "cpu", say).openings
        assert opening.test_accuracy is not None
        assert len(outages) == 2
        close(storage)


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("CUDA error: out of memory")])
@pytest.mark.parametrize("where", ["Training", "train_aloud", "measure"])
def test_memory_that_runs_out_is_told(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(finalizing if where == "measure" else final, where, full)
    with pytest.raises(CheckError, match="the memory of cpu does not suffice: end what else uses it, or take another"):
        run(made)
    assert len(openings(made)) == (where == "measure")


@pytest.mark.parametrize(("error", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (MemoryError, CheckError)])
def test_an_opening_whose_result_is_lost_still_counts(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], told: type[BaseException]
) -> None:
    def killed(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(finalizing, "measure", killed)
        with pytest.raises(told):
            run(made)
    [lost] = openings(made)
    assert (lost.trial, lost.test_loss, lost.test_accuracy) == (1, None, None)
    assert run(made)[0] == [lost]
    _, repeated = run(made, again=True)[0]
    assert repeated.test_accuracy is not None
    assert openings(made) == [lost, repeated]


def test_an_interruption_during_the_training_leaves_no_mark(made: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(final, "train_aloud", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    assert openings(made) == []
    assert owner_of(made.engine, "made") is None


@pytest.mark.parametrize("has_test_folder", [True, False])
def test_test_images_that_cannot_be_read_are_found_before_the_training(
    storage: RDBStorage, tmp_path: Path, has_test_folder: bool
) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    if has_test_folder:
        write_folder(tmp_path / "images" / "test", {"ant": 4, "bee": 4}, seed=1)
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    test_image = load_test(DataSpec(**folder))[0][0]  # type: ignore[arg-type]
    shutil.rmtree(cache_folder())
    [broken] = [path for path in (tmp_path / "images").rglob("*.png") if (pixels(path) == test_image).all()]
    whole = broken.read_bytes()
    broken.write_bytes(b"garbage")
    said: list[str] = []
    with pytest.raises(UserError, match=f"{broken}: cannot be read as an image"):
        finalize(storage, "made", "cpu", said.append)
    assert said == []  # no epoch
    assert openings(storage) == []
    broken.write_bytes(whole)
    [opening], _ = run(storage)
    assert (opening.train_images, opening.test_images) == ((80, 8) if has_test_folder else (67, 13))


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    """As `image_size: 8` makes them of such an image."""
    return resized(Image.open(path), 8)


def test_test_images_that_break_during_the_training_are_not_an_opening(
    storage: RDBStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    write_folder(tmp_path / "images" / "test", {"ant": 4, "bee": 4})
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    broken = tmp_path / "images" / "test" / "ant" / "000.png"
    whole = broken.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(finalizing, "load_test", lambda spec: [broken.write_bytes(b"garbage"), load_test(spec)][1])
        with pytest.raises(UserError, match="cannot be read as an image"):
            run(storage)
    assert openings(storage) == []
    broken.write_bytes(whole)
    [opening], _ = run(storage)
    assert (opening.train_images, opening.test_images) == (80, 8)


def test_a_test_split_of_other_classes_is_refused_before_the_training(storage: RDBStorage, tmp_path: Path) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    write_folder(tmp_path / "images" / "test", {"ant": 4, "bee": 4})
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    (tmp_path / "images" / "test" / "bee").rename(tmp_path / "images" / "test" / "cow")
    said: list[str] = []
    with pytest.raises(UserError, match="test lacks 'bee'; train lacks 'cow'"):
        finalize(storage, "made", "cpu", said.append)
    shutil.rmtree(tmp_path / "images" / "test" / "cow")
    (tmp_path / "images" / "test" / "bee").mkdir()  # no image at all
    with pytest.raises(UserError, match="holds no image"):
        finalize(storage, "made", "cpu", said.append)
    assert said == []
    assert openings(storage) == []


def test_classes_are_compared_when_the_images_are_opened_too(made: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalizing, "load_test", lambda spec: (*load_test(spec)[:2], tuple("9876543210")))
    with pytest.raises(UserError, match="the test split has other classes"):
        run(made)
    assert openings(made) == []


def test_classes_are_compared_before_the_training(made: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalizing, "decode_test", lambda _: (tuple("9876543210"), ()))
    said: list[str] = []
    with pytest.raises(UserError, match="the test split has other classes"):
        finalize(made, "made", "cpu", said.append)
    assert said == []


def test_a_validation_folder_is_trained_on_too(storage: RDBStorage, tmp_path: Path) -> None:
    for number, (split, count) in enumerate((("train", 40), ("validation", 9), ("Test", 4))):
        write_folder(tmp_path / "images" / split, {"ant": count, "bee": count}, seed=number)
    (tmp_path / "images/Test/ant/notes").write_text("not an image")  # not opened before
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    [opening], said = run(storage)
    assert (opening.train_images, opening.test_images) == (98, 8)
    assert opening.analysis is not None
    for mistake in opening.analysis.mistakes:
        path = tmp_path / "images" / str(mistake.path)
        assert path.parent == tmp_path / "images" / "Test" / ("ant", "bee")[mistake.true]
        with Image.open(BytesIO(b64decode(mistake.picture.partition(",")[2]))) as picture:
            assert (np.asarray(picture) == pixels(path)).all()
    assert [line for line in said if line.startswith("note: test images: ")] == [
        "note: test images: left out, not an image that can be read: 1 ('Test/ant/notes')"
    ]
    assert any("on 98 images: 80 of the training and 18 of the validation split" in line for line in said)


def test_other_images_are_refused(storage: RDBStorage, tmp_path: Path) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    write_folder(tmp_path / "more", {"ant": 1}, seed=7)
    (tmp_path / "more" / "ant" / "000.png").replace(tmp_path / "images" / "train" / "ant" / "000.png")
    with pytest.raises(UserError, match="the images are not those that the study 'made' was run on"):
        run(storage)


def test_a_study_without_a_completed_trial_is_refused(storage: RDBStorage) -> None:
    store(storage, [MadeTrial(LR, 0.8, "PRUNED", 1), MadeTrial(LR, None, "FAIL", 0)])
    with pytest.raises(CheckError, match="has no completed trial"):
        run(storage)


def test_a_study_that_somebody_runs_is_refused(made: RDBStorage) -> None:
    with acquire(made.engine, "made").kept(), pytest.raises(CheckError, match="is being run by process"):
        run(made)


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


def test_a_kept_lease_is_renewed(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 6.0)

    def expires(engine: Engine) -> float:
        held = lease._read(engine, "made")
        assert held is not None
        return held[2]

    with acquire(storage.engine, "made").kept():
        first = expires(storage.engine)
        wait_until(lambda: expires(storage.engine) > first)
    assert owner_of(storage.engine, "made") is None


def importers(of: str) -> set[str]:
    """The modules of the package that import the module `of`, or something in it, anywhere in their code."""
    return {module for module, names in imported().items() if any(f"{name}.".startswith(f"{of}.") for name in names)}


@cache
def imported() -> dict[str, set[str]]:
    """What each module of the package imports."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / "cifar_tune").rglob("*.py"):
        names = found.setdefault(".".join(file.relative_to(ROOT).with_suffix("").parts), set())
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_finalize_opens_the_test_split_and_verify_repeats_it() -> None:
    assert importers("cifar_tune.data.test_split") == {"cifar_tune.study.finalizing", "cifar_tune.study.verifying"}
    assert importers("cifar_tune.study.verifying") == {"cifar_tune.bundles.verifying"}
    assert importers("cifar_tune.bundles.verifying") == {"cifar_tune.cli.commands.verify"}
    assert importers("cifar_tune.study.finalizing") == {"cifar_tune.cli.commands.finalize"}
    calls = {file.name for file in (ROOT / "cifar_tune").rglob("*.py") if ".test_part(" in file.read_text()}
    assert calls == {"test_split.py"}


def test_the_import_check_says_so_too() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    protected = {
        tuple(each["protected_modules"]): each["allowed_importers"] for each in contracts if each["type"] == "protected"
    }
    assert protected == {
        ("cifar_tune.data.test_split",): ["cifar_tune.study.finalizing", "cifar_tune.study.verifying"],
        ("cifar_tune.study.verifying",): ["cifar_tune.bundles.verifying"],
        ("cifar_tune.data.duplicates",): ["cifar_tune.study.checking"],
        ("cifar_tune.study.finalizing",): ["cifar_tune.cli.commands.finalize"],
    }
