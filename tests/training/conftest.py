"""Small images to train on: scikit-learn's digits."""

import pytest
import torch

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value

CPU = torch.device("cpu")

ONE_OF_EACH = (
    "tutorial_net", "simple_nn", "cnn2", "cnn3", "airbench_net", "vgg11", "resnet18", "resnet50", "resnet20",
    "densenet121",
)  # fmt: skip
"""Models that stand for all: the others are deeper ones of the same classes."""


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """200 training and 100 validation images of 8x8 pixels in ten classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        return ResidentData(prepare(DataSpec(name="digits", image_size=8, val_size=100, train_size=200)), CPU)


@pytest.fixture(scope="package")
def larger_digits(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """As `digits`, but of 12x12 pixels, for nets that need more than 8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        return ResidentData(prepare(DataSpec(name="digits", image_size=12, val_size=100, train_size=200)), CPU)


def small(**chosen: Value) -> Configuration:
    """A configuration that trains in milliseconds; fp32, so that it is the same on every machine."""
    defaults: dict[str, Value] = {
        "model": "cnn2",
        "width": 4,
        "batch_size": 32,
        "epochs": 3,
        "lr": 0.01,
        "precision": "fp32",
    }
    return complete({**defaults, **chosen})
