"""From a model folder to one file, which is compared with the model before it is kept."""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cifar_tune.conversion.agreement import BOUNDS, Agreement, Logits, accuracy, compare
from cifar_tune.conversion.exported import Normalizing, export, halve_weights
from cifar_tune.conversion.file_format import Images, Run, file_format
from cifar_tune.conversion.formats import Weights
from cifar_tune.conversion.images import (
    CALIBRATION,
    COMPARED,
    Labelled,
    Pictures,
    images_of_directory,
    labelled_images,
    noise,
)
from cifar_tune.conversion.metadata import OURS, metadata_of
from cifar_tune.conversion.wanted import Wanted
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.files import read_regular, replace_file
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.model_files.loading import SavedModel
from cifar_tune.training.evaluation import AveragedViews

_MOST_BYTES = 16 * 2**30
"""Of an old file that is looked into."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Converted:
    """What was made.

    Attributes:
        file: the path.
        size: in bytes.
        weights: their type in the file.
        metadata: as it is in the file.
        compared_on: which images.
        agreement: with the model in float32.
        val_accuracy: of the model in float32 and of the file, on all validation images; None where it is not measured.
    """

    file: Path
    size: int
    weights: Weights
    metadata: dict[str, str]
    compared_on: str
    agreement: Agreement
    val_accuracy: tuple[float, float] | None

    def plain(self) -> dict[str, str | int | float]:
        """By the names that `convert` prints."""
        values: dict[str, str | int | float] = {
            "file": str(self.file),
            "bytes": self.size,
            "weights": self.weights,
            "input": self.metadata["input"],
            "output": self.metadata["output"],
            "preprocessing": self.metadata["preprocessing"],
            "compared_on": self.compared_on,
            "largest_difference": self.agreement.difference,
            "allowed_difference": self.agreement.allowed(BOUNDS[self.weights]),
            "equal_classes": self.agreement.equal_classes,
        }
        if self.val_accuracy is not None:
            values["val_accuracy_before"], values["val_accuracy_after"] = self.val_accuracy
        return values


def require_free(wanted: Wanted) -> None:
    """See that nothing is in the way of the file. One that `convert` wrote is replaced.

    Raises:
        UserError: a file of another program is there, or where a directory should be.
    """
    above = next(each for each in wanted.file.absolute().parents if os.path.lexists(each))
    if not above.is_dir():
        raise UserError(Problem(f"cannot be written: {above} is no directory", "--output", str(wanted.file)))
    if not os.path.lexists(wanted.file):
        return
    try:
        old = read_regular(wanted.file, _MOST_BYTES)
    except OSError as error:
        raise UserError(Problem(f"cannot be replaced: {error.strerror}", "--output", str(wanted.file))) from error
    if OURS not in file_format(wanted.target).metadata(old):
        rule = "is there already, and `cifar-tune convert` did not write it: name another file"
        raise UserError(Problem(rule, "--output", str(wanted.file)))


def convert(model: SavedModel, wanted: Wanted, say: Say) -> Converted:
    """Make the file, compare it with the model, and keep it where it is close enough.

    The model and the file both run on the CPU, in float32.

    Args:
        model: on the CPU.
        wanted: what to make.
        say: called with sentences for people.

    Raises:
        UserError: images cannot be read, or smaller weights are wanted and there are no validation images.
        CheckError: the model cannot be converted, or the file is too far from the model; then none is written.
    """
    labelled = _labelled(model, wanted, say)
    compared = _compared(model, wanted, labelled, say)
    model = copy.copy(model)  # with another precision, and the same network
    model.precision = "fp32"
    if model.description.precision != "fp32":
        say(
            f"note: the file computes in fp32; the training evaluated the model in {model.description.precision}, so "
            f"its figures may differ in the last digits"
        )
    metadata = metadata_of(model.description, wanted.weights, wanted.with_preprocessing)
    say(f"converting to {wanted.target}")
    content = _content(model, wanted, metadata, labelled)
    run = file_format(wanted.target).opened(content)
    agreement = compare(_of_model(model, compared), _of_file(model, wanted, run, compared))
    bounds = BOUNDS[wanted.weights]
    broken = agreement.broken(bounds)
    figures = None
    if labelled is not None and bounds.lost_accuracy is not None:
        say(f"measuring the accuracy on {len(labelled.validation):,} validation images")
        before = accuracy(_of_model(model, labelled.validation), labelled.labels)
        after = accuracy(_of_file(model, wanted, run, labelled.validation), labelled.labels)
        figures = (before, after)
        broken = broken or bounds.broken_by_accuracy(before, after, len(labelled.labels))
    if broken is not None:
        raise CheckError(f"{wanted.file} was not written, since the file would not do what the model does: {broken}")
    _write(wanted.file, content)
    return Converted(wanted.file, len(content), wanted.weights, metadata, _named(compared), agreement, figures)


def _labelled(model: SavedModel, wanted: Wanted, say: Say) -> Labelled | None:
    """The images of the training; None where they are neither needed nor found."""
    is_needed = BOUNDS[wanted.weights].lost_accuracy is not None
    if wanted.images is not None and not is_needed:
        return None
    try:
        found = labelled_images(model)
    except UserError as error:
        if is_needed:
            rule = (
                "is kept only if the accuracy on the validation images allows it, and they are not found. Start the "
                f"command where the training was started, or with their folder in place; {error}"
            )
            raise UserError(Problem(rule, "--weights", wanted.weights)) from error
        say(f"note: the validation images of the training are not found: {error}")
        return None
    for note in found.notes:
        say(f"note: {note}")
    return found


def _compared(model: SavedModel, wanted: Wanted, labelled: Labelled | None, say: Say) -> Pictures:
    if wanted.images is not None:
        pictures, notes = images_of_directory(wanted.images, model)
        for note in notes:
            say(f"note: {note}")
        return pictures
    if labelled is not None:
        return labelled.validation.some(COMPARED)
    say("note: the file is compared on random pixels, which are no real images; --images DIRECTORY names some")
    return noise(model)


def _content(model: SavedModel, wanted: Wanted, metadata: dict[str, str], labelled: Labelled | None) -> bytes:
    views = TEST_TIME_AUGMENTATIONS[model.description.test_time_augmentation].resolve()()
    network: nn.Module = AveragedViews(copy.deepcopy(model.network), views)
    if wanted.weights == "fp16":
        halve_weights(network)
    if wanted.with_preprocessing:
        description = model.description
        network = Normalizing(network, description.scale, description.shift)
    channels, height, width = model.description.image_shape
    example = torch.zeros(1, channels, height, width, dtype=torch.uint8)
    program = export(network.eval(), example if wanted.with_preprocessing else model.normalize(example).contiguous())
    content = file_format(wanted.target).contents(program, metadata)
    if wanted.weights == "int8" and labelled is not None:
        from cifar_tune.conversion.int8 import quantized  # noqa: PLC0415 (takes a second, and only int8 needs it)

        calibration = labelled.training.some(CALIBRATION).batches()
        return quantized(content, map(partial(_inputs, model, wanted), calibration), metadata)
    return content


@torch.no_grad()
def _inputs(model: SavedModel, wanted: Wanted, batch: npt.NDArray[np.uint8]) -> Images:
    """What a file gets of a batch, uint8 [B, 3, H, W]."""
    if wanted.with_preprocessing:
        return batch
    normalized: npt.NDArray[np.float32] = model.normalize(torch.from_numpy(batch)).contiguous().numpy()
    return normalized


def _of_file(model: SavedModel, wanted: Wanted, run: Run, pictures: Pictures) -> Logits:
    return np.concatenate([run(_inputs(model, wanted, batch)) for batch in pictures.batches()])


@torch.no_grad()
def _of_model(model: SavedModel, pictures: Pictures) -> Logits:
    return np.concatenate([model(torch.from_numpy(batch)).numpy() for batch in pictures.batches()])


def _named(pictures: Pictures) -> str:
    return f"{len(pictures):,} {pictures.origin}"


def _write(file: Path, content: bytes) -> None:
    try:
        replace_file(file, content)
    except OSError as error:
        raise UserError(Problem(f"cannot be written: {error.strerror}", "--output", str(file))) from error
