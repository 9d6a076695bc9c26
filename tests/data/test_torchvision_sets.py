"""Data sets of torchvision, as small files in its own layout."""

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from torchvision import datasets

from cifar_tune.data.prepared import prepare
from cifar_tune.data.resizing import resized
from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.sources import source
from cifar_tune.data.sources.torchvision_sets import TorchvisionSet
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError

from .images import oblong

SETS = [name for name, entry in SOURCES.items() if "torchvision_sets" in entry.target]
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
LABELS = (np.arange(40) % 10).astype(np.uint8)


def spec(name: str, root: Path, **fields: Any) -> DataSpec:
    return DataSpec(name=name, root=str(root), download=False, **fields)


def idx(path: Path, values: npt.NDArray[np.uint8]) -> None:
    """The format of MNIST's files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes())


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_mnist_and_its_kin(tmp_path: Path, name: str, folder: str) -> None:
    raw = tmp_path / folder / "raw"
    idx(raw / "train-images-idx3-ubyte", PIXELS)
    idx(raw / "train-labels-idx1-ubyte", LABELS)
    for file in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (raw / file).write_bytes(b"closed")
    prepared = prepare(spec(name, tmp_path, image_size=28))
    assert (prepared.open_images() == PIXELS[..., None]).all()
    assert (prepared.labels == LABELS).all()
    assert len(prepared.classes) == 10
    assert not prepared.notes
    idx(raw / "t10k-images-idx3-ubyte", PIXELS[::-1].copy())
    idx(raw / "t10k-labels-idx1-ubyte", LABELS[::-1].copy())
    assert (load_test(spec(name, tmp_path, image_size=28))[0] == PIXELS[::-1][..., None]).all()


def test_cifar100_opens_no_test_file_for_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    rows = np.random.default_rng(1).integers(0, 256, (200, 3072), dtype=np.uint8)
    contents = {"data": rows, "fine_labels": [index % 100 for index in range(200)]}
    names = [f"class {number}" for number in range(100)]
    for file, content in (("train", contents), ("meta", {"fine_label_names": names})):
        (folder / file).write_bytes(pickle.dumps(content))
    sums = {path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", sums["train"]]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    (folder / "test").write_bytes(b"closed")
    prepared = prepare(spec("cifar100", tmp_path))
    assert prepared.classes == tuple(names)
    assert (prepared.open_images() == rows.reshape(200, 3, 32, 32).transpose(0, 2, 3, 1)).all()
    with pytest.raises(UserError, match="cifar100 is not available"):
        load_test(spec("cifar100", tmp_path))


def test_photographs_are_made_square(tmp_path: Path) -> None:
    """Food-101: a folder of images, and lists of names for each part."""
    folder = tmp_path / "food-101"
    names = {"train": ("0", "1", "2", "3"), "test": ("4",)}
    for part, numbers in names.items():
        listed = {each: [f"{each}/{number}" for number in numbers] for each in ("apple", "bread")}
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        (folder / "meta" / f"{part}.json").write_text(str(listed).replace("'", '"'))
    for each in ("apple", "bread"):
        (folder / "images" / each).mkdir(parents=True)
        for number in range(5):
            width, height = ((60, 40), (40, 60))[number % 2]
            oblong(width, height, number).save(folder / "images" / each / f"{number}.jpg")
    prepared = prepare(spec("food101", tmp_path, image_size=16))
    first = Image.open(folder / "images/apple/0.jpg")
    assert (prepared.open_images()[0] == resized(first, 16, "crop")).all()
    assert prepared.classes == ("apple", "bread")
    assert "8 of 8 images are not square (2 shapes" in prepared.reshaping
    last = Image.open(folder / "images/bread/4.jpg")
    assert (load_test(spec("food101", tmp_path, image_size=16))[0][1] == resized(last, 16, "crop")).all()


@pytest.mark.parametrize("name", SETS)
def test_without_its_files_each_says_what_to_do(tmp_path: Path, name: str) -> None:
    made = source(name)
    assert isinstance(made, TorchvisionSet)
    assert made.name == name
    with pytest.raises(UserError) as raised:
        prepare(spec(name, tmp_path / "nothing"))
    said = str(raised.value)
    assert f"{name} is not available in {tmp_path}/nothing: it is not there, and download is false." in said
    assert f"torchvision.datasets.{made.dataset}(" in said
