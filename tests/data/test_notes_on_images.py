"""What is said of images: that they are alike, or that a file holds several."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_tune.data.image_files import decode_files
from cifar_tune.errors import UserError

from .image_kinds import OTHER, SIZE, UPRIGHT, decoded, saved
from .images import noise


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", ".gif"), ("TIFF", ".tif"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_the_first_of_several_images_is_used_and_that_is_said(tmp_path: Path, kind: str, suffix: str) -> None:
    first, second = Image.fromarray(UPRIGHT), Image.fromarray(noise(12, SIZE))
    options = {"lossless": True} if kind == "WEBP" else {}
    image, notes = decoded(tmp_path, saved(first, kind, save_all=True, append_images=[second], **options), suffix)
    assert (image == np.asarray(first.convert("P").convert("RGB") if kind == "GIF" else first)).all() or kind == "GIF"
    assert notes == [
        f"1 of 2 images is the first of several in the same file: the others are not used (such as image{suffix})"
    ]


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
