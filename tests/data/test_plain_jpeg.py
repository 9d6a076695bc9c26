"""The short way to the pixels of plain JPEG files gives what the long way gives, and takes plain files only."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from cifar_tune.data import image_reading
from cifar_tune.data.image_reading import MOST_BYTES, Reading, Room, make_ready, read
from cifar_tune.data.plain_jpeg import PlainJpeg, plain_jpeg

from .images import noise

_PICTURE = Image.fromarray(noise(3, 48))
_ROTATED = Image.Exif()
_ROTATED[0x0112] = 6


def jpeg(image: Image.Image = _PICTURE, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


PLAIN: dict[str, bytes] = {
    "colour": jpeg(),
    "grey": jpeg(_PICTURE.convert("L")),
    "not subsampled": jpeg(quality=95, subsampling=0),
    "subsampled in width": jpeg(subsampling=1),
    "as RGB": jpeg(keep_rgb=True),
    "odd size": jpeg(_PICTURE.crop((0, 0, 7, 31))),
    "restart intervals": jpeg(restart_marker_rows=1),
    "comment": jpeg(comment=b"a comment"),
    "colour profile": jpeg(icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    "bytes behind its end": jpeg() + b"more",
}
OTHER: dict[str, bytes] = {
    "turned by EXIF": jpeg(exif=_ROTATED.tobytes()),
    "turned by XMP": jpeg(xmp=b'<x:xmpmeta xmlns:tiff="t"><tiff:Orientation="6"/></x:xmpmeta>'),
    "progressive": jpeg(progressive=True),
    "CMYK": jpeg(_PICTURE.convert("CMYK")),
    "cut in the header": jpeg()[:80],
    "nothing but a beginning": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "empty": b"",
    "a segment without end": b"\xff\xd8\xff\xe0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
}
BROKEN: dict[str, bytes] = {
    "cut in the pixels": jpeg()[:-40],
    "damaged tables": jpeg().replace(b"\xff\xc4", b"\xff\xc4\x00", 1),
    "damaged pixels": jpeg()[:-300] + b"\xff\xd9" + jpeg()[-300:],
}


def outcome(content: bytes) -> tuple[Reading | str, npt.NDArray[np.uint8]]:
    """What reading gives: facts, or the error; and the pixels."""
    make_ready()
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    try:
        reading: Reading | str = read(content, pixels, {}, Room(MOST_BYTES))
    except Exception as error:  # noqa: BLE001 (Pillow raises almost anything on broken files)
        reading = repr(error).partition(" object at ")[0]
    return reading, pixels


@pytest.mark.parametrize("content", [*PLAIN.values(), *OTHER.values(), *BROKEN.values()], ids=[*PLAIN, *OTHER, *BROKEN])
def test_both_ways_give_the_same(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    short, pixels = outcome(content)
    monkeypatch.setattr(image_reading, "_plain", lambda _path: None)
    long, expected = outcome(content)
    assert short == long
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_take_the_short_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", _refused)
    reading, pixels = outcome(PLAIN[name])
    assert isinstance(reading, Reading), reading
    assert pixels.any()


@pytest.mark.parametrize("name", OTHER)
def test_other_files_take_the_long_way(name: str) -> None:
    assert plain_jpeg(OTHER[name]) is None


def test_a_large_plain_file_takes_the_long_way_where_it_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Callable[[PlainJpeg], Image.Image | None] = PlainJpeg.decoded
    seen: list[PlainJpeg] = []

    def noted(self: PlainJpeg) -> Image.Image | None:
        seen.append(self)
        return decoded(self)

    monkeypatch.setattr(PlainJpeg, "decoded", noted)
    for width in (2000, 2001):
        outcome(jpeg(Image.new("L", (width, 2000))))
    assert [each.width for each in seen] == [2000]


def _refused(*_arguments: object, **_options: object) -> None:
    raise AssertionError("opened the long way")
