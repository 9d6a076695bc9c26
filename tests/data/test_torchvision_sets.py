"""Data sets of torchvision, as small files in its own layout."""

import hashlib
import os
import pickle
import struct
from collections.abc import Callable
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
from cifar_tune.prediction.inputs import GivenImage
from cifar_tune.prediction.reading import ImageReader

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


TURNED = Image.Exif()
TURNED[0x0112] = 6


def save_odd_images(folder: Path) -> list[Path]:
    """Images that are read in more than one way: on its side, transparent, and with 16 bits; though called `.jpg`."""
    folder.mkdir(parents=True)
    files = [folder / f"cat_{number}.jpg" for number in range(4)]
    oblong(40, 20, 1).save(files[0], exif=TURNED)
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (24, 24, 4), dtype=np.uint8)).save(files[1], "PNG")
    Image.fromarray(np.random.default_rng(3).integers(0, 4096, (24, 24)).astype(np.uint16)).save(files[2], "PNG")
    oblong(30, 30, 4).quantize(16).save(files[3], "GIF", transparency=2)
    return files


def flowers(folder: Path) -> None:
    files = save_odd_images(folder / "images")
    (folder / "meta").mkdir()
    names = [f"images/{file.stem}" for file in files]
    for part in ("train", "test"):
        listed = dict(zip(("cat", "dog"), (names[:2], names[2:]), strict=True))
        (folder / "meta" / f"{part}.json").write_text(str(listed).replace("'", '"').replace("images/", "../images/"))


def pets(folder: Path) -> None:
    files = save_odd_images(folder / "images")
    (folder / "annotations").mkdir()
    lines = [f"{file.stem} {1 + number // 2} 1 1" for number, file in enumerate(files)]
    for part in ("trainval", "test"):
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("name", "folder", "make"), [("food101", "food-101", flowers), ("oxford_pets", "oxford-iiit-pet", pets)]
)
def test_files_are_read_as_predict_reads_them(
    tmp_path: Path, name: str, folder: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / folder)
    prepared = prepare(spec(name, tmp_path, image_size=16, val_size=2))
    reader = ImageReader(16, prepared.ranges, prepared.resize)
    files = sorted((tmp_path / folder / "images").iterdir())
    found = reader.read([GivenImage(str(file), file) for file in files])
    assert not found.unreadable
    assert (prepared.open_images() == found.pixels).all()
    assert prepared.labels.tolist() == [0, 0, 1, 1]
    assert prepared.ranges
    assert (load_test(spec(name, tmp_path, image_size=16, val_size=2))[0] == found.pixels).all()
    own = source(name)._opened(spec(name, tmp_path), "train")  # type: ignore[attr-defined]
    assert [own[index][1] for index in range(4)] == [0, 0, 1, 1]


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    """As by `cp -p`: all files of MNIST and its kin have the same sizes."""
    raw = tmp_path / "MNIST" / "raw"
    idx(raw / "train-labels-idx1-ubyte", LABELS)
    for file in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (raw / file).write_bytes(b"closed")
    for values in (PIXELS, PIXELS[::-1].copy()):
        idx(raw / "train-images-idx3-ubyte", values)
        os.utime(raw / "train-images-idx3-ubyte", ns=(10**18, 10**18))
        assert (prepare(spec("mnist", tmp_path, image_size=28)).open_images() == values[..., None]).all()


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
