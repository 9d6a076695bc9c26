"""How predictions compare with the labels that class folders give."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cifar_tune.prediction.predicting import Predictions

_WIDE = 12
"""Classes up to which the confusion matrix is shown whole."""

_MOST_CONFUSED = 10


class Score:
    """Counts predictions of images that have a label.

    Attributes:
        classes: names; label i is `classes[i]`.
        confusion: how many images of each class (row) were taken for each class (column), int64 [classes, classes].
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.confusion: npt.NDArray[np.int64] = np.zeros((len(classes), len(classes)), dtype=np.int64)

    def add(self, predictions: Predictions) -> None:
        """Count those of the images that have a label."""
        labels = np.array([-1 if image.label is None else image.label for image in predictions.images], dtype=np.int64)
        known = labels >= 0
        np.add.at(self.confusion, (labels[known], predictions.probabilities.argmax(1)[known]), 1)

    @property
    def images(self) -> int:
        """With a label."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled images that are right; None where there is none."""
        return float(self.confusion.trace() / self.images) if self.images else None

    def lines(self) -> list[str]:
        """`key=value` lines at full precision, and the confusion matrix; of many classes, what is confused most."""
        lines = [f"accuracy={self.accuracy!r}", f"labelled_images={self.images}"]
        return lines + (self._matrix() if len(self.classes) <= _WIDE else self._most_confused())

    def _matrix(self) -> list[str]:
        cells = [[str(count) for count in row] for row in self.confusion]
        widths = [
            max(map(len, (name, *column))) for name, column in zip(self.classes, zip(*cells, strict=True), strict=True)
        ]
        first = max(map(len, self.classes))
        rows = [["", *self.classes], *([name, *row] for name, row in zip(self.classes, cells, strict=True))]
        return [
            "confusion matrix (rows: class of the folder, columns: predicted class)",
            *("  ".join([row[0].ljust(first), *map(str.rjust, row[1:], widths)]) for row in rows),
        ]

    def _most_confused(self) -> list[str]:
        wrong = self.confusion - np.diag(self.confusion.diagonal())
        order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSED]
        pairs = [(int(place) // len(self.classes), int(place) % len(self.classes)) for place in order]
        found = [f"{self.classes[a]} taken for {self.classes[b]}: {wrong[a, b]}" for a, b in pairs if wrong[a, b]]
        return ["most frequent mistakes (--json has the whole confusion matrix)", *found] if found else []
