"""The official archive in small: torchvision's format, its names, and its checksums put in place of the real ones."""

import functools
import hashlib
import http.server
import pickle
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from torchvision.datasets import CIFAR10

from cifar_tune.data.prepared import prepare
from cifar_tune.data.sources import cifar10
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError

CLASSES = ["airplane", "automobile", "bird"]
TRAINING = [f"data_batch_{number}" for number in range(1, 6)]
PER_BATCH = 12


def _rows(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8)


def _labels() -> list[int]:
    return [index % len(CLASSES) for index in range(PER_BATCH)]


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole archive that lies where nobody looks for it; nothing answers at its address."""
    batches = tmp_path / "made" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    contents: dict[str, dict[str, Any]] = {
        name: {"data": _rows(seed), "labels": _labels()} for seed, name in enumerate([*TRAINING, "test_batch"])
    }
    contents["batches.meta"] = {"label_names": CLASSES}
    for name, content in contents.items():
        (batches / name).write_bytes(pickle.dumps(content))
    archive = tmp_path / "made" / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, arcname=batches.name)
    monkeypatch.setattr(CIFAR10, "train_list", [[name, _md5(batches / name)] for name in TRAINING])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", _md5(batches / "test_batch")]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": _md5(batches / "batches.meta")})
    monkeypatch.setattr(CIFAR10, "tgz_md5", _md5(archive))
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return archive


@pytest.fixture
def root(archive: Path, tmp_path: Path) -> Path:
    """A folder with the archive in it."""
    root = tmp_path / "root"
    root.mkdir()
    (root / archive.name).write_bytes(archive.read_bytes())
    return root


@pytest.fixture
def server(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody answers at the archive's address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        yield
        server.shutdown()


@pytest.mark.parametrize("download", [True, False])
def test_an_archive_that_lies_there_is_unpacked_without_a_network(root: Path, download: bool) -> None:
    prepared = prepare(DataSpec(root=str(root), download=download))
    wanted = np.concatenate([_rows(seed) for seed in range(5)]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert (prepared.open_images() == wanted).all()
    assert prepared.labels.tolist() == _labels() * 5
    assert prepared.classes == tuple(CLASSES)
    assert (len(prepared.train_indices), len(prepared.val_indices)) == (54, 6)
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


def test_what_a_killed_process_had_unpacked_is_removed(root: Path) -> None:
    left = root / ".unpacking-0a1b2c"
    left.mkdir()
    (left / "cifar-10-python.tar.gz").write_bytes(b"half of it")
    prepare(DataSpec(root=str(root)))
    assert not left.exists()


def test_the_test_batch_is_loaded_apart(root: Path) -> None:
    images, labels, classes = load_test(DataSpec(root=str(root)))
    assert (images == _rows(5).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)).all()
    assert labels.tolist() == _labels()
    assert classes == tuple(CLASSES)


def test_each_part_does_without_the_files_of_the_other(root: Path, archive: Path, cache: Path) -> None:
    prepare(DataSpec(root=str(root)))
    for record in (cache / "training").glob("*.json"):
        record.unlink()
    (root / archive.name).unlink()
    batches = root / "cifar-10-batches-py"
    test_batch = (batches / "test_batch").read_bytes()
    (batches / "test_batch").write_bytes(b"garbage")
    prepare(DataSpec(root=str(root)))

    (batches / "test_batch").write_bytes(test_batch)
    for name in TRAINING:
        (batches / name).write_bytes(b"garbage")
    assert len(load_test(DataSpec(root=str(root)))[0]) == PER_BATCH


def test_what_is_cached_needs_neither_archive_nor_torchvision(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepare(DataSpec(root=str(root)))
    monkeypatch.setitem(__import__("sys").modules, "torchvision.datasets", None)
    after = prepare(DataSpec(root=str(root / "gone"), download=False))
    assert before.fingerprint == after.fingerprint


@pytest.mark.usefixtures("server")
def test_the_archive_is_downloaded(tmp_path: Path, archive: Path) -> None:
    root = tmp_path / "new" / "root"
    assert len(prepare(DataSpec(root=str(root))).labels) == 60
    assert (root / archive.name).read_bytes() == archive.read_bytes()
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


@pytest.mark.usefixtures("server")
def test_a_corrupt_archive_is_downloaded_again(root: Path, archive: Path) -> None:
    (root / archive.name).write_bytes(archive.read_bytes()[:-10])
    assert len(prepare(DataSpec(root=str(root))).labels) == 60


@pytest.mark.usefixtures("server")
def test_a_download_with_a_wrong_checksum_is_refused(tmp_path: Path, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(UserError, match="cannot be downloaded"):
        prepare(DataSpec(root=str(tmp_path / "root")))
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.usefixtures("archive")
def test_without_a_network_there_are_three_ways_on(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(UserError) as raised:
        prepare(DataSpec(root=str(root)))
    text = str(raised.value)
    assert "data.root" in text
    assert "it cannot be downloaded (<urlopen error" in text
    assert str(root / "cifar-10-python.tar.gz") in text
    assert "data: {name: image_folder, root: FOLDER}" in text
    assert "data: {name: digits}" in text


@pytest.mark.usefixtures("archive")
def test_download_false_never_asks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", "no address at all")
    with pytest.raises(UserError, match="it is not there, and download is false"):
        prepare(DataSpec(root=str(tmp_path), download=False))


@pytest.mark.parametrize("download", [True, False])
def test_a_corrupt_archive_is_named_as_such(root: Path, archive: Path, download: bool) -> None:
    (root / archive.name).write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is corrupt \(its MD5 checksum is wrong"):
        prepare(DataSpec(root=str(root), download=download))


def test_corrupt_batches_are_unpacked_again_or_named(root: Path, archive: Path) -> None:
    batches = root / "cifar-10-batches-py"
    batches.mkdir()
    (batches / "data_batch_3").write_bytes(b"garbage")
    content = (root / archive.name).read_bytes()
    (root / archive.name).unlink()
    with pytest.raises(UserError, match="cifar-10-batches-py is incomplete or corrupt"):
        prepare(DataSpec(root=str(root), download=False))
    (root / archive.name).write_bytes(content)
    assert len(prepare(DataSpec(root=str(root), download=False)).labels) == 60


def test_by_default_the_archive_lies_in_data(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    (Path("data") / archive.name).write_bytes(archive.read_bytes())
    assert len(prepare(DataSpec()).labels) == 60


def test_a_download_leaves_the_timeout_of_other_threads_alone(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float | None] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(socket.getdefaulttimeout())
            super().do_GET()

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=archive.parent)
    ) as here:
        threading.Thread(target=here.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{here.server_port}/{archive.name}")
        assert len(prepare(DataSpec(root=str(tmp_path / "new"))).labels) == 60
        here.shutdown()
    assert seen == [None]


@pytest.mark.usefixtures("archive")
def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "_DOWNLOAD_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{silent.getsockname()[1]}/{CIFAR10.filename}")
        with pytest.raises(UserError, match=r"CIFAR-10 is not available: it cannot be downloaded \(timed out\)"):
            prepare(DataSpec(root=str(tmp_path / "new")))
