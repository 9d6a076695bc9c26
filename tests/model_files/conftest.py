"""Trained models in folders; small enough to be trained in a test."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.model_files.description import Check, ModelDescription, Origin
from cifar_tune.model_files.writing import Chosen, Evaluation, write_model_folder
from cifar_tune.training.device import configure
from cifar_tune.training.loop import Training
from tests.digits import CPU, prepared_digits, small_of

SIZE = 32
Saved = tuple[Training, ModelDescription]


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(SIZE, tmp_path_factory)


@pytest.fixture(scope="package")
def digits(prepared: PreparedData) -> ResidentData:
    return ResidentData(prepared, CPU)


@pytest.fixture(scope="package")
def save(prepared: PreparedData, digits: ResidentData) -> Callable[[Path, Configuration], Saved]:
    """Trains a configuration and writes it into a folder."""

    def write(folder: Path, config: Configuration) -> Saved:
        configure(config, CPU)
        training = Training(config, digits, CPU)
        *_, last = training.epochs()
        data = DataSpec(name="digits", image_size=SIZE, val_size=100, train_size=200)
        check = Check(images=100, loss=last.val_loss, accuracy=last.val_accuracy, trained_on=False)
        chosen = Chosen(data, prepared, last.epoch, Origin(command="train"), check)
        confusion = [[int(row == column) for column in range(10)] for row in range(10)]
        evaluation = Evaluation("validation", 100, last.val_loss, last.val_accuracy, confusion)
        return training, write_model_folder(folder, training, chosen, evaluation)

    return write


@pytest.fixture(scope="package")
def saved(
    tmp_path_factory: pytest.TempPathFactory, save: Callable[[Path, Configuration], Saved]
) -> tuple[Path, ModelDescription]:
    """A model folder that no test changes."""
    folder = tmp_path_factory.mktemp("models") / "small"
    return folder, save(folder, small_of(epochs=1))[1]
