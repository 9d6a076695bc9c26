"""A damaged cache is found, told and made anew."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.statistics import channel_statistics
from cifar_tune.data.test_split import load_test

from .conftest import Decodings


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(b"something else entirely")


def _other_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(7))


def _other_type(path: Path) -> None:
    shape = (40, 32, 32, 3) if ".images" in path.name else 40
    with path.open("wb") as file:
        np.save(file, np.zeros(shape, dtype=np.float32))


def _made_anew(
    spec: DataSpec, cache: Path, pattern: str, damage: Callable[[Path], None]
) -> tuple[PreparedData, PreparedData, str]:
    """What is prepared before and after a file of the cache was damaged, which is the same, and the file's name."""
    before = prepare(spec)
    images = before.open_images().copy()
    [path] = (cache / "training").glob(pattern)
    damage(path)
    after = prepare(spec)
    assert after.fingerprint == before.fingerprint
    assert (after.open_images() == images).all()
    assert (after.labels == before.labels).all()
    return before, after, path.name


@pytest.mark.parametrize("damage", [_truncate, _lengthen, _empty, _garbage, _other_array, _other_type, Path.unlink])
@pytest.mark.parametrize("pattern", ["*.images.npy", "*.labels.npy", "*.json"])
def test_a_damaged_file_is_made_anew(
    spec: DataSpec, cache: Path, decodings: Decodings, pattern: str, damage: Callable[[Path], None]
) -> None:
    _made_anew(spec, cache, pattern, damage)
    assert decodings.count == 2


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _other_class_name(path: Path) -> None:
    path.write_text(path.read_text().replace('"bee"', '"bef"'))


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [("*.images.npy", _flip_a_bit), ("*.labels.npy", _flip_a_bit), ("*.json", _other_class_name)],
)
def test_damage_that_leaves_the_length_alone_is_found_and_said(
    spec: DataSpec, cache: Path, decodings: Decodings, pattern: str, damage: Callable[[Path], None]
) -> None:
    before, after, name = _made_anew(spec, cache, pattern, damage)
    assert before.notes == ()
    assert after.notes == (f"the cache of decoded images was damaged ({name}), so the images were decoded again",)
    assert prepare(spec).notes == (), "it is whole again"
    assert decodings.count == 2
    assert after.classes == before.classes


def test_damaged_test_images_are_made_anew(spec: DataSpec, cache: Path, decodings: Decodings) -> None:
    before = load_test(spec)[0].copy()
    [path] = (cache / "test").glob("*.images.npy")
    _flip_a_bit(path)
    assert (load_test(spec)[0] == before).all()
    assert decodings.count == 2


def test_a_whole_file_is_summed_once_in_a_process(spec: DataSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(spec)
    monkeypatch.setattr("cifar_tune.data.cache.zlib.crc32", lambda _: pytest.fail("summed again"))
    prepare(spec)


def test_damaged_statistics_are_measured_anew(spec: DataSpec, cache: Path) -> None:
    before = channel_statistics(prepare(spec))
    [path] = (cache / "training").glob("*.statistics.json")
    stored = json.loads(path.read_text())
    stored["mean"][0] += 64
    for damaged in (json.dumps(stored), "{", "[]", '{"mean": 1}', ""):
        path.write_text(damaged)
        assert channel_statistics(prepare(spec)) == before
    assert json.loads(path.read_text())["mean"] == list(before.mean)
