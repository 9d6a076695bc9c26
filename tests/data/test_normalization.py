import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from cifar_tune.data.batches import training_batches, validation_batches
from cifar_tune.data.normalization import Normalization, normalization, standardization
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.statistics import channel_statistics, measure
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.normalizations import NORMALIZATIONS

from .images import index_as_colour, noise, prepared_data

BYTES = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 3, 1).expand(1, 1, 3, 3).contiguous()
"""One image of one row: black, dark grey, white."""

MEAN, STD = torch.tensor([100.0, 50.0, 0.0]), torch.tensor([50.0, 25.0, 1.0])


class _Data:
    """What a normalization asks of the data."""

    device = torch.device("cpu")

    def statistics(self, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        assert (share, seed) == (1, 0)
        return MEAN, STD


def _normalization(name: str) -> Normalization:
    return normalization(complete({"normalization": name}), cast(ResidentData, _Data()))


@pytest.mark.parametrize(
    ("name", "red", "green", "blue"),
    [
        ("standardize", [-2, -0.98, 3.1], [-2, 0.04, 8.2], [0, 51, 255]),
        ("zero_one", [0, 0.2, 1], [0, 0.2, 1], [0, 0.2, 1]),
        ("minus_one_one", [-1, -0.6, 1], [-1, -0.6, 1], [-1, -0.6, 1]),
        ("none", [0, 51, 255], [0, 51, 255], [0, 51, 255]),
    ],
)
def test_values(name: str, red: list[float], green: list[float], blue: list[float]) -> None:
    got = _normalization(name).apply(BYTES)
    assert got.shape == (1, 3, 1, 3)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got[0, :, 0], torch.tensor([red, green, blue], dtype=torch.float32))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_every_registered_normalization_is_channels_last(name: str) -> None:
    images = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8)
    assert _normalization(name).apply(images).is_contiguous(memory_format=torch.channels_last)


def test_a_channel_that_never_changes_stays_finite() -> None:
    got = standardization(MEAN, torch.tensor([50.0, 0.0, 1.0])).apply(BYTES)
    assert got.isfinite().all()
    assert (got[0, 1] == 0).all()


def test_statistics_are_those_of_the_training_split_alone(tmp_path: Path) -> None:
    prepared = prepared_data(tmp_path, train=2500, val=500)
    pixels = np.load(prepared.images_path)[prepared.train_indices].reshape(-1, 3).astype(np.float64)
    got = channel_statistics(prepared)
    np.testing.assert_allclose(got.mean, pixels.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(got.std, pixels.std(axis=0), rtol=1e-13)


def test_statistics_are_kept_and_not_mixed_up(tmp_path: Path) -> None:
    prepared = prepared_data(tmp_path, train=40)
    first = channel_statistics(prepared)
    other = channel_statistics(dataclasses.replace(prepared, train_indices=prepared.train_indices[:20]))
    assert first != other
    prepared.images_path.unlink()  # what is kept needs no image
    assert channel_statistics(prepared) == first


def test_standardized_training_images_have_mean_zero_and_deviation_one(tmp_path: Path) -> None:
    data = ResidentData(prepared_data(tmp_path, train=64), "cpu")
    [(images, _)] = training_batches(data, complete({"batch_size": 64}), 1)
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_a_sample_of_the_training_images_is_enough_for_an_estimate(tmp_path: Path) -> None:
    data = ResidentData(
        prepared_data(tmp_path, train=1000, pixels=lambda index: noise(index, 8) // (1 + index % 3)), "cpu"
    )
    exact, sampled, again, other = (
        data.statistics(share, seed) for share, seed in ((1, 0), (0.3, 0), (0.3, 0), (0.3, 1))
    )
    assert torch.equal(exact[0], data.mean)
    assert torch.equal(exact[1], data.std)
    assert sampled is again
    for estimate, others, truth in zip(sampled, other, exact, strict=True):
        assert not torch.equal(estimate, truth)
        assert not torch.equal(estimate, others)
        torch.testing.assert_close(estimate, truth, rtol=0.05, atol=0)


def test_a_sample_holds_its_share_of_the_training_split_and_no_other_image(tmp_path: Path) -> None:
    data = ResidentData(prepared_data(tmp_path, train=300, val=7, pixels=index_as_colour), "cpu")
    mean, std = data.statistics(1e-9, 0)  # one image at least
    assert std.tolist() == [0, 0, 0]
    assert 7 <= float(mean[0] + 256 * mean[1]) < 307
    half, _ = data.statistics(150 / 300, 0)
    assert float(half[2]) == 0
    indices = np.random.default_rng(0).permutation(40)[:9]
    pixels = np.stack([noise(int(index), 8) for index in range(40)])
    expected = pixels[indices].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(measure(pixels, indices).mean, expected.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(measure(pixels, indices).std, expected.std(axis=0), rtol=1e-13)


def test_normalization_sample_reaches_training_and_validation_alike(tmp_path: Path) -> None:
    data = ResidentData(prepared_data(tmp_path, train=64, val=8), "cpu")
    config = complete({"batch_size": 64, "normalization_sample": 0.25, "seed": 3})
    mean, std = data.statistics(0.25, 3)
    [(validation, _)] = validation_batches(data, config)
    expected = (data.images[data.val_indices].float() - mean) / std
    torch.testing.assert_close(validation.permute(0, 2, 3, 1), expected)
    [(first, _)], [(second, _)] = (list(training_batches(data, config, epoch)) for epoch in (1, 2))
    torch.testing.assert_close(first.mean((0, 2, 3)), (data.mean - mean) / std, atol=1e-4, rtol=0)
    torch.testing.assert_close(second.mean((0, 2, 3)), first.mean((0, 2, 3)), atol=1e-4, rtol=0)
