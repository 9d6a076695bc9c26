"""Every registered optimizer, with every knob that it takes."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Optimizer

from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.training.optimizers import build_optimizer, load_optimizer_state

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
    "decoupled_weight_decay": True,
    "rho": 0.83,
    "momentum_decay": 0.007,
    "lr_decay": 0.011,
    "initial_accumulator_value": 0.13,
    "ns_steps": 3,
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
    "nadam": {
        "lr": 0.037,
        "betas": (0.81, 0.957),
        "eps": 3e-5,
        "weight_decay": 0.0023,
        "momentum_decay": 0.007,
        "decoupled_weight_decay": True,
    },
    "radam": {
        "lr": 0.037,
        "betas": (0.81, 0.957),
        "eps": 3e-5,
        "weight_decay": 0.0023,
        "decoupled_weight_decay": True,
    },
    "adagrad": {
        "lr": 0.037,
        "lr_decay": 0.011,
        "initial_accumulator_value": 0.13,
        "eps": 3e-5,
        "weight_decay": 0.0023,
    },
    "adadelta": {"lr": 0.037, "rho": 0.83, "eps": 3e-5, "weight_decay": 0.0023},
    "rmsprop": {"lr": 0.037, "momentum": 0.61, "alpha": 0.87, "eps": 3e-5, "weight_decay": 0.0023},
    "lion": {"lr": 0.037, "betas": (0.81, 0.957), "weight_decay": 0.0023},
    "sgd_schedule_free": {"lr": 0.037, "momentum": 0.61, "weight_decay": 0.0023},
    "adamw_schedule_free": {"lr": 0.037, "betas": (0.81, 0.957), "eps": 3e-5, "weight_decay": 0.0023},
    "muon": {
        "lr": 0.037,
        "momentum": 0.61,
        "nesterov": True,
        "ns_steps": 3,
        "betas": (0.81, 0.957),
        "eps": 3e-5,
        "weight_decay": 0.0023,
    },
}


def config(optimizer: str, **chosen: Value) -> Configuration:
    return complete({"optimizer": optimizer, **UNUSUAL, **chosen})


def layers() -> nn.Module:
    """Filters and matrices, norms and biases; the second convolution is what muon takes for itself."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(96, 2)
    ).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_knob_reaches_the_parameter_group(optimizer: str) -> None:
    merged: dict[str, Any] = {}
    for group in build_optimizer(config(optimizer), layers(), CPU).param_groups:
        assert (group["lr"], group["weight_decay"]) == (0.037, 0.0023)
        merged |= group
    assert {name: merged[name] for name in IN_TORCH[optimizer]} == IN_TORCH[optimizer]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_defaults_of_ones_own(optimizer: str) -> None:
    group = build_optimizer(complete({"optimizer": optimizer}), layers(), CPU).param_groups[0]
    assert group["lr"] == {
        "sgd": 0.05,
        "nadam": 2e-3,
        "adagrad": 0.01,
        "adadelta": 1.0,
        "lion": 1e-4,
        "sgd_schedule_free": 1.0,
        "adamw_schedule_free": 2.5e-3,
    }.get(optimizer, 1e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_expectations_cover_every_knob_that_it_takes(optimizer: str) -> None:
    part = OPTIMIZERS[optimizer]
    assert set(part.arguments) <= set(UNUSUAL)
    assert {argument.partition(".")[0] for argument in part.arguments.values()} <= set(IN_TORCH[optimizer])


def places(weights: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Where weights lie and how many they are: muon's matrices are other tensors over the same memory."""
    return sorted((weight.data_ptr(), weight.numel()) for weight in weights)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
def test_all_parameters_are_optimized(optimizer: str, decay_norm_and_bias: bool) -> None:
    model = layers()
    built = build_optimizer(config(optimizer, decay_norm_and_bias=decay_norm_and_bias), model, CPU)
    optimized = [weight for group in built.param_groups for weight in group["params"]]
    assert places(optimized) == places(model.parameters())
    if optimizer != "muon" and decay_norm_and_bias:
        assert [id(weight) for weight in optimized] == [id(weight) for weight in model.parameters()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_norms_and_biases_are_spared_the_weight_decay(optimizer: str) -> None:
    model = layers()
    built = build_optimizer(config(optimizer, decay_norm_and_bias=False), model, CPU)
    decays = {0.0023: list[Tensor](), 0.0: list[Tensor]()}
    for group in built.param_groups:
        decays[group["weight_decay"]] += group["params"]
    assert places(decays[0.0023]) == places(weight for weight in model.parameters() if weight.dim() > 1)
    assert places(decays[0.0]) == places(weight for weight in model.parameters() if weight.dim() == 1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
def test_norm_bias_lr_factor_is_that_of_norm_biases_alone(optimizer: str, decay_norm_and_bias: bool) -> None:
    model = layers()
    chosen = config(optimizer, norm_bias_lr_factor=8.0, decay_norm_and_bias=decay_norm_and_bias)
    groups = build_optimizer(chosen, model, CPU).param_groups
    assert places(weight for group in groups for weight in group["params"]) == places(model.parameters())
    [quick] = [group for group in groups if "lr_factor" in group]
    assert (quick["params"], quick["lr_factor"]) == ([model.get_parameter("1.bias")], 8)
    assert quick["weight_decay"] * 8 == pytest.approx(0.0023 if decay_norm_and_bias else 0)
    assert groups[0] is not quick, "the rate of the first group is the one that is told"


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


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ("sgd", "muon")])
def test_a_loaded_state_lies_where_it_lay(optimizer: str) -> None:
    """Scalars that the host reads in every step must not move to the device. Torch has no fake kernel for fused SGD."""
    cuda = torch.device("cuda:0")

    def built(weight: nn.Parameter) -> Optimizer:
        return build_optimizer(config(optimizer), nn.ParameterList([weight]), cuda)

    with FakeTensorMode():
        weight = nn.Parameter(torch.empty(3, 2, device=cuda))
        weight.grad = torch.empty_like(weight)
        first, second = built(weight), built(weight)
        first.step()
        load_optimizer_state(second, first.state_dict())
    for name, value in first.state[weight].items():
        assert second.state[weight][name].device == value.device, name
