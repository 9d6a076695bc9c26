"""Image files of every kind, and what they are decoded to."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from PIL import Image

from cifar_tune.data.image_files import decode_files
from cifar_tune.data.spec import Resize

from .images import noise, png

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


def rgba(shade: int) -> Image.Image:
    return Image.fromarray(np.dstack([np.full((SIZE, SIZE, 3), shade, dtype=np.uint8), INK]))


def la(shade: int) -> Image.Image:
    return Image.merge("LA", [Image.new("L", (SIZE, SIZE), shade), Image.fromarray(INK)])


def palette(shade: int) -> bytes:
    """Each colour is the same shade; what tells them apart is their alpha."""
    colours = bytes([shade] * 3 * 256)
    return png(INK, 3, 8, [(b"PLTE", colours), (b"tRNS", bytes(range(256)))])


RAMP = np.arange(SIZE * SIZE, dtype=np.int64).reshape(SIZE, SIZE)


def tiff(values: npt.NDArray[Any], **options: Any) -> bytes:
    return saved(Image.fromarray(values), "TIFF", **options)


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
