from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifar_tune.data.depth import Span
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError

from .images import noise, write_folder
from .permissions import as_nobody


def spec(root: Path, **fields: Any) -> DataSpec:
    return DataSpec(name="image_folder", root=str(root), **fields)


def test_jpegs_are_decoded_class_by_class_in_the_order_of_names(jpeg_root: Path) -> None:
    prepared = prepare(spec(jpeg_root))
    paths = sorted((jpeg_root / "train").glob("*/*.jpg"))
    assert len(paths) == 300
    assert prepared.classes == tuple(sorted(folder.name for folder in (jpeg_root / "train").iterdir()))
    assert [prepared.classes[label] for label in prepared.labels] == [path.parent.name for path in paths]
    images = prepared.open_images()
    for image, path in zip(images, paths, strict=True):
        assert (image == np.asarray(Image.open(path).convert("RGB"))).all()
    assert (len(prepared.train_indices), len(prepared.val_indices)) == (270, 30)


def test_the_test_part_is_loaded_apart(jpeg_root: Path) -> None:
    images, labels, classes = load_test(spec(jpeg_root))
    paths = sorted((jpeg_root / "test").glob("*/*.jpg"))
    assert [classes[label] for label in labels] == [path.parent.name for path in paths]
    assert (images[7] == np.asarray(Image.open(paths[7]).convert("RGB"))).all()


def test_progress_counts_up_to_all_images(jpeg_root: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepare(spec(jpeg_root), lambda done, total: calls.append((done, total)))
    assert calls[-1] == (300, 300)
    assert calls == sorted(calls)


def test_no_file_of_the_test_split_is_opened(folder: Path) -> None:
    before = prepare(spec(folder)).fingerprint
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes(b"garbage")
    (folder / "train/ant/000.png").touch()  # decode again
    assert prepare(spec(folder)).fingerprint == before
    with pytest.raises(UserError, match=r"test.ant.000\.png: cannot be read as an image"):
        load_test(spec(folder))


def test_without_a_test_folder_no_image_that_is_held_out_is_opened(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 30, "bee": 30})
    held_out, _, _ = load_test(spec(tmp_path))
    assert len(held_out) == 10
    paths = sorted((tmp_path / "train").rglob("*.png"))
    contents = {np.asarray(Image.open(path)).tobytes(): path for path in paths}
    victims = {contents[image.tobytes()] for image in held_out}
    for path in victims:
        path.write_bytes(b"garbage")

    prepared = prepare(spec(tmp_path, split_seed=1))
    kept = {contents[image.tobytes()] for image in prepared.open_images()}
    assert kept == set(paths) - victims
    with pytest.raises(UserError) as raised:
        load_test(spec(tmp_path))
    assert {problem.source for problem in raised.value.problems} == {str(path) for path in victims}


def test_what_is_held_out_does_not_depend_on_split_seed(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 30, "bee": 30})
    first, second = (load_test(spec(tmp_path, split_seed=seed))[0] for seed in (0, 1))
    assert (first == second).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(folder: Path, mode: str) -> None:
    image = Image.fromarray(noise(99)).convert(mode)
    suffix = ".tiff" if mode in ("CMYK", "YCbCr") else ".png"
    image.save(folder / f"train/ant/00{suffix}")
    first = prepare(spec(folder)).open_images()[0]
    assert (first == np.asarray(image.convert("RGB"))).all()


def test_grey_of_16_bits_is_scaled(folder: Path) -> None:
    grey = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 64
    Image.fromarray(grey).save(folder / "train/ant/00.png")
    first = prepare(spec(folder)).open_images()[0]
    assert (first == (grey >> 8)[:, :, None]).all()


def deep(path: Path, largest: int) -> None:
    """Noise of 16 bits that holds 0 to `largest`."""
    grey = noise(int(path.stem) + largest, channels=1)[..., 0].astype(np.uint16) * (largest // 255)
    grey[0, :2] = 0, largest
    Image.fromarray(grey).save(path)


@pytest.fixture
def deep_folder(folder: Path) -> Path:
    """Training images of 12 bits; test images of 14 bits."""
    for path in (folder / "train").rglob("*.png"):
        deep(path, 4095)
    for path in (folder / "test").rglob("*.png"):
        deep(path, 16383)
    return folder


def test_test_images_are_scaled_as_the_training_images_are(deep_folder: Path) -> None:
    prepared = prepare(spec(deep_folder))
    assert prepared.notes == (
        f"40 of 40 images have more than 8 bits per channel and hold whole numbers from 0 to 4,095: 0 becomes 0 and "
        f"4,095 becomes 255 (such as {deep_folder}/train/ant/000.png)",
    )
    images, _, _ = load_test(spec(deep_folder))
    stored = np.asarray(Image.open(deep_folder / "test/ant/000.png"))
    assert stored.max() == 16383
    assert (images[0] == (stored.clip(0, 4095) >> 4)[..., None]).all()


def test_the_scale_is_known_from_the_cache_too(deep_folder: Path) -> None:
    for _ in range(2):
        assert prepare(spec(deep_folder)).ranges == {"whole numbers": Span(0, 4095)}


def test_test_images_are_decoded_again_when_training_images_change_the_scale(deep_folder: Path) -> None:
    before = load_test(spec(deep_folder))[0].copy()
    deep(deep_folder / "train/bee/003.png", 16383)
    after, _, _ = load_test(spec(deep_folder))
    stored = np.asarray(Image.open(deep_folder / "test/ant/000.png"))
    assert (after[0] == (stored >> 6)[..., None]).all()
    assert (before != after).any()


def test_no_test_image_has_a_say_in_the_scale(deep_folder: Path) -> None:
    before = prepare(spec(deep_folder)).fingerprint
    deep(deep_folder / "test/ant/000.png", 65535)
    (deep_folder / "train/ant/000.png").touch()  # decode again
    assert prepare(spec(deep_folder)).fingerprint == before


def test_images_that_are_held_out_are_scaled_as_the_others_are(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(30):
            deep(tmp_path / "train" / name / f"{number}.png", 4095)
    images, _, _ = load_test(spec(tmp_path))
    stored = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "train").rglob("*.png"))]
    scaled = {(values >> 4).astype(np.uint8).tobytes() for values in stored}
    assert len(images) == 10
    assert all(image[..., 0].tobytes() in scaled for image in images)


def test_deep_test_images_beside_shallow_training_images_are_refused(folder: Path) -> None:
    deep(folder / "test/ant/001.png", 4095)
    with pytest.raises(UserError, match=r"test.ant.001\.png: is a test image with more than 8 bits .* in the same way"):
        load_test(spec(folder))


def test_test_images_may_be_alike(folder: Path) -> None:
    """What they look like is nobody's business before they are measured."""
    for path in (folder / "test").rglob("*.png"):
        Image.new("RGB", (32, 32)).save(path)
    assert (load_test(spec(folder))[0] == 0).all()


def test_images_are_resized_without_aliasing(folder: Path) -> None:
    stripes = np.zeros((64, 96, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(folder / "train/ant/00.png")
    prepared = prepare(spec(folder, image_size=16))
    assert prepared.image_shape == (3, 16, 16)
    first = prepared.open_images()[0]
    assert first.shape == (16, 16, 3)
    # Picking single columns would give black or white.
    assert abs(first[:, 2:-2].astype(int) - 127).max() < 20


def test_hidden_and_other_files_are_left_out(folder: Path) -> None:
    before = prepare(spec(folder)).fingerprint
    (folder / "train/ant/.hidden.png").write_bytes(b"")
    (folder / "train/ant/Thumbs.db").write_bytes(b"")
    (folder / "train/readme.txt").write_text("about")
    (folder / "train/.cache").mkdir()
    (folder / "train/ant/folder.png").mkdir()
    assert prepare(spec(folder)).fingerprint == before


def test_suffixes_may_be_capitals(folder: Path) -> None:
    Image.fromarray(noise(99)).save(folder / "train/ant/00.JPG")
    assert len(prepare(spec(folder)).labels) == 41


def test_unreadable_images_are_all_named(folder: Path) -> None:
    (folder / "train/ant/003.png").write_bytes(b"not an image")
    whole = (folder / "train/cow/001.png").read_bytes()
    (folder / "train/cow/001.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train/bee/001.png").write_bytes(b"")
    with pytest.raises(UserError) as raised:
        prepare(spec(folder))
    named = [Path(str(problem.source)).relative_to(folder / "train").as_posix() for problem in raised.value.problems]
    assert named == ["ant/003.png", "bee/001.png", "cow/001.png"]


def test_an_image_that_may_not_be_opened_is_not_called_broken(open_folder: Path) -> None:
    for name in ("train/bee/001.png", "train/ant/003.png"):
        (open_folder / name).chmod(0)
    with as_nobody(), pytest.raises(UserError) as raised:
        prepare(spec(open_folder))
    assert [str(problem) for problem in raised.value.problems] == [
        f"{open_folder}/train/{name}: cannot be opened (Permission denied); the image itself may be whole"
        for name in ("ant/003.png", "bee/001.png")
    ]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_disk_that_fails_is_not_called_a_broken_image(folder: Path) -> None:
    (folder / "train/ant/003.png").unlink()
    (folder / "train/ant/003.png").symlink_to("/proc/self/mem")  # its first byte is an I/O error
    with pytest.raises(UserError, match=r"003\.png: cannot be opened \(Input/output error\); the image itself may"):
        prepare(spec(folder))


def test_many_unreadable_images_are_counted(folder: Path) -> None:
    for path in (folder / "train/ant").iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(UserError) as raised:
        prepare(spec(folder))
    assert len(raised.value.problems) == 11
    assert "and 10 more images" in str(raised.value)


def test_nothing_is_cached_of_a_folder_with_unreadable_images(folder: Path, cache: Path) -> None:
    (folder / "train/ant/003.png").write_bytes(b"not an image")
    with pytest.raises(UserError):
        prepare(spec(folder))
    assert list((cache / "training").iterdir()) == []


def test_a_missing_root_names_the_nearest_folder(folder: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root = .*no such folder \(did you mean .*pictures'\?\)"):
        prepare(spec(folder.parent / "picture"))


def test_a_root_that_is_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="must be a folder, not a file"):
        prepare(spec(folder / "train/ant/000.png"))


@pytest.mark.parametrize("wrong", [".", "pictures/train"])
def test_a_root_one_level_off_names_the_right_one(folder: Path, wrong: str) -> None:
    with pytest.raises(UserError, match=r"must hold a folder train.*did you mean .*pictures'\?"):
        prepare(spec(folder.parent / wrong))


def test_a_misspelt_train_is_named(folder: Path) -> None:
    (folder / "train").rename(folder / "train2017")
    with pytest.raises(UserError, match=r"must hold a folder train.*it holds 'train2017'"):
        prepare(spec(folder))


@pytest.mark.parametrize(("kept", "found"), [(["ant"], "only 'ant'"), ([], "none")])
def test_fewer_than_two_classes_are_refused(folder: Path, kept: list[str], found: str) -> None:
    for path in (folder / "train").iterdir():
        if path.name not in kept:
            path.rename(folder / path.name)
    with pytest.raises(UserError, match=f"at least two; found {found}"):
        prepare(spec(folder))


def test_empty_classes_are_all_named(folder: Path) -> None:
    for name in ("dog", "elk"):
        (folder / "train" / name).mkdir()
        (folder / "test" / name).mkdir()
    with pytest.raises(UserError, match=r"train.dog: holds no image[^\n]*\n.*train.elk: holds no image"):
        prepare(spec(folder))


def test_train_and_test_must_hold_the_same_classes(folder: Path) -> None:
    (folder / "test/cow").rename(folder / "test/crow")
    message = "same classes: test lacks 'cow'; train lacks 'crow'"
    with pytest.raises(UserError, match=message):
        prepare(spec(folder))
    with pytest.raises(UserError, match=message):
        load_test(spec(folder))
