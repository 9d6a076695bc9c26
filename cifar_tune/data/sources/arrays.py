"""Images as NumPy arrays: one `.npz` file, or a folder of `.npy` files.

The arrays are known by their names, such as `x_train` and `y_train` or `train_images` and `train_labels`, and likewise
for `val` and `test`. Arrays without a split in their names are training images. Nothing is unpickled, and the arrays of
the test split are opened by `test_part` alone.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.data.depth import Kind, Span, range_of
from cifar_tune.data.image_reading import Fact, in_colour
from cifar_tune.data.resizing import reshaping_words, shape_words
from cifar_tune.data.sources.folder_files import stamp
from cifar_tune.data.sources.folder_layout import FOLDER_NAMES, Role
from cifar_tune.data.sources.part import Allocate, Labelled, Progress, SourcePart
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test
from cifar_tune.errors import Problem, UserError, enumerate_names
from cifar_tune.paths import given_path

_IMAGES = ("x", "images", "data", "image")
_LABELS = ("y", "labels", "targets", "label")
_CLASSES = ("classes", "class_names", "label_names")
_CHANNELS = (1, 3, 4)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Pair:
    """The names of the arrays of a split."""

    images: str
    labels: str


def training_part(spec: DataSpec) -> SourcePart:
    """The training images, less those held out where there are none for the test, and then those for validation."""
    arrays = _Arrays(spec)
    labels = arrays.labels("training")
    validation = arrays.labels("validation") if "validation" in arrays.pairs else None
    rest, held_out = arrays.training(labels)
    chosen: list[tuple[Role, npt.NDArray[np.int64]]] = [("training", rest)]
    if validation is not None:
        chosen.append(("validation", np.arange(len(validation))))
    origin = (
        "drawn from the training images" if validation is None else f"the array {arrays.pairs['validation'].images}"
    )
    test = (
        f"the array {arrays.pairs['test'].images}" if "test" in arrays.pairs else f"{len(held_out):,} images held out"
    )
    splits = f"validation: {origin}; test: {test} (only finalize opens it)"
    given = None if validation is None else len(validation)
    return replace(arrays.part(chosen), splits=splits, validation=given)


def test_part(spec: DataSpec) -> SourcePart:
    """The test images, or those held out."""
    arrays = _Arrays(spec)
    if "test" in arrays.pairs:
        return arrays.part([("test", np.arange(len(arrays.labels("test"))))])
    return arrays.part([("training", arrays.training(arrays.labels("training"))[1])])


class _Arrays:
    """The arrays below `data.root`.

    Attributes:
        pairs: the names of those of each split that is there.
        classes: class names.
    """

    def __init__(self, spec: DataSpec) -> None:
        self._spec = spec
        self._root = given_path(str(spec.root), "data.root")
        self._files = self._found()
        self.pairs = self._paired()
        given = self._named(_CLASSES)
        values = np.unique(self._values("training"))
        if given is not None:
            self.classes = tuple(str(name) for name in self._array(given).ravel())
            self._numbers: dict[object, int] = {number: number for number in range(len(self.classes))}
            if values.dtype.kind not in "iu":
                self._numbers = {name: index for index, name in enumerate(self.classes)}
        else:
            self._numbers = {value: index for index, value in enumerate(values.tolist())}
            self.classes = tuple(str(value) for value in values.tolist())
        if len(self.classes) < 2:
            raise self._wrong(
                f"must have two labels at least; found {enumerate_names(list(self.classes), 'and')} alone"
            )

    def labels(self, role: Role) -> npt.NDArray[np.int64]:
        """The labels of a split: int64 [N].

        Raises:
            UserError: they are of classes that the training images do not have.
        """
        values = self._values(role).tolist()
        unknown = sorted({value for value in values if value not in self._numbers}, key=str)
        if unknown:
            raise self._wrong(f"{self.pairs[role].labels} holds {unknown[0]!r}, which is no label of a training image")
        return np.array([self._numbers[value] for value in values], dtype=np.int64)

    def training(self, labels: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which training images stay, and which are held out for the test."""
        if "test" in self.pairs:
            return np.arange(len(labels)), np.empty(0, dtype=np.int64)
        return held_out_for_test(labels, self.classes, has_validation="validation" in self.pairs)

    def part(self, chosen: list[tuple[Role, npt.NDArray[np.int64]]]) -> SourcePart:
        """The chosen images of each split, one split after the other."""
        manifest = {
            "source": self._spec.name,
            "root": str(self._root.resolve()),
            "image_size": self._spec.image_size,
            "resize": self._spec.resize,
            "chosen": [(role, len(indices), int(indices.sum())) for role, indices in chosen],
            "files": [(str(path), stamp(path.stat())) for path in sorted(set(self._files.values()))],
        }

        def decode(allocate: Allocate, progress: Progress | None) -> Labelled:
            return self._decoded(chosen, allocate, progress)

        return SourcePart(json.dumps(manifest), self._spec.image_size, decode)

    def _decoded(
        self, chosen: list[tuple[Role, npt.NDArray[np.int64]]], allocate: Allocate, progress: Progress | None
    ) -> Labelled:
        images = allocate(sum(len(indices) for _, indices in chosen))
        shapes: dict[tuple[int, int], int] = {}
        facts: set[Fact] = set()
        scale = self._scale()
        mode = self._spec.resize or "squash"  # all images of an array have one shape
        row = 0
        for role, indices in chosen:
            values = self._pixels(role)
            shape = (values.shape[2], values.shape[1])
            shapes[shape] = shapes.get(shape, 0) + len(indices)
            for index in indices:
                image = Image.fromarray(_as_bytes(values[index], scale))
                images[row] = in_colour(image, self._spec.image_size, mode, facts)
                row += 1
            if progress is not None:
                progress(row, len(images))
        labels = np.concatenate([self.labels(role)[indices] for role, indices in chosen])
        notes = []
        if scale is not None:
            notes.append(f"the pixels are scaled: {scale[1].low:g} becomes 0 and {scale[1].high:g} becomes 255")
        ranges = {} if scale is None else {scale[0]: scale[1]}
        reshaping = reshaping_words(shapes, self._spec.image_size, mode)
        return Labelled(labels, self.classes, tuple(notes), ranges, mode, shape_words(shapes), reshaping)

    def _scale(self) -> tuple[Kind, Span] | None:
        """Which values become 0 to 255, as the training images decide; None where they are bytes."""
        values = self._pixels("training")
        if values.dtype in (np.uint8, np.bool_):
            return None
        kind: Kind = "fractions" if values.dtype.kind == "f" else "whole numbers"
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise self._wrong(f"{self.pairs['training'].images} holds values that are no numbers (NaN or infinite)")
        return kind, range_of(kind, Span(low, high))

    def _pixels(self, role: Role) -> Array:
        """[N, H, W] or [N, H, W, channels], of numbers."""
        name = self.pairs[role].images
        values = self._array(name)
        if values.ndim == 4 and values.shape[-1] not in _CHANNELS and values.shape[1] in _CHANNELS:
            values = values.transpose(0, 2, 3, 1)
        is_image = values.ndim == 3 or (values.ndim == 4 and values.shape[-1] in _CHANNELS)
        if not is_image or values.dtype.kind not in "buif":
            rule = (
                f"{name} must hold images as numbers, [N, H, W] or [N, H, W, channels] with 1, 3 or 4 channels, not "
                f"{list(values.shape)} of {values.dtype}"
            )
            raise self._wrong(rule)
        if len(values) != len(self._values(role)):
            rule = f"{name} has {len(values):,} images and {self.pairs[role].labels} {len(self._values(role)):,} labels"
            raise self._wrong(rule)
        return values[..., 0] if values.ndim == 4 and values.shape[-1] == 1 else values

    def _values(self, role: Role) -> Array:
        """The labels as they are stored: [N]."""
        name = self.pairs[role].labels
        values = self._array(name)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1 or values.dtype.kind not in "iuUSb" or not len(values):
            found = f"{list(values.shape)} of {values.dtype}"
            raise self._wrong(f"{name} must hold one label per image, whole numbers or text, not {found}")
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values

    def _array(self, name: str) -> Array:
        path = self._files[name]
        try:
            if path.suffix == ".npy":
                return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            with np.load(path, allow_pickle=False) as file:
                found: Array = file[name]
                return found
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise self._wrong(f"{name} cannot be read: {error}") from error

    def _found(self) -> Mapping[str, Path]:
        """The names of all arrays, and the file of each."""
        try:
            if self._root.is_dir():
                return {path.stem: path for path in sorted(self._root.glob("*.npy"))}
            with np.load(self._root, allow_pickle=False) as file:
                if not isinstance(file, np.lib.npyio.NpzFile):
                    raise self._wrong("must be an .npz file, or a folder with .npy files of images and of labels")
                return dict.fromkeys(file.files, self._root)
        except FileNotFoundError as error:
            raise self._wrong("there is no such file or folder") from error
        except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise self._wrong(f"is no .npz file: {error}") from error

    def _paired(self) -> Mapping[Role, _Pair]:
        pairs: dict[Role, _Pair] = {}
        for role, words in FOLDER_NAMES.items():
            images = self._named([spelt for word in words for base in _IMAGES for spelt in _spellings(base, word)])
            labels = self._named([spelt for word in words for base in _LABELS for spelt in _spellings(base, word)])
            if role == "training" and images is None and labels is None:
                images, labels = self._named(_IMAGES), self._named(_LABELS)
            if images is not None and labels is not None:
                pairs[role] = _Pair(images, labels)
            elif images is not None or labels is not None:
                raise self._wrong(f"has {images or labels} for {role}, but no {'labels' if images else 'images'}")
        if "training" not in pairs:
            names = enumerate_names(sorted(self._files), "and") if self._files else "none"
            rule = f"needs arrays such as x_train and y_train, or images and labels; it has {names}"
            raise self._wrong(rule)
        return pairs

    def _named(self, names: tuple[str, ...] | list[str]) -> str | None:
        known = {name.lower(): name for name in self._files}
        return next((known[name] for name in names if name in known), None)

    def _wrong(self, rule: str) -> UserError:
        return UserError(Problem(rule, "data.root", self._spec.root))


def _spellings(base: str, word: str) -> tuple[str, ...]:
    return f"{base}_{word}", f"{word}_{base}", f"{base}{word}", f"{word}{base}"


def _as_bytes(values: Array, scale: tuple[Kind, Span] | None) -> npt.NDArray[np.uint8]:
    if scale is None:
        return np.where(values, np.uint8(255), np.uint8(0)) if values.dtype == np.bool_ else np.array(values, np.uint8)
    span = scale[1]
    shares = (values.astype(np.float64) - span.low) / ((span.high - span.low) or 1)
    return np.array(np.rint(shares.clip(0, 1) * 255), np.uint8)
