"""Image files in folders: `root/train/<class>/*`, and likewise `root/val/` and `root/test/`, where there are such.

Without `test/`, a test split is held out of `train/`. It is drawn from the names of the files, so that preparing for
training opens no test image in either case.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cifar_tune.data.sources.class_names import listed
from cifar_tune.data.sources.folder_files import LeftOut, Stamp, file_count, image_files
from cifar_tune.data.sources.folder_layout import Layout, find_layout, is_closed, way_on
from cifar_tune.data.sources.listing import Listing, listed_part
from cifar_tune.data.sources.part import SourcePart, SplitFiles
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test
from cifar_tune.errors import Problem, UserError

_NAMED = 10
"""Classes without an image that are named; the others are counted."""


def training_part(spec: DataSpec) -> SourcePart:
    """The images below `train/`, less those held out where there is no `test/`, and then those below `val/`."""
    layout = find_layout(spec)
    left_out = layout.left_out
    listing = _listed(layout, layout.train, left_out)
    notes = layout.notes
    if layout.test:
        test, closed = _test_words(layout, layout.test)
        notes += closed
    else:
        rest, held_out = _held_out(layout, listing)
        listing = listing.chosen(rest)
        test = f"{len(held_out):,} images held out of {layout.train} (only finalize opens them)"
    validation = _listed(layout, layout.val, left_out) if layout.val else None
    part = listed_part(layout.root, layout.classes, spec, listing if validation is None else listing + validation)
    origin = f"the images in {layout.val}" if layout.val else f"drawn from {layout.train}"
    return replace(
        part,
        notes=(*notes, *left_out.sentences()),
        splits=f"training: the images in {layout.train}; validation: {origin}; test: {test}",
        validation=None if validation is None else len(validation.paths),
    )


def test_part(spec: DataSpec) -> SourcePart:
    """The images below `test/`, or those held out of `train/`."""
    layout = find_layout(spec)
    left_out = LeftOut()
    training = _listed(layout, layout.train, LeftOut())
    if layout.test:
        listing = _listed_test(layout, layout.test, left_out)
    else:
        rest, test = _held_out(layout, training)
        listing, training = training.chosen(test), training.chosen(rest)
    if layout.val:
        training += _listed(layout, layout.val, LeftOut())
    return replace(listed_part(layout.root, layout.classes, spec, listing, training), notes=tuple(left_out.sentences()))


def _held_out(layout: Layout, listing: Listing) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return held_out_for_test(listing.labels, layout.classes, has_validation=layout.val is not None)


def _listed(layout: Layout, split: str, left_out: LeftOut) -> Listing:
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
    return Listing(paths, stamps, np.repeat(np.arange(len(counts), dtype=np.int64), counts))


def _listed_test(layout: Layout, test: str, left_out: LeftOut) -> Listing:
    if layout.closed is not None:
        raise layout.closed
    return _listed(layout, test, left_out)


def _test_words(layout: Layout, test: str) -> tuple[str, tuple[str, ...]]:
    """What there is in the folder of the test images, and a note where nobody may look into it."""
    try:
        if layout.closed is not None:
            raise layout.closed
        return f"{_test_files(layout, test):,} files in {test} (only finalize opens them)", ()
    except UserError as error:
        if not is_closed(error):
            raise
        note = f"the test images in {layout.root / test} are closed ({error}): only finalize needs them"
        return f"the files in {test}, which are closed here (only finalize opens them)", (note,)


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


def split_files(spec: DataSpec) -> SplitFiles:
    """The files of all splits, by their paths alone. For `cifar_tune.data.duplicates`."""
    layout = find_layout(spec)
    known = _listed(layout, layout.train, LeftOut())
    if layout.test:
        test = _listed_test(layout, layout.test, LeftOut())
    else:
        rest, held_out = _held_out(layout, known)
        known, test = known.chosen(rest), known.chosen(held_out)
    if layout.val:
        known += _listed(layout, layout.val, LeftOut())
    return SplitFiles(layout.root, known.paths, test.paths)
