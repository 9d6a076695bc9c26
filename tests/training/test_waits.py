"""Nothing within an epoch makes the host wait for its device: shown on the meta device, which has nothing to read."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.lookaheads import LOOKAHEADS
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.training.evaluation import Tally, evaluate
from cifar_tune.training.learner import Learner
from tests.exhaustive import few_of, first_of_each
from tests.taped_graphs import tensors

from .conftest import ONE_OF_EACH, small

META = torch.device("meta")
SHAPE = (3, 32, 32)


class NoWaits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses to read a number from `device`, and to move tensors from it or to it."""

    def __init__(self, device: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        devices = {each.device.type for each in tensors((args, kwargs))}
        if func is torch.ops.aten._local_scalar_dense.default and self._device in devices:
            raise AssertionError("the host reads a number")
        results = func(*args, **(kwargs or {}))
        devices |= {each.device.type for each in tensors(results)}
        copies = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        if func in copies and len(devices) > 1:
            raise AssertionError(f"{func} moves a tensor: {devices}")
        return results


def batches(count: int = 2) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(count):
        images = torch.empty(8, *SHAPE, device=META).to(memory_format=torch.channels_last)
        yield images, torch.empty(8, dtype=torch.int64, device=META)


def epoch(config: Configuration, count: int = 2) -> None:
    """Everything that a training does between two readings of its figures, but for drawing so many batches."""
    learner = Learner(config, SHAPE, 10, META, 2)
    with NoWaits("meta"):
        trained = Tally(META)
        for number in (1, 2):
            learner.begin_epoch(number)
            for images, labels in batches(count):
                trained.add(*learner.train_step(images, labels), len(labels))
            learner.end_epoch()
        evaluate(learner.evaluated, batches(count), learner.precision, META)


EVERYTHING: list[dict[str, Value]] = [
    *[dict[str, Value](model=model) for model in ONE_OF_EACH],
    *[dict[str, Value](optimizer=optimizer) for optimizer in OPTIMIZERS],
    *[dict[str, Value](schedule=schedule, warmup_epochs=0.5) for schedule in SCHEDULES],
    *[dict[str, Value](loss=loss) for loss in LOSSES if loss != "multi_margin"],  # torch: no backward pass on meta
    *[dict[str, Value](lookahead=name, lookahead_steps=2) for name in LOOKAHEADS],
    *[dict[str, Value](test_time_augmentation=name) for name in TEST_TIME_AUGMENTATIONS],
    {"ema_decay": 0.9, "clip_grad_norm": 1.0, "l1": 1e-3, "decay_norm_and_bias": False},
    {"model": "airbench_net", "norm_bias_lr_factor": 64.0, "lookahead": "cubic", "whitening_bias_epochs": 1},
]

FEW = first_of_each(EVERYTHING, tuple)


@pytest.mark.parametrize("chosen", few_of(EVERYTHING, FEW), ids=lambda chosen: "-".join(map(str, chosen.values())))
def test_an_epoch_waits_for_nothing(chosen: dict[str, Value]) -> None:
    has_moments = not chosen.keys().isdisjoint({"optimizer", "lookahead", "ema_decay"})
    epoch(small(**chosen), count=2 if has_moments else 1)  # else all steps are the same


@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, ["sgd", "adamw_schedule_free"]))
def test_scaled_losses_wait_for_nothing(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch has no autocast on the meta device; all else of fp16 is here."""
    for place in ("learner", "evaluation"):
        monkeypatch.setattr(f"cifar_tune.training.{place}.autocast", lambda *_: nullcontext())
    epoch(small(precision="fp16", optimizer=optimizer, clip_grad_norm=1.0, l1=1e-3))


@pytest.mark.parametrize(
    "wait",
    [
        lambda numbers: numbers.sum().item(),
        lambda numbers: bool(numbers.any()),
        lambda numbers: numbers.sum().tolist(),
        lambda numbers: numbers.cpu(),
        lambda numbers: torch.zeros(2).to(numbers.device),
        lambda numbers: numbers.copy_(torch.zeros(2)),
    ],
    ids=["item", "bool", "tolist", "cpu", "to", "copy"],
)
def test_what_waits_is_noticed(wait: Callable[[Tensor], object]) -> None:
    with pytest.raises((AssertionError, NotImplementedError, RuntimeError)), NoWaits("meta"):
        wait(torch.empty(2, device=META))
