"""The learning-rate range test: the loss while the learning rate grows from far too low to far too high.

In Smith, "Cyclical learning rates for training neural networks" (arXiv:1506.01186, section 3.3), it grows linearly and
the accuracy is watched. Most people since let it grow exponentially and watch the loss, as here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.learner import build_learner


class MovingMean:
    """Exponential moving average whose bias towards its start at zero is taken off.

    After values v_1 ... v_n it is the sum of (1 - beta) beta^(n-i) v_i, over 1 - beta^n: the correction of Kingma and
    Ba 2015 (arXiv:1412.6980, section 3). It lags: its values are beta / (1 - beta) steps old in the mean.

    Args:
        beta: decay per step, in [0, 1).
    """

    def __init__(self, beta: float) -> None:
        self._beta = beta
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """Take in a value; return the mean."""
        self._sum = self._beta * self._sum + (1 - self._beta) * value
        self._weight = self._beta * self._weight + (1 - self._beta)
        return self._sum / self._weight


BETA = 0.9
"""Decay of the smoothed loss: it averages over about twenty steps."""

FAR_ABOVE = 4.0
"""The test stops where the smoothed loss is above this many times its minimum."""

Stop = Literal["end", "rose", "not_finite"]
"""Why the test stopped: all steps were taken, the loss rose far above its minimum, or it left the finite numbers."""


@dataclass(frozen=True, slots=True)
class LrStep:
    """One step of the test.

    Attributes:
        lr: learning rate of the step.
        loss: of the step's batch, before the step was taken; not finite in the last step of a test that diverged.
        smoothed: moving mean of the losses so far.
    """

    lr: float
    loss: float
    smoothed: float


@dataclass(frozen=True, slots=True)
class LrRangeTest:
    """The steps that were taken, and why there are no more."""

    steps: tuple[LrStep, ...]
    stop: Stop


def growing_lrs(low: float, high: float, steps: int) -> list[float]:
    """`steps` learning rates from `low` to `high`, both included, each the same factor above the one before."""
    return [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]


def lr_range_test(
    config: Configuration,
    data: ResidentData,
    device: torch.device,
    lrs: list[float],
    progress: Callable[[int, LrStep], None],
) -> LrRangeTest:
    """Take one step at each learning rate, on training batches in the order that the configuration draws.

    The configuration's schedule, its warm-up and its own `lr` play no part; all else does, its optimizer too. The
    learning rate is that of the weights: biases of norms keep `norm_bias_lr_factor` times it.

    Args:
        config: what is trained.
        data: its images; epoch follows epoch until all steps are taken.
        device: where.
        lrs: the learning rate of each step, ascending.
        progress: told each step, counted from 1.
    """
    config = config.replaced(schedule="constant", warmup_epochs=0.0, ema_decay=0.0, lr=lrs[0])
    # the schedule is constant; a lookahead that ends with the training must not end before the test
    learner = build_learner(config, data, device, steps_per_epoch=len(lrs))
    mean, lowest, steps = MovingMean(BETA), math.inf, []
    for lr, batch in zip(lrs, islice(learner.endless_batches(data), len(lrs)), strict=True):
        learner.set_lr(lr)
        loss = learner.train_step(*batch)[0].item()
        step = LrStep(lr, loss, mean.add(loss))
        steps.append(step)
        progress(len(steps), step)
        if not math.isfinite(loss):
            return LrRangeTest(tuple(steps), "not_finite")
        lowest = min(lowest, step.smoothed)
        if step.smoothed > FAR_ABOVE * lowest:
            return LrRangeTest(tuple(steps), "rose")
    return LrRangeTest(tuple(steps), "end")
