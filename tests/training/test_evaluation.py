"""Loss and accuracy on a split."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from cifar_tune.training.evaluation import evaluate

from .conftest import CPU


def test_means_over_images_not_over_batches() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    images, labels = torch.randn(10, 4), torch.arange(10) % 3
    batches = [(images[:7], labels[:7]), (images[7:], labels[7:])]
    ((loss, accuracy),) = evaluate(model, batches, "fp32", CPU).read()
    logits = model(images)
    assert loss == pytest.approx(functional.cross_entropy(logits, labels).item())
    assert accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())


def test_dropout_and_batch_statistics_are_off() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    batches = [(torch.randn(10, 4), torch.arange(10) % 3)]
    first, second = (evaluate(model, batches, "fp32", CPU).read() for _ in range(2))
    assert first == second
    mean = model.get_buffer("0.running_mean")
    assert not mean.any()
