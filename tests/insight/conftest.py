"""Small images to look into: scikit-learn's digits."""

import pytest
import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.part import Value
from tests.digits import digits_of, small_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """200 training and 100 validation images of 16x16 pixels in ten classes."""
    return digits_of(16, tmp_path_factory)


def small(**chosen: Value) -> Configuration:
    """A configuration that trains in milliseconds."""
    return small_of(**{"epochs": 1, **chosen})
