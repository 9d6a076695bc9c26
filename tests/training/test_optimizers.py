"""Every registered optimizer, with every knob that it takes."""

from typing import Any

import pytest
import torch
from torch import nn

from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.training.optimizers import build_optimizer

from .conftest import CPU

UNUSUAL: dict[str, Value] = {
    "lr": 0.037,
    "momentum": 0.61,
    "nesterov": True,
    "weight_decay": 0.0023,
    "alpha": 0.87,
    "beta1": 0.81,
    "beta2": 0.957,
    "eps": 3e-5,
}
"""A value of each optimizer knob that no default has."""

IN_TORCH: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.037, "momentum": 0.61, "nesterov": True, "weight_decay": 0.0023},
    "adam": {
        "lr": 0.037,
        "betas": (0.81, 0.957),
        "eps": 3e-5,
        "weight_decay": 0.0023,
        "decoupled_weight_decay": False,
    },
    "adamw": {
        "lr": 0.037,
        "betas": (0.81, 0.957),
        "eps": 3e-5,
        "weight_decay": 0.0023,
        "decoupled_weight_decay": True,
    },
    "rmsprop": {"lr": 0.037, "momentum": 0.61, "alpha": 0.87, "eps": 3e-5, "weight_decay": 0.0023},
}


def config(optimizer: str, **chosen: Value) -> Configuration:
    return complete({"optimizer": optimizer, **UNUSUAL, **chosen})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_knob_reaches_the_parameter_group(optimizer: str) -> None:
    (group,) = build_optimizer(config(optimizer), nn.Linear(3, 2), CPU).param_groups
    assert {name: group[name] for name in IN_TORCH[optimizer]} == IN_TORCH[optimizer]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_expectations_cover_every_knob_that_it_takes(optimizer: str) -> None:
    part = OPTIMIZERS[optimizer]
    assert set(part.arguments) <= set(UNUSUAL)
    assert {argument.partition(".")[0] for argument in part.arguments.values()} <= set(IN_TORCH[optimizer])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_parameters_are_optimized(optimizer: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())
    (group,) = build_optimizer(config(optimizer), model, CPU).param_groups
    assert [id(weight) for weight in group["params"]] == [id(weight) for weight in model.parameters()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("device", ["cpu", "cuda", "meta", "mps"])
def test_fused_where_asked_for_and_where_the_device_has_it(optimizer: str, device: str) -> None:
    weights = nn.Linear(3, 2, device="meta" if device == "meta" else "cpu")
    (group,) = build_optimizer(config(optimizer), weights, torch.device(device)).param_groups
    wanted = OPTIMIZERS[optimizer].constants.get("fused") if device in ("cpu", "cuda") else None
    assert group.get("fused") == wanted


@pytest.mark.parametrize("optimizer", [name for name, part in OPTIMIZERS.items() if "fused" in part.constants])
def test_fused_moves_channels_last_weights_as_the_default_does(optimizer: str) -> None:
    """The fused kernels walk through memory, not through indices."""
    moved = []
    for device in (CPU, torch.device("meta")):  # weights stay on the CPU; the device only chooses the implementation
        torch.manual_seed(0)
        model = nn.Conv2d(5, 7, 3).to(memory_format=torch.channels_last)
        updates = build_optimizer(config(optimizer), model, device)
        for _ in range(3):
            model(torch.randn(2, 5, 6, 6)).square().mean().backward()
            updates.step()
            updates.zero_grad()
        moved.append(model.weight.detach())
    torch.testing.assert_close(*moved)
