"""Computes the further metrics of an epoch, on the CPU, from the logits of all validation images at once.

The logits stay on their device until the validation is over, so that no batch waits for it; then they move once. Of
50,000 images and 10 classes that is 2 MB. All but the calibration error is scikit-learn's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cifar_tune.errors import CheckError
from cifar_tune.knobs.metrics import VALIDATION, find_measure
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.statistics import calibration

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Measure = Callable[[Probabilities, Labels], Any]


class Measures:
    """The metrics that a training computes after each epoch beside loss and accuracy.

    Args:
        names: of the metrics, such as `val_macro_f1`.
        vocabulary: what they mean.

    Attributes:
        names: as given.
    """

    def __init__(self, names: Sequence[str], vocabulary: Vocabulary) -> None:
        self.names = tuple(names)
        self._measures: Mapping[str, Measure] = {name: _built(name, vocabulary) for name in names}

    def of(self, logits: Tensor, labels: Tensor) -> dict[str, float]:
        """Each metric by its name.

        Args:
            logits: float32 (N, classes); finite.
            labels: int64 (N,).

        Raises:
            CheckError: a metric of a plugin gives something else than a finite number.
        """
        if not self._measures:
            return {}
        return self.of_probabilities(logits.to("cpu", torch.float64).softmax(1).numpy(), labels.cpu().numpy())

    def of_probabilities(self, probabilities: Probabilities, labels: Labels) -> dict[str, float]:
        """The same from probabilities, float64 (N, classes), and labels, int64 (N,)."""
        # Copies, since a function of a plugin may sort in place.
        return {
            name: _number(name, measure(probabilities.copy(), labels.copy()))
            for name, measure in self._measures.items()
        }


def _built(name: str, vocabulary: Vocabulary) -> Measure:
    part = find_measure(name.removeprefix(VALIDATION), vocabulary.measures)
    if part is None:
        raise ValueError(f"there is no metric {name}")
    function, constants = part.resolve(), part.constants
    return lambda probabilities, labels: function(probabilities, labels, **constants)


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise CheckError(f"metric {name} gave {value!r:.100}; it must give one finite number")
    return number


def balanced_accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of the recall of the classes that there are images of."""
    from sklearn.metrics import recall_score  # noqa: PLC0415 (slow to import, and most studies need none)

    predicted = probabilities.argmax(1)
    return float(recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0))


def macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of F1 over the classes that there are images of, or that are predicted."""
    from sklearn.metrics import f1_score  # noqa: PLC0415 (as above)

    return float(f1_score(labels, probabilities.argmax(1), average="macro", zero_division=0.0))


def top_k_accuracy(probabilities: Probabilities, labels: Labels, *, k: int) -> float:
    """Share of images whose class is among the `k` most probable ones.

    Of equal ones, earlier classes come first, as in the accuracy, which is never higher. scikit-learn's comes from the
    other end: a network that says the same of all classes would be right more often in one guess than in two.
    """
    most_probable = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((most_probable == labels[:, None]).any(1).mean())


def auroc(probabilities: Probabilities, labels: Labels) -> float:
    """Area under the ROC curve of the second of two classes.

    Images are ordered by the logarithm of the odds: near 1 different probabilities are soon the same number, and a
    model that is very sure would lose its order.

    Raises:
        CheckError: all images are of one class.
    """
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 (as above)

    if len(np.unique(labels)) < 2:
        raise CheckError("the area under the ROC curve needs images of both classes")
    least = np.finfo(np.float64).tiny
    odds = np.log(np.maximum(probabilities[:, 1], least)) - np.log(np.maximum(probabilities[:, 0], least))
    return float(roc_auc_score(labels, odds))


def expected_calibration_error(probabilities: Probabilities, labels: Labels, *, bins: int = 15) -> float:
    """Mean distance between the probability of the predicted class and the share that is right, bin by bin.

    Bins have equal width, and each counts by its images. Guo, Pleiss, Sun and Weinberger, "On calibration of modern
    neural networks", ICML 2017 (arXiv:1706.04599), equation 3.
    """
    right = probabilities.argmax(1) == labels
    return calibration.expected_calibration_error(calibration.reliability(probabilities.max(1), right, bins))
