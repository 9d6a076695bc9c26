"""The test split. Only what finalizes a study may import this module."""

import numpy as np
import numpy.typing as npt

from cifar_tune.data.cache import CacheEntry, cache_folder, cached
from cifar_tune.data.sources import source
from cifar_tune.data.sources.part import Progress
from cifar_tune.data.spec import DataSpec


def require_test(spec: DataSpec) -> None:
    """Look, by the names of files and classes alone, whether there is a test split; no image is opened.

    Raises:
        UserError: there is none, or it has other classes than the training images.
    """
    source(spec.name).test_part(spec)


def decode_test(spec: DataSpec, progress: Progress | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decode the test images into the cache, so that a broken one is found now; nothing of them is handed out.

    Returns:
        Class names, and what people should know of the images, as in `PreparedData.notes`.

    Raises:
        UserError: the images are not available or cannot be read.
    """
    entry = _decoded(spec, progress)
    return entry.classes, entry.notes


def load_test(
    spec: DataSpec, progress: Progress | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """Open the test split.

    Returns:
        Images, uint8 [N, H, W, 3], memory-mapped copy-on-write; labels, int64 [N]; class names.

    Raises:
        UserError: the images are not available or cannot be read.
    """
    entry = _decoded(spec, progress)
    images: npt.NDArray[np.uint8] = np.load(entry.images_path, mmap_mode="c")
    return images, entry.labels, entry.classes


def test_fingerprint(spec: DataSpec) -> str:
    """SHA-256 in hex of the test images, their labels and the class names; equal images have equal ones everywhere.

    Raises:
        UserError: the images are not available or cannot be read.
    """
    return _decoded(spec, None).content_key


def test_paths(spec: DataSpec) -> tuple[str, ...]:
    """The files of the test images below `data.root`, in their order; empty where they have none of their own.

    Raises:
        UserError: there is no test split by now.
    """
    return source(spec.name).test_part(spec).paths


def _decoded(spec: DataSpec, progress: Progress | None) -> CacheEntry:
    return cached(source(spec.name).test_part(spec), cache_folder() / "test", progress)
