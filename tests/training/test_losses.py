"""Every registered loss against a slow reference."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cifar_tune.knobs.losses import LOSSES
from cifar_tune.training.losses import build_loss

from .conftest import small

UNUSUAL = {"label_smoothing": 0.2, "focal_gamma": 1.5, "margin": 0.7}


def cross_entropy(logits: list[float], target: list[float]) -> float:
    logs: list[float] = torch.tensor(logits).log_softmax(0).tolist()
    smooth = [0.8 * share + 0.2 / len(logits) for share in target]
    return -sum(share * log for share, log in zip(smooth, logs, strict=True))


def focal(logits: list[float], target: list[float]) -> float:
    shares = torch.tensor(logits).softmax(0)
    terms = [t * (1 - p) ** 1.5 * p.log() for t, p in zip(target, shares, strict=True)]
    return -float(sum(terms))


def multi_margin(logits: list[float], target: list[float]) -> float:
    right = target.index(1.0)
    gaps = [max(0.0, 0.7 - logits[right] + logit) for index, logit in enumerate(logits) if index != right]
    return sum(gaps) / len(logits)


def mse(logits: list[float], target: list[float]) -> float:
    return sum((logit - share) ** 2 for logit, share in zip(logits, target, strict=True)) / len(logits)


REFERENCES: dict[str, Callable[[list[float], list[float]], float]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "multi_margin": multi_margin,
    "mse": mse,
}


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 5, generator=generator) * 2, torch.randint(5, (8,), generator=generator)


def expected(loss: str, logits: Tensor, targets: Tensor) -> float:
    rows = [REFERENCES[loss](row, target) for row, target in zip(logits.tolist(), targets.tolist(), strict=True)]
    return sum(rows) / len(rows)


@pytest.mark.parametrize("loss", LOSSES)
def test_value(loss: str) -> None:
    logits, labels = batch()
    value = build_loss(small(loss=loss, **UNUSUAL))(logits, labels)
    assert value.item() == pytest.approx(expected(loss, logits, functional.one_hot(labels, 5).float()), rel=1e-5)


@pytest.mark.parametrize("loss", [name for name, part in LOSSES.items() if part.soft_labels])
def test_soft_labels(loss: str) -> None:
    logits, labels = batch()
    soft = 0.7 * functional.one_hot(labels, 5).float() + 0.3 * functional.one_hot(labels.flip(0), 5).float()
    compute = build_loss(small(loss=loss, **UNUSUAL))
    assert compute(logits, soft).item() == pytest.approx(expected(loss, logits, soft), rel=1e-5)
    hard = functional.one_hot(labels, 5).float()
    torch.testing.assert_close(compute(logits, hard), compute(logits, labels))


@pytest.mark.parametrize("loss", [name for name, part in LOSSES.items() if not part.soft_labels])
def test_hard_labels_alone(loss: str) -> None:
    logits, labels = batch()
    with pytest.raises(RuntimeError):
        build_loss(small(loss=loss))(logits, functional.one_hot(labels, 5).float())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_leads_down_and_is_finite_for_sure_answers(loss: str) -> None:
    logits, labels = batch()
    compute = build_loss(small(loss=loss))
    for scale in (1.0, 1e3):
        guess = (logits * scale).requires_grad_()
        value = compute(guess, labels)
        (slope,) = torch.autograd.grad(value, guess)
        assert slope.isfinite().all()
        assert compute(guess - 1e-3 * scale * slope, labels) < value


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_focal_where_a_probability_rounds_to_one(gamma: float) -> None:
    logits = torch.tensor([[50.0, 0.0], [0.0, 50.0], [200.0, 0.0]], requires_grad=True)
    value = build_loss(small(loss="focal", focal_gamma=gamma))(logits, torch.tensor([0, 0, 0]))
    (slope,) = torch.autograd.grad(value, logits)
    assert value.item() == pytest.approx(50 / 3)
    assert slope.isfinite().all()


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, labels = batch()
    compute = build_loss(small(loss="focal", focal_gamma=0.0))
    torch.testing.assert_close(compute(logits, labels), functional.cross_entropy(logits, labels))
