"""From a learning-rate range test to a range worth searching, or the reason why it shows none."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cifar_tune.insight.lr_range import BETA, LrRangeTest
from cifar_tune.wording import tick_label

LAG = round(BETA / (1 - BETA))
"""Steps by which the smoothed loss is behind."""

NOTICEABLE = 0.1
"""Share of the whole fall after which the loss has begun to fall."""

FEWEST_STEPS = 3 * LAG
_LEAST_FALL = 0.02
_LEAST_NOISES = 5.0
_MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A search range for the learning rate, of two significant digits.

    Attributes:
        low, high: its ends; None where the test shows none.
        reason: why it shows none; else a remark, or nothing.
    """

    low: float | None
    high: float | None
    reason: str = ""


def suggest(test: LrRangeTest) -> Suggestion:
    """Read a search range off a test.

    - high: the learning rate at which the smoothed loss is lowest: above it, the loss turns up.
    - low: the learning rate above which the smoothed loss stays below its start by more than a tenth of the whole
      fall.

    Both are taken LAG steps earlier, since the smoothed loss is that much behind. The start is the median of the first
    tenth of the losses. There is no sound suggestion where the fall is lost in the noise (less than 2 % of the start,
    or than five standard deviations of the smoothed loss, taken at the start or around its lowest value, wherever they
    are larger), where the last losses are not above the lowest ones by a tenth of the fall and by that noise, or where
    `high` is not at least twice `low`.
    """
    finite = [step for step in test.steps if math.isfinite(step.loss)]
    if len(finite) < FEWEST_STEPS:
        return _none(f"the loss left all bounds after {len(finite)} steps: begin with a lower --low")
    lrs = np.array([step.lr for step in finite])
    losses = np.array([step.loss for step in finite])
    smoothed = np.array([step.smoothed for step in finite])
    first = max(LAG, len(losses) // 10)
    start = float(np.median(losses[:first]))
    bottom = LAG + int(smoothed[LAG:].argmin())  # the mean of the first few losses is as noisy as they are
    fall = start - float(smoothed[bottom])
    noise = max(_noise(losses[:first]), _noise(losses[max(bottom - 3 * LAG, 0) : bottom + LAG]))
    if fall < max(_LEAST_FALL * abs(start), _LEAST_NOISES * noise):
        return _none(
            f"the loss hardly falls: from {start:.4g} to {smoothed[bottom]:.4g}, "
            f"where the smoothed loss is uncertain by {noise:.2g}"
        )
    if test.stop == "end" and _rise(losses, bottom) < max(NOTICEABLE * fall, _LEAST_NOISES * noise):
        return _none(f"the loss has not turned up by lr = {tick_label(_rounded(lrs[-1]))}: go on with a higher --high")
    not_yet = np.flatnonzero(smoothed[:bottom] > start - NOTICEABLE * fall)
    begins = (int(not_yet[-1]) + 1 if len(not_yet) else 0) - LAG
    low, high = _rounded(lrs[max(begins, 0)]), _rounded(lrs[bottom - LAG])
    if high < 2 * low:
        return _none(
            f"between the fall (lr = {tick_label(low)}) and the rise (lr = {tick_label(high)}) there is no room"
        )
    remark = "the loss falls almost from the first step on: a lower --low would show where it begins to"
    return Suggestion(low, high, remark if begins < first else "")


def _rise(losses: npt.NDArray[np.float64], bottom: int) -> float:
    """How much the last losses are above those at the bottom: medians, which a few bad batches do not move."""
    last = losses[bottom + 1 :][-2 * LAG :]
    return float(np.median(last) - np.median(losses[bottom - LAG : bottom + 1])) if len(last) >= LAG else 0.0


def _noise(losses: npt.NDArray[np.float64]) -> float:
    """Standard deviation of the smoothed loss, from how much successive losses differ."""
    differences = np.diff(losses)
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(differences - np.median(differences)))) / math.sqrt(2)
    return deviation * math.sqrt((1 - BETA) / (1 + BETA))


def _none(reason: str) -> Suggestion:
    return Suggestion(None, None, reason)


def _rounded(lr: float) -> float:
    return float(f"{lr:.2g}")
