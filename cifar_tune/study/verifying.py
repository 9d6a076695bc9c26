"""Measures a final model again, and trains it again, for `cifar-tune verify`. Nothing is chosen by what comes out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test, test_fingerprint
from cifar_tune.errors import CheckError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.model_files.description import ModelDescription
from cifar_tune.model_files.loading import SavedModel
from cifar_tune.model_files.measuring import measure_saved
from cifar_tune.training.device import resolve_device
from cifar_tune.training.failures import training_errors
from cifar_tune.training.final import measure, train_aloud
from cifar_tune.training.loop import Training

Say = Callable[[str], None]
Labelled = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images, uint8 [N, H, W, 3], and labels, int64 [N]."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured: mean cross entropy, and the fraction that is right, of this many images."""

    images: int
    loss: float
    accuracy: float


def opened_test_images(spec: DataSpec, classes: tuple[str, ...]) -> tuple[Labelled, str]:
    """Open the test split, to measure once more what `finalize` has measured and written down.

    Returns:
        The images, and their fingerprint (`cifar_tune.data.test_split.test_fingerprint`).

    Raises:
        CheckError: it has other classes.
        UserError: it cannot be read.
    """
    images, labels, found = load_test(spec)
    if found != classes:
        raise CheckError("the test images here have other classes than those of the bundle")
    return (images, labels), test_fingerprint(spec)


def measured(model: SavedModel, images: Labelled) -> Figures:
    """Measure a loaded model as its training was measured."""
    loss, accuracy = measure_saved(model, *images)
    return Figures(len(images[1]), loss, accuracy)


def trained_again(
    description: ModelDescription, config: Configuration, prepared: PreparedData, device_name: str, say: Say
) -> Training:
    """Train the configuration from scratch, as `finalize` did.

    Args:
        description: of the model.
        config: its configuration, with plugins that have run.
        prepared: the images of the study.
        device_name: as `resolve_device` takes it.
        say: receives a line per epoch.

    Raises:
        CheckError: the training fails.
        UserError: the device does not have the precision.
    """
    device = resolve_device(device_name)
    merged = prepared.merged(with_unused=description.origin.images == "all")
    with training_errors(device):
        training = Training(config, ResidentData(merged, device), device)
        train_aloud(training, description.val_losses, say)
    return training


def measured_training(training: Training, images: Labelled) -> Figures:
    """Measure what was trained again."""
    with training_errors(training.device):
        loss, accuracy = measure(training, *images)[:2]
    return Figures(len(images[1]), loss, accuracy)
