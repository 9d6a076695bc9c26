"""The average of a schedule-free optimizer, and the batch norms that are measured for it."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.rules import broken_rules
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training

from .conftest import CPU, small

SHAPE = (3, 8, 8)
OPTIMIZERS = ("sgd_schedule_free", "adamw_schedule_free")


def stepped(optimizer: str, batches: list[torch.Tensor]) -> Learner:
    learner = Learner(
        small(model="cnn3", dropout=0.5, optimizer=optimizer, schedule="constant", lr=0.05),
        SHAPE,
        10,
        CPU,
        len(batches),
    )
    learner.begin_epoch(1)
    for images in batches:
        learner.train_step(images, torch.arange(len(images)) % 10)
    learner.end_epoch()
    return learner


def batches(count: int) -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [torch.randn(16, *SHAPE) for _ in range(count)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_average_of_all_iterates_is_validated(optimizer: str) -> None:
    """At a constant rate it is their plain mean, z_1 to z_n; y = (1 - beta) z + beta x."""
    learner = stepped(optimizer, batches(4))
    beta = 0.9
    for weight, mean in zip(learner.model.parameters(), learner.evaluated.parameters(), strict=True):
        last = learner.optimizer.state[weight]["z"]
        torch.testing.assert_close(weight.detach(), (1 - beta) * last + beta * mean.detach())
        assert not torch.equal(weight, mean)


def test_its_batch_norms_are_those_of_the_last_batches() -> None:
    given = batches(3)
    evaluated = stepped("sgd_schedule_free", given).evaluated
    seen: list[torch.Tensor] = []
    first = next(module for module in evaluated.modules() if isinstance(module, _BatchNorm))
    handle = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for images in given:
            evaluated(images)
    handle.remove()
    assert not evaluated.training
    assert first.running_mean is not None
    torch.testing.assert_close(first.running_mean, torch.stack([each.mean((0, 2, 3)) for each in seen]).mean(0))


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd_schedule_free", 0.5), ("adamw_schedule_free", 0.02)])
def test_it_learns(digits: ResidentData, optimizer: str, lr: float) -> None:
    config = small(model="cnn3", optimizer=optimizer, lr=lr, schedule="constant", epochs=30, batch_size=32)
    results = list(Training(config, digits, CPU).epochs())
    assert results[-1].val_accuracy > 0.5 > results[0].val_accuracy


@pytest.mark.parametrize(
    "chosen",
    [
        {"schedule": "cosine"},
        {"schedule": "constant", "lookahead": "cubic"},
        {"schedule": "constant", "ema_decay": 0.9},
        {"schedule": "constant", "momentum": 0.0},
    ],
)
def test_what_cannot_come_together(chosen: dict[str, str | float]) -> None:
    assert len(broken_rules(complete({"optimizer": "sgd_schedule_free", **chosen}))) == 1
    assert not broken_rules(complete({"optimizer": "sgd_schedule_free", "schedule": "constant"}))
