"""Test images are looked at before the training, and what is wrong with them opens nothing."""

import shutil
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from optuna.storages import RDBStorage
from PIL import Image

from cifar_tune.data.cache import cache_folder
from cifar_tune.data.resizing import resized
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError
from cifar_tune.study import finalizing
from cifar_tune.study.finalizing import finalize
from tests.data.images import write_folder
from tests.reports.factory import MadeTrial

from .left_by_a_run import LR, openings, run, store


@pytest.mark.parametrize("has_test_folder", [True, False])
def test_test_images_that_cannot_be_read_are_found_before_the_training(
    storage: RDBStorage, tmp_path: Path, has_test_folder: bool
) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    if has_test_folder:
        write_folder(tmp_path / "images" / "test", {"ant": 4, "bee": 4}, seed=1)
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    test_image = load_test(DataSpec(**folder))[0][0]  # type: ignore[arg-type]
    shutil.rmtree(cache_folder())
    [broken] = [path for path in (tmp_path / "images").rglob("*.png") if (pixels(path) == test_image).all()]
    whole = broken.read_bytes()
    broken.write_bytes(b"garbage")
    said: list[str] = []
    with pytest.raises(UserError, match=f"{broken}: cannot be read as an image"):
        finalize(storage, "made", "cpu", said.append)
    assert said == []  # no epoch
    assert openings(storage) == []
    broken.write_bytes(whole)
    [opening], _ = run(storage)
    assert (opening.train_images, opening.test_images) == ((80, 8) if has_test_folder else (67, 13))


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    """As `image_size: 8` makes them of such an image."""
    return resized(Image.open(path), 8)


def test_test_images_that_break_during_the_training_are_not_an_opening(
    storage: RDBStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    write_folder(tmp_path / "images" / "test", {"ant": 4, "bee": 4})
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    broken = tmp_path / "images" / "test" / "ant" / "000.png"
    whole = broken.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(finalizing, "load_test", lambda spec: [broken.write_bytes(b"garbage"), load_test(spec)][1])
        with pytest.raises(UserError, match="cannot be read as an image"):
            run(storage)
    assert openings(storage) == []
    broken.write_bytes(whole)
    [opening], _ = run(storage)
    assert (opening.train_images, opening.test_images) == (80, 8)


def test_a_test_split_of_other_classes_is_refused_before_the_training(storage: RDBStorage, tmp_path: Path) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    write_folder(tmp_path / "images" / "test", {"ant": 4, "bee": 4})
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    (tmp_path / "images" / "test" / "bee").rename(tmp_path / "images" / "test" / "cow")
    said: list[str] = []
    with pytest.raises(UserError, match="test lacks 'bee'; train lacks 'cow'"):
        finalize(storage, "made", "cpu", said.append)
    shutil.rmtree(tmp_path / "images" / "test" / "cow")
    (tmp_path / "images" / "test" / "bee").mkdir()  # no image at all
    with pytest.raises(UserError, match="holds no image"):
        finalize(storage, "made", "cpu", said.append)
    assert said == []
    assert openings(storage) == []


def test_classes_are_compared_when_the_images_are_opened_too(made: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalizing, "load_test", lambda spec: (*load_test(spec)[:2], tuple("9876543210")))
    with pytest.raises(UserError, match="the test split has other classes"):
        run(made)
    assert openings(made) == []


def test_classes_are_compared_before_the_training(made: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalizing, "decode_test", lambda _: (tuple("9876543210"), ()))
    said: list[str] = []
    with pytest.raises(UserError, match="the test split has other classes"):
        finalize(made, "made", "cpu", said.append)
    assert said == []


def test_a_validation_folder_is_trained_on_too(storage: RDBStorage, tmp_path: Path) -> None:
    for number, (split, count) in enumerate((("train", 40), ("validation", 9), ("Test", 4))):
        write_folder(tmp_path / "images" / split, {"ant": count, "bee": count}, seed=number)
    (tmp_path / "images/Test/ant/notes").write_text("not an image")  # not opened before
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    [opening], said = run(storage)
    assert (opening.train_images, opening.test_images) == (98, 8)
    assert opening.analysis is not None
    for mistake in opening.analysis.mistakes:
        path = tmp_path / "images" / str(mistake.path)
        assert path.parent == tmp_path / "images" / "Test" / ("ant", "bee")[mistake.true]
        with Image.open(BytesIO(b64decode(mistake.picture.partition(",")[2]))) as picture:
            assert (np.asarray(picture) == pixels(path)).all()
    assert [line for line in said if line.startswith("note: test images: ")] == [
        "note: test images: left out, not an image that can be read: 1 ('Test/ant/notes')"
    ]
    assert any("on 98 images: 80 of the training and 18 of the validation split" in line for line in said)


def test_other_images_are_refused(storage: RDBStorage, tmp_path: Path) -> None:
    write_folder(tmp_path / "images" / "train", {"ant": 40, "bee": 40})
    folder = {"name": "image_folder", "root": str(tmp_path / "images"), "image_size": 8, "val_size": 10}
    store(storage, [MadeTrial(LR, 0.8, epochs=2)], folder)
    write_folder(tmp_path / "more", {"ant": 1}, seed=7)
    (tmp_path / "more" / "ant" / "000.png").replace(tmp_path / "images" / "train" / "ant" / "000.png")
    with pytest.raises(UserError, match="the images are not those that the study 'made' was run on"):
        run(storage)
