"""Images made ready for training: decoded, cached, split. The test split stays closed."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cifar_tune.data.cache import cache_folder, cached
from cifar_tune.data.depth import Kind, Span
from cifar_tune.data.sources import source
from cifar_tune.data.spec import DataSpec, Resize
from cifar_tune.data.split import training_and_validation
from cifar_tune.wording import counted

_LISTED = 20
"""Up to this many classes are listed with their numbers of images."""


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Training and validation images, decoded in the cache.

    Attributes:
        images_path: `.npy` file, uint8 [N, H, W, 3]; read it memory-mapped.
        labels: int64 [N].
        classes: class names; label i is `classes[i]`.
        fingerprint: SHA-256 in hex. Equal fingerprints mean equal training images and equal validation images, and a
            validation split of equal origin: drawn, or brought by the source.
        train_indices: int64 [T], ascending, into the images.
        val_indices: int64 [V], ascending, into the images; disjoint from `train_indices`. Empty after `merged`.
        image_shape: (3, H, W).
        notes: what people should know of these images, such as files that were left out; sentences without a full stop.
        splits: where the splits come from, for people.
        paths: of the N images' files below `data.root`; empty where they have none of their own.
        ranges: which values became 0 to 255, of images with more than 8 bits per channel. Other images of that kind
            must be scaled in the same way before the trained model looks at them.
        resize: how images that were not square became square; others must become so in the same way.
        shapes: which shapes the images had before, for people.
        reshaping: what becomes of images that are not square, for people; empty where all are.
        is_new: whether they were decoded just now, and did not lie in the cache.
    """

    images_path: Path
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str
    train_indices: npt.NDArray[np.int64]
    val_indices: npt.NDArray[np.int64]
    image_shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()
    splits: str = ""
    paths: tuple[str, ...] = ()
    ranges: Mapping[Kind, Span] = field(default_factory=dict)
    resize: Resize = "squash"
    shapes: str = ""
    reshaping: str = ""
    is_new: bool = False

    def open_images(self) -> npt.NDArray[np.uint8]:
        """The images, memory-mapped copy-on-write: processes share the pages, and nothing reaches the file."""
        images: npt.NDArray[np.uint8] = np.load(self.images_path, mmap_mode="c")
        return images

    @property
    def val_counts(self) -> list[int]:
        """How many validation images each class has."""
        counts: list[int] = np.bincount(self.labels[self.val_indices], minlength=len(self.classes)).tolist()
        return counts

    def summary(self) -> list[str]:
        """What was found, as lines for people: images per split, classes, and the smallest class."""
        train, val = (
            np.bincount(self.labels[indices], minlength=len(self.classes))
            for indices in (self.train_indices, self.val_indices)
        )
        smallest = int(np.argmin(train + val))
        pairs = zip(self.classes, train, val, strict=True)
        counts = ", ".join(f"{name!r} {trained:,} + {validated:,}" for name, trained, validated in pairs)
        return [
            f"data: {train.sum():,} training and {counted(int(val.sum()), 'validation image')} {self.image_shape}, "
            f"{len(self.classes)} classes",
            *([f"splits: {self.splits}"] if self.splits else []),
            *([f"width x height before resizing: {self.shapes}"] if self.shapes else []),
            *([f"training + validation images of each class: {counts}"] if len(self.classes) <= _LISTED else []),
            f"smallest class: {self.classes[smallest]!r}, {train[smallest]:,} training and "
            f"{counted(int(val[smallest]), 'validation image')}",
        ]

    def told(self, is_first_time: bool = False) -> list[str]:
        """What people should know: `notes`; and `reshaping`, but only once.

        Args:
            is_first_time: whether this is `check`, or the first run of a study. Images that were decoded just now are
                told of in any case.
        """
        once = [self.reshaping] if self.reshaping and (is_first_time or self.is_new) else []
        return [*once, *self.notes]

    def validation(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """The validation images, uint8 [V, H, W, 3], and their labels, int64 [V]."""
        return self.open_images()[self.val_indices], self.labels[self.val_indices]

    def merged(self, with_unused: bool = False) -> "PreparedData":
        """The same images, those for validation added to those for training: none is left to validate on.

        Args:
            with_unused: add those too that `train_size` or `val_size` left out. Test images are never among them.
        """
        used = np.union1d(self.train_indices, self.val_indices)
        everything = np.arange(len(self.labels))
        is_all = with_unused and len(used) < len(everything)
        return replace(
            self,
            fingerprint=hashlib.sha256(f"{'all' if is_all else 'merged'} {self.fingerprint}".encode()).hexdigest(),
            train_indices=everything if is_all else used,
            val_indices=np.empty(0, dtype=np.int64),
        )


def prepare(spec: DataSpec, progress: Callable[[int, int], None] | None = None) -> PreparedData:
    """Decode and cache the images of `spec` where the cache does not hold them, and split them.

    No test image is read: neither of a test split that the source brings, nor of one that is held out.

    Args:
        spec: the `data` part of a study.
        progress: called with (images decoded, images in all) while decoding; not at all where the cache holds them.

    Raises:
        UserError: the images are not available or cannot be read, or the sizes of the splits do not fit them.
    """
    part = source(spec.name).training_part(spec)
    entry = cached(part, cache_folder() / "training", progress)
    train, val = training_and_validation(entry.labels, entry.classes, spec, part.validation)
    return PreparedData(
        images_path=entry.images_path,
        labels=entry.labels,
        classes=entry.classes,
        fingerprint=_fingerprint(
            entry.content_key, train, val, is_drawn=part.validation is None or spec.folds is not None
        ),
        train_indices=train,
        val_indices=val,
        image_shape=(3, spec.image_size, spec.image_size),
        notes=entry.notes,
        splits=part.splits if spec.folds is None else _fold_words(part.splits, spec.folds, spec.fold or 1),
        paths=part.paths,
        ranges=entry.ranges,
        resize=entry.resize,
        shapes=entry.shapes,
        reshaping=entry.reshaping,
        is_new=entry.is_new,
    )


def _fold_words(splits: str, folds: int, fold: int) -> str:
    """Where the splits come from, where a fold validates."""
    words = f"validation: fold {fold} of {folds} of all images that are not test images"
    return f"{words}; the folds replace this split: {splits}" if splits else words


def _fingerprint(content_key: str, train: npt.NDArray[Any], val: npt.NDArray[Any], is_drawn: bool) -> str:
    digest = hashlib.sha256(content_key.encode())
    if not is_drawn:
        digest.update(b"validation split of the source")
    for indices in (train, val):
        digest.update(len(indices).to_bytes(8))
        digest.update(indices.astype("<i8").tobytes())
    return digest.hexdigest()
