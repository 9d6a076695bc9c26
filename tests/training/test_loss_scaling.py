"""fp16: the loss is scaled, and a step whose gradients overflow leaves the weights as they are."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.training.checkpoint import save
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.failures import Diverged
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training
from cifar_tune.training.loss_scaling import LossScaling

from .conftest import CPU, small
from .test_learner import SHAPE, batch, gradients_of_a_step

FIRST_FACTOR = 2.0**16


def learner_of(**chosen: Any) -> Learner:
    learner = Learner(small(**{"precision": "fp16", **chosen}), SHAPE, 10, CPU, 4)
    learner.model.train()
    return learner


def factor_of(learner: Learner) -> float:
    factor: float = learner.state_dict()["scaling"]["scale"]
    return factor


def weights_of(learner: Learner) -> list[Tensor]:
    return [weight.detach().clone() for weight in learner.model.parameters()]


def are_equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def overflow_in(learner: Learner, value: float = math.inf) -> torch.utils.hooks.RemovableHandle:
    """Lets one gradient overflow from now on."""
    weight = next(learner.model.parameters())

    def spoil(gradient: Tensor) -> Tensor:
        spoilt = gradient.clone()
        spoilt[(0,) * spoilt.dim()] = value
        return spoilt

    handle: torch.utils.hooks.RemovableHandle = weight.register_hook(spoil)
    return handle


def tensors_in(state: object) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    inside = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for each in inside for tensor in tensors_in(each)]


def test_gradients_that_float16_cannot_hold_come_through() -> None:
    """Without a scaled loss they are zero."""
    model = nn.Linear(4, 1, bias=False)

    def small_loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16):
            outputs: Tensor = model(torch.full((2, 4), 0.5))
        return outputs.float().sum() * 1e-9

    assert not torch.autograd.grad(small_loss(), model.weight)[0].any()
    scaling = LossScaling(model, CPU)
    scaling.scaled(small_loss()).backward()  # type: ignore[no-untyped-call]
    scaling.unscale()
    torch.testing.assert_close(model.weight.grad, torch.full((1, 4), 1e-9), rtol=0.01, atol=0)


@pytest.mark.parametrize("chosen", [{}, {"clip_grad_norm": 0.05}, {"l1": 0.01}, {"clip_grad_norm": 0.05, "l1": 0.01}])
def test_the_optimizer_is_given_the_gradients_of_fp32(chosen: dict[str, Any]) -> None:
    """Clipped and with the slope of an L1 penalty after they are unscaled."""
    expected = gradients_of_a_step(small(**chosen))
    given = gradients_of_a_step(small(**chosen, precision="fp16"))
    assert given.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(given[name], gradient, rtol=0.05, atol=0.01 * float(gradient.abs().max()))
    if chosen == {"clip_grad_norm": 0.05}:
        norm = torch.cat([gradient.flatten() for gradient in given.values()]).norm()
        assert float(norm) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_step_that_overflows_leaves_the_weights(optimizer: str, value: float) -> None:
    """Also the first one, in which optimizers make their moments."""
    constant = "constant" if optimizer.endswith("schedule_free") else "cosine"
    learner = learner_of(optimizer=optimizer, weight_decay=0.1, clip_grad_norm=1.0, l1=1e-3, schedule=constant)
    before = weights_of(learner)
    handle = overflow_in(learner, value)
    for step in range(1, 3):
        loss, _ = learner.train_step(*batch())
        assert loss.isfinite()
        assert are_equal(weights_of(learner), before)
        assert factor_of(learner) == FIRST_FACTOR / 2**step
        assert all(tensor.isfinite().all() for tensor in tensors_in(learner.optimizer.state_dict()))
    handle.remove()
    learner.train_step(*batch())
    after = weights_of(learner)
    assert not are_equal(after, before)
    assert all(tensor.isfinite().all() for tensor in after)
    assert factor_of(learner) == FIRST_FACTOR / 4


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adadelta", "lion"])
def test_after_a_first_step_that_overflowed_training_goes_as_without_it(optimizer: str) -> None:
    """These do not count their steps. torch's own fused SGD would begin with an undefined momentum."""
    chosen: dict[str, Any] = {"optimizer": optimizer, "schedule": "constant", "lr": 1e-3}
    disturbed, undisturbed = learner_of(**chosen), learner_of(**chosen)
    handle = overflow_in(disturbed)
    disturbed.train_step(*batch())
    handle.remove()
    for learner in (disturbed, undisturbed):
        for _ in range(3):
            learner.train_step(*batch())
    for one, other in zip(weights_of(disturbed), weights_of(undisturbed), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_schedule_goes_on_where_a_step_overflows() -> None:
    learner, undisturbed = (learner_of(schedule="cosine", epochs=1, lr=0.4) for _ in range(2))
    handle = overflow_in(learner)
    rates = []
    for step in range(4):
        if step == 2:
            handle.remove()
        rates.append([each.optimizer.param_groups[0]["lr"] for each in (learner, undisturbed)])
        for each in (learner, undisturbed):
            each.train_step(*batch())
    assert [one for one, _ in rates] == [other for _, other in rates]
    assert len({one for one, _ in rates}) == 4


def test_the_factor_doubles_after_2000_steps_without_an_overflow() -> None:
    model = nn.Linear(2, 1)
    scaling = LossScaling(model, CPU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    factors = []
    for _ in range(2001):
        scaling.scaled(model(torch.ones(1, 2)).sum() * 1e-3).backward()  # type: ignore[no-untyped-call]
        scaling.unscale()
        scaling.step(optimizer)
        optimizer.zero_grad()
        factors.append(scaling.state_dict()["scale"])
    assert factors[1998:] == [FIRST_FACTOR, 2 * FIRST_FACTOR, 2 * FIRST_FACTOR]


@pytest.mark.parametrize("chosen", [{}, {"clip_grad_norm": 0.1}, {"l1": 1e-3}])
def test_split_steps_learn_the_same(chosen: dict[str, Any]) -> None:
    """Micro-batches share one factor, and their gradients are unscaled once, when they are complete."""
    whole, split = (learner_of(norm="none", lr=0.1, optimizer="sgd", **chosen) for _ in range(2))
    split.accumulation.parts = 4
    for step in range(3):
        if step == 1:  # in one of the parts alone
            handles = [overflow_in(whole), overflow_in(split)]
        losses = [learner.train_step(*batch())[0] for learner in (whole, split)]
        if step == 1:
            for handle in handles:
                handle.remove()
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-2, atol=1e-3)
        assert factor_of(whole) == factor_of(split) == FIRST_FACTOR / (1 if step == 0 else 2)
    for one, other in zip(weights_of(split), weights_of(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_a_step_that_is_taken_again_is_unscaled_again() -> None:
    """As after running out of memory between the gradients and the end of the step."""
    model = nn.Linear(2, 1, bias=False)
    scaling = LossScaling(model, CPU)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        scaling.scaled(model(torch.ones(1, 2)).sum()).backward()  # type: ignore[no-untyped-call]
        scaling.unscale()
    scaling.step(optimizer)
    torch.testing.assert_close(model.weight.detach(), before - 1)
    assert scaling.state_dict()["scale"] == FIRST_FACTOR


def test_it_learns_what_fp32_learns(digits: ResidentData) -> None:
    results = {}
    for precision in ("fp32", "fp16"):
        training = Training(small(precision=precision, epochs=10, width=16, lr=0.01, optimizer="adamw"), digits, CPU)
        results[precision] = list(training.epochs())[-1]
    assert results["fp32"].val_accuracy > 0.7
    assert results["fp16"].val_accuracy == pytest.approx(results["fp32"].val_accuracy, abs=0.1)
    assert results["fp16"].val_loss == pytest.approx(results["fp32"].val_loss, rel=0.2)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop", "muon"])
def test_continued_equals_undisturbed(digits: ResidentData, tmp_path: Path, optimizer: str) -> None:
    """The factor and its count are part of the checkpoint."""
    config = small(precision="fp16", optimizer=optimizer, dropout=0.2)
    undisturbed = Training(config, digits, CPU)
    epochs = undisturbed.epochs()
    handle = overflow_in(undisturbed.learner)
    next(epochs)
    handle.remove()
    assert factor_of(undisturbed.learner) < FIRST_FACTOR
    save(tmp_path / "c.pt", undisturbed.state_dict())
    continued = Training(config, digits, CPU)
    go_on(continued, tmp_path / "c.pt")
    assert factor_of(continued.learner) == factor_of(undisturbed.learner)
    list(epochs)
    list(continued.epochs())
    assert [r.val_loss for r in continued.results] == [r.val_loss for r in undisturbed.results]
    assert are_equal(weights_of(continued.learner), weights_of(undisturbed.learner))
    assert continued.learner.state_dict()["scaling"] == undisturbed.learner.state_dict()["scaling"]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_nothing_is_scaled_without_fp16(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.training.learner.resolve_precision", lambda *_: precision)
    monkeypatch.setattr("cifar_tune.training.learner.LossScaling", pytest.fail)
    learner = learner_of(precision="fp32")
    learner.train_step(*batch())
    assert "scaling" not in learner.state_dict()


def test_a_loss_that_overflows_is_divergence(digits: ResidentData) -> None:
    """Not an overflow of scaled gradients, which is passed over."""
    training = Training(small(precision="fp16", optimizer="sgd", lr=1e6, norm="none"), digits, CPU)
    with pytest.raises(Diverged, match="is not finite"):
        list(training.epochs())
