"""A training goes on from a checkpoint of its own, and refuses any other."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.models import ModelPart
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.training.checkpoint import CheckpointError, save
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training
from tests.exhaustive import few_of, first_of_each

from .conftest import CPU, ONE_OF_EACH, small

VARIANTS: list[dict[str, Value]] = [
    *(dict[str, Value](optimizer=name) for name in OPTIMIZERS),
    *(dict[str, Value](schedule=name) for name in SCHEDULES),
    {"ema_decay": 0.9},
    {"lookahead": "cubic", "optimizer": "sgd", "momentum": 0.0},
    {"norm_bias_lr_factor": 8.0, "decay_norm_and_bias": False, "warmup_epochs": 1.0},
    {"model": "airbench_net", "whitening_bias_epochs": 0},
    {"model": "airbench_net", "whitening_bias_epochs": 1},
]

FEW = first_of_each(VARIANTS, tuple)


@pytest.mark.parametrize("chosen", few_of(VARIANTS, FEW), ids=str)
def test_every_kind_of_training_goes_on_from_its_own(
    chosen: dict[str, Value], larger_digits: ResidentData, tmp_path: Path
) -> None:
    config = small(**{"batch_size": 100, **chosen})
    training = Training(config, larger_digits, CPU)
    for _ in training.epochs():
        save(tmp_path / "c.pt", training.state_dict())
        fresh = Training(config, larger_digits, CPU)
        go_on(fresh, tmp_path / "c.pt")
        found, expected = tree_flatten(fresh.state_dict()), tree_flatten(training.state_dict())
        assert found[1] == expected[1]
        for ours, theirs in zip(found[0], expected[0], strict=True):
            assert torch.equal(ours, theirs) if isinstance(ours, Tensor) else ours == theirs


def test_no_second_model_is_built(digits: ResidentData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(small(), digits, CPU)
    next(iter(training.epochs()))
    save(tmp_path / "c.pt", training.state_dict())
    fresh = Training(small(), digits, CPU)
    monkeypatch.setattr("cifar_tune.training.learner.build_model", pytest.fail)
    fresh.learner.model.register_forward_pre_hook(lambda *_: pytest.fail("a step is taken"))
    go_on(fresh, tmp_path / "c.pt")
    assert len(fresh.results) == 1


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_all_weights_of_our_models_get_gradients(model: str) -> None:
    """So that moments of all of them can be asked for. Those of the deep models are in tests/models/test_models.py."""
    meta = torch.device("meta")
    learner = Learner(small(model=model), (3, 32, 32), 10, meta, 2)
    learned: list[bool] = []
    learner.optimizer.register_step_pre_hook(
        lambda *_: learned.extend(weight.grad is not None for weight in learner.model.parameters())
    )
    learner.begin_epoch(1)
    learner.train_step(torch.empty(4, 3, 32, 32, device=meta), torch.empty(4, dtype=torch.int64, device=meta))
    assert learned == [weight.requires_grad for weight in learner.model.parameters()]


def test_a_model_of_the_user_may_have_weights_without_a_gradient(digits: ResidentData, tmp_path: Path) -> None:
    plugin = Plugin("net.py", "", {"model": {"own": ModelPart(WithAnIdleWeight, "a net")}}, {})
    config = complete({**small(optimizer="sgd", momentum=0.9), "model": "own"}, vocabulary_with([plugin]))
    training = Training(config, digits, CPU)
    next(iter(training.epochs()))
    save(tmp_path / "c.pt", training.state_dict())
    continued = Training(config, digits, CPU)
    go_on(continued, tmp_path / "c.pt")
    assert [result.epoch for result in continued.epochs()] == [2, 3]


class WithAnIdleWeight(torch.nn.Sequential):
    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(pixels, classes))
        self.idle = torch.nn.Parameter(torch.ones(3))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_running_out_of_memory_is_no_fault_of_the_checkpoint(
    digits: ResidentData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    training = Training(small(), digits, CPU)
    next(iter(training.epochs()))
    save(tmp_path / "c.pt", training.state_dict())

    def run_out(_state: object) -> None:
        raise error

    fresh = Training(small(), digits, CPU)
    monkeypatch.setattr(fresh, "load_state_dict", run_out)
    with pytest.raises(type(error)):
        go_on(fresh, tmp_path / "c.pt")


Change = Callable[[dict[str, Any]], None]


def moments(state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = state["optimizer"]["state"][0]
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("model"), "model has other entries"),
        (lambda s: s.update(optimizer=[1]), "optimizer has other entries"),
        (lambda s: s["model"].popitem(), "model has other entries"),
        (lambda s: s["model"].update({next(iter(s["model"])): torch.zeros(3)}), r"float32 \(3,\) instead of"),
        (lambda s: s["model"].update({next(iter(s["model"])): 5}), "is no tensor"),
        (lambda s: moments(s).update(exp_avg=moments(s)["exp_avg"][:1]), "optimizer.state.0.exp_avg is"),
        (lambda s: moments(s).update(exp_avg=moments(s)["exp_avg"].double()), "float64"),
        (lambda s: moments(s).update(exp_avg=moments(s)["exp_avg"].to_sparse()), "is an unusual tensor"),
        (lambda s: moments(s).update(exp_avg=torch.empty(moments(s)["exp_avg"].shape, device="meta")), "unusual"),
        (lambda s: moments(s).pop("step"), "optimizer.state.0 has other entries"),
        (lambda s: s["optimizer"]["state"].pop(0), "optimizer.state has other entries"),
        (lambda s: s["optimizer"]["state"].update({99: {}}), "optimizer.state has other entries"),
        (lambda s: s["optimizer"].update(state=None), "optimizer.state is|optimizer.state has"),
        (lambda s: s["optimizer"]["param_groups"].clear(), "param_groups has another length"),
        (lambda s: s["optimizer"]["param_groups"][0].update(lr="fast"), r"param_groups\[0\].lr is no number"),
        (lambda s: s["schedule"].update(steps=None), "schedule.steps is no number"),
        (lambda s: s["schedule"]["scheduler"].update(base_lrs=[1.0, "x"]), "base_lrs has another length"),
        (lambda s: s["optimizer"]["param_groups"][0]["params"].reverse(), "other weights"),
        (lambda s: s["schedule"]["rates"].append(1.0), "schedule.rates has another length"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change: Change, words: str, digits: ResidentData, tmp_path: Path) -> None:
    config = small(optimizer="adamw")
    training = Training(config, digits, CPU)
    next(iter(training.epochs()))
    state = deepcopy(training.state_dict())
    change(state)
    save(tmp_path / "c.pt", state)
    with pytest.raises(CheckpointError, match=words):
        go_on(Training(config, digits, CPU), tmp_path / "c.pt")
