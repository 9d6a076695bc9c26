import pytest
import torch
from torch import Tensor, nn

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.models.build import count_multiply_adds
from tests.exhaustive import few_of

CONV1, CONV2 = 28 * 28 * 6 * 3 * 25, 10 * 10 * 16 * 6 * 25
LINEAR = 400 * 120 + 120 * 84 + 84 * 10


def test_the_tutorial_net_counted_by_hand() -> None:
    assert count_multiply_adds(complete({"model": "tutorial_net"}), (3, 32, 32), 10) == CONV1 + CONV2 + LINEAR


def test_resnet18_is_as_large_as_papers_say() -> None:
    assert count_multiply_adds(complete({"model": "resnet18"}), (3, 32, 32), 10) == pytest.approx(0.5567e9, rel=0.01)


class NeedsNumbers(nn.Module):
    """As nets with stochastic depth are often written: neither built nor called without real numbers."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        self.layer = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], classes)

    def forward(self, images: Tensor) -> Tensor:
        assert images.abs().sum().item() >= 0
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def test_a_net_of_a_plugin_that_needs_real_numbers() -> None:
    part = Part(NeedsNumbers, "needs numbers")
    vocabulary = vocabulary_with([Plugin("numbers.py", "", {"model": {"numbers": part}}, {})])
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert count_multiply_adds(complete({"model": "numbers"}, vocabulary), (3, 8, 8), 10) == 3 * 8 * 8 * 10
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_models_of_timm_can_be_counted(name: str) -> None:
    config = complete({"model": "timm", "timm_name": name})
    side = 224 if name.startswith("swin") else 32
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert count_multiply_adds(config, (3, side, side), 10) > 1_000_000
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("model", few_of(sorted(set(MODELS) - {"timm"}), ["cnn2", "resnet18", "vgg11"]))
def test_every_model_can_be_counted_and_nothing_is_drawn(model: str) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert count_multiply_adds(complete({"model": model}), (3, 32, 32), 10) > 100_000
    assert torch.equal(torch.rand(1), expected)
