"""Which images are for training, for validation and for the test: stratified, exact in size, seeded."""

import numpy as np
import numpy.typing as npt

from cifar_tune.data.seeding import derive_seed
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import Problem, UserError

Indices = npt.NDArray[np.int64]

_VAL_SHARE = 10
_TEST_SHARE = 6


def held_out_for_test(labels: npt.NDArray[np.int64], classes: int) -> tuple[Indices, Indices]:
    """Hold a test split out of images that come without one: a sixth of them, but at least one per class.

    Neither size nor seed can be chosen: with another one, test images would turn into images to search on, and these
    into test images.

    Args:
        labels: int64 [N].
        classes: how many classes there are.

    Returns:
        The images that stay and those held out; both ascending, int64.

    Raises:
        UserError: there are too few images.
    """
    total = len(labels)
    size = max(total // _TEST_SHARE, classes)
    # What stays has to be split once more, so it needs two images per class.
    _check("data", None, size, classes, total - 2 * classes, f"of {total} images")
    test = stratified_choice(labels, size, derive_seed("test"))
    return np.setdiff1d(np.arange(total), test), test


def training_and_validation(
    labels: npt.NDArray[np.int64], classes: tuple[str, ...], spec: DataSpec
) -> tuple[Indices, Indices]:
    """Split the images that are not test images.

    The validation split does not depend on `train_size`, so that partial data sets are judged on the same images.

    Args:
        labels: int64 [N].
        classes: class names.
        spec: holds the sizes and the seed.

    Returns:
        Training images and validation images; both ascending, int64.

    Raises:
        UserError: a size does not fit the images.
    """
    total = len(labels)
    val_size = max(total // _VAL_SHARE, len(classes)) if spec.val_size is None else spec.val_size
    _check("data.val_size", spec.val_size, val_size, len(classes), total - len(classes), f"of {total} images")
    val = stratified_choice(labels, val_size, derive_seed("validation", spec.split_seed))
    train = np.setdiff1d(np.arange(total), val)
    if spec.train_size is not None:
        source = f"of {total} images less {val_size} for validation"
        _check("data.train_size", spec.train_size, spec.train_size, len(classes), len(train), source)
        train = train[stratified_choice(labels[train], spec.train_size, derive_seed("training", spec.split_seed))]
    return train, val


def stratified_choice(labels: npt.NDArray[np.int64], size: int, seed: int) -> Indices:
    """Choose exactly `size` images with the classes in their proportions.

    Args:
        labels: int64 [N].
        size: at most N.
        seed: of 63 bits.

    Returns:
        int64 [size], ascending.
    """
    # RandomState's stream is frozen for good, unlike that of numpy's newer Generator: a split must not change with an
    # update of numpy.
    random = np.random.RandomState([seed >> 32, seed & 0xFFFFFFFF])
    present, counts = np.unique(labels, return_counts=True)
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in zip(present, _apportion(counts, size), strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _apportion(counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Share `size` out in proportion to `counts`, by the largest remainder (Hamilton's method).

    In whole numbers throughout, so that equal remainders tie exactly; the earlier class then comes first.
    """
    shares, remainders = np.divmod(counts * size, counts.sum())
    left = size - int(shares.sum())
    shares[np.argsort(-remainders, kind="stable")[:left]] += 1
    return shares


def _check(key: str, given: int | None, size: int, lowest: int, highest: int, source: str) -> None:
    if highest < lowest:
        raise UserError(Problem(f"there are too few images to split: {source}, at least {lowest} are needed here", key))
    if not lowest <= size <= highest:
        rule = f"must be {lowest} (one image per class) to {highest} ({source}, some must remain for training)"
        raise UserError(Problem(rule, key, given))
