"""Checkpoints: what is written is read, and what does not belong is refused."""

import zipfile
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.training.checkpoint import CheckpointError, load, save
from cifar_tune.training.loop import Training

from .conftest import CPU, small


@pytest.fixture(scope="module")
def training(digits: ResidentData) -> Training:
    """One epoch old."""
    training = Training(small(optimizer="adam"), digits, CPU)
    next(training.epochs())
    return training


@pytest.fixture
def path(training: Training, tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    save(path, training.state_dict())
    return path


def test_a_training_goes_on_from_its_file(training: Training, path: Path) -> None:
    data = training.data
    continued = Training(training.config, data, CPU)
    state = load(path, training.config, data.fingerprint)
    assert (state["epoch"], state["results"]) == (1, [training.results[0].as_dict()])
    continued.load_state_dict(state)
    undisturbed = Training(training.config, data, CPU)
    for one in (undisturbed, continued):
        list(one.epochs())
    assert [r.val_loss for r in continued.results] == [r.val_loss for r in undisturbed.results]
    for name, tensor in undisturbed.learner.model.state_dict().items():
        assert tensor.equal(continued.learner.model.state_dict()[name]), name


def test_the_next_one_replaces_it_and_leaves_nothing_behind(training: Training, path: Path) -> None:
    save(path, {**training.state_dict(), "epoch": 2})
    assert load(path, training.config, training.data.fingerprint)["epoch"] == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated(training: Training, path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="truncated or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


def test_damaged_in_the_middle(training: Training, path: Path) -> None:
    """Every record of the zip file has a checksum."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        record = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
    start = record.header_offset + 200
    content[start : start + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


def test_missing(training: Training, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load(tmp_path / "absent.pt", training.config, training.data.fingerprint)


def test_foreign_zip(training: Training, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "Dear reader")
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


class Surprise:
    """What a restricted unpickler must not build."""


@pytest.mark.parametrize("content", [{"weights": torch.zeros(3)}, [1, 2]])
def test_foreign_torch_file(training: Training, path: Path, content: object) -> None:
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of cifar-tune"):
        load(path, training.config, training.data.fingerprint)


def test_no_code_is_run(training: Training, path: Path) -> None:
    torch.save({**training.state_dict(), "surprise": Surprise()}, path)
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


def test_another_configuration(training: Training, path: Path) -> None:
    other = training.config.replaced(lr=0.5, beta1=0.8)
    with pytest.raises(CheckpointError, match=r"another configuration, which differs in beta1, lr$"):
        load(path, other, training.data.fingerprint)


def test_a_configuration_with_other_knobs(training: Training, path: Path) -> None:
    other = training.config.replaced(optimizer="sgd", lr=training.config.number("lr"))
    with pytest.raises(CheckpointError, match=r"differs in beta1, beta2, eps, momentum, nesterov, optimizer$"):
        load(path, other, training.data.fingerprint)


def test_other_data(training: Training, path: Path) -> None:
    with pytest.raises(CheckpointError, match="other data"):
        load(path, training.config, "0" * 64)


def test_another_version(training: Training, path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({**state, "version": 0}, path)
    with pytest.raises(CheckpointError, match="version 0 of the format; this program reads 1"):
        load(path, training.config, training.data.fingerprint)


def test_a_failed_write_leaves_the_old_one(training: Training, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save(path, {**training.state_dict(), "epoch": 2})
    assert load(path, training.config, training.data.fingerprint)["epoch"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_does_not_exist(training: Training, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file or directory"):
        save(tmp_path / "absent" / "checkpoint.pt", training.state_dict())


def test_reading_changes_nothing_in_memory(training: Training, path: Path) -> None:
    kept = deepcopy(training.learner.model.state_dict())
    load(path, training.config, training.data.fingerprint)
    for name, tensor in training.learner.model.state_dict().items():
        assert tensor.equal(kept[name]), name
