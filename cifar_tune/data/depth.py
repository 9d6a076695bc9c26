"""Images with more than 8 bits per channel: which values they hold, and how these become bytes.

A file does not say which of its values are in use: a PNG of 16 bits may hold all of them, the 12 bits of a camera, or
plain bytes; a TIFF of floats may hold 0 to 1 or 0 to 255. So the smallest and the largest value of all training images
decide, and one range becomes 0 to 255 in every image of the data set.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

Kind = Literal["whole numbers", "fractions"]


@dataclass(frozen=True, slots=True)
class Span:
    """From the smallest to the largest value."""

    low: float
    high: float

    def joined(self, other: "Span") -> "Span":
        """The smallest span that holds both."""
        return Span(min(self.low, other.low), max(self.high, other.high))


_BITS = (8, 10, 12, 14, *range(16, 32))

_USUAL: dict[Kind, tuple[Span, ...]] = {
    "whole numbers": tuple(Span(0, 2**bits - 1) for bits in _BITS),
    "fractions": (Span(0, 1), Span(-1, 1), Span(0, 255)),
}
"""Ranges that programs write, the smallest first."""

_SLACK: dict[Kind, float] = {"whole numbers": 0.0, "fractions": 0.1}
"""How far values may lie outside of a usual range, as a share of it: resizing makes 1.03 of fractions up to 1."""

_LEAST_USED = 0.25

_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_COLOUR_MODES = ("RGB", "RGBX", "RGBA", "CMYK")
_LOW_BYTES = {f"{mode};16{order}": f"{mode};16{other}" for mode in _COLOUR_MODES for order, other in _SWAPPED.items()}
"""Pillow reads colours of 16 bits as their upper bytes. Taken for the other byte order, it reads the lower ones."""

_GREY_WITH_ALPHA = "LA;16B"


def range_of(kind: Kind, seen: Span) -> Span:
    """The range that becomes 0 to 255: the smallest usual one that holds what was seen and of which a quarter is used.

    Where there is none, it is what was seen, as for temperatures of 29,000 to 31,000. A single value lies in the
    smallest usual range: shapes in an alpha channel may all be white.
    """
    for usual in _USUAL[kind]:
        width = usual.high - usual.low
        slack = width * _SLACK[kind]
        is_held = usual.low - slack <= seen.low and seen.high <= usual.high + slack
        if is_held and (seen.high - seen.low >= width * _LEAST_USED or seen.low == seen.high):
            return usual
    return seen


def range_alone(kind: Kind, seen: Span) -> Span:
    """The range that becomes 0 to 255 where nobody knows the training images' one: as most programs write such a file.

    It does not depend on other images, and of whole numbers up to 16 bits not even on the image itself, so that a dark
    image stays dark.
    """
    sixteen = Span(0, 2**16 - 1)
    if kind == "whole numbers" and sixteen.low <= seen.low and seen.high <= sixteen.high:
        return sixteen
    return range_of(kind, seen)


@dataclass(frozen=True, eq=False)
class Deep:
    """An image with more than 8 bits per channel.

    Attributes:
        values: [H, W] or [H, W, C]; uint16, int32 or float32.
        mode: Pillow's mode of such an image of 8 bits: L, LA, RGB, RGBA or CMYK.
        clear: bool [H, W], the pixels that one transparent value makes transparent; None where there is no such value.
    """

    values: npt.NDArray[np.generic]
    mode: str
    clear: npt.NDArray[np.bool_] | None = None

    @property
    def kind(self) -> Kind:
        """Of its values."""
        return "fractions" if self.values.dtype.kind == "f" else "whole numbers"

    @property
    def seen(self) -> Span:
        """The smallest and the largest value of its colours; an alpha channel does not count.

        Raises:
            ValueError: values are infinite or not a number.
        """
        colours = self._channels()[..., :-1] if self.mode in ("LA", "RGBA") else self._channels()
        low, high = float(colours.min()), float(colours.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("it holds values that are infinite or not a number")
        return Span(low, high)

    def in_bytes(self, span: Span) -> Image.Image:
        """The same with 8 bits per channel: `span` becomes 0 to 255, and what lies outside is clipped."""
        channels = _in_bytes(self._channels(), self.kind, span)
        mode = self.mode
        if mode in ("LA", "RGBA"):
            channels[..., -1] = _in_bytes(self._channels()[..., -1], self.kind, Span(0, span.high))
        elif self.clear is not None:
            mode += "A"
            channels = np.dstack([channels, np.where(self.clear, 0, 255).astype(np.uint8)])
        height, width = channels.shape[:2]
        return Image.frombytes(mode, (width, height), channels.tobytes())

    def _channels(self) -> npt.NDArray[np.generic]:
        return self.values if self.values.ndim == 3 else self.values[..., None]


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether it has more than 8 bits per channel, as far as they can be read. It must not be loaded yet."""
    rawmodes = _rawmodes(image)
    return image.mode[0] in "IF" or (bool(rawmodes) and rawmodes <= {*_LOW_BYTES, _GREY_WITH_ALPHA})


def read_deep(
    image: ImageFile.ImageFile,
    reopened: Callable[[], ImageFile.ImageFile],
    load: Callable[[ImageFile.ImageFile], Image.Image],
) -> Deep:
    """Read all bits of the image.

    Args:
        image: not loaded yet, and one for which `is_deep` holds.
        reopened: opens its file once more.
        load: decodes an image and turns it upright.
    """
    if image.mode[0] in "IF":
        values = np.asarray(load(image))
        clear = image.info.get("transparency")
        return Deep(values, "L", values == clear if isinstance(clear, int) else None)
    if _GREY_WITH_ALPHA in _rawmodes(image):
        # The two bytes of grey and the two of alpha, taken for the four bytes of a pixel in colour.
        _replace_rawmodes(image, {_GREY_WITH_ALPHA: "RGBA"})
        parts = np.asarray(load(image)).astype(np.uint16)
        return Deep(parts[..., ::2] << 8 | parts[..., 1::2], "LA")
    with reopened() as other:
        _replace_rawmodes(other, _LOW_BYTES)
        values = np.asarray(load(image)).astype(np.uint16) << 8 | np.asarray(load(other))
    colour = image.info.get("transparency")
    return Deep(values, image.mode, (values == colour).all(axis=2) if isinstance(colour, tuple) else None)


def _in_bytes(values: npt.NDArray[np.generic], kind: Kind, span: Span) -> npt.NDArray[np.uint8]:
    if span.high <= span.low:
        return np.zeros(values.shape, dtype=np.uint8)
    if kind == "whole numbers" and span in _USUAL[kind]:
        # The upper 8 bits, as Pillow has it for colours.
        shift = int(span.high).bit_length() - 8
        return (values.astype(np.int64).clip(0, int(span.high)) >> shift).astype(np.uint8)
    scaled = (values.astype(np.float64).clip(span.low, span.high) - span.low) * (255 / (span.high - span.low))
    return np.rint(scaled).astype(np.uint8)


def _rawmodes(image: ImageFile.ImageFile) -> set[str]:
    """How Pillow is about to unpack the pixels."""
    return {str(tile.args[0] if isinstance(tile.args, tuple) else tile.args) for tile in image.tile}


def _replace_rawmodes(image: ImageFile.ImageFile, new: dict[str, str]) -> None:
    image.tile = [
        tile._replace(args=(new[tile.args[0]], *tile.args[1:]) if isinstance(tile.args, tuple) else new[str(tile.args)])
        for tile in image.tile
    ]
