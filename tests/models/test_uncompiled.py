"""Without torch's compiler the same is computed. The names that this relies on are private, so they are tried here."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.optimizers import OPTIMIZERS, SCHEDULE_FREE
from cifar_tune.models import uncompiled
from cifar_tune.models.build import count_multiply_adds
from cifar_tune.models.uncompiled import COMPILER, leave_compiler_out
from cifar_tune.training.optimizers import build_optimizer

COUNTED = ("tutorial_net", "cnn3", "airbench_net", "vgg11", "resnet18", "resnet20")

PROGRAM = f"""
import json
import sys
from tests.models.test_uncompiled import counted, trained, trained_by_each, with_gradients

each = counted(), trained_by_each()
gradients = with_gradients()
is_out = {COMPILER!r} not in sys.modules
print(json.dumps([is_out, each, gradients, trained("sgd", compiles=True), {COMPILER!r} in sys.modules]))
"""


def trained(optimizer: str, compiles: bool = False) -> list[str]:
    """The sum of each weight of a network after three steps, to the last bit."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    schedule = {"schedule": "constant"} if optimizer in SCHEDULE_FREE else {}
    moves = build_optimizer(complete({"optimizer": optimizer, **schedule}), network, torch.device("cpu"))
    called = torch.compile(network, backend="eager") if compiles else network
    for _ in range(3):
        moves.zero_grad()
        called(torch.ones(2, 3, 8, 8)).square().mean().backward()
        moves.step()
        moves.load_state_dict(moves.state_dict())
    return [float(weight.detach().double().sum()).hex() for weight in network.parameters()]


def counted() -> list[int]:
    """Multiply-adds of networks, which are built on the meta device for that."""
    configs = [{"model": name} for name in COUNTED] + [{"activation": name} for name in ACTIVATIONS]
    return [count_multiply_adds(complete(config), (3, 32, 32), 10) for config in configs]


def trained_by_each() -> dict[str, list[str]]:
    return {name: trained(name) for name in OPTIMIZERS}


def with_gradients() -> list[bool]:
    """Whether a step is taken with gradients, where that is asked for and where it is not: a leaf cannot move then."""
    found = []
    for differentiable in (False, True):
        weight = nn.Parameter(torch.ones(2))
        weight.grad = torch.ones(2)
        try:
            torch.optim.SGD([weight], differentiable=differentiable).step()
        except RuntimeError:
            found.append(True)
        else:
            found.append(False)
    return found


def test_optimizers_and_counts_do_without_it_and_compute_the_same() -> None:
    """In a process that has never imported it; this one has. A network that is compiled afterwards learns the same."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    is_out, (counts, each), gradients, compiled, is_in = json.loads(done.stdout)
    assert is_out, "torch does it in another way: `leave_compiler_out` has to follow it"
    assert counts == counted()
    assert each == trained_by_each()
    assert gradients == with_gradients() == [False, True]
    assert compiled == each["sgd"]
    assert is_in


def test_where_torch_does_it_in_another_way_all_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changed:
        @torch.no_grad()
        def step(self) -> None: ...

    kept = Changed.step
    monkeypatch.delitem(sys.modules, COMPILER, raising=False)
    for name in ("Optimizer", "flop_counter", "torch"):
        monkeypatch.setattr(uncompiled, name, SimpleNamespace(optim=SimpleNamespace(Changed=Changed)))
    leave_compiler_out.__wrapped__()
    assert Changed.step is kept
