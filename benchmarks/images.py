"""The images that benchmarks train on: real ones where they are, else made-up ones."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_tune.data.spec import DataSpec

IMAGES_VARIABLE = "CIFAR_TUNE_BENCH_IMAGES"
_ARCHIVE = Path("data/cifar-10-batches-py")
_FOLDER = Path("data/cifar10-jpeg")
_CLASSES = 10
_PER_CLASS = 600
_MOST_VALIDATED = 500


@dataclass(frozen=True, slots=True)
class Images:
    """Where the images are, and what to call them beside a figure."""

    spec: DataSpec
    words: str

    def sized(self, train: int, val: int) -> DataSpec:
        """So many of them; fewer where there are not as many."""
        if self.spec.name == "image_folder" and self.words.startswith("made-up"):
            val = min(val, _MOST_VALIDATED)
            train = min(train, _CLASSES * _PER_CLASS * 5 // 6 - val)  # a sixth is held out as a test split
        return self.spec.model_copy(update={"train_size": train, "val_size": val})


def find_images(given: str | None, scratch: Path) -> Images:
    """`given`, or the folder in CIFAR_TUNE_BENCH_IMAGES, or where the README has CIFAR-10; else made-up ones.

    Args:
        given: a folder that holds `train/<class>/*`, or the official archive.
        scratch: a folder for made-up images.
    """
    named = given or os.environ.get(IMAGES_VARIABLE)
    if named:
        folder = Path(named).absolute()
        if (folder / _ARCHIVE.name).is_dir():
            return Images(DataSpec(name="cifar10", root=str(folder), download=False), "CIFAR-10")
        return Images(DataSpec(name="image_folder", root=str(folder)), _name_of(folder))
    if _ARCHIVE.is_dir():
        return Images(DataSpec(name="cifar10", download=False), "CIFAR-10")
    if _FOLDER.is_dir():
        return Images(DataSpec(name="image_folder", root=str(_FOLDER.absolute())), _name_of(_FOLDER))
    return Images(DataSpec(name="image_folder", root=str(made_up(scratch / "images"))), "made-up images, not CIFAR-10")


def _name_of(folder: Path) -> str:
    return "CIFAR-10 (JPEG)" if folder.name == _FOLDER.name else f"the images of a folder {folder.name}"


def made_up(folder: Path) -> Path:
    """Ten classes of noisy colour gradients: as large as CIFAR-10's images, and learnable."""
    random = np.random.default_rng(0)
    ramp = np.linspace(-1, 1, 32)
    for label in range(_CLASSES):
        target = folder / "train" / f"class{label}"
        target.mkdir(parents=True)
        angle = 2 * np.pi * label / _CLASSES
        gradient = np.cos(angle) * ramp[:, None] + np.sin(angle) * ramp
        for number in range(_PER_CLASS):
            noise = random.normal(0, 60, (32, 32, 3))
            pixels = 128 + 40 * gradient[:, :, None] + noise + random.normal(0, 20, 3)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target / f"{number:04d}.png")
    return folder
