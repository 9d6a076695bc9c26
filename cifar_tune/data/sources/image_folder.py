"""Image files in folders: `root/train/<class>/*` and `root/test/<class>/*`.

Without `test/`, a test split is held out of `train/`. It is drawn from the names of the files, so that preparing for
training opens no test image in either case.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cifar_tune.data.image_files import decode_files
from cifar_tune.data.sources.part import Allocate, Labelled, Progress, SourcePart
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test
from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Listing:
    """The image files of one part, class after class in the order of their names.

    Attributes:
        folder: the part's folder.
        names: paths below it, `<class>/<file>`.
        stamps: what changes whenever the file does (`_stamp`), of each.
        labelled: their classes.
    """

    folder: Path
    names: list[str]
    stamps: list[Stamp]
    labelled: Labelled

    def chosen(self, indices: npt.NDArray[np.int64]) -> "_Listing":
        return _Listing(
            self.folder,
            [self.names[index] for index in indices],
            [self.stamps[index] for index in indices],
            Labelled(self.labelled.labels[indices], self.labelled.classes),
        )


def training_part(spec: DataSpec) -> SourcePart:
    """The images below `train/`, less those held out where there is no `test/`."""
    root = _root(spec)
    listing = _listed(root / "train")
    if not (root / "test").is_dir():
        rest, _ = held_out_for_test(listing.labelled.labels, listing.labelled.classes)
        return _part(listing.chosen(rest), spec.image_size)
    # Names of folders only: better refused now than when the test split is opened, after the search.
    _check_same_classes(root, listing.labelled.classes)
    return _part(listing, spec.image_size)


def test_part(spec: DataSpec) -> SourcePart:
    """The images below `test/`, or those held out of `train/`."""
    root = _root(spec)
    if (root / "test").is_dir():
        _check_same_classes(root, tuple(_class_folders(root / "train")))
        return _part(_listed(root / "test"), spec.image_size)
    listing = _listed(root / "train")
    _, test = held_out_for_test(listing.labelled.labels, listing.labelled.classes)
    return _part(listing.chosen(test), spec.image_size)


def _part(listing: _Listing, image_size: int) -> SourcePart:
    manifest = {
        "source": "image_folder",
        "folder": str(listing.folder.resolve()),
        "image_size": image_size,
        "files": list(zip(listing.names, listing.stamps, strict=True)),
    }

    def decode(allocate: Allocate, progress: Progress | None) -> Labelled:
        paths = [listing.folder / name for name in listing.names]
        decode_files(paths, allocate(len(paths)), progress)
        return listing.labelled

    return SourcePart(json.dumps(manifest), image_size, decode)


def _root(spec: DataSpec) -> Path:
    """The folder that holds `train/`."""
    root = Path(str(spec.root)).expanduser()
    if (root / "train").is_dir():
        return root
    if not root.exists():
        nearest = _nearest_folder(root)
        raise UserError(Problem("there is no such folder", "data.root", spec.root, nearest=nearest))
    if not root.is_dir():
        raise UserError(Problem("must be a folder, not a file", "data.root", spec.root))
    rule = "must hold a folder train with one folder of images per class in it"
    below = [child for child in sorted(root.iterdir()) if (child / "train").is_dir()]
    nearest_root = root.parent if root.name == "train" else below[0] if below else None
    found = nearest_name("train", _folders(root))
    if nearest_root is None and found:
        rule += f"; it holds {found!r}"
    nearest = None if nearest_root is None else str(nearest_root)
    raise UserError(Problem(rule, "data.root", spec.root, nearest=nearest))


def _nearest_folder(path: Path) -> str | None:
    if not path.parent.is_dir():
        return None
    name = nearest_name(path.name, _folders(path.parent))
    return None if name is None else str(path.parent / name)


def _folders(folder: Path) -> list[str]:
    """The names of the folders in it, in their order."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def _class_folders(folder: Path) -> list[str]:
    classes = _folders(folder)
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UserError(Problem(f"must hold a folder per class, at least two; found {found}", source=str(folder)))
    return classes


def _check_same_classes(root: Path, classes: tuple[str, ...]) -> None:
    test_classes = _folders(root / "test")
    differences = [
        f"{folder} lacks {enumerate_names([repr(name) for name in sorted(missing)], 'and')}"
        for folder, missing in (
            ("test", set(classes) - set(test_classes)),
            ("train", set(test_classes) - set(classes)),
        )
        if missing
    ]
    if differences:
        rule = f"train and test must hold the same classes: {'; '.join(differences)}"
        raise UserError(Problem(rule, source=str(root)))


def _listed(folder: Path) -> _Listing:
    classes = _class_folders(folder)
    names: list[str] = []
    stamps: list[Stamp] = []
    counts: list[int] = []
    for name in classes:
        files = _image_files(folder / name)
        names.extend(f"{name}/{file}" for file, _ in files)
        stamps.extend(stamp for _, stamp in files)
        counts.append(len(files))
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        kinds = enumerate_names([suffix[1:] for suffix in SUFFIXES])
        rule = f"holds no image ({kinds})"
        raise UserError(Problem(rule, source=str(folder / name)) for name in empty)
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    return _Listing(folder, names, stamps, Labelled(labels, tuple(classes)))


def _image_files(folder: Path) -> list[tuple[str, Stamp]]:
    """Names in their order, each with its stamp; files that are no images are left out."""
    return sorted(
        (entry.name, _stamp(entry.stat()))
        for entry in _entries(folder)
        if entry.name.lower().endswith(SUFFIXES) and entry.is_file()
    )


def _stamp(state: os.stat_result) -> Stamp:
    """Size in bytes, modification time and change time in nanoseconds, and inode.

    A program can put the modification time back (`touch -r`, `cp -p`, `rsync -t`, archives), but not the change time;
    a file that is renamed to another one's name has its own inode.
    """
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in the folder, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(Problem(f"cannot be read ({error.strerror})", source=str(folder))) from error
