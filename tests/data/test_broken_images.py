"""Broken and hostile files are decoded or refused, and nothing but what we say reaches stderr."""

import io
import struct
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_tune.data.image_files import decode_files
from cifar_tune.errors import UserError
from tests.exhaustive import few_of

from .image_kinds import (
    OTHER,
    RAMP,
    SIZE,
    UPRIGHT,
    decode_in_a_process,
    decoded,
    deep_tiff,
    la,
    oriented,
    palette,
    rgba,
    saved,
    tiff,
)
from .images import noise, png


def test_a_program_for_ghostscript_is_not_run(tmp_path: Path) -> None:
    """Pillow opens EPS files by their content, whatever they are called."""
    file = io.BytesIO()
    Image.fromarray(OTHER).save(file, "EPS")
    assert Image.open(file).format == "EPS"
    with pytest.raises(UserError, match="cannot identify image file"):
        decoded(tmp_path, file.getvalue(), ".png")


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
