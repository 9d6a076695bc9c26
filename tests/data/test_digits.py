import sys

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_digits

from cifar_tune.data.prepared import prepare
from cifar_tune.data.resizing import resized
from cifar_tune.data.sources import digits as digits_source
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test


def test_sizes_and_classes() -> None:
    prepared = prepare(DataSpec(name="digits"))
    images, labels, classes = load_test(DataSpec(name="digits"))
    assert (len(prepared.train_indices), len(prepared.val_indices), len(images)) == (1349, 149, 299)
    assert prepared.classes == classes == tuple("0123456789")
    assert prepared.image_shape == (3, 32, 32)
    assert images.shape == (299, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64


@pytest.mark.parametrize("found", [True, False], ids=["read from the file", "asked of scikit-learn"])
def test_at_their_own_size_the_digits_are_exact_and_each_is_in_one_split(
    found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load_digits()
    if found:
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # an import of it would fail
    else:
        monkeypatch.setattr(digits_source, "find_spec", lambda _name: None)
    spec = DataSpec(name="digits", image_size=8)
    wanted = np.round(digits.images * 255 / 16).astype(np.uint8)
    prepared = prepare(spec)
    test_images, test_labels, _ = load_test(spec)

    images = np.concatenate([prepared.open_images(), test_images])
    labels = np.concatenate([prepared.labels, test_labels])
    assert (images == images[..., :1]).all()
    got = sorted((image[..., 0].tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
    assert got == sorted((image.tobytes(), int(label)) for image, label in zip(wanted, digits.target, strict=True))


@pytest.mark.parametrize("size", [8, 13, 32, 256])
def test_all_at_once_are_resized_as_each_alone_is(size: int) -> None:
    images = np.random.default_rng(0).integers(256, size=(20, 8, 8), dtype=np.uint8)
    alone = [resized(Image.fromarray(image), size) for image in images]
    assert (digits_source._all_resized(images, size) == alone).all()


def test_enlarged_digits_stay_recognizable() -> None:
    small = prepare(DataSpec(name="digits", image_size=8)).open_images()[:50, ..., 0].astype(float)
    large = prepare(DataSpec(name="digits", image_size=32)).open_images()[:50, ..., 0].astype(float)
    shrunk = large.reshape(50, 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.97


def test_the_test_split_does_not_depend_on_split_seed() -> None:
    first, second = (load_test(DataSpec(name="digits", split_seed=seed))[0] for seed in (0, 1))
    assert (first == second).all()


def test_the_test_split_cannot_be_chosen() -> None:
    """A smaller one would turn test images into training images."""
    with pytest.raises(ValidationError, match="test_size"):
        DataSpec.model_validate({"name": "digits", "test_size": 10})
