"""From an image of any shape to a square one: squash it, crop it, or pad it."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cifar_tune.data.spec import Resize
from cifar_tune.wording import counted

GREY = 128
"""What padding and transparent pixels become: black and white shapes both stand out from it."""

Shape = tuple[int, int]
"""Width and height in pixels."""

_ALIKE = 1.05
"""The largest quotient of two aspect ratios that still count as one: sizes are rounded to whole pixels."""

_LONG = 2
"""Of an image that is longer than this many times its width, a crop keeps less than half."""

_SHOWN = 5
"""Shapes that are named; the others are counted."""

_FEW = 0.05
"""Up to this share of long images, images are cropped all the same."""


def resized(image: Image.Image, size: int, mode: Resize = "squash") -> npt.NDArray[np.uint8]:
    """Make an image square. Pillow's bilinear filter is antialiased when it shrinks.

    Square images come out the same in every mode.

    Args:
        image: of any shape and any mode of 8 bits; upright.
        size: wanted width and height in pixels.
        mode: squash changes the aspect ratio; crop cuts the square out of the middle; pad keeps everything and fills
            the rest with grey, or with transparent pixels where the image has an alpha channel.

    Returns:
        uint8 [size, size, channels], or [size, size] of an image with one channel.
    """
    if image.size == (size, size):
        return np.asarray(image)
    if mode == "crop":
        return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    if mode == "pad" and image.width != image.height:
        return _padded(image, size)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def _padded(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    # not ImageOps.pad: it makes nothing of an image that would be less than half a pixel wide
    width, height = (max(1, round(length * size / max(image.size))) for length in image.size)
    within = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    fill = 0 if image.mode in ("RGBA", "LA") else GREY
    square = np.full((size, size, *within.shape[2:]), fill, dtype=np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = within
    return square


def suitable(shapes: Mapping[Shape, int]) -> Resize:
    """How images of these shapes are best made square, where nobody has said how.

    Images of one shape are squashed: all change alike, nothing is lost, and what is learned does not depend on it.
    Of different shapes, squashing would give one object many proportions, so they are cropped, as is usual for
    ImageNet: what a photograph shows is in its middle. But where many are so long that a crop would lose more than
    half of them, they are padded.

    Args:
        shapes: how many images have each shape.
    """
    ratios = [width / height for width, height in shapes]
    if not ratios or max(ratios) <= min(ratios) * _ALIKE:
        return "squash"
    return "pad" if _long(shapes) > _FEW * sum(shapes.values()) else "crop"


def reshaping_words(shapes: Mapping[Shape, int], size: int, mode: Resize) -> str:
    """A sentence for people: which images are not square, and what becomes of them. Empty where all are square."""
    oblong = Counter({shape: count for shape, count in shapes.items() if shape[0] != shape[1]})
    if not oblong:
        return ""
    (width, height), most = oblong.most_common(1)[0]
    if len(shapes) == 1:
        what = f"all images are {width:,} x {height:,} pixels"
    else:
        what = f"{oblong.total():,} of {sum(shapes.values()):,} images are not square ("
        if len(oblong) == 1:
            what += f"{width:,} x {height:,} pixels)"
        else:
            longest = max(oblong, key=lambda shape: max(shape) / min(shape))
            what += (
                f"{len(oblong):,} shapes; the most frequent is {width:,} x {height:,}, {counted(most, 'image')}; the "
                f"longest is {longest[0]:,} x {longest[1]:,})"
            )
    long = _long(shapes)
    done = {
        "squash": f"squashed to {size} x {size}, which changes their proportions",
        "crop": f"cropped to the square in their middle, and resized to {size} x {size}"
        + (f"; {long:,} of them lose more than half of their area" if long else ""),
        "pad": f"resized to fit into {size} x {size} as a whole, and the rest of the square is filled with grey",
    }
    others = " or ".join(each for each in ("squash", "crop", "pad") if each != mode)
    return f"{what}; they are {done[mode]} (data.resize: {mode}; {others} is possible too)"


def shape_words(shapes: Mapping[Shape, int]) -> str:
    """The shapes for people, such as `640 x 480 (300), 480 x 640 (12) and 5 others`; the most frequent first."""
    ordered = sorted(shapes.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{width:,} x {height:,} ({count:,})" for (width, height), count in ordered[:_SHOWN]]
    more = len(ordered) - _SHOWN
    return f"{', '.join(shown)} and {counted(more, 'other')}" if more > 0 else ", ".join(shown)


def _long(shapes: Mapping[Shape, int]) -> int:
    return sum(count for shape, count in shapes.items() if max(shape) > _LONG * min(shape))
