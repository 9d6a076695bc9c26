"""Model folders without a training: random weights, and norms that have seen images."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

import pytest
import torch
from torch import nn

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.model_files.description import Origin
from cifar_tune.model_files.loading import SavedModel, load_model
from cifar_tune.model_files.writing import Chosen, write_model_folder
from cifar_tune.models.layers import NORM_LAYERS
from cifar_tune.training.loop import Training
from tests.digits import CPU, small_of

SPEC = DataSpec(name="digits", val_size=100, train_size=200)
Saved = Callable[[Configuration], SavedModel]


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="package")
def operators_are_listed_once() -> Iterator[None]:
    """For each file, torch.onnx makes the list of all that ONNX can do anew; a program makes one file, tests many."""
    with pytest.MonkeyPatch.context() as patch:
        with suppress(ImportError, AttributeError):  # another PyTorch may do it elsewhere
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(autouse=True, scope="package")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedData]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield prepare(SPEC)


@pytest.fixture(scope="package")
def saved(prepared: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Makes a model folder of a configuration, and loads it."""
    data = ResidentData(prepared, CPU)
    chosen = Chosen(SPEC, prepared, 1, Origin(command="train"))

    def make(config: Configuration) -> SavedModel:
        training = Training(config, data, CPU)
        _shake(training.learner.evaluated_network, data.images[:50].permute(0, 3, 1, 2) / 128 - 1)
        folder = tmp_path_factory.mktemp("model")
        write_model_folder(folder, training, chosen)
        return load_model(folder)

    return make


@pytest.fixture(scope="package")
def model(saved: Saved) -> SavedModel:
    """A small one that no test changes; each image is looked at twice."""
    return saved(small_of(model="cnn2", width=8, test_time_augmentation="mirror"))


def _shake(network: nn.Module, images: torch.Tensor) -> None:
    """Make the network unlike its beginning, as training does: no scale and no head is 0, and statistics are real."""
    for module in network.modules():
        if isinstance(module, NORM_LAYERS) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
        elif isinstance(module, nn.Linear) and not module.weight.any():  # as heads of timm begin
            nn.init.normal_(module.weight)
    network.train()
    with torch.no_grad():
        network(images)
