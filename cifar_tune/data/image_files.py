"""Image files to RGB arrays of one size, by a pool of threads."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.data.depth import Kind, Span, range_of
from cifar_tune.data.image_reading import (
    MOST_BYTES,
    Fact,
    Reading,
    Room,
    TooLargeError,
    make_ready,
    read,
    read_span,
)
from cifar_tune.data.resizing import GREY, Shape, reshaping_words, suitable
from cifar_tune.data.sources.part import Progress
from cifar_tune.data.spec import Resize
from cifar_tune.errors import Problem, UserError
from cifar_tune.wording import counted

_FILES_PER_TASK = 64
_NAMED = 10
"""Unreadable files that are named; the others are counted."""

_ERRNO_OF_BROKEN_IMAGES = (errno.EINVAL, errno.EOVERFLOW)
"""What the system says of a place in a file that only a broken header can name."""

_FACTS: dict[Fact, str] = {
    "transparent": f"partly transparent: the background becomes grey ({GREY}, {GREY}, {GREY})",
    "wholly transparent": "wholly transparent: nothing but plain grey is left",
    "one of several": "the first of several in the same file: the others are not used",
    "unreadable EXIF": "stored with broken EXIF data, so it is not known which way is up",
}

_COMPARED = 512
_NEARLY_ALIKE = 2.0
"""Of 255 levels. Photographs differ by 60 or so, and digits in white on black by 80."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is known of image files once they are decoded.

    Attributes:
        resize: how those that were not square became square.
        ranges: which values became 0 to 255, of images with more than 8 bits per channel.
        shapes: how many images have each width and height, upright.
        notes: what people should know of them.
        reshaping: what becomes of those that are not square, for people; empty where all are.
    """

    resize: Resize
    ranges: Mapping[Kind, Span]
    shapes: Counter[Shape]
    notes: tuple[str, ...]
    reshaping: str


def decode_files(
    paths: Sequence[Path],
    images: npt.NDArray[np.uint8],
    progress: Progress | None,
    training: Sequence[Path] | None = None,
    resize: Resize | None = None,
) -> Decoded:
    """Decode every file into its row: upright, in RGB, over one background, as bytes.

    All images together decide what a single one cannot: how images that are not square become square, where that is
    not given (`resizing.suitable`), and which range of values becomes 0 to 255 in images with more than 8 bits per
    channel (`depth.range_of`). Both are the same for every image of the data set.

    Args:
        paths: N image files.
        images: uint8 [N, S, S, 3], filled.
        progress: called with (images decoded, N).
        training: where `paths` are test images, the files of the training images, which decide then.
        resize: how images become square; None to let their shapes decide.

    Raises:
        UserError: files cannot be read, and are named; or all training images are the same.
    """
    room = Room(MOST_BYTES)
    ranges: dict[Kind, Span] = {}
    halves = 0  # some images are read twice: once for what all of them together decide

    def decode(rows: Sequence[int], is_second: bool) -> list[Reading]:
        def advance(readings: list[Reading]) -> None:
            nonlocal halves
            halves += sum(2 if reading.is_done and not is_second else 1 for reading in readings)
            if progress is not None:
                progress(halves // 2, len(paths))

        def decode_one(row: int) -> Reading:
            return read(paths[row], images[row], ranges, room, resize)

        return _for_each(rows, decode_one, paths, advance)

    readings = decode(range(len(paths)), is_second=False)
    shapes = Counter(reading.shape for reading in readings)
    notes: list[str] = []
    undone = [row for row, reading in enumerate(readings) if not reading.is_done]
    deciding = [(reading.values, reading.shape) for reading in readings]
    if undone and training is not None:
        deciding = _for_each(range(len(training)), lambda row: read_span(training[row], room), training, lambda _: None)
    resize = resize or suitable(Counter(shape for _, shape in deciding))
    if undone:
        seen = _joined(values for values, _ in deciding)
        _require_known([paths[row] for row in undone if readings[row].kind not in (None, *seen)])
        ranges |= {kind: range_of(kind, span) for kind, span in seen.items()}
        for row, reading in zip(undone, decode(undone, is_second=True), strict=True):
            readings[row] = reading
        present = {reading.kind for reading in readings}
        notes += [_scaled(kind, seen[kind], ranges[kind], readings, paths) for kind in ranges if kind in present]
    notes += _facts(readings, paths)
    if training is None:
        notes += _likeness(images, paths)
    return Decoded(resize, ranges, shapes, tuple(notes), reshaping_words(shapes, images.shape[1], resize))


def _for_each(
    rows: Sequence[int],
    function: Callable[[int], _Result],
    paths: Sequence[Path],
    advance: Callable[[list[_Result]], None],
) -> list[_Result]:
    """Call the function with every row, in threads, and `advance` with some of the results at a time, in their order.

    Raises:
        UserError: names the files of rows for which it failed.
    """
    results: list[_Result] = []
    unreadable: list[Problem] = []
    is_over = Event()

    def call(start: int) -> tuple[list[_Result], list[Problem]]:
        done, problems = [], []
        for row in rows[start : start + _FILES_PER_TASK]:
            if is_over.is_set():
                break
            try:
                done.append(function(row))
            except Exception as error:  # noqa: BLE001 (Pillow raises almost anything on broken files)
                problems.append(reading_problem(paths[row], error, ": replace it or leave it out"))
        return done, problems

    # Pillow decodes without holding the interpreter's lock.
    make_ready()
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 16))
    try:
        for done, problems in pool.map(call, range(0, len(rows), _FILES_PER_TASK)):
            unreadable += problems
            results += done
            advance(done)
    finally:
        is_over.set()  # an interruption waits for no file but those that are being decoded
        pool.shutdown(cancel_futures=True)
    if unreadable:
        left_out = len(unreadable) - _NAMED
        more = [Problem(f"and {left_out} more images that cannot be read")] if left_out > 0 else []
        raise UserError(unreadable[:_NAMED] + more)
    return results


def reading_problem(path: Path | str, error: Exception, advice: str = "") -> Problem:
    """What is wrong where `read` failed: the image, or only the way to it (permissions, disk, network).

    Args:
        path: the file, as people know it.
        error: whatever was raised.
        advice: what to do about a broken image, after the reason.
    """
    if isinstance(error, TooLargeError | Image.DecompressionBombError):
        size = (
            str(error)
            if isinstance(error, TooLargeError)
            else f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        )
        rule = (
            f"is too large to be decoded ({size} take more than {MOST_BYTES // 10**6} MB of memory): save it smaller, "
            f"for instance with ImageMagick: mogrify -resize 1024x1024 FILE"
        )
        return Problem(rule, source=str(path))
    if isinstance(error, MemoryError):
        return Problem("cannot be decoded, since the memory does not suffice: save it smaller", source=str(path))
    if isinstance(error, OSError) and error.strerror and error.errno not in _ERRNO_OF_BROKEN_IMAGES:
        return Problem(f"cannot be opened ({error.strerror}); the image itself may be whole", source=str(path))
    reason = str(error).replace(f" {str(path)!r}", "")  # Pillow names it once more
    rule = f"cannot be read as an image ({reason}){advice}"
    return Problem(rule, source=str(path))


def _joined(values: Iterable[tuple[Kind, Span] | None]) -> dict[Kind, Span]:
    """The values of all images together, by kind."""
    joined: dict[Kind, Span] = {}
    for each in values:
        if each is not None:
            kind, span = each
            joined[kind] = span.joined(joined.get(kind, span))
    return joined


def _require_known(paths: Sequence[Path]) -> None:
    """No training image says which range to use for these test images."""
    rule = (
        "is a test image with more than 8 bits per channel, and no training image is one of that kind: save training "
        "and test images in the same way"
    )
    if paths:
        raise UserError(Problem(rule, source=str(path)) for path in paths[:_NAMED])


def _facts(readings: Sequence[Reading], paths: Sequence[Path]) -> list[str]:
    notes = []
    for fact in _FACTS:
        rows = [row for row, reading in enumerate(readings) if fact in reading.facts]
        if rows:
            notes.append(fact_sentence(fact, len(rows), len(paths), str(paths[rows[0]])))
    return notes


def fact_sentence(fact: Fact, count: int, total: int, example: str) -> str:
    """What is to be said of `count` images of `total`; `example` names one of them."""
    verb = "is" if count == 1 else "are"
    return f"{count:,} of {counted(total, 'image')} {verb} {_FACTS[fact]} (such as {example})"


def _scaled(kind: Kind, seen: Span, used: Span, readings: Sequence[Reading], paths: Sequence[Path]) -> str:
    rows = [row for row, reading in enumerate(readings) if reading.kind == kind]
    verbs = ("has", "holds") if len(rows) == 1 else ("have", "hold")
    return (
        f"{len(rows):,} of {len(paths):,} images {verbs[0]} more than 8 bits per channel and {verbs[1]} {kind} from "
        f"{_shown(seen.low)} to {_shown(seen.high)}: {_shown(used.low)} becomes 0 and {_shown(used.high)} becomes 255 "
        f"(such as {paths[rows[0]]})"
    )


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:.4g}"


def _likeness(images: npt.NDArray[np.uint8], paths: Sequence[Path]) -> list[str]:
    """A note where the images differ so little that something may have gone wrong.

    Raises:
        UserError: they do not differ at all.
    """
    compared = images[:: max(1, len(images) // _COMPARED)]
    sums = np.zeros(images.shape[1:], dtype=np.int64)
    squares = np.zeros(images.shape[1:], dtype=np.int64)
    for image in compared:
        wide = image.astype(np.int64)
        sums += wide
        squares += wide * wide
    # In whole numbers, so that equal images differ by exactly 0.
    deviation = float(np.sqrt((len(compared) * squares - sums * sums).mean())) / len(compared)
    if deviation == 0 and all(np.array_equal(image, images[0]) for image in images):
        rule = (
            f"all {len(images):,} images are the same once they are decoded, so there is nothing to learn; "
            f"look at {paths[0]}"
        )
        raise UserError(Problem(rule, "data"))
    if deviation >= _NEARLY_ALIKE:
        return []
    return [
        f"the images are nearly alike: their pixels differ by {deviation:.2g} of 255 levels from the mean image; "
        f"look at some, such as {paths[0]}"
    ]
