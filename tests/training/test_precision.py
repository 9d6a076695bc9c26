"""float32, TF32, and autocast to bfloat16 and float16."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import cifar_tune
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import UserError
from cifar_tune.insight.landscape import landscape_run
from cifar_tune.insight.lr_range import lr_range_test
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.table import PRECISIONS
from cifar_tune.training import device as device_module
from cifar_tune.training.device import configure, resolve_precision, set_float32_arithmetic
from cifar_tune.training.evaluation import evaluate
from cifar_tune.training.final import train_without_validation
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training
from cifar_tune.training.probe import Rehearsal, probe

from .conftest import CPU, small

CUDA = torch.device("cuda:0")
MPS = torch.device("mps")


@pytest.fixture
def gpu_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, int]], None]:
    """Lets torch say that there is an NVIDIA GPU of this compute capability."""

    def pretend(capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)

    return pretend


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("device", [CPU, CUDA, MPS])
def test_explicit_precision_is_kept(precision: str, device: torch.device) -> None:
    assert resolve_precision(complete({"precision": precision}), device) == precision


@pytest.mark.parametrize(("has_instructions", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_the_cpu(monkeypatch: pytest.MonkeyPatch, has_instructions: bool, precision: str) -> None:
    monkeypatch.setattr("cifar_tune.training.device.cpu_multiplies_bf16", lambda: has_instructions)
    assert resolve_precision(complete({}), CPU) == precision


@pytest.mark.parametrize(
    ("capability", "precision"),
    [
        ((6, 0), "fp32"),  # P100: no tensor cores
        ((6, 1), "fp32"),  # GTX 1080: multiplies float16 64 times slower
        ((7, 0), "fp16"),  # V100
        ((7, 5), "fp16"),  # T4
        ((8, 0), "bf16"),  # A100
        ((9, 0), "bf16"),
    ],
)
def test_auto_on_cuda(gpu_of: Callable[[tuple[int, int]], None], capability: tuple[int, int], precision: str) -> None:
    gpu_of(capability)
    assert resolve_precision(complete({}), CUDA) == precision


@pytest.mark.parametrize("device", ["mps", "meta"])
def test_auto_elsewhere(device: str) -> None:
    assert resolve_precision(complete({}), torch.device(device)) == "fp32"


def test_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert resolve_precision(complete({}), CUDA) == "bf16"
    with pytest.raises(UserError, match="tf32 needs an NVIDIA GPU"):
        resolve_precision(complete({"precision": "tf32"}), CUDA)


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0)])
def test_tf32_since_ampere(gpu_of: Callable[[tuple[int, int]], None], capability: tuple[int, int]) -> None:
    gpu_of(capability)
    assert resolve_precision(complete({"precision": "tf32"}), CUDA) == "tf32"


@pytest.mark.parametrize("device", [CPU, MPS, CUDA])
def test_tf32_is_refused_where_there_is_none(gpu_of: Callable[[tuple[int, int]], None], device: torch.device) -> None:
    gpu_of((7, 5))
    for use in (resolve_precision, configure):
        with pytest.raises(UserError, match=rf"precision.*tf32.*{device} is none: take fp32"):
            use(complete({"precision": "tf32"}), device)


@pytest.fixture
def torch_settings() -> Iterator[Callable[[], list[str]]]:
    """What torch is told about float32 on GPUs, which needs no GPU: products, convolutions, recurrent layers."""

    def settings() -> list[str]:
        places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)  # type: ignore[attr-defined]
        return [place.fp32_precision for place in places]

    before = settings()
    yield settings
    torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = before[:2]  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = before[2]  # type: ignore[attr-defined]


def test_fp32_is_float32_and_tf32_is_not(torch_settings: Callable[[], list[str]]) -> None:
    """By default torch takes convolutions in TF32: https://docs.pytorch.org/docs/stable/notes/cuda.html."""
    for precision, expected in (
        ("fp32", "ieee"),
        ("tf32", "tf32"),
        ("bf16", "ieee"),
        ("tf32", "tf32"),
        ("fp16", "ieee"),
    ):
        set_float32_arithmetic(precision, CUDA)
        assert torch_settings() == [expected] * 3, precision


def test_elsewhere_than_on_cuda_nothing_is_set(torch_settings: Callable[[], list[str]]) -> None:
    before = torch_settings()
    for device in (CPU, MPS, torch.device("meta")):
        set_float32_arithmetic("fp32", device)
    assert torch_settings() == before


OLD_SETTINGS = ("allow_tf32", "set_float32_matmul_precision", "get_float32_matmul_precision")


def test_the_old_settings_are_used_nowhere() -> None:
    """Torch raises an error where both are mixed."""
    for file in Path(cifar_tune.__file__).parent.rglob("*.py"):
        assert not [name for name in OLD_SETTINGS if f".{name}" in file.read_text(encoding="utf-8")], file


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arithmetic that the process was set to, one call after the other."""
    calls: list[str] = []
    monkeypatch.setattr(device_module, "set_float32_arithmetic", lambda precision, _device: calls.append(precision))
    return calls


def test_each_epoch_sets_the_arithmetic_of_its_training(digits: ResidentData, told: list[str]) -> None:
    """Others may have run in the process meanwhile."""
    trainings = [Training(small(precision=precision), digits, CPU).epochs() for precision in ("fp32", "bf16")]
    told.clear()
    for _ in range(2):
        for training in trainings:
            next(training)
    assert told == ["fp32", "bf16"] * 2


def run_probe(config: Configuration, data: ResidentData) -> None:
    probe(config, data, CPU)


def run_rehearsal(config: Configuration, data: ResidentData) -> None:
    Rehearsal(config, data, CPU)


def run_finalize(config: Configuration, data: ResidentData) -> None:
    next(train_without_validation(Training(config, data, CPU), [1.0]))


def run_lr_range(config: Configuration, data: ResidentData) -> None:
    lr_range_test(config, data, CPU, [1e-3, 1e-2], lambda *_: None)


def run_landscape(config: Configuration, data: ResidentData) -> None:
    landscape_run(config, data, CPU, [1], fixed_batch=True, progress=lambda *_: None)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("use", [run_probe, run_rehearsal, run_finalize, run_lr_range, run_landscape])
def test_whatever_trains_sets_its_arithmetic(
    digits: ResidentData,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    use: Callable[[Configuration, ResidentData], None],
    precision: str,
) -> None:
    seen: list[tuple[str, str]] = []
    step = Learner.train_step

    def noted_step(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((told[-1], learner.precision))
        return step(learner, images, labels)

    monkeypatch.setattr(Learner, "train_step", noted_step)
    use(small(precision=precision, epochs=1), digits)
    expected = "fp32" if use is run_landscape else precision  # its differences of gradients need the digits
    assert set(seen) == {(expected, expected)}


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
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


def test_every_precision_is_tried_here() -> None:
    assert set(PRECISIONS) == {"auto", "fp32", "tf32", "bf16", "fp16"}
