"""One image file to RGB bytes: bounded in memory, upright, over one background, with all bits that it has."""

import ctypes
import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Condition
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile

from cifar_tune.data.depth import Deep, Kind, Span, is_deep, range_alone, read_deep
from cifar_tune.data.plain_jpeg import PlainJpeg, begins_like_jpeg, plain_jpeg
from cifar_tune.data.resizing import GREY, Shape, resized
from cifar_tune.data.spec import Resize

MOST_BYTES = 800_000_000
"""Memory for decoding: of one image, and of all that are decoded at the same time."""

_BYTES_PER_PIXEL = 12
_BYTES_PER_DEEP_PIXEL = 32
"""With the copies that turning, converting and resizing make."""

_BYTES_PER_COEFFICIENTS = 6
"""Of a pixel of a progressive JPEG, all of which libjpeg keeps until the last scan."""

_LARGE = 4_000_000
"""Pixels from which on a JPEG is decoded at a half to an eighth of its size."""

_STILL_LARGER = 4
"""But to no less than this many times the wanted size, so that the filter has something to average."""

_PLAIN_BYTES = 1_000_000
"""Up to this size, a file that begins like a JPEG is read whole to find out whether it is a plain one."""

_FIRST_BYTES = 64_000
"""Of every file; small ones are whole then."""

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "DIB", "ICO", "TGA", "PCX")
"""What is opened, whatever a file is called. Of the others, Pillow hands EPS to Ghostscript, which runs programs."""

_STEPS = {"L;2": 3, "L;4": 15}
"""From black to white, of grey with 2 and 4 bits."""

_QUIET = logging.NullHandler()

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From EXIF orientation to upright."""

_ON_THEIR_SIDE = (5, 6, 7, 8)
"""The orientations that exchange width and height."""

Fact = Literal["transparent", "wholly transparent", "one of several", "unreadable EXIF"]


class TooLargeError(ValueError):
    """Decoding the image would take too much memory."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds.

    Attributes:
        values: of an image with more than 8 bits per channel; else None.
        facts: what people may want to know.
        shape: width and height of the upright image.
        is_done: whether its pixels were decoded: the range of its values and how to make it square were known.
    """

    values: tuple[Kind, Span] | None
    facts: frozenset[Fact]
    shape: Shape
    is_done: bool = True

    @property
    def kind(self) -> Kind | None:
        """Of the values."""
        return None if self.values is None else self.values[0]


class Room:
    """Memory that threads take and give back; they wait where too little is left."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._changed = Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Hold this many bytes, at most the total."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


def make_ready() -> None:
    """Prepare Pillow, before any thread uses it.

    Neither it nor libtiff is to print anything to stderr about broken files: exceptions say what is wrong.
    """
    logging.getLogger("PIL").addHandler(_QUIET)
    Image.init()
    spec = find_spec("PIL._imaging")
    with suppress(OSError, AttributeError):  # not every build of Pillow has libtiff, or shows its functions
        ctypes.CDLL(spec.origin if spec else None).TIFFSetErrorHandler(None)


def read(
    path: Path | bytes,
    pixels: npt.NDArray[np.uint8],
    ranges: Mapping[Kind, Span],
    room: Room,
    resize: Resize | None = "squash",
) -> Reading:
    """Decode a file.

    Args:
        path: an image file, or the bytes of one; of several images in it the first one counts.
        pixels: uint8 [S, S, 3], filled; but not with an image of more than 8 bits per channel whose range is unknown,
            nor with one that is not square where nobody knows how to make it so.
        ranges: what becomes 0 to 255 in images with more than 8 bits per channel, as far as it is known.
        room: MOST_BYTES in all.
        resize: how an image that is not square becomes square; None where that is not known yet.

    Raises:
        TooLargeError: it would take more than MOST_BYTES.
        Exception: of almost any type, from Pillow, where the file is broken.
    """
    facts: set[Fact] = set()
    size = pixels.shape[0]
    plain = _plain(path)
    if plain is not None:
        shape = (plain.width, plain.height)
        if resize is None and plain.width != plain.height:
            return Reading(None, frozenset(), shape, is_done=False)
        with room.taken(plain.width * plain.height * _BYTES_PER_PIXEL):
            found = plain.decoded()
            if found is not None:
                pixels[:] = resized(found if found.mode == "RGB" else found.convert("RGB"), size, resize or "squash")
                return Reading(None, frozenset(), shape)
    with _opened(path) as image:
        shape = _upright_shape(image)
        is_clear = resize is not None or shape[0] == shape[1]
        mode = resize or "squash"
        if _holds_several(path, image):
            facts.add("one of several")
        if not is_deep(image):
            if not is_clear:
                return Reading(None, frozenset(facts), shape, is_done=False)
            pixels_in_file = image.width * image.height
            if pixels_in_file > _LARGE:
                image.draft(None, (_STILL_LARGER * size, _STILL_LARGER * size))  # of JPEGs; nothing of others
            with room.taken(_memory(image, _BYTES_PER_PIXEL, pixels_in_file)):
                pixels[:] = in_colour(_upright(image, facts), size, mode, facts)
                return Reading(None, frozenset(facts), shape)
        with room.taken(_memory(image, _BYTES_PER_DEEP_PIXEL)):
            deep = read_deep(image, lambda: _opened(path), lambda each: _upright(each, facts))
            is_clear = is_clear and deep.kind in ranges
            if is_clear:
                pixels[:] = in_colour(deep.in_bytes(ranges[deep.kind]), size, mode, facts)
            return Reading((deep.kind, deep.seen), frozenset(facts), shape, is_clear)


def preprocessed(image: Image.Image, size: int, ranges: Mapping[Kind, Span], resize: Resize) -> npt.NDArray[np.uint8]:
    """Make of an opened image what `read` makes of its file.

    Where the file is not decoded yet, its bytes are read. Of an image that is decoded already, Pillow may have dropped
    the lower bits of more than 8 per channel, in colour. A decoded JPEG of more than 4 million pixels may differ by a
    few of 255 levels, since `read` lets the decoder make it smaller.

    Args:
        image: of any size and mode; it stays as it is.
        size: wanted height and width.
        ranges: as `read` takes them. An image of an unknown range gets the usual one (`range_alone`).
        resize: as `read` takes it.

    Returns:
        uint8 [size, size, 3]: upright, in RGB, over grey.

    Raises:
        TooLargeError: it would take more than MOST_BYTES.
        Exception: of almost any type, from Pillow, where the file is broken.
    """
    content = _undecoded(image)
    if content is not None:
        return read_alone(content, size, ranges, resize)
    image = _upright(image, set())
    if image.mode[0] in "IF":
        deep = Deep(np.asarray(image), "L")
        image = deep.in_bytes(ranges.get(deep.kind) or range_alone(deep.kind, deep.seen))
    return in_colour(image, size, resize, set())


def read_alone(path: Path | bytes, size: int, ranges: Mapping[Kind, Span], resize: Resize) -> npt.NDArray[np.uint8]:
    """Decode one file, as `read` does; an image of an unknown range gets the usual one (`range_alone`).

    Returns:
        uint8 [size, size, 3].

    Raises:
        As `read` does.
    """
    pixels = np.empty((size, size, 3), dtype=np.uint8)
    room = Room(MOST_BYTES)
    reading = read(path, pixels, ranges, room, resize)
    if not reading.is_done and reading.values is not None:
        kind, seen = reading.values
        read(path, pixels, {kind: range_alone(kind, seen)}, room, resize)
    return pixels


def _undecoded(image: Image.Image) -> bytes | None:
    """The content of the file of an image of which nothing is decoded yet; None where that cannot be known."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.fp is None or image.tell() != 0:
        return None
    if image.format not in _FORMATS or not image.fp.seekable():
        return None
    position = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(position)
    return content


def read_span(path: Path, room: Room) -> tuple[tuple[Kind, Span] | None, Shape]:
    """The values of a file with more than 8 bits per channel, and its shape; of others nothing is decoded.

    Returns:
        The values, None where it has 8 bits per channel or fewer; width and height of the upright image.

    Raises:
        As `read` does.
    """
    with _opened(path) as image:
        shape = _upright_shape(image)
        if not is_deep(image):
            return None, shape
        with room.taken(_memory(image, _BYTES_PER_DEEP_PIXEL)):
            deep = read_deep(image, lambda: _opened(path), lambda each: _upright(each, set()))
            return (deep.kind, deep.seen), shape


def _plain(path: Path | bytes) -> PlainJpeg | None:
    """The file, where it is a plain JPEG of moderate size."""
    if isinstance(path, bytes):
        content = path
    else:
        with path.open("rb", buffering=0) as file:
            content = file.read(_FIRST_BYTES)
            if begins_like_jpeg(content) and len(content) == _FIRST_BYTES:
                content += file.read(_PLAIN_BYTES)
    found = plain_jpeg(content) if len(content) <= _PLAIN_BYTES else None
    return found if found is not None and found.width * found.height <= _LARGE else None


def _opened(path: Path | bytes) -> ImageFile.ImageFile:
    file = io.BytesIO(path) if isinstance(path, bytes) else path
    image = Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
    image.filename = ""  # else Pillow maps plain files into memory, and then mixes up the rows of turned TIFFs
    return image


def _holds_several(path: Path | bytes, image: ImageFile.ImageFile) -> bool:
    if image.format == "MPO":  # a photograph with its preview
        return False
    if image.format == "GIF":  # to find out, Pillow goes to the next image
        with _opened(path) as other:
            return bool(getattr(other, "is_animated", False))
    return bool(getattr(image, "is_animated", False))


def _memory(image: ImageFile.ImageFile, bytes_per_pixel: int, full_pixels: int = 0) -> int:
    """Bytes that decoding takes at most; `full_pixels` are those of the file, where fewer are decoded.

    Raises:
        TooLargeError: more than MOST_BYTES.
    """
    width, height = image.size
    taken = width * height * bytes_per_pixel
    if image.info.get("progressive"):
        taken += full_pixels * _BYTES_PER_COEFFICIENTS
    if taken > MOST_BYTES:
        raise TooLargeError(f"{width:,} x {height:,} pixels")
    return taken


def _upright(image: Image.Image, facts: set[Fact]) -> Image.Image:
    """The image, decoded, and turned as its EXIF orientation says; Pillow itself turns TIFFs."""
    tiles = getattr(image, "tile", ())  # of an image that is not decoded yet
    steps = {_STEPS[tile.args] for tile in tiles if isinstance(tile.args, str) and tile.args in _STEPS}
    image.load()
    clear = image.info.get("transparency")
    if steps and isinstance(clear, int):
        image.info["transparency"] = clear * 255 // steps.pop()  # Pillow has done so with the pixels alone
    orientation = _orientation(image)
    if orientation is None:
        facts.add("unreadable EXIF")
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _upright_shape(image: ImageFile.ImageFile) -> Shape:
    """Width and height after `_upright`, from the header alone."""
    width, height = image.size
    is_turned = image.format != "TIFF" and width != height and (_orientation(image) or 1) in _ON_THEIR_SIDE
    return (height, width) if is_turned else (width, height)


def _orientation(image: Image.Image) -> int | None:
    """Of EXIF; 1 where there are no EXIF data, None where they cannot be read."""
    try:
        exif = image.getexif()
    except Exception:  # noqa: BLE001 (whatever broken data lead to: the pixels are whole)
        return None
    if "exif" in image.info and not exif:  # Pillow leaves out what it cannot read
        return None
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else None


def in_colour(image: Image.Image, size: int, resize: Resize, facts: set[Fact]) -> npt.NDArray[np.uint8]:
    """RGB, over grey where it is transparent: uint8 [size, size, 3]."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A").histogram()
        if alpha[255] < sum(alpha):
            facts.add("wholly transparent" if alpha[0] == sum(alpha) else "transparent")
            return _over_grey(resized(image, size, resize))  # colours are weighted by their alpha
    return resized(image.convert("RGB"), size, resize)


def _over_grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    colours, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    return ((colours * alpha + GREY * (255 - alpha) + 127) // 255).astype(np.uint8)
