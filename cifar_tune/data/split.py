"""Which images are for training, for validation and for the test: stratified, exact in size, seeded.

Every class is in every split, however rare it is; a class that has too few images for that is an error that names it.
"""

import numpy as np
import numpy.typing as npt

from cifar_tune.data.seeding import derive_seed
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import Problem, UserError, enumerate_names

Indices = npt.NDArray[np.int64]

_VAL_SHARE = 10
_TEST_SHARE = 6
_NAMED = 10
"""Rare classes that are named; the others are counted."""


def held_out_for_test(
    labels: npt.NDArray[np.int64], classes: tuple[str, ...], has_validation: bool = False
) -> tuple[Indices, Indices]:
    """Hold a test split out of images that come without one: a sixth of them, with every class in it.

    Neither size nor seed can be chosen: with another one, test images would turn into images to search on, and these
    into test images.

    Args:
        labels: int64 [N].
        classes: class names.
        has_validation: the validation images come apart, so that the rest is not split once more.

    Returns:
        The images that stay and those held out; both ascending, int64.

    Raises:
        UserError: there are too few images, in all or of a class.
    """
    total = len(labels)
    size = max(total // _TEST_SHARE, len(classes))
    left = 1 if has_validation else 2
    source = f"of {total} images, some must remain for training"
    _check("data", None, size, len(classes), total - left * len(classes), source)
    uses = "training and test" if has_validation else "training, validation and test"
    _check_each_class(labels, classes, left + 1, uses)
    test = stratified_choice(labels, size, derive_seed("test"), lowest=1)
    return np.setdiff1d(np.arange(total), test), test


def training_and_validation(
    labels: npt.NDArray[np.int64], classes: tuple[str, ...], spec: DataSpec, given: int | None = None
) -> tuple[Indices, Indices]:
    """Split the images that are not test images; every class is in both parts.

    The validation split does not depend on `train_size`, so that partial data sets are judged on the same images. With
    `folds` it is one of them, out of all images.

    Args:
        labels: int64 [N].
        classes: class names.
        spec: holds the sizes and the seed.
        given: this many of the last images are the validation split that the source brings. All of them are for
            validation, or `val_size` of them; the others are then used for nothing. None: the split is drawn.

    Returns:
        Training images and validation images; both ascending, int64.

    Raises:
        UserError: a size does not fit the images, or a class has too few.
    """
    if spec.folds is not None:
        given = None
        train, val = _fold(labels, classes, spec.folds, spec.fold or 1, spec.split_seed)
    else:
        train, val = _drawn(labels, classes, spec) if given is None else _given(labels, classes, spec, given)
    if spec.train_size is not None:
        source = (
            f"of {len(train)} images"
            if given is not None
            else f"of {len(labels)} images less {len(val)} for validation"
        )
        _check("data.train_size", spec.train_size, spec.train_size, len(classes), len(train), source)
        seed = derive_seed("training", spec.split_seed)
        train = train[stratified_choice(labels[train], spec.train_size, seed, lowest=1)]
    return train, val


def _drawn(labels: npt.NDArray[np.int64], classes: tuple[str, ...], spec: DataSpec) -> tuple[Indices, Indices]:
    total = len(labels)
    val_size = max(total // _VAL_SHARE, len(classes)) if spec.val_size is None else spec.val_size
    source = f"of {total} images, some must remain for training"
    _check("data.val_size", spec.val_size, val_size, len(classes), total - len(classes), source)
    _check_each_class(labels, classes, 2, "training and validation")
    val = stratified_choice(labels, val_size, derive_seed("validation", spec.split_seed), lowest=1, left=1)
    return np.setdiff1d(np.arange(total), val), val


def _given(
    labels: npt.NDArray[np.int64], classes: tuple[str, ...], spec: DataSpec, given: int
) -> tuple[Indices, Indices]:
    train, val = np.split(np.arange(len(labels)), [len(labels) - given])
    if spec.val_size is not None:
        source = f"of {given} images that come as validation split; without val_size all of them are used"
        _check("data.val_size", spec.val_size, spec.val_size, len(classes), given, source)
        val = val[stratified_choice(labels[val], spec.val_size, derive_seed("validation", spec.split_seed), lowest=1)]
    return train, val


def _fold(
    labels: npt.NDArray[np.int64], classes: tuple[str, ...], folds: int, fold: int, split_seed: int
) -> tuple[Indices, Indices]:
    """One of the folds for validation, all others for training.

    The shuffled images of one class after another are dealt out like cards, so that folds differ by one image at most,
    in all and of each class.
    """
    _check_each_class(labels, classes, folds, f"each of the {folds} folds")
    seed = derive_seed("folds", split_seed)
    random = np.random.RandomState([seed >> 32, seed & 0xFFFFFFFF])  # its stream is frozen for good, as above
    dealt = np.concatenate([random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    val = np.sort(dealt[fold - 1 :: folds]).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels)), val), val


def stratified_choice(labels: npt.NDArray[np.int64], size: int, seed: int, lowest: int = 0, left: int = 0) -> Indices:
    """Choose exactly `size` images with the classes in their proportions.

    Args:
        labels: int64 [N].
        size: at most N; enough for `lowest`, and few enough for `left`.
        seed: of 63 bits.
        lowest: of each class at least this many are chosen, however rare it is.
        left: of each class at least this many are not chosen. No class has fewer than `lowest` + `left`.

    Returns:
        int64 [size], ascending.
    """
    # RandomState's stream is frozen for good, unlike that of numpy's newer Generator: a split must not change with an
    # update of numpy.
    random = np.random.RandomState([seed >> 32, seed & 0xFFFFFFFF])
    present, counts = np.unique(labels, return_counts=True)
    shares = _apportion(counts, size)
    _within(shares, np.full_like(counts, lowest), counts - left)
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:share]
        for label, share in zip(present, shares, strict=True)
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


def _within(shares: npt.NDArray[np.int64], lowest: npt.NDArray[np.int64], highest: npt.NDArray[np.int64]) -> None:
    """Change `shares` in place, and keep their sum, so that each lies between its bounds.

    Shares within their bounds stay as they are where all others are too: without rare classes nothing changes.
    """
    bounded = np.clip(shares, lowest, highest)
    surplus = int(bounded.sum() - shares.sum())
    shares[:] = bounded
    for _ in range(abs(surplus)):
        # One image at a time, from or to the class with the most room; of equals, from or to the last one.
        room = shares - lowest if surplus > 0 else highest - shares
        shares[len(room) - 1 - np.argmax(room[::-1])] -= np.sign(surplus)


def _check(key: str, given: int | None, size: int, lowest: int, highest: int, source: str) -> None:
    if highest < lowest:
        raise UserError(Problem(f"there are too few images to split: {source}, at least {lowest} are needed here", key))
    if not lowest <= size <= highest:
        rule = f"must be {lowest} (one image per class) to {highest} ({source})"
        raise UserError(Problem(rule, key, given))


def _check_each_class(labels: npt.NDArray[np.int64], classes: tuple[str, ...], needed: int, uses: str) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    rare = [f"{classes[label]!r} has {counts[label]}" for label in np.flatnonzero(counts < needed)]
    if rare:
        named = enumerate_names(
            rare[:_NAMED] + ([f"{len(rare) - _NAMED} more have fewer"] if len(rare) > _NAMED else []), "and"
        )
        rule = f"every class needs {needed} images, one each for {uses}: {named}. Add images, or take the class out"
        raise UserError(Problem(rule, "data"))
