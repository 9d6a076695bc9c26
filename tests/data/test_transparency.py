"""What is transparent is shown over grey, in every kind of image file."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .image_kinds import GREY, INK, NEEDS_PILLOW_13, OTHER, SIZE, Bytes, decoded, la, palette, rgba, saved
from .images import noise, png


def over_grey(colour: Bytes | int, alpha: Bytes) -> Bytes:
    """What is to come out: uint8 [H, W, 3]."""
    shown = np.broadcast_to(np.asarray(colour, dtype=float).reshape((*np.shape(colour), 1)[:3]), (*alpha.shape, 3))
    opaque = alpha[..., None] / 255
    return np.rint(shown * opaque + GREY * (1 - opaque)).astype(np.uint8)


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
