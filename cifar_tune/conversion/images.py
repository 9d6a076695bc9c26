"""Real images to compare a file with its model on, and labelled ones to measure its accuracy on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cifar_tune.data.depth import Span
from cifar_tune.data.image_files import reading_problem
from cifar_tune.data.image_reading import make_ready, read_alone
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.sources.folder_files import LeftOut, image_files
from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.model_files.description import DESCRIPTION_FILE
from cifar_tune.model_files.loading import SavedModel
from cifar_tune.study_spec.data_section import read_data
from cifar_tune.study_spec.problems import Problems

COMPARED = 1000
"""Images at most on which a file is compared with its model."""

CALIBRATION = 256
"""Training images at most that show which values activations take."""

_BATCH = 250
_NOISE_SEED = 0


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of the size of the model.

    Attributes:
        images: uint8 [N, H, W, 3], perhaps memory-mapped.
        rows: int64 [M], those that count.
        origin: what they are, for people.
    """

    images: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int64]
    origin: str

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[npt.NDArray[np.uint8]]:
        """All of them in their order, uint8 [B, 3, H, W]."""
        for start in range(0, len(self), _BATCH):
            batch = self.images[self.rows[start : start + _BATCH]]
            yield np.ascontiguousarray(batch.transpose(0, 3, 1, 2))

    def some(self, most: int) -> "Pictures":
        """At most this many, evenly spread: where images are sorted by class, some of every class."""
        return Pictures(self.images, _spread(self.rows, most), self.origin)


@dataclass(frozen=True, eq=False)
class Labelled:
    """The images that the training used, as far as they are found on this machine.

    Attributes:
        validation: they were never trained on, unless `notes` says so.
        labels: int64 [M], of the validation images.
        training: for calibration.
        notes: what must be known about them: sentences without a full stop.
    """

    validation: Pictures
    labels: npt.NDArray[np.int64]
    training: Pictures
    notes: tuple[str, ...]


def labelled_images(model: SavedModel) -> Labelled:
    """Find the training and validation images that the model's description names; nothing is downloaded.

    Raises:
        UserError: they are not there, or are other images by now.
    """
    description = model.description
    problems = Problems(DESCRIPTION_FILE)
    known = {key: value for key, value in description.data.items() if value is not None}
    spec = read_data({**known, "download": False}, BUILT_IN, problems)
    problems.raise_if_any()
    data = prepare(spec)
    if data.classes != description.classes or data.image_shape != description.image_shape:
        raise UserError(Problem("what lies there has other classes than the model", "data.root", spec.root))
    images = data.open_images()
    return Labelled(
        validation=Pictures(images, data.val_indices, "validation images"),
        labels=data.labels[data.val_indices],
        training=Pictures(images, data.train_indices, "training images"),
        notes=tuple(_notes(model, data)),
    )


def images_of_directory(directory: Path, model: SavedModel) -> tuple[Pictures, tuple[str, ...]]:
    """Read image files from a directory and all directories in it, at most `COMPARED`, as the training reads them.

    Returns:
        The images, and sentences on files that cannot be read.

    Raises:
        UserError: none can be read.
    """
    description = model.description
    ranges = {kind: Span(*span) for kind, span in description.ranges.items()}
    make_ready()
    names = np.array([name for name, _ in image_files(directory, "", LeftOut())])
    found: list[npt.NDArray[np.uint8]] = []
    failed: list[str] = []
    for file in (directory / name for name in _spread(names, COMPARED)):
        try:
            found.append(read_alone(file, description.image_shape[1], ranges, description.resize))
        except Exception as error:  # noqa: BLE001 (whatever Pillow raises for a broken file)
            failed.append(str(reading_problem(file, error)))
    if not found:
        raise UserError(Problem("holds no image that can be read", "--images", str(directory), more=tuple(failed[:3])))
    return Pictures(np.stack(found), np.arange(len(found)), f"images of {directory}"), tuple(failed)


def noise(model: SavedModel) -> Pictures:
    """Random pixels, always the same."""
    _, height, width = model.description.image_shape
    pixels = np.random.default_rng(_NOISE_SEED).integers(0, 256, (_BATCH, height, width, 3), dtype=np.uint8)
    return Pictures(pixels, np.arange(_BATCH), "images of random pixels")


def _notes(model: SavedModel, data: PreparedData) -> Iterator[str]:
    description = model.description
    if description.origin.command == "finalize":
        yield (
            "finalize trained this model on its validation images, too: their accuracy shows what the conversion "
            "changes, not how good the model is"
        )
    if description.fingerprint != data.fingerprint:
        yield (
            "the training and validation images are not exactly those of the training: files have changed, or "
            "another split was used"
        )


def _spread(rows: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
