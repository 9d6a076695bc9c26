"""A few steps."""

import pytest
import torch
from torch import Tensor

from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import CheckError, UserError
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.training.probe import probe
from tests.digits import digits_of

from .conftest import CPU, ONE_OF_EACH, small


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """200 training images of 32x32 pixels in ten classes."""
    return digits_of(32, tmp_path_factory)


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_every_model_runs(model: str, images: ResidentData) -> None:
    config = small(model=model, batch_size=4, epochs=1)
    result = probe(config, images, CPU)
    assert result.parameters == count_parameters(build_model(config, (3, 32, 32), 10))
    assert result.seconds_per_step > 0


def test_images_that_are_too_small(digits: ResidentData) -> None:
    with pytest.raises(UserError, match="at least 16x16"):
        probe(small(model="tutorial_net"), digits, CPU)


def test_a_batch_has_no_more_images_than_there_are(images: ResidentData) -> None:
    huge = small(model="tutorial_net", batch_size=1_000_000)
    assert probe(huge, images, CPU).parameters == 45_549


def test_a_model_that_does_not_fit_into_memory(images: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cifar_tune.training.probe.build_learner", full)
    with pytest.raises(CheckError, match="model cnn3 does not fit into the memory of cpu"):
        probe(small(model="cnn3"), images, CPU)


def test_a_batch_of_one_with_one_value_per_channel(images: ResidentData) -> None:
    config = small(model="resnet18", stem="imagenet", batch_size=1)
    with pytest.raises(UserError, match=r"train.batch_size = 1: batch norm needs more than one value per channel"):
        probe(config, images, CPU)


def test_a_rate_for_biases_of_norms_that_are_not_there(images: ResidentData) -> None:
    config = small(model="timm", timm_name="nf_resnet26", norm_bias_lr_factor=64.0)
    with pytest.raises(UserError, match=r"norm_bias_lr_factor = 64.0: model timm has no norm with a bias"):
        probe(config, images, CPU)


def test_a_loss_that_is_no_number_from_the_start(images: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> Tensor:
        return torch.tensor(float("nan"), requires_grad=True)

    monkeypatch.setattr("cifar_tune.training.learner.build_loss", lambda *_: nothing)
    with pytest.raises(CheckError, match=r"loss cross_entropy of model cnn3 is nan before anything was learned"):
        probe(small(model="cnn3"), images, CPU)
