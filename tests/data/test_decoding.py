"""Every kind of image file becomes the pixels that it shows: transparency, depth, colour spaces, orientation."""

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from cifar_tune.data import image_files, image_reading
from cifar_tune.data.depth import Span, range_of
from cifar_tune.data.image_files import decode_files
from cifar_tune.data.spec import Resize
from cifar_tune.errors import UserError
from tests.exhaustive import few_of
from tests.waiting import PATIENCE

from .images import chunk, noise, png

Bytes = npt.NDArray[np.uint8]

NEEDS_PILLOW_13 = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older ones refuse these files")

SIZE = 16
GREY = 128
INK = noise(1, SIZE, 1)[..., 0]
"""A shape with every shade, and with wholly transparent and wholly opaque pixels in it."""
INK[0, 0], INK[0, 1] = 0, 255
OTHER = noise(2, SIZE)


def decoded(
    tmp_path: Path, content: bytes, suffix: str, *others: bytes, size: int = SIZE, resize: Resize | None = None
) -> tuple[Bytes, list[str]]:
    """The image, decoded beside one of 8 bits and those given, and the notes without names of files."""
    Image.fromarray(OTHER).save(tmp_path / "other.png")
    paths = [tmp_path / f"image{suffix}", tmp_path / "other.png"]
    paths[0].write_bytes(content)
    for number, other in enumerate(others):
        paths.append(tmp_path / f"{number}{suffix}")
        paths[-1].write_bytes(other)
    images = np.zeros((len(paths), size, size, 3), dtype=np.uint8)
    notes = decode_files(paths, images, None, resize=resize).notes
    return images[0], [note.replace(str(tmp_path) + "/", "") for note in notes]


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def over_grey(colour: Bytes | int, alpha: Bytes) -> Bytes:
    """What is to come out: uint8 [H, W, 3]."""
    shown = np.broadcast_to(np.asarray(colour, dtype=float).reshape((*np.shape(colour), 1)[:3]), (*alpha.shape, 3))
    opaque = alpha[..., None] / 255
    return np.rint(shown * opaque + GREY * (1 - opaque)).astype(np.uint8)


# Transparency


def rgba(shade: int) -> Image.Image:
    return Image.fromarray(np.dstack([np.full((SIZE, SIZE, 3), shade, dtype=np.uint8), INK]))


def la(shade: int) -> Image.Image:
    return Image.merge("LA", [Image.new("L", (SIZE, SIZE), shade), Image.fromarray(INK)])


def palette(shade: int) -> bytes:
    """Each colour is the same shade; what tells them apart is their alpha."""
    colours = bytes([shade] * 3 * 256)
    return png(INK, 3, 8, [(b"PLTE", colours), (b"tRNS", bytes(range(256)))])


def palette_with_alpha(shade: int) -> bytes:
    image = Image.frombytes("PA", (SIZE, SIZE), np.dstack([np.zeros_like(INK), INK]).tobytes())
    image.putpalette([shade] * 768)
    return saved(image, "TIFF")


SHAPES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "RGBA, PNG": (".png", lambda shade: saved(rgba(shade), "PNG")),
    "RGBA, TIFF": (".tiff", lambda shade: saved(rgba(shade), "TIFF")),
    "RGBA, WebP": (".webp", lambda shade: saved(rgba(shade), "WEBP", lossless=True, exact=True)),
    "LA, PNG": (".png", lambda shade: saved(la(shade), "PNG")),
    "LA, TIFF": (".tiff", lambda shade: saved(la(shade), "TIFF")),
    "PA, TIFF": (".tiff", palette_with_alpha),
    "palette with tRNS, PNG": (".png", palette),
    "16 bits, LA, PNG": (".png", lambda shade: png(np.dstack([np.full_like(INK, shade), INK]) * np.uint16(257), 4, 16)),
    "16 bits, RGBA, PNG": (
        ".png",
        lambda shade: png(np.dstack([np.full((SIZE, SIZE, 3), shade, np.uint8), INK]) * np.uint16(257), 6, 16),
    ),
}


@pytest.mark.parametrize("shade", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_shape_that_lies_in_the_alpha_channel_alone_is_seen(tmp_path: Path, kind: str, shade: int) -> None:
    suffix, make = SHAPES[kind]
    full = [png(np.full((SIZE, SIZE), 65535, dtype=np.uint16), 0, 16)] if kind.startswith("16") else []
    image, notes = decoded(tmp_path, make(shade), suffix, *full)
    assert (image == over_grey(shade, INK)).all()
    assert (
        f"1 of {2 + len(full)} images is partly transparent: the background becomes grey (128, 128, 128) "
        f"(such as image{suffix})" in notes
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_one_grey_value_that_is_transparent(tmp_path: Path, bits: int) -> None:
    """Pillow scales the pixels of 2 and 4 bits to 255, and not the value."""
    most = 2**bits - 1
    values = np.rint(INK / 255 * most).astype(np.uint16 if bits == 16 else np.uint8)
    transparent = int(values[3, 3])
    image, _ = decoded(tmp_path, png(values, 0, bits, [(b"tRNS", struct.pack(">H", transparent))]), ".png")
    shades = values >> 8 if bits == 16 else np.rint(values * (255 / most))
    assert (image == np.where(values == transparent, GREY, shades)[..., None]).all()
    assert (image[values == transparent] == GREY).all()
    assert (values == transparent).any()


@pytest.mark.parametrize("bits", [8, 16])
def test_one_colour_that_is_transparent(tmp_path: Path, bits: int) -> None:
    values = noise(3, SIZE) * (np.uint16(257) if bits == 16 else np.uint8(1))
    values[:5, :5] = values[5, 5]
    colour = struct.pack(">HHH", *values[5, 5].tolist())
    image, _ = decoded(tmp_path, png(values, 2, bits, [(b"tRNS", colour)]), ".png")
    clear = (values == values[5, 5]).all(axis=2)
    assert clear.sum() == 26
    assert (image == np.where(clear[..., None], GREY, values >> (bits - 8))).all()


def test_a_transparent_entry_of_a_palette(tmp_path: Path) -> None:
    indices = noise(4, SIZE, 1)[..., 0] % 4
    colours = np.array([[10, 20, 30], [0, 0, 0], [255, 255, 255], [200, 100, 0]], dtype=np.uint8)
    wanted = colours[indices]
    wanted[indices == 1] = GREY
    as_png = png(indices, 3, 2, [(b"PLTE", colours.tobytes()), (b"tRNS", b"\xff\x00")])
    assert (decoded(tmp_path, as_png, ".png")[0] == wanted).all()
    gif = Image.fromarray(indices, "P")
    gif.putpalette(colours.tobytes())
    image, _ = decoded(tmp_path, saved(gif, "GIF", transparency=1, optimize=False), ".gif")
    assert (image == wanted).all()


@pytest.mark.parametrize("mode", ["RGBA", pytest.param("LA", marks=NEEDS_PILLOW_13)])
def test_premultiplied_alpha(tmp_path: Path, mode: str) -> None:
    """TIFFs whose colours are weighted by their alpha already: ExtraSamples is 1."""
    image = rgba(255) if mode == "RGBA" else la(255)
    content = saved(image, "TIFF", tiffinfo={338: 2})
    entry = struct.pack("<HHII", 338, 3, 1, 2)
    assert content.count(entry) == 1
    white = np.array(image)
    white[..., :-1] = white[..., -1:]
    weighted = saved(Image.fromarray(white, mode), "TIFF", tiffinfo={338: 2})
    image_, _ = decoded(tmp_path, weighted.replace(entry, struct.pack("<HHII", 338, 3, 1, 1)), ".tiff")
    assert abs(image_.astype(int) - over_grey(255, INK)).max() <= 1


def test_colours_that_cannot_be_seen_do_not_show_when_the_image_shrinks(tmp_path: Path) -> None:
    alpha = np.zeros((64, 64), dtype=np.uint8)
    alpha[16:48] = 255
    colours = np.where(alpha[..., None] == 255, np.uint8(200), noise(5, 64))
    image, _ = decoded(tmp_path, saved(Image.fromarray(np.dstack([colours, alpha])), "PNG"), ".png", size=8)
    assert (image[[0, -1]] == GREY).all()
    assert (image[3:5] == 200).all()
    assert ((image >= GREY) & (image <= 200)).all()


def test_an_alpha_channel_that_hides_nothing_changes_nothing(tmp_path: Path) -> None:
    content = saved(Image.fromarray(np.dstack([OTHER, np.full((SIZE, SIZE), 255, np.uint8)])), "PNG")
    image, notes = decoded(tmp_path, content, ".png", saved(Image.fromarray(noise(6, SIZE)), "PNG"))
    assert (image == OTHER).all()
    assert notes == []


def test_an_image_that_shows_nothing_is_noted(tmp_path: Path) -> None:
    image, notes = decoded(tmp_path, saved(Image.new("RGBA", (SIZE, SIZE), (9, 8, 7, 0)), "PNG"), ".png")
    assert (image == GREY).all()
    assert notes == ["1 of 2 images is wholly transparent: nothing but plain grey is left (such as image.png)"]


# Depth

RAMP = np.arange(SIZE * SIZE, dtype=np.int64).reshape(SIZE, SIZE)


def tiff(values: npt.NDArray[Any], **options: Any) -> bytes:
    return saved(Image.fromarray(values), "TIFF", **options)


DEEP: dict[str, tuple[bytes, str, npt.NDArray[Any], str]] = {
    "bytes in a PNG of 16 bits": (
        png(RAMP.astype(np.uint16), 0, 16), ".png", RAMP, "whole numbers from 0 to 255: 0 becomes 0 and 255 becomes 255"
    ),
    "12 bits in a PNG of 16": (
        png((RAMP * 16 + 15).astype(np.uint16), 0, 16), ".png", RAMP,
        "whole numbers from 15 to 4,095: 0 becomes 0 and 4,095 becomes 255",
    ),
    "10 bits in a TIFF of 16": (
        tiff((RAMP * 4).astype(np.uint16)), ".tif", RAMP,
        "whole numbers from 0 to 1,020: 0 becomes 0 and 1,023 becomes 255",
    ),
    "all 16 bits": (
        png((RAMP * 257).astype(np.uint16), 0, 16), ".png", RAMP,
        "whole numbers from 0 to 65,535: 0 becomes 0 and 65,535 becomes 255",
    ),
    "16 bits, the other byte order, compressed": (
        saved(Image.fromarray((RAMP * 257).astype(">u2")), "TIFF", compression="tiff_lzw"), ".tif", RAMP,
        "whole numbers from 0 to 65,535: 0 becomes 0 and 65,535 becomes 255",
    ),
    "int32 that holds bytes": (
        tiff(RAMP.astype(np.int32)), ".tif", RAMP, "whole numbers from 0 to 255: 0 becomes 0 and 255 becomes 255"
    ),
    "int32 with 20 bits": (
        tiff((RAMP << 12).astype(np.int32)), ".tif", RAMP,
        "whole numbers from 0 to 1,044,480: 0 becomes 0 and 1,048,575 becomes 255",
    ),
    "Hounsfield units": (
        tiff((RAMP * 16 - 1020).astype(np.int32)), ".tif", RAMP,
        "whole numbers from -1,020 to 3,060: -1,020 becomes 0 and 3,060 becomes 255",
    ),
    "temperatures": (
        tiff((RAMP * 10 + 29000).astype(np.uint16)), ".tif", RAMP,
        "whole numbers from 29,000 to 31,550: 29,000 becomes 0 and 31,550 becomes 255",
    ),
    "0 and 1": (
        tiff((RAMP % 2).astype(np.int32)), ".tif", RAMP % 2 * 255,
        "whole numbers from 0 to 1: 0 becomes 0 and 1 becomes 255",
    ),
    "0 to 16": (
        tiff((RAMP % 17).astype(np.uint16)), ".tif", np.rint(RAMP % 17 * 255 / 16),
        "whole numbers from 0 to 16: 0 becomes 0 and 16 becomes 255",
    ),
    "fractions": (
        tiff((RAMP / 255).astype(np.float32)), ".tif", RAMP, "fractions from 0 to 1: 0 becomes 0 and 1 becomes 255"
    ),
    "fractions after resizing": (
        tiff((RAMP / 240 - 0.03).astype(np.float32)), ".tif", np.rint((RAMP / 240 - 0.03).clip(0, 1) * 255),
        "fractions from -0.03 to 1.033: 0 becomes 0 and 1 becomes 255",
    ),
    "-1 to 1": (
        tiff((RAMP / 127.5 - 1).astype(np.float32)), ".tif", RAMP,
        "fractions from -1 to 1: -1 becomes 0 and 1 becomes 255"
    ),
    "floats that hold bytes": (
        tiff(RAMP.astype(np.float32)), ".tif", RAMP, "fractions from 0 to 255: 0 becomes 0 and 255 becomes 255"
    ),
    "other floats": (
        tiff((RAMP / 51 + 7).astype(np.float32), compression="tiff_deflate"), ".tif", RAMP,
        "fractions from 7 to 12: 7 becomes 0 and 12 becomes 255",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEEP)
def test_values_of_more_than_8_bits_become_bytes(tmp_path: Path, kind: str) -> None:
    content, suffix, wanted, words = DEEP[kind]
    image, notes = decoded(tmp_path, content, suffix)
    assert (image == wanted[..., None]).all()
    assert notes == [f"1 of 2 images has more than 8 bits per channel and holds {words} (such as image{suffix})"]


def deep_tiff(values: npt.NDArray[np.uint16], order: str, is_compressed: bool = False) -> bytes:
    """Three or four channels (RGB or CMYK) of 16 bits each, which Pillow does not write.

    Args:
        values: [H, W, channels].
        order: `<` or `>`.
        is_compressed: by deflate; then libtiff decodes it.
    """
    height, width, channels = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    strip = zlib.compress(pixels) if is_compressed else pixels
    count = 9
    offset = 8 + 2 + 12 * count + 4
    short, long = 3, 4
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, channels, offset + len(strip)),  # bits per channel, after the pixels
        (259, long, 1, 8 if is_compressed else 1),
        (262, long, 1, 2 if channels == 3 else 5),  # RGB or CMYK
        (273, long, 1, offset),
        (277, long, 1, channels),
        (278, long, 1, height),
        (279, long, 1, len(strip)),
    ]
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    directory = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return (
        head
        + struct.pack(f"{order}H", count)
        + directory
        + bytes(4)
        + strip
        + struct.pack(f"{order}{channels}H", *[16] * channels)
    )


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF <", "TIFF >", "TIFF < compressed", "TIFF > compressed"])
def test_colours_of_more_than_8_bits_keep_all_their_bits(tmp_path: Path, kind: str, bits: int) -> None:
    """Pillow alone reads the upper 8 of 16 bits: 12 bits would come out as 0 to 15, and 8 bits as black."""
    wanted = noise(7, SIZE)
    wanted[0, 0] = 255
    values = ((wanted.astype(np.int64) << (bits - 8)) + 2 ** (bits - 8) - 1).astype(np.uint16)
    content = png(values, 2, 16) if kind == "PNG" else deep_tiff(values, kind[5], "compressed" in kind)
    image, _ = decoded(tmp_path, content, ".png" if kind == "PNG" else ".tif")
    assert (image == wanted).all()


def test_cmyk_of_16_bits(tmp_path: Path) -> None:
    eight = noise(8, SIZE, 4)
    eight[0, 0] = 255
    image, _ = decoded(tmp_path, deep_tiff(eight.astype(np.uint16), "<"), ".tif")
    wanted = Image.frombytes("CMYK", (SIZE, SIZE), eight.tobytes()).convert("RGB")
    assert (image == np.asarray(wanted)).all()


def test_the_alpha_of_deep_images_has_the_depth_of_its_colours(tmp_path: Path) -> None:
    """Bytes that were only stored in 16 bits have an alpha of 255 where nothing is hidden."""
    eight = np.dstack([noise(9, SIZE), np.full((SIZE, SIZE), 255, dtype=np.uint8)])
    eight[0, 0] = 255
    image, _ = decoded(tmp_path, png(eight.astype(np.uint16), 6, 16), ".png")
    assert (image == eight[..., :3]).all()


def test_alpha_does_not_count_among_the_values(tmp_path: Path) -> None:
    """Colours of 12 bits, and an alpha channel that is opaque in 16."""
    wanted = noise(9, SIZE)
    wanted[0, 0] = 255
    values = np.dstack([wanted.astype(np.uint16) * 16 + 15, np.full((SIZE, SIZE), 65535, dtype=np.uint16)])
    image, _ = decoded(tmp_path, png(values.astype(np.uint16), 6, 16), ".png")
    assert (image == wanted).all()


def test_a_dark_image_stays_dark_beside_a_bright_one(tmp_path: Path) -> None:
    dark = png((RAMP // 2).astype(np.uint16), 0, 16)
    alone, _ = decoded(tmp_path, dark, ".png")
    beside, notes = decoded(tmp_path, dark, ".png", png((RAMP * 16).astype(np.uint16), 0, 16))
    assert (alone == (RAMP // 2)[..., None]).all()
    assert (beside == (RAMP // 2 >> 4)[..., None]).all()
    assert notes[0].startswith("2 of 3 images have more than 8 bits per channel and hold whole numbers from 0 to 4,080")


def test_whole_numbers_and_fractions_are_scaled_apart(tmp_path: Path) -> None:
    images = np.zeros((3, SIZE, SIZE, 3), dtype=np.uint8)
    paths = [tmp_path / name for name in ("a.tif", "b.tif", "c.tif")]
    paths[0].write_bytes(tiff((RAMP * 16).astype(np.uint16)))
    paths[1].write_bytes(tiff((RAMP / 255).astype(np.float32)))
    paths[2].write_bytes(tiff(RAMP.astype(np.int32)))
    notes = decode_files(paths, images, None).notes
    assert (images == np.stack([RAMP, RAMP, RAMP >> 4])[..., None]).all()
    assert len(notes) == 2


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_by_name(tmp_path: Path, wrong: float) -> None:
    values = (RAMP / 255).astype(np.float32)
    values[3, 4] = wrong
    with pytest.raises(UserError, match=r"image\.tif: .* \(it holds values that are infinite or not a number"):
        decoded(tmp_path, tiff(values), ".tif")


@pytest.mark.parametrize(
    ("seen", "used"),
    [
        (Span(0, 0), Span(0, 255)), (Span(4000, 4000), Span(0, 4095)),
        (Span(0, 63), Span(0, 63)), (Span(0, 64), Span(0, 255)), (Span(0, 255), Span(0, 255)),
        (Span(0, 256), Span(0, 1023)), (Span(100, 4000), Span(0, 4095)), (Span(0, 4096), Span(0, 16383)),
        (Span(0, 16384), Span(0, 65535)), (Span(0, 65536), Span(0, 131071)), (Span(-5, 100), Span(-5, 100)),
        (Span(0, 2**31 - 1), Span(0, 2**31 - 1)), (Span(-(2**31), 2**31 - 1), Span(-(2**31), 2**31 - 1)),
    ],
)  # fmt: skip
def test_the_range_of_whole_numbers(seen: Span, used: Span) -> None:
    assert range_of("whole numbers", seen) == used


def test_progress_counts_deep_images_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(150)]
    for number, path in enumerate(paths):
        path.write_bytes(png((RAMP + number).astype(np.uint16), 0, 16))
    calls: list[tuple[int, int]] = []
    images = np.zeros((150, SIZE, SIZE, 3), dtype=np.uint8)
    decode_files(paths, images, lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert calls[-1] == (150, 150)
    assert {total for _, total in calls} == {150}


# Colour spaces


@pytest.mark.parametrize("mode", ["CMYK", "LAB", pytest.param("YCbCr", marks=NEEDS_PILLOW_13)])
def test_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    smooth = Image.fromarray(np.dstack([RAMP, RAMP.T, 255 - RAMP]).astype(np.uint8))
    image, _ = decoded(tmp_path, saved(smooth.convert(mode), "TIFF"), ".tif")
    assert abs(image.astype(int) - np.asarray(smooth)).mean() < 3


def test_cmyk_jpegs_of_adobe_are_not_inverted(tmp_path: Path) -> None:
    red = Image.new("RGB", (SIZE, SIZE), (200, 30, 40)).convert("CMYK")
    image, _ = decoded(tmp_path, saved(red, "JPEG", quality=95), ".jpg")
    assert abs(image.astype(int) - (200, 30, 40)).max() <= 4


# Orientation

UPRIGHT = np.kron(noise(10, 4), np.ones((4, 4, 1), dtype=np.uint8))
STORED: dict[int, Callable[[Bytes], Bytes]] = {
    # What has to be done to the upright image to get the stored one, by the EXIF standard.
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


def oriented(kind: str, orientation: int, image: Bytes) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](image)))
    if kind == "TIFF":
        return saved(stored, kind, tiffinfo={0x0112: orientation})
    every: dict[str, dict[str, Any]] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    options = every.get(kind, {})
    return saved(stored, kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_images_are_turned_as_their_exif_data_say(tmp_path: Path, kind: str, orientation: int) -> None:
    content = oriented(kind, orientation, UPRIGHT)
    image, notes = decoded(tmp_path, content, f".{kind.lower()}")
    assert abs(image.astype(int) - UPRIGHT).max() <= (3 if kind == "JPEG" else 0)
    assert notes == []


@pytest.mark.parametrize("orientation", STORED)
def test_oblong_images_are_turned_before_they_are_squared(tmp_path: Path, orientation: int) -> None:
    oblong = np.kron(noise(11, 8)[:, :4], np.ones((4, 4, 1), dtype=np.uint8))
    image, _ = decoded(tmp_path, oriented("PNG", orientation, oblong), ".png", resize="squash")
    assert (image == np.asarray(Image.fromarray(oblong).resize((SIZE, SIZE), Image.Resampling.BILINEAR))).all()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGBA", "CMYK", "RGB"])
def test_plain_tiffs_are_turned_whatever_their_mode(tmp_path: Path, mode: str, orientation: int) -> None:
    """Pillow maps most of them into memory, where they lie in a file, and does not turn these rightly."""
    values = noise(12, 4 * SIZE, 4)[: 2 * SIZE]
    upright = Image.fromarray(values) if mode == "RGBA" else Image.fromarray(values[..., :3])
    if mode == "I;16":
        upright = Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    elif mode != "RGBA":
        upright = upright.convert(mode)
    pixels = np.ascontiguousarray(STORED[orientation](np.asarray(upright)))
    stored = Image.fromarray(pixels, None if mode == "I;16" else mode)
    if mode == "P":
        stored.putpalette(upright.getpalette() or ())
    turned = {0x0112: orientation}
    image, _ = decoded(tmp_path, saved(stored, "TIFF", tiffinfo=turned), ".tif", resize="squash")
    (tmp_path / "again").mkdir()
    wanted, _ = decoded(tmp_path / "again", saved(upright, "TIFF"), ".tif", resize="squash")
    assert (image == wanted).all()


@pytest.mark.parametrize("depth", ["I;16", "RGB of 16 bits"])
def test_deep_images_are_turned_too(tmp_path: Path, depth: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = RAMP.astype(np.uint16) if depth == "I;16" else UPRIGHT.astype(np.uint16)
    turned = np.ascontiguousarray(np.rot90(values))
    content = png(turned, 0 if depth == "I;16" else 2, 16, [(b"eXIf", exif.tobytes()[6:])])
    image, _ = decoded(tmp_path, content, ".png")
    assert (image == (values[..., None] if values.ndim == 2 else values)).all()


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0MM\0*\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0",  # the orientation is a text
    ],
)
def test_broken_exif_data_do_not_make_an_image_unreadable(tmp_path: Path, exif: bytes) -> None:
    content = saved(Image.fromarray(UPRIGHT), "JPEG", quality=100, subsampling=0, exif=exif)
    image, notes = decoded(tmp_path, content, ".jpg")
    assert abs(image.astype(int) - UPRIGHT).max() <= 3
    assert notes == [
        "1 of 2 images is stored with broken EXIF data, so it is not known which way is up (such as image.jpg)"
    ]


# Several images in a file


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", ".gif"), ("TIFF", ".tif"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_the_first_of_several_images_is_used_and_that_is_said(tmp_path: Path, kind: str, suffix: str) -> None:
    first, second = Image.fromarray(UPRIGHT), Image.fromarray(noise(12, SIZE))
    options = {"lossless": True} if kind == "WEBP" else {}
    image, notes = decoded(tmp_path, saved(first, kind, save_all=True, append_images=[second], **options), suffix)
    assert (image == np.asarray(first.convert("P").convert("RGB") if kind == "GIF" else first)).all() or kind == "GIF"
    assert notes == [
        f"1 of 2 images is the first of several in the same file: the others are not used (such as image{suffix})"
    ]


# Size


def photo(width: int, height: int, **options: Any) -> bytes:
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = across, down[:, None], 90
    return saved(Image.fromarray(pixels), "JPEG", quality=95, **options)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path: Path, progressive: bool) -> None:
    content = photo(2600, 1900, progressive=progressive)
    image, _ = decoded(tmp_path, content, ".jpg", resize="squash")
    wanted = Image.open(io.BytesIO(content)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    assert abs(image.astype(int) - np.asarray(wanted)).max() <= 1


def test_an_ordinary_jpeg_is_decoded_in_full(tmp_path: Path) -> None:
    content = photo(800, 600)
    image, _ = decoded(tmp_path, content, ".jpg", resize="squash")
    wanted = Image.open(io.BytesIO(content)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    assert (image == np.asarray(wanted)).all()


def write_bomb(path: Path) -> None:
    """13,000 x 13,000 black pixels in 164 KB."""
    side = 13_000
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 + side)) for _ in range(side)) + packer.flush()
    small = png(np.zeros((1, 1), dtype=np.uint8), 0, 8)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b"")]
    path.write_bytes(small[:8] + b"".join(chunk(name, content) for name, content in parts))


DECODES = """
import resource, sys
from pathlib import Path
import numpy as np
from cifar_tune.cli.whole_process import silence_warnings
from cifar_tune.data.image_files import decode_files
from cifar_tune.errors import UserError
silence_warnings()  # as `main` does
paths = sorted(Path(sys.argv[1]).iterdir())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(*decode_files(paths, np.zeros((len(paths), 16, 16, 3), dtype=np.uint8), None).notes, sep="\\n")
except UserError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def decode_in_a_process(folder: Path) -> tuple[list[str], int, str]:
    """What it printed, the most memory in MB, and stderr."""
    done = subprocess.run([sys.executable, "-c", DECODES, str(folder)], capture_output=True, text=True, check=True)
    *printed, memory = done.stdout.splitlines()
    return printed, int(memory), done.stderr


def test_an_image_that_is_small_on_disk_and_huge_in_memory_is_refused_by_name(tmp_path: Path) -> None:
    write_bomb(tmp_path / "0.png")
    assert (tmp_path / "0.png").stat().st_size < 200_000
    for number in range(1, 16):
        (tmp_path / f"{number}.png").hardlink_to(tmp_path / "0.png")
    printed, memory, errors = decode_in_a_process(tmp_path)
    assert printed[0] == (
        f"{tmp_path}/0.png: is too large to be decoded (13,000 x 13,000 pixels take more than 800 MB of memory): save "
        f"it smaller, for instance with ImageMagick: mogrify -resize 1024x1024 FILE"
    )
    assert len(printed) == 11
    assert memory < 100
    assert errors == ""


def test_what_pillow_refuses_to_open_for_its_size_gets_the_same_way_on(tmp_path: Path) -> None:
    header = png(np.zeros((1, 1), dtype=np.uint8), 0, 8)
    huge = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    with pytest.raises(
        UserError, match=r"is too large to be decoded \(more than 178,956,970 pixels .*: save it smaller"
    ):
        decoded(tmp_path, header[:8] + huge + header[33:], ".png")


def test_images_that_are_decoded_at_the_same_time_share_a_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen threads, and images of which two fit into the memory at once."""
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr(image_files, "MOST_BYTES", 7_000_000)
    monkeypatch.setattr(image_files, "_FILES_PER_TASK", 1)
    for number in range(16):
        Image.new("RGB", (500, 500), (number, number, number)).save(tmp_path / f"{number:02d}.png")
    at_once, most = 0, 0
    both = threading.Barrier(2)
    lock = threading.Lock()
    load = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> object:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        both.wait(PATIENCE)  # goes on only if two are decoded at once
        with lock:
            at_once -= 1
        return load(image)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", counted)
    images = np.zeros((16, SIZE, SIZE, 3), dtype=np.uint8)
    decode_files(sorted(tmp_path.iterdir()), images, None)
    assert images[:, 0, 0, 0].tolist() == list(range(16))
    assert most == 2


def test_an_image_for_which_the_memory_does_not_suffice_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: ImageFile.ImageFile) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with pytest.raises(UserError, match=r"image\.png: cannot be decoded, since the memory does not suffice"):
        decoded(tmp_path, saved(Image.fromarray(OTHER), "PNG"), ".png")


def test_an_interruption_waits_for_no_further_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for number in range(300):
        Image.new("L", (SIZE, SIZE), number % 256).save(tmp_path / f"{number:03d}.png")
    is_closing = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown
    later: list[str] = []

    def closing(pool: ThreadPoolExecutor, **options: bool) -> None:
        is_closing.set()
        shutdown(pool, **options)

    def read(path: Path, *arguments: Any) -> image_reading.Reading:
        if int(path.stem) >= 64:
            assert is_closing.wait(PATIENCE)
            later.append(path.name)
        return image_reading.read(path, *arguments)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", closing)
    monkeypatch.setattr(image_files, "read", read)
    with pytest.raises(KeyboardInterrupt):
        decode_files(sorted(tmp_path.iterdir()), np.zeros((300, SIZE, SIZE, 3), dtype=np.uint8), interrupt)
    assert len(later) <= 2  # one in each thread


def test_a_program_for_ghostscript_is_not_run(tmp_path: Path) -> None:
    """Pillow opens EPS files by their content, whatever they are called."""
    file = io.BytesIO()
    Image.fromarray(OTHER).save(file, "EPS")
    assert Image.open(file).format == "EPS"
    with pytest.raises(UserError, match="cannot identify image file"):
        decoded(tmp_path, file.getvalue(), ".png")


# Images that are alike


def test_images_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    same = saved(Image.fromarray(OTHER), "PNG")
    with pytest.raises(UserError, match=r"data: all 3 images are the same once they are decoded.*look at .*image\.png"):
        decoded(tmp_path, same, ".png", same)


def test_one_that_differs_is_enough_not_to_be_refused(tmp_path: Path) -> None:
    paths = []
    for number in range(1500):
        paths.append(tmp_path / f"{number:04d}.png")
        paths[-1].write_bytes(saved(Image.new("L", (SIZE, SIZE), 1 if number == 777 else 0), "PNG"))
    notes = decode_files(paths, np.zeros((1500, SIZE, SIZE, 3), dtype=np.uint8), None).notes
    assert notes == (
        f"the images are nearly alike: their pixels differ by 0 of 255 levels from the mean image; look at some, such "
        f"as {paths[0]}",
    )


def test_images_that_are_nearly_the_same_are_noted(tmp_path: Path) -> None:
    """Masks of 0 and 1 in a file of 8 bits, say: all black to the eye."""
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        Image.fromarray(noise(number, SIZE) % 2).save(path)
    [note] = decode_files(paths, np.zeros((20, SIZE, SIZE, 3), dtype=np.uint8), None).notes
    assert note.startswith(
        "the images are nearly alike: their pixels differ by 0.49 of 255 levels from the mean image;"
    )


def test_real_images_are_not_alike(jpeg_root: Path) -> None:
    paths = sorted((jpeg_root / "train").glob("*/*.jpg"))
    assert decode_files(paths, np.zeros((len(paths), 32, 32, 3), dtype=np.uint8), None).notes == ()


# Nothing but what we say


def test_warnings_of_pillow_and_of_its_libraries_do_not_reach_stderr(tmp_path: Path) -> None:
    Image.fromarray(OTHER).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(palette(0))  # "should be converted to RGBA images"
    Image.new("1", (9500, 9500)).save(tmp_path / "2.png")  # DecompressionBombWarning
    (tmp_path / "3.jpg").write_bytes(saved(Image.fromarray(UPRIGHT), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
    whole = saved(Image.fromarray(OTHER), "TIFF", compression="tiff_lzw", tiffinfo={64000: "unknown to libtiff"})
    (tmp_path / "4.tif").write_bytes(whole)
    (tmp_path / "5.tif").write_bytes(whole.replace(b"\x80", b"\x7f"))
    (tmp_path / "6.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "7.jpg").write_bytes(saved(Image.fromarray(OTHER), "JPEG")[:-40] + b"\xff\xd9")
    of_42_channels = deep_tiff(noise(16, SIZE).astype(np.uint16), "<").replace(
        struct.pack("<HHII", 277, 4, 1, 3), struct.pack("<HHII", 277, 4, 1, 42)
    )
    (tmp_path / "8.tif").write_bytes(of_42_channels)  # Pillow's logger
    printed, _, errors = decode_in_a_process(tmp_path)
    assert [Path(line.split(": ")[0]).name for line in printed] == ["2.png", "5.tif", "6.tif", "8.tif"]
    assert errors == ""


BREAKABLE: Sequence[tuple[str, bytes]] = [
    (".png", saved(rgba(0), "PNG")),
    (".png", palette(0)),
    (".png", png(noise(13, SIZE).astype(np.uint16), 2, 16)),
    (".jpg", oriented("JPEG", 6, UPRIGHT)),
    (".gif", saved(Image.fromarray(OTHER).convert("P"), "GIF", save_all=True, append_images=[Image.new("P", (4, 4))])),
    (".tif", saved(la(0), "TIFF")),
    (".tif", tiff((RAMP / 255).astype(np.float32), compression="tiff_lzw")),
    (".tif", deep_tiff(noise(14, SIZE).astype(np.uint16), ">")),
    (".webp", saved(rgba(0), "WEBP")),
    (".bmp", saved(Image.fromarray(noise(15, SIZE)), "BMP")),
    (".ppm", saved(Image.fromarray(OTHER), "PPM")),
    (".jp2", saved(Image.fromarray(OTHER), "JPEG2000")),
    (".avif", saved(Image.fromarray(OTHER), "AVIF")),
]


@pytest.mark.parametrize("tries", few_of([20, 150], [20]))
@pytest.mark.parametrize("number", range(len(BREAKABLE)))
def test_a_broken_file_is_decoded_or_refused(tmp_path: Path, number: int, tries: int) -> None:
    suffix, whole = BREAKABLE[number]
    random = np.random.default_rng(number)
    for _ in range(tries):
        content = bytearray(whole)
        for place in random.integers(0, len(content), random.integers(1, 6)):
            content[place] = random.integers(0, 256)
        if random.random() < 0.2:
            del content[int(random.integers(0, len(content))) :]
        with suppress(UserError):
            decoded(tmp_path, bytes(content), suffix)


def test_decoding_leaves_the_warnings_of_other_threads_alone(tmp_path: Path) -> None:
    paths = [tmp_path / "0.jpg", tmp_path / "1.jpg"]
    for path, pixels in zip(paths, (UPRIGHT, OTHER), strict=True):
        path.write_bytes(saved(Image.fromarray(pixels), "JPEG", exif=b"Exif\0\0garbage"))
    before, seen = list(warnings.filters), []
    images = np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8)
    decode_files(paths, images, lambda _done, _total: seen.append(list(warnings.filters)))
    assert seen == [before]
