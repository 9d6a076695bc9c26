"""Image files to RGB arrays of one size, by a pool of threads."""

import errno
import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.data.sources.part import Progress
from cifar_tune.errors import Problem, UserError

_FILES_PER_TASK = 64
_NAMED = 10
"""Unreadable files that are named; the others are counted."""

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises on broken files, by format."""

_ERRNO_OF_BROKEN_IMAGES = (errno.EINVAL, errno.EOVERFLOW)
"""What the system says of a place in a file that only a broken header can name."""


def decode_files(paths: Sequence[Path], images: npt.NDArray[np.uint8], progress: Progress | None) -> None:
    """Decode every file into its row.

    Args:
        paths: N image files.
        images: uint8 [N, S, S, 3], filled.
        progress: called with (images decoded, N).

    Raises:
        UserError: files cannot be read; names them.
    """
    unreadable: list[Problem] = []

    def decode(start: int) -> list[Problem]:
        problems = []
        for index in range(start, min(start + _FILES_PER_TASK, len(paths))):
            try:
                images[index] = _decoded(paths[index], images.shape[1])
            except _UNREADABLE as error:
                problems.append(_problem(paths[index], error))
        return problems

    # Pillow decodes without holding the interpreter's lock.
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 16))
    try:
        for start, problems in zip(
            range(0, len(paths), _FILES_PER_TASK),
            pool.map(decode, range(0, len(paths), _FILES_PER_TASK)),
            strict=True,
        ):
            unreadable += problems
            if progress is not None:
                progress(min(start + _FILES_PER_TASK, len(paths)), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption does not wait for the remaining files
    if unreadable:
        left_out = len(unreadable) - _NAMED
        more = [Problem(f"and {left_out} more images that cannot be read")] if left_out > 0 else []
        raise UserError(unreadable[:_NAMED] + more)


def _problem(path: Path, error: Exception) -> Problem:
    """What is wrong: the image, or only the way to it (permissions, disk, network)."""
    if isinstance(error, OSError) and error.strerror and error.errno not in _ERRNO_OF_BROKEN_IMAGES:
        return Problem(f"cannot be opened ({error.strerror}); the image itself may be whole", source=str(path))
    return Problem(f"cannot be read as an image ({error})", source=str(path))


def _decoded(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """The file as RGB, uint8 [size, size, 3]."""
    with Image.open(path) as opened:
        image: Image.Image = opened
        if image.mode.startswith("I"):
            # Grey of 16 bits, which Pillow would clip to 255 instead of scaling.
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        return resized(image.convert("RGB"), size)


def resized(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """The image as uint8 [size, size, channels]; Pillow's bilinear filter is antialiased when it shrinks."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
