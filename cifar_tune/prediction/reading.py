"""Image files to batches of pixels, exactly as training read its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from cifar_tune.data.depth import Kind, Span, range_alone
from cifar_tune.data.image_files import reading_problem
from cifar_tune.data.image_reading import MOST_BYTES, Fact, Reading, Room, make_ready, read
from cifar_tune.data.spec import Resize
from cifar_tune.errors import Problem
from cifar_tune.prediction.inputs import GivenImage


@dataclass(frozen=True, slots=True, eq=False)
class ReadImages:
    """Some images that were read.

    Attributes:
        pixels: uint8 [n, S, S, 3], of the images that can be read.
        images: these n images.
        unreadable: the others, each with what is wrong.
        facts: what people may want to know of each of the n images.
        alone: those of the n images that have more than 8 bits per channel, where no training image had.
    """

    pixels: npt.NDArray[np.uint8]
    images: list[GivenImage]
    unreadable: list[tuple[GivenImage, Problem]]
    facts: list[frozenset[Fact]]
    alone: list[GivenImage]


class ImageReader:
    """Reads images; several threads may use it at a time, and share the memory for decoding.

    Args:
        image_size: height and width that the model wants.
        ranges: which values became 0 to 255 in the training images with more than 8 bits per channel.
        resize: how images that are not square became square.
    """

    def __init__(self, image_size: int, ranges: Mapping[Kind, Span], resize: Resize) -> None:
        self._image_size = image_size
        self._ranges = ranges
        self._resize: Resize = resize
        self._room = Room(MOST_BYTES)
        make_ready()

    def read(self, images: Sequence[GivenImage], is_over: Event | None = None) -> ReadImages:
        """Read images, one after the other.

        Args:
            images: files, or their bytes.
            is_over: set by another thread to make an end: the rest is left out.
        """
        pixels = np.empty((len(images), self._image_size, self._image_size, 3), dtype=np.uint8)
        found = ReadImages(pixels, [], [], [], [])
        for image in images:
            if is_over is not None and is_over.is_set():
                break
            row = pixels[len(found.images)]
            try:
                reading = self._read(image.source, row, found, image)
            except Exception as error:  # noqa: BLE001 (Pillow raises almost anything on broken files)
                found.unreadable.append((image, _problem(image, error)))
            else:
                found.images.append(image)
                found.facts.append(reading.facts)
        return ReadImages(pixels[: len(found.images)], found.images, found.unreadable, found.facts, found.alone)

    def _read(self, source: Path | bytes, row: npt.NDArray[np.uint8], found: ReadImages, image: GivenImage) -> Reading:
        reading = read(source, row, self._ranges, self._room, self._resize)
        if reading.values is None or reading.values[0] in self._ranges:
            return reading
        kind, seen = reading.values
        reading = read(source, row, {kind: range_alone(kind, seen)}, self._room, self._resize)
        found.alone.append(image)
        return reading


def _problem(image: GivenImage, error: Exception) -> Problem:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Problem("there is no such file", source=image.name)
    if isinstance(error, IsADirectoryError):
        return Problem("is a folder", source=image.name)
    if isinstance(error, UnidentifiedImageError):
        return Problem("is not an image in a format that cifar-tune reads", source=image.name)
    return reading_problem(image.name, error)
