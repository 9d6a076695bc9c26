"""What one epoch of training gave, and when a training is over. Without torch: storage and reports use it too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cifar_tune.knobs.configuration import Configuration


@dataclass(frozen=True, slots=True)
class EpochResult:
    """The figures of one epoch; every one of them is finite.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the epoch's steps of the loss that was minimised, label smoothing included, weight decay
            and L1 penalty not.
        train_accuracy: fraction of the epoch's images that were right when they were trained on, so with augmentation
            and dropout.
        val_loss: mean cross entropy over the validation split, whatever loss was minimised, without label smoothing.
        val_accuracy: fraction of the validation split that is right.
        lr: learning rate of the epoch's last step.
        seconds: wall time of the epoch, validation included.
        measures: further metrics of the validation split by name, such as `val_macro_f1`, as far as asked for.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float
    measures: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The figures by name; `measures` only where there are any."""
        figures = {name: getattr(self, name) for name in ("epoch", *FIGURES)}
        return {**figures, "measures": dict(self.measures)} if self.measures else figures

    @classmethod
    def from_dict(cls, figures: Mapping[str, Any]) -> "EpochResult":
        """Return the result that `as_dict` wrote."""
        return cls(**figures)


FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")
"""What every epoch has, in this order, beside its number."""


def is_over(config: Configuration, results: Sequence[EpochResult], epochs: int | None = None) -> bool:
    """Whether no epoch comes after `results`: all are trained, or `patience` says that the rest is not worth it.

    Where somebody has said how many `epochs` are trained, these are all.
    """
    if epochs is not None:
        return len(results) >= epochs
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
