"""How well a converted file agrees with the model that it was made from, and how well it must."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
"""float32 [N, classes]."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a file may be from its model.

    Attributes:
        difference: the largest difference of any logit, as a share of the model's largest absolute logit. For this
            purpose the largest logit counts as 1 at least.
        equal_classes: the least share of the images for which both give the same class.
        lost_accuracy: how much lower the validation accuracy may be, as a fraction. One image less is
            always allowed. None where it is not measured.
    """

    difference: float
    equal_classes: float
    lost_accuracy: float | None = None

    def broken_by_accuracy(self, before: float, after: float, images: int) -> str | None:
        """Whether the accuracy on this many images falls too far, as part of a sentence; None where it does not."""
        if self.lost_accuracy is None or before - after <= max(self.lost_accuracy, 1 / images) + _ROUNDING:
            return None
        return (
            f"the accuracy on {images:,} validation images falls from {before:.4f} to {after:.4f}, and it may fall by "
            f"{max(self.lost_accuracy, 1 / images):.3g} at most"
        )


BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {
        "fp32": Bounds(difference=0.001, equal_classes=0.999),
        "fp16": Bounds(difference=0.01, equal_classes=0.99, lost_accuracy=0.005),
        "int8": Bounds(difference=0.25, equal_classes=0.9, lost_accuracy=0.02),
    }
)
"""By the type of the weights in the file."""

_ROUNDING = 1e-9
"""Fractions of images are compared."""

_TIE = 0.001
"""Classes whose logits are closer than this share of the largest logit are equally good: rounding decides."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a comparison found.

    Attributes:
        images: this many were compared.
        difference: the largest absolute difference of any logit.
        largest: the model's largest absolute logit.
        equal_classes: the share of the images with the same class. A class counts as the same, too, where the model's
            own logits for both classes differ by less than rounding may change.
    """

    images: int
    difference: float
    largest: float
    equal_classes: float

    def allowed(self, bounds: Bounds) -> float:
        """The largest difference that keeps the bounds."""
        return bounds.difference * max(1.0, self.largest)

    def broken(self, bounds: Bounds) -> str | None:
        """The bound that is not kept, as part of a sentence; None where all are kept."""
        allowed = self.allowed(bounds)
        if not self.difference <= allowed:  # also where it is not a number
            return f"a logit differs by {self.difference:.3g}, and at most {allowed:.3g} is allowed"
        if self.equal_classes < bounds.equal_classes:
            return (
                f"{self.equal_classes:.2%} of {self.images:,} images get the same class, and at least "
                f"{bounds.equal_classes:.1%} must"
            )
        return None


def compare(model: Logits, converted: Logits) -> Agreement:
    """Compare the logits of the model with those of the file made from it, for the same images.

    Args:
        model: float32 [N, classes], N > 0.
        converted: of the same shape.
    """
    largest = float(np.abs(model).max())
    differences = np.abs(model - converted)
    rows = np.arange(len(model))
    chosen = converted.argmax(1)
    short = model.max(1) - model[rows, chosen]
    return Agreement(
        images=len(model),
        difference=float(differences.max()),
        largest=largest,
        equal_classes=float((short <= _TIE * max(1.0, largest)).mean()),
    )


def accuracy(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    """The fraction of images whose largest logit is that of their label.

    Args:
        logits: float32 [N, classes], N > 0.
        labels: int64 [N].
    """
    return float((logits.argmax(1) == labels).mean())
