import pytest
import torch
from torch import Tensor, nn

from cifar_tune.insight.layers import LayerTable, as_lines, as_values, layer_table, table_of
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.part import Value
from cifar_tune.models.build import build_model, count_parameters

IMAGE = (3, 32, 32)


def table(model: str, **knobs: Value) -> LayerTable:
    return layer_table(complete({"model": model, **knobs}), IMAGE, 10)


def test_the_counts_that_report_d_prints() -> None:
    found = {layer.name: layer for layer in table("simple_nn").layers}
    assert found["features.0"].parameters == 600
    assert found["features.3"].parameters == 1152  # without a bias
    assert [found[name].parameters for name in ("head.2", "head.5", "head.8")] == [69240, 10164, 850]  # with one
    assert found["features.0"].output == (8, 28, 28)
    assert found["features.5"].output == (16, 6, 6)
    assert found["head.0"].output == (576,)


def test_multiply_adds_are_those_of_products_alone() -> None:
    found = {layer.name: layer.multiply_adds for layer in table("simple_nn").layers}
    assert found["features.0"] == 28 * 28 * 8 * 3 * 25
    assert found["features.3"] == 12 * 12 * 16 * 8 * 9
    assert found["head.2"] == 576 * 120
    assert sum(found.values()) == found["features.0"] + found["features.3"] + 576 * 120 + 120 * 84 + 84 * 10


def test_a_bias_adds_parameters_but_no_multiply_adds() -> None:
    """vgg11's convolutions have one with every norm."""
    first = table("vgg11").layers[0]
    assert first.parameters == 3 * 9 * 64 + 64
    assert first.multiply_adds == 32 * 32 * 64 * 3 * 9


def test_resnet18_has_the_known_multiply_adds() -> None:
    """0.56 G, the figure that is commonly given for it on 32x32 images."""
    assert table("resnet18").multiply_adds == pytest.approx(0.556e9, rel=0.01)


@pytest.mark.parametrize("model", ["tutorial_net", "cnn3", "vgg11", "resnet18", "resnet50", "resnet20", "densenet121"])
def test_rows_add_up_to_the_totals(model: str) -> None:
    found = table(model, width=8)
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    assert sum(layer.multiply_adds for layer in found.layers) == found.multiply_adds
    assert found.parameters == count_parameters(build_model(complete({"model": model, "width": 8}), IMAGE, 10))


class Odd(nn.Module):
    """Weights of its own, a product of its own, a layer used twice, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5, 5))
        self.twice = nn.Linear(5, 5)
        self.first = nn.Linear(3 * 32 * 32, 5)
        self.never = nn.Linear(7, 7)
        self.tied = nn.Linear(5, 5)
        self.tied.weight = self.twice.weight

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images.flatten(1)) @ self.scale
        tied: Tensor = self.tied(self.twice(self.twice(features)))
        return tied


def test_odd_models_add_up_too() -> None:
    model = Odd().to("meta")
    found = table_of(model, IMAGE)
    rows = {layer.name: layer for layer in found.layers}
    assert rows["(model)"].parameters == 25
    assert rows["(model)"].multiply_adds == 25
    assert rows["twice"].multiply_adds == 50
    assert (rows["never"].output, rows["never"].parameters) == (None, 56)
    assert sum(layer.parameters for layer in found.layers) == found.parameters == count_parameters(model)
    assert sum(layer.multiply_adds for layer in found.layers) == found.multiply_adds


def test_text_and_values() -> None:
    found = table("simple_nn")
    lines = as_lines(found)
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert "features.3  Conv2d     16x12x12       1,152        165,888" in lines
    assert lines[-1].split() == ["total", "82,006", "716,328"]
    values = as_values(found)
    assert values["multiply_adds"] == 716328
    assert values["layers"][0]["output"] == (8, 28, 28)
