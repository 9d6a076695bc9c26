"""Decoded images on disk, so that every start but the first, and every process, maps them instead of decoding.

A record is filed under the source's manifest, which is cheap to make; it names the content, which is filed under its
own SHA-256. So a second start decodes nothing, and equal images have equal keys however they came here.

Every process compares the files with their checksums when it first opens them. Damaged ones are made again.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from cifar_tune.data.depth import Kind, Span
from cifar_tune.data.sources.part import Labelled, Progress, SourcePart
from cifar_tune.data.spec import Resize
from cifar_tune.errors import Problem, UserError
from cifar_tune.paths import given_path
from cifar_tune.unfinished import remove_abandoned, unfinished_file

CACHE_VARIABLE = "CIFAR_TUNE_CACHE"
DEFAULT_CACHE = "storage/cache"
_FORMAT = 6
"""Part of a record's name: raise it when images are decoded to other bytes, or records say something else."""

_CONTENT_FORMAT = 1
"""Part of a content key. Images that are decoded to the same bytes keep their key, and stored studies go on."""

_PARTIAL = "*.partial"
_CHUNK = 4 << 20
_READERS = 4
"""Threads that read and sum chunks: CRC-32 of 150 MB (CIFAR-10) then takes some 40 ms, SHA-256 more than twice that."""


class _Record(BaseModel):
    """What a manifest leads to.

    Attributes:
        images, labels: checksums of these files.
        notes: what there is to say about the decoding.
        ranges: as those of `Labelled`, each as its lowest and highest value.
        resize, shapes, reshaping: as in `Labelled`.
    """

    content_key: str
    classes: tuple[str, ...]
    images: str
    labels: str
    notes: tuple[str, ...]
    ranges: dict[Kind, tuple[float, float]]
    resize: Resize
    shapes: str
    reshaping: str
    seal: str = ""

    def sealed(self) -> "_Record":
        """The same, with the checksum of all the rest as its seal."""
        rest = self.model_dump_json(exclude={"seal"})
        return self.model_copy(update={"seal": _sha256(rest.encode())})


@dataclass(frozen=True, eq=False)
class CacheEntry:
    """Images in the cache.

    Attributes:
        images_path: `.npy` file, uint8 [N, H, W, 3].
        labels: int64 [N].
        classes: class names; label i is `classes[i]`.
        content_key: SHA-256 in hex of images, image size, labels and class names.
        notes: what people should know of these images: sentences without a full stop.
        ranges: which values became 0 to 255, of images with more than 8 bits per channel.
        resize, shapes, reshaping: as in `Labelled`.
        is_new: whether they were decoded just now.
    """

    images_path: Path
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    content_key: str
    notes: tuple[str, ...]
    ranges: Mapping[Kind, Span]
    resize: Resize
    shapes: str
    reshaping: str
    is_new: bool = False


class _DamagedError(Exception):
    """Files of the cache are not what was written. The message names the file."""


_whole: set[tuple[object, ...]] = set()
"""Files that this process has found whole: path, identity, size, times and checksum."""


def cache_folder() -> Path:
    """The folder that `CIFAR_TUNE_CACHE` names, else `storage/cache`."""
    return given_path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE, CACHE_VARIABLE)


def cached(part: SourcePart, folder: Path, progress: Progress | None = None) -> CacheEntry:
    """The part's images from `folder`, decoded into it first where they are not there whole.

    Any number of processes may do this at once: files appear complete or not at all. What processes that were killed
    left half written is removed.

    Raises:
        UserError: the images cannot be decoded, or the folder cannot be written.
    """
    record_path = folder / f"{_sha256(f'{_FORMAT} {part.manifest}'.encode())}.json"
    remove_abandoned(folder, _PARTIAL)
    said: tuple[str, ...] = ()
    try:
        entry = _stored(record_path, part)
    except _DamagedError as error:
        entry = None
        said = (f"the cache of decoded images was damaged ({error}), so the images were decoded again",)
    is_new = entry is None
    if entry is None:
        _decode(part, record_path, progress)
        try:
            entry = _stored(record_path, part)
        except _DamagedError:
            entry = None
        if entry is None:
            raise UserError(_unwritable(folder, "what was written does not read back"))
    return replace(entry, notes=(*said, *entry.notes), is_new=is_new)


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file of the cache so that it appears complete or not at all.

    Raises:
        UserError: it cannot be written.
    """
    with _writing(path.parent), unfinished_file(path.parent, _PARTIAL) as temporary:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _decode(part: SourcePart, record_path: Path, progress: Progress | None) -> None:
    folder = record_path.parent
    arrays: list[np.memmap[Any, np.dtype[np.uint8]]] = []
    with ExitStack() as stack:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = stack.enter_context(unfinished_file(folder, _PARTIAL))

        def allocate(count: int) -> npt.NDArray[np.uint8]:
            with _writing(folder):
                arrays.append(_new_array(temporary, (count, part.image_size, part.image_size, 3)))
            return arrays[-1]

        labelled = part.decode(allocate, progress)
        images = arrays.pop()
        key = _content_key(images, labelled)
        images_path, labels_path = _images_path(folder, key), _labels_path(folder, key)
        with _writing(folder):
            images.flush()
            del images  # some systems do not rename a file that is mapped
            checksum = _checksum(temporary)
            try:
                _require_whole(images_path, checksum)  # other processes may share its pages: then it stays
            except _DamagedError:
                temporary.replace(images_path)
    write_atomically(labels_path, lambda file: np.save(file, labelled.labels))
    with _writing(folder):
        record = _Record(
            content_key=key,
            classes=labelled.classes,
            images=checksum,
            labels=_checksum(labels_path),
            notes=labelled.notes,
            ranges={kind: (span.low, span.high) for kind, span in labelled.ranges.items()},
            resize=labelled.resize,
            shapes=labelled.shapes,
            reshaping=labelled.reshaping,
        )
    write_atomically(record_path, lambda file: file.write(record.sealed().model_dump_json().encode()))


def _stored(record_path: Path, part: SourcePart) -> CacheEntry | None:
    """What the record leads to; None where a file is missing.

    Raises:
        _DamagedError: a file is not what was written.
    """
    try:
        record = _Record.model_validate_json(record_path.read_bytes())
    except OSError:
        return None
    except ValidationError as error:
        raise _DamagedError(record_path.name) from error
    if record != record.sealed():
        raise _DamagedError(record_path.name)
    images_path, labels_path = (of(record_path.parent, record.content_key) for of in (_images_path, _labels_path))
    if not (images_path.exists() and labels_path.exists()):
        return None
    for path, checksum in ((images_path, record.images), (labels_path, record.labels)):
        _require_whole(path, checksum)
    # They are what was written; this tells whether that is what is wanted.
    labels = _mapped(labels_path, np.int64, (None,))
    size = part.image_size
    if labels is None or _mapped(images_path, np.uint8, (len(labels), size, size, 3)) is None:
        return None
    notes = (*part.notes, *record.notes)
    ranges = {kind: Span(*span) for kind, span in record.ranges.items()}
    return CacheEntry(
        images_path,
        np.array(labels),
        record.classes,
        record.content_key,
        notes,
        ranges,
        record.resize,
        record.shapes,
        record.reshaping,
    )


def _require_whole(path: Path, checksum: str) -> None:
    """Compare the file with its checksum, unless this process has done so and nobody has written to it since.

    Raises:
        _DamagedError: it is damaged, or cannot be read.
    """
    try:
        state = path.stat()
        known = (path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, checksum)
        if known in _whole:
            return
        found = _checksum(path)
    except OSError as error:
        raise _DamagedError(f"{path.name}: {error.strerror}") from error
    if found != checksum:
        raise _DamagedError(path.name)
    _whole.add(known)


def _checksum(path: Path) -> str:
    """CRC-32s of the file's chunks, and its length, in hex: they tell damage, not intent."""
    with path.open("rb") as file, ThreadPoolExecutor(_READERS) as pool:
        size = os.fstat(file.fileno()).st_size

        def summed(start: int) -> bytes:
            # Not through a memory map: there an unreadable sector would kill the process.
            return zlib.crc32(os.pread(file.fileno(), _CHUNK, start)).to_bytes(4)

        return _sha256(size.to_bytes(8) + b"".join(pool.map(summed, range(0, size, _CHUNK))))


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
    head = json.dumps({"format": _CONTENT_FORMAT, "shape": images.shape, "classes": labelled.classes})
    digest = hashlib.sha256(head.encode())
    digest.update(labelled.labels.astype("<i8").tobytes())
    digest.update(images.data)
    return digest.hexdigest()


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
