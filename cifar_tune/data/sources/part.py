"""What a source hands over: images that are yet to be decoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cifar_tune.data.depth import Kind, Span
from cifar_tune.data.spec import DataSpec, Resize

Progress = Callable[[int, int], None]
"""Called with (images decoded, images in all)."""

Allocate = Callable[[int], npt.NDArray[np.uint8]]
"""Makes room for that many images: uint8 [count, H, W, 3]."""


@dataclass(frozen=True)
class Labelled:
    """What is known of images beside their pixels.

    Attributes:
        labels: int64 [N].
        classes: class names; label i is `classes[i]`.
        notes: what people should know of the decoding; it is kept with the images.
        ranges: which values became 0 to 255, of images with more than 8 bits per channel.
        resize: how images that were not square became square.
        shapes: of the images before they were resized, for people; empty where there is nothing to say.
        reshaping: what becomes of images that are not square, for people; empty where all are.
    """

    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    ranges: Mapping[Kind, Span] = field(default_factory=dict)
    resize: Resize = "squash"
    shapes: str = ""
    reshaping: str = ""


@dataclass(frozen=True)
class SourcePart:
    """One part of a source, training or test images.

    Attributes:
        manifest: text that changes whenever the images may have changed, cheap to make.
        image_size: height and width of the decoded images.
        decode: fills the array that `Allocate` makes and returns the labels; called where the cache lacks the images.
        notes: what people should know of the images before one is decoded, such as files that are left out.
        splits: where the splits come from, for people.
        validation: how many of the last images are a validation split that the source brings; None where it brings
            none, and one is drawn.
        paths: of the images' files below `data.root`, in the order of the images; empty where they have none.
    """

    manifest: str
    image_size: int
    decode: Callable[[Allocate, Progress | None], Labelled]
    notes: tuple[str, ...] = ()
    splits: str = ""
    validation: int | None = None
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitFiles:
    """The image files of a source, by paths alone.

    Attributes:
        root: what the paths lie below.
        known: of the training and validation images.
        test: of the test images.
    """

    root: Path
    known: Sequence[str]
    test: Sequence[str]


class Source(Protocol):
    """A module of `cifar_tune.data.sources`."""

    def training_part(self, spec: DataSpec) -> SourcePart:
        """All images that are not test images; they become the training and the validation split.

        Where the source brings a validation split of its own, its images are the last ones.
        """
        ...

    def test_part(self, spec: DataSpec) -> SourcePart:
        """The test images. For `cifar_tune.data.test_split` alone."""
        ...
