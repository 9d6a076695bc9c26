"""What holds for every registered augmentation, as an epoch's batches show it."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Draw
from cifar_tune.data.batches import TrainingBatches, training_batches, validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.augmentations import AUGMENTATIONS, Stage
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from tests.taped_graphs import TapedGraphs

from .draws import drawing, epoch_of
from .images import noise, prepared_data

SIZE = 32
IDENTITY: dict[str, dict[str, Value]] = {
    "rotation": {"rotation_degrees": 0.0},
    "scale": {"scale_range": 0.0},
    "brightness": {"brightness": 0.0},
    "contrast": {"contrast": 0.0},
    "saturation": {"saturation": 0.0},
    "hue": {"hue": 0.0},
    "color_temperature": {"color_temperature": 0.0},
    "gaussian_noise": {"noise_std": 0.0},
    "randaugment": {"randaugment_num_ops": 0},
    "cutout": {"cutout_size": 0},
    "random_erasing": {"erasing_probability": 0.0},
    "mixup": {"mixup_alpha": 0.0},
    "cutmix": {"cutmix_alpha": 0.0},
}
"""The knobs with which an augmentation does nothing; the others have none."""

every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS)


def _config(*names: str, **knobs: Value) -> Configuration:
    return complete({"augment": names, "batch_size": 16, "normalization": "zero_one", **knobs})


def _batches(data: ResidentData, config: Configuration, epoch: int = 1) -> list[tuple[Tensor, Tensor]]:
    return list(training_batches(data, config, epoch))


def _images(data: ResidentData, config: Configuration, epoch: int = 1) -> Tensor:
    return torch.cat([images for images, _ in _batches(data, config, epoch)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """48 different images."""
    return ResidentData(prepared_data(tmp_path_factory.mktemp("noise"), train=48, size=SIZE), "cpu")


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """48 times the same image."""
    prepared = prepared_data(tmp_path_factory.mktemp("alike"), train=48, size=SIZE, pixels=lambda _: noise(0, SIZE))
    return ResidentData(prepared, "cpu")


@every_augmentation
def test_shape_type_and_format(data: ResidentData, name: str) -> None:
    batches = _batches(data, _config(name))
    assert len(batches) == 3
    for images, labels in batches:
        assert images.shape == (16, 3, SIZE, SIZE)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert images.isfinite().all()
        assert images.min() >= 0
        assert images.max() <= 1 + 1e-6
        if AUGMENTATIONS[name].mixes_labels:
            assert labels.shape == (16, 10)
            assert labels.dtype == torch.float32
            torch.testing.assert_close(labels.sum(1), torch.ones(16))
            assert labels.min() >= 0
            assert ((labels > 0).sum(1) <= 2).all()
        else:
            assert labels.shape == (16,)
            assert labels.dtype == torch.int64


@every_augmentation
def test_labels_are_those_of_the_images(data: ResidentData, name: str) -> None:
    plain = torch.cat([labels for _, labels in _batches(data, _config())]).view(3, 16)
    for expected, (_, labels) in zip(plain, _batches(data, _config(name)), strict=True):
        if AUGMENTATIONS[name].mixes_labels:
            others = expected.roll(1)
            shares = labels.gather(1, expected[:, None]) + labels.gather(1, others[:, None])
            torch.testing.assert_close(shares[expected != others, 0], torch.ones(int((expected != others).sum())))
        else:
            assert torch.equal(labels, expected)


@every_augmentation
def test_an_epoch_repeats_whatever_ran_before(data: ResidentData, name: str) -> None:
    config = _config(name, seed=5)
    first = _batches(data, config, 3)
    torch.rand(17)
    next(training_batches(data, config, 2))
    for (images, labels), (again, labels_again) in zip(first, _batches(data, config, 3), strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)


@every_augmentation
def test_epochs_seeds_batches_and_images_have_draws_of_their_own(alike: ResidentData, name: str) -> None:
    epochs = [_images(alike, _config(name, seed=seed), epoch) for seed, epoch in ((0, 1), (0, 2), (1, 1))]
    if not AUGMENTATIONS[name].mixes_labels:  # a mixture of equal images is the image
        assert not any(torch.equal(epochs[0], other) for other in epochs[1:])
        assert not torch.equal(epochs[0][:16], epochs[0][16:32])
        assert len({image.numpy().tobytes() for image in epochs[0]}) >= 2
        return
    labels = [torch.cat([labels for _, labels in _batches(alike, _config(name, seed=seed))]) for seed in (0, 1)]
    assert not torch.equal(*labels)
    assert len(set(labels[0].amax(1).tolist())) > 20


@every_augmentation
def test_it_changes_training_images_and_no_validation_images(data: ResidentData, name: str) -> None:
    assert not torch.allclose(_images(data, _config(name)), _images(data, _config()), atol=1e-3)
    [(plain, _)], [(validated, labels)] = (validation_batches(data, config) for config in (_config(), _config(name)))
    assert torch.equal(plain, validated)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("name", IDENTITY)
def test_at_strength_zero_nothing_changes(data: ResidentData, name: str) -> None:
    plain = _batches(data, _config())
    for (images, labels), (expected, hard) in zip(_batches(data, _config(name, **IDENTITY[name])), plain, strict=True):
        torch.testing.assert_close(images, expected, atol=5e-5, rtol=0)
        if AUGMENTATIONS[name].mixes_labels:
            assert torch.equal(labels, torch.nn.functional.one_hot(hard, 10).float())


def test_what_has_no_strength_zero_is_known() -> None:
    flips = {"horizontal_flip", "vertical_flip", "alternating_flip"}
    assert set(AUGMENTATIONS) - set(IDENTITY) == {*flips, "random_crop", "trivialaugment"}


@every_augmentation
def test_it_leaves_the_draws_of_others_as_they_are(data: ResidentData, name: str) -> None:
    """Where it does nothing, the others do what they do without it."""
    if name not in IDENTITY:
        return
    others: tuple[str, ...] = (
        "random_crop",
        "vertical_flip",
        "brightness",
        "cutout",
        "gaussian_noise",
        "rotation",
        "mixup",
    )
    others = tuple(other for other in others if other != name)
    if AUGMENTATIONS[name].mixes_labels:
        others = others[:-1]
    alone, beside = _config(*others), _config(name, *others, **IDENTITY[name])
    torch.testing.assert_close(_images(data, beside), _images(data, alone), atol=5e-5, rtol=0)


@pytest.mark.parametrize(
    "names",
    [
        tuple(name for name in AUGMENTATIONS if name != "horizontal_flip"),
        tuple(reversed([name for name in AUGMENTATIONS if name != "alternating_flip"])),
    ],
    ids=["forwards", "backwards"],
)
def test_all_of_them_work_together(data: ResidentData, names: Sequence[str]) -> None:
    config = _config(*names, normalization="standardize")
    for images, labels in _batches(data, config):
        assert images.shape == (16, 3, SIZE, SIZE)
        assert images.isfinite().all()
        assert labels.shape == (16, 10)


def test_the_order_of_the_list_counts_within_a_step_alone(data: ResidentData) -> None:
    """The table of knobs says so of `augment`."""
    by_stage = ("random_crop", "rotation", "brightness", "cutout", "mixup")
    assert [AUGMENTATIONS[name].stage for name in by_stage] == list(get_args(Stage))
    for names in (by_stage[::-1], by_stage[2:] + by_stage[:2]):
        for (images, labels), (others, shares) in zip(
            _batches(data, _config(*names)), _batches(data, _config(*by_stage)), strict=True
        ):
            assert torch.equal(images, others)
            assert torch.equal(labels, shares)
    first, second = (_images(data, _config(*names)) for names in (("brightness", "hue"), ("hue", "brightness")))
    assert not torch.allclose(first, second, atol=1e-3)


@every_augmentation
def test_the_smallest_images_and_batches(tmp_path: Path, name: str) -> None:
    tiny = ResidentData(prepared_data(tmp_path, train=3, size=8), "cpu")
    for images, labels in _batches(tiny, _config(name, batch_size=1)):
        assert images.shape == (1, 3, 8, 8)
        assert images.isfinite().all()
        assert len(labels) == 1


def test_erased_is_the_mean_of_the_training_images(data: ResidentData) -> None:
    """Zero after normalisation, so that it is the mean in standardized images."""
    for normalization in ("standardize", "minus_one_one"):
        images = _images(data, _config("cutout", normalization=normalization, cutout_size=16))
        assert ((images == 0).all(dim=1).float().mean((1, 2)) > 0.03).all()


@pytest.mark.parametrize("names", [(), *((name,) for name in AUGMENTATIONS), tuple(AUGMENTATIONS)], ids="+".join)
def test_a_captured_batch_repeats_as_every_batch_of_every_epoch(data: ResidentData, names: tuple[str, ...]) -> None:
    config = _config(*names)
    expected = [batch for epoch in (1, 2, 3) for batch in _batches(data, config, epoch)]
    batches = TrainingBatches(data, config)
    assert batches.are_capturable
    batches.draw_epoch(1)
    for images, labels in expected[:3]:
        assert all(map(torch.equal, batches.next_batch(), (images, labels)))
    batches.draw_epoch(2)
    taped = TapedGraphs().capture(batches.next_batch, batches.generators.values())
    for number, (images, labels) in enumerate(expected[3:]):
        if number == batches.steps:
            batches.draw_epoch(3)
        taped.replay()
        assert all(map(torch.equal, taped.result, (images, labels)))


def test_draws_of_an_epoch_do_not_depend_on_each_other() -> None:
    first = drawing(100)
    assert not torch.equal(first.beta(1.0), first.beta(1.0))
    assert not torch.equal(first.order(1000), first.order(1000))
    again = Draw(torch.Generator().manual_seed(0), epoch_of(100))
    assert torch.equal(again.beta(1.0), drawing(100).beta(1.0))
