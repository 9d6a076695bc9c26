"""What a trained model says of images whose classes are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]
"""How many images of each class (row) were taken for each class (column), int64 [classes, classes]."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Of images in their own order.

    Attributes:
        classes: names; label i is `classes[i]`.
        labels: int64 [N].
        probabilities: float [N, classes]; softmax of the logits, whatever loss was minimised.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.floating]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The most probable class of each image, int64 [N]."""
        most: npt.NDArray[np.int64] = self.probabilities.argmax(1)
        return most

    @property
    def confidence(self) -> npt.NDArray[np.floating]:
        """The probability of that class, float [N]; 0 where it is not a number, as after a division by zero."""
        highest: npt.NDArray[np.floating] = np.nan_to_num(self.probabilities.max(1))
        return highest

    @property
    def accuracy(self) -> float:
        """Share of the images that are right."""
        return float((self.predicted == self.labels).mean())

    def confusion(self) -> Confusion:
        """How many images of each class were taken for which."""
        table = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(table, (self.labels, self.predicted), 1)
        return table

    def mistakes(self) -> npt.NDArray[np.int64]:
        """Positions of the images that are wrong, the ones with the most probable prediction first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]


def class_accuracies(classes: Sequence[str], confusion: Confusion) -> list[tuple[str, int, int]]:
    """Of each class: name, images, right ones."""
    counts, right = confusion.sum(1).tolist(), np.diag(confusion).tolist()
    return list(zip(classes, counts, right, strict=True))


def worst_class(classes: Sequence[str], confusion: Confusion) -> tuple[str, float]:
    """The class with the smallest accuracy, and that accuracy."""
    found = [(right / images, name) for name, images, right in class_accuracies(classes, confusion) if images]
    accuracy, name = min(found)
    return name, accuracy
