"""The metrics that a study can optimize, and that constraints can bound."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from cifar_tune.training.results import EpochResult

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a training has shown so far.

    Attributes:
        results: of the finished epochs, in order.
        parameters: learned parameters of the model.
        flops: multiply-adds of its forward pass for one image.
    """

    results: Sequence[EpochResult]
    parameters: int
    flops: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure computed from a training so far, on the validation split alone.

    Attributes:
        direction: which way is better.
        meaning: one line for people.
        value: computes it; metrics that are not `is_known_before_training` need one finished epoch.
        highest: no value is larger; the lowest is 0 for all of them.
        is_whole: whether it counts something.
        is_known_before_training: whether it depends on the model alone, and so is the same after every epoch.
        is_clocked: whether it differs from one run of the same training to the next.
        not_pruned_by: why no pruner can compare trials by it; empty if one can.
    """

    direction: Direction
    meaning: str
    value: Callable[[Measured], float]
    highest: float = math.inf
    is_whole: bool = False
    is_known_before_training: bool = False
    is_clocked: bool = False
    not_pruned_by: str = ""

    def exact(self, value: float) -> str:
        """A value with every digit."""
        return repr(int(value)) if self.is_whole else repr(value)


def _seconds_per_epoch(measured: Measured) -> float:
    seconds = [result.seconds for result in measured.results]
    return median(seconds[1:] or seconds)


def _epochs_to_best(measured: Measured) -> float:
    return float(max(measured.results, key=lambda result: result.val_accuracy).epoch)  # the first one of equal ones


_CONSTANT = "it is the same after every epoch, so it would stop a trial at once or never"

METRICS: Mapping[str, Metric] = {
    "val_accuracy": Metric(
        "maximize",
        "share of validation images classified rightly, last epoch",
        lambda m: m.results[-1].val_accuracy,
        highest=1.0,
    ),
    "best_val_accuracy": Metric(
        "maximize", "the same, best epoch", lambda m: max(epoch.val_accuracy for epoch in m.results), highest=1.0
    ),
    "val_loss": Metric(
        "minimize", "cross entropy on the validation images, last epoch", lambda m: m.results[-1].val_loss
    ),
    "best_val_loss": Metric("minimize", "the same, best epoch", lambda m: min(epoch.val_loss for epoch in m.results)),
    "parameters": Metric(
        "minimize",
        "learned parameters of the model",
        lambda m: float(m.parameters),
        is_whole=True,
        is_known_before_training=True,
        not_pruned_by=_CONSTANT,
    ),
    "flops": Metric(
        "minimize",
        "multiply-adds of convolutions and matrix products in the forward pass of one image",
        lambda m: float(m.flops),
        is_whole=True,
        is_known_before_training=True,
        not_pruned_by=_CONSTANT,
    ),
    "seconds_per_epoch": Metric(
        "minimize", "median over the epochs, validation included; the first one, which warms up, is left out",
        _seconds_per_epoch,
        is_clocked=True,
    ),
    "epochs_to_best": Metric(
        "minimize",
        "the epoch of the best validation accuracy",
        _epochs_to_best,
        is_whole=True,
        not_pruned_by="it grows as long as a trial improves, so it would stop the ones that do",
    ),
}  # fmt: skip
