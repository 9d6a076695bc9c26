"""From the knob and the images to the weight of each class."""

import json

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import UserError
from cifar_tune.training.class_weights import weights_of_classes
from tests.data.images import prepared_data

from .conftest import small


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """60 training images, of which 35 or more are of class 3."""
    prepared = prepared_data(tmp_path_factory.mktemp("skewed"), train=60)
    prepared.labels[prepared.train_indices[:35]] = 3
    return ResidentData(prepared, "cpu")


def weights(data: ResidentData, value: str) -> list[float]:
    found = weights_of_classes(small(class_weights=value), data)
    assert found is not None
    numbers: list[float] = found.tolist()
    return numbers


def test_none_makes_none(skewed: ResidentData) -> None:
    assert weights_of_classes(small(), skewed) is None


def test_balanced_is_that_of_scikit_learn(skewed: ResidentData) -> None:
    labels = skewed.labels[skewed.train_indices].numpy()
    expected = compute_class_weight("balanced", classes=np.arange(10), y=labels)
    assert weights(skewed, "balanced") == pytest.approx(expected.tolist())


def test_only_the_ratios_of_given_weights_count_and_others_are_one(skewed: ResidentData) -> None:
    found = weights(skewed, '{"3": 0.1, "7": 2.0}')
    assert found[3] / found[0] == pytest.approx(0.1)
    assert found[7] / found[0] == pytest.approx(2.0)
    of_images = np.array(found)[skewed.labels[skewed.train_indices].numpy()]
    assert of_images.mean() == pytest.approx(1)
    assert weights(skewed, json.dumps({str(label): 7.0 for label in range(10)})) == pytest.approx([1.0] * 10)


def test_a_class_without_images_gets_a_finite_weight(tmp_path_factory: pytest.TempPathFactory) -> None:
    prepared = prepared_data(tmp_path_factory.mktemp("absent"), train=40)
    prepared.labels[prepared.labels == 4] = 5
    assert all(0 < weight < 100 for weight in weights(ResidentData(prepared, "cpu"), "balanced"))


def test_a_class_that_is_not_there(skewed: ResidentData) -> None:
    expected = r"train.class_weights = 'cat': there is no such class; the data have 0, 1, 2, 3, 4, 5, 6, 7, 8, 9$"
    with pytest.raises(UserError, match=expected):
        weights(skewed, '{"cat": 0.1}')
