"""A short way to the pixels of plain JPEG files: three times as fast for images as small as CIFAR-10's.

Pillow spends most of its time on a small JPEG on the header. A plain file needs nothing from there but its size: it is
a baseline JPEG, grey or in colour, without EXIF data and without a second image. The markers tell (ITU-T T.81, annex
B). Its bytes then go to the decoder that `Image.open` uses, with the same settings, so the pixels are the same. All
other files take the long way.
"""

from dataclasses import dataclass

from PIL import Image

_BEGINNING = b"\xff\xd8\xff"
_BASELINE, _SCAN = 0xC0, 0xDA
_ICC_MARKER, _ICC = 0xE2, b"ICC_PROFILE\0"
_HARMLESS = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE})
"""Huffman tables, quantization tables, restart intervals, JFIF, Adobe's colour transform (the decoder reads it), and
comments."""

_MODES = {1: "L", 3: "RGB"}
"""Pillow's mode, by the number of components."""


@dataclass(frozen=True, slots=True)
class PlainJpeg:
    """The bytes of a plain JPEG, and what its header says.

    Attributes:
        mode: L or RGB, as Pillow calls it.
    """

    content: bytes
    mode: str
    width: int
    height: int

    def decoded(self) -> Image.Image | None:
        """The image; None where the file is broken. The long way finds out what is wrong, and says so."""
        try:
            return Image.frombytes(self.mode, (self.width, self.height), self.content, "jpeg", self.mode, "")
        except Exception:  # noqa: BLE001 (Pillow raises almost anything on broken files)
            return None


def begins_like_jpeg(beginning: bytes) -> bool:
    """Whether a file with these first bytes may be a JPEG."""
    return beginning.startswith(_BEGINNING)


def plain_jpeg(content: bytes) -> PlainJpeg | None:
    """The file as a plain JPEG; None where it holds anything else.

    Args:
        content: all bytes of the file.
    """
    if not begins_like_jpeg(content):
        return None
    found = None
    place, end = len(_BEGINNING) - 1, len(content) - 9
    while place < end and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == _SCAN:
            return found
        if marker == _BASELINE and found is None and content[place + 4] == 8:
            height, width = (int.from_bytes(content[place + at : place + at + 2]) for at in (5, 7))
            mode = _MODES.get(content[place + 9])
            found = PlainJpeg(content, mode, width, height) if mode and width and height else None
        elif marker not in _HARMLESS and not (marker == _ICC_MARKER and content.startswith(_ICC, place + 4)):
            return None
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return None
