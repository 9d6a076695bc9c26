from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cifar_tune.data.batches import steps_per_epoch, training_batches, validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration, complete

from .images import index_as_colour, noise, prepared_data


def _config(**knobs: bool | int | float | str | tuple[str, ...]) -> Configuration:
    return complete({"normalization": "none", "batch_size": 32, **knobs})


def _used(data: ResidentData, config: Configuration, epoch: int) -> list[int]:
    """The indices of the images of an epoch, read off their colour."""
    return [
        int(image[0, 4, 4] + 256 * image[1, 4, 4])
        for images, _ in training_batches(data, config, epoch)
        for image in images
    ]


@pytest.fixture
def coloured(tmp_path: Path) -> ResidentData:
    """300 training and 7 validation images that tell their index."""
    return ResidentData(prepared_data(tmp_path, train=300, val=7, pixels=index_as_colour), "cpu")


@pytest.fixture
def noisy(tmp_path: Path) -> ResidentData:
    return ResidentData(prepared_data(tmp_path, train=70), "cpu")


def test_every_training_image_is_used_at_most_once_and_no_other(coloured: ResidentData) -> None:
    used = _used(coloured, _config(augment=("random_crop", "horizontal_flip"), crop_padding=1), 1)
    assert len(used) == len(set(used)) == 9 * 32
    assert set(used) <= set(range(7, 307))


def test_a_batch_size_that_divides_the_split_uses_every_image(coloured: ResidentData) -> None:
    assert sorted(_used(coloured, _config(batch_size=100), 1)) == list(range(7, 307))


def test_over_epochs_every_image_gets_its_turn(coloured: ResidentData) -> None:
    used = {index for epoch in range(1, 6) for index in _used(coloured, _config(batch_size=200), epoch)}
    assert len(used) > 290


def test_labels_belong_to_their_images(coloured: ResidentData) -> None:
    for images, labels in training_batches(coloured, _config(), 1):
        assert torch.equal((images[:, 0, 0, 0] + 256 * images[:, 1, 0, 0]).long() % 10, labels)


def test_shapes_are_constant_and_channels_last(noisy: ResidentData) -> None:
    batches = list(training_batches(noisy, _config(augment=("random_crop",)), 1))
    assert len(batches) == steps_per_epoch(noisy.train_size, 32) == 2
    for images, labels in batches:
        assert images.shape == (32, 3, 8, 8)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.shape == (32,)
        assert labels.dtype == torch.int64


def test_fewer_images_than_a_batch_are_one_batch(coloured: ResidentData) -> None:
    used = _used(coloured, _config(batch_size=512), 1)
    assert sorted(used) == list(range(7, 307))


@pytest.mark.parametrize(
    ("train_size", "batch_size", "steps"), [(45000, 128, 351), (256, 128, 2), (255, 128, 1), (5, 128, 1)]
)
def test_steps_per_epoch(train_size: int, batch_size: int, steps: int) -> None:
    assert steps_per_epoch(train_size, batch_size) == steps


def _epoch(data: ResidentData, config: Configuration, epoch: int) -> Tensor:
    return torch.cat([images for images, _ in training_batches(data, config, epoch)])


def test_an_epoch_repeats_bit_for_bit_whatever_ran_before(noisy: ResidentData) -> None:
    config = _config(augment=("random_crop", "horizontal_flip"), normalization="standardize", seed=5)
    first = _epoch(noisy, config, 3)
    torch.rand(17)
    _epoch(noisy, config, 1)
    next(training_batches(noisy, config, 2))
    assert torch.equal(_epoch(noisy, config, 3), first)


def test_epochs_and_seeds_differ_in_order_and_augmentation(coloured: ResidentData, noisy: ResidentData) -> None:
    orders = [_used(coloured, _config(seed=seed), epoch) for seed, epoch in ((0, 1), (0, 2), (1, 1), (1, 2))]
    assert len({tuple(order) for order in orders}) == 4
    config = _config(augment=("horizontal_flip",))
    assert not torch.equal(_epoch(noisy, config, 1), _epoch(noisy, config, 2))


def test_the_global_generator_is_left_alone(noisy: ResidentData) -> None:
    before = torch.get_rng_state()
    _epoch(noisy, _config(augment=("random_crop", "horizontal_flip")), 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_order_does_not_depend_on_augmentation(coloured: ResidentData) -> None:
    plain = _used(coloured, _config(), 1)
    assert plain == _used(coloured, _config(augment=("random_crop",), crop_padding=1), 1)


def test_augmented_images_are_windows_of_the_originals(noisy: ResidentData) -> None:
    padding, size = 2, 8
    config = _config(augment=("random_crop", "horizontal_flip"), crop_padding=padding)
    padded = np.pad(noisy.images.numpy(), ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    windows = set()
    for image in padded[noisy.train_indices.numpy()]:
        for row, col in product(range(2 * padding + 1), repeat=2):
            window = image[row : row + size, col : col + size]
            windows |= {window.tobytes(), window[:, ::-1].tobytes()}
    augmented = _epoch(noisy, config, 1).permute(0, 2, 3, 1).to(torch.uint8)
    assert all(image.numpy().tobytes() in windows for image in augmented)
    originals = {image.numpy().tobytes() for image in noisy.images}
    assert sum(image.numpy().tobytes() in originals for image in augmented) < len(augmented) / 4


def test_every_batch_has_draws_of_its_own(tmp_path: Path) -> None:
    data = ResidentData(prepared_data(tmp_path, train=64, pixels=lambda _: noise(0, 8)), "cpu")
    first, second = training_batches(data, _config(augment=("random_crop",)), 1)
    assert not torch.equal(first[0], second[0])


def test_validation_has_all_images_in_their_order_unaugmented(coloured: ResidentData) -> None:
    config = _config(augment=("random_crop", "horizontal_flip"))
    batches = list(validation_batches(coloured, config, batch_size=3))
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    images = torch.cat([images for images, _ in batches])
    assert images[:, 0, 0, 0].tolist() == list(range(7))
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(7))
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in batches)


def test_training_and_validation_are_normalised_alike(tmp_path: Path) -> None:
    def alike(_: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return index_as_colour(77)

    data = ResidentData(prepared_data(tmp_path, train=8, pixels=alike), "cpu")
    config = _config(normalization="minus_one_one", batch_size=8)
    [(training, _)] = training_batches(data, config, 1)
    [(validation, _)] = validation_batches(data, config)
    assert torch.equal(training[0], validation[0])
