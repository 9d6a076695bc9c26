"""Every source of images: what it is called, what it is, and which keys of `data` it takes. One entry per source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_MODULES = "cifar_tune.data.sources"

DEFAULT_ROOT = "data"
"""Where torchvision's data sets lie if `data.root` does not say it."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A source of images.

    Attributes:
        target: the `Source` (`cifar_tune.data.sources.part`): a module, or `module:object`.
        meaning: what it is, for people.
        root: whether it takes `data.root`.
        rooted: what `data.root` is, for people.
        image_size: the only size that its images have; None where they are resized to any.
        has_shapes: whether its images may have other shapes than square, so that `resize` makes a difference.
        keys: of `data`, those that only some sources take, and this one does.
        classes: how many there are, where that is known without the images.
        is_mixed: whether image files of all its splits lie in the same folders.
    """

    target: str
    meaning: str
    root: Literal["none", "optional", "required"] = "optional"
    rooted: str = "the folder that torchvision keeps it in"
    image_size: int | None = None
    has_shapes: bool = False
    keys: frozenset[str] = frozenset()
    classes: int | None = None
    is_mixed: bool = False


def _torchvision(
    name: str, meaning: str, classes: int, has_shapes: bool = False, is_mixed: bool = False
) -> SourceEntry:
    return SourceEntry(
        f"{_MODULES}.torchvision_sets:{name}",
        meaning,
        has_shapes=has_shapes,
        keys=frozenset({"download"}),
        classes=classes,
        is_mixed=is_mixed,
    )


SOURCES: Mapping[str, SourceEntry] = {
    "cifar10": SourceEntry(
        f"{_MODULES}.cifar10",
        "the official CIFAR-10 archive",
        rooted="the folder where the archive lies or is downloaded to",
        image_size=32,
        keys=frozenset({"download"}),
        classes=10,
    ),
    "image_folder": SourceEntry(
        f"{_MODULES}.image_folder",
        "a folder of image files, `train/<class>/`",
        root="required",
        rooted="the folder that holds train/<class>/",
        has_shapes=True,
        keys=frozenset({"ignore"}),
    ),
    "digits": SourceEntry(
        f"{_MODULES}.digits",
        "1,797 handwritten digits of 8x8 pixels, which come with scikit-learn",
        root="none",
        classes=10,
    ),
    "table": SourceEntry(
        f"{_MODULES}.table",
        "a CSV or Parquet file with a row per image: its path, its label and, if you like, its split",
        root="required",
        rooted="the CSV or Parquet file",
        has_shapes=True,
        keys=frozenset({"path_column", "label_column", "split_column"}),
    ),
    "arrays": SourceEntry(
        f"{_MODULES}.arrays",
        "NumPy arrays: an `.npz` file, or a folder of `.npy` files",
        root="required",
        rooted="the .npz file, or the folder with the .npy files",
        has_shapes=True,
    ),
    "cifar100": _torchvision("CIFAR100", "CIFAR-100, its 100 fine classes", 100),
    "svhn": _torchvision("SVHN", "Street View House Numbers, cropped digits", 10),
    "mnist": _torchvision("MNIST", "MNIST", 10),
    "fashion_mnist": _torchvision("FASHION_MNIST", "Fashion-MNIST", 10),
    "kmnist": _torchvision("KMNIST", "Kuzushiji-MNIST", 10),
    "stl10": _torchvision("STL10", "STL-10, its labelled images", 10),
    "gtsrb": _torchvision("GTSRB", "German traffic signs", 43, has_shapes=True),
    "flowers102": _torchvision("FLOWERS102", "Oxford 102 Flower", 102, has_shapes=True),
    "oxford_pets": _torchvision("OXFORD_PETS", "Oxford-IIIT Pet", 37, has_shapes=True),
    "food101": _torchvision("FOOD101", "Food-101", 101, has_shapes=True, is_mixed=True),
    "dtd": _torchvision("DTD", "Describable Textures", 47, has_shapes=True, is_mixed=True),
}
"""By the name in `data.name`."""
