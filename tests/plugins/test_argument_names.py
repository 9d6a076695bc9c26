"""A plugin's model may call its arguments as it likes."""

import torch
from torch import Tensor, nn

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.models import ModelPart
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.models.build import build_model


class Net(nn.Module):
    def __init__(self, image_shape: tuple[int, int, int], classes: int, *, act: object, make_norm: object) -> None:
        super().__init__()
        self.made = (act() if callable(act) else None, make_norm(4) if callable(make_norm) else None)
        self.layer = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def test_what_makes_activation_and_norm_arrives_under_any_name() -> None:
    part = ModelPart(Net, "a net", arguments={"activation": "act", "norm": "make_norm"})
    vocabulary = vocabulary_with([Plugin("net.py", "", {"model": {"net": part}}, {})])
    net = build_model(complete({"model": "net", "activation": "elu", "norm": "batch"}, vocabulary), (3, 8, 8), 10)
    assert isinstance(net, Net)
    assert [type(module) for module in net.made] == [nn.ELU, nn.BatchNorm2d]
    assert net(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
