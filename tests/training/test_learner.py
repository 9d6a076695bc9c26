"""One training step: what it computes, and where."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.models.build import build_model
from cifar_tune.training.learner import Learner
from cifar_tune.training.optimizers import build_optimizer
from tests.exhaustive import few_of

from .conftest import CPU, ONE_OF_EACH, small

SHAPE = (3, 8, 8)
PAIRS = [
    *((model, "adamw") for model in ONE_OF_EACH),
    *(("cnn3", optimizer) for optimizer in OPTIMIZERS if optimizer != "adamw"),
]
"""Of models and optimizers, which know nothing of each other."""


def batch(size: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, *SHAPE, generator=generator).to(memory_format=torch.channels_last)
    return images, torch.randint(10, (size,), generator=generator)


def weights(learner: Learner) -> list[Tensor]:
    return list(learner.model.state_dict().values())


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(one.equal(other) for one, other in zip(first, second, strict=True))


def test_seed_draws_the_initial_weights() -> None:
    first, again, other = (Learner(small(seed=seed), SHAPE, 10, CPU, 2) for seed in (1, 1, 2))
    assert equal(weights(first), weights(again))
    assert not equal(weights(first), weights(other))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_label_smoothing_reaches_the_loss(label_smoothing: float) -> None:
    learner = Learner(small(label_smoothing=label_smoothing), SHAPE, 10, CPU, 2)
    images, labels = batch()
    learner.model.train()
    logs = learner.model(images).log_softmax(1)
    targets = functional.one_hot(labels, 10) * (1 - label_smoothing) + label_smoothing / 10
    loss, _ = learner.train_step(images, labels)
    torch.testing.assert_close(loss, -(logs * targets).sum(1).mean())


def test_counts_what_is_right() -> None:
    learner = Learner(small(), SHAPE, 10, CPU, 2)
    images, _ = batch()
    predicted = learner.model(images).argmax(1)
    labels = torch.cat([predicted[:5], (predicted[5:] + 1) % 10])
    assert learner.train_step(images, labels)[1].item() == 5


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_mixed_images_are_learned_and_counted_by_the_shares_of_their_classes(label_smoothing: float) -> None:
    learner = Learner(small(label_smoothing=label_smoothing), SHAPE, 10, CPU, 2)
    images, labels = batch()
    shares = functional.one_hot(labels, 10) * 0.7 + functional.one_hot(labels.roll(1), 10) * 0.3
    learner.model.train()
    logits = learner.model(images)
    targets = shares * (1 - label_smoothing) + label_smoothing / 10
    loss, right = learner.train_step(images, shares)
    torch.testing.assert_close(loss, -(logits.log_softmax(1) * targets).sum(1).mean())
    predicted = logits.argmax(1)
    torch.testing.assert_close(right, 0.7 * (predicted == labels).sum() + 0.3 * (predicted == labels.roll(1)).sum())


def test_labels_as_shares_are_the_same_step() -> None:
    images, labels = batch()
    steps = []
    for given in (labels, functional.one_hot(labels, 10).float()):
        learner = Learner(small(), SHAPE, 10, CPU, 2)
        learner.model.train()
        steps.append((*learner.train_step(images, given), *learner.model.parameters()))
    for hard, soft in zip(*steps, strict=True):
        torch.testing.assert_close(soft, hard, check_dtype=False)


def test_a_step_descends_along_the_gradient() -> None:
    learner = Learner(small(optimizer="sgd", momentum=0.0, schedule="constant", lr=0.5), SHAPE, 10, CPU, 2)
    images, labels = batch()
    before = [weight.detach().clone() for weight in learner.model.parameters()]
    loss = functional.cross_entropy(learner.model(images), labels)
    gradients = torch.autograd.grad(loss, list(learner.model.parameters()))
    learner.train_step(images, labels)
    for weight, start, gradient in zip(learner.model.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(weight.detach(), start - 0.5 * gradient)
        assert weight.grad is None


def test_lr_is_that_of_the_last_step() -> None:
    learner = Learner(small(schedule="cosine", lr=0.4, epochs=1), SHAPE, 10, CPU, steps_per_epoch=2)
    rates = [learner.lr]
    for _ in range(2):
        learner.train_step(*batch())
        rates.append(learner.lr)
    assert rates == pytest.approx([0.4, 0.4, 0.2])


def test_weights_are_channels_last() -> None:
    learner = Learner(small(), SHAPE, 10, CPU, 2)
    kernels = [weight for weight in learner.model.parameters() if weight.dim() == 4]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
def test_l1_adds_the_sign_of_each_weight(optimizer: str, decay_norm_and_bias: bool) -> None:
    chosen: dict[str, Value] = {"optimizer": optimizer, "decay_norm_and_bias": decay_norm_and_bias}
    plain, penalized = (gradients_of_a_step(small(**chosen, l1=l1)) for l1 in (0.0, 0.03))
    learner = Learner(small(**chosen), SHAPE, 10, CPU, 2)
    for name, weight in learner.model.named_parameters():
        share = 0.03 if decay_norm_and_bias or weight.dim() > 1 else 0.0
        torch.testing.assert_close(penalized[name], plain[name] + share * weight.detach().sign())


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_clip_grad_norm_is_the_longest_gradient_of_the_loss(share: float) -> None:
    plain = gradients_of_a_step(small())
    norm = torch.cat([gradient.flatten() for gradient in plain.values()]).norm().item()
    clipped = gradients_of_a_step(small(clip_grad_norm=share * norm))
    for name, gradient in plain.items():
        torch.testing.assert_close(clipped[name], gradient * min(share, 1))


def gradients_of_a_step(config: Configuration) -> dict[str, Tensor]:
    """What the optimizer is given in the first step."""
    learner = Learner(config, SHAPE, 10, CPU, 2)
    seen: dict[str, Tensor] = {}

    def look(*_: object) -> None:
        seen.update({n: w.grad.clone() for n, w in learner.model.named_parameters() if w.grad is not None})

    learner.optimizer.register_step_pre_hook(look)
    learner.train_step(*batch())
    return seen


def test_ema_decay_averages_weights_and_statistics_over_the_steps() -> None:
    learner = Learner(small(ema_decay=0.3), SHAPE, 10, CPU, 4)
    expected = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    for step in range(4):
        learner.train_step(*batch())
        decay = min(0.3, (1 + step) / (10 + step))
        for name, tensor in learner.model.state_dict().items():
            whole = not tensor.is_floating_point()
            expected[name] = tensor.clone() if whole else decay * expected[name] + (1 - decay) * tensor
    averaged = learner.evaluated.state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(averaged[name], tensor)
    assert "features.1.running_var" in expected
    assert not equal(list(averaged.values()), weights(learner))


def test_without_ema_the_model_itself_is_evaluated() -> None:
    learner = Learner(small(), SHAPE, 10, CPU, 2)
    assert learner.evaluated is learner.model
    assert "averaged" not in learner.state_dict()


def test_everything_that_changes_gradients_and_weights_runs_on_the_meta_device() -> None:
    """Reading a number from a meta tensor raises: nothing waits for the device."""
    meta = torch.device("meta")
    config = small(clip_grad_norm=1.0, l1=1e-4, ema_decay=0.9, decay_norm_and_bias=False, warmup_epochs=1.0)
    learner = Learner(config, SHAPE, 10, meta, 3)
    for _ in range(3):
        learner.train_step(torch.empty(8, *SHAPE, device=meta), torch.empty(8, dtype=torch.int64, device=meta))
    assert {weight.device for weight in learner.evaluated.parameters()} == {meta}


def moved(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with new tensors on `device`: fake tensors can be neither drawn at random nor moved in place."""
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            module.register_parameter(name, nn.Parameter(torch.empty_like(weight, device=device)))
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))
    return model


def large_tensors(value: object) -> Iterator[Tensor]:
    """The moments among an optimizer's state; its counts and products of factors stay on the CPU."""
    if isinstance(value, Tensor) and value.dim() > 0:
        yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from large_tensors(item)


@pytest.mark.parametrize(("model", "optimizer"), few_of(PAIRS, [("resnet20", "adamw"), ("cnn3", "sgd")]))
def test_forward_and_optimizer_step_on_fake_cuda(model: str, optimizer: str) -> None:
    """Fake tensors have no backward pass without a driver; the gradients are made up."""
    config = small(model=model, optimizer=optimizer)
    cuda = torch.device("cuda:0")
    with FakeTensorMode():
        net = moved(build_model(config, (3, 32, 32), 10), cuda)
        updates = build_optimizer(config, net, cuda)
        assert net(torch.empty(8, 3, 32, 32, device=cuda)).device == cuda
        for weight in net.parameters():
            weight.grad = torch.empty_like(weight)
        if optimizer == "sgd":
            return  # torch has no fake kernel for the fused SGD
        updates.step()
        moments = list(large_tensors(updates.state_dict()))
    assert moments
    assert {value.device for value in moments} == {cuda}
