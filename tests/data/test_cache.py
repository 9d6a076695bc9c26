import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_tune.data.cache import CACHE_VARIABLE, cache_folder
from cifar_tune.data.image_files import Decoded, decode_files
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.statistics import channel_statistics
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError
from tests.waiting import PATIENCE

from .images import noise

DECODE_FILES = "cifar_tune.data.sources.listing.decode_files"


class Decodings:
    """Counts how often files are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(DECODE_FILES, self)

    def __call__(self, *arguments: object) -> Decoded:
        self.count += 1
        return decode_files(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> Decodings:
    return Decodings(monkeypatch)


@pytest.fixture
def spec(folder: Path) -> DataSpec:
    return DataSpec(name="image_folder", root=str(folder))


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


@pytest.mark.parametrize("damage", [_truncate, _lengthen, _empty, _garbage, _other_array, _other_type, Path.unlink])
@pytest.mark.parametrize("pattern", ["*.images.npy", "*.labels.npy", "*.json"])
def test_a_damaged_file_is_made_anew(
    spec: DataSpec, cache: Path, decodings: Decodings, pattern: str, damage: Callable[[Path], None]
) -> None:
    before = prepare(spec)
    images = before.open_images().copy()
    [path] = (cache / "training").glob(pattern)
    damage(path)
    after = prepare(spec)
    assert decodings.count == 2
    assert after.fingerprint == before.fingerprint
    assert (after.open_images() == images).all()
    assert (after.labels == before.labels).all()


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
    before = prepare(spec)
    images = before.open_images().copy()
    [path] = (cache / "training").glob(pattern)
    damage(path)
    after = prepare(spec)
    assert before.notes == ()
    assert after.notes == (f"the cache of decoded images was damaged ({path.name}), so the images were decoded again",)
    assert prepare(spec).notes == (), "it is whole again"
    assert decodings.count == 2
    assert after.fingerprint == before.fingerprint
    assert after.classes == before.classes
    assert (after.open_images() == images).all()
    assert (after.labels == before.labels).all()


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


STOPS_WHILE_DECODING = """
import sys
from cifar_tune.data import image_files
from cifar_tune.data.prepared import prepare
from cifar_tune.data.sources import listing
from cifar_tune.data.spec import DataSpec

def decode_files(*arguments, **more):
    print("decoding", flush=True)
    sys.stdin.readline()
    return image_files.decode_files(*arguments, **more)

listing.decode_files = decode_files
print(prepare(DataSpec(name="image_folder", root=sys.argv[1], image_size=int(sys.argv[2]))).fingerprint)
"""


def _stopped_while_decoding(folder: Path, image_size: int) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS_WHILE_DECODING, str(folder), str(image_size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "decoding\n"
    return process


def test_what_a_killed_process_left_is_removed_and_what_another_one_writes_is_not(folder: Path, cache: Path) -> None:
    killed = _stopped_while_decoding(folder, 16)
    [left] = (cache / "training").glob("*.partial")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    writing = _stopped_while_decoding(folder, 24)
    assert not left.exists()
    prepare(DataSpec(name="image_folder", root=str(folder)))
    [live] = (cache / "training").glob("*.partial")
    fingerprint, _ = writing.communicate("go on\n", timeout=PATIENCE)
    assert fingerprint.strip() == prepare(DataSpec(name="image_folder", root=str(folder), image_size=24)).fingerprint
    assert not live.exists()


def test_a_start_that_decodes_nothing_removes_what_was_left_too(spec: DataSpec, cache: Path) -> None:
    prepare(spec)
    (cache / "training" / "0123.partial").write_bytes(b"left by an earlier version")
    prepare(spec)
    assert not list((cache / "training").glob("*.partial"))


def test_two_processes_may_prepare_at_once(jpeg_root: Path, cache: Path, tmp_path: Path) -> None:
    # Both wait for the same file, so that they really decode at the same time.
    go = tmp_path / "go"
    program = f"""
import time
from pathlib import Path
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
print("ready", flush=True)
while not Path({str(go)!r}).exists():
    time.sleep(0.001)
prepared = prepare(DataSpec(name="image_folder", root={str(jpeg_root)!r}))
print(prepared.fingerprint, int(prepared.open_images().sum()))
"""
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    go.touch()
    outputs = {process.communicate(timeout=PATIENCE)[0] for process in processes}
    prepared = prepare(DataSpec(name="image_folder", root=str(jpeg_root)))
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == {f"{prepared.fingerprint} {int(prepared.open_images().sum())}\n"}
    assert sorted(path.name.split(".", 1)[1] for path in (cache / "training").iterdir()) == [
        "images.npy",
        "json",
        "labels.npy",
    ]


def test_a_reader_never_sees_a_half_written_file(spec: DataSpec, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look(*arguments: object) -> Decoded:
        decoded = decode_files(*arguments)  # type: ignore[arg-type]
        seen.extend(path.suffix for path in (cache / "training").iterdir())
        return decoded

    monkeypatch.setattr(DECODE_FILES, look)
    prepare(spec)
    assert seen == [".partial"]


def test_an_interrupted_decoding_leaves_nothing(spec: DataSpec, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DECODE_FILES, interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(spec)
    assert list((cache / "training").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(
    spec: DataSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=rf"the cache folder cannot be written \(.*\); set {CACHE_VARIABLE}"):
        prepare(spec)


def test_a_full_disk_is_an_error_and_not_a_crash(spec: DataSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(UserError, match="No space left on device"):
        prepare(spec)


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
