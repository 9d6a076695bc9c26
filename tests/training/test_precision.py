"""float32 and bfloat16 autocast."""

import pytest
import torch
from torch import Tensor, nn

from cifar_tune.knobs.configuration import complete
from cifar_tune.training.device import resolve_precision
from cifar_tune.training.evaluation import evaluate
from cifar_tune.training.learner import Learner

from .conftest import CPU, small

CUDA = torch.device("cuda:0")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("device", [CPU, CUDA, torch.device("mps")])
def test_explicit_precision_is_kept(precision: str, device: torch.device) -> None:
    assert resolve_precision(complete({"precision": precision}), device) == precision


@pytest.mark.parametrize(("has_instructions", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_the_cpu(monkeypatch: pytest.MonkeyPatch, has_instructions: bool, precision: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    assert resolve_precision(complete({}), CPU) == precision


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_on_cuda(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert resolve_precision(complete({}), CUDA) == precision


@pytest.mark.parametrize("device", ["mps", "meta"])
def test_auto_elsewhere(device: str) -> None:
    assert resolve_precision(complete({}), torch.device(device)) == "fp32"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_reaches_the_layers_and_nothing_else(precision: str, dtype: torch.dtype) -> None:
    learner = Learner(small(precision=precision), (3, 8, 8), 10, CPU, steps_per_epoch=2)
    seen: list[torch.dtype] = []

    def note(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output.dtype)

    for layer in learner.model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    loss, _ = learner.train_step(images, labels)
    evaluate(learner.model, [(images, labels)], learner.precision, CPU)
    assert learner.precision == precision
    assert seen == [dtype] * 10  # two convolutions and three linear layers, in training and in evaluation
    assert loss.dtype == torch.float32
    assert {weight.dtype for weight in learner.model.parameters()} == {torch.float32}
    states = learner.optimizer.state.values()
    assert {tensor.dtype for state in states for tensor in state.values()} == {torch.float32}
