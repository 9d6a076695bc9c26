import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_tune.data.batches import training_batches
from cifar_tune.data.normalization import normalization
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.statistics import channel_statistics
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.table import NORMALIZATIONS

from .images import prepared_data

BYTES = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 3, 1).expand(1, 1, 3, 3).contiguous()
"""One image of one row: black, dark grey, white."""

MEAN, STD = torch.tensor([100.0, 50.0, 0.0]), torch.tensor([50.0, 25.0, 1.0])


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
    got = normalization(name, MEAN, STD).apply(BYTES)
    assert got.shape == (1, 3, 1, 3)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got[0, :, 0], torch.tensor([red, green, blue], dtype=torch.float32))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_every_registered_normalization_is_channels_last(name: str) -> None:
    images = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8)
    assert normalization(name, MEAN, STD).apply(images).is_contiguous(memory_format=torch.channels_last)


def test_a_channel_that_never_changes_stays_finite() -> None:
    got = normalization("standardize", MEAN, torch.tensor([50.0, 0.0, 1.0])).apply(BYTES)
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
