"""The model folder that `finalize` writes."""

import shutil
from pathlib import Path

import pytest
import torch
from optuna.storages import RDBStorage

from cifar_tune import load_model
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import CheckError, UserError
from cifar_tune.model_files.reading import read_description
from cifar_tune.reports import weights
from cifar_tune.storage.records import load_record
from cifar_tune.study import final_model, finalizing
from cifar_tune.study.finalizing import finalize
from cifar_tune.training.evaluation import evaluate
from tests.study.left_by_a_run import DIGITS

CPU = torch.device("cpu")
SPEC = DataSpec(**DIGITS)  # type: ignore[arg-type]


def test_the_loaded_model_gives_the_test_result_to_the_last_digit(made: RDBStorage, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "made"
    said: list[str] = []
    [opening] = finalize(made, "made", "cpu", said.append, save=folder).openings
    model = load_model(folder)
    model.configure_process()

    def measured(images: object, labels: object) -> tuple[float, float]:
        pixels = torch.as_tensor(images).permute(0, 3, 1, 2).contiguous()
        [figures] = evaluate(model, [(pixels, torch.as_tensor(labels))], "fp32", CPU).read()
        return figures

    images, labels, classes = load_test(SPEC)
    assert measured(images, labels) == (opening.test_loss, opening.test_accuracy)
    description = model.description
    assert description.classes == classes
    assert (opening.model, opening.weights_sha256) == (str(folder), description.weights_sha256)
    assert description.metrics["test_accuracy"].value == opening.test_accuracy
    assert (description.origin.trial, description.origin.chosen, description.origin.test_openings) == (1, "best", 1)
    assert description.train_images == 1498
    assert description.confusion is not None
    right = sum(row[place] for place, row in enumerate(description.confusion))
    assert (right, sum(map(sum, description.confusion))) == (round(299 * (opening.test_accuracy or 0)), 299)
    prepared = prepare(SPEC)
    assert description.fingerprint == prepared.fingerprint
    check = description.check
    assert check is not None
    assert check.trained_on
    assert measured(prepared.open_images()[prepared.val_indices], prepared.labels[prepared.val_indices]) == (
        check.loss,
        check.accuracy,
    )
    assert said[-1] == f"model folder: {folder}"
    card = (folder / "README.md").read_text()
    assert "trial 1 of the study `made`" in card
    assert "## Confusion matrix" in card
    assert f"The test set was opened once, for this model ({opening.opened})." in card


def test_an_export_holds_the_model_that_was_tested(made: RDBStorage, tmp_path: Path) -> None:
    record = load_record(made, "made")
    with pytest.raises(CheckError, match=r"has no final model: .* cifar-tune finalize made$"):
        weights.export_weights(*weights.final_model(record)[1:], tmp_path / "report")
    folder = tmp_path / "kept"
    record = finalize(made, "made", "cpu", lambda _: None, save=folder)
    (folder / "README.md").write_text("with a licence")
    files = weights.export_weights(*weights.final_model(record)[1:], tmp_path / "report")
    assert {file.relative_to(tmp_path / "report" / "model").as_posix() for file in files} == {
        "README.md",
        "model.json",
        "model.safetensors",
    }
    assert [file.read_bytes() for file in files] == [(folder / file.name).read_bytes() for file in files]
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(
        CheckError, match=r"cannot be read here: .*model.safetensors: is damaged, or belongs to another"
    ):
        weights.export_weights(*weights.final_model(record)[1:], tmp_path / "report")
    shutil.rmtree(folder)
    with pytest.raises(CheckError, match=r"was written on .*, and cannot be read here: .*there is no such folder"):
        weights.export_weights(*weights.final_model(record)[1:], tmp_path / "report")


def test_a_folder_of_others_is_refused_before_anything_is_trained(
    made: RDBStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    monkeypatch.setattr(finalizing, "trained", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=r"holds other files \(thesis.tex\), and no model of cifar-tune"):
        finalize(made, "made", "cpu", lambda _: None, save=folder)
    assert [each.name for each in folder.iterdir()] == ["thesis.tex"]
    assert not load_record(made, "made").openings


def test_no_test_is_opened_without_the_weights_and_none_is_lost_with_their_description(
    made: RDBStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UserError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(final_model, "write_model_folder", fail)
        with pytest.raises(UserError, match="no space left"):
            finalize(made, "made", "cpu", lambda _: None, save=tmp_path / "one")
    assert not load_record(made, "made").openings
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(final_model, "add_evaluation", fail)
        [opening] = finalize(made, "made", "cpu", said.append, save=tmp_path / "two").openings
    assert opening.test_accuracy is not None
    assert said[-1] == f"note: the weights are in {tmp_path / 'two'}, but not what the test gave: no space left"
    assert read_description(tmp_path / "two").metrics == {}
    assert "Nothing was measured on these weights" in (tmp_path / "two" / "README.md").read_text()
