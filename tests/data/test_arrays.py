"""Images in .npz and .npy files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cifar_tune.data.prepared import prepare
from cifar_tune.data.resizing import resized
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError

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
    from PIL import Image

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
