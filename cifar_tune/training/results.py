"""What one epoch of training gave. Without torch, since storage and reports read it too."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float

    def as_dict(self) -> dict[str, int | float]:
        """The figures by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, figures: Mapping[str, Any]) -> "EpochResult":
        """Return the result that `as_dict` wrote."""
        return cls(**figures)
