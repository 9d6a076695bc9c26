"""A checkpoint goes on where it is that of the training, and is refused before anything is changed where it is not."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.training.checkpoint import CheckpointError, load, save
from cifar_tune.training.checkpoint_fit import require_fit
from cifar_tune.training.loop import Training

from .conftest import CPU, small

VARIANTS: list[dict[str, Value]] = [
    *(dict[str, Value](optimizer=name) for name in OPTIMIZERS),
    *(dict[str, Value](schedule=name) for name in SCHEDULES),
    {"ema_decay": 0.9},
    {"lookahead": "cubic", "optimizer": "sgd", "momentum": 0.0},
    {"norm_bias_lr_factor": 8.0, "decay_norm_and_bias": False, "warmup_epochs": 1.0},
    {"model": "airbench_net", "whitening_bias_epochs": 0},
    {"model": "airbench_net", "whitening_bias_epochs": 1},
]


@pytest.mark.parametrize("chosen", VARIANTS, ids=str)
def test_every_kind_of_training_fits_itself(
    chosen: dict[str, Value], larger_digits: ResidentData, tmp_path: Path
) -> None:
    config = small(**chosen)
    training = Training(config, larger_digits, CPU)
    for _ in training.epochs():
        save(tmp_path / "c.pt", training.state_dict())
        state = load(tmp_path / "c.pt", config, larger_digits.fingerprint)
        fresh = Training(config, larger_digits, CPU)
        before = deepcopy(fresh.state_dict())
        require_fit(fresh, state)
        after = fresh.state_dict()
        assert all(tensor.equal(after["model"][name]) for name, tensor in before["model"].items())


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
        (lambda s: s["optimizer"]["state"].update({99: {}}), "optimizer.state has other entries"),
        (lambda s: s["optimizer"].update(state=None), "optimizer.state is|optimizer.state has"),
        (lambda s: s["optimizer"]["param_groups"].clear(), "param_groups has another length"),
        (lambda s: s["optimizer"]["param_groups"][0].update(lr="fast"), r"param_groups\[0\].lr is no number"),
        (lambda s: s["schedule"].update(steps=None), "schedule.steps is no number"),
        (lambda s: s["schedule"]["scheduler"].update(base_lrs=[1.0, "x"]), "base_lrs has another length"),
        (lambda s: s["optimizer"]["param_groups"][0].update(params=[0] * 8), "no step can be taken|has another length"),
        (lambda s: s["schedule"]["rates"].append(1.0), "schedule.rates has another length"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change: Change, words: str, digits: ResidentData) -> None:
    config = small(optimizer="adamw")
    training = Training(config, digits, CPU)
    next(iter(training.epochs()))
    state = deepcopy(training.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=words):
        require_fit(Training(config, digits, CPU), state)
