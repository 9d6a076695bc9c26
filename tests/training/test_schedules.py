"""Every registered schedule against its closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.training.optimizers import build_optimizer
from cifar_tune.training.schedules import Schedule, build_schedule

from .conftest import CPU

LR = 0.3


def constant(_step: int, _steps: int, _per_epoch: int) -> float:
    return LR


def step_decay(step: int, _steps: int, per_epoch: int) -> float:
    return LR * 0.2 ** (step // per_epoch // 2)


def cosine(step: int, steps: int, _per_epoch: int) -> float:
    return 0.01 + (LR - 0.01) * (1 + math.cos(math.pi * step / steps)) / 2


def one_cycle(step: int, steps: int, _per_epoch: int) -> float:
    peak = 0.25 * steps - 1
    lowest, last = LR / 10, LR / 10 / 100
    if step <= peak:
        return lowest + (LR - lowest) * (1 - math.cos(math.pi * step / peak)) / 2
    return last + (LR - last) * (1 + math.cos(math.pi * (step - peak) / (steps - 1 - peak))) / 2


CLOSED_FORMS: dict[str, Callable[[int, int, int], float]] = {
    "constant": constant,
    "step": step_decay,
    "cosine": cosine,
    "one_cycle": one_cycle,
}

KNOBS: dict[str, Value] = {
    "step_size": 2,
    "gamma": 0.2,
    "eta_min": 0.01,
    "pct_start": 0.25,
    "div_factor": 10.0,
    "final_div_factor": 100.0,
}


class Run:
    """The learning rates of a training, without its model."""

    def __init__(self, config: Configuration, per_epoch: int) -> None:
        self.per_epoch = per_epoch
        weights = nn.Linear(1, 1)
        self.optimizer = build_optimizer(config, weights, CPU)
        self.schedule: Schedule = build_schedule(config, self.optimizer, per_epoch)
        for weight in weights.parameters():
            weight.grad = torch.zeros_like(weight)

    def rates(self, epochs: int) -> list[float]:
        rates = []
        for _ in range(epochs):
            for _ in range(self.per_epoch):
                rates.append(self.optimizer.param_groups[0]["lr"])
                self.optimizer.step()
                self.schedule.after_step()
            self.schedule.after_epoch()
        return rates


def config(schedule: str, epochs: int, **chosen: Value) -> Configuration:
    return complete({"schedule": schedule, "lr": LR, "epochs": epochs, **KNOBS, **chosen})


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("epochs", "per_epoch"), [(1, 10), (5, 3), (7, 1)])
def test_curve(schedule: str, epochs: int, per_epoch: int) -> None:
    steps = epochs * per_epoch
    wanted = [CLOSED_FORMS[schedule](step, steps, per_epoch) for step in range(steps)]
    assert Run(config(schedule, epochs), per_epoch).rates(epochs) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("before", [1, 2, 4])
def test_resumed_equals_undisturbed(schedule: str, before: int) -> None:
    epochs = 5
    undisturbed = Run(config(schedule, epochs), 3).rates(epochs)
    first = Run(config(schedule, epochs), 3)
    rates = first.rates(before)
    second = Run(config(schedule, epochs), 3)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.schedule.load_state_dict(first.schedule.state_dict())
    assert rates + second.rates(epochs - before) == undisturbed


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("epochs", "per_epoch"), [(1, 1), (1, 2), (2, 1)])
def test_shortest_trainings(schedule: str, epochs: int, per_epoch: int) -> None:
    rates = Run(config(schedule, epochs), per_epoch).rates(epochs)
    assert len(rates) == epochs * per_epoch
    assert all(0 < rate <= LR for rate in rates)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 10, 49, 100, 390])
@pytest.mark.parametrize("share", ["none", "one step", "all"])
def test_one_cycle_divides_by_no_zero(steps: int, share: str) -> None:
    pct_start = {"none": 0.0, "one step": 1 / steps, "all": 1.0}[share]
    rates = Run(config("one_cycle", 1, pct_start=pct_start), steps).rates(1)
    assert all(0 < rate <= LR for rate in rates)
    if share == "all" and steps > 1:
        assert rates[-1] == pytest.approx(LR)
    if share == "one step" and steps > 1:
        assert rates[0] == pytest.approx(LR / 10)
