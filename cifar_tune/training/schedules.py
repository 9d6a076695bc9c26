"""From a configuration to its learning-rate schedule, over torch's schedulers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.schedules import SchedulePart

FEWEST_ONE_CYCLE_STEPS = 2
JUST_ABOVE = 1e-9


class HostRates(Optimizer):
    """Stands in for an optimizer whose learning rates are tensors, and has them as numbers.

    A scheduler would read the tensors in every step, and so wait for the device, and round what it writes.

    Args:
        optimizer: has as many parameter groups.
        lr: of all of them.
    """

    def __init__(self, optimizer: Optimizer, lr: float) -> None:
        factors = [
            {"lr_factor": group["lr_factor"]} if "lr_factor" in group else {} for group in optimizer.param_groups
        ]
        super().__init__([{"params": [torch.zeros(())], "lr": lr, **factor} for factor in factors], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Nothing is moved."""


class Schedule:
    """A scheduler that moves after every step, or after every epoch, and stops at the end of training.

    Step number n of a warm-up takes the scheduler's learning rate times n / `warmup_steps` (Goyal et al. 2017,
    arXiv:1706.02677). The scheduler runs on underneath from the first step: a warm-up delays nothing.

    Args:
        scheduler: moves the learning rate of its optimizer.
        part: its registry entry.
        length: of the whole training, in the unit that the scheduler counts in.
        warmup_steps: length of the warm-up; up to 1, there is none.
        tensors_of: an optimizer whose learning rates are tensors, to be filled; the scheduler's is then its stand-in.
    """

    def __init__(
        self,
        scheduler: LRScheduler,
        part: SchedulePart,
        length: int,
        warmup_steps: float,
        tensors_of: Optimizer | None = None,
    ) -> None:
        self.scheduler = scheduler
        self._tensors_of = tensors_of
        self._filled: list[float] = []
        self._part = part
        self._length = length
        self._warmup_steps = warmup_steps
        self._steps = 0
        self._rates = self._read()
        self._write()

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups, with learning rates that are numbers."""
        return self.scheduler.optimizer.param_groups

    def after_step(self) -> None:
        """Set the learning rate of the next step."""
        self._steps += 1
        if self._part.per == "step":
            self._move()
        self._write()

    def after_epoch(self, val_loss: float) -> None:
        """Set the learning rate of the next epoch's first step.

        Args:
            val_loss: validation loss of the epoch.
        """
        if self._part.per == "epoch":
            self._move(val_loss)
        self._write()

    def _move(self, *figures: float) -> None:
        # No learning rate is needed after the last step; OneCycleLR with pct_start=1 would divide by zero for it.
        if self.scheduler.last_epoch >= self._length - 1:
            return
        self._set(self._rates)  # the scheduler computes a rate from the one before
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(*figures)
        else:
            self.scheduler.step()
        self._rates = self._read()

    def _write(self) -> None:
        """Hand the optimizer the scheduler's rates, times the factor of the warm-up and, if it has one, the group's."""
        share = (self._steps + 1) / self._warmup_steps if self._warmup_steps > 0 else 1.0
        factors = [group.get("lr_factor", 1.0) for group in self.groups]
        self.put([rate * min(share, 1.0) * factor for rate, factor in zip(self._rates, factors, strict=True)])

    def put(self, rates: Sequence[float]) -> None:
        """Let the next step be taken at these learning rates, one for each parameter group."""
        self._set(rates)
        if self._tensors_of is not None:
            if self._filled != list(rates):  # each is a launch
                for group, rate in zip(self._tensors_of.param_groups, rates, strict=True):
                    group["lr"].fill_(rate)
            self._filled = list(rates)

    def _read(self) -> list[float]:
        return [group["lr"] for group in self.groups]

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.groups, rates, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state, and where the warm-up is."""
        return {"scheduler": self.scheduler.state_dict(), "steps": self._steps, "rates": list(self._rates)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the optimizer's state must be loaded too."""
        self.scheduler.load_state_dict(dict(state["scheduler"]))
        self._steps = state["steps"]
        self._rates = list(state["rates"])
        if self._tensors_of is not None:
            self._filled = []
            for ours, loaded in zip(self.groups, self._tensors_of.param_groups, strict=True):
                ours.update({name: loaded[name] for name in ours if name not in ("params", "lr")})
            self._write()


def build_schedule(config: Configuration, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    """Return the configuration's schedule for `optimizer`, at the first learning rate of the training."""
    part = config.vocabulary.schedules[config.text("schedule")]
    epochs = config.integer("epochs")
    steps = epochs * steps_per_epoch
    length = epochs if part.per == "epoch" else steps
    arguments = part.arguments_from(config)
    if part.length_argument is not None:
        arguments[part.length_argument] = length
    if part.lr_argument is not None:
        arguments[part.lr_argument] = config.number("lr")
    for name in part.epochs_arguments:
        arguments[name] *= steps_per_epoch
    if part.shares_argument is not None:
        arguments[part.shares_argument] = [max(1, round(share * steps)) for share in arguments[part.shares_argument]]
    if "pct_start" in arguments:
        _avoid_division_by_zero(arguments)
    warmup_steps = config.number("warmup_epochs") * steps_per_epoch
    has_tensors = any(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)
    moved = HostRates(optimizer, config.number("lr")) if has_tensors else optimizer
    scheduler = part.resolve()(moved, **arguments)
    if not has_tensors:
        return Schedule(scheduler, part, length, warmup_steps)
    moved.step()  # else the scheduler warns that it moves before its optimizer
    return Schedule(scheduler, part, length, warmup_steps, optimizer)


def _avoid_division_by_zero(arguments: dict[str, Any]) -> None:
    """Change arguments of OneCycleLR for which it divides by the length of a phase that is zero.

    Its rise ends at step `pct_start * total_steps - 1`. Where that is 0, the rise is stretched by a hair, so that the
    first step is taken at the lowest learning rate. A training of one step gets the schedule of two.
    """
    arguments["total_steps"] = max(arguments["total_steps"], FEWEST_ONE_CYCLE_STEPS)
    if math.isclose(arguments["pct_start"] * arguments["total_steps"], 1):
        arguments["pct_start"] += JUST_ABOVE
