"""The intervals of several networks on one test set, against an independent statement of the same method."""

import numpy as np
import pytest

from cifar_tune.statistics.network_accuracy import network_accuracy
from cifar_tune.statistics.shares import wilson


def test_five_networks() -> None:
    draw = np.random.default_rng(7)
    chances = np.clip(draw.normal(0.9, 0.15, 200), 0, 1)
    right = draw.random((5, 200)) < chances
    assert right.sum() == 869  # else numpy draws other numbers, and the figures below are those of other networks
    found = network_accuracy(right)
    assert found.accuracy == pytest.approx(0.869)
    assert found.new_images == pytest.approx((0.836549, 0.895811), abs=1e-6)
    assert found.same_images == pytest.approx((0.840415, 0.897585), abs=1e-6)


def test_few_errors() -> None:
    right = np.ones((5, 299), dtype=bool)
    right[0, 3] = right[1, 3] = right[2, 7] = False
    found = network_accuracy(right)
    assert found.new_images == pytest.approx((0.983506, 0.999759), abs=1e-6)
    assert found.same_images == pytest.approx((0.995719, 1.0), abs=1e-6)  # not beyond 1


def test_all_right() -> None:
    found = network_accuracy(np.ones((5, 299), dtype=bool))
    assert found.new_images == wilson(1.0, 299)
    assert found.new_images[0] < 1
    assert found.same_images == (1.0, 1.0)


def test_one_network_has_no_seeds_to_compare() -> None:
    right = np.arange(299)[None] > 0
    found = network_accuracy(right)
    assert found.new_images == wilson(298 / 299, 299)
    assert found.same_images is None


def test_one_image_says_nothing_of_how_images_differ() -> None:
    found = network_accuracy(np.array([[True], [True], [False]]))
    assert found.new_images == wilson(2 / 3, 1)
    assert found.same_images == (0.0, 1.0)
    assert network_accuracy(np.ones((2, 1), dtype=bool)).same_images == (1.0, 1.0)


def test_networks_that_are_all_alike_are_one() -> None:
    right = np.tile(np.arange(1000) % 5 > 0, (4, 1))
    low, high = network_accuracy(right).new_images
    one = wilson(0.8, 1000)
    assert (low, high) == pytest.approx(one, abs=2e-3)
