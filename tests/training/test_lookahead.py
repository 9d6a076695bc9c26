"""Lookahead: slow weights that follow, and a model that goes back to them."""

import pytest
import torch
from torch import Tensor

from cifar_tune.knobs.part import Value
from cifar_tune.training.learner import Learner

from .conftest import CPU, small

PER_EPOCH = 7
EPOCHS = 2


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(8, 3, 8, 8, generator=generator).to(memory_format=torch.channels_last)
    return images, torch.randint(10, (8,), generator=generator)


def learner(**chosen: Value) -> Learner:
    """With plain gradient descent, so that weights are all that a step depends on."""
    config = small(optimizer="sgd", momentum=0.0, schedule="constant", lr=0.1, epochs=EPOCHS, **chosen)
    return Learner(config, (3, 8, 8), 10, CPU, PER_EPOCH)


def weights(one: Learner) -> list[Tensor]:
    return [weight.detach() for weight in one.model.parameters()]


@pytest.mark.parametrize("lookahead", ["none", "constant", "cubic"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_against_a_slow_reference(lookahead: str, steps: int, alpha: float) -> None:
    tested = learner(lookahead=lookahead, lookahead_steps=steps, lookahead_alpha=alpha)
    reference = learner()
    slow = [weight.clone() for weight in weights(reference)]
    taken = 0
    for epoch in range(EPOCHS):
        for one in (tested, reference):
            one.begin_epoch(epoch + 1)
        for position in range(1, PER_EPOCH + 1):
            tested.train_step(*batch(taken))
            reference.train_step(*batch(taken))
            taken += 1
            if position == PER_EPOCH:
                tested.end_epoch()
            if lookahead != "none" and (taken % steps == 0 or position == PER_EPOCH):
                progress = taken / (EPOCHS * PER_EPOCH)
                share = alpha if lookahead == "constant" else 1 - (1 - alpha) * progress**3
                slow = [old + share * (new - old) for old, new in zip(slow, weights(reference), strict=True)]
                for weight, mean in zip(weights(reference), slow, strict=True):
                    weight.copy_(mean)
            for got, wanted in zip(weights(tested), weights(reference), strict=True):
                torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_share_of_one_is_no_lookahead() -> None:
    plain, looking = learner(), learner(lookahead="constant", lookahead_alpha=1.0)
    for one in (plain, looking):
        one.begin_epoch(1)
        for step in range(PER_EPOCH):
            one.train_step(*batch(step))
        one.end_epoch()
    for got, wanted in zip(weights(looking), weights(plain), strict=True):
        torch.testing.assert_close(got, wanted)


def test_statistics_of_batch_norm_stay() -> None:
    one = learner(lookahead="constant", lookahead_steps=1, lookahead_alpha=1e-6)
    one.begin_epoch(1)
    one.train_step(*batch(0))
    assert one.model.get_buffer("features.1.running_mean").abs().max() > 1e-4
