"""Every registered schedule against its closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.models.build import build_model
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


def triangular(step: int, steps: int, _per_epoch: int) -> float:
    peak = 0.25 * steps - 1
    lowest, last = LR / 10, LR / 10 / 100
    if step <= peak:
        return lowest + (LR - lowest) * step / peak
    return LR + (last - LR) * (step - peak) / (steps - 1 - peak)


def multistep(step: int, steps: int, _per_epoch: int) -> float:
    """Milestones at 0.3 and, twice, at 0.8; Python rounds halves to even, as the schedule does."""
    return LR * 0.2 ** ((step >= max(1, round(0.3 * steps))) + 2 * (step >= round(0.8 * steps)))


def exponential(step: int, _steps: int, per_epoch: int) -> float:
    return LR * 0.2 ** (step // per_epoch)


def plateau(step: int, _steps: int, per_epoch: int) -> float:
    """The losses of LOSSES with one epoch of tolerance: a decay after the fourth epoch, and after the sixth."""
    epoch = step // per_epoch + 1
    return LR * 0.2 ** ((epoch > 4) + (epoch > 6))


def cosine_restarts(step: int, _steps: int, per_epoch: int) -> float:
    """Cosines of 1, 3 and 9 epochs."""
    start, length = 0, per_epoch
    while step >= start + length:
        start, length = start + length, length * 3
    return 0.01 + (LR - 0.01) * (1 + math.cos(math.pi * (step - start) / length)) / 2


def cyclic(step: int, _steps: int, per_epoch: int) -> float:
    half = 2 * per_epoch
    position = step % (2 * half)
    return 0.02 + (LR - 0.02) * min(position, 2 * half - position) / half


CLOSED_FORMS: dict[str, Callable[[int, int, int], float]] = {
    "constant": constant,
    "step": step_decay,
    "multistep": multistep,
    "exponential": exponential,
    "plateau": plateau,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "cyclic": cyclic,
    "one_cycle": one_cycle,
    "triangular": triangular,
}

KNOBS: dict[str, Value] = {
    "step_size": 2,
    "gamma": 0.2,
    "eta_min": 0.01,
    "pct_start": 0.25,
    "div_factor": 10.0,
    "final_div_factor": 100.0,
    "milestone1": 0.8,
    "milestone2": 0.3,
    "milestone3": 0.8,
    "plateau_patience": 1,
    "t_0": 1,
    "t_mult": 3,
    "base_lr": 0.02,
}

LOSSES = (2.0, 1.0, 1.5, 1.0, 0.99995, 1.1, 0.5)
"""Validation losses; a fall by less than a ten-thousandth counts as none."""


class Run:
    """The learning rates of a training, without its model."""

    def __init__(self, config: Configuration, per_epoch: int) -> None:
        self.per_epoch = per_epoch
        self.epoch = 0
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
            self.schedule.after_epoch(LOSSES[self.epoch])
            self.epoch += 1
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
@pytest.mark.parametrize("before", [1, 2, 6])
@pytest.mark.parametrize("warmup_epochs", [0.0, 1.5])
def test_resumed_equals_undisturbed(schedule: str, before: int, warmup_epochs: float) -> None:
    epochs = 7
    undisturbed = Run(config(schedule, epochs, warmup_epochs=warmup_epochs), 3).rates(epochs)
    first = Run(config(schedule, epochs, warmup_epochs=warmup_epochs), 3)
    rates = first.rates(before)
    second = Run(config(schedule, epochs, warmup_epochs=warmup_epochs), 3)
    second.epoch = before
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.schedule.load_state_dict(first.schedule.state_dict())
    assert rates + second.rates(epochs - before) == undisturbed


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("epochs", "per_epoch"), [(1, 1), (1, 2), (2, 1)])
def test_shortest_trainings(schedule: str, epochs: int, per_epoch: int) -> None:
    rates = Run(config(schedule, epochs), per_epoch).rates(epochs)
    assert len(rates) == epochs * per_epoch
    assert all(0 < rate <= LR for rate in rates)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_epochs", [0.1, 0.5, 2.0, 3.3, 7.0])
def test_warmup_is_a_factor_on_the_schedule(schedule: str, warmup_epochs: float) -> None:
    plain = Run(config(schedule, 7), 4).rates(7)
    warmed = Run(config(schedule, 7, warmup_epochs=warmup_epochs), 4).rates(7)
    factors = [min(1.0, step / (warmup_epochs * 4)) for step in range(1, 29)]
    assert warmed == pytest.approx([rate * factor for rate, factor in zip(plain, factors, strict=True)], rel=1e-9)
    assert warmed[round(warmup_epochs * 4) :] == plain[round(warmup_epochs * 4) :]


def test_all_groups_move_alike() -> None:
    chosen = config("cyclic", 3, optimizer="muon", decay_norm_and_bias=False, warmup_epochs=1.0)
    optimizer = build_optimizer(chosen, build_model(chosen, (3, 32, 32), 10), CPU)
    schedule = build_schedule(chosen, optimizer, 4)
    rates = []
    for _ in range(4):
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        rates.append(rate)
        optimizer.step()
        schedule.after_step()
    assert len(optimizer.param_groups) == 3
    assert rates == pytest.approx([cyclic(step, 12, 4) * (step + 1) / 4 for step in range(4)])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_group_with_a_factor_moves_at_its_multiple(schedule: str) -> None:
    chosen = config(schedule, 7, norm_bias_lr_factor=8.0, warmup_epochs=1.5, model="cnn2")
    net = build_model(chosen, (3, 32, 32), 10)
    optimizer = build_optimizer(chosen, net, CPU)
    moved = build_schedule(chosen, optimizer, 3)
    wanted = Run(config(schedule, 7, warmup_epochs=1.5), 3).rates(7)
    for step, rate in enumerate(wanted):
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate, 8 * rate], rel=1e-9)
        optimizer.step()
        moved.after_step()
        if step % 3 == 2:
            moved.after_epoch(LOSSES[step // 3])


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
