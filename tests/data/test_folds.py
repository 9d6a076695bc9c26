"""Folds: on which images a configuration is validated that was chosen on others."""

import numpy as np
import pytest

from cifar_tune.data.folds import count_folds, fold_of
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.spec import DataSpec


def digits(**more: object) -> tuple[PreparedData, DataSpec]:
    spec = DataSpec.model_validate({"name": "digits", "image_size": 8, "val_size": 200, **more})
    return prepare(spec), spec


def test_folds_are_disjoint_and_hold_no_image_that_the_study_was_validated_on() -> None:
    prepared, spec = digits()
    assert count_folds(prepared) == 6  # of 1,498 images, less 200
    folds = [fold_of(prepared, spec, number) for number in range(1, 7)]
    validated = np.concatenate([fold.val_indices for fold in folds])
    assert len(np.unique(validated)) == len(validated) == 6 * 200
    assert not np.intersect1d(validated, prepared.val_indices).size
    for fold in folds:
        assert np.array_equal(np.union1d(fold.train_indices, fold.val_indices), np.arange(1498))
        assert not np.intersect1d(fold.train_indices, fold.val_indices).size
        counts = np.bincount(fold.labels[fold.val_indices], minlength=10)
        assert counts.min() >= 18
        assert counts.max() <= 22
    names = {fold.fingerprint for fold in folds} | {prepared.fingerprint}
    assert len(names) == 7
    again = fold_of(prepare(spec), spec, 4)
    assert np.array_equal(again.val_indices, folds[3].val_indices)
    assert fold_of(prepared, spec, 0) is prepared


def test_a_fold_trains_on_as_many_images_as_the_study() -> None:
    prepared, spec = digits(train_size=400)
    first, second = (fold_of(prepared, spec, number) for number in (1, 2))
    assert len(first.train_indices) == len(second.train_indices) == 400
    assert not np.intersect1d(first.train_indices, first.val_indices).size
    assert set(first.labels[first.train_indices]) == set(range(10))
    assert not np.array_equal(first.train_indices, second.train_indices)


def test_another_split_has_other_folds_and_there_are_no_more_than_there_are() -> None:
    prepared, spec = digits()
    other = digits(split_seed=1)
    assert not np.array_equal(fold_of(*other, 1).val_indices, fold_of(prepared, spec, 1).val_indices)
    with pytest.raises(ValueError, match="no fold 7"):
        fold_of(prepared, spec, 7)
    assert count_folds(digits(val_size=800)[0]) == 0
