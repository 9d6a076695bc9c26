"""The official CIFAR-10 archive (Krizhevsky 2009): 50,000 training and 10,000 test images.

torchvision unpacks and checks it; it is imported only where the cache lacks the images.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.request import urlopen

import numpy as np
from tqdm import tqdm

from cifar_tune.data.source_table import DEFAULT_ROOT
from cifar_tune.data.sources.part import Allocate, Labelled, Progress, SourcePart
from cifar_tune.data.spec import CIFAR10_IMAGE, DataSpec
from cifar_tune.errors import Problem, UserError
from cifar_tune.paths import given_path
from cifar_tune.unfinished import remove_abandoned, unfinished_folder

_UNPACKING = ".unpacking-*"
_CHUNK = 1 << 16
_DOWNLOAD_TIMEOUT = 30.0
"""Seconds without an answer. A network that swallows packets would otherwise hold a start up for minutes."""


def training_part(spec: DataSpec) -> SourcePart:
    """The five training batches."""
    splits = (
        "validation: drawn from the 50,000 training images; test: the 10,000 test images (only finalize opens them)"
    )
    return replace(_part(spec, "train"), splits=splits)


def test_part(spec: DataSpec) -> SourcePart:
    """The test batch."""
    return _part(spec, "test")


def _part(spec: DataSpec, part: Literal["train", "test"]) -> SourcePart:
    # No times and no folder: there is one CIFAR-10, and whatever differs from it by a bit is refused.
    manifest = json.dumps({"source": "cifar10", "part": part})

    def decode(allocate: Allocate, progress: Progress | None) -> Labelled:
        dataset = _opened(spec, part)
        count = len(dataset.data)
        allocate(count)[:] = dataset.data
        if progress is not None:
            progress(count, count)
        return Labelled(np.array(dataset.targets, dtype=np.int64), tuple(dataset.classes))

    return SourcePart(manifest, CIFAR10_IMAGE, decode)


def _opened(spec: DataSpec, part: Literal["train", "test"]) -> Any:
    """Open torchvision's data set of this part, unpacked or downloaded first where need be."""
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 (takes seconds)
    from torchvision.datasets.utils import check_integrity  # noqa: PLC0415

    # torchvision checks the files of both parts; one part must neither need nor open those of the other.
    other: dict[str, list[list[str]]] = {"test_list": []} if part == "train" else {"train_list": []}
    one_part: Any = type("OnePart", (CIFAR10,), {**other})

    root = given_path(spec.root or DEFAULT_ROOT, "data.root")
    archive = root / CIFAR10.filename
    try:
        return one_part(root, train=part == "train")
    except RuntimeError:  # not there, or not whole
        pass
    if check_integrity(archive, CIFAR10.tgz_md5):
        _unpack(archive, CIFAR10.base_folder)
    else:
        if not spec.download:
            reason = _state(archive, root / CIFAR10.base_folder) or "it is not there, and download is false"
            raise UserError(_ways_on(spec, archive, reason))
        _download(spec, archive, CIFAR10)
    return one_part(root, train=part == "train")


def _download(spec: DataSpec, archive: Path, cifar10: Any) -> None:
    """Download the archive and unpack it beside itself.

    Raises:
        UserError: it did not arrive; says what can be done instead.
    """
    from torchvision.datasets.utils import check_integrity, extract_archive  # noqa: PLC0415

    root = archive.parent
    state = _state(archive, root / cifar10.base_folder)
    try:
        with _folder_beside(root) as folder:
            _fetch(cifar10.url, folder / archive.name)
            if not check_integrity(folder / archive.name, cifar10.tgz_md5):
                raise OSError("what came has a wrong checksum")
            extract_archive(folder / archive.name, folder)
            _move_files(folder / cifar10.base_folder, root / cifar10.base_folder)
            (folder / archive.name).replace(archive)
    except (OSError, HTTPException) as error:
        reason = f"it cannot be downloaded ({error})"
        raise UserError(_ways_on(spec, archive, f"{state}, and {reason}" if state else reason)) from error


def _unpack(archive: Path, base_folder: str) -> None:
    from torchvision.datasets.utils import extract_archive  # noqa: PLC0415

    try:
        with _folder_beside(archive.parent) as folder:
            extract_archive(archive, folder)
            _move_files(folder / base_folder, archive.parent / base_folder)
    except OSError as error:
        raise UserError(Problem(f"cannot be unpacked in its own folder ({error})", source=str(archive))) from error


@contextmanager
def _folder_beside(root: Path) -> Iterator[Path]:
    """A folder of one's own on the same disk: another process may be unpacking too, and must not see half files."""
    root.mkdir(parents=True, exist_ok=True)
    remove_abandoned(root, _UNPACKING)
    with unfinished_folder(root, _UNPACKING) as folder:
        yield folder


def _move_files(folder: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.replace(target / file.name)


def _fetch(url: str, file: Path) -> None:
    """Download a file, with a bar on stderr. torchvision would wait for ever, or for as long as the whole process says.

    Raises:
        OSError, HTTPException: it does not come.
    """
    with (
        urlopen(url, timeout=_DOWNLOAD_TIMEOUT) as answer,  # noqa: S310 (torchvision's address)
        file.open("wb") as written,
        tqdm(total=answer.length, unit="B", unit_scale=True) as bar,
    ):
        while chunk := answer.read(_CHUNK):
            written.write(chunk)
            bar.update(len(chunk))


def _state(archive: Path, batches: Path) -> str | None:
    """What is wrong with what is there; None where nothing is."""
    if archive.exists():
        return f"{archive} is corrupt (its MD5 checksum is wrong; often an interrupted download: delete it)"
    if batches.exists():
        return f"{batches} is incomplete or corrupt (files are missing or have a wrong MD5 checksum: delete it)"
    return None


def _ways_on(spec: DataSpec, archive: Path, reason: str) -> Problem:
    ways = (
        f"  - put the official archive at {archive}",
        "  - use a folder of images, train/<class>/*.png: data: {name: image_folder, root: FOLDER}",
        "  - use the small data set that is embedded: data: {name: digits}",
    )
    return Problem(
        f"CIFAR-10 is not available: {reason}. You can do one of three things:", "data.root", spec.root, more=ways
    )
