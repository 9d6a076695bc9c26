"""Several views of an image where a model is evaluated."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cifar_tune.data.batches import validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.training.evaluation import AveragedViews, View
from cifar_tune.training.loop import Training

from .conftest import CPU, small


def views(name: str) -> tuple[View, ...]:
    made: tuple[View, ...] = TEST_TIME_AUGMENTATIONS[name].resolve()()
    return made


def reference(image: np.ndarray, name: str) -> list[tuple[float, np.ndarray]]:
    """Views of one image, [3, H, W]."""
    if name == "none":
        return [(1.0, image)]
    mirrored = image[:, :, ::-1]
    if name == "mirror":
        return [(0.5, image), (0.5, mirrored)]
    found = [(0.25, image), (0.25, mirrored)]
    for one in (image, mirrored):
        padded = np.pad(one, ((0, 0), (1, 1), (1, 1)), mode="reflect")
        found += [(0.125, padded[:, 2:, 2:]), (0.125, padded[:, :-2, :-2])]
    return found


@pytest.mark.parametrize("name", TEST_TIME_AUGMENTATIONS)
def test_views_against_a_slow_reference(name: str) -> None:
    images = torch.randn(3, 3, 6, 5).to(memory_format=torch.channels_last)
    made = views(name)
    assert len(made) == TEST_TIME_AUGMENTATIONS[name].views
    assert sum(view.share for view in made) == 1
    for index, image in enumerate(images.numpy()):
        got = sorted((view.share, view.take(images)[index].numpy().tobytes()) for view in made)
        assert got == sorted((share, np.ascontiguousarray(one).tobytes()) for share, one in reference(image, name))


@pytest.mark.parametrize("name", TEST_TIME_AUGMENTATIONS)
def test_views_are_channels_last_and_leave_the_images(name: str) -> None:
    images = torch.randn(3, 3, 6, 5).to(memory_format=torch.channels_last)
    kept = images.clone()
    for view in views(name):
        assert view.take(images).is_contiguous(memory_format=torch.channels_last)
    assert images.equal(kept)


@pytest.mark.parametrize("name", TEST_TIME_AUGMENTATIONS)
def test_the_mean_logits_of_the_views_are_validated(digits: ResidentData, name: str) -> None:
    training = Training(small(test_time_augmentation=name, epochs=1), digits, CPU)
    [result] = training.epochs()
    images, labels = (torch.cat(parts) for parts in zip(*validation_batches(digits, training.config), strict=True))
    model = training.learner.model.eval()
    with torch.inference_mode():
        logits = sum(view.share * model(view.take(images)) for view in views(name))
    assert isinstance(logits, Tensor)
    assert result.val_loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.val_accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())


def test_what_is_evaluated_follows_the_models_mode() -> None:
    model = nn.Sequential(nn.Dropout(0.5))
    assert not AveragedViews(model, views("mirror")).eval().model.training


def test_views_on_the_meta_device() -> None:
    images = torch.empty(2, 3, 6, 6, device="meta")
    assert AveragedViews(nn.Conv2d(3, 4, 3, device="meta"), views("multi_crop"))(images).shape == (2, 4, 4, 4)
