"""Images of any shape become square: how, what decides, and what people are told."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cifar_tune.data.image_files import decode_files
from cifar_tune.data.image_reading import MOST_BYTES, Room, read
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resizing import GREY, Shape, reshaping_words, resized, shape_words, suitable
from cifar_tune.data.spec import DataSpec, Resize
from cifar_tune.data.test_split import load_test

from .images import noise, oblong, write_folder

SIZE = 16


def spec(root: Path, **fields: Any) -> DataSpec:
    return DataSpec(name="image_folder", root=str(root), image_size=SIZE, **fields)


def first(prepared: PreparedData) -> npt.NDArray[np.uint8]:
    image: npt.NDArray[np.uint8] = prepared.open_images()[0]
    return image


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """An image folder in which one training image is 60 x 40 pixels, and one test image 40 x 90."""
    root = tmp_path / "mixed"
    write_folder(root / "train", {"ant": 12, "bee": 12})
    write_folder(root / "test", {"ant": 2, "bee": 2}, seed=1)
    oblong(60, 40).save(root / "train/ant/000.png")
    oblong(40, 90).save(root / "test/ant/000.png")
    return root


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60)])
def test_each_mode_keeps_what_it_says(width: int, height: int) -> None:
    image = oblong(width, height)
    whole = np.asarray(image.resize((width * 2 // 5, height * 2 // 5), Image.Resampling.BILINEAR))
    assert (resized(image, SIZE, "crop") == (whole[:, 4:20] if width > height else whole[4:20])).all()
    assert (resized(image, SIZE) == np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))).all()
    padded = resized(image, SIZE, "pad")
    small = np.asarray(image.resize((16, 11) if width > height else (11, 16), Image.Resampling.BILINEAR))
    inside = padded[2:13] if width > height else padded[:, 2:13]
    assert (inside == small).all()
    assert (padded == GREY).all(axis=-1).sum() == SIZE * SIZE - 11 * 16


@pytest.mark.parametrize("mode", ["squash", "crop", "pad"])
def test_square_images_are_the_same_in_every_mode(mode: Resize) -> None:
    for size in (SIZE, 40):
        image = Image.fromarray(noise(3, size))
        assert (resized(image, SIZE, mode) == resized(image, SIZE)).all()


@pytest.mark.parametrize("mode", ["squash", "crop", "pad"])
def test_the_thinnest_line_has_its_place(mode: Resize) -> None:
    image = Image.new("RGB", (1000, 1), (255, 0, 0))
    assert ((resized(image, SIZE, mode) == (255, 0, 0)).all(axis=-1)).any()


def test_padding_is_transparent_where_the_image_has_an_alpha_channel(tmp_path: Path) -> None:
    image = oblong(60, 40).convert("RGBA")
    image.putpixel((0, 0), (9, 9, 9, 0))
    image.save(tmp_path / "clear.png")
    pixels = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    read(tmp_path / "clear.png", pixels, {}, Room(MOST_BYTES), "pad")
    assert (pixels[[0, 1, -1]] == GREY).all()
    assert not (pixels[5] == GREY).all()


@pytest.mark.parametrize(
    ("shapes", "mode"),
    [
        ({(32, 32): 9}, "squash"),
        ({(32, 32): 9, (500, 500): 1}, "squash"),
        ({(300, 80): 9}, "squash"),
        ({(300, 200): 9, (150, 101): 9}, "squash"),  # one shape, in whole pixels
        ({(300, 200): 9, (200, 300): 1}, "crop"),
        ({(32, 32): 9, (60, 40): 1}, "crop"),
        ({(300, 200): 95, (200, 300): 95, (300, 80): 10}, "crop"),
        ({(300, 200): 95, (200, 300): 94, (300, 80): 11}, "pad"),
    ],
)
def test_the_shapes_decide_where_nobody_says_how(shapes: dict[Shape, int], mode: Resize) -> None:
    assert suitable(shapes) == mode


def test_images_of_several_shapes_are_cropped_and_that_is_said(mixed: Path) -> None:
    prepared = prepare(spec(mixed))
    with Image.open(mixed / "train/ant/000.png") as image:
        assert (first(prepared) == resized(image, SIZE, "crop")).all()
    assert prepared.resize == "crop"
    assert prepared.notes == ()
    assert prepared.reshaping == (
        "1 of 24 images are not square (60 x 40 pixels); they are cropped to the square in their middle, and resized "
        "to 16 x 16 (data.resize: crop; squash or pad is possible too)"
    )
    assert prepared.told() == [prepared.reshaping]  # they were decoded just now
    again = prepare(spec(mixed))
    assert (again.told(), again.told(is_first_time=True)) == ([], [prepared.reshaping])
    assert "width x height before resizing: 32 x 32 (23), 60 x 40 (1)" in prepared.summary()


def test_a_mode_that_is_given_counts_and_leads_to_other_images(mixed: Path) -> None:
    modes: tuple[Resize, ...] = ("squash", "crop", "pad")
    found = {mode: prepare(spec(mixed, resize=mode)) for mode in modes}
    with Image.open(mixed / "train/ant/000.png") as image:
        assert all((first(found[mode]) == resized(image, SIZE, mode)).all() for mode in modes)
    assert len({each.fingerprint for each in found.values()}) == 3
    assert prepare(spec(mixed)).fingerprint == found["crop"].fingerprint


def test_images_of_one_shape_are_the_images_that_they_were(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(6):
            oblong(30, 8, seed=number).save(tmp_path / "train" / name / f"{number}.png")
    prepared = prepare(spec(tmp_path))
    assert prepared.fingerprint == prepare(spec(tmp_path, resize="squash")).fingerprint
    assert prepared.reshaping.startswith("all images are 30 x 8 pixels; they are squashed to 16 x 16")


def test_training_images_decide_for_test_images(mixed: Path) -> None:
    with Image.open(mixed / "test/ant/000.png") as image:
        assert (load_test(spec(mixed))[0][0] == resized(image, SIZE, "crop")).all()
        oblong(32, 32, seed=1).save(mixed / "train/ant/000.png")  # now all of them have one shape
        assert (load_test(spec(mixed))[0][0] == resized(image, SIZE, "squash")).all()


def test_progress_counts_images_of_other_shapes_once(mixed: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepare(spec(mixed), lambda done, total: calls.append((done, total)))
    assert calls[-1] == (20, 20) or calls[-1] == (24, 24)
    assert calls == sorted(calls)


def test_any_other_file_is_decoded_as_the_data_set_was(tmp_path: Path) -> None:
    """Deep images, and images that are not square: what `PreparedData.ranges` and `.resize` are for."""
    root = tmp_path / "train"
    write_folder(root, {"ant": 6, "bee": 6})
    wide = (np.arange(60 * 40, dtype=np.uint16) % 4096).reshape(40, 60)
    for name in ("ant", "bee"):
        Image.fromarray(wide if name == "ant" else wide[::-1].copy()).save(root / name / "deep.png")
    prepared = prepare(spec(tmp_path, ignore=None))
    row = next(row for row, path in enumerate(prepared.paths) if path.endswith("deep.png"))
    pixels = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    reading = read(tmp_path / prepared.paths[row], pixels, prepared.ranges, Room(MOST_BYTES), prepared.resize)
    assert reading.is_done
    assert (pixels == prepared.open_images()[row]).all()
    assert prepared.ranges["whole numbers"].high == 4095


def test_deep_images_are_made_square_as_others_are(tmp_path: Path) -> None:
    Image.fromarray(noise(1)).save(tmp_path / "a.png")
    deep = np.zeros((10, 40), dtype=np.uint16)
    deep[:, 12:28] = 65535
    Image.fromarray(deep).save(tmp_path / "b.png")
    images = np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8)
    decoded = decode_files([tmp_path / "a.png", tmp_path / "b.png"], images, None, resize="crop")
    assert (images[1] == 255).all()
    assert decoded.resize == "crop"


def test_what_is_said_of_shapes_counts_no_square_ones() -> None:
    shapes = {(8, 8): 90, (9, 9): 5, (4, 2): 3, (6, 3): 1, (2, 8): 1}
    assert reshaping_words({(8, 8): 90, (9, 9): 5}, 32, "pad") == ""
    assert reshaping_words(shapes, 32, "pad") == (
        "5 of 100 images are not square (3 shapes; the most frequent is 4 x 2, 3 images; the longest is 2 x 8); they "
        "are resized to fit into 32 x 32 as a whole, and the rest of the square is filled with grey (data.resize: pad; "
        "squash or crop is possible too)"
    )
    assert "they are cropped to the square in their middle, and resized to 32 x 32; 1 of them lose" in (
        reshaping_words(shapes, 32, "crop")
    )


def test_many_shapes_are_counted() -> None:
    assert shape_words({(9, size): 1 for size in range(1, 8)} | {(1000, 9): 3}) == (
        "1,000 x 9 (3), 9 x 1 (1), 9 x 2 (1), 9 x 3 (1), 9 x 4 (1) and 3 others"
    )
