"""Equal images in different splits are told; test images stay closed but for the hash of their bytes."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from cifar_tune.data import duplicates, image_files
from cifar_tune.data.duplicates import duplicate_lines
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec

from .images import noise, write_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path / "images/train", {"ant": 8, "bee": 8})
    write_folder(tmp_path / "images/val", {"ant": 3, "bee": 3}, seed=1)
    write_folder(tmp_path / "images/test", {"ant": 3, "bee": 3}, seed=2)
    return tmp_path / "images"


def lines(root: Path, seconds: float = 60.0) -> list[str]:
    spec = DataSpec(name="image_folder", root=str(root))
    return list(duplicate_lines(spec, prepare(spec), seconds))


def test_nothing_is_equal(root: Path) -> None:
    assert lines(root) == [
        "equal images (by their pixels, once decoded): 0 of 22 training and validation images repeat another one",
        "equal files (by their bytes; no test image was decoded): 0 of 22 training and validation files are test "
        "files too",
    ]


def test_a_training_image_in_the_validation_split(root: Path) -> None:
    Image.open(root / "val/ant/001.png").save(root / "train/ant/004.bmp")  # another file, the same pixels
    found = lines(root)
    assert found[0].startswith("equal images (by their pixels, once decoded): 1 of 23 ")
    assert found[1] == (
        "note: 1 training image is also in the validation split (such as train/ant/004.bmp, which is "
        "val/ant/001.png): the validation accuracy would be too good; take them out of one of the two"
    )


def test_equal_images_of_two_classes(root: Path) -> None:
    shutil.copy(root / "train/ant/001.png", root / "train/bee/001.png")
    assert lines(root)[1] == (
        "note: 1 image equals an image of another class (such as train/bee/001.png, which is train/ant/001.png): one "
        "of the two labels is wrong"
    )


def test_test_files_are_compared_by_their_bytes_and_never_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(root / "test/ant/002.png", root / "train/bee/005.png")  # whatever their labels are
    lines(root)
    monkeypatch.setattr(image_files, "read", None)  # nothing is decoded any more
    opened: list[Path] = []
    hashed = duplicates._hash
    monkeypatch.setattr(duplicates, "_hash", lambda path: opened.append(path) or hashed(path))  # type: ignore[func-returns-value]
    found = lines(root)
    assert found[-2].startswith(
        "equal files (by their bytes; no test image was decoded): 1 of 22 training and validation files are test files "
    )
    assert found[-1] == (
        "note: 1 training or validation file is also in the test split (such as train/bee/005.png): what finalize "
        "measures would be too good; take them out of training and validation"
    )
    assert not any("test" in line.replace("test split", "").replace("test files", "") for line in found[-1:])
    sizes = {path.stat().st_size for path in (root / "train").rglob("*.png")}
    assert all(path.stat().st_size in sizes for path in opened if "test" in path.parts)


def test_images_that_are_held_out_are_compared_too(root: Path) -> None:
    shutil.rmtree(root / "test")
    for path in (root / "train").rglob("*.png"):
        Image.fromarray(noise(7)).save(path)
    assert any("also in the test split" in line for line in lines(root))


def test_a_table_is_compared_too(root: Path) -> None:
    shutil.copy(root / "test/ant/002.png", root / "train/bee/005.png")
    rows = [f"{path.relative_to(root)},{path.parent.name},{path.parts[-3]}" for path in sorted(root.rglob("*.png"))]
    (root / "labels.csv").write_text("\n".join(["path,label,split", *rows]))
    spec = DataSpec(name="table", root=str(root / "labels.csv"))
    assert "1 training or validation file is also" in list(duplicate_lines(spec, prepare(spec)))[-1]


def test_test_files_that_are_missing_or_closed_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are somebody else's affair until the study is finalized."""
    rows = [f"{path.relative_to(root)},{path.parent.name},{path.parts[-3]}" for path in sorted(root.rglob("*.png"))]
    (root / "labels.csv").write_text("\n".join(["path,label,split", *rows]))
    spec = DataSpec(name="table", root=str(root / "labels.csv"))
    (root / "test/bee/001.png").unlink()
    shutil.copy(root / "test/ant/002.png", root / "train/bee/005.png")
    hashed = duplicates._hash

    def refused(path: Path) -> bytes:
        if path == root / "test/ant/002.png":
            raise PermissionError(13, "Permission denied")
        return hashed(path)

    monkeypatch.setattr(duplicates, "_hash", refused)
    assert list(duplicate_lines(spec, prepare(spec)))[-1].endswith(
        "(by their bytes; no test image was decoded): 0 of 22 training and validation files are test files too; 2 test "
        "files cannot be read here, and only finalize needs to"
    )


def test_what_takes_too_long_is_left(root: Path) -> None:
    shutil.copy(root / "test/ant/002.png", root / "train/bee/005.png")
    found = lines(root, seconds=-1.0)
    assert found[0].startswith("equal images (by their pixels, once decoded): 0 of 22 ")
    assert all("; " in line and line.endswith(" were not compared, since that takes too long") for line in found)
