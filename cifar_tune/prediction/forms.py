"""The forms in which predictions are given out: lines for people, CSV, JSON."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cifar_tune.csv_text import csv_rows
from cifar_tune.prediction.predicting import Predictions
from cifar_tune.prediction.score import Score
from cifar_tune.visible import visible

Write = Callable[[str], object]
"""Takes text with its line ends."""


class Form(ABC):
    """Writes predictions as they come.

    Args:
        write: takes the text.
        classes: names; column i of the probabilities is that of `classes[i]`.
        top: classes that are named of each image, the most probable first.
    """

    def __init__(self, write: Write, classes: Sequence[str], top: int) -> None:
        self._write = write
        self._classes = classes
        self._top = min(top, len(classes))

    @abstractmethod
    def add(self, predictions: Predictions) -> None:
        """Write what came out of a batch."""

    @abstractmethod
    def end(self, score: Score) -> None:
        """Write what comes at the end."""

    def _best(self, predictions: Predictions) -> list[list[tuple[str, float]]]:
        """Of each image the most probable classes and their probabilities; of equals the first class."""
        order = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, : self._top]
        values = np.take_along_axis(predictions.probabilities, order, axis=1)
        return [
            [(self._classes[number], value) for number, value in zip(numbers, row, strict=True)]
            for numbers, row in zip(order.tolist(), values.tolist(), strict=True)
        ]


class Lines(Form):
    """`photo.jpg: cat 93.12 %, dog 4.10 %`, one line per image."""

    def add(self, predictions: Predictions) -> None:
        """Write a line per image."""
        for image, best in zip(predictions.images, self._best(predictions), strict=True):
            shown = ", ".join(f"{name} {100 * probability:.2f} %" for name, probability in best)
            self._write(visible(f"{image.name}: {shown}") + "\n")

    def end(self, score: Score) -> None:
        """There is no more: the score follows on lines of its own."""


class Table(Form):
    """CSV: `image`, `label` where there are labels, `class_1`, `probability_1`, `class_2` and so on.

    Args:
        is_labelled: whether there is a column for labels.
    """

    def __init__(self, write: Write, classes: Sequence[str], top: int, is_labelled: bool) -> None:
        super().__init__(write, classes, top)
        self._is_labelled = is_labelled
        ranked = [f"{name}_{rank}" for rank in range(1, self._top + 1) for name in ("class", "probability")]
        write(csv_rows([["image", *(["label"] if is_labelled else []), *ranked]]))

    def add(self, predictions: Predictions) -> None:
        """Write a row per image."""
        rows: list[list[object]] = []
        for image, best in zip(predictions.images, self._best(predictions), strict=True):
            label = None if image.label is None else self._classes[image.label]
            cells = [cell for pair in best for cell in pair]
            rows.append([image.name, *([label] if self._is_labelled else []), *cells])
        self._write(csv_rows(rows))

    def end(self, score: Score) -> None:
        """There is no more: the score follows on lines of its own."""


class Json(Form):
    """One object, whose keys the command's help names."""

    def __init__(self, write: Write, classes: Sequence[str], top: int) -> None:
        super().__init__(write, classes, top)
        self._predictions: list[dict[str, Any]] = []
        self._unreadable: list[dict[str, str]] = []

    def add(self, predictions: Predictions) -> None:
        """Keep what came out."""
        for image, best in zip(predictions.images, self._best(predictions), strict=True):
            label = {} if image.label is None else {"label": self._classes[image.label]}
            top = [{"class": name, "probability": probability} for name, probability in best]
            self._predictions.append({"image": image.name, **label, "top": top})
        self._unreadable += [{"image": image.name, "error": problem.rule} for image, problem in predictions.unreadable]

    def end(self, score: Score) -> None:
        """Write the object."""
        content: dict[str, Any] = {
            "classes": list(self._classes),
            "predictions": self._predictions,
            "unreadable": self._unreadable,
        }
        if score.images:
            content |= {
                "accuracy": score.accuracy,
                "labelled_images": score.images,
                "confusion": score.confusion.tolist(),
            }
        self._write(json.dumps(content, indent=2) + "\n")
