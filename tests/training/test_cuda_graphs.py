"""Real CUDA graphs, on a GPU: what `test_graphs.py` shows on the CPU with graphs that are written down."""

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.optimizers import OPTIMIZERS, SCHEDULE_FREE
from cifar_tune.knobs.part import Value
from cifar_tune.training import failures
from cifar_tune.training.checkpoint import save
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.loop import Training
from cifar_tune.training.steps import WARM_UP_STEPS
from tests.digits import prepared_digits

from .conftest import small
from .test_graphs import EVERYTHING, MODELS, Repeating, assert_same, figures

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = torch.device("cuda", 0)
EVALUATION_BATCH = 30


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """200 training and 100 validation images of 32x32 pixels: six steps per epoch."""
    return ResidentData(prepared_digits(32, tmp_path_factory), GPU)


@pytest.fixture(autouse=True)
def small_evaluation_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three full ones, and a rest."""
    monkeypatch.setattr("cifar_tune.data.batches.EVALUATION_BATCH", EVALUATION_BATCH)


def trained(config: Configuration, data: ResidentData, *graphs: Repeating, measures: tuple[str, ...] = ()) -> Training:
    training = Training(config, data, GPU, *graphs, measures=measures)
    list(training.epochs())
    assert training.steps.words == "" or "could not be captured" not in training.steps.words, training.steps.words
    return training


@pytest.mark.parametrize("chosen", [*MODELS, *EVERYTHING], ids=lambda chosen: "-".join(map(str, chosen.values())))
def test_a_replay_gives_the_same_numbers_to_the_bit(chosen: dict[str, Value], on_gpu: ResidentData) -> None:
    config = small(**chosen).replaced(optimizer="sgd", momentum=0.9, weight_decay=1e-3)
    assert_same(trained(config, on_gpu), trained(config, on_gpu, Repeating()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_gives_the_same_numbers_to_the_bit(optimizer: str, on_gpu: ResidentData) -> None:
    config = small(
        optimizer=optimizer,
        schedule="constant" if optimizer in SCHEDULE_FREE else "one_cycle",
        weight_decay=1e-3,
        clip_grad_norm=1.0,
        ema_decay=0.0 if optimizer in SCHEDULE_FREE else 0.9,
    )
    captured = trained(config, on_gpu)
    assert_same(captured, trained(config, on_gpu, Repeating()))
    plain = trained(config.replaced(cuda_graphs=False), on_gpu)
    for one, other in zip(figures(captured), figures(plain), strict=True):
        assert one == pytest.approx(other, rel=0.02, abs=0.02)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("begins", [True, False], ids=["captured", "plain"])
def test_a_checkpoint_of_one_is_continued_by_the_other(
    optimizer: str, begins: bool, on_gpu: ResidentData, tmp_path: Path
) -> None:
    config = small(optimizer=optimizer, lr=1e-3, schedule="constant")
    first = Training(config, on_gpu, GPU, *([] if begins else [Repeating()]))
    next(first.epochs())
    save(tmp_path / "state", first.state_dict())
    other = Training(config, on_gpu, GPU, *([Repeating()] if begins else []))
    go_on(other, tmp_path / "state")
    for training in (first, other):
        list(training.epochs())
    assert_same(first, other)


@pytest.mark.parametrize("chosen", EVERYTHING, ids=lambda chosen: "-".join(map(str, chosen.values())))
def test_nothing_between_the_steps_waits_for_the_device(chosen: dict[str, Value], on_gpu: ResidentData) -> None:
    training = Training(small(**chosen), on_gpu, GPU)
    for _ in training.steps.of_epoch(1):
        pass
    losses = training.steps.of_epoch(2)
    next(losses)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in losses:
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_memory_of_graphs_goes_back(on_gpu: ResidentData) -> None:
    held = []
    for number in range(36):  # the first twelve fill what the libraries keep
        width, batch_size = (4, 8, 16)[number % 3], (16, 32, 64, 100)[number % 4]
        training = trained(small(width=width, batch_size=batch_size, epochs=2), on_gpu)
        del training
        failures.release(GPU)
        gc.collect()
        held.append((torch.cuda.memory_allocated(GPU), torch.cuda.memory_reserved(GPU)))
    assert held[24:] == held[12:24]


def test_compiled_steps_are_captured_too(on_gpu: ResidentData) -> None:
    config = small(compile=True, epochs=2)
    captured = trained(config, on_gpu)
    assert captured.steps.words == ""
    plain = trained(config.replaced(cuda_graphs=False), on_gpu)
    for one, other in zip(figures(captured), figures(plain), strict=True):
        assert one == pytest.approx(other, rel=0.02, abs=0.02)


def test_one_replay_is_one_launch(on_gpu: ResidentData) -> None:
    training = Training(small(optimizer="sgd", momentum=0.9), on_gpu, GPU)
    losses = training.steps.of_epoch(1)
    for _ in range(WARM_UP_STEPS + 1):
        next(losses)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        next(losses)
    launches = {event.key: event.count for event in profile.key_averages() if "Launch" in event.key}
    assert launches.pop("cudaGraphLaunch") == 1
    assert sum(launches.values()) <= 2, launches  # the learning rate of the next step


def with_loss(config: Configuration, data: ResidentData, change: Callable[[Tensor, Tensor], Tensor]) -> Training:
    """Trained with a loss that is changed: of the logits and the loss as it was."""
    training = Training(config, data, GPU)
    plain = training.learner.loss
    training.learner.loss = lambda logits, labels: change(logits, plain(logits, labels))
    list(training.epochs())
    return training


def reading(_logits: Tensor, loss: Tensor) -> Tensor:
    assert loss.item() > 0
    return loss


def waiting(_logits: Tensor, loss: Tensor) -> Tensor:
    torch.cuda.synchronize()
    return loss


@pytest.mark.parametrize("change", [reading, waiting])
def test_what_cannot_be_captured_runs_as_it_is(
    change: Callable[[Tensor, Tensor], Tensor], on_gpu: ResidentData
) -> None:
    """One is noticed before the capture; the other breaks it, and must leave nothing behind."""
    config = small(dropout=0.2, augment=("random_crop", "gaussian_noise"), optimizer="sgd", momentum=0.9)
    plain = trained(config, on_gpu, Repeating())  # without graphs, learning rates are not rounded to float32
    held = []
    for _ in range(3):
        training = with_loss(config, on_gpu, change)
        assert "could not be captured" in training.steps.words
        assert ("waits for the GPU" in training.steps.words) == (change is reading)
        assert_same(training, plain)
        assert torch.cuda.current_stream(GPU) == torch.cuda.default_stream(GPU)
        del training
        failures.release(GPU)
        held.append(torch.cuda.memory_reserved(GPU))
    assert held[1] == held[2]
    assert_same(trained(config, on_gpu), plain)


def test_a_validation_that_cannot_be_captured_leaves_the_steps_as_they_were(on_gpu: ResidentData) -> None:
    """It fails when the steps are captured already, and they draw from the generator that it leaves broken."""

    def wait(model: nn.Module, _: object) -> None:
        if not model.training:
            torch.cuda.synchronize()

    config = small(dropout=0.2, augment=("random_crop", "gaussian_noise"), optimizer="sgd", momentum=0.9)
    training = Training(config, on_gpu, GPU)
    training.learner.model.register_forward_pre_hook(wait)
    list(training.epochs())
    assert training.steps.words == ""
    [remark] = training.remarks
    assert remark.startswith("validations run without a CUDA graph, which could not be captured: ")
    assert_same(training, trained(config, on_gpu, Repeating()))


@pytest.mark.parametrize("augment", ["randaugment", "trivialaugment"])
def test_what_is_repeatable_is_captured(augment: str, on_gpu: ResidentData) -> None:
    """Some algorithms that add up in one order read an index on the host: none of them is used."""
    config = small(augment=(augment,), optimizer="sgd")
    training = Training(config, on_gpu, GPU, measures=("val_macro_f1",))
    list(training.epochs())
    assert training.remarks == []
    assert_same(training, trained(config, on_gpu, Repeating(), measures=("val_macro_f1",)))


def test_an_operation_without_a_repeatable_form_is_named(on_gpu: ResidentData) -> None:
    def pooled(logits: Tensor, loss: Tensor) -> Tensor:
        return loss + 0 * functional.adaptive_max_pool2d(logits[:, None], 2).sum()

    config = small(epochs=2)
    assert trained(config, on_gpu).remarks == []
    for captured in (True, False):
        [remark] = with_loss(config.replaced(cuda_graphs=captured), on_gpu, pooled).remarks
        assert remark == (
            "the result is not repeatable on this GPU: PyTorch has no repeatable form of "
            "adaptive_max_pool2d_backward_cuda"
        )
    assert with_loss(config.replaced(repeatable=False), on_gpu, pooled).remarks == []
