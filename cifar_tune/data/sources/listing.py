"""Image files with labels: how they become a part of a source."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cifar_tune.data.image_files import decode_files
from cifar_tune.data.resizing import shape_words
from cifar_tune.data.sources.folder_files import Stamp
from cifar_tune.data.sources.part import Allocate, Labelled, Progress, SourcePart
from cifar_tune.data.spec import DataSpec


@dataclass(frozen=True)
class Listing:
    """Image files.

    Attributes:
        paths: below `data.root`.
        stamps: what changes whenever the file does, of each.
        labels: int64 [N].
    """

    paths: list[str]
    stamps: list[Stamp]
    labels: npt.NDArray[np.int64]

    def chosen(self, indices: npt.NDArray[np.int64]) -> "Listing":
        """Those at these indices."""
        return Listing(
            [self.paths[index] for index in indices], [self.stamps[index] for index in indices], self.labels[indices]
        )

    def __add__(self, other: "Listing") -> "Listing":
        return Listing(
            self.paths + other.paths, self.stamps + other.stamps, np.concatenate([self.labels, other.labels])
        )


def listed_part(
    root: Path,
    classes: Sequence[str],
    spec: DataSpec,
    listing: Listing,
    training: Listing | None = None,
    more: Mapping[str, object] | None = None,
) -> SourcePart:
    """The images of a listing.

    Args:
        root: what the paths lie below.
        classes: class names.
        spec: says how large they become, and how they become square.
        listing: the files.
        training: where `listing` has test images, the training images: they decide how deep values are scaled, and how
            images become square.
        more: what else the images depend on.
    """
    manifest: dict[str, object] = {
        "source": spec.name,
        "folder": str(root.resolve()),
        "image_size": spec.image_size,
        "resize": spec.resize,
        "classes": classes,
        "labels": hashlib.sha256(listing.labels.tobytes()).hexdigest(),
        "files": list(zip(listing.paths, listing.stamps, strict=True)),
        **(more or {}),
    }
    if training is not None:
        manifest["training"] = listed_part(root, classes, spec, training).manifest

    def decode(allocate: Allocate, progress: Progress | None) -> Labelled:
        paths = [root / path for path in listing.paths]
        like = None if training is None else [root / path for path in training.paths]
        found = decode_files(paths, allocate(len(paths)), progress, like, spec.resize)
        shapes = shape_words(found.shapes)
        names = tuple(classes)
        return Labelled(listing.labels, names, found.notes, found.ranges, found.resize, shapes, found.reshaping)

    return SourcePart(json.dumps(manifest), spec.image_size, decode, paths=tuple(listing.paths))
