"""Every model, in both formats; and what else a configuration can put into a network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_tune.conversion.converting import convert
from cifar_tune.conversion.formats import FORMATS
from cifar_tune.conversion.wanted import Wanted
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.norms import NORMS
from tests.digits import small_of

from .conftest import Saved

TIMM = (
    "convnext_atto",
    "vit_tiny_patch16_224",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "resnet18",
    "mixer_s32_224",
)
WIDTHS = {"tutorial_net": 6}


def of_model(name: str) -> Configuration:
    return small_of(model=name, width=WIDTHS.get(name, 4))


def agrees(config: Configuration, target: str, saved: Saved, folder: Path) -> None:
    """The file is kept, and its logits are more than constants."""
    model = saved(config)
    made = convert(model, Wanted(target, "fp32", True, folder / f"model.{target}", None), lambda _: None)
    assert made.agreement.equal_classes == 1
    images = torch.randint(256, (7, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert np.ptp(model(images).numpy(), axis=0).max() > 100 * made.agreement.difference


@pytest.mark.parametrize(
    ("config", "target"),
    [
        pytest.param(
            of_model("resnet18"), "onnx", id="resnet18", marks=pytest.mark.exhaustive
        ),  # strided convolutions that skip pixels in a hook
        pytest.param(of_model("airbench_net"), "pt2", id="airbench_net"),
    ],
)
def test_some_models(config: Configuration, target: str, saved: Saved, tmp_path: Path) -> None:
    agrees(config, target, saved, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("name", [name for name in MODELS if name != "timm"])
def test_every_model(name: str, target: str, saved: Saved, tmp_path: Path) -> None:
    agrees(of_model(name), target, saved, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("name", TIMM)
def test_models_of_timm(name: str, target: str, saved: Saved, tmp_path: Path) -> None:
    agrees(small_of(model="timm", timm_name=name), target, saved, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize(
    "config",
    [
        *(pytest.param(small_of(activation=name), id=name) for name in ACTIVATIONS),
        *(pytest.param(small_of(norm=name, width=8), id=name) for name in NORMS),
        pytest.param(small_of(test_time_augmentation="multi_crop"), id="multi_crop"),
        pytest.param(small_of(model="resnet18", residual=False, stem="imagenet"), id="imagenet stem"),
        pytest.param(small_of(model="resnet20", norm_placement="first"), id="norm placement"),
    ],
)
def test_every_layer(config: Configuration, target: str, saved: Saved, tmp_path: Path) -> None:
    agrees(config, target, saved, tmp_path)
