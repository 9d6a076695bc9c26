"""The cache is written whole or not at all: by processes that are killed, interrupted or at work at the same time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.image_files import Decoded, decode_files
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from tests.waiting import PATIENCE

from .conftest import DECODE_FILES

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
