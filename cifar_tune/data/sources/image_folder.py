"""Image files in folders: `root/train/<class>/*`, and likewise `root/val/` and `root/test/`, where there are such.

Without `test/`, a test split is held out of `train/`. It is drawn from the names of the files, so that preparing for
training opens no test image in either case.
"""

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cifar_tune.data.image_files import decode_files
from cifar_tune.data.resizing import shape_words
from cifar_tune.data.sources.class_names import listed
from cifar_tune.data.sources.folder_files import LeftOut, Stamp, file_count, image_files
from cifar_tune.data.sources.folder_layout import Layout, find_layout, way_on
from cifar_tune.data.sources.part import Allocate, Labelled, Progress, SourcePart
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test
from cifar_tune.errors import Problem, UserError

_NAMED = 10
"""Classes without an image that are named; the others are counted."""


@dataclass(frozen=True)
class _Listing:
    """Image files, class after class.

    Attributes:
        paths: below `data.root`.
        stamps: what changes whenever the file does, of each.
        labels: int64 [N].
    """

    paths: list[str]
    stamps: list[Stamp]
    labels: npt.NDArray[np.int64]

    def chosen(self, indices: npt.NDArray[np.int64]) -> "_Listing":
        return _Listing(
            [self.paths[index] for index in indices], [self.stamps[index] for index in indices], self.labels[indices]
        )

    def __add__(self, other: "_Listing") -> "_Listing":
        return _Listing(
            self.paths + other.paths, self.stamps + other.stamps, np.concatenate([self.labels, other.labels])
        )


def training_part(spec: DataSpec) -> SourcePart:
    """The images below `train/`, less those held out where there is no `test/`, and then those below `val/`."""
    layout = find_layout(spec)
    left_out = layout.left_out
    listing = _listed(layout, layout.train, left_out)
    if layout.test:
        test = f"{_test_files(layout, layout.test):,} files in {layout.test} (only finalize opens them)"
    else:
        rest, held_out = _held_out(layout, listing)
        listing = listing.chosen(rest)
        test = f"{len(held_out):,} images held out of {layout.train} (only finalize opens them)"
    validation = _listed(layout, layout.val, left_out) if layout.val else None
    part = _part(layout, spec, listing if validation is None else listing + validation)
    origin = f"the images in {layout.val}" if layout.val else f"drawn from {layout.train}"
    return replace(
        part,
        notes=(*layout.notes, *left_out.sentences()),
        splits=f"training: the images in {layout.train}; validation: {origin}; test: {test}",
        validation=None if validation is None else len(validation.paths),
    )


def test_part(spec: DataSpec) -> SourcePart:
    """The images below `test/`, or those held out of `train/`."""
    layout = find_layout(spec)
    left_out = LeftOut()
    training = _listed(layout, layout.train, LeftOut())
    if layout.test:
        listing = _listed(layout, layout.test, left_out)
    else:
        rest, test = _held_out(layout, training)
        listing, training = training.chosen(test), training.chosen(rest)
    if layout.val:
        training += _listed(layout, layout.val, LeftOut())
    return replace(_part(layout, spec, listing, training), notes=tuple(left_out.sentences()))


def _held_out(layout: Layout, listing: _Listing) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return held_out_for_test(listing.labels, layout.classes, has_validation=layout.val is not None)


def _part(layout: Layout, spec: DataSpec, listing: _Listing, training: _Listing | None = None) -> SourcePart:
    """The part; of test images with the training images, which decide how deep values are scaled."""
    manifest: dict[str, object] = {
        "source": "image_folder",
        "folder": str(layout.root.resolve()),
        "image_size": spec.image_size,
        "resize": spec.resize,
        "classes": layout.classes,
        "labels": hashlib.sha256(listing.labels.tobytes()).hexdigest(),
        "files": list(zip(listing.paths, listing.stamps, strict=True)),
    }
    if training is not None:
        manifest["training"] = _part(layout, spec, training).manifest

    def decode(allocate: Allocate, progress: Progress | None) -> Labelled:
        paths = [layout.root / path for path in listing.paths]
        like = None if training is None else [layout.root / path for path in training.paths]
        found = decode_files(paths, allocate(len(paths)), progress, like, spec.resize)
        shapes = shape_words(found.shapes)
        return Labelled(listing.labels, layout.classes, found.notes, found.ranges, found.resize, shapes)

    return SourcePart(json.dumps(manifest), spec.image_size, decode, paths=tuple(listing.paths))


def _listed(layout: Layout, split: str, left_out: LeftOut) -> _Listing:
    """The images of a split.

    Raises:
        UserError: classes have none; names them.
    """
    paths: list[str] = []
    stamps: list[Stamp] = []
    counts: list[int] = []
    empty: list[Problem] = []
    for folder in layout.folders[split]:
        of_class = LeftOut()
        files = image_files(layout.root, f"{split}/{folder}", of_class)
        if not files:
            reasons = "".join(f"; {sentence}" for sentence in of_class.sentences())
            advice = f". {way_on('validation', split)}" if split == layout.val else ""
            empty.append(Problem(f"holds no image{reasons}{advice}", source=str(layout.root / split / folder)))
        left_out.take(of_class)
        paths += [path for path, _ in files]
        stamps += [stamp for _, stamp in files]
        counts.append(len(files))
    if len(empty) > _NAMED:
        empty[_NAMED:] = [Problem(f"and {len(empty) - _NAMED} more classes without an image")]
    if empty:
        raise UserError(empty)
    return _Listing(paths, stamps, np.repeat(np.arange(len(counts), dtype=np.int64), counts))


def _test_files(layout: Layout, test: str) -> int:
    """How many files the test split has, by their names.

    Raises:
        UserError: classes have none. Better said now than when the test split is opened, after the search.
    """
    counts = [file_count(layout.root, f"{test}/{folder}") for folder in layout.folders[test]]
    empty = [folder for folder, count in zip(layout.folders[test], counts, strict=True) if count == 0]
    if empty:
        rule = f"no image of {listed(empty)}. {way_on('test', test)}"
        raise UserError(Problem(rule, source=str(layout.root / test)))
    return sum(counts)
