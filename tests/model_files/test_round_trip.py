"""A model that is loaded again gives what was measured when it was trained, to the last digit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_tune import load_model
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.models import MODELS
from cifar_tune.model_files.description import ModelDescription
from cifar_tune.model_files.loading import SavedModel
from cifar_tune.training.evaluation import evaluate
from tests.digits import CPU, small_of
from tests.exhaustive import few_of
from tests.model_files.conftest import Saved

SMALL: dict[str, Any] = {"width": 8, "epochs": 1}
SPECIAL: dict[str, dict[str, Any]] = {
    "average": {"ema_decay": 0.9},
    "schedule_free": {"model": "cnn3", "optimizer": "sgd_schedule_free", "schedule": "constant"},
    "lookahead": {"lookahead": "constant"},
    "views": {"test_time_augmentation": "multi_crop"},
    "views_of_average": {"test_time_augmentation": "mirror", "ema_decay": 0.9},
    "sampled_normalization": {"normalization_sample": 0.1},
    "minus_one_one": {"normalization": "minus_one_one"},
    "bytes": {"normalization": "none"},
    "bf16": {"precision": "bf16"},
    "no_norm": {"model": "cnn3", "norm": "none", "activation": "silu"},
}
FAMILIES: dict[str, dict[str, Any]] = {name: {"model": name} for name in MODELS if name != "timm"}
FAMILIES["timm"] = {"model": "timm", "timm_name": "test_resnet.r160_in1k"}
CASES = FAMILIES | SPECIAL
FEW = ("tutorial_net", "airbench_net", "resnet20", "views_of_average", "bytes", "bf16")


def batch_of(data: ResidentData) -> tuple[torch.Tensor, torch.Tensor]:
    indices = data.val_indices
    return data.images[indices].permute(0, 3, 1, 2).contiguous(), data.labels[indices]


def measured(model: SavedModel, data: ResidentData) -> tuple[float, float]:
    images, labels = batch_of(data)
    model.configure_process()
    [figures] = evaluate(model, [(images, labels)], "fp32", CPU).read()
    return figures


@pytest.mark.parametrize("name", few_of(CASES, FEW))
def test_a_loaded_model_measures_what_its_training_measured(
    name: str, tmp_path: Path, digits: ResidentData, save: Callable[[Path, Configuration], Saved]
) -> None:
    training, description = save(tmp_path, small_of(**{**SMALL, **CASES[name]}))
    model = load_model(tmp_path)
    last = training.results[-1]
    assert measured(model, digits) == (last.val_loss, last.val_accuracy)
    assert not model.training
    assert model.description == description
    assert (model.classes, model.precision) == (digits.classes, training.precision)
    with torch.inference_mode():
        images, _ = batch_of(digits)
        wanted = model(images)
        assert wanted.dtype == torch.float32
        assert torch.allclose(model(images / 255), wanted, atol=1e-2, rtol=1e-2)


def test_the_weights_are_those_that_were_evaluated(
    tmp_path: Path, save: Callable[[Path, Configuration], Saved]
) -> None:
    training, description = save(tmp_path, small_of(**{**SMALL, "ema_decay": 0.9}))
    assert description.weights_of == "the moving average"
    loaded = load_model(tmp_path).network.state_dict()
    assert training.learner.averaged is not None
    average = training.learner.averaged.model.state_dict()
    assert loaded.keys() == average.keys()
    assert all(torch.equal(loaded[key], average[key]) for key in average)
    assert not all(torch.equal(loaded[key], value) for key, value in training.learner.model.state_dict().items())


def test_wrong_images_are_refused_with_a_sentence(saved: tuple[Path, ModelDescription]) -> None:
    model = load_model(saved[0])
    with pytest.raises(ValueError, match=r"must have the shape \[N, 3, 32, 32\], not \[1, 3, 8, 8\]"):
        model(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"floats must be in \[0, 1\], and these go from 0 to 255"):
        model(torch.cat([torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 255.0)]))
    with pytest.raises(ValueError, match=r"must be uint8, or floats in \[0, 1\], not torch.int64"):
        model(torch.zeros(1, 3, 32, 32, dtype=torch.int64))
