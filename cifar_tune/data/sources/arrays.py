"""Images as NumPy arrays: one `.npz` file, or a folder of `.npy` files.

The arrays are known by their names, such as `x_train` and `y_train` or `train_images` and `train_labels`, and likewise
for `val` and `test`. Arrays without a split in their names are training images. Nothing is unpickled. `test_part` alone
reads the images and labels of the test split; `training_part` reads the header of these images.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.data.depth import Deep, Kind, Span, range_of
from cifar_tune.data.image_reading import Fact, in_colour
from cifar_tune.data.resizing import reshaping_words, shape_words
from cifar_tune.data.sources.array_files import Array, ArrayFileError, array_names, array_type, read_array
from cifar_tune.data.sources.class_names import label_notes
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
_LARGEST_BYTE = 255

_LEAST_SHARE = 0.02
"""Of the training images' range: what uses less of it, or reaches further beyond it than it is wide, is stored in
another way, as 0 to 1 beside 0 to 255."""


@dataclass(frozen=True)
class _Pair:
    """The names of the arrays of a split."""

    images: str
    labels: str


def training_part(spec: DataSpec) -> SourcePart:
    """The training images, less those held out where there are none for the test, and then those for validation."""
    arrays = _Arrays(spec)
    arrays.require_same_types()
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
        notes: on their names.
    """

    def __init__(self, spec: DataSpec) -> None:
        self._spec = spec
        self._root = given_path(str(spec.root), "data.root")
        try:
            self._files = array_names(self._root)
        except ArrayFileError as error:
            raise self._wrong(str(error)) from error
        self.pairs = self._paired()
        self._known_labels: dict[Role, Array] = {}
        given = self._named(_CLASSES)
        values = np.unique(self._values("training"))
        if given is not None:
            self.classes = self._given_classes(given)
            self._numbers: dict[object, int] = {number: number for number in range(len(self.classes))}
            if values.dtype.kind not in "iu":
                self._numbers = {name: index for index, name in enumerate(self.classes)}
        else:
            self._numbers = {value: index for index, value in enumerate(values.tolist())}
            self.classes = tuple(str(value) for value in values.tolist())
        if len(self.classes) < 2:
            raise self._wrong(f"must have at least two labels; found only {enumerate_names(list(self.classes), 'and')}")
        self.notes = tuple(label_notes(str(self._root), self.classes))

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

    def require_same_types(self) -> None:
        """See by the headers that all splits store their images in the same way; no image is read.

        Raises:
            UserError: they do not.
        """
        types = {role: array_type(self._files[pair.images], pair.images) for role, pair in self.pairs.items()}
        training = types["training"]
        for role, found in types.items():
            if found is not None and training is not None:
                self._require_same_type(role, found, training)

    def _require_same_type(self, role: Role, found: np.dtype[Any], training: np.dtype[Any]) -> tuple[str, str]:
        """The words on both; see `require_same_types`."""
        names = f"{self.pairs[role].images} holds {found}", f"{self.pairs['training'].images} {training}"
        if (found == np.bool_) != (training == np.bool_) or _kind(found) != _kind(training):
            raise self._wrong(f"{names[0]}, and {names[1]}: save the images of all splits in the same way")
        return names

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

        return SourcePart(json.dumps(manifest), self._spec.image_size, decode, self.notes)

    def _decoded(
        self, chosen: list[tuple[Role, npt.NDArray[np.int64]]], allocate: Allocate, progress: Progress | None
    ) -> Labelled:
        training = self._pixels("training")
        range_ = self._range(training)
        images = allocate(sum(len(indices) for _, indices in chosen))
        shapes: dict[tuple[int, int], int] = {}
        facts: set[Fact] = set()
        mode = self._spec.resize or "squash"  # all images of an array have one shape
        row = 0
        for role, indices in chosen:
            values = training if role == "training" else self._pixels(role)
            scale = range_
            if role != "training":
                scale = self._same_range(role, values, training, range_)
            shape = (values.shape[2], values.shape[1])
            shapes[shape] = shapes.get(shape, 0) + len(indices)
            for index in indices:
                images[row] = in_colour(_image(values[index], scale), self._spec.image_size, mode, facts)
                row += 1
            if progress is not None:
                progress(row, len(images))
        labels = np.concatenate([self.labels(role)[indices] for role, indices in chosen])
        notes = []
        if range_ is not None:
            notes.append(f"the pixels are scaled: {range_[1].low:g} becomes 0 and {range_[1].high:g} becomes 255")
        ranges = {} if range_ is None else {range_[0]: range_[1]}
        reshaping = reshaping_words(shapes, self._spec.image_size, mode)
        return Labelled(labels, self.classes, tuple(notes), ranges, mode, shape_words(shapes), reshaping)

    def _range(self, training: Array) -> tuple[Kind, Span] | None:
        """Which values become 0 to 255, as the training images decide; None where they are bytes."""
        if training.dtype in (np.uint8, np.bool_):
            return None
        kind = _kind(training.dtype)
        rest, held_out = self.training(self.labels("training"))
        deciding = training[rest] if len(held_out) else training  # held out images are test images
        return kind, range_of(kind, self._seen("training", deciding))

    def _same_range(
        self, role: Role, values: Array, training: Array, scale: tuple[Kind, Span] | None
    ) -> tuple[Kind, Span] | None:
        """How the images of another split become bytes: exactly as those for training.

        Raises:
            UserError: they are stored in another way, so that they would come out black, white or wrong.
        """
        names = self._require_same_type(role, values.dtype, training.dtype)
        if values.dtype in (np.uint8, np.bool_) and scale is None:
            return None
        seen = self._seen(role, values)
        used = scale or ("whole numbers", Span(0, _LARGEST_BYTE))
        low, high = used[1].low, used[1].high
        width = high - low
        is_beyond = seen.low < low - width or seen.high > high + width
        if width and (is_beyond or seen.high - seen.low < _LEAST_SHARE * width):
            rule = (
                f"{names[0]} from {seen.low:g} to {seen.high:g}, and {names[1]}, of which {low:g} to {high:g} becomes "
                f"0 to 255: save the images of all splits in the same way"
            )
            raise self._wrong(rule)
        return used

    def _seen(self, role: Role, values: Array) -> Span:
        """The smallest and the largest value of colours.

        Raises:
            UserError: some are no numbers.
        """
        colours = values[..., :3] if values.ndim == 4 else values  # opacity says nothing of them
        low, high = float(colours.min()), float(colours.max())
        if not np.isfinite([low, high]).all():
            raise self._wrong(f"{self.pairs[role].images} holds values that are no numbers (NaN or infinite)")
        return Span(low, high)

    def _pixels(self, role: Role) -> Array:
        """[N, H, W] or [N, H, W, channels], of numbers."""
        name = self.pairs[role].images
        values = self._array(name)
        if values.ndim == 4 and values.shape[-1] not in _CHANNELS and values.shape[1] in _CHANNELS:
            values = values.transpose(0, 2, 3, 1)
        is_image = values.ndim == 3 or (values.ndim == 4 and values.shape[-1] in _CHANNELS)
        if not is_image or values.dtype.kind not in "buif" or 0 in values.shape:
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
        """The labels as they are stored: [N]. They are read once."""
        if role in self._known_labels:
            return self._known_labels[role]
        name = self.pairs[role].labels
        values = self._array(name)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1 or values.dtype.kind not in "iuUSb" or not len(values):
            found = f"{list(values.shape)} of {values.dtype}"
            raise self._wrong(f"{name} must hold one label per image, whole numbers or text, not {found}")
        self._known_labels[role] = self._text(name, values)
        return self._known_labels[role]

    def _given_classes(self, name: str) -> tuple[str, ...]:
        values = self._text(name, self._array(name).ravel())
        if values.dtype.kind not in "iuU":
            raise self._wrong(f"{name} must hold the names of the classes as text, not {values.dtype}")
        classes = tuple(str(each) for each in values)
        if len(set(classes)) < len(classes):
            twice = next(each for each in classes if classes.count(each) > 1)
            raise self._wrong(f"{name} names {twice!r} twice: every class needs a name of its own")
        return classes

    def _text(self, name: str, values: Array) -> Array:
        if values.dtype.kind != "S":
            return np.array(values)  # a copy in memory, whatever happens to the file
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise self._wrong(f"{name} holds bytes that are not UTF-8 text; save it as text") from error

    def _array(self, name: str) -> Array:
        try:
            return read_array(self._files[name], name)
        except ArrayFileError as error:
            raise self._wrong(str(error)) from error

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

    def _named(self, names: Sequence[str]) -> str | None:
        """The array that is there under one of these names, in upper or lower case.

        Raises:
            UserError: several are, and nobody knows which one is meant.
        """
        found = [name for name in self._files if name.lower() in names]
        if len(found) > 1:
            raise self._wrong(f"has {enumerate_names(found, 'and')}, which mean the same: leave one of them")
        return found[0] if found else None

    def _wrong(self, rule: str) -> UserError:
        return UserError(Problem(rule, "data.root", self._spec.root))


def _spellings(base: str, word: str) -> tuple[str, ...]:
    return f"{base}_{word}", f"{word}_{base}", f"{base}{word}", f"{word}{base}"


def _kind(dtype: np.dtype[Any]) -> Kind:
    return "fractions" if dtype.kind == "f" else "whole numbers"


def _image(values: Array, scale: tuple[Kind, Span] | None) -> Image.Image:
    """One image of an array, as one that is read from a file with the same values."""
    if scale is None:
        return Image.fromarray(values.astype(np.uint8) * (255 if values.dtype == np.bool_ else 1))
    return Deep(values, "L" if values.ndim == 2 else {3: "RGB", 4: "RGBA"}[values.shape[2]]).in_bytes(scale[1])
