"""What an opening of the test split showed beside loss and accuracy, kept so that no report opens the split again.

It is JSON in pieces, since a value in MySQL holds 65,535 bytes. Pictures of the mistakes are in it, as small files.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from cifar_tune.errors import Problem, UserError
from cifar_tune.statistics.calibration import Bin, expected_calibration_error
from cifar_tune.statistics.predictions import Confusion, class_accuracies
from cifar_tune.storage import attributes

_PIECE = 30_000
"""Characters, all of them ASCII; quotes and backslashes become two where a text is stored as JSON once more."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test image that was taken for another class.

    Attributes:
        image: its position in the test split.
        path: its file below `data.root`; None where it has none of its own.
        true, predicted: numbers of the classes.
        probability: of the predicted class.
        picture: the image, PNG or JPEG, as a `data:` address.
    """

    image: int
    path: str | None
    true: int
    predicted: int
    probability: float
    picture: str


@dataclass(frozen=True)
class Analysis:
    """What a model said of the test images.

    Attributes:
        classes: their names.
        counts: of the confusion matrix, what is not 0: true class, predicted class, images.
        bins: of the calibration, from 0 to 1.
        mistakes: the most confident ones, the surest first.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, int, int], ...]
    bins: tuple[Bin, ...]
    mistakes: tuple[Mistake, ...]

    @cached_property
    def confusion(self) -> Confusion:
        """How many images of each class were taken for which."""
        table = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        for true, predicted, images in self.counts:
            table[true, predicted] = images
        return table

    @property
    def calibration_error(self) -> float:
        """The expected calibration error over the bins."""
        return expected_calibration_error(self.bins)

    @property
    def wrong(self) -> int:
        """How many test images were taken for another class."""
        return sum(images for true, predicted, images in self.counts if true != predicted)

    def shown(self) -> dict[str, Any]:
        """For programs, by name and without pictures."""
        per_class = [
            {"class": name, "images": images, "right": right, "accuracy": right / images if images else None}
            for name, images, right in class_accuracies(self.classes, self.confusion)
        ]
        mistakes = [
            {
                "image": each.image,
                "path": each.path,
                "true": self.classes[each.true],
                "predicted": self.classes[each.predicted],
                "probability": each.probability,
            }
            for each in self.mistakes
        ]
        return {
            "classes": per_class,
            "confusion": self.confusion.tolist(),
            "expected_calibration_error": self.calibration_error,
            "calibration": [asdict(each) for each in self.bins],
            "mistakes": mistakes,
        }


_ANALYSIS = TypeAdapter(Analysis)


def pieces(analysis: Analysis, opening: int) -> Iterator[tuple[str, str]]:
    """Name and value of each attribute of a study that holds the analysis of an opening, from 0."""
    text = json.dumps(asdict(analysis), separators=(",", ":"))
    for index, start in enumerate(range(0, len(text), _PIECE)):
        yield _name(opening, index), text[start : start + _PIECE]


def read_analysis(user_attrs: Mapping[str, Any], opening: int) -> Analysis | None:
    """The analysis of an opening, from 0; None where it has none: an earlier version opened it, or it was lost.

    Raises:
        UserError: another version of cifar-tune wrote one that this version cannot read.
    """
    text = ""
    for index in count():
        piece = user_attrs.get(_name(opening, index))
        if piece is None:
            break
        text += str(piece)
    if not text:
        return None
    try:
        analysis = _ANALYSIS.validate_python(json.loads(text))
        places = [place for *pair, _ in analysis.counts for place in pair]
        places += [place for each in analysis.mistakes for place in (each.true, each.predicted)]
        if not analysis.bins or not all(0 <= place < len(analysis.classes) for place in places):
            raise ValueError("classes that there are not")
    except ValueError as error:
        rule = "another version of cifar-tune wrote it, or something damaged it: this version cannot read it"
        raise UserError(Problem(rule, _name(opening, 0))) from error
    return analysis


def _name(opening: int, piece: int) -> str:
    return f"{attributes.TEST_ANALYSIS}{opening + 1}_{piece + 1}"
