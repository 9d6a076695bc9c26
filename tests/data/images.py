"""Makes images for tests."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.data.prepared import PreparedData


def noise(seed: int, size: int = 32, channels: int = 3) -> npt.NDArray[np.uint8]:
    """uint8 [size, size, channels]."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


def oblong(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise of any shape."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_folder(part: Path, counts: Mapping[str, int], suffix: str = ".png", seed: int = 0) -> None:
    """`part/<class>/000.png` and so on: noise, different in every file."""
    number = 1000 * seed
    for name, count in counts.items():
        (part / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(noise(number)).save(part / name / f"{index:03d}{suffix}")
            number += 1


def prepared_data(
    folder: Path,
    train: int,
    val: int = 4,
    size: int = 8,
    pixels: Callable[[int], npt.NDArray[np.uint8]] | None = None,
) -> PreparedData:
    """Prepared data without a source: validation images first, then training images; label = index modulo 10.

    `pixels(index)` is uint8 [size, size, 3], by default noise.
    """
    count = train + val
    images = np.stack([(pixels or (lambda index: noise(index, size)))(index) for index in range(count)])
    path = folder / f"{train}-{val}-{size}.images.npy"
    np.save(path, images)
    return PreparedData(
        images_path=path,
        labels=np.arange(count, dtype=np.int64) % 10,
        classes=tuple("0123456789"),
        fingerprint="f" * 64,
        train_indices=np.arange(val, count, dtype=np.int64),
        val_indices=np.arange(val, dtype=np.int64),
        image_shape=(3, size, size),
    )


def index_as_colour(index: int, size: int = 8) -> npt.NDArray[np.uint8]:
    """An image all of one colour that tells its index: red + 256 * green."""
    return np.full((size, size, 3), (index % 256, index // 256, 0), dtype=np.uint8)


def png(
    values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    colour_type: int,
    bits: int,
    chunks: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG file of any kind, also of those that Pillow does not write.

    Args:
        values: [H, W] or [H, W, channels].
        colour_type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
        bits: per channel.
        chunks: names and contents of chunks before the pixels, such as PLTE and tRNS.
    """
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        each = np.unpackbits(rows.astype(np.uint8)[:, :, None], axis=2)[:, :, 8 - bits :]
        packed = np.packbits(each.reshape(height, -1), axis=1)
    pixels = np.concatenate([np.zeros((height, 1), dtype=np.uint8), packed], axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(pixels.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, content) for name, content in parts)


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
