"""The last training of a study: on all images, without a validation split, measured on images that it never saw.

What a validation split decides in a trial, it has decided in the trial that is trained again: the epochs that it
trained before its patience ended, and the epochs after which schedule plateau lowered the learning rate. Both are
repeated here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cifar_tune.data.batches import other_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.statistics.predictions import Predictions
from cifar_tune.training.checkpoint import CheckpointError
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.evaluation import evaluate
from cifar_tune.training.failures import require_finite
from cifar_tune.training.loop import Training


@dataclass(frozen=True, slots=True)
class TrainedEpoch:
    """The figures of an epoch without validation; as those of `EpochResult`."""

    epoch: int
    train_loss: float
    train_accuracy: float
    seconds: float


def train_without_validation(training: Training, val_losses: Sequence[float]) -> Iterator[TrainedEpoch]:
    """Train one epoch for each of the validation losses, which are those that the trial had.

    Args:
        training: new, on data without validation images.
        val_losses: of the trial's epochs, in their order; schedule plateau is told them again.

    Raises:
        Diverged: the training loss is not finite.
    """
    for epoch, val_loss in enumerate(val_losses, start=1):
        started = time.perf_counter()
        [(train_loss, train_accuracy)] = training.train_epoch(epoch).read()
        require_finite(epoch, "training loss", train_loss)
        training.learner.schedule.after_epoch(val_loss)
        yield TrainedEpoch(epoch, train_loss, train_accuracy, time.perf_counter() - started)


class _Remembered(nn.Module):
    """A model that keeps the logits that it has given, float32 on the CPU."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.logits: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        self.logits.append(logits.float().cpu())
        return logits


def train_aloud(training: Training, val_losses: Sequence[float], say: Callable[[str], None]) -> None:
    """Train to the end, with a line per epoch; see `train_without_validation`."""
    for epoch in train_without_validation(training, val_losses):
        say(
            f"epoch {epoch.epoch}/{len(val_losses)}: train loss {epoch.train_loss:.4f}, "
            f"train accuracy {epoch.train_accuracy:.4f} ({epoch.seconds:.1f} s)"
        )


def trained(
    config: Configuration,
    data: ResidentData,
    device: torch.device,
    val_losses: Sequence[float],
    say: Callable[[str], None],
) -> Training:
    """A configuration that is trained here, on data without validation images.

    Args:
        config: what is trained.
        data: without validation images.
        device: where.
        val_losses: see `train_without_validation`.
        say: receives a line per epoch.
    """
    training = Training(config, data, device)
    train_aloud(training, val_losses, say)
    return training


def loaded(config: Configuration, data: ResidentData, device: torch.device, epochs: int, checkpoint: Path) -> Training:
    """A configuration with the weights that another process has trained on the same images, for this many epochs.

    Raises:
        CheckpointError: they are not there, or of another training.
    """
    plugins = [plugin.file for plugin in config.vocabulary.plugins if plugin.file is not None]
    training = Training(config, data, device)
    go_on(training, checkpoint, [each.identity for each in plugins], [each.sha256 for each in plugins])
    if len(training.results) != epochs:
        raise CheckpointError(f"{checkpoint} is not that of the last epoch")
    return training


def measure(
    training: Training, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> tuple[float, float, Predictions]:
    """Look at other images once with the trained model.

    Args:
        training: done.
        images: uint8 [N, H, W, 3].
        labels: int64 [N].

    Returns:
        Mean cross entropy, accuracy, and the predictions that they come from.
    """
    test_images, test_labels = (torch.from_numpy(array).to(training.device) for array in (images, labels))
    batches = other_batches(test_images, test_labels, training.data, training.config)
    model = _Remembered(training.learner.evaluated)
    [(loss, accuracy)] = evaluate(model, batches, training.precision, training.device).read()
    # in 64 bits two different logits never become equal probabilities, and the largest stays the largest
    probabilities = torch.cat(model.logits).double().softmax(1).numpy()
    return loss, accuracy, Predictions(training.data.classes, labels, probabilities)
