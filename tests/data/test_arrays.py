"""Images in .npz and .npy files."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cifar_tune.data.prepared import prepare
from cifar_tune.data.resizing import resized
from cifar_tune.data.sources import arrays
from cifar_tune.data.sources.array_files import read_array
from cifar_tune.data.sources.folder_layout import FOLDER_NAMES
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError
from cifar_tune.prediction.inputs import GivenImage
from cifar_tune.prediction.reading import ImageReader

from .images import png

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(24) % 3


def spec(root: Path, **fields: Any) -> DataSpec:
    return DataSpec(name="arrays", root=str(root), image_size=16, **fields)


def saved(folder: Path, **arrays: npt.NDArray[Any]) -> Path:
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes one for allow_pickle
    return folder / "data.npz"


def refusal(folder: Path, **arrays: npt.NDArray[Any]) -> str:
    with pytest.raises(UserError) as raised:
        prepare(spec(saved(folder, **arrays)))
    return str(raised.value)


def test_three_splits(tmp_path: Path) -> None:
    """As MedMNIST saves them: labels in a column of their own."""
    file = saved(
        tmp_path,
        train_images=PIXELS[:12],
        train_labels=LABELS[:12, None],
        val_images=PIXELS[12:18],
        val_labels=LABELS[12:18, None],
        test_images=PIXELS[18:],
        test_labels=LABELS[18:, None],
        class_names=np.array(["ant", "bee", "cow"]),
    )
    prepared = prepare(spec(file))
    assert (prepared.open_images() == PIXELS[:18]).all()
    assert (prepared.labels == LABELS[:18]).all()
    assert prepared.classes == ("ant", "bee", "cow")
    assert prepared.val_indices.tolist() == list(range(12, 18))
    images, labels, _ = load_test(spec(file))
    assert (images == PIXELS[18:]).all()
    assert (labels == LABELS[18:]).all()


def test_a_folder_of_files_is_what_an_archive_is(tmp_path: Path) -> None:
    np.save(tmp_path / "x_train.npy", PIXELS)
    np.save(tmp_path / "y_train.npy", LABELS)
    whole = prepare(spec(saved(tmp_path, images=PIXELS, labels=LABELS)))
    assert prepare(spec(tmp_path)).fingerprint == whole.fingerprint
    assert len(whole.labels) == 20  # a sixth is held out
    assert len(load_test(spec(tmp_path))[1]) == 4


def test_the_test_arrays_are_not_opened(tmp_path: Path) -> None:
    for name, values in (("x_train", PIXELS), ("y_train", LABELS)):
        np.save(tmp_path / f"{name}.npy", values)
    for name in ("x_test", "y_test"):
        (tmp_path / f"{name}.npy").write_bytes(b"garbage")
    assert len(prepare(spec(tmp_path)).labels) == 24
    with pytest.raises(UserError, match="y_test cannot be read"):
        load_test(spec(tmp_path))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (PIXELS.transpose(0, 3, 1, 2), PIXELS),
        (PIXELS[..., 0], PIXELS[..., :1]),
        (PIXELS[..., :1], PIXELS[..., :1]),
        (PIXELS / np.float32(255), PIXELS),
        (PIXELS > 99, np.where(PIXELS > 99, 255, 0)),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
    ],
)
def test_pixels_of_any_kind_become_bytes(tmp_path: Path, values: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> None:
    found = prepare(spec(saved(tmp_path, x_train=values, y_train=LABELS, x_test=values, y_test=LABELS)))
    assert (found.open_images() == wanted).all()


def test_images_that_are_not_square(tmp_path: Path) -> None:
    wide = np.random.default_rng(1).integers(0, 256, (24, 10, 30, 3), dtype=np.uint8)
    file = saved(tmp_path, x=wide, y=LABELS)
    first = Image.fromarray(wide[0])
    prepared = prepare(spec(file))
    assert prepared.reshaping.startswith("all images are 30 x 10 pixels; they are squashed")
    assert (prepared.open_images()[0] == resized(first, 16)).all()
    assert (prepare(spec(file, resize="pad")).open_images()[0] == resized(first, 16, "pad")).all()


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    assert "needs arrays such as x_train and y_train, or images and labels; it has a" in refusal(tmp_path, a=LABELS)
    assert "has x_train for training, but no labels" in refusal(tmp_path, x_train=PIXELS)
    assert "x has 24 images and y 23 labels" in refusal(tmp_path, x=PIXELS, y=LABELS[1:])
    assert "y must hold one label per image" in refusal(tmp_path, x=PIXELS, y=np.eye(24))
    assert "x must hold images as numbers" in refusal(tmp_path, x=PIXELS.reshape(24, -1), y=LABELS)
    assert "y cannot be read" in refusal(tmp_path, x=PIXELS, y=LABELS.astype(object))  # would be unpickled
    assert "no numbers" in refusal(tmp_path, x=np.full((24, 4, 4), np.nan), y=LABELS)
    odd: dict[str, npt.NDArray[Any]] = {"x_train": PIXELS, "y_train": LABELS, "x_val": PIXELS, "y_val": LABELS + 1}
    assert "y_val holds 3, which is no label of a training image" in refusal(tmp_path, **odd)
    (tmp_path / "no.npz").write_text("no")
    with pytest.raises(UserError, match=r"is no \.npz file"):
        prepare(spec(tmp_path / "no.npz"))
    with pytest.raises(UserError, match="there is no such file or folder"):
        prepare(spec(tmp_path / "nowhere.npz"))


FRACTIONS = (PIXELS / 255).astype(np.float32)
IN_BYTES: dict[str, npt.NDArray[Any]] = {"x_train": PIXELS, "y_train": LABELS}
IN_FRACTIONS: dict[str, npt.NDArray[Any]] = {"x_train": FRACTIONS, "y_train": LABELS}


@pytest.mark.parametrize(
    ("training", "validation", "words"),
    [
        (IN_BYTES, FRACTIONS, "x_val holds float32, and x_train uint8: save the images of all splits in the same way"),
        (IN_FRACTIONS, PIXELS, "x_val holds uint8, and x_train float32"),
        (IN_FRACTIONS, PIXELS.astype(np.float32), "x_val holds float32 from 0 to 255, and x_train float32, of which 0"),
        (IN_BYTES, PIXELS.astype(np.int16) * 10, "x_val holds int16 from 0 to 2550"),
        (IN_BYTES, PIXELS.astype(np.int16) // 99, "x_val holds int16 from 0 to 2"),
        (IN_BYTES, PIXELS > 9, "x_val holds bool, and x_train uint8"),
        (IN_FRACTIONS, np.where(LABELS[:, None, None, None] == 0, np.nan, FRACTIONS), "x_val holds values that are no"),
    ],
)
def test_splits_that_are_stored_in_different_ways_are_refused(
    tmp_path: Path, training: dict[str, npt.NDArray[Any]], validation: npt.NDArray[Any], words: str
) -> None:
    """Decoded with the range of the training images they would be black, white or cut off."""
    assert words in refusal(tmp_path, **training, x_val=validation, y_val=LABELS)
    file = saved(tmp_path, **training, x_test=validation, y_test=LABELS)
    if words.endswith(("float32", "uint8", "same way")):  # their headers say it
        with pytest.raises(UserError, match="x_test"):
            prepare(spec(file))
        return
    prepare(spec(file))
    with pytest.raises(UserError, match="x_test"):
        load_test(spec(file))


def test_bytes_in_a_wider_type_are_the_same_images(tmp_path: Path) -> None:
    found = prepare(spec(saved(tmp_path, **IN_BYTES, x_val=PIXELS.astype(np.int64), y_val=LABELS)))
    assert (found.open_images()[-24:] == PIXELS).all()


def test_held_out_images_do_not_decide_the_range(tmp_path: Path) -> None:
    file = saved(tmp_path, x=FRACTIONS, y=LABELS)
    kept = {image.tobytes() for image in prepare(spec(file)).open_images()}
    is_held_out = np.array([image.tobytes() not in kept for image in PIXELS])
    assert is_held_out.sum() == 4
    brighter = np.where(is_held_out[:, None, None, None], FRACTIONS * 3, FRACTIONS)
    assert (prepare(spec(saved(tmp_path, x=brighter, y=LABELS))).open_images() == PIXELS[~is_held_out]).all()


def test_names_of_classes_that_people_cannot_tell_apart(tmp_path: Path) -> None:
    def told(*names: str | bytes) -> str:
        return refusal(tmp_path, **IN_BYTES, classes=np.array(names))

    assert "classes names 'ant' twice" in told("ant", "ant", "cow")
    assert "the labels 'ant' and ' ant' differ only in spaces" in told("ant", " ant", "cow")
    assert "the label '' is empty" in told("", "ant", "cow")
    assert "classes holds bytes that are not UTF-8 text" in told(b"\xff", b"ant", b"cow")
    assert "the label '\\ud800' is no text" in told("\ud800", "ant", "cow")
    labels = np.array([b"\xff", b"a", b"b"] * 8)
    assert "y holds bytes that are not UTF-8 text" in refusal(tmp_path, x=PIXELS, y=labels)
    file = saved(tmp_path, **IN_BYTES, classes=np.array([b"ant", b"bee", b"cow"]))
    assert prepare(spec(file)).classes == ("ant", "bee", "cow")


def test_arrays_that_mean_the_same(tmp_path: Path) -> None:
    assert "has x_train and train_images, which mean the same" in refusal(tmp_path, **IN_BYTES, train_images=PIXELS)
    content = io.BytesIO()
    np.save(content, LABELS)
    file = saved(tmp_path, x=PIXELS, y=LABELS)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("y.npy", content.getvalue())
    with pytest.raises(UserError, match="holds two arrays of the name y: save each of them once"):
        prepare(spec(file))


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def shaped(shape: str) -> bytes:
    return header(f"{{'descr': '<u1', 'fortran_order': False, 'shape': {shape}}}")


BROKEN = [b"", b"\x93NUMPY\x01\x00", *map(header, ("{", "'''", "[" * 5000, "  x\n y"))]
BROKEN += map(shaped, ("(10**12,)", "(10000000000000,)", "(-1,)", f"({9**30},)", "(3, 0)"))


@pytest.mark.parametrize("content", BROKEN)
def test_broken_arrays_are_told_whatever_numpy_raises(tmp_path: Path, content: bytes) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    (tmp_path / "y.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"y (cannot be read|must hold one label per image)"):
        prepare(spec(tmp_path))
    with zipfile.ZipFile(tmp_path / "all.npz", "w") as archive:
        for name in ("x", "y"):
            archive.write(tmp_path / f"{name}.npy", f"{name}.npy")
    with pytest.raises(UserError, match=r"y (cannot be read|must hold one label per image)"):
        prepare(spec(tmp_path / "all.npz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_broken_archives_are_told_whatever_their_codec_raises(tmp_path: Path, method: int) -> None:
    file = tmp_path / "data.npz"
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, values in (("x", PIXELS), ("y", LABELS)):
            content = io.BytesIO()
            np.save(content, values)
            archive.writestr(f"{name}.npy", content.getvalue())
    whole = file.read_bytes()
    for place in (60, 300, 2000):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(UserError, match="x cannot be read"):
            prepare(spec(file))
    for cut in (b"", b"PK\x03\x04", whole[:-30]):
        file.write_bytes(cut)
        with pytest.raises(UserError, match=r"is no \.npz file, or is damaged"):
            prepare(spec(file))


def test_an_array_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, **IN_BYTES)
    monkeypatch.setattr(os, "sysconf", lambda _: 10)
    with pytest.raises(UserError, match="y_train cannot be read: it needs more memory than this machine has"):
        prepare(spec(file))


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    os.mkfifo(tmp_path / "y.npy")
    with pytest.raises(UserError, match="y cannot be read: it is no regular file"):
        prepare(spec(tmp_path))
    os.mkfifo(tmp_path / "data.npz")
    with pytest.raises(UserError, match="it is no regular file"):
        prepare(spec(tmp_path / "data.npz"))
    with pytest.raises(UserError, match="give the folder of this file"):
        prepare(spec(tmp_path / "x.npy"))


def as_tiff(values: npt.NDArray[Any]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values).save(content, "TIFF")
    return content.getvalue()


DEEP = np.random.default_rng(2).integers(0, 4096, (24, 16, 16, 4)).astype(np.uint16)


@pytest.mark.parametrize(
    ("values", "as_file"),
    [
        (DEEP[..., 0], lambda each: png(each, 0, 16)),
        (DEEP[..., :3], lambda each: png(each, 2, 16)),
        (DEEP, lambda each: png(each, 6, 16)),
        (DEEP * np.array([1, 1, 1, 16], dtype=np.uint16), lambda each: png(each, 6, 16)),
        (DEEP[..., 0] * np.int32(16), as_tiff),
        (DEEP[..., 0] + np.uint16(30_000), as_tiff),
        (DEEP[..., 0] / np.float32(4095), as_tiff),
    ],
)
def test_the_same_values_in_a_file_become_the_same_bytes(
    tmp_path: Path, values: npt.NDArray[Any], as_file: Callable[[npt.NDArray[Any]], bytes]
) -> None:
    """So that `predict` shows a model what its training saw."""
    prepared = prepare(spec(saved(tmp_path, x_train=values, y_train=LABELS, x_test=values, y_test=LABELS)))
    reader = ImageReader(16, prepared.ranges, prepared.resize)
    found = reader.read([GivenImage(str(index), as_file(each)) for index, each in enumerate(values)])
    assert not found.unreadable
    assert (found.pixels == prepared.open_images()).all()


def test_the_page_on_data_names_every_array() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    section = page.partition("## Arrays")[2].partition("\n## ")[0]
    splits = [word for words in FOLDER_NAMES.values() for word in words]
    names = [*arrays._IMAGES, *arrays._LABELS, *arrays._CLASSES, *splits]
    assert [name for name in names if f"`{name}`" not in section] == []


@pytest.mark.parametrize("in_folder", [True, False])
def test_a_test_split_of_another_type_is_seen_before_it_is_opened(
    tmp_path: Path, in_folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the header: the images of the test split are never read for it."""
    values: dict[str, npt.NDArray[Any]] = {**IN_BYTES, "x_test": FRACTIONS, "y_test": LABELS}
    read: list[str] = []

    def noted(path: Path, name: str) -> npt.NDArray[Any]:
        read.append(name)
        return read_array(path, name)

    monkeypatch.setattr(arrays, "read_array", noted)
    root = tmp_path if in_folder else saved(tmp_path, **values)
    for name, each in values.items() if in_folder else ():
        np.save(tmp_path / f"{name}.npy", each)
    with pytest.raises(UserError, match="x_test holds float32, and x_train uint8: save the images of all splits in"):
        prepare(spec(root))
    assert read
    assert "x_test" not in read
