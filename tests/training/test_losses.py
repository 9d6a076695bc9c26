"""Every registered loss against a slow reference."""

from collections.abc import Callable
from functools import partial

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


WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0])


def weighted_cross_entropy(logits: list[float], target: list[float]) -> float:
    logs: list[float] = torch.tensor(logits).log_softmax(0).tolist()
    smooth = [0.8 * share + 0.2 / len(logits) for share in target]
    weights: list[float] = WEIGHTS.tolist()
    return -sum(w * share * log for w, share, log in zip(weights, smooth, logs, strict=True))


def weighted_focal(logits: list[float], target: list[float]) -> float:
    shares = torch.tensor(logits).softmax(0)
    terms = [w * t * (1 - p) ** 1.5 * p.log() for w, t, p in zip(WEIGHTS, target, shares, strict=True)]
    return -float(sum(terms))


def times_the_weight_of_the_image(loss: str, logits: list[float], target: list[float]) -> float:
    return REFERENCES[loss](logits, target) * float(torch.tensor(target) @ WEIGHTS)


WEIGHTED: dict[str, Callable[[list[float], list[float]], float]] = {
    "cross_entropy": weighted_cross_entropy,
    "focal": weighted_focal,
    "multi_margin": partial(times_the_weight_of_the_image, "multi_margin"),
    "mse": partial(times_the_weight_of_the_image, "mse"),
}


def expected(loss: str, logits: Tensor, targets: Tensor) -> float:
    rows = [REFERENCES[loss](row, target) for row, target in zip(logits.tolist(), targets.tolist(), strict=True)]
    return sum(rows) / len(rows)


@pytest.mark.parametrize("loss", LOSSES)
def test_value(loss: str) -> None:
    logits, labels = batch()
    value = build_loss(small(loss=loss, **UNUSUAL))(logits, labels)
    assert value.item() == pytest.approx(expected(loss, logits, functional.one_hot(labels, 5).float()), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_of_classes_make_a_weighted_mean_over_the_images(loss: str) -> None:
    logits, labels = batch()
    compute = build_loss(small(loss=loss, **UNUSUAL), WEIGHTS)
    hard = functional.one_hot(labels, 5).float()
    soft = 0.7 * hard + 0.3 * functional.one_hot(labels.flip(0), 5).float()
    for targets, as_shares in ((labels, hard), *([(soft, soft)] if LOSSES[loss].soft_labels else [])):
        rows = [WEIGHTED[loss](row, target) for row, target in zip(logits.tolist(), as_shares.tolist(), strict=True)]
        assert compute(logits, targets).item() == pytest.approx(sum(rows) / len(rows), rel=1e-5)
    halves = [compute(logits[half], labels[half]) for half in (slice(4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, compute(logits, labels))  # as steps that are split need it
    even = build_loss(small(loss=loss, **UNUSUAL), torch.ones(5))
    torch.testing.assert_close(even(logits, labels), build_loss(small(loss=loss, **UNUSUAL))(logits, labels))


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
