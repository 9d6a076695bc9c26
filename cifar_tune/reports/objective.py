"""How the objective is called and written: shares as percentages, losses as they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cifar_tune.knobs.metrics import BEST, VALIDATION, find_measure
from cifar_tune.knobs.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Scale:
    """What an objective looks like on paper.

    Attributes:
        label: its name on axes.
        words: its name in a sentence.
        is_share: whether it is a fraction, shown in percent.
        is_count: whether it is a whole number.
        is_accuracy: whether it is the share of the images that are right, so that their number says how sure it is.
        is_time: whether it is a time, which is never the same twice: three digits are enough.
        decimals: of a percentage. Other figures have two more, which is as much.
    """

    label: str
    words: str
    is_share: bool
    is_count: bool = False
    is_accuracy: bool = False
    is_time: bool = False
    decimals: int = 2

    @property
    def axis_label(self) -> str:
        """The label with its unit."""
        return f"{self.label} (%)" if self.is_share else self.label

    def on_axis(self, value: float) -> float:
        """The value as it is plotted."""
        return value * 100 if self.is_share else value

    def shown(self, value: float | None) -> str:
        """The value as it is written in text and tables; a dash where there is none."""
        if value is None:
            return "-"
        if self.is_count:
            return f"{value:,.0f}"
        if self.is_share:
            return f"{value * 100:.{self.decimals}f} %"
        if self.is_time:
            return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"
        if abs(value) >= 1000:
            return f"{value:.3g}"
        return f"{value:.{self.decimals + 2}f}"

    def rounded_for(self, images: int | None) -> "Scale":
        """The same with as many decimals as this many validation images allow; None where their number is unknown.

        Tenths of a percent, and hundredths where these are not below a quarter of the standard error that an accuracy
        of one half has: with more than 15,625 images.
        """
        if not images or 100 * 0.5 / math.sqrt(images) / 4 < 0.1:
            return self
        return replace(self, decimals=1)

    def shown_error(self, value: float | None) -> str:
        """A standard error as it is written: of shares in points; a dash where there is none."""
        if value is None:
            return "-"
        return f"{value * 100:.2f} points" if self.is_share else f"{value:.3g}"


SCALES: Mapping[str, Scale] = {
    "val_accuracy": Scale(
        "validation accuracy, last epoch", "validation accuracy of the last epoch", is_share=True, is_accuracy=True
    ),
    "best_val_accuracy": Scale(
        "validation accuracy, best epoch", "validation accuracy of the best epoch", is_share=True, is_accuracy=True
    ),
    "val_loss": Scale("validation loss, last epoch", "validation loss of the last epoch", is_share=False),
    "best_val_loss": Scale("validation loss, best epoch", "validation loss of the best epoch", is_share=False),
    "parameters": Scale("parameters", "number of parameters", is_share=False, is_count=True),
    "flops": Scale(
        "multiply-adds of one image", "number of multiply-adds for one image", is_share=False, is_count=True
    ),
    "seconds_per_epoch": Scale("seconds per epoch", "seconds per epoch", is_share=False, is_time=True),
    "epochs_to_best": Scale(
        "epoch of the best validation accuracy", "epoch of the best validation accuracy", is_share=False, is_count=True
    ),
}


def scale_of(metric: str, vocabulary: Vocabulary) -> Scale:
    """The scale of one of a study's metrics."""
    if metric in SCALES:
        return SCALES[metric]
    name = metric.removeprefix(BEST).removeprefix(VALIDATION)
    part = find_measure(name, vocabulary.measures)
    title = (part.title if part else "") or name.replace("_", " ")
    epoch = "best" if metric.startswith(BEST) else "last"
    return Scale(
        f"validation {title}, {epoch} epoch",
        f"validation {title} of the {epoch} epoch",
        is_share=part is not None and part.is_share,
    )


def axis_limits(values: Sequence[float], scale: Scale) -> tuple[float, float]:
    """Where an axis of these values (as plotted, at least one of them) begins and ends.

    An accuracy has bounds, a loss has none: few trials that nearly diverged would squeeze all others into one line, so
    the axis of a loss ends at some distance from the median. What lies beyond is drawn at its end.
    """
    low, high = min(values), max(values)
    if not scale.is_share:
        high = min(high, max(low + 4 * (float(np.median(values)) - low), 1.5 * low))
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    return (max(low, -2.0), min(high, 102.0)) if scale.is_share else (low, high)


def finite(value: float | None) -> bool:
    """Whether there is a value, and it can be drawn."""
    return value is not None and math.isfinite(value)
