"""From a configuration to its learning-rate schedule, over torch's schedulers."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.schedules import SCHEDULES

FEWEST_ONE_CYCLE_STEPS = 2
JUST_ABOVE = 1e-9


class Schedule:
    """A scheduler that moves after every step, or after every epoch, and stops at the end of training.

    Args:
        scheduler: moves the learning rate of its optimizer.
        per: the unit that it counts in.
        length: of the whole training, in that unit.
    """

    def __init__(self, scheduler: LRScheduler, per: Literal["step", "epoch"], length: int) -> None:
        self.scheduler = scheduler
        self._per = per
        self._length = length

    def after_step(self) -> None:
        """Move on, where the schedule counts steps."""
        if self._per == "step":
            self._move()

    def after_epoch(self) -> None:
        """Move on, where the schedule counts epochs."""
        if self._per == "epoch":
            self._move()

    def _move(self) -> None:
        # No learning rate is needed after the last step; OneCycleLR with pct_start=1 would divide by zero for it.
        if self.scheduler.last_epoch < self._length - 1:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state. The learning rate itself is part of the optimizer's."""
        return self.scheduler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the optimizer's state must be loaded too."""
        self.scheduler.load_state_dict(dict(state))


def build_schedule(config: Configuration, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    """Return the configuration's schedule for `optimizer`, at the first learning rate of the training."""
    part = SCHEDULES[config.text("schedule")]
    epochs = config.integer("epochs")
    length = epochs if part.per == "epoch" else epochs * steps_per_epoch
    arguments = part.arguments_from(config)
    if part.length_argument is not None:
        arguments[part.length_argument] = length
    if part.lr_argument is not None:
        arguments[part.lr_argument] = config.number("lr")
    if "pct_start" in arguments:
        _avoid_division_by_zero(arguments)
    return Schedule(part.resolve()(optimizer, **arguments), part.per, length)


def _avoid_division_by_zero(arguments: dict[str, Any]) -> None:
    """Change arguments of OneCycleLR for which it divides by the length of a phase that is zero.

    Its rise ends at step `pct_start * total_steps - 1`. Where that is 0, the rise is stretched by a hair, so that the
    first step is taken at the lowest learning rate. A training of one step gets the schedule of two.
    """
    arguments["total_steps"] = max(arguments["total_steps"], FEWEST_ONE_CYCLE_STEPS)
    if math.isclose(arguments["pct_start"] * arguments["total_steps"], 1):
        arguments["pct_start"] += JUST_ABOVE
