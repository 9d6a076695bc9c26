"""Small images for tests that train: scikit-learn's digits, and configurations that train on them in milliseconds."""

import pytest
import torch

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary

CPU = torch.device("cpu")


def digits_of(image_size: int, tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """200 training and 100 validation images of `image_size` x `image_size` pixels in ten classes."""
    return ResidentData(prepared_digits(image_size, tmp_path_factory), CPU)


def prepared_digits(image_size: int, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """The same before they are on a device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        return prepare(DataSpec(name="digits", image_size=image_size, val_size=100, train_size=200))


def small_of(vocabulary: Vocabulary = BUILT_IN, /, **chosen: Value) -> Configuration:
    """A configuration that trains in milliseconds; fp32, so that it is the same on every machine."""
    defaults: dict[str, Value] = {
        "model": "cnn2",
        "width": 4,
        "batch_size": 32,
        "lr": 0.01,
        "precision": "fp32",
    }
    return complete({**defaults, **chosen}, vocabulary)
