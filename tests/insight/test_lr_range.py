import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cifar_tune.data.resident import ResidentData
from cifar_tune.insight.lr_range import BETA, LrRangeTest, MovingMean, growing_lrs, lr_range_test
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.training.learner import Learner
from tests.exhaustive import few_of

from .conftest import CPU, small


def run(config: Configuration, data: ResidentData, lrs: list[float]) -> LrRangeTest:
    return lr_range_test(config, data, CPU, lrs, lambda number, step: None)


def test_the_moving_mean_is_the_weighted_mean_of_all_values() -> None:
    mean, values = MovingMean(0.9), [3.0, 1.0, 4.0, 1.0, 5.0]
    last = [mean.add(value) for value in values][-1]
    weights = [0.9 ** (len(values) - 1 - index) for index in range(len(values))]
    assert last == pytest.approx(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))


def test_lrs_grow_by_one_factor_from_end_to_end() -> None:
    lrs = growing_lrs(1e-5, 1.0, 237)
    assert lrs[0] == 1e-5
    assert lrs[-1] == pytest.approx(1.0)
    assert [after / before for before, after in pairwise(lrs)] == pytest.approx([1e5 ** (1 / 236)] * 236)


@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, ["sgd", "adamw_schedule_free"]))
def test_every_step_is_taken_at_its_lr(optimizer: str, digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[float]] = []
    train_step = Learner.train_step

    def spied(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append({group["lr"] for group in learner.optimizer.param_groups})
        return train_step(learner, images, labels)

    monkeypatch.setattr(Learner, "train_step", spied)
    lrs = growing_lrs(1e-5, 1e-3, 14)  # more than the six steps of an epoch
    test = run(small(optimizer=optimizer), digits, lrs)
    assert seen == [{lr} for lr in lrs]
    assert [step.lr for step in test.steps] == lrs
    assert test.stop == "end"


@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, ["sgd", "adamw_schedule_free"]))
def test_biases_of_norms_keep_their_factor(
    optimizer: str, digits: ResidentData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, float]] = []
    train_step = Learner.train_step

    def spied(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rates = {id(weight): group["lr"] for group in learner.optimizer.param_groups for weight in group["params"]}
        names = {"features.0.weight": "filters", "features.1.bias": "bias of a norm", "features.1.weight": "its scale"}
        seen.append({names[name]: rates[id(each)] for name, each in learner.model.named_parameters() if name in names})
        return train_step(learner, images, labels)

    monkeypatch.setattr(Learner, "train_step", spied)
    lrs = growing_lrs(1e-5, 1e-3, 8)
    run(small(optimizer=optimizer, norm_bias_lr_factor=16.0), digits, lrs)
    assert seen == [pytest.approx({"filters": lr, "bias of a norm": 16 * lr, "its scale": lr}, rel=1e-12) for lr in lrs]


def test_schedule_warmup_and_own_lr_change_nothing(digits: ResidentData) -> None:
    lrs = growing_lrs(1e-3, 1.0, 12)
    plain = run(small(schedule="constant"), digits, lrs)
    assert run(small(schedule="one_cycle", warmup_epochs=1.0, lr=0.5), digits, lrs) == plain
    assert run(small(momentum=0.5), digits, lrs) != plain


def test_it_stops_where_the_loss_rose_far(digits: ResidentData) -> None:
    test = run(small(norm="none"), digits, growing_lrs(1e-3, 1e6, 200))
    assert test.stop in ("rose", "not_finite")
    assert len(test.steps) < 200
    smoothed = [step.smoothed for step in test.steps]
    assert all(value <= 4 * min(smoothed) for value in smoothed[:-1])
    assert not smoothed[-1] <= 4 * min(smoothed[:-1])


def test_it_stops_at_a_loss_that_is_no_number(digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tensor(math.nan), torch.tensor(0)

    monkeypatch.setattr(Learner, "train_step", diverged)
    test = run(small(), digits, growing_lrs(1e-3, 1.0, 40))
    assert (test.stop, len(test.steps)) == ("not_finite", 1)


def test_the_smoothed_loss_is_the_moving_mean(digits: ResidentData) -> None:
    steps = run(small(), digits, growing_lrs(1e-4, 1e-2, 10)).steps
    mean = MovingMean(BETA)
    assert [step.smoothed for step in steps] == [mean.add(step.loss) for step in steps]
