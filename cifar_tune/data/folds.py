"""Other validation splits than the study's own: disjoint parts of the images on which the study chose nothing.

Whoever measures a chosen configuration on the study's validation images measures how lucky it was with them too. So
each fold validates on images that are neither test images nor in the study's validation split. It trains on as many as
the study did, those of the study's validation split among them.
"""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.seeding import derive_seed
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import Indices, stratified_choice


@dataclass(frozen=True, slots=True)
class Part:
    """Which images of a study are trained on, and which are validated on.

    Attributes:
        fold: see `fold_of`; 0 for the study's own split.
        merged: train on all of them, those of the validation split too. It is validated on all the same, which then
            says nothing about other images.
        with_unused: those too that `train_size` or `val_size` left out.
    """

    fold: int = 0
    merged: bool = False
    with_unused: bool = False

    def of(self, prepared: PreparedData, spec: DataSpec) -> PreparedData:
        """These images.

        Args:
            prepared: the images of the study, with its own split.
            spec: of these.
        """
        if self.merged:
            return replace(prepared.merged(with_unused=self.with_unused), val_indices=prepared.val_indices)
        return fold_of(prepared, spec, self.fold)


STUDY_PART = Part()
"""The study's own split."""


def count_folds(prepared: PreparedData) -> int:
    """How many disjoint folds there are, each with as many validation images as the study has; may be 0."""
    size = len(prepared.val_indices)
    return (len(prepared.labels) - size) // size


def fold_of(prepared: PreparedData, spec: DataSpec, number: int) -> PreparedData:
    """The images of one fold.

    Args:
        prepared: the images of the study, with its own split.
        spec: of these images; its `split_seed` and `train_size` count here too.
        number: from 1 to `count_folds`; 0 for the study's own split.
    """
    if number == 0:
        return prepared
    if not 1 <= number <= count_folds(prepared):
        raise ValueError(f"there is no fold {number}")
    validation = _part(prepared, spec.split_seed, number)
    training = np.setdiff1d(np.arange(len(prepared.labels)), validation)
    if spec.train_size is not None:
        seed = derive_seed("training images of a fold", spec.split_seed, number)
        labels = prepared.labels[training]
        training = training[stratified_choice(labels, len(prepared.train_indices), seed, lowest=1)]
    return replace(
        prepared,
        fingerprint=hashlib.sha256(f"fold {number} {prepared.fingerprint}".encode()).hexdigest(),
        train_indices=training,
        val_indices=validation,
    )


def _part(prepared: PreparedData, split_seed: int, number: int) -> Indices:
    """The validation images of a fold, ascending: drawn from what the folds before it have left."""
    left = np.setdiff1d(np.arange(len(prepared.labels)), prepared.val_indices)
    size = len(prepared.val_indices)
    for each in range(1, number + 1):
        seed = derive_seed("fold", split_seed, each)
        part = left[stratified_choice(prepared.labels[left], size, seed)]
        left = np.setdiff1d(left, part)
    return part
