"""Small images to train on: scikit-learn's digits."""

from dataclasses import replace

import pytest
import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.models import MODELS, ModelPart
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.vocabulary import BUILT_IN, vocabulary_with
from tests.digits import digits_of, small_of

CPU = torch.device("cpu")


def _shallow(model: str, **constants: object) -> ModelPart:
    """The same model with fewer layers."""
    part = MODELS[model]
    return replace(part, constants={**part.constants, **constants})


_SHALLOW = {
    "shallow_bottlenecks": _shallow("resnet50", blocks=(1, 2, 1, 1)),
    "shallow_densenet": _shallow("densenet121", blocks=(1, 2, 2, 1)),
}
"""Stand for the classes of deep models, all of whose layers are alike: tests in `tests.models` build the deep ones."""

_VOCABULARY = vocabulary_with([Plugin("shallow.py", "0", {"model": _SHALLOW}, {})])

ONE_OF_EACH = (
    "tutorial_net", "simple_nn", "cnn2", "cnn3", "airbench_net", "vgg11", "resnet18", "resnet20", *_SHALLOW,
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
    return small_of(_VOCABULARY if chosen.get("model") in _SHALLOW else BUILT_IN, **{"epochs": 3, **chosen})
