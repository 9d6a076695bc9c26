"""Large images, and many at once: decoding keeps to a bounded memory, and what is too large is named."""

import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from cifar_tune.data import image_files, image_reading
from cifar_tune.data.image_files import decode_files
from cifar_tune.errors import UserError
from tests.waiting import PATIENCE

from .image_kinds import OTHER, SIZE, decode_in_a_process, decoded, saved
from .images import chunk, png


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
