"""Decoded images are kept, and used again where nothing has changed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_tune.data.cache import CACHE_VARIABLE, cache_folder
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test

from .conftest import Decodings
from .images import noise


def test_a_second_start_decodes_nothing(spec: DataSpec, decodings: Decodings) -> None:
    calls: list[tuple[int, int]] = []
    first = prepare(spec)
    second = prepare(spec, lambda done, total: calls.append((done, total)))
    assert decodings.count == 1
    assert calls == []
    assert first.images_path == second.images_path
    assert first.fingerprint == second.fingerprint
    assert (first.labels == second.labels).all()


def test_other_splits_of_the_same_images_decode_nothing(folder: Path, spec: DataSpec, decodings: Decodings) -> None:
    first = prepare(spec)
    drawn_anew = prepare(DataSpec(name="image_folder", root=str(folder), split_seed=1))
    part = prepare(DataSpec(name="image_folder", root=str(folder), train_size=10))
    assert decodings.count == 1
    assert first.images_path == drawn_anew.images_path == part.images_path
    assert len({first.fingerprint, drawn_anew.fingerprint, part.fingerprint}) == 3


def test_several_image_sizes_are_kept_side_by_side(folder: Path, decodings: Decodings) -> None:
    for _ in range(2):
        for size in (16, 24):
            prepare(DataSpec(name="image_folder", root=str(folder), image_size=size))
    assert decodings.count == 2


def test_training_and_test_images_lie_in_separate_files(spec: DataSpec, cache: Path) -> None:
    prepare(spec)
    assert not (cache / "test").exists()
    load_test(spec)
    assert len(list((cache / "training").glob("*.images.npy"))) == 1
    assert len(list((cache / "test").glob("*.images.npy"))) == 1


def test_a_changed_image_is_noticed(folder: Path, spec: DataSpec, decodings: Decodings) -> None:
    before = prepare(spec)
    after_path = folder / "train/bee/005.png"
    Image.fromarray(noise(12345)).save(after_path)
    after = prepare(spec)
    assert decodings.count == 2
    assert after.fingerprint != before.fingerprint
    assert (after.open_images()[25] == noise(12345)).all()


def test_a_new_and_a_missing_image_are_noticed(folder: Path, spec: DataSpec) -> None:
    fingerprints = {prepare(spec).fingerprint}
    image = folder / "train/bee/005.png"
    content = image.read_bytes()
    image.unlink()
    fingerprints.add(prepare(spec).fingerprint)
    (folder / "train/cow/999.png").write_bytes(content)
    fingerprints.add(prepare(spec).fingerprint)
    assert len(fingerprints) == 3


def test_equal_images_have_the_same_key_wherever_they_come_from(
    folder: Path, spec: DataSpec, decodings: Decodings
) -> None:
    before = prepare(spec)
    (folder / "train/bee/005.png").touch()
    touched = prepare(spec)
    moved_root = folder.rename(folder.with_name("moved"))
    moved = prepare(DataSpec(name="image_folder", root=str(moved_root)))
    assert decodings.count == 3
    assert before.fingerprint == touched.fingerprint == moved.fingerprint
    assert before.images_path == touched.images_path == moved.images_path


def test_class_names_and_image_size_belong_to_the_fingerprint(folder: Path, spec: DataSpec) -> None:
    fingerprints = {prepare(spec).fingerprint}
    fingerprints.add(prepare(DataSpec(name="image_folder", root=str(folder), image_size=16)).fingerprint)
    for part in ("train", "test"):
        (folder / part / "bee").rename(folder / part / "bug")
    fingerprints.add(prepare(spec).fingerprint)
    assert len(fingerprints) == 3


def _rewrite(one: Path, _other: Path, pixels: bytes) -> None:
    one.write_bytes(pixels)


def _replace(one: Path, _other: Path, pixels: bytes) -> None:
    new = one.with_name("new")
    new.write_bytes(pixels)
    new.replace(one)


def _swap(one: Path, other: Path, _pixels: bytes) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize("change", [_rewrite, _replace, _swap])
def test_an_image_of_the_same_size_and_time_is_noticed(
    folder: Path, spec: DataSpec, change: Callable[[Path, Path, bytes], None]
) -> None:
    """As `cp -p`, `rsync -t`, archives and `touch -r` leave it."""
    one, other, third = (folder / f"train/bee/{name}.bmp" for name in ("a", "b", "c"))
    for seed, path in enumerate((one, other, third)):
        Image.fromarray(noise(5000 + seed)).save(path)
        os.utime(path, ns=(10**18, 10**18))
    before = prepare(spec)
    change(one, other, third.read_bytes())
    os.utime(one, ns=(10**18, 10**18))
    after = prepare(spec)
    assert (one.stat().st_size, one.stat().st_mtime_ns) == (third.stat().st_size, 10**18)
    assert after.fingerprint != before.fingerprint
    assert (after.open_images()[30] == np.asarray(Image.open(one))).all()


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder() == Path("storage/cache")


def test_the_images_cannot_be_changed_through_the_map(spec: DataSpec) -> None:
    prepared = prepare(spec)
    before = prepared.open_images().copy()
    prepared.open_images()[:] = 0
    assert (prepared.open_images() == before).all()


def test_preparing_does_without_torch(folder: Path) -> None:
    program = f"""
import sys
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
prepare(DataSpec(name="image_folder", root={str(folder)!r}))
prepare(DataSpec(name="digits"))
assert "torch" not in sys.modules
assert "cifar_tune.data.test_split" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
