"""Values of any depth become bytes, by one scale for all images of a kind, and colours of any space become RGB."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cifar_tune.data.depth import Span, range_of
from cifar_tune.data.image_files import decode_files
from cifar_tune.errors import UserError

from .image_kinds import NEEDS_PILLOW_13, RAMP, SIZE, decoded, deep_tiff, saved, tiff
from .images import noise, png

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


@pytest.mark.parametrize("mode", ["CMYK", "LAB", pytest.param("YCbCr", marks=NEEDS_PILLOW_13)])
def test_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    smooth = Image.fromarray(np.dstack([RAMP, RAMP.T, 255 - RAMP]).astype(np.uint8))
    image, _ = decoded(tmp_path, saved(smooth.convert(mode), "TIFF"), ".tif")
    assert abs(image.astype(int) - np.asarray(smooth)).mean() < 3


def test_cmyk_jpegs_of_adobe_are_not_inverted(tmp_path: Path) -> None:
    red = Image.new("RGB", (SIZE, SIZE), (200, 30, 40)).convert("CMYK")
    image, _ = decoded(tmp_path, saved(red, "JPEG", quality=95), ".jpg")
    assert abs(image.astype(int) - (200, 30, 40)).max() <= 4
