"""Steps that run out of memory are split, and learn the same."""

import weakref
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.optimizers import OPTIMIZERS, SCHEDULE_FREE
from cifar_tune.training import accumulation
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training
from tests.exhaustive import few_of

from .conftest import CPU, small

SHAPE = (3, 8, 8)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def batch(step: int, soft: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(16, *SHAPE, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (16,), generator=generator)
    if soft:
        return images, torch.rand(16, 10, generator=generator).softmax(1)
    return images, labels


def learner_of(most: int | None = None, error: Exception = FULL, **chosen: Any) -> Learner:
    """A learner whose model runs out of memory with more than `most` images, after its forward pass."""
    learner = Learner(small(**{"optimizer": "sgd", "lr": 0.1, **chosen}), SHAPE, 10, CPU, 2)
    forward: Callable[[Tensor], Tensor] = learner._forward

    def limited(images: Tensor) -> Tensor:
        logits = forward(images)
        if most is not None and len(images) > most:
            raise type(error)(*error.args)  # a new one, since an error keeps its traceback
        return logits

    learner._forward = limited
    learner.model.train()
    return learner


def test_on_oom_decides_whether_steps_are_split() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        learner_of(5).train_step(*batch(0))
    learner = learner_of(5, on_oom="accumulate")
    learner.train_step(*batch(0))
    assert learner.accumulation.parts == 4
    assert "split into 4 micro-batches; batch norm sees each by itself" in learner.accumulation.words
    learner = learner_of(5, on_oom="accumulate", norm="none")
    learner.train_step(*batch(0))
    assert learner.accumulation.words.endswith("split into 4 micro-batches")


TAKE_MIXED_LABELS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.2, "clip_grad_norm": 0.1},
    {"loss": "focal", "l1": 1e-3, "weight_decay": 1e-2},
    {"loss": "mse", "ema_decay": 0.9, "optimizer": "adamw", "lr": 1e-3},
    {"norm": "group", "norm_groups": 2},
]


@pytest.mark.parametrize(
    ("most", "chosen", "soft"),
    [
        *((5, chosen, soft) for chosen in TAKE_MIXED_LABELS for soft in (False, True)),
        (5, {"loss": "multi_margin", "lookahead": "constant", "lookahead_steps": 2}, False),
        *((most, {"loss": "focal", "ema_decay": 0.9, "clip_grad_norm": 0.1}, True) for most in (8, 3, 2)),
    ],
    ids=str,
)
def test_split_steps_learn_the_same_without_batch_norm(most: int, chosen: dict[str, Any], soft: bool) -> None:
    chosen = {"norm": "none", "momentum": 0.9, **chosen}
    if chosen.get("optimizer") == "adamw":
        del chosen["momentum"]
    whole, split = learner_of(**chosen), learner_of(most, on_oom="accumulate", **chosen)
    for step in range(3):
        torch.testing.assert_close(split.train_step(*batch(step, soft)), whole.train_step(*batch(step, soft)))
    assert whole.accumulation.parts == 1 < split.accumulation.parts
    for one, other in ((whole.model, split.model), (whole.evaluated, split.evaluated)):
        torch.testing.assert_close(dict(other.state_dict()), dict(one.state_dict()), rtol=1e-4, atol=1e-6)


def test_what_was_computed_when_memory_ran_out_leaves_no_trace() -> None:
    once, before = learner_of(8, on_oom="accumulate"), learner_of(on_oom="accumulate")
    before.accumulation.parts = 2
    for step in range(2):
        once.train_step(*batch(step))
        before.train_step(*batch(step))
    assert once.accumulation.parts == 2
    for name, value in before.model.state_dict().items():
        assert value.equal(once.model.state_dict()[name]), name


def test_images_are_not_torn_apart_for_ever() -> None:
    learner = learner_of(1, on_oom="accumulate")
    with pytest.raises(torch.OutOfMemoryError):
        learner.train_step(*batch(0))
    assert learner.accumulation.parts == 8


def test_other_errors_are_raised() -> None:
    learner = learner_of(5, RuntimeError("mat1 and mat2 shapes cannot be multiplied"), on_oom="accumulate")
    with pytest.raises(RuntimeError, match="shapes"):
        learner.train_step(*batch(0))
    assert learner.accumulation.parts == 1


def test_a_training_that_goes_on_keeps_its_parts(digits: ResidentData) -> None:
    config = small(on_oom="accumulate", epochs=2)
    first = Training(config, digits, CPU)
    first.accumulation.parts = 4
    epochs = first.epochs()
    next(epochs)
    state = first.state_dict()
    again = Training(config, digits, CPU)
    again.load_state_dict(state)
    assert again.accumulation.parts == 4
    one, other = next(epochs), next(again.epochs())
    assert (one.train_loss, one.val_loss) == (other.train_loss, other.val_loss)


def fails_after_its_step(learner: Learner, steps: int) -> None:
    """The optimizer takes a step, which moves the weights and makes moments, and then runs out of memory; so often."""
    left = steps

    def fail(*_: object) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise FULL

    learner.optimizer.register_step_post_hook(fail)


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    few_of(
        [
            *((optimizer, "fp32") for optimizer in OPTIMIZERS),
            *((optimizer, "fp16") for optimizer in ("sgd", "adamw", "muon", "sgd_schedule_free")),
        ],
        [("adamw", "fp32"), ("sgd_schedule_free", "fp32"), ("sgd", "fp16")],
    ),
)
def test_memory_that_runs_out_where_the_optimizer_makes_its_moments(optimizer: str, precision: str) -> None:
    chosen: dict[str, Any] = {
        "optimizer": optimizer, "precision": precision, "lr": 1e-3, "l1": 1e-3, "weight_decay": 1e-2,
    }  # fmt: skip
    if optimizer in SCHEDULE_FREE:
        chosen["schedule"] = "constant"
    learner, expected = learner_of(on_oom="accumulate", **chosen), learner_of(on_oom="accumulate", **chosen)
    fails_after_its_step(learner, 2)
    expected.accumulation.parts = 4
    for step in range(3):
        torch.testing.assert_close(learner.train_step(*batch(step)), expected.train_step(*batch(step)), rtol=0, atol=0)
    assert learner.accumulation.parts == 4
    for one, other in zip(tensors(learner.state_dict()), tensors(expected.state_dict()), strict=True):
        assert one.equal(other)


def tensors(state: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor)]


def test_a_later_step_of_the_optimizer_cannot_be_undone() -> None:
    learner = learner_of(on_oom="accumulate")
    learner.train_step(*batch(0))
    fails_after_its_step(learner, 1)
    with pytest.raises(torch.OutOfMemoryError):
        learner.train_step(*batch(1))
    assert learner.accumulation.parts == 1


def test_after_a_checkpoint_the_optimizer_has_its_moments() -> None:
    """No copy of the weights is made then: it would take memory for nothing."""
    first = learner_of(on_oom="accumulate", optimizer="adamw")
    first.train_step(*batch(0))
    again = learner_of(on_oom="accumulate", optimizer="adamw")
    again.load_state_dict(deepcopy(first.state_dict()))
    fails_after_its_step(again, 1)
    with pytest.raises(torch.OutOfMemoryError):
        again.train_step(*batch(1))


def test_what_was_computed_is_freed_before_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_of(5, on_oom="accumulate")
    limited, outputs, alive = learner._forward, list[weakref.ref[Tensor]](), list[int]()

    def forward(images: Tensor) -> Tensor:
        features = images * 2
        outputs.append(weakref.ref(features))
        return limited(features)

    learner._forward = forward
    monkeypatch.setattr(accumulation, "release", lambda _: alive.append(sum(each() is not None for each in outputs)))
    learner.train_step(*batch(0))
    assert len(outputs) == 2 + 4
    assert alive == [0, 0]
