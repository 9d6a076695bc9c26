"""Images are turned as their EXIF data say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .image_kinds import RAMP, SIZE, STORED, UPRIGHT, decoded, oriented, saved
from .images import noise, png


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
