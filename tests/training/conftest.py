"""Small images to train on: scikit-learn's digits."""

import pytest
import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.part import Value
from tests.digits import digits_of, small_of

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
    return digits_of(8, tmp_path_factory)


@pytest.fixture(scope="package")
def larger_digits(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """As `digits`, but of 12x12 pixels, for nets that need more than 8."""
    return digits_of(12, tmp_path_factory)


def small(**chosen: Value) -> Configuration:
    """A configuration that trains in milliseconds; fp32, so that it is the same on every machine."""
    return small_of(**{"epochs": 3, **chosen})
