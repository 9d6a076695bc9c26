"""Data sets of torchvision by name, in its own folders. It checks, unpacks and downloads them.

A part is opened without the files of the other one, as far as the data set keeps them apart.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from cifar_tune.data.image_files import decode_files
from cifar_tune.data.resizing import Shape, reshaping_words, resized, shape_words, suitable
from cifar_tune.data.source_table import DEFAULT_ROOT
from cifar_tune.data.sources.folder_files import Stamp, stamp
from cifar_tune.data.sources.part import Allocate, Labelled, Progress, SourcePart
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import Problem, UserError
from cifar_tune.paths import given_path

Role = Literal["train", "val", "test"]
_File = tuple[Path, int]
"""An image file, and the number of its class."""


@dataclass(frozen=True)
class TorchvisionSet:
    """One of torchvision's data sets.

    Attributes:
        name: as in `data.name`.
        dataset: its class in `torchvision.datasets`.
        parts: arguments of the class for each part that the data set brings.
        folder: what it keeps below `data.root`: a folder, or a file per part with `{part}` in its name.
        without: for each part, attributes of the class that list files of others, emptied.
        is_checked: whether torchvision compares the files with checksums each time it opens them.
        listed: where torchvision does not say which files a part consists of: reads it, from the folder.
    """

    name: str
    dataset: str
    parts: Mapping[Role, Mapping[str, object]]
    folder: str
    without: Mapping[Role, tuple[str, ...]]
    is_checked: bool = False
    listed: Callable[[Path, Role], list[_File]] | None = None

    def training_part(self, spec: DataSpec) -> SourcePart:
        """The training images, and then those for validation where the data set brings such."""
        given = len(self._opened(spec, "val")) if "val" in self.parts else None
        origin = "drawn from the training images" if given is None else "as the data set brings it"
        splits = f"validation: {origin}; test: as the data set brings it (only finalize opens it)"
        return replace(self._part(spec, self._training), splits=splits, validation=given)

    def test_part(self, spec: DataSpec) -> SourcePart:
        """The test images."""
        return self._part(spec, ("test",))

    def _part(self, spec: DataSpec, roles: tuple[Role, ...]) -> SourcePart:
        root = self._root(spec)
        if not self.is_checked and not (root / self.folder).exists():
            self._opened(spec, roles[0])  # downloads it: only then there are files whose times can be known
        manifest = {
            "source": self.name,
            "parts": roles,
            "image_size": spec.image_size,
            "resize": spec.resize,
            "files": [] if self.is_checked else [str(root.resolve()), *_stamps(root / self.folder)],
        }

        def decode(allocate: Allocate, progress: Progress | None) -> Labelled:
            datasets = [self._opened(spec, role) for role in roles]
            images = allocate(sum(len(dataset) for dataset in datasets))
            training = [] if roles == self._training else [self._opened(spec, role) for role in self._training]
            files = self._files(spec, roles, datasets)
            if files is None:
                return _decoded(datasets, images, spec, progress, training)
            others = self._files(spec, self._training, training) if training else None
            return _read(datasets[0], files, images, spec, progress, others)

        return SourcePart(json.dumps(manifest), spec.image_size, decode)

    def _files(self, spec: DataSpec, roles: Sequence[Role], datasets: Sequence[Any]) -> list[_File] | None:
        """The image files of these parts; None where images are no files, or torchvision does not say which."""
        if self.listed is not None:
            return [file for role in roles for file in self.listed(self._root(spec) / self.folder, role)]
        if "loader" not in signature(type(datasets[0])).parameters:
            return None
        return [
            (Path(path), int(label)) for each in datasets for path, label in map(each.__getitem__, range(len(each)))
        ]

    @property
    def _training(self) -> tuple[Role, ...]:
        return ("train", "val") if "val" in self.parts else ("train",)

    def _root(self, spec: DataSpec) -> Path:
        return given_path(spec.root or DEFAULT_ROOT, "data.root")

    def _opened(self, spec: DataSpec, role: Role) -> Any:
        """Open this part, downloaded first where need be.

        Raises:
            UserError: it is not there, and does not come; says what can be done instead.
        """
        from torchvision import datasets  # noqa: PLC0415 (takes seconds)

        whole = getattr(datasets, self.dataset)
        # of the same name: some data sets make the name of their folder of it
        cls: Any = type(whole.__name__, (whole,), {name: [] for name in self.without.get(role, ())})
        root, arguments = self._root(spec), dict(self.parts[role])
        if "loader" in signature(whole).parameters:
            arguments["loader"] = str  # the path in place of the image: our own reader turns images upright, and so on
        try:
            return cls(root, **arguments, download=False)
        except (RuntimeError, OSError, ValueError) as error:  # not there, or not whole
            state = str(error).splitlines()[0] if (root / self.folder).exists() else "it is not there"
        if not spec.download:
            raise UserError(self._ways_on(spec, root, f"{state}, and download is false"))
        try:
            root.mkdir(parents=True, exist_ok=True)
            return cls(root, **arguments, download=True)
        except (OSError, HTTPException, RuntimeError) as error:
            said = str(error).splitlines() or [type(error).__name__]
            reason = f"{state}, and it cannot be downloaded ({said[0]})"
            raise UserError(self._ways_on(spec, root, reason)) from error

    def _ways_on(self, spec: DataSpec, root: Path, reason: str) -> Problem:
        rule = (
            f"{self.name} is not available in {root}: {reason}. Either download it where there is a network, with "
            f"torchvision.datasets.{self.dataset}({str(root)!r}, download=True), and copy {root / self.folder} here; "
            f"or use a folder of images: data: {{name: image_folder, root: FOLDER}}"
        )
        return Problem(rule, "data.root", spec.root)


def _read(
    dataset: Any,
    files: Sequence[_File],
    images: Any,
    spec: DataSpec,
    progress: Progress | None,
    training: Sequence[_File] | None,
) -> Labelled:
    """Fill `images`, uint8 [N, S, S, 3], with those of the files, read as all image files are."""
    others = None if training is None else [path for path, _ in training]
    found = decode_files([path for path, _ in files], images, progress, others, spec.resize)
    labels = np.array([label for _, label in files], dtype=np.int64)
    shapes = shape_words(found.shapes)
    classes = _classes(dataset, labels)
    return Labelled(labels, classes, found.notes, found.ranges, found.resize, shapes, found.reshaping)


def _decoded(
    datasets: Sequence[Any], images: Any, spec: DataSpec, progress: Progress | None, training: Sequence[Any]
) -> Labelled:
    """Fill `images`, uint8 [N, S, S, 3], with those of all datasets.

    For test images, the shapes of the `training` images decide how they become square.
    """
    labels: list[int] = []
    shapes: Counter[Shape] = Counter()
    undone: list[tuple[int, Any, int]] = []
    row = 0
    for dataset in datasets:
        for index in range(len(dataset)):
            image, label = _item(dataset, index)
            shapes[image.size] += 1
            if spec.resize is None and image.width != image.height:
                undone.append((row, dataset, index))
            else:
                images[row] = resized(image, spec.image_size, spec.resize or "squash")
            labels.append(label)
            row += 1
            if progress is not None:
                progress(row, len(images))
    mode = spec.resize or "squash"
    if undone:
        others = Counter(_item(each, index)[0].size for each in training for index in range(len(each)))
        mode = spec.resize or suitable(others or shapes)
    for place, dataset, index in undone:
        images[place] = resized(_item(dataset, index)[0], spec.image_size, mode)
    numbers = np.array(labels, dtype=np.int64)
    return Labelled(
        numbers,
        _classes(datasets[0], numbers),
        resize=mode,
        shapes=shape_words(shapes),
        reshaping=reshaping_words(shapes, spec.image_size, mode),
    )


def _item(dataset: Any, index: int) -> tuple[Image.Image, int]:
    image, label = dataset[index]
    return image.convert("RGB"), int(label)


def _classes(dataset: Any, labels: Iterable[int]) -> tuple[str, ...]:
    named = getattr(dataset, "classes", None)
    return tuple(map(str, named)) if named else tuple(str(label) for label in range(max(labels) + 1))


def _stamps(folder: Path) -> list[tuple[str, Stamp]]:
    """Path of each file, and what changes whenever the file does, in order."""
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            found.append((str(path.relative_to(folder)), stamp(path.stat())))
    return sorted(found)


def _pets(folder: Path, role: Role) -> list[_File]:
    """The lines of a list: name, class from 1, species, breed."""
    lines = (folder / "annotations" / f"{_PETS[role]['split']}.txt").read_text(encoding="utf-8").splitlines()
    return [(folder / "images" / f"{name}.jpg", int(number) - 1) for name, number, *_ in map(str.split, lines)]


_TRAIN_AND_TEST: Mapping[Role, Mapping[str, object]] = {"train": {"train": True}, "test": {"train": False}}
_BY_SPLIT: Mapping[Role, Mapping[str, object]] = {"train": {"split": "train"}, "test": {"split": "test"}}
_BY_SPLIT_WITH_VAL: Mapping[Role, Mapping[str, object]] = {**_BY_SPLIT, "val": {"split": "val"}}
_PETS: Mapping[Role, Mapping[str, str]] = {"train": {"split": "trainval"}, "test": {"split": "test"}}
_LISTS: Mapping[Role, tuple[str, ...]] = {"train": ("test_list",), "test": ("train_list",)}

CIFAR100 = TorchvisionSet("cifar100", "CIFAR100", _TRAIN_AND_TEST, "cifar-100-python", _LISTS, is_checked=True)
SVHN = TorchvisionSet("svhn", "SVHN", _BY_SPLIT, "train_32x32.mat", {}, is_checked=True)
MNIST = TorchvisionSet("mnist", "MNIST", _TRAIN_AND_TEST, "MNIST/raw", {})
FASHION_MNIST = TorchvisionSet("fashion_mnist", "FashionMNIST", _TRAIN_AND_TEST, "FashionMNIST/raw", {})
KMNIST = TorchvisionSet("kmnist", "KMNIST", _TRAIN_AND_TEST, "KMNIST/raw", {})
STL10 = TorchvisionSet("stl10", "STL10", _BY_SPLIT, "stl10_binary", _LISTS, is_checked=True)
GTSRB = TorchvisionSet("gtsrb", "GTSRB", _BY_SPLIT, "gtsrb", {})
FLOWERS102 = TorchvisionSet("flowers102", "Flowers102", _BY_SPLIT_WITH_VAL, "flowers-102", {})
OXFORD_PETS = TorchvisionSet("oxford_pets", "OxfordIIITPet", _PETS, "oxford-iiit-pet", {}, listed=_pets)
FOOD101 = TorchvisionSet("food101", "Food101", _BY_SPLIT, "food-101", {})
DTD = TorchvisionSet("dtd", "DTD", _BY_SPLIT_WITH_VAL, "dtd", {})
