"""The metrics that a study can optimize or list, and that constraints can bound."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from cifar_tune.knobs.metrics import BEST, VALIDATION, Direction, MetricPart, find_measure, measure_names
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary
from cifar_tune.training.results import EpochResult


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
        value: computes it, or None where the training did not measure what it takes; metrics that are not
            `is_known_before_training` need one finished epoch.
        lowest, highest: no value lies beyond.
        is_whole: whether it counts something.
        is_known_before_training: whether it depends on the model alone, and so is the same after every epoch.
        is_clocked: whether it differs from one run of the same training to the next.
        not_pruned_by: why no pruner can compare trials by it; empty if one can.
        measure: the further metric that executors have to compute for it after each epoch; empty where none.
        part: the entry of that one.
    """

    direction: Direction
    meaning: str
    value: Callable[[Measured], float | None]
    lowest: float = 0.0
    highest: float = math.inf
    is_whole: bool = False
    is_known_before_training: bool = False
    is_clocked: bool = False
    not_pruned_by: str = ""
    measure: str = ""
    part: MetricPart | None = None

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
        "minimize", "cross entropy (log loss) on the validation images, last epoch", lambda m: m.results[-1].val_loss
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
"""Those that every training can be judged by. What a plugin or `cifar_tune.knobs.metrics` has is in `Metrics`."""


class Metrics(Mapping[str, Metric]):
    """All metrics that a study can name: METRICS, and those computed from what the model says of each image.

    It holds every number in place of the one that it lists, as in `val_top5_accuracy`.

    Args:
        vocabulary: has the metrics of plugins.
    """

    def __init__(self, vocabulary: Vocabulary = BUILT_IN) -> None:
        self._measures = vocabulary.measures

    def __getitem__(self, name: str) -> Metric:
        if name in METRICS:
            return METRICS[name]
        is_best = name.startswith(BEST)
        measure = name.removeprefix(BEST if is_best else VALIDATION)
        part = find_measure(measure, self._measures) if measure != name else None
        if part is None:
            raise KeyError(name)
        return _of_measure(VALIDATION + measure, part, is_best)

    def __iter__(self) -> Iterator[str]:
        yield from METRICS
        for name in measure_names(self._measures):
            yield from (f"{VALIDATION}{name}", f"{BEST}{name}")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def measures(self, names: Sequence[str]) -> tuple[str, ...]:
        """What executors have to compute after each epoch for these metrics."""
        return tuple(dict.fromkeys(self[name].measure for name in names if self[name].measure))


def exactly(name: str, value: float) -> str:
    """A value of a metric with every digit."""
    return METRICS[name].exact(value) if name in METRICS else repr(value)


def _of_measure(measure: str, part: MetricPart, is_best: bool) -> Metric:
    choose = max if part.direction == "maximize" else min

    def last(measured: Measured) -> float | None:
        return measured.results[-1].measures.get(measure)

    def best(measured: Measured) -> float | None:
        values = [result.measures.get(measure) for result in measured.results]
        known = [value for value in values if value is not None]
        return choose(known) if len(known) == len(values) else None  # an epoch that was not measured may be the best

    return Metric(
        part.direction,
        "the same, best epoch" if is_best else f"{part.meaning}, last epoch",
        best if is_best else last,
        lowest=part.lowest,
        highest=part.highest,
        measure=measure,
        part=part,
    )
