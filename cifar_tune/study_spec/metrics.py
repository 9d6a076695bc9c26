"""The metrics that a study can optimize."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cifar_tune.training.results import EpochResult

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure computed from the epochs so far, on the validation split alone."""

    direction: Direction
    meaning: str
    value: Callable[[Sequence[EpochResult]], float]


METRICS: Mapping[str, Metric] = {
    "val_accuracy": Metric(
        "maximize", "share of validation images classified rightly, last epoch", lambda r: r[-1].val_accuracy
    ),
    "best_val_accuracy": Metric("maximize", "the same, best epoch", lambda r: max(epoch.val_accuracy for epoch in r)),
    "val_loss": Metric("minimize", "cross entropy on the validation images, last epoch", lambda r: r[-1].val_loss),
    "best_val_loss": Metric("minimize", "the same, best epoch", lambda r: min(epoch.val_loss for epoch in r)),
}
