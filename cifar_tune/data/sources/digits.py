"""Scikit-learn's embedded digits: 1,797 real handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998).

They need no download and train in seconds. They come without a test split: one is held out of them.
"""

import json
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.data.sources.part import Allocate, Labelled, Progress, SourcePart
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test

_VERSION = 1
"""Raise it when the conversion below changes; the digits themselves do not."""

_CLASSES = tuple("0123456789")
_LARGEST_VALUE = 16


def training_part(spec: DataSpec) -> SourcePart:
    """The digits that are not held out."""
    return replace(
        _part(spec, held_out=False), splits="validation: drawn; test: a sixth of all (only finalize opens it)"
    )


def test_part(spec: DataSpec) -> SourcePart:
    """The digits that are held out."""
    return _part(spec, held_out=True)


def _part(spec: DataSpec, held_out: bool) -> SourcePart:
    manifest = {
        "source": "digits",
        "version": _VERSION,
        "image_size": spec.image_size,
        "held_out": held_out,
    }

    def decode(allocate: Allocate, progress: Progress | None) -> Labelled:
        values, labels = _load()
        rest, test = held_out_for_test(labels, _CLASSES)
        chosen = test if held_out else rest
        greys = np.round(values[chosen] * (255 / _LARGEST_VALUE)).astype(np.uint8)  # 0 … 16 to the nearest of 0 … 255
        allocate(len(chosen))[:] = _all_resized(greys, spec.image_size)[..., None]
        if progress is not None:
            progress(len(chosen), len(chosen))
        return Labelled(labels[chosen], _CLASSES)

    return SourcePart(json.dumps(manifest), spec.image_size, decode)


def _all_resized(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """What `resized` makes of each of these square grey images, uint8 [N, H, H], in two calls for all of them.

    Pillow resizes all rows first and then all columns, each without regard to the others. So the images can stand one
    above the other while their rows are resized, and side by side while their columns are.
    """
    count, height, _ = images.shape
    if height == size:
        return images
    column = Image.fromarray(images.reshape(count * height, height))
    wide = np.asarray(column.resize((size, count * height), Image.Resampling.BILINEAR))
    row = Image.fromarray(wide.reshape(count, height, size).swapaxes(0, 1).reshape(height, count * size))
    tall = np.asarray(row.resize((count * size, size), Image.Resampling.BILINEAR))
    return tall.reshape(size, count, size).swapaxes(0, 1)


@cache
def _load() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Images, float64 [1797, 8, 8] of 0 … 16, and labels, int64 [1797].

    To import scikit-learn takes longer than all that is done with the digits, so its file is read without it,
    and once per process. Nobody writes to the arrays.
    """
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # noqa: PLC0415 (another release may keep them elsewhere)

    digits = load_digits()
    return digits.images, digits.target.astype(np.int64)
