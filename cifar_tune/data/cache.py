"""Decoded images on disk, so that every start but the first, and every process, maps them instead of decoding.

A record is filed under the source's manifest, which is cheap to make; it names the content, which is filed under its
own SHA-256. So a second start neither decodes nor hashes, and equal images have equal keys however they came here.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from cifar_tune.data.sources.part import Labelled, Progress, SourcePart
from cifar_tune.errors import Problem, UserError

CACHE_VARIABLE = "CIFAR_TUNE_CACHE"
DEFAULT_CACHE = "storage/cache"
_FORMAT = 1
"""Part of every key: raise it when what is written here changes."""


class _Record(BaseModel):
    """What a manifest leads to."""

    content_key: str
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CacheEntry:
    """Images in the cache.

    Attributes:
        images_path: `.npy` file, uint8 [N, H, W, 3].
        labels: int64 [N].
        classes: class names; label i is `classes[i]`.
        content_key: SHA-256 in hex of images, image size, labels and class names.
    """

    images_path: Path
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    content_key: str


def cache_folder() -> Path:
    """The folder that `CIFAR_TUNE_CACHE` names, else `storage/cache`."""
    return Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)


def cached(part: SourcePart, folder: Path, progress: Progress | None = None) -> CacheEntry:
    """The part's images from `folder`, decoded into it first where they are not there whole.

    Any number of processes may do this at once: files appear complete or not at all.

    Raises:
        UserError: the images cannot be decoded, or the folder cannot be written.
    """
    record_path = folder / f"{_sha256(f'{_FORMAT} {part.manifest}'.encode())}.json"
    entry = _stored(record_path, part.image_size)
    if entry is None:
        _decode(part, record_path, progress)
        entry = _stored(record_path, part.image_size)
        if entry is None:
            raise UserError(_unwritable(folder, "what was written does not read back"))
    return entry


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file of the cache so that it appears complete or not at all.

    Raises:
        UserError: it cannot be written.
    """
    temporary = _temporary(path.parent)
    try:
        with _writing(path.parent):
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _decode(part: SourcePart, record_path: Path, progress: Progress | None) -> None:
    folder = record_path.parent
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(folder)
    arrays: list[np.memmap[Any, np.dtype[np.uint8]]] = []

    def allocate(count: int) -> npt.NDArray[np.uint8]:
        with _writing(folder):
            arrays.append(_new_array(temporary, (count, part.image_size, part.image_size, 3)))
        return arrays[-1]

    try:
        labelled = part.decode(allocate, progress)
        images = arrays.pop()
        key, shape = _content_key(images, labelled), images.shape
        images_path = _images_path(folder, key)
        with _writing(folder):
            images.flush()
            del images  # some systems do not rename a file that is mapped
            if _mapped(images_path, np.uint8, shape) is None:
                temporary.replace(images_path)
    finally:
        temporary.unlink(missing_ok=True)
    write_atomically(_labels_path(folder, key), lambda file: np.save(file, labelled.labels))
    record = _Record(content_key=key, classes=labelled.classes)
    write_atomically(record_path, lambda file: file.write(record.model_dump_json().encode()))


def _stored(record_path: Path, image_size: int) -> CacheEntry | None:
    """What the record leads to; None where any of it is missing, truncated or not what it should be."""
    try:
        record = _Record.model_validate_json(record_path.read_bytes())
    except (OSError, ValidationError):
        return None
    folder, key = record_path.parent, record.content_key
    labels = _mapped(_labels_path(folder, key), np.int64, (None,))
    if labels is None:
        return None
    images_path = _images_path(folder, key)
    if _mapped(images_path, np.uint8, (len(labels), image_size, image_size, 3)) is None:
        return None
    return CacheEntry(images_path, np.array(labels), record.classes, key)


def _mapped(path: Path, dtype: type[np.generic], shape: tuple[int | None, ...]) -> npt.NDArray[Any] | None:
    """The `.npy` file, memory-mapped; None where it is not one of this type, shape and length."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError):  # missing, foreign, or shorter than its header says
        return None
    if array.dtype != dtype or array.ndim != len(shape) or not array.flags.c_contiguous:
        return None
    if any(wanted not in (None, got) for wanted, got in zip(shape, array.shape, strict=True)):
        return None
    return array if path.stat().st_size == array.offset + array.nbytes else None


def _new_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    array: np.memmap[Any, np.dtype[np.uint8]] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # A full disk has to be found here, as an OSError: writing to the map would kill the process.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _content_key(images: npt.NDArray[np.uint8], labelled: Labelled) -> str:
    head = json.dumps({"format": _FORMAT, "shape": images.shape, "classes": labelled.classes})
    digest = hashlib.sha256(head.encode())
    digest.update(labelled.labels.astype("<i8").tobytes())
    digest.update(images.data)
    return digest.hexdigest()


def _temporary(folder: Path) -> Path:
    """A name for a file that is to be renamed when it is whole."""
    return folder / f"{uuid4().hex}.partial"


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(_unwritable(folder, error.strerror or str(error))) from error


def _unwritable(folder: Path, reason: str) -> Problem:
    rule = f"the cache folder cannot be written ({reason}); set {CACHE_VARIABLE} to another"
    return Problem(rule, source=str(folder))


def _images_path(folder: Path, key: str) -> Path:
    return folder / f"{key}.images.npy"


def _labels_path(folder: Path, key: str) -> Path:
    return folder / f"{key}.labels.npy"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
