"""The defaults train every model: the loss falls from the first epoch on, and never lies far above that of a guess."""

import math
import os
from pathlib import Path

import pytest

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.part import Value
from cifar_tune.training.loop import Training

from .conftest import CPU

HIGHEST = 1.05 * math.log(10)
"""Of the mean loss in an epoch: a guess at ten classes has ln 10, and a net that was not trained yet a little more."""
NARROW = {"tutorial_net": 6}
IMAGES = Path(os.environ.get("CIFAR_TUNE_TEST_IMAGES", Path(__file__).parents[2] / "data" / "cifar10-jpeg"))
"""CIFAR-10 as JPEG files; where they are not there, the models train on scikit-learn's digits."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """640 training images of 32x32 pixels in ten classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        if IMAGES.exists():
            spec = DataSpec(name="image_folder", root=str(IMAGES), train_size=640, val_size=500)
        else:
            spec = DataSpec(name="digits", image_size=32, train_size=640, val_size=200)
        return ResidentData(prepare(spec), CPU)


def losses(config: Configuration, data: ResidentData) -> list[tuple[float, float]]:
    """Of training and of validation, epoch by epoch."""
    return [(result.train_loss, result.val_loss) for result in Training(config, data, CPU).epochs()]


@pytest.mark.parametrize("model", ["resnet50", "resnet110"])
def test_deep_nets_do_not_diverge(model: str, digits: ResidentData) -> None:
    """In seven steps the one that begins with all of its blocks reaches 3 and more, 20 and more in validation."""
    chosen: dict[str, Value] = {"model": model, "width": 4, "batch_size": 32, "epochs": 1}
    [found] = losses(complete(chosen), digits)
    assert max(found) < HIGHEST
    [without] = losses(complete({**chosen, "zero_init_residual": False}), digits)
    assert max(without) > HIGHEST


DEEP = ("resnet50", "resnet152", "resnet110", "densenet121")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "schedule"),
    [*((model, "one_cycle") for model in MODELS), *((model, "constant") for model in DEEP)],
)
def test_two_short_epochs(model: str, schedule: str, images: ResidentData) -> None:
    """Of ten steps each, with the warm-up that is part of the default schedule, and without any."""
    chosen: dict[str, Value] = {"model": model, "schedule": schedule, "epochs": 2, "batch_size": 64}
    if model == "timm":
        chosen["timm_name"] = "resnet18"
    else:
        chosen["width"] = NARROW.get(model, 8)
    found = losses(complete(chosen), images)
    assert max(max(epoch) for epoch in found) < HIGHEST, found
    assert found[-1][0] < found[0][0], found
