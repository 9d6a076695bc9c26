"""Further metrics of an epoch, computed from what the model says of each validation image. A new one is one entry here.

A metric is a function of probabilities, float64 (N, classes), and labels, int64 (N,), both numpy arrays of the N
validation images; it returns one finite number. An entry `macro_f1` is the metric `val_macro_f1` of the last epoch and
`best_val_macro_f1` of the best one. Nothing is computed but what a study asks for.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from cifar_tune.knobs.part import Part

Direction = Literal["maximize", "minimize"]

VALIDATION, BEST = "val_", "best_val_"
"""What stands before the name of an entry: the last epoch's value, and that of the best epoch."""


@dataclass(frozen=True, slots=True)
class MetricPart(Part):
    """A metric.

    Attributes:
        direction: which way is better.
        lowest, highest: no value lies beyond.
        title: its name on axes and in sentences; without one, its name with spaces.
        is_share: whether it is a fraction that people read in percent.
        fewest_classes, most_classes: of the data that it can be computed for; None: any number.
        needs_every_class: whether the images that it is computed of must have all classes.
        number: the argument of the target that gets the number in the metric's name, which stands where the entry's
            name has a K: `topK_accuracy` is `top3_accuracy` and all others.
    """

    direction: Direction = field(kw_only=True)
    lowest: float = -math.inf
    highest: float = math.inf
    title: str = ""
    is_share: bool = False
    fewest_classes: int = 2
    most_classes: int | None = None
    needs_every_class: bool = False
    number: str = ""


_BUILT_IN: Mapping[str, MetricPart] = {
    "balanced_accuracy": MetricPart(
        "cifar_tune.training.metrics:balanced_accuracy",
        "mean over the classes of the share of their images that are right: small classes count as much as large ones",
        direction="maximize",
        lowest=0.0,
        highest=1.0,
        is_share=True,
    ),
    "macro_f1": MetricPart(
        "cifar_tune.training.metrics:macro_f1",
        "mean over the classes of F1, the harmonic mean of precision and recall",
        direction="maximize",
        lowest=0.0,
        highest=1.0,
        title="macro F1",
    ),
    "topK_accuracy": MetricPart(
        "cifar_tune.training.metrics:top_k_accuracy",
        "share of the images whose class is among the K most probable ones",
        direction="maximize",
        lowest=0.0,
        highest=1.0,
        title="top-K accuracy",
        is_share=True,
        number="k",
    ),
    "auroc": MetricPart(
        "cifar_tune.training.metrics:auroc",
        "area under the ROC curve: how often an image of the second class gets a higher probability of it than one of "
        "the first. For two classes",
        direction="maximize",
        lowest=0.0,
        highest=1.0,
        title="AUROC",
        most_classes=2,
        needs_every_class=True,
    ),
    "ece": MetricPart(
        "cifar_tune.training.metrics:expected_calibration_error",
        "expected calibration error: how far the probability of the predicted class is from the share that is right, "
        "in 15 bins of equal width",
        direction="minimize",
        lowest=0.0,
        highest=1.0,
        title="expected calibration error",
    ),
}

MEASURES: Mapping[str, MetricPart] = MappingProxyType(_BUILT_IN)
EXAMPLE_NUMBER = 5
"""In the name of a metric that stands for all others of its entry."""


def measure_names(measures: Mapping[str, MetricPart]) -> Iterator[str]:
    """The names of entries as metrics name them; of an entry for any number, the one with EXAMPLE_NUMBER."""
    for name, part in measures.items():
        yield _numbered(name, EXAMPLE_NUMBER) if part.number else name


def find_measure(name: str, measures: Mapping[str, MetricPart]) -> MetricPart | None:
    """The entry that a metric's name without `val_` or `best_val_` means, with its number filled in; None if none."""
    if name in measures and not measures[name].number:
        return measures[name]
    for pattern, part in measures.items():
        found = re.fullmatch(re.escape(pattern).replace("K", r"([1-9]\d{0,5})"), name) if part.number else None
        if found and int(found[1]) > 1:
            return with_number(part, int(found[1]))
    return None


def with_number(part: MetricPart, number: int) -> MetricPart:
    """The entry for one number. More classes than that are needed: else it would always be 1."""
    return replace(
        part,
        meaning=_numbered(part.meaning, number),
        title=_numbered(part.title, number),
        constants={**part.constants, part.number: number},
        fewest_classes=number + 1,
        number="",
    )


def _numbered(text: str, number: int) -> str:
    return re.sub(r"\bK\b|(?<=top)K|(?<=top-)K", str(number), text)
