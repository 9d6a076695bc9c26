"""Models of timm, against a stand-in for the package that has one model of each kind."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import complete
from cifar_tune.models.build import build_model, count_parameters

CIFAR = (3, 32, 32)


@dataclass(frozen=True)
class PretrainedCfg:
    fixed_input_size: bool


class Net(nn.Module):
    """As small as can be, and no friend of images below 16x16."""

    def __init__(self, in_chans: int, num_classes: int, **arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments
        self.spread = torch.linspace(0, 1, 3)[1].item()  # which the meta device could not do
        self.features = nn.Conv2d(in_chans, 4, 16)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.features(images)).mean((2, 3)))
        return logits


class WithoutDropout(Net):
    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__(in_chans, num_classes)


class Features(Net):
    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features


class StandIn(ModuleType):
    """The four functions of timm that are called, with timm 1.0's signatures."""

    __version__ = "1.0.0"
    entries: ClassVar[dict[str, type[Net]]] = {
        "convnet": Net,
        "vit": Net,
        "rigid": WithoutDropout,
        "headless": Features,
    }

    def is_model(self, name: str) -> bool:
        return name in self.entries

    def list_models(self) -> list[str]:
        return sorted(self.entries)

    def get_pretrained_cfg(self, name: str) -> PretrainedCfg | None:
        return {"vit": PretrainedCfg(True), "convnet": PretrainedCfg(False)}.get(name)

    def create_model(self, model_name: str, pretrained: bool = True, **arguments: Any) -> nn.Module:
        assert not pretrained
        return self.entries[model_name](**arguments)


@pytest.fixture
def _timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", StandIn("timm"))


@pytest.mark.usefixtures("_timm")
def test_timm_name_is_the_model_that_timm_makes() -> None:
    net = build_model(complete({"model": "timm", "timm_name": "convnet"}), CIFAR, 7)
    assert type(net) is Net
    assert net.arguments == {}
    assert net.training
    assert net(torch.zeros(2, *CIFAR)).shape == (2, 7)


@pytest.mark.usefixtures("_timm")
def test_dropout_reaches_timm() -> None:
    net = build_model(complete({"model": "timm", "timm_name": "convnet", "dropout": 0.25}), CIFAR, 10)
    assert isinstance(net, Net)
    assert net.arguments == {"drop_rate": 0.25}


@pytest.mark.usefixtures("_timm")
def test_a_model_that_is_bound_to_one_size_is_made_for_these_images() -> None:
    net = build_model(complete({"model": "timm", "timm_name": "vit"}), (3, 32, 48), 10)
    assert isinstance(net, Net)
    assert net.arguments == {"img_size": (32, 48)}


@pytest.mark.usefixtures("_timm")
def test_the_trial_image_leaves_no_trace() -> None:
    net = build_model(complete({"model": "timm", "timm_name": "convnet"}), CIFAR, 10)
    assert isinstance(net, Net)
    assert net.norm.num_batches_tracked == 0


@pytest.mark.usefixtures("_timm")
def test_its_size_can_be_asked_for_on_the_meta_device() -> None:
    with torch.device("meta"):
        net = build_model(complete({"model": "timm", "timm_name": "convnet"}), CIFAR, 10)
    assert count_parameters(net) == 3 * 4 * 16 * 16 + 4 + 2 * 4 + 4 * 10 + 10


@pytest.mark.parametrize(
    ("name", "dropout", "side", "message"),
    [
        ("convnett", 0.0, 32, "timm_name = 'convnett': is no model of timm 1.0.0 (did you mean 'convnet'?)"),
        ("convnet", 0.0, 8, "timm_name = 'convnet': timm cannot make it for images of 8x8 and dropout 0.0: "),
        ("rigid", 0.5, 32, "timm_name = 'rigid': timm cannot make it for images of 32x32 and dropout 0.5: "),
        ("headless", 0.0, 32, "it does not give one logit per class"),
    ],
)
@pytest.mark.usefixtures("_timm")
def test_what_timm_cannot_do_is_said(name: str, dropout: float, side: int, message: str) -> None:
    with pytest.raises(UserError) as raised:
        build_model(complete({"model": "timm", "timm_name": name, "dropout": dropout}), (3, side, side), 10)
    assert message in str(raised.value)


def test_without_timm_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError) as raised:
        build_model(complete({"model": "timm"}), CIFAR, 10)
    assert str(raised.value) == (
        "model = 'timm': needs the package timm, which is not installed: pip install 'cifar-tune[timm]'"
    )
