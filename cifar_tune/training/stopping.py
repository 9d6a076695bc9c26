"""When a training is over. Without torch, since the coordinator of a study asks too."""

from collections.abc import Sequence

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.results import EpochResult


def is_over(config: Configuration, results: Sequence[EpochResult]) -> bool:
    """Whether no epoch comes after `results`: all are trained, or `patience` says that the rest is not worth it."""
    patience = config.integer("patience")
    return len(results) >= config.integer("epochs") or 0 < patience <= epochs_without_progress(results)


def epochs_without_progress(results: Sequence[EpochResult]) -> int:
    """How many epochs have passed since the last one with a new best validation loss or validation accuracy.

    Either counts: the loss often rises while the accuracy still improves.
    """
    best_loss, best_accuracy = float("inf"), -1.0
    waited = 0
    for result in results:
        waited = 0 if result.val_loss < best_loss or result.val_accuracy > best_accuracy else waited + 1
        best_loss = min(best_loss, result.val_loss)
        best_accuracy = max(best_accuracy, result.val_accuracy)
    return waited
