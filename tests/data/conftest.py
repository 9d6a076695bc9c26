"""A cache of its own for every test, and images: real ones where they are at hand."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.image_files import Decoded, decode_files
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec

from .images import write_folder

REAL_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.zip"
DECODE_FILES = "cifar_tune.data.sources.listing.decode_files"


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> None:
    torch.set_num_threads(1)  # tests may share their cores with others


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture(scope="session")
def jpeg_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 training and 6 test JPEGs of 32 pixels in each of ten classes: CIFAR-10's where the zip is present."""
    root = tmp_path_factory.mktemp("jpeg")
    if not REAL_IMAGES.exists():
        classes = [f"class{number}" for number in range(10)]
        write_folder(root / "train", dict.fromkeys(classes, 30), suffix=".jpg")
        write_folder(root / "test", dict.fromkeys(classes, 6), suffix=".jpg", seed=1)
        return root
    with zipfile.ZipFile(REAL_IMAGES) as archive:
        for name in archive.namelist():
            _, part, *rest = Path(name).parts
            if len(rest) == 2 and int(Path(rest[1]).stem) < (30 if part == "train" else 6):
                target = root / part / rest[0] / rest[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small image folder of its own to break: classes ant, bee and cow with 20, 10 and 10 training images."""
    root = tmp_path / "pictures"
    write_folder(root / "train", {"ant": 20, "bee": 10, "cow": 10})
    write_folder(root / "test", {"ant": 4, "bee": 4, "cow": 4}, seed=1)
    return root


@pytest.fixture
def spec(folder: Path) -> DataSpec:
    """Of that folder."""
    return DataSpec(name="image_folder", root=str(folder))


@pytest.fixture
def open_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As `folder`, but where every user may read, with a cache where every user may write."""
    prepare(DataSpec(name="image_folder", root=str(folder)))  # imports what nobody cannot read
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(folder, Path(name) / "pictures")
        (Path(name) / "cache").mkdir()
        for path in (Path(name), Path(name) / "cache"):
            path.chmod(0o777)
        monkeypatch.setenv(CACHE_VARIABLE, str(Path(name) / "cache"))
        yield Path(name) / "pictures"


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
