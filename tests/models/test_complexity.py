import pytest
import torch

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.models.complexity import count_multiply_adds

CONV1, CONV2 = 28 * 28 * 6 * 3 * 25, 10 * 10 * 16 * 6 * 25
LINEAR = 400 * 120 + 120 * 84 + 84 * 10


def test_the_tutorial_net_counted_by_hand() -> None:
    assert count_multiply_adds(complete({"model": "tutorial_net"}), (3, 32, 32), 10) == CONV1 + CONV2 + LINEAR


def test_resnet18_is_as_large_as_papers_say() -> None:
    assert count_multiply_adds(complete({"model": "resnet18"}), (3, 32, 32), 10) == pytest.approx(0.5567e9, rel=0.01)


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"timm"}))
def test_every_model_can_be_counted_and_nothing_is_drawn(model: str) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert count_multiply_adds(complete({"model": model}), (3, 32, 32), 10) > 100_000
    assert torch.equal(torch.rand(1), expected)
