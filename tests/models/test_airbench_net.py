"""What is particular about the net for short trainings."""

import pytest
import torch
from torch import Tensor, nn

from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.part import Value
from cifar_tune.models import airbench_net
from cifar_tune.models.airbench_net import AirbenchNet, Whitening, patch_covariance
from cifar_tune.models.build import build_model
from cifar_tune.models.layers import norm_biases

CIFAR = (3, 32, 32)


def build(**chosen: Value) -> AirbenchNet:
    net = build_model(complete({"model": "airbench_net", "width": 8, **chosen}), CIFAR, 10)
    assert isinstance(net, AirbenchNet)
    return net


def correlated_images() -> Tensor:
    """Neighbouring pixels and channels are alike."""
    torch.manual_seed(0)
    rough = torch.randn(40, 3, 6, 6) + 2 * torch.randn(40, 1, 6, 6)
    smooth = nn.functional.interpolate(rough, size=(24, 24), mode="bilinear")
    return smooth + 0.3 * torch.randn_like(smooth)


def test_patch_covariance_against_a_slow_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airbench_net, "_CHUNK", 3)
    images = torch.randn(7, 3, 5, 4) + 1
    patches = [
        image[:, row : row + 2, column : column + 2].flatten()
        for image in images
        for row in range(4)
        for column in range(3)
    ]
    expected = torch.stack(patches, 1).double().cov(correction=0)
    torch.testing.assert_close(patch_covariance(images), expected)


def test_whitened_patches_are_uncorrelated_and_of_variance_one() -> None:
    layer, images = Whitening(3), correlated_images()
    layer.fit(images)
    outputs = layer(images).detach().transpose(0, 1).flatten(1).double()
    assert outputs.shape[0] == 24
    covariance = outputs[:12].cov()
    assert torch.linalg.eigvalsh(patch_covariance(images)).min() > 0.02  # so that what is added to it changes little
    torch.testing.assert_close(covariance, torch.eye(12).double(), rtol=0, atol=0.03)
    torch.testing.assert_close(outputs[12:], -outputs[:12])


def test_images_without_any_difference_do_no_harm() -> None:
    layer = Whitening(3)
    layer.fit(torch.ones(2, 3, 8, 8))
    assert layer.weight.isfinite().all()


def test_fitting_is_the_same_whatever_was_drawn_before() -> None:
    first, second = Whitening(3), Whitening(3)
    for layer in (first, second):
        layer.fit(correlated_images())
        torch.rand(5)
    assert first.weight.equal(second.weight)


def test_the_whitening_is_in_the_state_but_not_learned() -> None:
    net = build()
    assert "whitening.weight" in net.state_dict()
    assert [name for name, _ in net.named_parameters() if "whitening" in name] == ["whitening.bias"]


@pytest.mark.parametrize("epochs", [0, 2])
def test_whitening_bias_epochs_end_its_learning(epochs: int) -> None:
    net = build(whitening_bias_epochs=epochs)
    learned = []
    for epoch in (1, 2, 3, 4, 1):
        net.begin_epoch(epoch)
        net(torch.randn(2, *CIFAR)).sum().backward()
        learned.append(net.whitening.bias.grad is not None)
        net.zero_grad()
    assert learned == [epochs >= 1, epochs >= 2, False, False, epochs >= 1]


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_of_norms_the_biases_alone_are_learned(norm: str) -> None:
    net = build(norm=norm)
    assert len(norm_biases(net)) == 6
    assert {id(bias) for bias in norm_biases(net)} < {id(weight) for weight in net.parameters()}
    scales = [buffer for name, buffer in net.named_buffers() if name.startswith("blocks") and name.endswith(".weight")]
    assert len(scales) == 6
    assert all(scale.eq(1).all() for scale in scales)


@pytest.mark.parametrize("init", ["dirac", "pytorch"])
def test_init_dirac_passes_on_the_channels_that_come_in(init: str) -> None:
    torch.manual_seed(0)
    for layer in build(width=40, init=init).modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        features = torch.randn(2, layer.in_channels, 6, 6)
        passed = min(layer.in_channels, layer.out_channels)
        outputs = layer(features)
        assert torch.allclose(outputs[:, :passed], features[:, :passed], atol=1e-5) == (init == "dirac")
        assert layer.out_channels == passed or outputs[:, passed:].std() > 0.1


def test_output_scale_is_a_factor_of_the_logits() -> None:
    logits = []
    for scale in (0.5, 2.0):
        torch.manual_seed(0)
        net = build(output_scale=scale).eval()
        logits.append(net(torch.ones(2, *CIFAR)))
    torch.testing.assert_close(logits[1], 4 * logits[0])


def test_layer_by_layer() -> None:
    """As published: 24 whitened channels, 64, 256 and 256; pooled to 15, 7 and 3 pixels, then to one."""
    net = build_model(complete({"model": "airbench_net"}), CIFAR, 10)
    assert [tuple(weight.shape) for weight in net.parameters() if weight.dim() > 1] == [
        (64, 24, 3, 3),
        (64, 64, 3, 3),
        (256, 64, 3, 3),
        (256, 256, 3, 3),
        (256, 256, 3, 3),
        (256, 256, 3, 3),
        (10, 256),
    ]
    sides: list[int] = []
    for layer in net.modules():
        if isinstance(layer, nn.MaxPool2d):
            layer.register_forward_hook(lambda _layer, _inputs, outputs: sides.append(outputs.shape[-1]))
    net.eval()(torch.zeros(1, *CIFAR))
    assert sides == [15, 7, 3]
